"""A scope that is narrowed archives what falls out of it, and one that is widened brings what comes in: by a full run
that starts by itself, under the brake, and with what the customers decided.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_tenable.staging.files import read_json
from sandbox.tenable.plugin_record import plugin_record
from sandbox.tenable.plugins import all_plugins
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

FIELDS = "tenable/vulnerability-management"
#: What belongs to the customer.
DECISIONS = ("Workflow", "Note", "UserDefinedFields", "VerificationState", "Severity")
FAMILIES = ("Windows", "Red Hat Local Security Checks")
NARROW: dict[str, Any] = {
    "min_vpr": 6.5,
    "known_exploited_only": True,
    "exclude_plugin_families": list(FAMILIES),
    "asset_tags": {"Environment": ["prod", "staging", "dev"]},
    "potential_packages": "skip",
    "sources": ["AGENT", "NESSUS"],
}
OTHER_FAMILY = "Amazon Linux Local Security Checks"
CHANGED = (
    "asset_tags, exclude_plugin_families, known_exploited_only, min_vpr, potential_packages, scope of destinations, "
    "sources"
)


def ran(defaults: dict[str, Any]) -> tuple[Run, str]:
    """A run with the DAG's own params, and why it was a full one."""
    run = Run(defaults=defaults)
    run.execute()
    return run, read_json(run.folder.plan)["hubs"]["full_why"]


def active(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    """What is active, without what an update may change."""
    return {
        identity: {name: value for name, value in finding.items() if name not in ("UpdatedAt", "ProcessedAt")}
        for identity, finding in sandbox.documents().items()
        if finding["RecordState"] == "ACTIVE"
    }


def plugin_of(finding: dict[str, Any]) -> int:
    return int(finding["GeneratorId"])


def known_exploited(plugin: Any) -> bool:
    record = plugin_record(plugin)
    rated = record.get("vpr_v2", {}).get("on_cisa_kev")
    return bool(rated) or any(xref["type"] == "CISA-KNOWN-EXPLOITED" for xref in record.get("xrefs", ()))


def decide(sandbox: Sandbox, finding: dict[str, Any]) -> None:
    place = {"account": finding["AwsAccountId"], "region": finding["Region"], "id": finding["Id"]}
    decision = {
        "Workflow": {"Status": "SUPPRESSED"},
        "Note": {"Text": "accepted until May", "UpdatedBy": "sec"},
        "UserDefinedFields": {"ticket": "SEC-1"},
        "VerificationState": "BENIGN_POSITIVE",
    }
    sandbox.aws("customer", {**place, "set": decision})


def test_a_scope_narrowed_and_widened_again_ends_where_it_began_with_the_customers_decisions_intact(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    defaults = {**defaults, "severities": ["critical"]}
    # It takes less than the others.
    account = sandbox.accounts[0]
    ran(defaults)
    chosen = {
        plugin.id
        for plugin in all_plugins()
        if plugin.vpr is not None and plugin.vpr >= 6.5 and known_exploited(plugin) and plugin.family not in FAMILIES
    }
    before = active(sandbox)
    staying = sorted(
        each
        for each, finding in before.items()
        if plugin_of(finding) in chosen
        and "Environment: " in finding["ProductFields"].get(f"{FIELDS}/tags", "")
        and "Potential finding" not in str(finding)
        and not (finding["AwsAccountId"] == account and OTHER_FAMILY in finding["ProductFields"].values())
    )
    falling = sorted(before.keys() - staying)
    assert (len(falling) > 20, len(staying) > 5) == (True, True)
    assert any("Potential finding" in str(before[each]) for each in falling)
    for each in (*falling[::7], *staying[::4]):
        decide(sandbox, before[each])
    before = active(sandbox)

    own = {**defaults["destinations"][0], "accounts": [account], "scope": {"exclude_plugin_families": [OTHER_FAMILY]}}
    narrowed = {**defaults, **NARROW, "max_archived_ratio": 1, "destinations": [own, *defaults["destinations"]]}
    run, why = ran(narrowed)
    assert why == f"{CHANGED} changed since the last full run"
    filters = read_json(run.folder.plan)["vulnerability_filters"]
    asked = {name: value for name, value in filters.items() if name not in ("state", "severity", "since", "indexed_at")}
    assert asked == {
        "vpr_score": {"gte": 6.5},
        "source": NARROW["sources"],
        "tag.Environment": ["dev", "prod", "staging"],
    }
    # What Tenable has no filter for is left out here, with its reason.
    assert set(run.ledger["skipped"]) >= {"plugin_family_not_chosen", "not_known_exploited"}
    assert "vpr_below_minimum" not in run.ledger["skipped"]
    assert run.ledger["gone"]["archived"] == {"out_of_scope": len(falling)}
    now = sandbox.documents()
    assert {now[each]["RecordState"] for each in falling} == {"ARCHIVED"}
    assert {now[each]["ProductFields"][f"{FIELDS}/archived_because"] for each in falling} == {"out_of_scope"}
    assert active(sandbox) == {each: before[each] for each in staying}

    # What is in the index is in the scope: the next run has nothing to do.
    run, why = ran(narrowed)
    assert (why, run.ledger["accepted"], run.ledger["gone"]["archived"]) == ("", 0, {})

    run, why = ran(defaults)
    assert why == f"{CHANGED} changed since the last full run"
    after = active(sandbox)
    assert after.keys() == before.keys()
    for each, finding in before.items():
        assert {name: after[each].get(name) for name in DECISIONS} == {name: finding.get(name) for name in DECISIONS}
    assert after == before
    assert (run.ledger["sent"], run.ledger["gone"]["archived"]) == ({"updated": len(falling)}, {})
