"""Run the DAG once and exit with its status: 0 success, 1 the run failed, 2 it could not be run.

    AIRFLOW_URL=http://localhost:8080 AIRFLOW_USERNAME=admin AIRFLOW_PASSWORD=... python scripts/run_once.py --conf
    '{"severities": ["critical"]}'

Works with any Airflow 3: over its REST API, with nothing but Python. A paused DAG is switched on for this run and
paused again after it, and no other run is started or continued:

* Switching a DAG on starts its scheduled run if one is due. Without --conf, this command waits for that run; if it was
  a dry run because the DAG has imported nothing yet, another run is triggered after it. With --conf nothing is
  started, and the message says what to do. With [tenable] schedule_hours = 0 no run is ever due.
* A run that waits in a paused DAG would start too: nothing is started, and the message names it.
* In a DAG that is switched on, a run that is queued or running is waited for.

With AIRFLOW_TOKEN a token is used as it is; without user and token, Airflow is asked for one without a login
(``simple_auth_manager_all_admins``).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

from airflow_api import Airflow, NotRunError

SUCCESS, FAILED, NOT_RUN = 0, 1, 2
#: Seconds in which the scheduler starts the run that is due, once the DAG is switched on.
LONGEST_START = 60.0
#: A scheduled run that is due in less than this counts as due: it would start before ours.
SOON = 120.0


class StoppedError(Exception):
    """A signal ended this command. Not a :class:`NotRunError`, which some calls outlast."""


def run_once(airflow: Airflow, dag_id: str, conf: dict[str, Any], *, seconds: float, poll: float = 5.0) -> int:
    """Run the DAG, wait for its end, show its report.

    :param conf: params of the run.
    """
    deadline = time.monotonic() + seconds
    dag = _wait_for_dag(airflow, dag_id, seconds=min(seconds, 300.0), poll=poll)
    if not dag["is_paused"]:
        _wait_for_others(airflow, dag_id, deadline=deadline, poll=poll)
        return _wait_and_show(airflow, dag_id, _trigger(airflow, dag_id, conf), deadline=deadline, poll=poll)
    due = _due(dag)
    _refuse_what_would_go_with_it(airflow, dag_id, due=due, params=bool(conf))
    known = _scheduled(airflow, dag_id)
    ours: list[str] = []
    try:
        # What Airflow refuses is refused before the DAG is switched on.
        ours += [] if due else [_trigger(airflow, dag_id, conf)]
        _pause(airflow, dag_id, False)
        if due and (started := _started_by_schedule(airflow, dag_id, known, poll=poll)):
            status = _wait_and_show(airflow, dag_id, started, deadline=deadline, poll=poll)
            if status != SUCCESS or not _was_held_back(airflow, dag_id, started):
                return status
            print(
                "That was a dry run, since the DAG had imported nothing yet. Now for the run that was asked for.",
                flush=True,
            )
        ours += [] if ours else [_trigger(airflow, dag_id, conf)]
        return _wait_and_show(airflow, dag_id, ours[0], deadline=deadline, poll=poll)
    finally:
        _try_to_leave_none_behind(airflow, dag_id, ours, poll=poll)


def _due(dag: dict[str, Any]) -> str:
    """When the scheduled run that switching the DAG on would start became due; empty if there is none."""
    run_after = dag.get("next_dagrun_run_after")
    if not run_after or datetime.fromisoformat(run_after).timestamp() > datetime.now(UTC).timestamp() + SOON:
        return ""
    return str(run_after)


def _refuse_what_would_go_with_it(airflow: Airflow, dag_id: str, *, due: str, params: bool) -> None:
    """:raises NotRunError: switching the DAG on would start or continue another run, with its own params."""
    if others := _active(airflow, dag_id):
        raise NotRunError(
            f"Run {others[0]} of {dag_id} waits in the paused DAG, and switching it on would continue that run too. "
            "Nothing was started. Switch the DAG on and let the run end, or mark it as failed; then call again."
        )
    if due and params:
        raise NotRunError(
            f"The scheduled run of {dag_id} is due since {due}: switching the DAG on would start it first, without "
            "the params given here. Nothing was started. Set [tenable] schedule_hours = 0 where the DAG is only run "
            "this way; or leave the params away, so that the scheduled run is the one; or switch the DAG on, let its "
            "scheduled run end, and call again."
        )


def _active(airflow: Airflow, dag_id: str) -> list[str]:
    """The ids of the runs that are queued or running, oldest first."""
    return [str(run["dag_run_id"]) for run in _runs(airflow, dag_id)]


def _runs(airflow: Airflow, dag_id: str) -> list[dict[str, Any]]:
    """The runs that are queued or running, oldest first."""
    query = urlencode([("state", "queued"), ("state", "running"), ("order_by", "run_after"), ("limit", 20)])
    found: list[dict[str, Any]] = airflow.call("GET", f"/api/v2/dags/{dag_id}/dagRuns?{query}")["dag_runs"]
    return found


def _wait_for_others(airflow: Airflow, dag_id: str, *, deadline: float, poll: float) -> None:
    """Wait until no run of the DAG is queued or running. :raises NotRunError: not in time."""
    named: set[str] = set()
    while others := _active(airflow, dag_id):
        if time.monotonic() > deadline:
            raise NotRunError(f"Run {others[0]} of {dag_id} has not ended. Nothing was started.")
        if others[0] not in named:
            named.add(others[0])
            print(f"Waiting for the end of run {others[0]} of {dag_id}.", flush=True)
        time.sleep(poll)


def _started_by_schedule(airflow: Airflow, dag_id: str, known: set[str], *, poll: float) -> str:
    """The id of the scheduled run that the scheduler starts; empty if it starts none."""
    deadline = time.monotonic() + LONGEST_START
    while time.monotonic() < deadline:
        time.sleep(poll)
        if run_id := max(_scheduled(airflow, dag_id) - known, default=""):
            print(f"Run {run_id} of {dag_id} was started by its schedule.", flush=True)
            return run_id
    return ""


def _scheduled(airflow: Airflow, dag_id: str) -> set[str]:
    """The ids of the latest scheduled runs."""
    query = urlencode({"run_type": "scheduled", "order_by": "-run_after", "limit": 20})
    return {str(run["dag_run_id"]) for run in airflow.call("GET", f"/api/v2/dags/{dag_id}/dagRuns?{query}")["dag_runs"]}


def _was_held_back(airflow: Airflow, dag_id: str, run_id: str) -> bool:
    """Whether the run was a dry run because the DAG had imported nothing before."""
    try:
        found = airflow.call("GET", f"{_path(dag_id, run_id)}/taskInstances/plan_run/xcomEntries/held_back")
    except NotRunError:
        # A DAG of an older release.
        return False
    return str(found.get("value")).lower() == "true"


def _try_to_leave_none_behind(airflow: Airflow, dag_id: str, ours: list[str], *, poll: float) -> None:
    """Repeat a call for a minute, in which an API server may be restarted."""
    for _ in range(12):
        try:
            _leave_none_behind(airflow, dag_id, ours)
            return
        except NotRunError as error:
            print(f"  {error}", file=sys.stderr, flush=True)
        time.sleep(poll)
    print(
        f"{dag_id} could not be paused again. Look for runs of it that have not ended, and pause it.",
        file=sys.stderr,
        flush=True,
    )


def _leave_none_behind(airflow: Airflow, dag_id: str, ours: list[str]) -> None:
    """Pause the DAG again, and end our run and scheduled ones that have not ended: they would wait in the paused
    DAG, and continue when somebody switches it on.

    A run that somebody else triggered meanwhile may continue, so the DAG stays switched on for it.
    """
    foreign = [
        run for run in _runs(airflow, dag_id) if run["dag_run_id"] not in ours and run["run_type"] != "scheduled"
    ]
    if foreign:
        print(
            f"{dag_id} stays switched on: run {foreign[0]['dag_run_id']} was started meanwhile. Pause the DAG when "
            "that has ended.",
            file=sys.stderr,
            flush=True,
        )
    else:
        _pause(airflow, dag_id, True)
    for run in _runs(airflow, dag_id):
        if run in foreign:
            continue
        run_id = str(run["dag_run_id"])
        if run["state"] == "queued":
            airflow.call("DELETE", _path(dag_id, run_id))
            print(
                f"Run {run_id} had not begun and was removed. The next run covers the same.",
                file=sys.stderr,
                flush=True,
            )
        else:
            airflow.call("PATCH", f"{_path(dag_id, run_id)}?{urlencode({'update_mask': 'state'})}", {"state": "failed"})
            print(
                f"Run {run_id} had not ended and was marked as failed. The next run covers the same.",
                file=sys.stderr,
                flush=True,
            )


def _path(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"


def _wait_and_show(airflow: Airflow, dag_id: str, run_id: str, *, deadline: float, poll: float) -> int:
    """Wait for the end of a run, show its report; the exit status."""
    state = _wait_for_run(airflow, _path(dag_id, run_id), deadline=deadline, poll=poll)
    _show(airflow, _path(dag_id, run_id))
    print(f"Run {run_id}: {state}.", flush=True)
    return SUCCESS if state == "success" else FAILED


def _trigger(airflow: Airflow, dag_id: str, conf: dict[str, Any]) -> str:
    run = airflow.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
    print(f"Run {run['dag_run_id']} of {dag_id} was triggered.", flush=True)
    return str(run["dag_run_id"])


def _wait_for_dag(airflow: Airflow, dag_id: str, *, seconds: float, poll: float) -> dict[str, Any]:
    """The DAG, once the DAG processor has found it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            dag: dict[str, Any] = airflow.call("GET", f"/api/v2/dags/{dag_id}")
            return dag
        except NotRunError:
            if time.monotonic() > deadline:
                raise
        time.sleep(poll)


