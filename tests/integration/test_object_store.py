"""Staging on an S3-compatible store that checks signatures, lists in short pages and asks for patience: the same runs,
the same results.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError, StagingError, UnservedError
from airflow_provider_tenable.run import retention
from airflow_provider_tenable.staging.files import (
    content_of,
    create_json,
    names,
    read_json,
    remove,
    remove_file,
    write_json,
    write_whole,
)
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.location import open_path
from tests.compose import ROOT
from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import DAG_ID, Run, Variables
from tests.object_store import BUCKET, ObjectStore
from tests.sandbox_driver import Sandbox

pytest.importorskip("moto", reason="the store is moto's")


@pytest.fixture
def base(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """URI of a staging area of this test's own."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_STAGING", object_store.connection())
    return f"s3://aws_staging@{BUCKET}/{request.node.name}"


@pytest.fixture
def on_s3(base: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> str:
    """The sandbox, and staging on the store."""
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", base)
    return base


def keys(store: ObjectStore, base: str) -> list[str]:
    prefix = base.rpartition("/")[2] + "/"
    return [key.removeprefix(prefix) for key in store.objects(prefix)]


@pytest.mark.usefixtures("on_s3")
def test_runs_deliver_what_they_deliver_from_a_disk(
    object_store: ObjectStore,
    on_s3: str,
    sandbox: Sandbox,
    variables: Variables,
    defaults: dict[str, Any],
    tmp_path: Path,
) -> None:
    first = Run(defaults=defaults, run_id="scheduled__2026-11-24T00:00:00+00:00")
    first.execute()
    waiting = [name for name in names(first.folder.parked_pool) if "--waiting-" in name]
    assert sorted(name.partition(".")[2] for name in waiting) == ["assets", "jsonl.zst"]
    [part] = [name for name in waiting if name.endswith(".zst")]
    # No asset of these records has settled by the next run: it looks at the list beside them.
    write_whole(first.folder.parked_pool / part, b"not read")
    sandbox.advance(86400)
    second = Run(defaults=defaults)
    second.execute()
    assert delivered(sandbox.documents()) == expected(sandbox.tenable("truth"), accounts=sandbox.accounts)
    assert 0 < second.ledger["exported"] < first.ledger["exported"]
    assert "Complete: every record is accounted for" in second.report
    found = keys(object_store, on_s3)
    assert {key.split("/")[1] for key in found} == {
        first.run_id,
        second.run_id,
        RunFolder.ASSET_INDEX,
        RunFolder.FINDING_INDEX,
        RunFolder.DEPLOYMENT,
        # Records whose asset may still turn out to be an EC2 instance.
        RunFolder.PARKED,
    }
    assert {"run.json", "shards.json", "ledger.json", "assets/export.json", "vulnerabilities/export.json"} <= {
        key.partition(f"{first.run_id}/")[2] for key in found
    }
    assert not list((tmp_path / "staging").rglob("*"))


@pytest.mark.usefixtures("on_s3")
def test_a_cleared_run_goes_on_with_what_it_has_staged(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    run = Run(defaults=defaults)
    body = {"Code": "AccessDeniedException", "Message": "not now"}
    headers = {"x-amzn-ErrorType": "AccessDeniedException"}
    sandbox.aws(
        "faults",
        [
            {
                "on": "BatchImportFindings",
                "do": "status",
                "status": 403,
                "headers": headers,
                "body": body,
                "skip": 2,
                "times": None,
            }
        ],
    )
    # Two places have accepted their findings; the others are most of the run.
    with pytest.raises(UnservedError, match="destination_refused"):
        run.execute()
    assert sandbox.documents()
    sandbox.client.delete(f"{sandbox.process.aws}/_sandbox/faults")
    again = Run(defaults=defaults, run_id=run.run_id)
    again.execute()
    assert delivered(sandbox.documents()) == expected(sandbox.tenable("truth"), accounts=sandbox.accounts)
    assert sandbox.tenable("stats")["jobs"]["vulns"]["created"] == 1


def test_completed_runs_are_removed_after_the_retention(
    object_store: ObjectStore,
    on_s3: str,
    variables: Variables,
    defaults: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, failed, new = (Run(defaults=defaults) for _ in range(3))
    old.execute()
    write_json(failed.folder.plan, {"asked": {}})
    write_json(failed.folder.ledger, {"complete": False})
    write_json(new.folder.plan, {"asked": {}})
    monkeypatch.setattr(retention, "time", SimpleNamespace(time=lambda: time.time() + 20 * 86400))
    assert retention.remove_old_runs(new.context) == [old.run_id]
    assert {key.split("/")[1] for key in keys(object_store, on_s3)} == {
        failed.run_id,
        new.run_id,
        RunFolder.ASSET_INDEX,
        RunFolder.FINDING_INDEX,
        RunFolder.DEPLOYMENT,
        # Records whose asset may still turn out to be an EC2 instance.
        RunFolder.PARKED,
    }
    assert retention.remove_old_runs(new.context) == []


def test_what_another_worker_stages_after_a_listing_is_read(object_store: ObjectStore, base: str) -> None:
    run = RunFolder(base, DAG_ID, "run-1")
    write_json(run.plan, {"number": 1})
    assert names(run.root) == ["run.json"]
    prefix = f"{base.rpartition('/')[2]}/{DAG_ID}/run-1/"
    # As another process does: the file system of this one does not see it happen.
    for name, content in {"run.json": b'{"number": 123456789}', "shards.json": b'{"count": 8}'}.items():
        object_store.client.put_object(Bucket=BUCKET, Key=prefix + name, Body=content)
    assert read_json(run.plan) == {"number": 123456789}
    assert read_json(run.shards) == {"count": 8}
    assert run.shards.exists()
    object_store.client.delete_object(Bucket=BUCKET, Key=prefix + "shards.json")
    assert read_json(run.shards) is None


def test_reading_a_file_asks_once_whether_or_not_it_exists(object_store: ObjectStore, base: str) -> None:
    folder = open_path(base)
    write_json(folder / "one.json", {"number": 1})
    assert read_json(folder / "one.json") == {"number": 1}
    assert read_json(folder / "none.json") is None
    wanted = [line.split() for line in object_store.requests(folder.path) if "SlowDown" not in line]
    assert [(method, path.rpartition("/")[2]) for method, path, *_ in wanted] == [
        ("PUT", "one.json"),
        ("GET", "one.json"),
        ("GET", "none.json"),
    ]


def test_a_file_is_created_by_one_of_several_writers(object_store: ObjectStore, base: str) -> None:
    path = open_path(base) / "owner.json"
    assert create_json(path, {"owner": "first"})
    assert not create_json(path, {"owner": "second"})
    assert read_json(path) == {"owner": "first"}


@pytest.mark.parametrize("run_id", ["manual__2026-11-24T05:46:09.123456+00:00", "half #1", "x?y=%41&z", "größer"])
def test_any_run_id_is_a_folder(base: str, run_id: str) -> None:
    run = RunFolder(base, DAG_ID, run_id)
    assert (names(run.root), read_json(run.plan)) == ([], None)
    for number in range(12):
        write_whole(run.destination("111122223333", "us-east-1") / f"part-{number:02d}", bytes([number]) * number)
    write_json(run.plan, [run_id])
    assert names(run.root) == ["findings", "run.json"]
    folder = open_path(str(run.destination("111122223333", "us-east-1")))
    assert names(folder) == [f"part-{number:02d}" for number in range(12)]
    assert [content_of(folder / name) for name in names(folder)] == [bytes([number]) * number for number in range(12)]
    assert names(run.dag_root) == [run_id]
    remove(run.root)
    assert names(run.dag_root) == []
    remove(run.root)


@pytest.mark.parametrize("run_id", ["run-*", "run-?", "run-[1-9]"])
def test_removing_a_run_leaves_those_that_its_id_would_match_as_a_pattern(base: str, run_id: str) -> None:
    mine, other = RunFolder(base, DAG_ID, run_id), RunFolder(base, DAG_ID, "run-1")
    for run in (mine, other):
        write_json(run.plan, {})
        write_json(run.parked_pool / f"{run.run_id}--part", {})
    remove(mine.root)
    remove_file(mine.parked_pool / f"{run_id}--part")
    remove_file(mine.parked_pool / "not-there")
    assert names(mine.dag_root) == ["parked", "run-1"]
    assert names(other.root) == ["run.json"]
    assert names(other.parked_pool) == ["run-1--part"]


def test_bucket_that_is_missing_or_refused_is_named(
    object_store: ObjectStore, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = RunFolder("s3://aws_staging@no-such-bucket/runs", DAG_ID, "run-1")
    with pytest.raises(
        StagingError,
        match=r"Cannot write s3://aws_staging@no-such-bucket/.*bucket does not exist.*the connection's permissions",
    ):
        write_json(missing.plan, {})
    monkeypatch.setenv(
        "AIRFLOW_CONN_AWS_OTHER", object_store.connection().replace(object_store.keys[1], "another-secret")
    )
    refused = RunFolder(f"s3://aws_other@{BUCKET}/runs", DAG_ID, "run-1")
    with pytest.raises(StagingError, match="Cannot write") as caught:
        write_json(refused.plan, {})
    assert "another-secret" not in str(caught.value)


def test_unknown_store_is_a_mistake_in_the_configuration() -> None:
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        open_path("nosuchstore://bucket/runs")


def test_bucket_is_made_where_it_is_missing(
    object_store: ObjectStore, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", "s3://aws_staging@made-by-script/runs")
    for said in ("Made bucket made-by-script.", "Bucket made-by-script is there."):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", ROOT / "scripts" / "staging_bucket.py"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == said
