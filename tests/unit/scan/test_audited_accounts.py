"""Which account an audit's results belong to: recorded, found by asset, never guessed."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError, StagingError
from airflow_provider_tenable.scan.audited_accounts import Audited, add_assets, is_recorded, read_all, record
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.location import open_path


def schedule() -> str:
    return f"template-{uuid.uuid4()}"


def audit(account: str = "111122223333", **fields: Any) -> Audited:
    usual: dict[str, Any] = {
        "partition": "aws",
        "regions": ("eu-west-1",),
        "audits": ("72426_CIS_Amazon_Web_Services_Foundations_v7.0.0_L1.audit",),
        "credential": "d37f77aa-3d5c-45fb-863e-998dbe06763e",
        "name": f"AWS audit {account}",
    }
    return Audited(account=account, **{**usual, **fields})


@pytest.fixture
def staging(tmp_path: Path) -> str:
    return f"file://{tmp_path}"


def test_an_asset_is_found_by_the_runs_of_its_scan(staging: str, tmp_path: Path) -> None:
    scan, asset = schedule(), str(uuid.uuid4())
    assert add_assets(staging, scan, [asset]) == [], "not an audit: nothing is recorded"
    assert read_all(staging).by_asset == {}
    assert not is_recorded(staging, scan)
    record(staging, scan, audit())
    assert is_recorded(staging, scan)
    assert read_all(staging).by_asset == {}
    assert add_assets(staging, scan, [asset.upper(), "not-a-uuid"]) == []
    found = read_all(staging)
    assert found.collisions == ()
    assert found.by_asset == {asset: audit(assets=(asset,))}
    # The next configuration of the scan does not forget them, and another run adds its own.
    record(staging, scan, audit(regions=("eu-west-1", "us-east-1")))
    add_assets(staging, scan, ["5ad6ed25-79a7-4fdb-8a4f-0b6a92d6ac16"])
    assert read_all(staging).by_asset[asset].assets == (asset, "5ad6ed25-79a7-4fdb-8a4f-0b6a92d6ac16")
    written = json.loads((tmp_path / "audits" / f"{scan}.json").read_text())
    assert written == {
        "version": 1,
        "account": "111122223333",
        "partition": "aws",
        "regions": ["eu-west-1", "us-east-1"],
        "audits": ["72426_CIS_Amazon_Web_Services_Foundations_v7.0.0_L1.audit"],
        "credential": "d37f77aa-3d5c-45fb-863e-998dbe06763e",
        "name": "AWS audit 111122223333",
        "assets": [asset, "5ad6ed25-79a7-4fdb-8a4f-0b6a92d6ac16"],
        "format": 1,
        "checksum": written["checksum"],
    }


def test_an_asset_of_two_accounts_is_a_collision_and_of_no_account(staging: str) -> None:
    one, other, asset = schedule(), schedule(), str(uuid.uuid4())
    record(staging, one, audit())
    record(staging, other, audit("444455556666"))
    assert add_assets(staging, one, [asset]) == []
    [collision] = add_assets(staging, other, [asset])
    assert collision.asset == asset
    assert set(collision.scans) == {one, other}
    assert read_all(staging).by_asset == {}
    assert read_all(staging).collisions == (collision,)
    for word in ("111122223333", "444455556666", asset, f"{one}.json", "network of its own"):
        assert word in str(collision)


def test_two_scans_of_one_account_may_share_an_asset(staging: str) -> None:
    one, other, asset = sorted([schedule(), schedule()])[0], schedule(), str(uuid.uuid4())
    for scan in (one, other):
        record(staging, scan, audit())
        assert add_assets(staging, scan, [asset]) == []
    assert read_all(staging).by_asset[asset].account == "111122223333"


def test_a_scan_stays_with_its_account(staging: str) -> None:
    scan = schedule()
    record(staging, scan, audit())
    with pytest.raises(ConfigurationError, match=r"audits account 111122223333 .* not 444455556666"):
        record(staging, scan, audit("444455556666"))
    assert is_recorded(staging, scan)


@pytest.mark.parametrize("bad", ["../other", "template-x", "", "template-../../d37f77aa-3d5c-45fb-863e-998dbe06763e"])
def test_only_uuids_become_names_of_files(staging: str, bad: str) -> None:
    with pytest.raises(ConfigurationError, match="not the schedule uuid"):
        record(staging, bad, audit())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"account": 111122223333}, "account"),
        ({"account": "1"}, "account"),
        ({"partition": "aws-x"}, "partition"),
        ({"assets": "x"}, "assets"),
        ({"assets": ["../x"]}, "assets"),
        ({"regions": {}}, "regions"),
        ({"audits": [1]}, "audits"),
        ({"name": None}, "name"),
        ({"credential": 1}, "credential"),
        ({"version": 2}, "version 2"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_not_used(
    staging: str, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    scan = schedule()
    record(staging, scan, audit())
    path = tmp_path / "audits" / f"{scan}.json"
    value = {**json.loads(path.read_text()), **change}
    # With a checksum of its own: what is wrong is what the file says.
    del value["checksum"], value["format"]
    write_json(open_path(f"file://{path}"), value)
    with pytest.raises(StagingError, match=rf"{problem}.*Remove it, and run the DAG that audits the account again"):
        read_all(staging)
    for text in ("[]", "null x", ""):
        path.write_text(text)
        with pytest.raises(StagingError):
            read_all(staging)


def test_other_files_are_left_alone(staging: str, tmp_path: Path) -> None:
    record(staging, schedule(), audit())
    for name in (".json", "notes.json", f"{schedule()}.json.tmp", "README"):
        (tmp_path / "audits" / name).write_text("{")
    assert read_all(staging).collisions == ()


def test_no_dag_can_have_the_folder(staging: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a staging folder"):
        RunFolder(staging, "audits", "r")
