"""Whether workers share a local staging area: by the marker that an earlier run of the task has left."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.requirements import of_staging
from airflow_provider_tenable.requirements.lines import FAILED, OK, UNCHECKED
from airflow_provider_tenable.requirements.of_staging import check_staging
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.location import open_path

EARLIER = {"host": "other", "at": 200}


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ({"host": "other", "at": 200, "token": "x"}, OK),
        ({"host": "third", "at": 300, "token": "x"}, OK),
        # This worker's own, of a run before the one that another worker has made: the disk is another one.
        ({"host": socket.gethostname(), "at": 100, "token": "x"}, FAILED),
        ({"host": socket.gethostname(), "at": 200, "token": "x"}, UNCHECKED),
        (None, FAILED),
        ({"host": "other", "at": "200"}, FAILED),
        ([], FAILED),
    ],
    ids=str,
)
def test_a_marker_of_an_earlier_moment_is_of_another_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Any, state: str
) -> None:
    monkeypatch.setattr(of_staging, "_executor", lambda: "CeleryExecutor")
    folder = open_path(f"file://{tmp_path}")
    if found is not None:
        write_json(folder / "deployment" / "requirements.json", found)
    lines, own = check_staging(folder, marker=True, earlier=EARLIER)
    (line,) = (line for line in lines if line.check == "staging.shared")
    assert line.state == state
    assert own["host"] == socket.gethostname()
