from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "hooks"))

from tests.local_server import local_server


@pytest.fixture
def server():
    with local_server() as running:
        yield running
