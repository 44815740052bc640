"""Several days of the job in one process, over real sockets and without a scheduler: the first run, a day on which all
is scanned again and nothing has changed, one on which one finding of each hundred has, a full run, and a quiet day
after a week of scans.

python -m benchmarks.days_side TENABLE_PORT HUB_PORT      one line of JSON: a list of the days
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from types import SimpleNamespace
from typing import Any

import httpx

from benchmarks.connections import tenable_connection
from benchmarks.import_side import ACCOUNT, REGION, connect
from benchmarks.peak import peak_mb

#: Name, what happens at Tenable before it, params of the run. Days without a name are lived through, and not reported.
DAYS: list[tuple[str, dict[str, int], dict[str, Any]]] = [
    ("first run", {"day": 0}, {}),
    ("all scanned again", {"day": 1}, {}),
    ("again, and 1 % changed", {"day": 2, "changed": 100}, {}),
    ("again, full run", {"day": 3, "changed": 100}, {"full": True}),
    # Records of hosts outside AWS wait for seven days: on the last one, those of all seven are there.
    *(("", {"day": day, "changed": 100}, {}) for day in (4, 5, 6)),
    ("all scanned for the eighth time", {"day": 7, "changed": 100}, {}),
]


def main() -> None:
    """Live through the days."""
    tenable_port, hub_port = sys.argv[1:]
    scratch = tempfile.mkdtemp(prefix="benchmark-", dir=os.environ.get("BENCHMARK_SCRATCH"))
    connect(int(hub_port))
    os.environ["AIRFLOW_CONN_TENABLE_DEFAULT"] = tenable_connection(tenable_port)
    os.environ["AIRFLOW__TENABLE__STAGING_PATH"] = f"file://{scratch}"
    os.environ["AIRFLOW__TENABLE__PRODUCT"] = "default"
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import tenable.io  # noqa: F401
    from airflow.providers.amazon.aws.fs import s3  # noqa: F401

    from airflow_provider_tenable.run import owner, watermark
    from airflow_provider_tenable.security_hub import rate_limit

    variables: dict[str, str] = {}
    owner.read_variable = variables.get
    owner.write_variable = lambda name, value, text: variables.update({name: value})
    marks: dict[str, str] = {}
    watermark.read_watermark = marks.get
    watermark.write_watermark = lambda dag_id, value: marks.update({dag_id: str(value)})
    # As in the importer, with a rate that is never reached.
    rate_limit.TokenBucket.__init__.__defaults__ = (1e6, 1e6)  # type: ignore[misc]
    days = []
    for number, (name, at_tenable, params) in enumerate(DAYS):
        httpx.post(f"http://127.0.0.1:{tenable_port}/day", json=at_tenable, trust_env=False).raise_for_status()
        days.append({"day": name, **_day(number, params)})
    print(json.dumps({"days": [day for day in days if day["day"]]}), flush=True)
    shutil.rmtree(scratch)


def context_of(number: int, params: dict[str, Any], destinations: list[dict[str, Any]]) -> dict[str, Any]:
    """What Airflow gives the tasks of a day's run."""
    from airflow_provider_tenable.run.params import DEFAULTS

    severities = ["info", "low", "medium", "high", "critical"]
    defaults = {**DEFAULTS, "severities": severities, "destinations": destinations}
    return {
        "dag_run": SimpleNamespace(dag_id="tenable_to_security_hub", run_id=f"day-{number}", run_type="manual"),
        "dag": SimpleNamespace(params=defaults),
        "params": {**defaults, **params},
        "ti": SimpleNamespace(xcom_push=lambda key, value: None),
    }


def _day(number: int, params: dict[str, Any]) -> dict[str, Any]:
    from airflow_provider_tenable.operators.asff import TenableToAsffOperator
    from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
    from airflow_provider_tenable.operators.tenable import TenableExportOperator
    from airflow_provider_tenable.run import archiving, finish
    from airflow_provider_tenable.run import plan as plan_module
    from airflow_provider_tenable.staging.files import read_json
    from airflow_provider_tenable.staging.layout import RunFolder

    destinations = [{"aws_conn_id": "aws_default", "accounts": [ACCOUNT], "role_name": None, "region": REGION}]
    context = context_of(number, params, destinations)
    cpu = time.process_time()
    plan = plan_module.plan_run(context)
    exports = {
        kind: TenableExportOperator(task_id=kind, export=kind, filters={}, deferrable=False, poll_interval=1).execute(
            context
        )
        for kind in ("assets", "vulnerabilities")
    }
    for shard in plan_module.plan_shards(context, exports["vulnerabilities"], exports["assets"]):
        TenableToAsffOperator(task_id=f"transform_{shard['index']}", shard=shard, plan=plan, **exports).execute(context)
    staged = time.process_time()
    for each in plan_module.plan_imports(context):
        SecurityHubImportFindingsOperator(task_id="import", assignment=each).execute(context)
    imported = time.process_time()
    finish.settle_run(context, exports["vulnerabilities"])
    archiving.plan_archiving(context, exports["vulnerabilities"])
    finish.advance_watermark(context, exports["vulnerabilities"])
    ledger = read_json(RunFolder.of(context).ledger)
    assert ledger["complete"]
    return {
        "full": ledger["full"],
        "findings": ledger["findings"],
        "sent": ledger["accepted"],
        "calls": sum(entry["calls"] for entry in ledger["destinations"].values()),
        "cpu": time.process_time() - cpu,
        "import_cpu": imported - staged,
        "peak_mb": peak_mb(),
    }


if __name__ == "__main__":
    main()
