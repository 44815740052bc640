"""What the requirement checks say of each audit that is on record."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import NotFoundError, TemporaryError, TenablePermissionError
from airflow_provider_tenable.requirements.of_audits import check_audits
from airflow_provider_tenable.scan.audited_accounts import Audited, record
from airflow_provider_tenable.tenable_vm.api_user import ApiUser
from airflow_provider_tenable.tenable_vm.scan_runs import LatestStatus

ASSET = "0b5e8a2c-6f3d-4c1e-9a7b-2d4f6a8c0e1f"
SCAN = f"template-{ASSET}00000000000000000000"
USER: Any = SimpleNamespace(spec=ApiUser)


def audit_of(account: str, *assets: str) -> Audited:
    return Audited(
        account=account, partition="aws", regions=(), audits=(), credential=ASSET, name=f"of {account}", assets=assets
    )


def lines(staging: Path, answer: Any, most: int = 50, user: Any = USER) -> list[tuple[str, str, str, str]]:
    """(check, subject, state, detail) of each line. :param answer: Tenable's, to each question for a status."""

    def latest_status(scan: Any) -> LatestStatus:
        if isinstance(answer, Exception):
            raise answer
        return LatestStatus(answer, None)

    hook: Any = SimpleNamespace(scan_runs=SimpleNamespace(latest_status=latest_status))
    found = check_audits(hook, user, f"file://{staging}", most=most)
    return [(line.check, line.subject, line.state, line.detail) for line in found]


@pytest.mark.parametrize(
    ("answer", "state", "detail"),
    [
        ("completed", "ok", "Its newest run is completed."),
        ("running", "ok", "Its newest run is running."),
        ("a status of tomorrow", "ok", "Its newest run is a status of tomorrow."),
        ("aborted", "failed", "Its newest run is aborted, so its results are incomplete."),
        ("canceled", "failed", "Its newest run is canceled, so its results are incomplete."),
        ("empty", "failed", "It has never run."),
        (NotFoundError("gone"), "failed", "gone"),
        (TenablePermissionError("403"), "unchecked", "403"),
        (TemporaryError("503"), "unchecked", "503"),
    ],
    ids=str,
)
def test_the_state_is_that_of_the_newest_run(tmp_path: Path, answer: Any, state: str, detail: str) -> None:
    record(f"file://{tmp_path}", SCAN, audit_of("111122223333", ASSET))
    [scan, asset] = lines(tmp_path, answer)
    assert scan == ("audit.scans", "111122223333: of 111122223333", state, detail)
    assert asset[2] == "ok"


def test_a_completed_run_without_results_is_no_audit(tmp_path: Path) -> None:
    record(f"file://{tmp_path}", SCAN, audit_of("111122223333"))
    [scan, _] = lines(tmp_path, "completed")
    assert scan[2:] == ("failed", "Its newest run is completed, but none of its runs had the result of a check.")
    assert lines(tmp_path, "running")[0][2] == "ok", "the results of its first run are yet to come"


def test_nothing_is_wrong_without_audits_and_nothing_known_without_keys_or_records(tmp_path: Path) -> None:
    assert [line[2] for line in lines(tmp_path, "completed")] == ["ok", "ok"]
    record(f"file://{tmp_path}", SCAN, audit_of("111122223333"))
    assert [line[2] for line in lines(tmp_path, "completed", user=TemporaryError("503"))] == ["unchecked", "unchecked"]
    [file] = (tmp_path / "audits").glob("*.json")
    file.write_text("{")
    assert [line[:3] for line in lines(tmp_path, "completed")] == [
        ("audit.scans", "", "failed"),
        ("audit.assets", "", "unchecked"),
    ]


def test_there_is_a_bound_and_every_collision_has_its_line(tmp_path: Path) -> None:
    for number in range(4):
        record(f"file://{tmp_path}", f"template-{number}{SCAN[10:]}", audit_of(f"11112222333{number // 2}", ASSET))
    found = lines(tmp_path, "completed", most=3)
    assert [line[:3] for line in found] == [
        ("audit.scans", "111122223330: of 111122223330", "ok"),
        ("audit.scans", "111122223330: of 111122223330", "ok"),
        ("audit.scans", "111122223331: of 111122223331", "ok"),
        ("audit.scans", "", "unchecked"),
        ("audit.assets", ASSET, "failed"),
    ]
    assert found[3][3] == "1 of 4 audits were not looked at."
