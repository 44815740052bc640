"""The sensor for exports, against the sandbox's Tenable over sockets and exports of our own operator."""

from __future__ import annotations

import json
import uuid

import pytest

from airflow_provider_tenable._compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.results import iter_vulnerabilities
from airflow_provider_tenable.run import owner
from airflow_provider_tenable.sensors.tenable_exports import TenableExportSensor
from airflow_provider_tenable.staging.layout import RunFolder
from sandbox.tenable.access import SECRET_KEY
from tests.scan_tasks import context_of, run_deferred

BOTH = pytest.mark.parametrize("deferrable", [False, True])
OURS = {"external_dag_id": "dag", "external_run_id": "run"}


@pytest.fixture(autouse=True)
def _variables(staging, quick, monkeypatch):
    variables: dict[str, str] = {}
    monkeypatch.setattr(owner, "read_variable", variables.get)
    monkeypatch.setattr(owner, "write_variable", lambda name, value, text: variables.update({name: value}))


def sensor(**arguments):
    return TenableExportSensor(
        task_id="wait", **{"poke_interval": 20, "timeout": 3600, "deferrable": False, **arguments}
    )


def requested(hook):
    """A job that somebody else has requested."""
    return hook.start_export("vulnerabilities", {"num_assets": 50, "filters": {"since": 1}})


def finish(tenable, job):
    """Jobs of the sandbox end in real time: this one has begun long ago."""
    tenable.tenable.jobs[job].begun -= 100_000


def exported():
    """An export of our own, with chunks."""
    task = TenableExportOperator(task_id="export", filters={"since": 1, "state": ["OPEN"]}, deferrable=False)
    return task.execute(context_of(task))


@BOTH
def test_it_waits_for_a_job_of_tenable_and_leaves_its_chunks_alone(tenable, hook, deferrable):
    tenable.switch(prepare_seconds=50_000)
    job = requested(hook)
    task = sensor(job_uuid=job, deferrable=deferrable)
    assert task.poke(context_of(task)).is_done is False
    if deferrable:
        with pytest.raises(TaskDeferred) as deferred:
            task.execute(context_of(task))
        path, kwargs = deferred.value.trigger.serialize()
        finish(tenable, job)
        result = getattr(task, deferred.value.method_name)(context_of(task), event={}, **deferred.value.kwargs)
        assert path == "airflow_provider_tenable.triggers.tenable.TenableExportTrigger"
        assert (kwargs["job_uuid"], kwargs["cancels"], kwargs["poll_interval"]) == (job, False, 20.0)
        # Chunks are no news for it.
        assert kwargs["chunks_staged"] > 1_000_000
        assert SECRET_KEY not in json.dumps(kwargs)
    else:
        finish(tenable, job)
        result = task.poke(context_of(task)).xcom_value
    assert result == {
        "export": "vulnerabilities",
        "uuid": job,
        "status": "FINISHED",
        "chunks": len(hook.export_status("vulnerabilities", job).chunks),
    }
    assert tenable.calls("vulns_chunk") == tenable.calls("cancel") == 0


def test_a_job_that_was_cancelled_fails_the_task(tenable, hook):
    tenable.switch(prepare_seconds=50_000)
    job = requested(hook)
    hook.cancel_export("vulnerabilities", job)
    with pytest.raises(AirflowFailException, match=f"The vulnerabilities export {job} ended CANCELLED"):
        sensor(job_uuid=job).poke({})


def test_a_job_that_does_not_exist_fails_the_task_at_once(tenable):
    with pytest.raises(AirflowFailException):
        sensor(job_uuid=str(uuid.uuid4())).poke({})


def test_trouble_of_tenable_is_waited_out(tenable, hook):
    job = requested(hook)
    # More than the client repeats by itself.
    tenable.order("vulns_status", "status", status=503, times=30)
    task = sensor(job_uuid=job)
    assert task.poke({}).is_done is False
    tenable.tenable.faults.clear()
    assert task.poke({}).is_done is True


@pytest.mark.parametrize(("soft_fail", "error"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)])
def test_the_wait_ends_with_the_timeout(tenable, hook, soft_fail, error):
    tenable.switch(prepare_seconds=50_000)
    job = requested(hook)
    task = sensor(job_uuid=job, deferrable=True, timeout=0, soft_fail=soft_fail)
    with pytest.raises(error, match=f"export {job} has not ended within 0 s"):
        task.execute(context_of(task))


@BOTH
def test_it_waits_for_a_finished_export_of_ours_whose_result_can_be_read(tenable, deferrable):
    task = sensor(**OURS, deferrable=deferrable)
    assert task.poke(context_of(task)).is_done is False
    result = exported()
    found = run_deferred(task, tenable)[0] if deferrable else task.poke(context_of(task)).xcom_value
    assert found == result
    assert found["records"] == sum(1 for _ in iter_vulnerabilities(found)) > 0


def test_a_deferred_wait_for_ours_is_airflows_own_trigger(tenable):
    task = sensor(**OURS, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context_of(task))
    path, kwargs = deferred.value.trigger.serialize()
    assert path.endswith((".TimeDeltaTrigger", ".DateTimeTrigger"))
    assert "run" not in json.dumps(kwargs, default=str)


def test_an_export_whose_chunks_were_removed_is_not_handed_on(tenable):
    result = exported()
    run = RunFolder.of(context_of(sensor(**OURS)))
    parts = [path for path in run.export("vulnerabilities").iterdir() if path.name.startswith("part-")]
    assert len(parts) == result["parts"] > 0
    parts[0].unlink()
    with pytest.raises(AirflowFailException, match=f"1 of its {len(parts)} chunks are not staged any more"):
        sensor(**OURS).poke(context_of(sensor(**OURS)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "either job_uuid, or external_dag_id and external_run_id"),
        ({"job_uuid": ""}, "either job_uuid"),
        ({"job_uuid": str(uuid.UUID(int=1)), **OURS}, "either job_uuid"),
        ({"external_dag_id": "dag"}, "either job_uuid"),
        ({"job_uuid": str(uuid.UUID(int=1)), "external_run_id": "run"}, "either job_uuid"),
        ({"job_uuid": "../../users"}, "must be the UUID of an export job"),
        ({"external_dag_id": "..", "external_run_id": "run"}, "cannot be the name of a staging folder"),
        ({"external_dag_id": "dag", "external_run_id": "a/../b"}, "cannot be the name of a staging folder"),
        ({"export": "nothing", **OURS}, "export='nothing' is not one of"),
    ],
)
def test_what_it_cannot_wait_for_fails_without_a_retry_and_without_a_request(tenable, arguments, said):
    task = sensor(**arguments)
    with pytest.raises(AirflowFailException, match=said):
        task.poke(context_of(task))
    assert not tenable.tenable.calls
