"""A run at size: days of the job in many accounts. Each task is a process of its own, forked as Airflow's workers do,
so that CPU and memory are those of the task; its result is as JSON what an XCom would be.

    python -m benchmarks.size_side TENABLE_PORT HUB_PORT ACCOUNTS RATE [DAYS]      one line of JSON: a list of the days

RATE: `limited` by the quota of BatchImportFindings, as in a deployment, or `unlimited`. DAYS: only so many of the first
ones.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.connections import aws_connection, tenable_connection
from benchmarks.days_side import context_of
from benchmarks.estate import numbered_accounts
from benchmarks.import_side import REGION

#: Name, what happens at Tenable before it, params of the run.
DAYS: list[tuple[str, dict[str, int], dict[str, Any]]] = [
    ("first run", {"day": 0}, {}),
    ("all scanned again", {"day": 1}, {}),
    ("again, 1 % changed, full run", {"day": 2, "changed": 100}, {"full": True}),
]
Work = Callable[[], Any]


@dataclass
class Stage:
    """What the tasks of a stage have cost."""

    tasks: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    peak_mb: float = 0.0
    xcom_bytes: int = 0
    results: list[Any] = field(default_factory=list)

    def run(self, works: list[Work], together: int = 1) -> list[Any]:
        """Run tasks, so many at a time, and return their results in order."""
        began, running = time.monotonic(), dict[int, tuple[int, int]]()
        results: dict[int, Any] = {}
        for number, work in enumerate(works):
            if len(running) == together:
                self._collect(running, results)
            process, output = _fork(work)
            running[process] = number, output
        while running:
            self._collect(running, results)
        self.wall += time.monotonic() - began
        return [results[number] for number in range(len(works))]

    def _collect(self, running: dict[int, tuple[int, int]], results: dict[int, Any]) -> None:
        process, status, usage = os.wait4(-1, 0)
        number, output = running.pop(process)
        with os.fdopen(output, "rb") as file:
            file.seek(0)
            data = file.read()
        if status:
            raise RuntimeError(f"a task has failed, see above (status {status})")
        self.tasks += 1
        self.cpu += usage.ru_utime + usage.ru_stime
        self.peak_mb = max(self.peak_mb, usage.ru_maxrss / 1024)
        self.xcom_bytes += len(data)
        results[number] = json.loads(data)

    def figures(self) -> dict[str, float]:
        """For the JSON file."""
        return {name: value for name, value in vars(self).items() if name != "results"}


def _fork(work: Work) -> tuple[int, int]:
    """A process that does some work, and an open file that will have the result."""
    output = os.memfd_create("result")
    process = os.fork()
    if process:
        return process, output
    code = 1
    try:
        os.write(output, json.dumps(work()).encode())
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stderr.flush()
        os._exit(code)


class Variables:
    """Airflow's Variables, as a file: tasks are processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_text("{}")

    def get(self, name: str) -> str | None:
        """A value."""
        found: str | None = json.loads(self._path.read_text()).get(name)
        return found

    def set(self, name: str, value: Any, text: str = "") -> None:
        """Set a value."""
        self._path.write_text(json.dumps({**json.loads(self._path.read_text()), name: str(value)}))


def main() -> None:
    """Live through the days."""
    tenable_port, hub_port, accounts = map(int, sys.argv[1:4])
    assert sys.argv[4] in ("limited", "unlimited")
    days = DAYS[: int(sys.argv[5])] if len(sys.argv) > 5 else DAYS
    scratch = tempfile.mkdtemp(prefix="benchmark-", dir=os.environ.get("BENCHMARK_SCRATCH"))
    _connect(tenable_port, hub_port, accounts)
    os.environ["AIRFLOW__TENABLE__STAGING_PATH"] = f"file://{scratch}/staging"
    os.environ["AIRFLOW__TENABLE__PRODUCT"] = "default"
    _load()
    variables = Variables(Path(scratch) / "variables.json")
    _patch(variables)
    if sys.argv[4] == "unlimited":
        _lift_quota()
    done = []
    for number, (name, at_tenable, params) in enumerate(days):
        httpx.post(f"http://127.0.0.1:{tenable_port}/day", json=at_tenable, trust_env=False).raise_for_status()
        done.append({"day": name, **_day(number, params, accounts, Path(scratch) / "staging")})
        print(json.dumps(done[-1]), file=sys.stderr, flush=True)
    print(json.dumps({"days": done}), flush=True)
    shutil.rmtree(scratch)


