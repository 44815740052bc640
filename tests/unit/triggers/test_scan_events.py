"""The trigger that updates the asset of a scan, against the sandbox's Tenable over sockets."""

from __future__ import annotations

import asyncio
import inspect
import json
from importlib import import_module
from types import SimpleNamespace

import pytest

from airflow_provider_tenable import _compat
from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS
from airflow_provider_tenable.dags import watched_scan
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.triggers import tenable_scan_events
from airflow_provider_tenable.triggers.tenable_scan_events import TenableCompletedScanTrigger
from sandbox.tenable.access import SECRET_KEY
from tests.tenable_thread import _tenable_thread, tenable  # noqa: F401


class Over(BaseException):
    """Enough polls."""


@pytest.fixture
def naps(monkeypatch, tenable):  # noqa: F811
    """The trigger's sleeps, which move the sandbox's clock on instead, and do what is planned for them."""
    slept: list[float] = []
    plan: list = []
    sleep = asyncio.sleep

    async def nap(seconds, *args):
        if len(slept) == len(plan):
            raise Over
        plan[len(slept)]()
        slept.append(seconds)
        tenable.advance(seconds)
        await sleep(0)

    own = SimpleNamespace(**{**vars(asyncio), "sleep": nap})
    monkeypatch.setattr(tenable_scan_events, "asyncio", own)
    monkeypatch.setattr(tenable_scan_events, "time", SimpleNamespace(time=tenable.now))
    return SimpleNamespace(slept=slept, plan=plan)


def trigger(**change):
    arguments = {"scan": "Weekly", "tenable_conn_id": "tenable_default", "poll_interval": 60.0, "lookback": 3_600.0}
    return TenableCompletedScanTrigger(**{**arguments, **change})


def events(subject):
    found = []

    async def collect():
        async for event in subject.run():
            found.append(event.payload)  # noqa: PERF401 - the loop never ends by itself

    with pytest.raises(Over):
        asyncio.run(collect())
    return found


def test_each_completed_run_is_reported_once_in_the_order_in_which_they_ended(tenable, naps):  # noqa: F811
    config = tenable.add_scan()
    runs = []

    def launch(**fault):
        def step():
            if fault:
                tenable.order("scan_run", **fault)
            runs.append(tenable.launch(config))
            tenable.advance(5)

        return step

    naps.plan += [
        launch(),
        lambda: None,
        launch(do="end", how="aborted"),
        lambda: (launch()(), launch()()),
        lambda: None,
    ]
    found = events(trigger())
    assert [event["run_uuid"] for event in found] == [runs[0].uuid, runs[2].uuid, runs[3].uuid]
    assert found[0] == {
        "scan": config.id,
        "schedule_uuid": config.uuid,
        "name": "Weekly",
        "run_uuid": runs[0].uuid,
        "status": "completed",
        "started_at": found[0]["started_at"],
        "ended_at": found[0]["ended_at"],
    }
    assert json.loads(json.dumps(found)) == found
    assert naps.slept == [60.0] * 5


def test_a_trigger_that_starts_again_repeats_the_last_hour_and_nothing_before_it(tenable, naps):  # noqa: F811
    config = tenable.add_scan()
    tenable.launch(config)
    tenable.advance(4_000)
    recent = tenable.launch(config)
    tenable.advance(1_000)
    naps.plan += [lambda: None] * 2
    assert [event["run_uuid"] for event in events(trigger())] == [recent.uuid]


def test_nothing_that_goes_wrong_ends_it(tenable, naps, monkeypatch):  # noqa: F811
    """Airflow starts the trigger of an asset again at once: an error would be a loop without a pause."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    made = []
    naps.plan += [
        # There is no such scan yet.
        lambda: None,
        lambda: made.append(tenable.add_scan()),
        lambda: tenable.order("scan_history", "status", status=503, times=1),
        lambda: monkeypatch.delenv("AIRFLOW_CONN_TENABLE_DEFAULT"),
    ]
    assert events(trigger(tenable_conn_id="tenable_default")) == []
    assert len(naps.slept) == 4


@pytest.mark.parametrize(("interval", "slept"), [(60.0, 60.0), (1.0, 10.0)])
def test_it_polls_no_more_often_than_every_ten_seconds(tenable, naps, interval, slept):  # noqa: F811
    tenable.add_scan()
    naps.plan += [lambda: None]
    events(trigger(poll_interval=interval))
    assert naps.slept == [slept]


def test_what_is_serialised_is_the_constructor_and_its_arguments():
    subject = trigger()
    path, kwargs = subject.serialize()
    module, name = path.rsplit(".", 1)
    assert getattr(import_module(module), name) is TenableCompletedScanTrigger
    assert set(kwargs) == set(inspect.signature(TenableCompletedScanTrigger.__init__).parameters) - {"self"}
    assert TenableCompletedScanTrigger(**json.loads(json.dumps(kwargs))).serialize() == (path, kwargs)
    assert SECRET_KEY not in json.dumps(kwargs)


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 has no asset watchers")
def test_a_dag_that_is_scheduled_on_it_is_serialised_with_the_trigger_that_airflow_starts():
    from airflow.serialization import serialized_objects
    from airflow.triggers.base import BaseEventTrigger

    with _compat.DAG("after_scan", schedule=[watched_scan("Weekly scan", poll_interval=120)]) as dag:
        pass
    serializer = getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG
    # Airflow takes a changed trigger for another one: two readings of the DAG file must give the same.
    [watcher], [again] = watched_scan("Weekly scan").watchers, watched_scan("Weekly scan").watchers
    assert watcher.trigger.serialize() == again.trigger.serialize()
    text = json.dumps(serializer.to_dict(dag))
    assert "airflow_provider_tenable.triggers.tenable_scan_events.TenableCompletedScanTrigger" in text
    assert "tenable://scan/Weekly%20scan" in text
    assert isinstance(watcher.trigger, BaseEventTrigger)


def test_airflow_2_says_what_to_use_instead(monkeypatch):
    monkeypatch.setattr(_compat, "AIRFLOW_V_3_0_PLUS", False)
    with pytest.raises(ConfigurationError, match=r"Asset watchers need Airflow 3\.0 or later.*Use TenableScanSensor"):
        watched_scan("Weekly")
