"""Chunks decode whole, or record by record, or not at all; one bad record never costs another."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff.plugin import decode_plugin
from airflow_provider_tenable.tenable_vm import decode
from airflow_provider_tenable.tenable_vm.decode import (
    count_blocks,
    decode_blocks,
    decode_chunk,
    first_records,
    split_chunk,
)
from airflow_provider_tenable.tenable_vm.lenient import loads, salvage
from airflow_provider_tenable.tenable_vm.records import NULL, Asset, Plugin, Vulnerability
from airflow_provider_tenable.tenable_vm.software import decode_software
from tests.plain_ids import plain

GOOD = b'{"asset":{"uuid":"g"},"plugin":{"id":1},"severity_id":3}'
DEEP = b"[" * 30_000 + b"]" * 30_000
ZERO = b"0"


def count_records(data: bytes) -> int:
    return count_blocks([data])


def chunk(*records: bytes) -> bytes:
    return b"[" + b",".join(records) + b"]"


def with_field(text: bytes) -> bytes:
    return b'{"asset":{"uuid":"bad"},"plugin":{"id":2},' + text + b"}"


@pytest.mark.parametrize("data", [b"", b"  \n", b"null", b" null ", b"[]"])
def test_no_records_in_an_empty_or_null_chunk(data):
    assert decode_chunk(data, Vulnerability) == ([], [])
    assert count_records(data) == 0


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"5",
        b'"x"',
        b"[{}",
        b"[{}] x",
        b"[,]",
        b"\x00",
        b"<html>",
        b"[" * 100_000,
        b"[" + DEEP,
        DEEP + b"]",
        b'{"a":' + DEEP + b"}",
        b"[1," + DEEP + b",]",
        b"[NaN][1]",
        b"[NaN] [",
        b"[NaN,{]}",
        b"[NaN,{]}]",
        b"[{NaN]}",
        b'[NaN,"a]',
        b'[NaN,"a]"',
        b'[NaN,{"a":1,}]',
        b"[NaN,]",
        b"[,NaN]",
        b"[NaN,,1]",
        b'{"a":NaN}',
        b"NaN",
        b"x[NaN]",
    ],
)
def test_what_is_no_array_is_a_lost_chunk(data):
    with pytest.raises(ValueError, match=r"."):
        decode_chunk(data, Vulnerability)
    with pytest.raises(ValueError, match=r"."):
        count_records(data)


def test_every_cut_of_a_chunk_is_a_lost_chunk():
    whole = chunk(GOOD, with_field(b'"output":"a\\"]\\u00e9"'))
    for length in range(1, len(whole)):
        with pytest.raises(ValueError, match=r"."):
            decode_chunk(whole[:length], Vulnerability)


BAD_FIELDS = {
    "text where a number is": (b'"severity_id":"4"', {"severity_id": 4}),
    "word where a number is": (b'"severity_id":"high"', {"severity_id": None}),
    "fraction where a number is": (b'"severity_id":2.5', {"severity_id": None}),
    "truth where a number is": (b'"severity_id":true', {"severity_id": None}),
    "number where a text is": (b'"severity":3', {"severity": None}),
    "list where a text is": (b'"state":["OPEN"],"severity":"low"', {"state": None, "severity": "low"}),
    "NaN": (b'"severity_id":NaN', {"severity_id": None}),
    "infinity": (b'"severity_id":-Infinity', {"severity_id": None}),
    "number beyond floats": (b'"severity_id":1e999', {"severity_id": None}),
    "number beyond 64 bits": (b'"severity_id":1' + ZERO * 30, {"severity_id": None}),
    "number of 5000 digits": (b'"severity_id":1' + ZERO * 5000, {"severity_id": None}),
    "time beyond 64 bits": (b'"first_found":1' + ZERO * 30, {"first_found": None}),
    "truth as time": (b'"first_found":true,"last_found":5', {"first_found": None, "last_found": 5}),
    "lone surrogate": (b'"output":"a\\ud800b"', {"output": "a?b"}),
    "bytes that are no text": (b'"output":"a\xffb"', {"output": "a?b"}),
    "surrogate as bytes": (b'"output":"a\xed\xa0\x80b"', {"output": "a???b"}),
    "lone surrogate in a key": (b'"\\udfff":1,"output":"x"', {"output": "x"}),
    "null": (
        b'"severity_id":null,"port":null,"software_vulns":null',
        {"severity_id": None, "port": None, "software_vulns": NULL},
    ),
    "text where an object is": (b'"port":"443/tcp"', {"port": None}),
}


@pytest.mark.parametrize(("field", "expected"), BAD_FIELDS.values(), ids=BAD_FIELDS.keys())
def test_field_of_a_wrong_kind_costs_that_field_only(field, expected):
    records, unreadable = decode_chunk(chunk(GOOD, with_field(field), GOOD), Vulnerability)
    assert unreadable == []
    assert [record.asset.uuid for record in records] == ["g", "bad", "g"]
    assert records[0].severity_id == records[2].severity_id == 3
    assert {name: getattr(records[1], name) for name in expected} == expected
    assert decode_plugin(bytes(records[1].plugin)).id == 2
    assert count_records(chunk(GOOD, with_field(field), GOOD)) == 3


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (b"443", 443),
        (b'"0"', "0"),
        (b'"443"', "443"),
        (b"443.0", 443),
        (b"-1", -1),
        (b"true", None),
        (b"443.5", None),
        (b"[443]", None),
        (b"{}", None),
        (b"null", None),
    ],
)
def test_port_is_a_number_or_a_text(port, expected):
    (record,), unreadable = decode_chunk(
        chunk(with_field(b'"port":{"port":' + port + b',"protocol":"TCP"}')), Vulnerability
    )
    assert unreadable == []
    assert record.port is not None
    assert record.port.protocol == "TCP"
    assert record.port.port == expected


UNREADABLE = {
    "no asset": (b'{"plugin":{"id":1}}', "asset is missing"),
    "null asset": (b'{"asset":null,"plugin":{"id":1}}', "asset is missing"),
    "asset without uuid": (b'{"asset":{},"plugin":{"id":1}}', "asset.uuid is missing"),
    "asset uuid is a number": (b'{"asset":{"uuid":5},"plugin":{"id":1}}', "asset.uuid cannot be used"),
    "asset is a text": (b'{"asset":"a","plugin":{"id":1}}', "asset cannot be used: not an object but str"),
    "no plugin": (b'{"asset":{"uuid":"a"}}', "plugin is missing"),
    "a number": (b"5", "not an object but int"),
    "null": (b"null", "not an object but NoneType"),
    "a list": (b"[]", "not an object but list"),
    "nested too deep": (with_field(b'"x":' + DEEP), "recursion"),
    "nested too deep in its plugin": (b'{"asset":{"uuid":"a"},"plugin":{"id":1,"x":' + DEEP + b"}}", "recursion"),
}


@pytest.mark.parametrize(("raw", "reason"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_unreadable_record_is_told_with_its_reason_and_costs_no_other(raw, reason):
    records, unreadable = decode_chunk(chunk(GOOD, raw, GOOD), Vulnerability)
    assert [record.asset.uuid for record in records] == ["g", "g"]
    ((data, why),) = unreadable
    assert data == raw
    assert reason in why
    assert count_records(chunk(GOOD, raw, GOOD)) == 3


@pytest.mark.parametrize(
    ("raw", "record", "reason"),
    [
        (
            b'{"asset":{"uuid":5},"plugin":{}}',
            Vulnerability,
            "asset cannot be used: asset.uuid cannot be used: Expected `str`, got `int`",
        ),
        (b'{"asset":[],"plugin":{}}', Vulnerability, "asset cannot be used: not an object but list"),
        (b'{"asset":{"uuid":null},"plugin":{}}', Vulnerability, "asset cannot be used: asset.uuid is missing"),
        (b'{"id":"five"}', Plugin, "id cannot be used: Expected `int`, got `str`"),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_reason_names_the_field_with_its_path_and_what_is_wrong_with_it(raw, record, reason):
    with pytest.raises(ValueError) as failure:  # noqa: PT011
        salvage(raw, record)
    assert str(failure.value) == reason


def test_hostile_records_of_all_kinds_in_one_chunk_are_all_accounted_for():
    bad_fields = [with_field(field) for field, _ in BAD_FIELDS.values()]
    unreadable_ones = [raw for raw, _ in UNREADABLE.values()]
    data = chunk(GOOD, *bad_fields, *unreadable_ones, GOOD)
    records, unreadable = decode_chunk(data, Vulnerability)
    assert len(records) + len(unreadable) == count_records(data) == len(bad_fields) + len(unreadable_ones) + 2
    assert len(unreadable) == len(unreadable_ones)


def test_deep_chunk_is_split_at_its_records_whatever_stands_in_texts():
    tricky = rb'{"asset":{"uuid":"t"},"plugin":{"id":1},"output":"],[{\"}\\"}'
    assert split_chunk(b" " + chunk(tricky, with_field(b'"x":' + DEEP), GOOD) + b"\n") == [
        tricky,
        with_field(b'"x":' + DEEP),
        GOOD,
    ]


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=5,
    )
)
@settings(max_examples=50, deadline=None)
def test_splitting_by_brackets_equals_splitting_by_a_parser(values):
    data = json.dumps([*values, "end"]).encode()
    expected = [json.loads(raw) for raw in split_chunk(data)]
    deep = split_chunk(data[:-1] + b"," + DEEP + b"]")
    assert [json.loads(raw) for raw in deep[:-1]] == expected == [*values, "end"]
    assert deep[-1] == DEEP


def test_good_records_beside_a_bad_one_decode_as_they_would_alone():
    full = (
        b'{"asset":{"uuid":"g"},"plugin":{"id":1,"b":1.50,"a":[1]},"port":{"port":"0"},'
        b'"software_vulns":[{"product":"p","fixes":[{"fix_type":"version","value":"1"}]}],"indexed":5}'
    )
    (alone,), _ = decode_chunk(chunk(full), Vulnerability)
    (beside,), unreadable = decode_chunk(chunk(full, b"5"), Vulnerability)
    assert len(unreadable) == 1
    assert msgspec.json.encode(beside) == msgspec.json.encode(alone)
    assert bytes(beside.plugin) == bytes(alone.plugin) == b'{"id":1,"b":1.50,"a":[1]}'


def test_salvage_reads_a_good_record_as_the_decoder_does():
    raw = (
        b'{"asset":{"uuid":"g"},"plugin":{"id":1},"port":{"port":"0","protocol":"UDP"},'
        b'"software_vulns":[{"product":"p","vulnerabilities":["C"]}],"indexed":5,"severity_id":2}'
    )
    salvaged = salvage(raw, Vulnerability)
    (decoded,), _ = decode_chunk(chunk(raw), Vulnerability)
    assert json.loads(msgspec.json.encode(salvaged)) == json.loads(msgspec.json.encode(decoded))


def test_packages_stay_as_they_were_served():
    served = b'[{"product": "p", "more":1.50}, 5]'
    (record,), _ = decode_chunk(chunk(with_field(b'"software_vulns":' + served)), Vulnerability)
    assert bytes(record.software_vulns) == served
    (again,), _ = decode_chunk(chunk(msgspec.json.encode(record)), Vulnerability)
    assert bytes(again.software_vulns) == served
    (without,), _ = decode_chunk(chunk(GOOD), Vulnerability)
    assert without.software_vulns is NULL


def test_bad_items_of_a_list_cost_these_items_only():
    raw = (
        b'{"asset":{"uuid":"g"},"plugin":{"id":1},"software_vulns":[5,null,{"product":7,"version":"2"},'
        b'{"product":"p","vulnerabilities":[null,1,"CVE-1"]}]}'
    )
    record = salvage(raw, Vulnerability)
    software = decode_software(bytes(record.software_vulns))
    assert [(each.product, each.version, each.vulnerabilities) for each in software] == [
        (None, "2", None),
        ("p", None, ["CVE-1"]),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"id":null}',
        b'{"id":"x"}',
        b'{"id":1.5}',
        b"5",
        b"null",
        b'"x"',
        b"[]",
        b'{"id":1' + ZERO * 30 + b"}",
        b'{"id":true}',
    ],
)
def test_plugin_without_a_usable_id_is_refused(raw):
    with pytest.raises(ValueError, match=r"id |not an object"):
        decode_plugin(raw)


def test_plugin_with_a_numeric_text_as_id_is_usable():
    assert decode_plugin(b'{"id":"19506","name":5}').id == 19506


@pytest.mark.parametrize("see_also", ['["https://a.example/"]', '"https://a.example/"', "[null,5]", "5", "{}", "null"])
def test_see_also_may_be_anything(see_also):
    plugin = decode_plugin(b'{"id":1,"see_also":' + see_also.encode() + b"}")
    assert plugin.see_also in (["https://a.example/"], "https://a.example/", [], None)


def test_assets_decode_with_null_everywhere():
    records, unreadable = decode_chunk(
        b'[{"id":"a","cloud":null,"network":null,"ratings":null,"tags":null,"resource_tags":null,"types":null},'
        b'{"id":"b","cloud":{"aws":null},"ratings":{"acr":null}}]',
        Asset,
    )
    assert [record.id for record in records] == ["a", "b"]
    assert unreadable == []


def test_megabyte_strings_and_thousands_of_cves_decode():
    raw = (
        b'{"asset":{"uuid":"g"},"plugin":{"id":1,"cve":['
        + b",".join(b'"CVE-2024-%d"' % number for number in range(10_000))
        + b']},"output":"'
        + b"x" * 1_000_000
        + b'"}'
    )
    (record,), _ = decode_chunk(chunk(raw), Vulnerability)
    assert record.output is not None
    assert len(record.output) == 1_000_000
    assert len(decode_plugin(bytes(record.plugin)).cve or []) == 10_000


def test_deep_chunk_that_is_no_array_says_so():
    for data in (b"[1," + DEEP + b",]", b'{"a":' + DEEP + b"}", b"[" + DEEP + b"] x", b"[NaN][1]", b'[NaN,"a]'):
        with pytest.raises(ValueError, match=r"^a chunk must be a JSON array$"):
            split_chunk(data)


def in_pieces(data: bytes, block: int) -> tuple[list, list, int]:
    """What :func:`decode_blocks` makes of a chunk, and in how many pieces."""
    pieces = list(decode_blocks((data[start : start + block] for start in range(0, len(data), block)), Vulnerability))
    return (
        [record for records, _ in pieces for record in records],
        [each for _, unreadable in pieces for each in unreadable],
        len(pieces),
    )


TRICKY = rb'{"asset":{"uuid":"t"},"plugin":{"id":1,"x":[{"a":1},{"asset":1}]},"output":"},{\"asset\":\"},{"}'


@given(
    st.lists(
        st.sampled_from([GOOD, TRICKY, b'{"plugin":{"id":1}}', b"5", with_field(b'"severity_id":"2"')]), max_size=12
    ),
    st.integers(1, 200),
    st.sampled_from([b",", b" ,\n ", b" " * 300 + b"," + b"\n" * 300]),
)
@settings(max_examples=150, deadline=None)
def test_chunk_in_pieces_gives_the_records_of_the_whole_in_order(raws, block, comma):
    data = b"[" + comma.join(raws) + b"]"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "PIECE_BYTES", 100)
        records, unreadable, _ = in_pieces(data, block)
    whole, whole_unreadable = decode_chunk(data, Vulnerability)
    assert [msgspec.json.encode(each) for each in records] == [msgspec.json.encode(each) for each in whole]
    assert unreadable == whole_unreadable


def test_large_chunk_is_decoded_in_many_pieces(monkeypatch):
    monkeypatch.setattr(decode, "PIECE_BYTES", 1000)
    records, unreadable, pieces = in_pieces(chunk(*[TRICKY] * 300), 500)
    assert (len(records), unreadable) == (300, [])
    assert pieces > 10


def test_records_far_apart_are_decoded_in_pieces_too(monkeypatch):
    monkeypatch.setattr(decode, "PIECE_BYTES", 1000)
    data = b"[" + (b" " * 300 + b"," + b"\n" * 300).join([TRICKY] * 300) + b"]"
    records, unreadable, pieces = in_pieces(data, 500)
    assert (len(records), unreadable) == (300, [])
    assert pieces > 10


def test_pieces_stay_small_although_records_contain_many_objects_of_their_own(monkeypatch):
    """Each of these could be the boundary of two records. A piece that is not cut is read on, up to the whole chunk."""
    monkeypatch.setattr(decode, "PIECE_BYTES", 1000)
    packages = b",".join(b'{"n":%d}' % number for number in range(15))
    data = chunk(*[with_field(b'"software_vulns":[' + packages + b"]")] * 100)
    records, unreadable, pieces = in_pieces(data, 100)
    assert (len(records), unreadable) == (100, [])
    # A piece is cut as soon as it has a thousand bytes, after its last complete record of 187 bytes.
    assert len(data) / 1_000 <= pieces <= len(data) / 800


def test_truncated_chunk_in_pieces_is_a_lost_chunk(monkeypatch):
    monkeypatch.setattr(decode, "PIECE_BYTES", 100)
    whole = chunk(*[TRICKY] * 5)
    for length in range(1, len(whole)):
        with pytest.raises(ValueError, match=r"."):
            in_pieces(whole[:length], 64)


def test_hostile_records_in_pieces_are_all_accounted_for(monkeypatch):
    monkeypatch.setattr(decode, "PIECE_BYTES", 2000)
    data = chunk(
        GOOD, *[with_field(field) for field, _ in BAD_FIELDS.values()], *[raw for raw, _ in UNREADABLE.values()], GOOD
    )
    records, unreadable, _ = in_pieces(data, 1000)
    assert (len(records), len(unreadable)) == (len(BAD_FIELDS) + 2, len(UNREADABLE))


def test_whole_numbers_of_up_to_nineteen_digits_are_read_where_python_reads_the_record():
    assert loads(b"[1234567890123456789, 12345678901234567890, 1.5, 1e999]") == [1234567890123456789, None, 1.5, None]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'[{"a":1},{"b":2}]', [{"a": 1}, {"b": 2}]),
        (b' \n[ {"a":1} ,\n {"b":2} ] ', [{"a": 1}, {"b": 2}]),
        (b'[5,{"a":1},null,["x"],{"b":2}]', [{"a": 1}, {"b": 2}]),
        # As far as they can be decoded.
        (b'[{"a":1},{"b":2},{"c":', [{"a": 1}, {"b": 2}]),
        (b'[{"a":1},oops,{"b":2}]', [{"a": 1}]),
        (b'[{"a":1},' + DEEP * 10 + b',{"b":2}]', [{"a": 1}]),
        (b'[{"a":"x\xffy"},{"b":NaN}]', [{"a": "x\ufffdy"}, {"b": None}]),
        (b"[]", []),
        (b"", []),
        (b"null", []),
        # Not an array.
        (b'{"a":1}', []),
        (b'x[{"a":1}]', []),
    ],
    ids=plain,
)
def test_first_records_are_the_objects_at_the_beginning_of_a_chunk(data, expected):
    def shown(records):
        return [{name: None if value != value else value for name, value in each.items()} for each in records]  # noqa: PLR0124

    assert shown(first_records(data)) == expected


def test_first_records_are_those_that_are_complete_in_its_head():
    data = chunk(b'{"a":1}', b'{"b":2}', b'{"c":"' + b"x" * 100 + b'"}')
    assert first_records(data[:30]) == [{"a": 1}, {"b": 2}]
