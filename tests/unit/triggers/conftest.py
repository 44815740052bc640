from __future__ import annotations

from tests.server_fixtures import server  # noqa: F401