def _pause(airflow: Airflow, dag_id: str, paused: bool) -> None:
    airflow.call("PATCH", f"/api/v2/dags/{dag_id}?{urlencode({'update_mask': 'is_paused'})}", {"is_paused": paused})


def _wait_for_run(airflow: Airflow, run_path: str, *, deadline: float, poll: float) -> str:
    missed = 0
    reported: dict[tuple[str, int], str] = {}
    while time.monotonic() < deadline:
        try:
            state = str(airflow.call("GET", run_path)["state"])
            for each in airflow.call("GET", f"{run_path}/taskInstances?limit=500")["task_instances"]:
                key = (each["task_id"], each["map_index"])
                if each["state"] and reported.get(key) != each["state"]:
                    reported[key] = each["state"]
                    name = each.get("rendered_map_index") or ("" if each["map_index"] < 0 else each["map_index"])
                    print(f"  {each['task_id']}{f' [{name}]' if name != '' else ''}: {each['state']}", flush=True)
            missed = 0
        except NotRunError as error:
            # The run continues while the API server is restarted, so keep waiting for it.
            missed += 1
            if missed > 12:
                raise
            print(f"  {error}", file=sys.stderr, flush=True)
            state = ""
        if state in ("success", "failed"):
            return state
        time.sleep(poll)
    raise NotRunError("The run did not end in the given time. In a DAG that was switched on before, it continues.")


