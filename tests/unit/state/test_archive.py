"""What a list of findings to be archived becomes: rows of the index, and a record that adds up."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.security_hub.archiving import ArchiveOutcome
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.archive import (
    NOT_ALLOWED,
    NOT_DONE,
    REFUSED,
    archive_listed,
    deltas_in,
    note_why_not,
    outcome_of,
    read_archived,
)
from airflow_provider_tenable.state.gone import Gone, GoneRows, read_gone, rows_to_archive, write_gone
from airflow_provider_tenable.state.registry import index_of
from tests.unit.state.rows import ACCOUNT, NOW, REGION, finding_id, held, table

STAGED = [("part-0000-00000-aa.jsonl.zst", 3)]


class Hub:
    """In place of the real archive: answers by the number of the finding."""

    def __init__(self, **outcome: Any) -> None:
        self.outcome = outcome
        self.asked: list[list[tuple[str, str, int]]] = []

    def __call__(self, **options: Any) -> Hub:
        self.options = options
        return self

    def run(self, wanted: list[Any], until: float | None) -> ArchiveOutcome:
        self.asked.append([(each.finding_id, each.reason, each.floor) for each in wanted])
        usual = {
            "archived": [(finding_id(1), NOW + 5)],
            "gone": [finding_id(2)],
            "refused": Counter({"InvalidInput": 1}),
            "examples": {"InvalidInput": [(finding_id(3), "no")]},
            "finished": True,
        }
        return ArchiveOutcome(**{**usual, **self.outcome})


@pytest.fixture
def run(tmp_path: Any) -> RunFolder:
    return RunFolder(f"file://{tmp_path}", "dag", "run")


@pytest.fixture
def gone(run: RunFolder) -> Gone:
    index_of(run.finding_index, ACCOUNT, REGION).add(table(held(1), held(2), held(3)))
    rows = table(held(1), held(2), held(3)).append_column("reason", pa.array(["moved", "not_reported", "moved"]))
    folder = run.gone(ACCOUNT, REGION)
    listed = GoneRows(folder, "absent")
    listed.add(rows)
    listed.close()
    found = Gone(STAGED, listed.files, dict(listed.reasons), 9)
    write_gone(folder, found)
    return found


def archive(run: RunFolder, gone: Gone, hub: Hub) -> bool:
    index = index_of(run.finding_index, ACCOUNT, REGION)
    more: dict[str, Any] = {"sender": None, "product_arns": {"arn"}, "planned_at": NOW / 1000, "as_of": NOW}
    return archive_listed(run, ACCOUNT, REGION, gone, index=index, new_archive=hub, **more)  # type: ignore[arg-type]


def index_rows(run: RunFolder) -> dict[int, tuple[bool, int, int]]:
    """Plugin -> (archived, content, updated_at) of the latest row."""
    latest: dict[int, Any] = {}
    for part in index_of(run.finding_index, ACCOUNT, REGION).snapshot().tables():
        for row in part.to_pylist():
            known = latest.get(row["plugin"])
            if known is None or row["as_of"] > known["as_of"]:
                latest[row["plugin"]] = row
    return {number: (row["archived"], row["content"], row["updated_at"]) for number, row in latest.items()}


def test_the_index_follows_and_the_record_adds_up(run: RunFolder, gone: Gone, caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub()
    assert archive(run, gone, hub)
    floor = held(1)["updated_at"]
    assert hub.asked == [
        [(finding_id(1), "moved", floor), (finding_id(2), "not_reported", floor), (finding_id(3), "moved", floor)]
    ]
    assert hub.options["reasons_field"] == "tenable/vulnerability-management/archived_because"
    # What the hub does not have any more is as if it had never been sent.
    assert index_rows(run) == {1: (True, 101, NOW + 5), 2: (True, 0, floor), 3: (False, 103, floor)}
    folder = run.gone(ACCOUNT, REGION)
    assert outcome_of(gone, read_archived(folder)) == ({"moved": 1}, 1, {"InvalidInput": 1})
    assert len(deltas_in(folder)) == 1
    assert "InvalidInput, such as" in caplog.text
    # Again: nothing is asked for, and nothing changes.
    assert archive(run, gone, hub)
    assert len(hub.asked) == 1


def test_when_the_time_is_up_nothing_is_recorded_yet(run: RunFolder, gone: Gone) -> None:
    assert not archive(run, gone, Hub(finished=False))
    assert outcome_of(gone, read_archived(run.gone(ACCOUNT, REGION))) == ({}, 0, {NOT_DONE: 3})
    assert archive(run, gone, Hub())


def test_a_missing_permission_ends_the_work_and_is_counted(
    run: RunFolder, gone: Gone, caplog: pytest.LogCaptureFixture
) -> None:
    denied = Hub(archived=[], gone=[], refused=Counter(), examples={}, finished=False)
    denied.outcome |= {"not_allowed": "securityhub:GetFindings", "explanation": "Allow it."}
    assert archive(run, gone, denied)
    assert "securityhub:GetFindings is not allowed" in caplog.text
    assert outcome_of(gone, read_archived(run.gone(ACCOUNT, REGION)))[2] == {NOT_ALLOWED: 3}
    # Once it is allowed, the cleared task archives them.
    assert archive(run, gone, Hub())
    assert outcome_of(gone, read_archived(run.gone(ACCOUNT, REGION)))[0] == {"moved": 1}


def test_a_hub_that_refuses_is_counted(run: RunFolder, gone: Gone) -> None:
    folder = run.gone(ACCOUNT, REGION)
    note_why_not(folder, REFUSED, "closed")
    assert outcome_of(gone, read_archived(folder))[2] == {REFUSED: 3}


def test_what_was_decided_with_other_staged_findings_does_not_count(run: RunFolder, gone: Gone) -> None:
    folder = run.gone(ACCOUNT, REGION)
    assert read_gone(folder, STAGED) == gone
    assert read_gone(folder, [("part-0000-00000-bb.jsonl.zst", 3)]) is None


def test_a_damaged_list_is_not_archived(run: RunFolder, gone: Gone) -> None:
    folder = run.gone(ACCOUNT, REGION)
    (folder / gone.files[0][0]).write_bytes(b"PAR1")
    with pytest.raises(StagingError, match="plan_archiving"):
        rows_to_archive(folder, *gone.files[0])
