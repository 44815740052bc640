"""Another output format: a mapper that knows nothing of ASFF goes through the same transform."""

from __future__ import annotations

import json
from dataclasses import dataclass

import msgspec
import pytest

from airflow_provider_tenable.exceptions import UnmappableError
from airflow_provider_tenable.staging.files import names
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.transform import plugin_memo
from airflow_provider_tenable.transform.plugin_memo import PluginMemo
from airflow_provider_tenable.transform.shard import Transform, TransformSettings
from tests.unit.transform.test_shard import DESTINATIONS, NOW, A, World, record


@dataclass
class Thing:
    account: str
    region: str
    is_ec2: bool = True
    is_typed: bool = False


class CsvMapper:
    """A line of commas for a finding; plugin 13 has none."""

    def __init__(self) -> None:
        self.prepared: list[int] = []

    def plugin(self, data: bytes) -> int:
        number = int(json.loads(data)["id"])
        self.prepared.append(number)
        return number

    def weight(self, plugin: int) -> int:
        return 8

    def shows_output(self, plugin: int) -> bool:
        return False

    def without_output(self, record: bytes) -> bytes:
        return b"{}"

    def ec2_resource(self, row) -> Thing:
        return Thing(row.owner_id, row.region)

    def other_resource(self, row, *, account, region) -> Thing:
        return Thing(account, region, is_ec2=False)

    def aws_resource(self, row, arn) -> Thing:
        return Thing(arn.account, arn.region, is_ec2=False, is_typed=True)

    def product(self, resource, *, region) -> str:
        return f"csv in {region}"

    def precedence(self, finding) -> tuple[str, str]:
        return finding.decode(), ""

    def finding(self, record, plugin, resource, product, severity) -> tuple[bytes, bytes]:
        if plugin == 13:
            raise UnmappableError("thirteen has no line")
        return f"{plugin},{resource.account},{product},{severity}".encode(), b""


def test_a_format_of_its_own_needs_nothing_but_a_mapper(tmp_path):
    world, mapper = World(tmp_path), CsvMapper()
    settings = TransformSettings(("high", "critical"), ("open",), None, "fixed", "other")
    world.transform = Transform(
        settings=settings, mapper=mapper, destinations=DESTINATIONS, asset_parts=world.asset_parts, writer=world.writer,
        lookup=lambda _: None, lookups=0, now=NOW, give_up_before=0,
    )  # fmt: skip
    manifest = world.chunks([record(), record(plugin=13), record("on-prem"), record("gone", output="secret"), 5])
    assert (manifest["findings"], manifest["parked"], manifest["not_ec2"]) == (2, 1, 1)
    assert manifest["skipped"] == {"unmappable_record": 1, "unreadable_record": 1}
    folder = world.run.destination(A, "eu-west-1")
    lines = [line for name in names(folder) for line in read_lines(folder / name)]
    assert lines == [f"100,{A},csv in eu-west-1,3".encode()] * 2
    assert mapper.prepared == [100, 13]
    rejected = {line["code"]: (line["message"], line["record"]) for line in world.lines(world.run.rejected)}
    assert rejected["unmappable_record"][0] == "thirteen has no line"
    assert rejected["unreadable_record"][1] == {}
    assert b"secret" not in b"".join(read_lines(world.run.parked / names(world.run.parked)[0]))


def test_plugins_of_one_length_are_told_apart():
    prepared: list[bytes] = []
    memo = PluginMemo(lambda data: (prepared.append(data), data)[1], len)
    for raw in (b'{"id":1}', b'{"id":2}', b'{"id":1}', b'{"id":1}', b'{"id":2}'):
        assert memo.get(msgspec.Raw(raw)) == raw
    assert prepared == [b'{"id":1}', b'{"id":2}']


def test_a_plugin_that_is_falsy_is_prepared_once_too():
    calls: list[bytes] = []
    memo = PluginMemo(lambda data: calls.append(data) or 0, lambda _: 0)
    assert [memo.get(msgspec.Raw(raw)) for raw in (b"11", b"22", b"11")] == [0, 0, 0]
    assert len(calls) == 2


def test_an_unreadable_plugin_is_read_once_and_its_error_is_a_new_one_each_time():
    """One error for all would keep a line of its traceback, and the record in it, for every record."""
    calls: list[bytes] = []

    def fails(data: bytes) -> int:
        calls.append(data)
        raise ValueError("no\nplugin")

    memo = PluginMemo(fails, lambda _: 0)
    errors = []
    for _ in range(2):
        with pytest.raises(UnmappableError, match=r"^its plugin cannot be read: no plugin$") as caught:
            memo.get(msgspec.Raw(b"{}"))
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert len(calls) == 1


@pytest.mark.parametrize(("limit", "value"), [("MAX_ENTRIES", 1), ("MAX_BYTES", 30)])
def test_the_memo_is_emptied_once_it_is_full(monkeypatch, limit, value):
    monkeypatch.setattr(plugin_memo, limit, value)
    prepared: list[bytes] = []
    memo = PluginMemo(lambda data: (prepared.append(data), data)[1], lambda _: 20)
    memo.get(msgspec.Raw(b"1"))
    memo.forget_if_full()
    assert len(memo) == 1
    memo.get(msgspec.Raw(b"22"))
    memo.forget_if_full()
    assert len(memo) == 0
    assert memo.get(msgspec.Raw(b"1")) == b"1"
    assert prepared == [b"1", b"22", b"1"]


def test_the_memo_is_full_above_its_bytes_and_counts_from_nothing_again(monkeypatch):
    monkeypatch.setattr(plugin_memo, "MAX_BYTES", 21)
    memo = PluginMemo(lambda data: data, lambda _: 20)
    for _ in range(2):
        memo.get(msgspec.Raw(b"1"))
        memo.forget_if_full()
        assert len(memo) == 1
        memo.get(msgspec.Raw(b"2"))
        memo.forget_if_full()
        assert len(memo) == 0


def test_an_unreadable_plugin_weighs_its_bytes_alone(monkeypatch):
    def fails(data: bytes) -> int:
        raise ValueError("no plugin")

    memo = PluginMemo(fails, lambda _: 20)
    monkeypatch.setattr(plugin_memo, "MAX_BYTES", 2)
    for data, remaining in ((b"{}", 1), (b"[]", 0)):
        with pytest.raises(UnmappableError):
            memo.get(msgspec.Raw(data))
        memo.forget_if_full()
        assert len(memo) == remaining
