from __future__ import annotations

from tests.tenable_thread import _tenable_thread, hook, tenable  # noqa: F401
