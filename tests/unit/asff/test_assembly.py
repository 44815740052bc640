"""The pieces that are joined into a finding's line are, byte for byte, what encoding the finding as a whole gives."""

from __future__ import annotations

import json
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff import assembly, findings
from airflow_provider_tenable.asff.findings import MappingOptions, UnmappableError
from airflow_provider_tenable.asff.plugins import decode_plugin, plugin_parts
from airflow_provider_tenable.asff.resources import ec2_resource
from tests.unit.asff.mapping import RECORD, ROW, checked_line, decode, line_of, record

texts = st.none() | st.text(max_size=80) | st.sampled_from(["", " ", "a\tb\nc", "\x00x", 'qu"ote\\', "é\u2028", "x" * 3000])
times = st.none() | st.sampled_from(
    ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.123Z", "2024-01-01T00:00:00.123456Z", "2019-11-31T00:00:00Z", "", "x", 1_700_000_000, 0]
)
packages = st.fixed_dictionaries({"product": texts, "version": texts, "vulnerabilities": st.none() | st.just(["CVE-2024-0001"])})
plugins = st.fixed_dictionaries(
    {"id": st.integers(0, 300_000), "family": st.sampled_from([None, "Web Servers", "Default Unix Accounts"])},
    optional={"cve": st.lists(st.sampled_from([f"CVE-2024-000{number}" for number in range(9)]), max_size=4), "name": texts},
)
records = st.fixed_dictionaries(
    {
        "plugin": plugins,
        "port": st.none() | st.fixed_dictionaries({"port": st.none() | st.integers(0, 70_000) | texts, "protocol": texts, "service": texts}),
        "severity": texts,
        "severity_default_id": st.none() | st.integers(0, 4),
        "severity_modification_type": st.sampled_from([None, "", "NONE", "none", "RECASTED", " accepted "]),
        "state": st.sampled_from([None, "OPEN", "REOPENED", "FIXED", "fixed ", "x"]),
        "output": texts,
        "recast_reason": texts,
        "source": texts,
        "finding_id": texts | st.uuids().map(str),
        **dict.fromkeys(("first_found", "last_found", "last_fixed", "resurfaced_date", "indexed"), times),
        "software_vulns": st.none() | st.lists(packages, max_size=3),
    }
)
options = st.builds(MappingOptions, st.sampled_from(["archive", "import"]), st.sampled_from(["port", "tvm2aws"]), st.booleans())


def outcome(value, chosen) -> bytes | str:
    one = decode(value)
    try:
        return checked_line(one, plugin_parts(decode_plugin(bytes(one.plugin))), ec2_resource(ROW), "arn:x", chosen)
    except UnmappableError as error:
        return str(error)


@given(records, options)
@settings(max_examples=400, deadline=None)
def test_joined_pieces_are_the_bytes_of_the_struct(changes, chosen):
    line = outcome({**RECORD, **changes}, chosen)
    if isinstance(line, bytes):
        assert msgspec.json.encode(json.loads(line)) == line


@pytest.mark.parametrize("scheme", ["port", "tvm2aws"])
@pytest.mark.parametrize("without", ["finding_id", "output", "port", "state", "source", "first_found", "last_found", "indexed"])
def test_a_record_without_a_field_is_joined_like_any_other(scheme, without):
    chosen = MappingOptions(id_scheme=scheme)
    assert line_of(record(**{without: None}), options=chosen) != line_of(record(), options=chosen)


def test_long_texts_are_not_kept():
    value = record(state="x" * 100_000, port={"port": "9" * 1000, "protocol": "p" * 1000, "service": "s" * 1000}, severity="y" * 1000, first_found="1" * 1000)
    for chosen in (MappingOptions(), MappingOptions(id_scheme="tvm2aws")):
        outcome(value, chosen)
    for table in (assembly._times, findings._wheres, findings._severities):
        assert sum(sys.getsizeof(text) for key in table for text in key if isinstance(text, str) and len(text) > 64) == 0


def test_tables_of_what_is_kept_are_bounded(monkeypatch):
    made = []
    table, fill = assembly.kept(lambda number: made.append(number) or number)
    monkeypatch.setattr(assembly, "_KEPT", 10)
    for number in range(25):
        assert fill((number,)) == number
        assert len(table) <= 10
    assert table == {(20,): 20, (21,): 21, (22,): 22, (23,): 23, (24,): 24}
