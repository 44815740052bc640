"""Killed runs with staging on an S3-compatible store, which has no rename, no locks and no folders: a run that dies at
any boundary is carried on all the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

pytest.importorskip("moto", reason="the store is moto's")

from airflow_provider_tenable.staging.crash_points import CrashPoint
from tests.faults.canary import forms_of, holds_secret, leaks
from tests.faults.pipeline import Pipeline, Zygote
from tests.faults.test_crashes import History, attempt, begun_anew_after_a_failure
from tests.faults.universe import Sandbox
from tests.object_store import BUCKET, ObjectStore

# A run on the store takes long, so all tests go on with one history.
pytestmark = pytest.mark.xdist_group("object_store")

#: An object store puts an object whole: there is nothing to rename.
POINTS = [point for point in CrashPoint if point != CrashPoint.FILE_NOT_RENAMED]
#: Runs that are killed, each at other boundaries.
_RUNS = 5


class StoredPipeline(Pipeline):
    """A DAG that stages on the store."""

    def __init__(self, zygote: Zygote, sandbox: Sandbox, folder: Path, store: ObjectStore) -> None:
        self.store = store
        self.prefix = f"faults-{folder.name}"
        env = {
            "AIRFLOW__TENABLE__STAGING_PATH": f"s3://aws_staging@{BUCKET}/{self.prefix}",
            "AIRFLOW_CONN_AWS_STAGING": store.connection(),
        }
        super().__init__(zygote, sandbox, folder, env=env)

    def ledger(self, run_id: str = "run-1", dag_id: str = "tenable_to_security_hub") -> dict[str, Any]:
        (content,) = self.store.objects(f"{self.prefix}/{dag_id}/{run_id}/ledger.json").values()
        ledger: dict[str, Any] = json.loads(content)
        return ledger


class StoredHistory(History):
    """A deployment that stages on the store."""

    def __init__(self, zygote: Zygote, sandbox: Sandbox, folder: Path, store: ObjectStore) -> None:
        self.store = store
        super().__init__(zygote, sandbox, folder)

    def pipeline_in(self, folder: Path) -> Pipeline:
        return StoredPipeline(self.zygote, self.sandbox, folder, self.store)

    # moto dates an object when it is put, and no older.
    patches: ClassVar[dict[str, float]] = {"airflow_provider_tenable.staging.index_files:_ORPHANED_SECONDS": -1.0}

    def leave_garbage(self) -> None:
        assert isinstance(self.pipeline, StoredPipeline)
        key = f"{self.pipeline.prefix}/tenable_to_security_hub/asset_index/assets-{self.number:064x}.parquet"
        self.store.client.put_object(Bucket=BUCKET, Key=key, Body=b"garbage")


@pytest.fixture(scope="module")
def history_of_module(
    zygote: Zygote, tiny_sandbox: Sandbox, object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> StoredHistory:
    return StoredHistory(zygote, tiny_sandbox, tmp_path_factory.mktemp("history"), object_store)


@pytest.fixture
def history(history_of_module: StoredHistory) -> Iterator[StoredHistory]:
    with begun_anew_after_a_failure(history_of_module) as history:
        yield history


@pytest.fixture(scope="module")
def in_order(history_of_module: StoredHistory) -> list[str]:
    """The boundaries in the order in which a run reaches them first."""
    history = history_of_module
    scene = history.let_something_happen()
    history.pipeline.succeed(f"run-{history.number}", trace=True, patches=history.patches)
    history.check(scene)
    return list(dict.fromkeys((history.pipeline.folder / "boundaries").read_text().split()))


# A run on the store takes several times the CPU of one on a disk, where each boundary has a run of its own. Here a run
# is killed at every fifth boundary, again and again.
@pytest.mark.parametrize("begin", range(_RUNS))
def test_run_on_an_object_store_killed_at_every_boundary_is_carried_on(
    in_order: list[str], history: StoredHistory, begin: int
) -> None:
    assert set(in_order) == set(POINTS)
    attempt(history, *in_order[begin::_RUNS], carry_on="retry")


def test_replay_works_from_an_object_store(history: StoredHistory, sandbox: Sandbox) -> None:
    history.begin()
    scene = history.let_something_happen()
    history.pipeline.succeed(f"run-{history.number}")
    sandbox.clear_faults()
    # The documentation's command, where Airflow runs.
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "airflow_provider_tenable.command.rejected",
        f"run-{history.number}",
    ]
    env = {**os.environ, **history.pipeline.env}
    shown = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True).stdout
    assert [json.loads(line)["id"] for line in shown.splitlines()] == [scene["refused"]]
    before = sandbox.aws("summary")["imports"]["received"]
    history.pipeline.succeed("replay-1", replay={"run_id": f"run-{history.number}"})
    assert sandbox.aws("summary")["imports"]["received"] - before == 1
    assert isinstance(history.pipeline, StoredPipeline)
    ledger = history.pipeline.ledger("replay-1", "tenable_replay_rejected")
    assert (ledger["accepted"], ledger["rejected"]) == (1, {})
    truth = sandbox.documents()
    assert scene["refused"] in truth


def test_neither_the_store_nor_the_disk_holds_a_key(
    history_of_module: StoredHistory, object_store: ObjectStore
) -> None:
    assert leaks(history_of_module.folder) == []
    assert not list(history_of_module.folder.rglob("staging"))
    objects = object_store.objects("faults-")
    assert len(objects) > 10
    secrets = forms_of(object_store.keys[1])
    for place, content in objects.items():
        assert not holds_secret(content), place
        assert not holds_secret(content, secrets), place
    for path in history_of_module.folder.rglob("*"):
        assert not path.is_file() or not holds_secret(path.read_bytes(), secrets), path
