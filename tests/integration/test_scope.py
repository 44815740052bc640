"""A change of what a DAG imports, or how, reaches the hubs by a full run that starts by itself, once."""

from __future__ import annotations

from typing import Any

from airflow_provider_tenable.staging.files import read_json
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox


def ran(**defaults: Any) -> tuple[Run, str]:
    """A run with the DAG's own params, and why it was a full one."""
    run = Run(defaults=defaults)
    run.execute()
    return run, read_json(run.folder.plan)["hubs"]["full_why"]


def labels(sandbox: Sandbox) -> dict[str, str]:
    return {
        identity: finding["FindingProviderFields"]["Severity"]["Label"]
        for identity, finding in sandbox.documents().items()
        if finding["RecordState"] == "ACTIVE"
    }


def test_another_source_of_severities_is_in_the_hubs_after_the_next_run(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    ran(**defaults)
    by_tenable = labels(sandbox)
    assert set(by_tenable.values()) == {"HIGH", "CRITICAL"}

    run, why = ran(**defaults, severity_source="vpr")
    assert why == "severity_source changed since the last full run"
    by_vpr = labels(sandbox)
    assert set(by_vpr) == set(by_tenable)
    differing = [identity for identity in by_vpr if by_vpr[identity] != by_tenable[identity]]
    # Only these are sent, and nothing is archived.
    assert run.ledger["sent"] == {"updated": len(differing)}
    assert run.ledger["gone"]["archived"] == {}
    fields = "tenable/vulnerability-management"
    for identity, finding in sandbox.documents().items():
        if f"{fields}/severity_modification" in finding["ProductFields"]:
            # Somebody has recast it.
            assert by_vpr.get(identity) == by_tenable.get(identity)
            continue
        score = float(finding["ProductFields"].get(f"{fields}/vpr_score", -1))
        if identity in by_vpr and score >= 0:
            wanted = "LOW" if score < 4 else "MEDIUM" if score < 7 else "HIGH" if score < 9 else "CRITICAL"
            assert by_vpr[identity] == wanted
    assert any(finding["ProductFields"].get(f"{fields}/cisa_kev") == "true" for finding in sandbox.documents().values())

    # Once: the next run is an ordinary one, and has nothing to send.
    run, why = ran(**defaults, severity_source="vpr")
    assert (why, run.ledger["accepted"]) == ("", 0)
