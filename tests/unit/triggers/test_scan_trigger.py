"""The trigger that waits for a scan, against the sandbox's Tenable over sockets."""

from __future__ import annotations

import asyncio
import inspect
import json
from importlib import import_module
from types import SimpleNamespace

import pytest

from airflow_provider_tenable import _compat
from airflow_provider_tenable.triggers.tenable_scans import TenableScanTrigger
from sandbox.tenable.access import SECRET_KEY
from tests.tenable_thread import _tenable_thread, tenable  # noqa: F401


@pytest.fixture
def naps(monkeypatch, tenable):  # noqa: F811
    """The trigger's sleeps, which move the sandbox's clock on instead."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def nap(seconds, *args):
        slept.append(seconds)
        tenable.advance(seconds)
        await sleep(0)

    own = SimpleNamespace(**{**vars(asyncio), "sleep": nap})
    monkeypatch.setattr("airflow_provider_tenable.triggers.tenable_scans.asyncio", own)
    return slept


def trigger(config, **change):
    scan = {"id": config.id, "schedule_uuid": config.uuid, "name": config.name}
    return TenableScanTrigger(
        **{
            "tenable_conn_id": "tenable_default",
            "scan": scan,
            "run_uuid": None,
            "status": None,
            "poll_interval": 30.0,
            "deadline": 4_000_000_000.0,
            "stops": True,
            **change,
        }
    )


def fire(subject):
    async def collect():
        return [event.payload async for event in subject.run()]

    return asyncio.run(collect())


def test_what_is_serialised_is_the_constructor_and_its_arguments(tenable):  # noqa: F811
    subject = trigger(tenable.add_scan())
    path, kwargs = subject.serialize()
    module, name = path.rsplit(".", 1)
    assert getattr(import_module(module), name) is TenableScanTrigger
    assert set(kwargs) == set(inspect.signature(TenableScanTrigger.__init__).parameters) - {"self"}
    assert TenableScanTrigger(**json.loads(json.dumps(kwargs))).serialize() == (path, kwargs)
    assert SECRET_KEY not in json.dumps(kwargs)


@pytest.mark.parametrize(("interval", "slept"), [(30.0, 30.0), (9.0, 10.0), (0.0, 10.0)])
def test_it_fires_when_the_status_is_another_and_never_within_ten_seconds(tenable, naps, interval, slept):  # noqa: F811
    config = tenable.add_scan()
    run = tenable.launch(config, seconds=100)
    [event] = fire(trigger(config, run_uuid=run.uuid, status="pending", poll_interval=interval))
    assert event == {"run_uuid": run.uuid, "status": "running"}
    assert set(naps) == {slept}
    assert fire(trigger(config, run_uuid=run.uuid, status="running"))[0]["status"] in ("publishing", "completed")


def test_it_fires_for_a_run_that_ended_just_before_the_task_was_deferred(tenable, naps):  # noqa: F811
    config = tenable.add_scan()
    run = tenable.launch(config, seconds=1)
    tenable.advance(20)
    [event] = fire(trigger(config, run_uuid=run.uuid, status="completed"))
    assert event == {"run_uuid": run.uuid, "status": "completed"}
    assert naps == [30.0]


def test_a_scan_name_cannot_forge_a_log_line(tenable, naps, monkeypatch, caplog, capsys):  # noqa: F811
    monkeypatch.setattr("time.sleep", lambda _: None)
    config = tenable.add_scan("Weekly\nERROR - forged")
    run = tenable.launch(config, seconds=1)
    tenable.order("scan_history", "status", status=503, times=1)
    fire(trigger(config, run_uuid=run.uuid, status="pending"))
    # Airflow 3 writes it to the standard output, Airflow 2 to Python's logging.
    logged = capsys.readouterr().out + caplog.text
    assert "Could not poll scan 'Weekly ERROR - forged'" in logged
    assert "\nERROR - forged" not in logged


def test_it_fires_when_the_run_has_vanished(tenable, naps):  # noqa: F811
    config = tenable.add_scan()
    run = tenable.launch(config, seconds=1)
    config.runs.pop()
    assert fire(trigger(config, run_uuid=run.uuid, status="running"))[0]["status"] == "missing"


def test_it_fires_when_the_deadline_has_passed(tenable, naps):  # noqa: F811
    config = tenable.add_scan()
    tenable.order("scan_run", "stay", how="running")
    run = tenable.launch(config)
    [event] = fire(trigger(config, run_uuid=run.uuid, status="running", deadline=1.0))
    assert event["message"] == "the deadline has passed"
    assert naps == [10.0]


def test_passing_trouble_is_slept_over_and_a_refusal_is_not(tenable, naps, monkeypatch):  # noqa: F811
    monkeypatch.setattr("time.sleep", lambda _: None)
    config = tenable.add_scan()
    run = tenable.launch(config, seconds=1)
    tenable.order("scan_history", "status", status=503, times=2)
    assert fire(trigger(config, run_uuid=run.uuid, status="pending"))[0]["status"] == "completed"
    assert len(naps) == 3
    tenable.order("scan_history", "status", status=403)
    assert "lacks permission" in fire(trigger(config, run_uuid=run.uuid, status="pending"))[0]["message"]


def test_without_a_run_it_waits_for_one_that_began_after_the_given_time(tenable, naps):  # noqa: F811
    config = tenable.add_scan()
    tenable.launch(config, seconds=1)
    tenable.advance(20)
    since = tenable.now()
    theirs = tenable.launch(config, seconds=100)
    assert fire(trigger(config, since=since)) == [{"run_uuid": theirs.uuid, "status": "completed"}]
    assert len(naps) > 1


@pytest.mark.parametrize(
    ("deferred", "stops", "stopped"),
    [(False, True, True), (True, True, False), (None, True, False), (False, False, False)],
)
def test_a_run_is_stopped_only_if_a_person_has_ended_the_task(tenable, monkeypatch, deferred, stops, stopped):  # noqa: F811
    config = tenable.add_scan()
    run = tenable.launch(config, seconds=1_000)

    async def is_deferred(_):
        return deferred

    monkeypatch.setattr("airflow_provider_tenable.triggers.tenable_scans.is_deferred", is_deferred)
    subject = trigger(config, run_uuid=run.uuid, status="pending", stops=stops)
    subject.task_instance = SimpleNamespace(task_id="run_scan")
    asyncio.run(subject.on_kill())
    assert (run.stopped_at is not None) is stopped


def test_the_run_of_somebody_else_is_not_stopped_in_place_of_ours(tenable, monkeypatch):  # noqa: F811
    config = tenable.add_scan()
    ours = tenable.launch(config, seconds=1)
    tenable.advance(20)
    theirs = tenable.launch(config, seconds=1_000)

    async def is_deferred(_):
        return False

    monkeypatch.setattr("airflow_provider_tenable.triggers.tenable_scans.is_deferred", is_deferred)
    subject = trigger(config, run_uuid=ours.uuid, status="completed")
    subject.task_instance = SimpleNamespace(task_id="run_scan")
    asyncio.run(subject.on_kill())
    assert theirs.stopped_at is None
    assert _compat.BaseTrigger in type(subject).__mro__
