"""That an application has moved is seen from where a run has its active findings."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pyarrow as pa

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.run.moved_applications import moved, places_of
from airflow_provider_tenable.security_hub.assignment import Target
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.gone import MOVED, NOT_REPORTED
from airflow_provider_tenable.transform.output import FindingsWriter
from airflow_provider_tenable.transform.routing import Destination

HERE, THERE, REGION = "111122223333", "444455556666", "eu-west-1"
#: The first ends with a zero byte, the second has only zeros after its first byte.
STAYS, LEAVES, ARCHIVED = (
    UUID("01020304-0506-4708-890a-0b0c0d0e0f00").bytes,
    UUID("01000000-0000-0000-0000-000000000000").bytes,
    UUID("01020304-0506-4708-890a-0b0c0d0e0f02").bytes,
)


def staged(folder: Path, *findings: tuple[str, bytes, bool]) -> tuple[RunFolder, dict[str, Target]]:
    """A run with such findings: account, asset, and whether the finding is archived."""
    run = RunFolder(f"file://{folder}", "dag", "run")
    writer = FindingsWriter(run, 0)
    for number, (account, asset, is_archived) in enumerate(findings):
        packed = row.LAYOUT.pack(
            bytes([number] * 16), 1, asset, 7, row.flags(2, archived=is_archived, fixed=is_archived, because=""), 1, 1
        )
        via = Destination("aws_default", (account,), None, None, account, REGION)
        writer.write(account, REGION, b'{"Id":"%d"}' % number, "high", via, packed)
    manifest = writer.close({})  # type: ignore[typeddict-item]
    targets = {
        f"{each['account']}/{each['region']}": Target(
            each["account"], each["region"], None, None, [(part["name"], part["lines"]) for part in each["parts"]]
        )
        for each in manifest["destinations"]
    }
    return run, targets


def test_an_application_is_where_it_has_active_findings(tmp_path: Path) -> None:
    run, targets = staged(
        tmp_path, (HERE, STAYS, False), (HERE, ARCHIVED, True), (THERE, STAYS, False), (THERE, LEAVES, False)
    )
    assert places_of(run, targets) == {
        f"{HERE}/{REGION}": frozenset({STAYS}),
        f"{THERE}/{REGION}": frozenset({STAYS, LEAVES}),
    }


def test_only_what_is_elsewhere_and_not_here_has_moved() -> None:
    table = pa.table(
        {
            "asset": pa.array([STAYS, LEAVES, ARCHIVED, LEAVES], pa.binary(16)),
            "reason": [NOT_REPORTED, NOT_REPORTED, NOT_REPORTED, "asset_deleted"],
        }
    )
    places = {HERE: frozenset({STAYS}), THERE: frozenset({STAYS, LEAVES})}
    found = moved(table, places, HERE)
    assert found["reason"].to_pylist() == [NOT_REPORTED, MOVED, NOT_REPORTED, "asset_deleted"]
    # A hub of which this run has no findings at all.
    assert moved(table, places, "elsewhere")["reason"].to_pylist() == [MOVED, MOVED, NOT_REPORTED, "asset_deleted"]
    assert moved(table, places, THERE)["reason"].to_pylist() == table["reason"].to_pylist()
