"""The set of docker-compose.yaml, run for real: two Celery workers, PostgreSQL, Redis, staging on S3. One worker is
lost in the middle of its imports.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

pytest.importorskip("airflow.providers.celery", reason="make test-celery has an environment of its own")

from tests.celery.cluster import DAG_ID, Cluster
from tests.celery.servers import Postgres, Redis, wait_until
from tests.faults.canary import forms_of, holds_secret
from tests.faults.universe import Sandbox, differences, expected
from tests.object_store import ObjectStore

pytestmark = pytest.mark.system

BATCH, IN_FLIGHT = 20, 4
WORKERS = {"worker-1", "worker-2"}


class _Servers:
    """The sandbox of the cluster, in the form that the fault suite's client knows."""

    def __init__(self, cluster: Cluster) -> None:
        self.tenable, self.aws = cluster.url("sandbox:8741"), cluster.url("sandbox:8742")
        self.facts: dict[str, Any] = {
            "accounts": json.loads(cluster.values["DAG_PARAMS"])["destinations"][0]["accounts"]
        }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    def give_up(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # Whoever ends the tests ends the processes too.
    before = signal.signal(signal.SIGTERM, give_up)
    example = json.loads(Cluster(tmp_path_factory.mktemp("example"), {}).values["DAG_PARAMS"])
    with Cluster(
        tmp_path_factory.mktemp("cluster"), {"DAG_PARAMS": json.dumps({**example, "batch_size": BATCH})}
    ) as cluster:
        cluster.start_all()
        yield cluster
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def sandbox(cluster: Cluster) -> Iterator[Sandbox]:
    sandbox = Sandbox(_Servers(cluster))  # type: ignore[arg-type]
    yield sandbox
    sandbox.client.close()


def staged(cluster: Cluster, run_id: str, path: str) -> dict[str, bytes]:
    store = cluster.children["staging"]
    assert isinstance(store, ObjectStore)
    prefix = f"runs/{DAG_ID}/{run_id}/"
    return {key.removeprefix(prefix): data for key, data in store.objects(prefix + path).items()}


def receipts(cluster: Cluster, run_id: str) -> dict[str, int]:
    """Findings that have a receipt, by ``account/region``."""
    found = {}
    for key, data in staged(cluster, run_id, "receipts/").items():
        _, *lines = [json.loads(line) for line in data.splitlines()]
        found[key.removeprefix("receipts/").removesuffix(".jsonl")] = sum(
            line["accepted"] + sum(line["rejected"].values()) for line in lines
        )
    return found


def received(sandbox: Sandbox) -> dict[str, int]:
    """Findings that the hubs have been sent, by ``account/region``."""
    return {place: counts["received"] for place, counts in sandbox.aws("stats")["by"].items()}


def finish(once: subprocess.Popen[str], seconds: float) -> tuple[int, str]:
    try:
        output, _ = once.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        once.kill()
        output, _ = once.communicate()
        raise AssertionError(f"the one-shot service did not end in {seconds} s:\n{output}") from None
    return once.returncode, output


def test_run_survives_the_loss_of_a_worker_in_the_middle_of_its_imports(cluster: Cluster, sandbox: Sandbox) -> None:
    # An import takes seconds then, so that there is a middle.
    sandbox.aws("options", {"latency_ms": 1500})
    once = cluster.once()
    try:
        wait_until(lambda: sum(received(sandbox).values()) or once.poll() is not None, 600, "no import began")
        assert once.poll() is None, "the run ended before it imported anything"
        run_id = cluster.runs()[0]["dag_run_id"]

        def in_the_middle() -> dict[str, Any] | None:
            noted = receipts(cluster, run_id)
            running = [each for each in cluster.tasks(run_id, "import_findings") if each["state"] == "running"]
            return next((each for each in running if noted.get(each["rendered_map_index"], 0) >= BATCH), None)

        victim = wait_until(in_the_middle, 300, "no import has a receipt", pause=0.5)["hostname"]
        assert victim in WORKERS
        cluster.lose(victim)
        lost = [
            each["rendered_map_index"]
            for each in cluster.tasks(run_id, "import_findings")
            if (each["state"], each["hostname"]) == ("running", victim)
        ]
        cluster.say(f"{victim} is lost, with the imports of {lost}.")
        # The calls that were in flight end at the hub, which does not know that the caller is gone.
        sent = wait_until(lambda: _settled(sandbox, lost), 120, "calls in flight did not end")
        noted = receipts(cluster, run_id)
        sandbox.aws("options", {"latency_ms": 0})
    except BaseException:
        once.kill()
        print(once.communicate()[0])
        raise
    status, output = finish(once, 900)
    assert status == 0, output
    cluster.say("The run has ended.")

    assert differences(sandbox.held(), expected(sandbox.truth(), sandbox.accounts)) == {}
    ledger = json.loads(staged(cluster, run_id, "ledger.json")["ledger.json"])
    assert ledger["complete"]
    assert ledger["findings"] - ledger["never_imported"] == ledger["accepted"] > 5000
    imports = {each["rendered_map_index"].split(": ")[0]: each for each in cluster.tasks(run_id, "import_findings")}
    (other,) = WORKERS - {victim}
    assert any(noted.get(place, 0) for place in lost)
    for place in lost:
        # Its retry ran on the other worker, and sent what had no receipt: neither more nor less.
        assert (imports[place]["try_number"], imports[place]["hostname"]) == (2, other)
        counts = ledger["destinations"][place]
        to_send = counts["findings"] - counts.get("never_imported", 0)
        assert received(sandbox)[place] - sent[place] == to_send - noted.get(place, 0)
        # Sent twice is only what was in flight, or answered in the seconds since the last receipts.
        assert sent[place] - noted.get(place, 0) <= 3 * IN_FLIGHT * BATCH
    assert {each["try_number"] for place, each in imports.items() if place not in lost} == {1}
    assert sandbox.jobs() == {"created": 1, "running": 0, "cancelled": 0}
    assert f"Run {run_id}: success." in output
    assert re.search(r"Accepted.*\|\s*6,\d\d\d", output), output


def _settled(sandbox: Sandbox, places: list[str]) -> dict[str, int] | None:
    before = {place: received(sandbox).get(place, 0) for place in places}
    time.sleep(2.5)
    return before if before == {place: received(sandbox).get(place, 0) for place in places} else None


def test_next_run_shares_the_work_between_both_workers(cluster: Cluster, sandbox: Sandbox) -> None:
    lost = next(iter(WORKERS - cluster.children.keys()))
    # As `restart: unless-stopped` does.
    cluster.start(lost)
    cluster.wait(lost)
    sandbox.advance(86400)
    status, output = finish(cluster.once("--conf", '{"dry_run": false}'), 900)
    assert status == 0, output
    run_id = cluster.runs()[0]["dag_run_id"]
    tasks = cluster.tasks(run_id)
    assert {each["hostname"] for each in tasks} == WORKERS
    assert {each["state"] for each in tasks} == {"success"}
    assert differences(sandbox.held(), expected(sandbox.truth(), sandbox.accounts)) == {}
    # The DAG was paused, and is again.
    assert cluster.api(f"/dags/{DAG_ID}")["is_paused"]


def test_failed_run_makes_the_one_shot_service_fail(cluster: Cluster) -> None:
    watermark = cluster.api(f"/variables/{DAG_ID}__since")["value"]
    status, output = finish(cluster.once(RUN_CONF='{"since": "2099-01-01T00:00:00Z"}'), 300)
    assert status == 1, output
    assert "plan_run: failed" in output
    assert re.search(r"Run \S+: failed\.", output)
    assert cluster.api(f"/variables/{DAG_ID}__since")["value"] == watermark


def test_run_that_cannot_be_started_has_a_status_of_its_own(cluster: Cluster) -> None:
    status, output = finish(cluster.once("--conf", '{"batch_size": 101}'), 120)
    assert status == 2
    assert "batch_size" in output


def test_nothing_is_staged_outside_the_object_store(cluster: Cluster) -> None:
    assert not [
        path for path in (cluster.home / "homes").rglob("*") if re.search(r"\.(zst|parquet|jsonl|gz)$", path.name)
    ]
    store = cluster.children["staging"]
    assert isinstance(store, ObjectStore)
    kinds = {key.rpartition(".")[2] for key in store.objects()}
    assert {"zst", "parquet", "jsonl", "json"} <= kinds
    # The store answered some requests with SlowDown, as S3 does, and every run succeeded nevertheless.
    assert "SlowDown" in store.log.read_text()


def test_no_secret_is_in_what_was_written(cluster: Cluster) -> None:
    """Logs, Airflow's homes, staged objects, XComs, rendered templates, triggers, messages of the queue."""
    secrets = forms_of(*cluster.secrets)
    postgres, redis, store = (cluster.children[name] for name in ("postgres", "redis", "staging"))
    assert isinstance(postgres, Postgres)
    assert isinstance(redis, Redis)
    assert isinstance(store, ObjectStore)
    written = {str(path): path.read_bytes() for path in _files(cluster.home)}
    assert len([name for name in written if "/logs/" in name]) > 30
    objects = store.objects()
    assert len(objects) > 50
    tables = {name: content.encode() for name, content in postgres.contents().items()}
    assert {"xcom", "rendered_task_instance_fields", "trigger", "log", "task_instance", "celery_taskmeta"} <= set(
        tables
    )
    assert tables["xcom"]
    for place, data in {**written, **objects, **tables, "redis": redis.contents().encode()}.items():
        assert not holds_secret(data, secrets), place


def _files(home: Path) -> Iterator[Path]:
    """What the components wrote: not the env file, or the file of passwords that Airflow's login reads. The sandbox
    prints its keys.
    """
    known = {home / "env", home / "sandbox.log", home / "homes" / "api-server" / "passwords.json"}
    for path in home.rglob("*"):
        if path.is_file() and path not in known:
            yield path