def _connect(tenable_port: int, hub_port: int, accounts: int) -> None:
    os.environ["AIRFLOW_CONN_TENABLE_DEFAULT"] = tenable_connection(tenable_port)
    for account in numbered_accounts(accounts):
        os.environ[f"AIRFLOW_CONN_AWS_{account}"] = aws_connection(hub_port, REGION, key=f"AKIA{account}")
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def _load() -> None:
    """What tasks import is imported once, as Airflow's executors do."""
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import tenable.io

    from airflow_provider_tenable.hooks import security_hub  # noqa: F401
    from airflow_provider_tenable.operators import asff, tenable  # noqa: F401
    from airflow_provider_tenable.run import archiving, finish, plan  # noqa: F401


def _patch(variables: Variables) -> None:
    from airflow_provider_tenable.run import owner, watermark

    owner.read_variable = variables.get
    owner.write_variable = variables.set
    watermark.read_watermark = variables.get
    watermark.write_watermark = variables.set


def _lift_quota() -> None:
    """Let the import send as fast as it can."""
    from airflow_provider_tenable.security_hub import rate_limit

    rate_limit.TokenBucket.__init__.__defaults__ = (1e6, 1e6)  # type: ignore[misc]


def _day(number: int, params: dict[str, Any], accounts: int, staging: Path) -> dict[str, Any]:
    from airflow_provider_tenable.operators.asff import TenableToAsffOperator
    from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
    from airflow_provider_tenable.operators.tenable import TenableExportOperator
    from airflow_provider_tenable.run import archiving, finish
    from airflow_provider_tenable.run import plan as plan_module
    from airflow_provider_tenable.staging.files import read_json
    from airflow_provider_tenable.staging.layout import RunFolder

    destinations = [
        {"aws_conn_id": f"aws_{account}", "accounts": [account], "role_name": None, "region": REGION}
        for account in numbered_accounts(accounts)
    ]
    context = context_of(number, params, destinations)
    stages: dict[str, Stage] = {name: Stage() for name in ("plan", "export", "transform", "import", "settle")}
    cores = os.cpu_count() or 1
    (plan,) = stages["plan"].run([lambda: plan_module.plan_run(context)])

    def export(kind: str) -> Any:
        operator = TenableExportOperator(task_id=kind, export=kind, filters={}, deferrable=False, poll_interval=1)
        return operator.execute(context)

    def transform(shard: Any) -> Any:
        return TenableToAsffOperator(
            task_id=f"transform_{shard['index']}",
            shard=shard,
            plan=plan,
            assets=assets,
            vulnerabilities=vulnerabilities,
        ).execute(context)

    def deliver(assignment: Any) -> Any:
        return SecurityHubImportFindingsOperator(task_id="import", assignment=assignment).execute(context)

    assets, vulnerabilities = stages["export"].run([lambda: export("assets"), lambda: export("vulnerabilities")], 2)
    (shards,) = stages["plan"].run([lambda: plan_module.plan_shards(context, vulnerabilities, assets)])
    stages["transform"].run([lambda each=shard: transform(each) for shard in shards], cores)
    (imports,) = stages["plan"].run([lambda: plan_module.plan_imports(context)])
    results = stages["import"].run([lambda each=assignment: deliver(each) for assignment in imports], 4 * cores)
    stages["settle"].run([lambda: finish.settle_run(context, vulnerabilities)])
    stages["settle"].run([lambda: archiving.plan_archiving(context, vulnerabilities)])
    stages["settle"].run([lambda: finish.advance_watermark(context, vulnerabilities)])
    run = RunFolder.of(context)
    ledger = read_json(run.ledger)
    assert ledger["complete"], ledger
    folders = list(_folders(staging, f"day-{number}"))
    return {
        "full": ledger["full"],
        "findings": ledger["findings"],
        "sent": ledger["accepted"],
        "calls": sum(result["calls"] for result in results),
        "destinations": len(ledger["destinations"]),
        "staged_bytes": sum(size for _, sizes in folders for size in sizes),
        "files": sum(len(sizes) for _, sizes in folders),
        "largest_folder": max(len(sizes) for _, sizes in folders),
        "index_bytes": sum(size for _, sizes in _folders(staging, RunFolder.FINDING_INDEX) for size in sizes),
        "stages": {name: stage.figures() for name, stage in stages.items()},
    }


def _folders(staging: Path, part: str) -> Iterator[tuple[str, list[int]]]:
    """Each folder below the staging path with a text in its path, and the sizes of its files."""
    for folder, _, names in os.walk(staging):
        if names and part in folder:
            yield folder, [os.path.getsize(os.path.join(folder, name)) for name in names]


if __name__ == "__main__":
    main()
