"""The export of web application findings by the operator, against the sandbox's Tenable over sockets."""

from __future__ import annotations

import json

import pytest

from airflow_provider_tenable._compat import AirflowFailException, AirflowTaskTimeout, complete_message
from airflow_provider_tenable.export.store import staged_parts
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.run import owner
from airflow_provider_tenable.sensors.tenable_exports import TenableExportSensor
from airflow_provider_tenable.staging.parts import read_part
from airflow_provider_tenable.tenable_vm.decode import decode_chunk
from airflow_provider_tenable.tenable_vm.kinds import WAS
from sandbox.tenable.access import ACCESS_KEY, NO_EXPORT, SECRET_KEY
from tests.scan_tasks import context_of

#: All that a user can filter by and the sandbox knows.
FILTERS = {
    "since": 1,
    "state": ["OPEN", "REOPENED", "FIXED"],
    "severity": ["medium", "high", "critical"],
    "plugin_ids": [98115, 98056, 98104, 98123, 112435, 113075],
    "severity_modification_type": ["NONE", "RECASTED", "ACCEPTED"],
    "owasp_2021": ["A3", "A5"],
}


@pytest.fixture(autouse=True)
def _variables(staging, quick, monkeypatch):
    variables: dict[str, str] = {}
    monkeypatch.setattr(owner, "read_variable", variables.get)
    monkeypatch.setattr(owner, "write_variable", lambda name, value, text: variables.update({name: value}))


def task(**arguments):
    usual = {"task_id": "export", "export": "was", "filters": FILTERS, "deferrable": False, "poll_interval": 0.1}
    return TenableExportOperator(**{**usual, **arguments})


def run(**arguments):
    made = task(**arguments)
    return made.execute(context_of(made))


def wanted(tenable, **filters):
    found = tenable.tenable.estate.web.truth()["was"]
    return {
        each["finding_id"]
        for each in found
        if each["severity_id"] >= 2 and each["plugin_id"] in filters.get("plugin_ids", FILTERS["plugin_ids"])
    }


def staged(result):
    records = []
    for part in staged_parts(result["folder"], result["export"]):
        read, unreadable = decode_chunk(read_part(part), WAS.record)
        assert not unreadable
        records += read
    assert len(records) == result["records"]
    return {record.finding_id for record in records}


def started(tenable, **filters):
    """A job that is not our task's."""
    hook = TenableHook(retries=0)
    job = hook.start_export("was", WAS.body({**FILTERS, **filters}, size=WAS.size))
    hook.close()
    return job


@pytest.fixture
def slow(tenable, monkeypatch):
    """Jobs run until the task waits for them, and not only pyTenable for its next attempt."""
    tenable.switch(prepare_seconds=10_000)
    slept = []

    def finish(seconds):
        slept.append(seconds)
        assert len(slept) < 100, "the task waits for ever"
        for job in tenable.tenable.jobs.values() if tenable.calls("was_status") else ():
            job.begun -= 20_000

    monkeypatch.setattr("time.sleep", finish)


def test_all_findings_of_applications_are_staged_licensed_or_not(tenable):
    tenable.tenable.estate.web.launch(12, 1_000_000, 1_000_900)
    assert {app.is_licensed for app in tenable.tenable.estate.web.apps.values()} == {True, False}
    result = run()
    assert staged(result) == wanted(tenable) != set()
    assert result["export"] == "was"
    # A second attempt of the same task has nothing left to ask for.
    calls = tenable.calls("was_export"), tenable.calls("was_chunk")
    assert run() == result
    assert (tenable.calls("was_export"), tenable.calls("was_chunk")) == calls


def test_a_request_whose_answer_is_lost_leaves_its_job_to_the_task(tenable, slow):
    tenable.order("was_export", "lose_answer")
    result = run()
    assert [job.uuid for job in tenable.tenable.jobs.values()] == [result["uuid"]]
    assert staged(result) == wanted(tenable)


def test_a_running_job_with_our_filters_is_adopted(tenable, slow):
    """With the echo that the API docs show: words in upper case, times that were not set as 0."""
    job = started(tenable)
    result = run()
    assert (result["uuid"], len(tenable.tenable.jobs)) == (job, 1)
    assert staged(result) == wanted(tenable)


def test_a_job_with_other_filters_is_left_alone(tenable, slow):
    job = started(tenable, plugin_ids=[98056])
    assert run()["uuid"] != job
    assert tenable.tenable.jobs[job].downloads == 0


@pytest.mark.parametrize("do", ["error", "cancelled", "fail_chunks", "expire"])
def test_a_job_that_breaks_is_requested_again(tenable, do):
    tenable.order("job", do, match={"kind": "was"}, **({"chunks": [1]} if do == "fail_chunks" else {}))
    result = run()
    assert len(tenable.tenable.jobs) == 2
    assert staged(result) == wanted(tenable)


@pytest.mark.parametrize("fault", ["licence", "right", "no such path"])
def test_a_container_without_web_app_scanning_ends_the_task_at_once_and_says_why(tenable, monkeypatch, fault):
    if fault == "licence":
        tenable.switch(has_was=False)
    elif fault == "right":
        fields = {"conn_type": "tenable", "host": tenable.url, "login": NO_EXPORT + ACCESS_KEY, "password": SECRET_KEY}
        monkeypatch.setenv("AIRFLOW_CONN_TENABLE_DEFAULT", json.dumps(fields))
    else:
        tenable.order("was_export", "status", status=404, times=None)
    with pytest.raises(AirflowFailException) as caught:
        run()
    assert "no licence of Tenable Web App Scanning" in complete_message(caught.value)
    assert tenable.calls("was_export") == 1


def test_a_filter_of_another_export_is_refused_with_tenable_s_words(tenable):
    with pytest.raises(AirflowFailException, match="Unknown filter: plugin_id"):
        run(filters={"since": 1, "plugin_id": [98115]})


def test_a_task_that_is_ended_cancels_its_job(tenable, monkeypatch):
    tenable.switch(prepare_seconds=10_000)
    made = task()

    def out_of_time(_seconds):
        raise AirflowTaskTimeout("too long")

    monkeypatch.setattr("time.sleep", out_of_time)
    with pytest.raises(AirflowTaskTimeout):
        made.execute(context_of(made))
    made.on_kill()
    assert [job.status(0.0) for job in tenable.tenable.jobs.values()] == ["CANCELLED"]


def test_the_sensor_waits_for_a_job_of_web_app_scanning(tenable):
    tenable.switch(prepare_seconds=10_000)
    job = started(tenable)
    wait = TenableExportSensor(task_id="wait", export="was", job_uuid=job, deferrable=False)
    assert wait.poke(context_of(wait)).is_done is False
    tenable.tenable.jobs[job].begun -= 20_000
    assert wait.poke(context_of(wait)).xcom_value == {"export": "was", "uuid": job, "status": "FINISHED", "chunks": 1}
