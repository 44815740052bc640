"""Hostile records among good ones. Every good one is delivered, every bad one is delivered too or counted with its
reason, and memory stays bounded.
"""

from __future__ import annotations

import json
import os
import random
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from airflow_provider_tenable.asff.finding import MappingOptions, UnmappableError
from airflow_provider_tenable.asff.limits import FINDING_BYTES
from airflow_provider_tenable.asff.plugin import decode_plugin, plugin_parts
from airflow_provider_tenable.asff.resource import ec2_resource
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.tenable_vm.decode import count_blocks, decode_chunk
from airflow_provider_tenable.tenable_vm.records import Plugin, Vulnerability
from sandbox.aws.asff.findings import complaint
from tests.faults import hostile
from tests.faults.pipeline import Pipeline
from tests.unit.asff.mapping import checked_line

FULL = os.environ.get("FAULTS") == "full"
GOOD, BAD = (1_000_000, 100_000) if FULL else (20_000, 2_000)
RESOURCE = ec2_resource(
    AssetRow(id="a", owner_id=hostile.ACCOUNT, region=hostile.REGION, instance_id="i-00000000000000001")
)
ARN = "arn:aws:securityhub:us-east-1::product/tenable/vulnerability-management"


def test_hostile_records_cost_no_good_one_and_no_memory(pipeline: Pipeline) -> None:
    small = pipeline.succeed("small", hostile={"good": 2_500, "bad": 0, "seed": 1}, seconds=600)
    result = pipeline.succeed("large", hostile={"good": GOOD, "bad": BAD, "seed": 7}, seconds=7_200)
    found = json.loads((pipeline.folder / "hostile.json").read_text())
    print(found, f"peak {result.peak / 1e6:.0f} MB, {small.peak / 1e6:.0f} MB for one chunk")
    assert found["exported"] == GOOD + BAD
    assert found["missing"] == 0, "a good record is lost"
    assert found["exported"] == found["findings"] + found["parked"] + sum(found["skipped"].values())
    assert found["accepted"] == found["findings"]
    assert found["rejected_with_reason"] == found["rejected"] > 0
    assert found["largest"] <= FINDING_BYTES
    assert result.peak - pipeline.zygote.resident < 300_000_000


@settings(
    max_examples=1_000 if FULL else 60,
    deadline=None,
    derandomize=not FULL,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    st.lists(
        st.tuples(st.sampled_from([*hostile.MUTATIONS, *hostile.LARGE]), st.integers(0, 2**32)), min_size=1, max_size=25
    )
)
def test_every_hostile_record_is_a_finding_within_the_limits_or_has_a_reason(
    mutations: list[tuple[object, int]],
) -> None:
    texts = [mutate(hostile.record(number, 1), random.Random(seed)) for number, (mutate, seed) in enumerate(mutations)]  # type: ignore[operator]
    chunk = b"[" + b",".join([b"%s" % json.dumps(hostile.record(0, 1)).encode(), *texts]) + b"]"
    records, unreadable = decode_chunk(chunk, Vulnerability)
    assert len(records) + len(unreadable) == count_blocks([chunk]) == len(texts) + 1
    reasons = [reason for _, reason in unreadable]
    for record in records:
        try:
            line = checked_line(
                record, plugin_parts(decode_plugin(bytes(record.plugin))), RESOURCE, ARN, MappingOptions()
            )
        except (UnmappableError, ValueError, RecursionError) as error:
            reasons.append(str(error))
            continue
        assert len(line) <= FINDING_BYTES
        assert complaint(json.loads(line), len(line)) is None
    assert all(reasons)


@pytest.mark.parametrize("mutate", [*hostile.MUTATIONS, *hostile.LARGE], ids=lambda mutate: mutate.__name__)
def test_mutations_are_hostile(mutate: object) -> None:
    """The control of the tests above: what they are fed is not what Tenable sends."""
    good = json.dumps(hostile.record(1, 1)).encode()
    assert mutate(hostile.record(1, 1), random.Random(3)) != good  # type: ignore[operator]


def test_every_field_that_is_read_can_be_made_hostile() -> None:
    """A mutation changes what a good record has."""
    made = hostile.record(1, 1)
    read = {*_fields(Vulnerability), *(("plugin", *path) for path in _fields(Plugin))}
    assert len(read) > 70
    assert sorted(read - _keys(made)) == []


def _fields(struct: type[Struct], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for field in msgspec.structs.fields(struct):
        yield (*path, field.encode_name)
        for below in _structs(field.type):
            yield from _fields(below, (*path, field.encode_name))


def _structs(kind: Any) -> list[type[Struct]]:
    if isinstance(kind, type) and issubclass(kind, Struct):
        return [kind]
    return [found for argument in typing.get_args(kind) for found in _structs(argument)]


def _keys(value: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if isinstance(value, list):
        return {found for each in value for found in _keys(each, path)}
    if not isinstance(value, dict):
        return set()
    return {found for key, each in value.items() for found in {(*path, key), *_keys(each, (*path, key))}}
