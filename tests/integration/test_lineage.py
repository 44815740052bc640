"""Lineage of a real run, as OpenLineage's provider asks for it: from Tenable over the staging area to each hub, with
the numbers of the ledger.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from airflow.providers.openlineage.extractors.base import DefaultExtractor

from airflow_provider_tenable._compat import Asset
from airflow_provider_tenable.observability.lineage import convert_asset_to_openlineage, staged_data
from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.run import finish
from airflow_provider_tenable.run import plan as plan_module
from airflow_provider_tenable.run.asset_event import imported_findings
from tests.integration.conftest import Sandbox
from tests.integration.pipeline_driver import Run, Variables


def extracted(operator: Any) -> tuple[dict[tuple[str, str], int | None], dict[tuple[str, str], int | None]]:
    """(namespace, name) -> rows, of what the operator has read and of what it has written."""
    lineage = DefaultExtractor(operator).extract_on_complete(None)
    assert lineage is not None
    return (
        {(each.namespace, each.name): each.inputFacets["inputStatistics"].rowCount for each in lineage.inputs},
        {(each.namespace, each.name): each.outputFacets["outputStatistics"].rowCount for each in lineage.outputs},
    )


def test_lineage_leads_from_tenable_to_each_hub_with_the_numbers_of_the_ledger(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    run = Run(defaults=defaults)
    plan = plan_module.plan_run(run.context)
    exports, results = {}, {}
    for kind, filters in (("assets", plan["asset_filters"]), ("vulnerabilities", plan["vulnerability_filters"])):
        exports[kind] = TenableExportOperator(
            task_id=kind, export=kind, filters=filters, deferrable=False, poll_interval=0.1
        )
        assert extracted(exports[kind]) == ({}, {})
        results[kind] = exports[kind].execute(run.context)
    [shard] = plan_module.plan_shards(run.context, results["vulnerabilities"])
    transform = TenableToAsffOperator(task_id="transform", shard=shard, plan=plan, **results)
    transform.execute(run.context)
    imports = [
        SecurityHubImportFindingsOperator(task_id=f"import_{number}", assignment=each)
        for number, each in enumerate(plan_module.plan_imports(run.context))
    ]
    for each in imports:
        each.execute(run.context)
    finish.settle_run(run.context, results["vulnerabilities"])
    ledger = run.ledger

    root = run.folder.root.path
    for kind, export in exports.items():
        records = results[kind]["records"]
        assert extracted(export) == ({("tenable://127.0.0.1", kind): records}, {("file", f"{root}/{kind}"): records})
    assert results["vulnerabilities"]["records"] == ledger["exported"]
    assert extracted(transform) == (
        {("file", f"{root}/vulnerabilities"): ledger["exported"], ("file", f"{root}/assets"): None},
        {("file", f"{root}/findings"): ledger["findings"]},
    )
    written: dict[tuple[str, str], int | None] = {}
    for each in imports:
        read, sent = extracted(each)
        assert list(read) == [("file", f"{root}/findings/{each.title}")]
        written |= sent
    assert written == {
        (f"securityhub://{name}", "findings"): entry["accepted"] for name, entry in ledger["destinations"].items()
    }


def test_a_dry_run_has_written_to_no_hub(sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]) -> None:
    run = Run(defaults=defaults, params={"dry_run": True})
    run.execute()
    operator = SecurityHubImportFindingsOperator(task_id="import", assignment=plan_module.plan_imports(run.context)[0])
    operator.execute(run.context)
    read, written = extracted(operator)
    assert (len(read), written) == (1, {})


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("s3://aws_default@bucket/tenable/dag/run", ("s3://bucket", "tenable/dag/run")),
        ("s3://bucket/tenable", ("s3://bucket", "tenable")),
        ("file:///var/lib/staging/dag", ("file", "/var/lib/staging/dag")),
    ],
)
def test_a_folder_has_the_name_that_openlineage_gives_it(uri: str, named: tuple[str, str]) -> None:
    data = staged_data(uri)
    assert (data.namespace, data.name) == named


def test_the_asset_of_imported_findings_is_a_dataset_of_its_own() -> None:
    dataset = convert_asset_to_openlineage(imported_findings("my_dag"), None)
    assert (dataset.namespace, dataset.name) == ("tenable://security-hub", "my_dag")
    # As Airflow normalises what a person writes.
    assert Asset("TENABLE://Security-Hub/My_Dag/").uri == "tenable://security-hub/My_Dag"


def test_without_openlineage_nothing_is_missed() -> None:
    code = """if True:
        import sys
        # Airflow itself has looked for its providers by now.
        from airflow_provider_tenable import _compat
        class Missing:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "openlineage" or name.startswith("airflow.providers.openlineage"):
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Missing())
        from airflow_provider_tenable import provider_info
        from airflow_provider_tenable.observability import lineage
        from airflow_provider_tenable.operators import asff, security_hub, tenable
        assert lineage.tenable_data("https://cloud.tenable.com", "assets").namespace == "tenable://cloud.tenable.com"
        try:
            tenable.TenableExportOperator(task_id="x").get_openlineage_facets_on_complete(None)
        except ModuleNotFoundError:
            print("only who asks for lineage needs it")
    """
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert "only who asks" in done.stdout, done.stderr[-2000:]
