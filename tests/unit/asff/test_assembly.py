"""The fast way to a finding's line gives, byte for byte, what encoding the finding's struct gives."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff import findings
from airflow_provider_tenable.asff.findings import MappingOptions, UnmappableError, severity_id_of
from airflow_provider_tenable.asff.identity import product_arn
from airflow_provider_tenable.asff.plugins import decode_plugin, plugin_parts
from airflow_provider_tenable.asff.resources import ec2_resource
from tests.unit.asff.mapping import RECORD, ROW, decode

texts = st.none() | st.text(max_size=80) | st.sampled_from(["", " ", "a\tb\nc", "\x00x", 'qu"ote\\', "é\u2028", "x" * 3000])
times = st.none() | st.sampled_from(
    ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.123Z", "2024-01-01T00:00:00.123456Z", "2019-11-31T00:00:00Z", "", "x", 1_700_000_000, 0]
)
records = st.fixed_dictionaries(
    {
        "port": st.none() | st.fixed_dictionaries({"port": st.none() | st.integers(0, 70_000) | texts, "protocol": texts, "service": texts}),
        "severity": texts,
        "severity_default_id": st.none() | st.integers(0, 4),
        "severity_modification_type": st.sampled_from([None, "", "NONE", "none", "RECASTED", " accepted "]),
        "state": st.sampled_from([None, "OPEN", "REOPENED", "FIXED", "fixed ", "x"]),
        "output": texts,
        "recast_reason": texts,
        "source": texts,
        "finding_id": texts,
        **dict.fromkeys(("first_found", "last_found", "last_fixed", "resurfaced_date", "indexed"), times),
        "software_vulns": st.none() | st.lists(st.fixed_dictionaries({"product": texts, "version": texts, "vulnerabilities": st.none() | st.just(["CVE-2024-0001"])}), max_size=3),
    }
)  # fmt: skip


def outcome(make, *arguments) -> bytes | str:
    try:
        return make(*arguments)
    except UnmappableError as error:
        return str(error)


@given(records, st.sampled_from(["archive", "import"]))
@settings(max_examples=400, deadline=None)
def test_the_fast_way_gives_the_bytes_of_the_struct(changes, accepted_risks):
    record = decode({**RECORD, **changes})
    plugin, resource, options = plugin_parts(decode_plugin(bytes(record.plugin))), ec2_resource(ROW), MappingOptions(accepted_risks=accepted_risks)
    arn = product_arn("tenable/vulnerability-management", region=resource.region, account=resource.account)
    severity = severity_id_of(record)
    assert severity is not None
    arguments = (plugin, resource, arn, options)
    fast = outcome(findings.finding_json, record, *arguments)
    assert fast == outcome(findings._finding_json, record, severity, *arguments)
    if isinstance(fast, bytes):
        assert msgspec.json.encode(json.loads(fast)) == fast


def test_an_ordinary_record_takes_the_fast_way(monkeypatch):
    monkeypatch.setattr(findings, "_finding_json", None)
    record = decode({**RECORD, "finding_id": "f", "output": "a\nb"})
    assert findings.finding_json(record, plugin_parts(decode_plugin(bytes(record.plugin))), ec2_resource(ROW), "arn:x", MappingOptions())


def test_long_texts_are_not_kept():
    from airflow_provider_tenable.asff import assembly

    record = decode({**RECORD, "finding_id": "f", "state": "x" * 100_000, "port": {"port": "9" * 1000, "protocol": "p" * 1000}})
    outcome(findings.finding_json, record, plugin_parts(decode_plugin(bytes(record.plugin))), ec2_resource(ROW), "arn:x", MappingOptions())
    for table in (assembly._times, findings._wheres, findings._severities):
        assert all(not isinstance(text, str) or len(text) <= 64 for key in table for text in key)
