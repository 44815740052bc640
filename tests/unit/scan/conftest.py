from __future__ import annotations

from tests.server_fixtures import naps  # noqa: F401
from tests.tenable_thread import _tenable_thread, hook, tenable  # noqa: F401
