"""Fixtures of the tests that let pyTenable talk to a server on this machine."""

from __future__ import annotations

import time

import pytest

from tests.local_server import local_server


@pytest.fixture
def server():
    with local_server() as running:
        yield running


@pytest.fixture
def other_server():
    with local_server() as running:
        running.answer()
        yield running


@pytest.fixture
def naps(monkeypatch):
    """pyTenable sleeps between its attempts; here it only says for how long."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept
