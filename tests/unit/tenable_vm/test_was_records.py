"""Findings of web applications: Tenable's own example, and records that are not what they should be."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.tenable_vm.decode import decode_chunk
from airflow_provider_tenable.tenable_vm.lenient import salvage, salvage_items
from airflow_provider_tenable.tenable_vm.was import (
    WasAsset,
    WasFinding,
    WasPlugin,
    WasXref,
    asset_of,
    host_of,
    is_fixed,
    own_time,
)

EXAMPLE = (Path(__file__).resolve().parents[2] / "data" / "was_chunk_official_example.json").read_bytes()
FOUND, FIXED, INDEXED = "2026-03-01T10:00:00Z", "2026-03-02T10:00:00Z", "2026-03-03T10:00:00Z"


def finding(**fields: Any) -> WasFinding:
    """A record as the decoder gives it."""
    (record,), unreadable = decode_chunk(json.dumps([{"plugin": {"id": 1}, **fields}]).encode(), WasFinding)
    assert not unreadable
    return record


def at(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_tenable_s_own_example_is_read_whole():
    (record,), unreadable = decode_chunk(EXAMPLE, WasFinding)
    assert not unreadable
    assert asset_of(record) == "112f0ca3-2933-479c-ba50-f7eae89974af"
    assert host_of(record) == "www.unixtimestamp.com"
    assert own_time(record) == datetime(2024, 2, 1, 16, 8, 41, tzinfo=UTC)
    assert not is_fixed(record)
    sent = json.loads(EXAMPLE)[0]
    read = json.loads(msgspec.json.encode(record))
    assert {name: read[name] for name in sent.keys() - {"plugin", "asset", "scan"}} == {
        name: sent[name] for name in sent.keys() - {"plugin", "asset", "scan"}
    }
    plugin = msgspec.json.decode(record.plugin, type=WasPlugin)
    assert (plugin.id, plugin.cve, plugin.cwe, plugin.wasc) == (
        112435, ["CVE-2015-9251"], ["79"], ["Cross-Site Scripting"],
    )  # fmt: skip
    assert (plugin.owasp_2021, plugin.owasp_api_2019) == (["A3", "A6"], ["API7"])
    assert (plugin.vpr_v2.score, plugin.epss_score, plugin.cvss3_vector.raw) == (
        4.9, 10.647, "CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N",
    )  # fmt: skip
    assert [(each.type, each.ids) for each in plugin.exploit_frameworks][:2] == [("canvas", []), ("metasploit", [])]
    assert salvage_items(bytes(plugin.xrefs), WasXref)[0] == WasXref("owasp_asvs", ["4.0.2-14.2.1", "4.0.2-5.3.3"])
    # What the example has and we do not read is on purpose left out of the mapping.
    assert sent["plugin"].keys() - set(WasPlugin.__struct_fields__) == {
        "bid", "cpe", "original_risk_factor_num", "locale", "intel_type", "public_display", "policy",
        "cvss2_temporal_vector", "cvss3_temporal_vector", "cvss4_threat_vector",
    }  # fmt: skip


def test_what_the_schema_has_beyond_the_example_is_read_too():
    texts = {
        name: f"a {name}"
        for name in (
            "input_type", "input_name", "http_method", "proof", "payload", "recast_reason", "last_fixed",
            "last_observed",
        )
    }  # fmt: skip
    record = finding(**texts)
    assert {name: getattr(record, name) for name in texts} == texts


# In a property, because which key is wrong must not matter.
HOSTILE = st.sampled_from(
    [
        None, True, -1, 2**70, 1e308, "", "x" * 3_000, "\x1b[2J\u202e\x00<script>", "../../etc/passwd", "NaN",
        [], [None], ["x", 5, None, {"a": 1}], [[[]]], {}, {"uuid": 5, "raw": [], "score": "no", "id": {}},
    ]
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(set(WasFinding.__struct_fields__) - {"plugin"})), HOSTILE),
    st.dictionaries(st.sampled_from(sorted(set(WasPlugin.__struct_fields__) - {"id"})), HOSTILE),
)
def test_what_does_not_fit_costs_its_field_and_never_the_record(fields, of_plugin):
    good = json.loads(EXAMPLE)[0]
    hostile = {**good, **fields, "plugin": {**good["plugin"], **of_plugin}}
    records, unreadable = decode_chunk(json.dumps([hostile, good]).encode(), WasFinding)
    assert not unreadable
    assert len(records) == 2
    record, other = records
    assert msgspec.json.encode(other) == msgspec.json.encode(finding(**good))
    kept = set(WasFinding.__struct_fields__) & good.keys() - fields.keys() - {"plugin"}
    assert {name: getattr(record, name) for name in kept} == {name: getattr(other, name) for name in kept}
    assert salvage(bytes(record.plugin), WasPlugin).id == 112435
    assert asset_of(record).isprintable() or "asset" in fields
    host = host_of(record)
    assert host == "www.unixtimestamp.com" or {"asset", "url"} & fields.keys()
    moment = own_time(record)
    assert moment is None or moment.tzinfo is not None
    is_fixed(record)


@pytest.mark.parametrize("text", [b"null", b"5", b"[]", b"{}", b'{"finding_id": "a"}', b'"x"'])
def test_what_is_no_finding_is_unreadable_and_costs_no_other(text):
    records, unreadable = decode_chunk(b"[" + text + b"," + EXAMPLE.strip()[1:-1] + b"]", WasFinding)
    assert len(records) == 1
    assert [raw for raw, _ in unreadable] == [text]


@pytest.mark.parametrize(
    ("asset", "url", "host"),
    [
        ({"fqdn": "WWW.Example.COM"}, "https://other.example.com/", "www.example.com"),
        ({"fqdn": "www.example.com."}, None, "www.example.com"),
        # Applications are named by their URL in Tenable's interface.
        ({"fqdn": "https://www.example.com:8443/shop?x=1"}, None, "www.example.com"),
        ({"fqdn": "www.example.com:8443"}, None, "www.example.com"),
        (None, "https://user:secret@App.Example.com:8443/a/b?c=d#e", "app.example.com"),
        ({"fqdn": None}, "HTTP://app.example.com", "app.example.com"),
        ({"fqdn": " "}, " https://app.example.com/ ", "app.example.com"),
        (None, "//app.example.com/x", "app.example.com"),
        (None, "app.example.com/x/y", "app.example.com"),
        (None, "https://192.0.2.7:8080/", "192.0.2.7"),
        (None, "https://[2001:DB8::1]:8443/", "[2001:db8::1]"),
        (None, "https://my_app.example.com/", "my_app.example.com"),
        (None, "https://bücher.example/", "xn--bcher-kva.example"),
        (None, "localhost", "localhost"),
        # What cannot be the name of a host is ignored, and the URL is tried.
        ({"fqdn": "<script>"}, "https://app.example.com/", "app.example.com"),
        ({"fqdn": "a b.example.com"}, None, ""),
        ({"fqdn": "a..example.com"}, None, ""),
        ({"fqdn": "-a.example.com"}, None, ""),
        ({"fqdn": "a" * 64 + ".example.com"}, None, ""),
        ({"fqdn": ".".join(["a" * 49] * 6)}, None, ""),
        ({"fqdn": "x" * 500_000}, None, ""),
        ({"fqdn": "a.example.com\nINFO forged"}, None, ""),
        ({"fqdn": "a.example.com\nforged"}, None, ""),
        ({"fqdn": "a.example.com\x00"}, None, ""),
        (None, "https://[::1", ""),
        (None, "https://[zz::1]/", ""),
        (None, "../../etc/passwd", ""),
        (None, "javascript:alert(1)", ""),
        (None, "https:///path", ""),
        (None, "data:text/html,<x>", ""),
        (None, None, ""),
    ],
)
def test_the_host_is_that_of_the_application_or_none(asset, url, host):
    assert host_of(finding(asset=asset, url=url)) == host


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60))
def test_a_host_is_always_one_that_can_stand_in_a_url(text):
    host = host_of(finding(url=text, asset={"fqdn": text}))
    assert host == host.lower()
    assert len(host) <= 253
    assert not set(host) & set("/@?#\\ <>\"'%\n\r\t")
    assert host.isascii()


@pytest.mark.parametrize(
    ("fields", "moment"),
    [
        ({"last_found": FOUND, "indexed_at": INDEXED}, FOUND),
        ({"last_found": FOUND, "last_fixed": FIXED, "indexed_at": INDEXED, "state": "FIXED"}, FIXED),
        # Not fixed any more.
        ({"last_found": FOUND, "last_fixed": FIXED, "indexed_at": INDEXED, "state": "REOPENED"}, FOUND),
        ({"last_found": FOUND, "state": "fixed"}, FOUND),
        ({"indexed_at": INDEXED}, INDEXED),
        ({"indexed": INDEXED}, INDEXED),
        # The schema says a number.
        ({"indexed_at": int(at(INDEXED).timestamp())}, INDEXED),
        ({"indexed_at": int(at(INDEXED).timestamp()) * 1_000}, INDEXED),
        # A scanner whose clock is ahead.
        ({"last_found": INDEXED, "indexed_at": FIXED}, FIXED),
        ({"last_found": "soon", "indexed_at": "2026-02-30T00:00:00Z"}, None),
        ({}, None),
    ],
)
def test_the_time_of_a_record_is_the_one_that_since_looks_at(fields, moment):
    assert own_time(finding(**fields)) == (at(moment) if moment else None)


def test_an_asset_without_a_uuid_is_none():
    assert [asset_of(WasFinding(plugin=msgspec.Raw(b"{}"), asset=each)) for each in (None, WasAsset())] == ["", ""]
    assert asset_of(finding(asset={"uuid": " a \n"})) == "a"


@pytest.mark.parametrize(("state", "fixed"), [(" fixed ", True), ("FIXED", True), ("OPEN", False), (None, False)])
def test_only_tenable_says_that_a_finding_is_gone(state, fixed):
    assert is_fixed(finding(state=state)) is fixed
