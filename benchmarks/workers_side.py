"""The same job over one, two and four Celery workers: the services of docker-compose.yaml as processes, with the cheap
servers in place of the sandbox.

    .venv-celery/bin/python -m benchmarks.workers_side TENABLE_PORT HUB_PORT ACCOUNTS WORKERS ...      one line of JSON

Each worker runs one task at a time. The result has, by the number of workers, the seconds of the run and of two of its
stages: the transform, which needs CPU, and the import, which mostly waits for the hub. A stage's time is from the start
of its first task to the end of its last one; ``busy`` is the sum of its tasks' own seconds, so that ``busy`` divided by
the stage's seconds is how many workers were at work at once.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.estate import numbered_accounts
from benchmarks.import_side import REGION
from tests.celery.cluster import Cluster

STAGES = {"transform": "transform", "import": "import_findings"}


def main() -> None:
    """Run the job with each number of workers."""
    tenable, hub, accounts, *numbers = (int(argument) for argument in sys.argv[1:])
    found = {}
    # A deployment of its own for each, so that every run is a first one.
    for workers in numbers:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as home:
            found[str(workers)] = _measured(Path(home), workers, tenable, hub, numbered_accounts(accounts))
    print(json.dumps(found), flush=True)


def _measured(home: Path, workers: int, tenable: int, hub: int, accounts: tuple[str, ...]) -> dict[str, Any]:
    params = {
        "severities": ["info", "low", "medium", "high", "critical"],
        "destinations": [
            {"aws_conn_id": f"aws_{account}", "accounts": [account], "role_name": None, "region": REGION}
            for account in accounts
        ],
    }
    connections = {f"AIRFLOW_CONN_AWS_{account}": json.dumps(_connection(account, hub)) for account in accounts}
    settings = {
        "DAG_PARAMS": json.dumps(params),
        "AWS_CONNECTION": json.dumps(_connection(accounts[0], hub)),
        "TENABLE_URL": f"http://127.0.0.1:{tenable}",
        "TENABLE_ALLOW_HTTP": "true",
    }
    with Cluster(home, settings) as cluster:
        _set_up(cluster, workers, connections)
        cluster.start_all()
        once = cluster.once()
        output, _ = once.communicate(timeout=3600)
        if once.returncode:
            raise RuntimeError(f"The run with {workers} workers ended with {once.returncode}:\n{output[-3000:]}")
        run = cluster.runs()[0]
        tasks = {task: cluster.tasks(run["dag_run_id"], task) for task in STAGES.values()}
    return {
        "run": _seconds(run["start_date"], run["end_date"]),
        **{stage: _stage(tasks[task]) for stage, task in STAGES.items()},
    }


def _connection(account: str, hub: int) -> dict[str, Any]:
    extra = {"region_name": REGION, "endpoint_url": f"http://127.0.0.1:{hub}"}
    return {"conn_type": "aws", "login": f"AKIA{account}", "password": "secret", "extra": extra}


def _set_up(cluster: Cluster, workers: int, connections: dict[str, str]) -> None:
    """Leave out the sandbox, and have so many workers with one slot each."""
    services = cluster.services
    services.pop("sandbox")
    for service in services.values():
        (service.get("depends_on") or {}).pop("sandbox", None)
    model = services.pop("worker-2")
    for number in range(2, workers + 1):
        services[f"worker-{number}"] = worker = copy.deepcopy(model)
        worker["hostname"] = worker["environment"]["WORKER_NAME"] = f"worker-{number}"
    for service in services.values():
        if "AIRFLOW__CELERY__WORKER_CONCURRENCY" in (service.get("environment") or {}):
            service["environment"] |= connections | {
                "AIRFLOW__CELERY__WORKER_CONCURRENCY": "1",
                "AIRFLOW__TENABLE__PRODUCT": "default",
                "AIRFLOW__TENABLE__TRANSFORM_SHARDS": "8",
                "AIRFLOW__TENABLE__SHARD_RECORDS": "25000",
            }


def _stage(tasks: list[dict[str, Any]]) -> dict[str, float]:
    begun, ended = min(each["start_date"] for each in tasks), max(each["end_date"] for each in tasks)
    return {
        "tasks": len(tasks),
        "seconds": _seconds(begun, ended),
        "busy": sum(_seconds(each["start_date"], each["end_date"]) for each in tasks),
    }


def _seconds(begun: str, ended: str) -> float:
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()


if __name__ == "__main__":
    main()