def _show(airflow: Airflow, run_path: str) -> None:
    """The table that the task `report` has logged. A log that cannot be read does not change the result of the run."""
    try:
        log = airflow.call("GET", f"{run_path}/taskInstances/report/logs/1?full_content=true")
    except NotRunError as error:
        print(f"The report cannot be read: {error}", file=sys.stderr)
        return
    events = [
        str(entry.get("event", "")) if isinstance(entry, dict) else str(entry) for entry in log.get("content", [])
    ]
    text = "\n".join(events)
    begin = text.find("Tenable to Security Hub CSPM.")
    if begin >= 0:
        table = [
            line for number, line in enumerate(text[begin:].splitlines()) if number == 0 or line.startswith(("|", "+"))
        ]
        print("\n".join(table), flush=True)


def _stop(signum: int, _frame: Any) -> NoReturn:
    raise StoppedError(f"stopped by {signal.Signals(signum).name}.")


def main(arguments: list[str] | None = None) -> int:
    """Read the arguments, run, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--url", default=os.environ.get("AIRFLOW_URL", "http://localhost:8080"), help="URL of Airflow (AIRFLOW_URL)"
    )
    parser.add_argument("--dag", default="tenable_to_security_hub", help="id of the DAG")
    parser.add_argument(
        "--conf", default=os.environ.get("RUN_CONF") or "{}", help="params of the run, as JSON (RUN_CONF)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=float(os.environ.get("RUN_SECONDS") or 86400),
        help="how long to wait (RUN_SECONDS, a day)",
    )
    options = parser.parse_args(arguments)
    # A container that is stopped, or Ctrl-C, leaves no run behind either.
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _stop)
    try:
        conf = json.loads(options.conf)
        if not isinstance(conf, dict):
            raise NotRunError("--conf must be a JSON object of params.")
        airflow = Airflow(options.url)
        airflow.log_in(
            token=os.environ.get("AIRFLOW_TOKEN", ""),
            username=os.environ.get("AIRFLOW_USERNAME", ""),
            password=os.environ.get("AIRFLOW_PASSWORD", ""),
        )
        return run_once(airflow, options.dag, conf, seconds=options.seconds)
    except (NotRunError, StoppedError, ValueError) as error:
        print(f"The DAG was not run to its end: {error}", file=sys.stderr)
        return NOT_RUN


if __name__ == "__main__":
    raise SystemExit(main())
