"""The rows of staged findings: those beside the part, or made of its lines where they are missing or do not fit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import write_lines
from airflow_provider_tenable.staging.rows import write_rows
from airflow_provider_tenable.state.staged import FIELDS, SIZE, row_of_line, staged_rows, staged_rows_and_ids
from tests.unit.state.rows import ACCOUNT, REGION, finding_id

PREFIX = "tenable/vulnerability-management/"
ASSET = "0a0b0c0d-0000-0000-0000-000000000001"
MOMENT, MILLISECONDS = "2026-01-01T00:00:00.250Z", 1_767_225_600_250


def line_of(number: int, fields: dict[str, str] | None = None, **change: Any) -> bytes:
    finding = {
        "Id": finding_id(number),
        "UpdatedAt": MOMENT,
        "CreatedAt": "2025-01-01T00:00:00Z",
        "GeneratorId": str(number),
        "RecordState": "ACTIVE",
        "FindingProviderFields": {"Severity": {"Label": "HIGH"}},
        "ProductFields": {PREFIX + name: value for name, value in {"asset_uuid": ASSET, **(fields or {})}.items()},
        **change,
    }
    return json.dumps(finding).encode()


def unpacked(line: bytes) -> dict[str, Any]:
    names = [name for name, _ in FIELDS]
    return dict(zip(names, row.LAYOUT.unpack(row_of_line(line)), strict=False))


def test_a_line_says_all_but_its_content():
    assert unpacked(line_of(7)) == {
        "key": row.key_of(finding_id(7)),
        "content": row.UNKNOWN_CONTENT,
        "asset": row.asset_key(ASSET),
        "plugin": 7,
        "flags": 3,
        "updated_at": MILLISECONDS,
        "first_observed": 1_735_689_600_000,
    }
    bare = unpacked(b'{"Id":"x"}')
    assert bare["asset"] == row.asset_key("")
    assert [bare[name] for name in ("plugin", "flags", "updated_at", "first_observed")] == [0, 0, 0, 0]


ARCHIVED = {"RecordState": "ARCHIVED"}


@pytest.mark.parametrize(
    ("fields", "change", "expected"),
    [
        ({}, {"FindingProviderFields": {"Severity": {"Label": "LOW"}}}, 1),
        ({}, {"FindingProviderFields": {"Severity": {"Label": "ODD"}}}, 0),
        ({"state": "FIXED"}, ARCHIVED, 3 | row.ARCHIVED | row.FIXED),
        ({"state": "OPEN"}, ARCHIVED, 3 | row.ARCHIVED),
        ({"state": "FIXED"}, {}, 3),
        ({"archived_because": row.ASSET_DELETED}, ARCHIVED, 3 | row.ARCHIVED | row.BECAUSE[row.ASSET_DELETED]),
        # Active again: why it was archived is of no account.
        ({"archived_because": row.ASSET_DELETED}, {}, 3),
        ({"severity_modification": "ACCEPTED"}, {}, 3 | row.BECAUSE[row.RISK_ACCEPTED]),
        ({"severity_modification": "ACCEPTED"}, ARCHIVED, 3 | row.ARCHIVED),
        ({"severity_modification": "RECASTED"}, {}, 3),
    ],
)
def test_severity_and_state_of_a_line(fields, change, expected):
    assert unpacked(line_of(7, fields, **change))["flags"] == expected


@pytest.mark.parametrize(
    ("change", "name", "value"),
    [
        ({"GeneratorId": "tenable-audit/7"}, "plugin", 0),
        ({"GeneratorId": "\u0663"}, "plugin", 0),
        ({"GeneratorId": "9" * 30}, "plugin", row.plugin_number(10**29)),
        ({"FirstObservedAt": MOMENT}, "first_observed", MILLISECONDS),
        ({"UpdatedAt": "soon"}, "updated_at", 0),
    ],
)
def test_what_a_line_says_in_another_way(change, name, value):
    assert unpacked(line_of(7, **change))[name] == value


@pytest.fixture
def run(tmp_path: Any) -> RunFolder:
    return RunFolder(f"file://{tmp_path}", "dag", "run")


def staged(run: RunFolder, *lines: bytes) -> str:
    return write_lines(run.destination(ACCOUNT, REGION), "part-0", lines)


def test_rows_beside_the_part_count_with_their_ids(run):
    part = staged(run, line_of(1), line_of(2))
    # The content and the moment are in none of the lines.
    rows = [row.LAYOUT.pack(bytes(16), 5, bytes(16), number, 3, 1, 2) + bytes([9, *bytes(7)]) for number in (1, 2)]
    ids = "é/1\nx/2\n".encode()
    write_rows(run.rows(ACCOUNT, REGION, part), b"".join(rows), SIZE, ids)
    found, of_rows = staged_rows_and_ids(run, ACCOUNT, REGION, part, 2)
    assert list(of_rows) == ["é/1", "x/2"]
    for each in (found, staged_rows(run, ACCOUNT, REGION, part, 2)):
        assert each["plugin"].tolist() == [1, 2]
        assert (each["content"].tolist(), each["as_of"].tolist()) == ([5, 5], [9, 9])


@pytest.mark.parametrize("beside", ["nothing", "rows of another number", "rows of another length"])
def test_rows_that_do_not_fit_are_made_of_the_lines(run, beside):
    part = staged(run, line_of(1), line_of(2))
    if beside != "nothing":
        size = SIZE if beside.endswith("number") else SIZE - 8
        write_rows(run.rows(ACCOUNT, REGION, part), bytes(3 * size), size)
    found, ids = staged_rows_and_ids(run, ACCOUNT, REGION, part, 2)
    assert list(ids) == [finding_id(1), finding_id(2)]
    for each in (found, staged_rows(run, ACCOUNT, REGION, part, 2)):
        assert each["plugin"].tolist() == [1, 2]
        assert (each["content"].tolist(), each["as_of"].tolist()) == ([row.UNKNOWN_CONTENT] * 2, [0, 0])


def test_ids_are_read_from_the_lines_where_the_rows_have_none(run):
    part = staged(run, line_of(1), line_of(2))
    write_rows(run.rows(ACCOUNT, REGION, part), bytes(2 * SIZE), SIZE)
    found, ids = staged_rows_and_ids(run, ACCOUNT, REGION, part, 2)
    assert (found["plugin"].tolist(), list(ids)) == ([0, 0], [finding_id(1), finding_id(2)])


@pytest.mark.parametrize("count", [1, 3])
def test_a_part_with_another_number_of_lines_is_an_error_that_says_what_to_do(run, count):
    part = staged(run, line_of(1), line_of(2))
    for read in (staged_rows, staged_rows_and_ids):
        with pytest.raises(StagingError) as error:
            read(run, ACCOUNT, REGION, part, count)
        assert str(error.value) == (
            f"The staged part {run.destination(ACCOUNT, REGION) / part} has 2 findings, its manifest says {count}. "
            "Clear the run's tasks from the transform on."
        )
