"""The complete job of the provider in one process: the DAG's operators and steps in their order, over real sockets,
without a scheduler.

python -m benchmarks.job_side TENABLE_PORT HUB_PORT QUOTA      one line of JSON: CPU and wall by stage
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from benchmarks.connections import tenable_connection
from benchmarks.import_side import ACCOUNT, REGION, connect
from benchmarks.peak import peak_mb

stages: dict[str, dict[str, float]] = {}


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Measure a stage."""
    cpu, wall = time.process_time(), time.monotonic()
    yield
    stages[name] = {"cpu": time.process_time() - cpu, "wall": time.monotonic() - wall}


def main() -> None:
    """Run the job once."""
    tenable_port, hub_port, quota = sys.argv[1:]
    scratch = tempfile.mkdtemp(prefix="benchmark-", dir=os.environ.get("BENCHMARK_SCRATCH"))
    connect(int(hub_port))
    os.environ["AIRFLOW_CONN_TENABLE_DEFAULT"] = tenable_connection(tenable_port)
    os.environ["AIRFLOW__TENABLE__STAGING_PATH"] = f"file://{scratch}"
    os.environ["AIRFLOW__TENABLE__PRODUCT"] = "default"
    # Loading modules is measured by itself, as it is for the peer.
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import tenable.io  # noqa: F401
    from airflow.providers.amazon.aws.fs import s3  # noqa: F401

    from airflow_provider_tenable.assets import table  # noqa: F401
    from airflow_provider_tenable.hooks import security_hub  # noqa: F401
    from airflow_provider_tenable.operators.asff import TenableToAsffOperator
    from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
    from airflow_provider_tenable.operators.tenable import TenableExportOperator
    from airflow_provider_tenable.run import finish, owner, watermark
    from airflow_provider_tenable.run import plan as plan_module
    from airflow_provider_tenable.run.params import DEFAULTS
    from airflow_provider_tenable.security_hub import importer, rate_limit  # noqa: F401
    from airflow_provider_tenable.transform import shard as transform  # noqa: F401

    variables: dict[str, str] = {}
    owner.read_variable = variables.get
    owner.write_variable = lambda name, value, text: variables.update({name: value})
    watermark.read_watermark = lambda dag_id: None
    watermark.write_watermark = lambda dag_id, value: None
    if quota == "off":
        # As in the importer, with a rate that is never reached.
        rate_limit.TokenBucket.__init__.__defaults__ = (1e6, 1e6)  # type: ignore[misc]
    severities = ["info", "low", "medium", "high", "critical"]
    destinations = [{"aws_conn_id": "aws_default", "accounts": [ACCOUNT], "role_name": None, "region": REGION}]
    params = {**DEFAULTS, "severities": severities, "destinations": destinations}
    context: dict[str, Any] = {
        "dag_run": SimpleNamespace(dag_id="tenable_to_security_hub", run_id="benchmark", run_type="manual"),
        "dag": SimpleNamespace(params=params),
        "params": params,
        "ti": SimpleNamespace(xcom_push=lambda key, value: None),
    }
    began, cpu = time.monotonic(), time.process_time()
    with stage("plan"):
        plan = plan_module.plan_run(context)
    with stage("export"):
        exports = {
            kind: TenableExportOperator(
                task_id=kind, export=kind, filters={}, deferrable=False, poll_interval=1
            ).execute(context)
            for kind in ("assets", "vulnerabilities")
        }
    with stage("transform"):
        for shard in plan_module.plan_shards(context, exports["vulnerabilities"]):
            TenableToAsffOperator(task_id=f"transform_{shard['index']}", shard=shard, plan=plan, **exports).execute(
                context
            )
    with stage("import"):
        results = [
            SecurityHubImportFindingsOperator(task_id="import", assignment=each).execute(context)
            for each in plan_module.plan_imports(context)
        ]
    with stage("settle"):
        finish.settle_run(context, exports["vulnerabilities"])
    staged_bytes = sum(
        os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(scratch) for name in names
    )
    print(
        json.dumps(
            {
                "wall": time.monotonic() - began,
                "cpu": time.process_time() - cpu,
                "findings": sum(result["accepted"] for result in results),
                "calls": sum(result["calls"] for result in results),
                "staged_bytes": staged_bytes,
                "peak_mb": peak_mb(),
                "stages": stages,
            }
        ),
        flush=True,
    )
    import shutil

    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
