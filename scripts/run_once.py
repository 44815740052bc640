"""Run the DAG once and exit with its status: 0 success, 1 the run failed, 2 it could not be run.

    AIRFLOW_URL=http://localhost:8080 AIRFLOW_USERNAME=admin AIRFLOW_PASSWORD=... python scripts/run_once.py --conf '{"severities": ["critical"]}'

Works with any Airflow 3: over its REST API, with nothing but Python. A DAG that is paused is switched on for this run, and paused again after it;
where a scheduled run is due then, it is the run that is waited for, unless params are given.
With AIRFLOW_TOKEN a token is used as it is; without user and token, Airflow is asked for one without a login (``simple_auth_manager_all_admins``).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

SUCCESS, FAILED, NOT_RUN = 0, 1, 2
#: Seconds in which the scheduler starts the run that is due, once the DAG is switched on.
LONGEST_START = 60.0
_OPENER = build_opener(ProxyHandler({})) if os.environ.get("AIRFLOW_URL", "").startswith("http://") else build_opener()


class NotRunError(Exception):
    """The run could not be started or watched; the text says why."""


class Airflow:
    """The few calls of Airflow's REST API that are needed.

    :param url: where the API server answers.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.token = ""

    def log_in(self, *, token: str, username: str, password: str) -> None:
        """Take the token, or ask for one."""
        body = {"username": username, "password": password} if username else None
        self.token = token or str(self.call("POST" if body else "GET", "/auth/token", body)["access_token"])

    def call(self, method: str, path: str, body: Any = None, *, accept: str = "application/json") -> Any:
        """One call. :raises NotRunError: refused, or no answer."""
        headers = {"Accept": accept, "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = Request(self.url + path, None if body is None else json.dumps(body).encode(), headers, method=method)
        try:
            with _OPENER.open(request, timeout=60) as answer:
                text = answer.read().decode()
        except HTTPError as error:
            detail = error.read().decode(errors="replace")[:1000]
            raise NotRunError(f"{method} {path}: {error.code} {error.reason}. {detail}") from error
        except (URLError, OSError) as error:
            raise NotRunError(f"Airflow does not answer at {self.url}: {error}") from error
        return json.loads(text) if accept == "application/json" and text else text


def run_once(airflow: Airflow, dag_id: str, conf: dict[str, Any], *, seconds: float, poll: float = 5.0) -> int:
    """Run the DAG, wait for its end, show its report.

    :param conf: params of the run.
    """
    dag = _wait_for_dag(airflow, dag_id, seconds=min(seconds, 300.0), poll=poll)
    try:
        run_id = _begin(airflow, dag_id, conf, paused=dag["is_paused"], poll=poll)
        run_path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
        state = _wait_for_run(airflow, run_path, seconds=seconds, poll=poll)
    finally:
        if dag["is_paused"]:
            _pause(airflow, dag_id, True)
    _show(airflow, run_path)
    print(f"Run {run_id}: {state}.", flush=True)
    return SUCCESS if state == "success" else FAILED


def _begin(airflow: Airflow, dag_id: str, conf: dict[str, Any], *, paused: bool, poll: float) -> str:
    """Start a run; its id. Where switching the DAG on starts its scheduled run, that is the one: otherwise it would run twice."""
    known = _scheduled(airflow, dag_id) if paused and not conf else set()
    run_id = "" if paused and not conf else _trigger(airflow, dag_id, conf)
    if paused:
        _pause(airflow, dag_id, False)
    deadline = time.monotonic() + LONGEST_START
    while not run_id and time.monotonic() < deadline:
        time.sleep(poll)
        run_id = max(_scheduled(airflow, dag_id) - known, default="")
        if run_id:
            print(f"Run {run_id} of {dag_id} was started by its schedule.", flush=True)
    return run_id or _trigger(airflow, dag_id, conf)


def _scheduled(airflow: Airflow, dag_id: str) -> set[str]:
    """The ids of the latest scheduled runs."""
    query = urlencode({"run_type": "scheduled", "order_by": "-run_after", "limit": 20})
    return {str(run["dag_run_id"]) for run in airflow.call("GET", f"/api/v2/dags/{dag_id}/dagRuns?{query}")["dag_runs"]}


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


def _wait_for_run(airflow: Airflow, run_path: str, *, seconds: float, poll: float) -> str:
    deadline, missed = time.monotonic() + seconds, 0
    told: dict[tuple[str, int], str] = {}
    while time.monotonic() < deadline:
        try:
            state = str(airflow.call("GET", run_path)["state"])
            for each in airflow.call("GET", f"{run_path}/taskInstances?limit=500")["task_instances"]:
                key = (each["task_id"], each["map_index"])
                if each["state"] and told.get(key) != each["state"]:
                    told[key] = each["state"]
                    name = each.get("rendered_map_index") or ("" if each["map_index"] < 0 else each["map_index"])
                    print(f"  {each['task_id']}{f' [{name}]' if name != '' else ''}: {each['state']}", flush=True)
            missed = 0
        except NotRunError as error:
            # An API server that is restarted is no reason to give up a run that goes on without it.
            missed += 1
            if missed > 12:
                raise
            print(f"  {error}", file=sys.stderr, flush=True)
            state = ""
        if state in ("success", "failed"):
            return state
        time.sleep(poll)
    raise NotRunError(f"The run did not end in {seconds:.0f} seconds. It goes on in Airflow.")


def _show(airflow: Airflow, run_path: str) -> None:
    """The table that the task `report` has logged. A log that cannot be read changes nothing about the run."""
    try:
        log = airflow.call("GET", f"{run_path}/taskInstances/report/logs/1?full_content=true")
    except NotRunError as error:
        print(f"The report cannot be read: {error}", file=sys.stderr)
        return
    events = [str(entry.get("event", "")) if isinstance(entry, dict) else str(entry) for entry in log.get("content", [])]
    text = "\n".join(events)
    begin = text.find("Tenable to Security Hub.")
    if begin >= 0:
        table = [line for number, line in enumerate(text[begin:].splitlines()) if number == 0 or line.startswith(("|", "+"))]
        print("\n".join(table), flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Read the arguments, run, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=os.environ.get("AIRFLOW_URL", "http://localhost:8080"), help="URL of Airflow (AIRFLOW_URL)")
    parser.add_argument("--dag", default="tenable_to_security_hub", help="id of the DAG")
    parser.add_argument("--conf", default=os.environ.get("RUN_CONF") or "{}", help="params of the run, as JSON (RUN_CONF)")
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("RUN_SECONDS") or 86400), help="how long to wait (RUN_SECONDS, a day)")
    options = parser.parse_args(arguments)
    try:
        conf = json.loads(options.conf)
        if not isinstance(conf, dict):
            raise NotRunError("--conf must be a JSON object of params.")
        airflow = Airflow(options.url)
        airflow.log_in(
            token=os.environ.get("AIRFLOW_TOKEN", ""), username=os.environ.get("AIRFLOW_USERNAME", ""), password=os.environ.get("AIRFLOW_PASSWORD", "")
        )
        return run_once(airflow, options.dag, conf, seconds=options.seconds)
    except (NotRunError, ValueError) as error:
        print(f"The DAG was not run to its end: {error}", file=sys.stderr)
        return NOT_RUN


if __name__ == "__main__":
    raise SystemExit(main())
