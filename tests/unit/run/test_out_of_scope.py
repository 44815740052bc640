"""Which archived findings are out of the scope, by what they say of themselves."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable.asff.finding import MappingOptions
from airflow_provider_tenable.run.out_of_scope import reason_of, scopes_of
from airflow_provider_tenable.state.gone import DELETED, MOVED, NOT_REPORTED, OUT_OF_SCOPE, TERMINATED
from airflow_provider_tenable.transform.scope import Scope
from tests.unit.test_mapping_docs import ASSETS, RECORDS, finding_of

FIELDS = "tenable/vulnerability-management/"


def document(**plugin: Any) -> dict[str, Any]:
    """A finding as the mapping makes it."""
    traits = {"family": "Windows", "vpr": {"score": 6.7}, **plugin}
    record = {**RECORDS[0], "plugin": {**RECORDS[0]["plugin"], "id": 100, "vpr_v2": None, "xrefs": [], **traits}}
    made: dict[str, Any] = finding_of(record, ASSETS[2], MappingOptions())
    return made


#: A package of which Tenable is not certain.
UNSURE = {"Name": "a", "Remediation": "Potential finding: confirm it."}
KEV = {"xrefs": [{"type": "CISA-KNOWN-EXPLOITED", "id": "2024/06/18"}]}


@pytest.mark.parametrize(
    ("scope", "plugin", "reason"),
    [
        (Scope(min_vpr=6.7), {}, NOT_REPORTED),
        (Scope(min_vpr=6.8), {}, OUT_OF_SCOPE),
        (Scope(min_vpr=6.8), {"vpr": None, "vpr_v2": {"score": 9}}, NOT_REPORTED),
        (Scope(min_vpr=0.1), {"vpr": None}, OUT_OF_SCOPE),
        (Scope(plugin_families=("Windows",)), {}, NOT_REPORTED),
        (Scope(plugin_families=("General",)), {}, OUT_OF_SCOPE),
        (Scope(exclude_plugin_families=("Windows",)), {}, OUT_OF_SCOPE),
        (Scope(known_exploited_only=True), {}, OUT_OF_SCOPE),
        (Scope(known_exploited_only=True), KEV, NOT_REPORTED),
        (Scope(plugin_ids=(100,)), {}, NOT_REPORTED),
        (Scope(exclude_plugin_ids=(100,)), {}, OUT_OF_SCOPE),
    ],
    ids=str,
)
def test_a_finding_says_whether_the_scope_leaves_it_out(scope: Scope, plugin: Any, reason: str) -> None:
    assert reason_of((scope,), NOT_REPORTED, document(**plugin)) == reason


def test_a_finding_says_its_source_and_how_certain_its_packages_are() -> None:
    made = document()
    source = made["ProductFields"][f"{FIELDS}source"]
    assert reason_of((Scope(sources=(source.upper(),)),), NOT_REPORTED, made) == NOT_REPORTED
    assert reason_of((Scope(sources=("NNM",)),), NOT_REPORTED, made) == OUT_OF_SCOPE
    made["ProductFields"][f"{FIELDS}source"] = [source]
    assert reason_of((Scope(sources=("NNM",)),), NOT_REPORTED, made) == OUT_OF_SCOPE
    skip = Scope(potential_packages="skip")
    packages = [{"product": "a", "potential": True}, {"product": "b", "potential": True, "potential_reasons": ["x"]}]
    cases = [(packages, OUT_OF_SCOPE), ([*packages, {"product": "c"}], NOT_REPORTED), ([], NOT_REPORTED)]
    for software, reason in cases:
        record = {**RECORDS[0], "software_vulns": software}
        assert record["plugin"]["cve"]
        assert reason_of((skip,), NOT_REPORTED, finding_of(record, ASSETS[2], MappingOptions())) == reason
        assert reason_of((), NOT_REPORTED, finding_of(record, ASSETS[2], MappingOptions())) == NOT_REPORTED


def test_a_finding_is_in_the_scope_of_the_dag_and_of_its_destination() -> None:
    own, of_dag = {"accounts": ["111122223333"], "scope": {"min_vpr": 9.0}}, {"exclude_plugin_ids": [5]}
    first, rest = ({"aws_conn_id": None, "accounts": [], "role_name": "R", **each} for each in (own, {}))
    plan: Any = {
        "destinations": [{**each, "connection_region": "eu-west-1"} for each in (first, rest)],
        "settings": {"region_routing": "fixed", "scope": of_dag},
    }
    scopes = scopes_of(plan, "111122223333", "eu-west-1")
    assert scopes == (Scope(exclude_plugin_ids=(5,)), Scope(min_vpr=9.0))
    assert scopes_of(plan, "444455556666", "eu-west-1") == scopes[:1]
    # An account that is left out now has the DAG's.
    assert scopes_of({**plan, "destinations": plan["destinations"][:1]}, "444455556666", "eu-west-1") == scopes[:1]
    assert scopes_of({**plan, "settings": {"region_routing": "fixed"}}, "444455556666", "eu-west-1") == ()
    # By Region where that decides.
    regions = {"regions": ["eu-west-1"], "connection_region": None}, {"connection_region": None}
    by_region = [{**each, **more} for each, more in zip(plan["destinations"], regions, strict=True)]
    resource = {**plan, "destinations": by_region, "settings": {**plan["settings"], "region_routing": "resource"}}
    assert scopes_of(resource, "111122223333", "eu-west-1") == scopes
    assert scopes_of(resource, "111122223333", "us-east-1") == scopes[:1]
    # It is about vulnerabilities, and the destinations may be those of audits as well.
    assert scopes_of({**plan, "kind": "compliance"}, "111122223333", "eu-west-1") == ()
    assert reason_of(scopes, NOT_REPORTED, document()) == OUT_OF_SCOPE
    assert reason_of(scopes[:1], NOT_REPORTED, document()) == NOT_REPORTED


@pytest.mark.parametrize("planned", [MOVED, TERMINATED, DELETED, OUT_OF_SCOPE])
def test_what_is_known_of_the_asset_stays_the_reason(planned: str) -> None:
    assert reason_of((Scope(exclude_plugin_ids=(100,)),), planned, document()) == planned


@pytest.mark.parametrize(
    "change",
    [
        {"GeneratorId": None},
        {"GeneratorId": ""},
        {"GeneratorId": "tenable-audit/1"},
        {"GeneratorId": "٣"},
        {"ProductFields": None},
        {"ProductFields": {f"{FIELDS}vpr_score": "much"}},
        {"ProductFields": {f"{FIELDS}vpr_score": [1]}},
    ],
)
def test_a_finding_that_does_not_say_is_not_reported(change: dict[str, Any]) -> None:
    scope = Scope(plugin_ids=(5,), min_vpr=9)
    assert reason_of((scope,), NOT_REPORTED, {**document(), **change}) == NOT_REPORTED
    assert reason_of((scope,), NOT_REPORTED, {**document(), "GeneratorId": "9" * 9_999}) == OUT_OF_SCOPE


@pytest.mark.parametrize(
    "vulnerabilities",
    [
        None,
        5,
        ["CVE-2024-1"],
        [{"VulnerablePackages": None}],
        [{"VulnerablePackages": [UNSURE, "b"]}],
        [{"VulnerablePackages": [UNSURE, {"Remediation": 5}]}],
        [{"VulnerablePackages": [UNSURE]}, {"VulnerablePackages": "b"}],
        # One of them is certain.
        [{"VulnerablePackages": [UNSURE]}, {"VulnerablePackages": [{"Name": "b"}]}],
        [{"VulnerablePackages": []}, {}],
    ],
    ids=str,
)
def test_packages_that_cannot_be_read_or_are_certain_are_in_the_scope(vulnerabilities: Any) -> None:
    skip = Scope(potential_packages="skip")
    assert reason_of((skip,), NOT_REPORTED, {**document(), "Vulnerabilities": vulnerabilities}) == NOT_REPORTED
    certain = {**document(), "Vulnerabilities": [{"Id": "CVE-2024-1"}, {"VulnerablePackages": [UNSURE, UNSURE]}]}
    assert reason_of((skip,), NOT_REPORTED, certain) == OUT_OF_SCOPE
