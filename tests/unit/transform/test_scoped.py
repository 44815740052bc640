"""The transform of a run with a scope."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.tenable_vm.asset_row import row_of_details
from airflow_provider_tenable.transform.scope import Scope
from airflow_provider_tenable.transform.scoped import ScopedTransform
from airflow_provider_tenable.transform.shard import Parked, Transform
from tests.unit.transform.test_shard import ASSETS, DESTINATIONS, NOW, World, ec2, record


def scoped(tmp_path: Any, scope: Scope, **world: Any) -> World:
    return World(tmp_path, **world).use(ScopedTransform, scope=scope)


def of(plugin: int, asset: str = "ec2-a", *, change: Any = None, **traits: Any) -> dict[str, Any]:
    found = {**record(asset, plugin=plugin), **(change or {})}
    found["plugin"] = {**found["plugin"], "family": "General", **traits}
    return found


KEV = {"xrefs": [{"type": "CISA-KNOWN-EXPLOITED", "id": "2024/06/18"}]}
RECORDS = [
    of(1),
    of(2, **KEV),
    of(3, family="Windows", **KEV),
    of(4, **KEV, vpr={"score": 9.5}),
    # An asset that is in no export, and one that may settle.
    of(5, "unheard"),
    of(6, "no-owner"),
    of(2, "unheard", **KEV),
]
SCOPE = Scope(
    exclude_plugin_ids=(4,), exclude_plugin_families=("Windows",), known_exploited_only=True, plugin_ids=(2,), min_vpr=7
)


def test_what_tenable_cannot_filter_is_left_out_before_it_is_parked_or_kept(tmp_path: Any) -> None:
    world = scoped(tmp_path, SCOPE)
    manifest = world.chunks(RECORDS)
    # What Tenable has filtered is not judged again.
    assert manifest["skipped"] == {"not_known_exploited": 3, "plugin_family_not_chosen": 1, "plugin_not_chosen": 1}
    assert (manifest["findings"], manifest["parked"], manifest["waiting"]) == (1, 1, {})


def test_records_that_have_waited_are_judged_by_all_of_the_scope(tmp_path: Any) -> None:
    world = scoped(tmp_path, SCOPE)
    waited = [*RECORDS[:4], of(2, **KEV, vpr={"score": 7}), of(7, **KEV, vpr={"score": 9})]
    world.transform.transform_parked(Parked(NOW - 60, msgspec.Raw(json.dumps(each).encode())) for each in waited)
    manifest = world.close()
    assert manifest["skipped"] == {"plugin_not_chosen": 4, "vpr_below_minimum": 1}
    assert [finding["GeneratorId"] for finding in world.findings("111111111111", "eu-west-1")] == ["2"]


NETWORK = "00000000-0000-0000-0000-00000000000a"
PLACES: list[Any] = [
    of(1, change={"asset": {"uuid": "ec2-a", "network_id": NETWORK}, "source": "AGENT"}),
    of(2, change={"asset": {"uuid": "ec2-a", "network_id": NETWORK.upper()}, "source": "NNM"}),
    of(3, "ec2-b", change={"source": "AGENT"}),
    of(4, "no-owner", change={"asset": {"uuid": "no-owner", "network_id": "x"}, "source": "AGENT"}),
    of(5, change={"asset": {"uuid": "unheard", "network_id": NETWORK}, "source": "agent"}),
]
TAGGED = [{**each, "tags": [{"key": "E", "value": "x"}, {"key": "E", "value": "y"}]} for each in ASSETS[:2]]
TAGGED[1]["tags"] = [{"key": "E", "value": "z"}]


def test_several_networks_are_told_apart_here_and_what_waits_keeps_its_own(tmp_path: Any) -> None:
    scope = Scope(network_ids=(NETWORK, "other"), sources=("AGENT",), asset_tags={"E": ("x",)})
    world = scoped(tmp_path, scope, assets=TAGGED)
    # Sources and tags are Tenable's business.
    manifest = world.chunks(PLACES)
    assert manifest["skipped"] == {"network_not_chosen": 2}
    assert (manifest["findings"], manifest["parked"]) == (2, 1)
    [parked] = world.lines(world.run.parked)
    assert parked["record"]["asset"] == {"uuid": "unheard", "network_id": NETWORK}


def test_what_has_waited_is_judged_by_its_source_its_network_and_the_tags_of_its_asset(tmp_path: Any) -> None:
    scope = Scope(network_ids=(NETWORK,), sources=("AGENT",), asset_tags={"E": ("x",)})
    details = {"id": "looked-up", "tags": [{"key": "E", "value": "z"}]}
    looked_up = row_of_details({**ec2("looked-up"), **details})
    assert looked_up is not None
    world = scoped(tmp_path, scope, assets=TAGGED, lookup=lambda asset: looked_up if asset == "looked-up" else None)
    there = {"asset": {"uuid": "ec2-b", "network_id": NETWORK}, "source": "AGENT"}
    asked = {"asset": {"uuid": "looked-up", "network_id": NETWORK}, "source": "AGENT"}
    waited = [*PLACES, of(6, change=there), of(7, change=there), of(8, change=asked)]
    world.transform.transform_parked(Parked(NOW - 60, msgspec.Raw(json.dumps(each).encode())) for each in waited)
    manifest = world.close()
    # An asset that is still missing is not judged: its record waits on.
    assert (manifest["findings"], manifest["parked"]) == (1, 1)
    assert manifest["skipped"] == {"source_not_chosen": 1, "network_not_chosen": 2, "asset_tags_not_chosen": 3}
    assert world.asked == ["unheard", "looked-up"]


def test_a_destination_may_take_less_than_the_dag_imports(tmp_path: Any) -> None:
    """By all that a scope may say, since Tenable has filtered for all destinations together."""
    own = Scope(min_vpr=7, asset_tags={"E": ("z",)}, sources=("AGENT",), exclude_plugin_ids=(9,))
    destinations = [DESTINATIONS[0], msgspec.structs.replace(DESTINATIONS[1], scope=own)]
    world = scoped(tmp_path, Scope(exclude_plugin_ids=(8,)), assets=[*TAGGED, *ASSETS[2:]], destinations=destinations)
    there: dict[str, Any] = {"source": "AGENT"}
    rated = {"vpr": {"score": 7.5}}
    manifest = world.chunks(
        [
            of(1, "ec2-a"),
            of(8, "ec2-a"),
            of(1, "ec2-b", change=there),
            of(1, "ec2-b", change={"source": "NNM"}, **rated),
            of(9, "ec2-b", change=there, **rated),
            of(1, "ec2-b", change=there, **rated),
            # What has no destination counts as that, and what has no asset waits.
            of(1, "ec2-c", change=there),
            of(1, "unheard", change=there),
        ]
    )
    assert (manifest["findings"], manifest["parked"]) == (2, 1)
    assert manifest["skipped"] == {
        "plugin_not_chosen": 2,
        "vpr_below_minimum": 1,
        "source_not_chosen": 1,
        "account_not_configured": 1,
    }
    untagged = [{**each, "tags": []} for each in TAGGED]
    other = scoped(tmp_path / "other", Scope(), assets=untagged, destinations=destinations)
    assert other.chunks([of(1, "ec2-b", change=there, **rated)])["skipped"] == {"asset_tags_not_chosen": 1}


def test_findings_in_potential_packages_only_are_left_out(tmp_path: Any) -> None:
    unsure, sure = {"potential": True, "product": "a"}, {"potential": False, "product": "b"}
    found = [of(1, change={"software_vulns": each}) for each in ([unsure], [sure], [unsure, sure], [])]
    manifest = scoped(tmp_path, Scope(potential_packages="skip")).chunks(found)
    assert (manifest["findings"], manifest["skipped"]) == (3, {"only_potential_packages": 1})


def test_a_plugin_that_cannot_be_read_is_rejected_as_without_a_scope(tmp_path: Any) -> None:
    broken: list[Any] = [of(2, **KEV), {**of(2), "plugin": {"name": "no id"}}, {**of(2), "plugin": 5}]
    manifest = scoped(tmp_path, SCOPE).chunks(broken)
    assert manifest["skipped"] == World(tmp_path / "plain").chunks(broken)["skipped"] == {"unmappable_record": 2}


def test_each_record_has_one_reason(tmp_path: Any) -> None:
    low = {"severity_id": 1, "severity": "low"}
    manifest = scoped(tmp_path, SCOPE).chunks([of(1, change=low), of(2, change=low, **KEV)])
    assert manifest["skipped"] == {"not_known_exploited": 1, "severity_not_chosen": 1}


@pytest.mark.parametrize(
    ("settings", "own", "kind"),
    [
        ({}, None, Transform),
        ({"scope": {}}, {}, Transform),
        ({"scope": {"min_vpr": 7.0}}, None, ScopedTransform),
        ({}, {"min_vpr": 7.0}, ScopedTransform),
    ],
    ids=str,
)
def test_a_run_without_a_scope_uses_the_transform_that_knows_none(
    settings: Any, own: Any, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = object.__new__(TenableToAsffOperator)
    made: dict[str, Any] = {}
    common = {"accepted_risks": "archive", "severities": ["high"], "states": ["open"], **settings}
    plan = {"settings": common, "destinations": [{}, {"scope": own}]}
    for name, value in {"plan": plan, "id_scheme": None, "product": None}.items():
        object.__setattr__(operator, name, value)
    monkeypatch.setattr(TenableToAsffOperator, "_common", lambda *_: {})
    for each in (Transform, ScopedTransform):
        monkeypatch.setattr(each, "__init__", lambda self, **given: made.update({"kind": type(self), **given}))
    operator._transform(None, None, {}, 0)
    assert made["kind"] is kind
    of_dag = Scope(min_vpr=7.0) if settings.get("scope") else Scope()
    assert made.get("scope") == (of_dag if kind is ScopedTransform else None)
