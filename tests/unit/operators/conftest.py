from __future__ import annotations

from tests.scan_tasks import kill_at, quick, staging  # noqa: F401
from tests.tenable_thread import _tenable_thread, hook, tenable  # noqa: F401
