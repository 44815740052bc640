"""The transform of a run with a scope."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.transform.scope import Scope
from airflow_provider_tenable.transform.scoped import ScopedTransform
from airflow_provider_tenable.transform.shard import Parked, Transform
from tests.unit.transform.test_shard import NOW, World, record


def scoped(tmp_path: Any, scope: Scope, **world: Any) -> World:
    return World(tmp_path, **world).use(ScopedTransform, scope=scope)


def of(plugin: int, asset: str = "ec2-a", *, change: Any = None, **traits: Any) -> dict[str, Any]:
    found = record(asset, plugin=plugin, **(change or {}))
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


def test_a_plugin_that_cannot_be_read_is_rejected_as_without_a_scope(tmp_path: Any) -> None:
    broken: list[Any] = [of(2, **KEV), {**of(2), "plugin": {"name": "no id"}}, {**of(2), "plugin": 5}]
    manifest = scoped(tmp_path, SCOPE).chunks(broken)
    assert manifest["skipped"] == World(tmp_path / "plain").chunks(broken)["skipped"] == {"unmappable_record": 2}


def test_each_record_has_one_reason(tmp_path: Any) -> None:
    low = {"severity_id": 1, "severity": "low"}
    manifest = scoped(tmp_path, SCOPE).chunks([of(1, change=low), of(2, change=low, **KEV)])
    assert manifest["skipped"] == {"not_known_exploited": 1, "severity_not_chosen": 1}


@pytest.mark.parametrize(
    ("settings", "kind"),
    [({}, Transform), ({"scope": {}}, Transform), ({"scope": {"min_vpr": 7.0}}, ScopedTransform)],
    ids=str,
)
def test_a_run_without_a_scope_uses_the_transform_that_knows_none(
    settings: Any, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = object.__new__(TenableToAsffOperator)
    made: dict[str, Any] = {}
    common = {"accepted_risks": "archive", "severities": ["high"], "states": ["open"], **settings}
    for name, value in {"plan": {"settings": common}, "id_scheme": None, "product": None}.items():
        object.__setattr__(operator, name, value)
    monkeypatch.setattr(TenableToAsffOperator, "_common", lambda *_: {})
    for each in (Transform, ScopedTransform):
        monkeypatch.setattr(each, "__init__", lambda self, **given: made.update({"kind": type(self), **given}))
    operator._transform(None, None, {}, 0)
    assert made["kind"] is kind
    assert made.get("scope") == (Scope(min_vpr=7.0) if kind is ScopedTransform else None)
