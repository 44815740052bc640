from __future__ import annotations

import pytest

from tests.server_fixtures import naps, other_server, server  # noqa: F401


@pytest.fixture(autouse=True)
def without_naps(naps):  # noqa: F811
    """No test here waits for pyTenable."""
