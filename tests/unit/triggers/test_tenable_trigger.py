"""The trigger, against a server on this machine, in a loop that tells when it is blocked."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import threading
import time
from importlib import import_module
from types import SimpleNamespace

import pytest
from tenable.io import TenableIO

from airflow_provider_tenable import _compat
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.triggers import tenable as triggers
from airflow_provider_tenable.triggers.tenable import SHORTEST_POLL_INTERVAL, TenableExportTrigger
from sandbox.repeating import FORMS
from tests.faults.canary import repeats
from tests.local_server import ACCESS, SECRET

JOB = "1d896500-2f92-467c-aa4d-6fe8d007b127"
ARGUMENTS = {
    "tenable_conn_id": "tenable_default",
    "export": "vulnerabilities",
    "job_uuid": JOB,
    "chunks_staged": 2,
    "poll_interval": 30.0,
    "deadline": 4_000_000_000.0,
}


def trigger(**change):
    return TenableExportTrigger(**{**ARGUMENTS, **change})


@pytest.fixture
def naps(monkeypatch):
    """The trigger's sleeps: recorded, and over at once. The thread's own (pyTenable's) last no time either."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def nap(seconds, *args):
        slept.append(seconds)
        await sleep(0)

    # Only the trigger's own naps: a sandbox of another test may still have an event loop in this process.
    own = SimpleNamespace(**{**vars(asyncio), "sleep": nap})
    monkeypatch.setattr("airflow_provider_tenable.triggers.tenable.asyncio", own)
    # pyTenable 1.x has its session from restfly, newer ones have their own.
    client = import_module(next(base.__module__ for base in TenableIO.__mro__ if "_req" in vars(base)))
    monkeypatch.setattr(client, "time", SimpleNamespace(sleep=lambda seconds: None, time=time.time))
    return slept


@pytest.fixture
def connected(monkeypatch, server):
    monkeypatch.setenv(
        "AIRFLOW_CONN_TENABLE_DEFAULT",
        json.dumps({"conn_type": "tenable", "host": server.url, "login": ACCESS, "password": SECRET}),
    )
    return server


def answers(server, *bodies):
    server.answers = [body if isinstance(body, tuple) else (200, {}, json.dumps(body).encode()) for body in bodies]


def fire(subject):
    """All events of a trigger."""
    return asyncio.run(events_of(subject))


async def events_of(subject):
    return [event.payload async for event in subject.run()]


def run_while_tenable_takes_its_time(server, value, work):
    """Run a coroutine in an event loop, with a Tenable that answers only once the loop has done something else.

    :return: the coroutine's result, and for each request whether the loop was free.
    """
    asked, free, seen = threading.Event(), threading.Event(), []

    def slowly(handler):
        asked.set()
        # A loop that is blocked has no turn, however long this waits.
        seen.append(free.wait(20))
        _say(handler, value)

    async def watch():
        while not asked.is_set():
            await asyncio.sleep(0.005)
        free.set()

    async def both():
        watching = asyncio.ensure_future(watch())
        result = await work
        await watching
        return result

    server.answers = [slowly]
    return asyncio.run(both()), seen


def test_what_is_serialised_is_the_constructor_and_its_arguments():
    path, kwargs = trigger().serialize()
    module, name = path.rsplit(".", 1)
    assert getattr(import_module(module), name) is TenableExportTrigger
    assert kwargs == ARGUMENTS
    # What is as usual is left out, so that version 0.1.0 can read it.
    later = {"cancels": False, "first_poll": 12.0}
    assert set(kwargs) == set(inspect.signature(TenableExportTrigger.__init__).parameters) - {"self", *later}
    assert trigger(cancels=False).serialize() == (path, {**ARGUMENTS, "cancels": False})
    assert TenableExportTrigger(**trigger(**later).serialize()[1]).serialize() == (path, {**ARGUMENTS, **later})
    again = TenableExportTrigger(**json.loads(json.dumps(kwargs)))
    assert again.serialize() == (path, kwargs)


def test_what_is_serialised_holds_no_key(connected, naps):
    answers(connected, {"status": "FINISHED", "chunks_available": []})
    subject = trigger()
    fire(subject)
    shown = json.dumps(subject.serialize()) + repr(subject)
    assert ACCESS not in shown
    assert SECRET not in shown


@pytest.mark.parametrize("status", [200, 400, 401, 404, 409, 500])
@pytest.mark.parametrize("form", ["header", "values", "lines", "json", "percent", "base64"])
def test_keys_that_an_answer_repeats_reach_neither_the_event_nor_the_log(connected, naps, caplog, status, form):
    """The event is kept in the metadata database. In the triggerer, no masker of Airflow's need be on the handler."""
    caplog.set_level(logging.DEBUG)
    repeated = FORMS[form](f"accessKey={ACCESS};secretKey={SECRET}").encode()
    connected.answers = [(status, {}, repeated), (200, {}, json.dumps({"status": f"{SECRET} \n\x1b[31m"}).encode())]
    (event,) = fire(trigger())
    assert not repeats(json.dumps(event), ACCESS, SECRET)
    assert all(str(value).isprintable() for value in event.values())
    assert not repeats("\n".join(record.getMessage() for record in caplog.records), ACCESS, SECRET)


@pytest.mark.parametrize(
    ("interval", "slept"), [(30.0, 30.0), (10.0, 10.0), (9.9, 10.0), (0, 10.0), (-5, 10.0), (600, 600)]
)
def test_it_sleeps_before_its_first_look_and_never_less_than_ten_seconds(connected, naps, interval, slept):
    looked_after = []
    connected.answers = [
        lambda handler: (looked_after.append(len(naps)), _say(handler, {"status": "FINISHED", "chunks_available": []}))
    ]
    assert fire(trigger(poll_interval=interval)) == [{"job_uuid": JOB, "status": "FINISHED"}]
    assert naps == [slept]
    assert looked_after == [1]
    assert SHORTEST_POLL_INTERVAL == 10.0


def test_a_young_job_is_polled_sooner_and_then_less_and_less_often(connected, naps):
    answers(connected, *[{"status": "PROCESSING"}] * 5, {"status": "FINISHED", "chunks_available": []})
    fire(trigger(first_poll=11.0))
    assert naps == [11.0, 16.5, 24.75, 30.0, 30.0, 30.0]


def test_a_young_job_is_polled_as_usual_once_a_poll_has_failed(connected, naps):
    answers(connected, (503, {}, b""), {"status": "PROCESSING"}, {"status": "FINISHED", "chunks_available": []})
    fire(trigger(first_poll=11.0))
    assert naps == [11.0, 30.0, 30.0]


def test_no_first_poll_is_within_ten_seconds(connected, naps):
    answers(connected, {"status": "FINISHED", "chunks_available": []})
    fire(trigger(first_poll=1.0))
    assert naps == [10.0]


def _say(handler, value):
    body = json.dumps(value).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.mark.parametrize("status", ["FINISHED", "CANCELLED", "ERROR", "MELTED"])
def test_it_fires_once_when_the_job_is_over(connected, naps, status):
    answers(
        connected,
        {"status": "QUEUED"},
        {"status": "PROCESSING", "chunks_available": [1, 2]},
        {"status": status, "chunks_available": [1, 2]},
    )
    assert fire(trigger()) == [{"job_uuid": JOB, "status": status}]
    assert naps == [30.0] * 3
    assert {path for _, path, _, _ in connected.requests} == {f"/vulns/export/{JOB}/status"}


@pytest.mark.parametrize("status", ["PROCESSING", "READY"])
def test_it_fires_when_there_are_more_chunks_than_staged_and_not_before(connected, naps, status):
    answers(
        connected, {"status": status, "chunks_available": [4, 9]}, {"status": status, "chunks_available": [4, 7, 9]}
    )
    assert fire(trigger()) == [{"job_uuid": JOB, "status": status}]
    assert len(naps) == 2


@pytest.mark.parametrize("code", [404, 410])
def test_it_fires_when_the_job_is_gone(connected, naps, code):
    answers(connected, (code, {}, b"{}"))
    (event,) = fire(trigger())
    assert event["job_uuid"] == JOB
    assert f"Tenable returned {code}" in event["message"]


@pytest.mark.parametrize("code", [401, 403])
def test_it_fires_when_the_keys_are_refused(connected, naps, code):
    answers(connected, (code, {}, b"{}"))
    (event,) = fire(trigger())
    assert f"Tenable returned {code}" in event["message"]
    assert ACCESS not in str(event)


def test_it_fires_when_the_connection_cannot_be_used(monkeypatch, naps):
    monkeypatch.setenv(
        "AIRFLOW_CONN_TENABLE_DEFAULT",
        json.dumps({"conn_type": "tenable", "host": "ftp://x", "login": "a", "password": "b"}),
    )
    (event,) = fire(trigger())
    assert "is not a valid URL" in event["message"]
    assert len(naps) == 1


@pytest.mark.parametrize(
    "trouble",
    [(503, {"Retry-After": "86400"}, b""), (500, {}, b""), (429, {}, b"<html>"), (200, {}, b"{"), (200, {}, b"{}")],
    ids=str,
)
def test_passing_trouble_is_slept_over(connected, naps, trouble):
    answers(connected, trouble, trouble, {"status": "FINISHED", "chunks_available": []})
    assert fire(trigger()) == [{"job_uuid": JOB, "status": "FINISHED"}]
    assert naps == [30.0] * 3


def test_it_fires_at_its_deadline_after_a_last_look(connected, naps):
    answers(connected, {"status": "PROCESSING"})
    assert fire(trigger(deadline=time.time() - 1)) == [{"job_uuid": JOB, "message": "the export's deadline has passed"}]
    assert len(connected.requests) == 1


def test_it_fires_at_its_deadline_in_trouble_too(connected, naps):
    answers(connected, (503, {}, b""))
    assert fire(trigger(deadline=0)) == [{"job_uuid": JOB, "message": "the export's deadline has passed"}]


def test_news_at_the_deadline_are_news(connected, naps):
    answers(connected, {"status": "FINISHED", "chunks_available": []})
    assert fire(trigger(deadline=0)) == [{"job_uuid": JOB, "status": "FINISHED"}]


def test_nothing_blocks_the_event_loop_while_tenable_takes_its_time(connected, naps):
    status = {"status": "FINISHED", "chunks_available": []}
    events, free = run_while_tenable_takes_its_time(connected, status, events_of(trigger()))
    assert events == [{"job_uuid": JOB, "status": "FINISHED"}]
    assert free == [True]


def test_the_connection_is_fetched_and_the_call_is_made_off_the_loops_thread(connected, naps, monkeypatch):
    threads = {"loop": threading.get_ident()}
    get_connection, status = _compat.BaseHook.get_connection, TenableHook.export_status

    def watched(conn_id):
        threads["connection"] = threading.get_ident()
        return get_connection(conn_id)

    def looked(self, *args):
        threads["call"] = threading.get_ident()
        return status(self, *args)

    monkeypatch.setattr(TenableHook, "get_connection", staticmethod(watched))
    monkeypatch.setattr(TenableHook, "export_status", looked)
    answers(connected, {"status": "FINISHED", "chunks_available": []})
    fire(trigger())
    assert threads["connection"] != threads["loop"]
    assert threads["call"] != threads["loop"]


def test_a_cancelled_trigger_ends_and_closes_its_connections(connected, naps, monkeypatch):
    closed = []
    close = TenableHook.close
    monkeypatch.setattr(TenableHook, "close", lambda self: (closed.append(True), close(self)))
    answers(connected, {"status": "PROCESSING"})

    async def cancelled():
        async def consume():
            async for _ in trigger().run():
                pytest.fail("nothing has happened")

        task = asyncio.create_task(consume())
        while len(connected.requests) < 3:
            await asyncio.to_thread(lambda: None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert closed == [True]


@pytest.fixture
def state_of_the_task(monkeypatch):
    """What Airflow's database says of the task: not deferred any more, unless the test changes it."""
    said = {"deferred": False}

    async def is_deferred(task_instance):
        return said["deferred"]

    monkeypatch.setattr(triggers, "is_deferred", is_deferred)
    return said


@pytest.mark.parametrize("deferred", [True, None])
def test_a_triggerer_that_takes_over_cancels_nothing(connected, naps, state_of_the_task, deferred):
    """Airflow 3.3 calls the same method then (apache/airflow#73454); the task still waits for the job."""
    state_of_the_task["deferred"] = deferred
    asyncio.run(trigger().on_kill())
    assert connected.requests == []


def test_a_job_of_somebody_else_is_not_cancelled(connected, naps, state_of_the_task):
    restored = triggers.TenableExportTrigger(**trigger(cancels=False).serialize()[1])
    asyncio.run(restored.on_kill())
    assert connected.requests == []


def test_a_person_who_clears_the_waiting_task_cancels_the_export(connected, naps, state_of_the_task):
    answers(connected, {"status": "CANCELLED"})
    asyncio.run(trigger().on_kill())
    assert [(method, path) for method, path, _, _ in connected.requests] == [("POST", f"/vulns/export/{JOB}/cancel")]


@pytest.mark.parametrize("answer", [(401, {}, b"{}"), (503, {}, b"")], ids=lambda answer: str(answer[0]))
def test_an_export_that_cannot_be_cancelled_is_only_warned_of(
    connected, naps, state_of_the_task, caplog, capsys, answer
):
    answers(connected, answer)
    with caplog.at_level(logging.WARNING):
        asyncio.run(trigger().on_kill())
    # Airflow 3 logs by structlog.
    said = caplog.text + capsys.readouterr().out
    assert f"Could not cancel vulnerabilities export {JOB}" in said
    assert SECRET not in said


def test_cancelling_blocks_the_event_loop_no_more_than_looking_does(connected, naps, state_of_the_task):
    _, free = run_while_tenable_takes_its_time(connected, {"status": "CANCELLED"}, trigger().on_kill())
    assert free == [True]
