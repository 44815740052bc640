"""The pieces that are joined into a finding's line are, byte for byte, what encoding the finding as a whole gives."""

from __future__ import annotations

import json
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff import memo, record_fields
from airflow_provider_tenable.asff.finding import MappingOptions, UnmappableError
from airflow_provider_tenable.asff.identity import id_in
from airflow_provider_tenable.asff.plugin import decode_plugin, plugin_parts
from airflow_provider_tenable.asff.resource import Resource, ec2_resource
from tests.unit.asff.mapping import RECORD, ROW, checked_line, decode, line_of, record

texts = (
    st.none() | st.text(max_size=80) | st.sampled_from(["", " ", "a\tb\nc", "\x00x", 'qu"ote\\', "é\u2028", "x" * 3000])
)
times = st.none() | st.sampled_from(
    [
        "2024-01-01T00:00:00Z",
        "2024-01-01T00:00:00.123Z",
        "2024-01-01T00:00:00.123456Z",
        "2019-11-31T00:00:00Z",
        "",
        "x",
        1_700_000_000,
        0,
    ]
)
packages = st.fixed_dictionaries(
    {"product": texts, "version": texts, "vulnerabilities": st.none() | st.just(["CVE-2024-0001"])}
)
plugins = st.fixed_dictionaries(
    {"id": st.integers(0, 300_000), "family": st.sampled_from([None, "Web Servers", "Default Unix Accounts"])},
    optional={
        "cve": st.lists(st.sampled_from([f"CVE-2024-000{number}" for number in range(9)]), max_size=4),
        "name": texts,
    },
)
records = st.fixed_dictionaries(
    {
        "plugin": plugins,
        "port": st.none()
        | st.fixed_dictionaries(
            {"port": st.none() | st.integers(0, 70_000) | texts, "protocol": texts, "service": texts}
        ),
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
options = st.builds(
    MappingOptions,
    st.sampled_from(["archive", "import", "suppress"]),
    st.sampled_from(["port", "tvm2aws"]),
    st.booleans(),
)


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
        finding = json.loads(line)
        assert msgspec.json.encode(finding) == line
        assert id_in(line) == finding["Id"].encode()


@pytest.mark.parametrize("scheme", ["port", "tvm2aws"])
@pytest.mark.parametrize(
    "without", ["finding_id", "output", "port", "state", "source", "first_found", "last_found", "indexed"]
)
def test_a_record_without_a_field_is_joined_like_any_other(scheme, without):
    chosen = MappingOptions(id_scheme=scheme)
    assert line_of(record(**{without: None}), options=chosen) != line_of(record(), options=chosen)


def test_long_texts_are_not_kept():
    value = record(
        state="x" * 100_000,
        port={"port": "9" * 1000, "protocol": "p" * 1000, "service": "s" * 1000},
        severity="y" * 1000,
        first_found="1" * 1000,
    )
    for chosen in (MappingOptions(), MappingOptions(id_scheme="tvm2aws")):
        outcome(value, chosen)
    for table in (record_fields.times_memo, record_fields.location_memo, record_fields.provider_fields_memo):
        assert (
            sum(sys.getsizeof(text) for key in table for text in key if isinstance(text, str) and len(text) > 64) == 0
        )


def test_tables_of_what_is_kept_are_bounded(monkeypatch):
    made = []
    table, fill = memo.memo_table(lambda number: made.append(number) or number)
    monkeypatch.setattr(memo, "MAX_ENTRIES", 10)
    for number in range(25):
        assert fill((number,)) == number
        assert len(table) <= 10
    assert table == {(20,): 20, (21,): 21, (22,): 22, (23,): 23, (24,): 24}


# Around 240 KB: the product's ARN is as long as it takes to get there to the byte.

PACKAGES = [{"product": "openssl", "version": "3.0.1", "path": "/usr/lib/" + "x" * 200}]
LIMIT = 240_000


def with_arn(length: int, **changes) -> bytes:
    one = decode(record(**changes))
    plugin = plugin_parts(decode_plugin(bytes(one.plugin)))
    return checked_line(one, plugin, ec2_resource(ROW), "a" * length, MappingOptions())


def ids(line: bytes) -> list[str]:
    return [each["Id"] for each in json.loads(line).get("Vulnerabilities", [])]


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_finding_of_240_000_bytes_is_sent_as_it_is_and_one_of_a_byte_more_is_cut(over):
    room = LIMIT - len(with_arn(0, software_vulns=PACKAGES))
    line = with_arn(room + over, software_vulns=PACKAGES)
    assert ids(line) == ["CVE-2024-0001", "CVE-2024-0002"]
    assert (len(line) == LIMIT + over) is (line.count(b"VulnerablePackages") == 2) is (over <= 0)


def test_the_most_worth_is_left_at_every_length():
    """The oracle counts the bytes in its own way; this looks at each length at which a piece more or less fits."""
    cves = [f"CVE-2024-{number:04d}" for number in range(3)]
    plugin = {"id": 1, "name": "n", "cve": cves, "cvss3_base_score": 5, "see_also": ["https://example.com/"]}
    # Every piece but an id is larger than what a finding that is cut has to spare.
    software = [{"product": "p" * 100}]
    complete = with_arn(0, plugin=plugin, software_vulns=software)
    bare = complete.index(b',"Vulnerabilities"') + 1
    seen = []
    for length in range(LIMIT - len(complete) - 2, LIMIT - bare + 1):
        line = with_arn(length, plugin=plugin, software_vulns=software)
        assert len(line) <= LIMIT
        entries = json.loads(line).get("Vulnerabilities", [])
        assert ids(line) == cves[: len(entries)]
        assert (f'cve_kept":"{len(entries)}"' in line.decode()) is (0 < len(entries) < 3)
        shape = "".join("P" if "VulnerablePackages" in each else "s" if "Vendor" in each else "." for each in entries)
        if not seen or seen[-1] != shape:
            seen.append(shape)
    assert seen == ["PPP", "PPs", "Pss", "Ps.", "P..", "s..", "s.", "s", ".", ""]


@pytest.mark.parametrize("over", [0, 1])
def test_what_has_no_room_for_a_single_cve_is_sent_without_and_refused_a_byte_later(over):
    plugin = {"id": 1, "name": "n", "cve": ["CVE-2024-0001"]}
    complete = with_arn(0, plugin=plugin)
    length = LIMIT - complete.index(b',"Vulnerabilities"') - 1 + over
    if over:
        with pytest.raises(UnmappableError, match="it has 240001 bytes; the limit is 240000"):
            with_arn(length, plugin=plugin)
    else:
        line = with_arn(length, plugin=plugin)
        assert (len(line), ids(line)) == (LIMIT, [])


def test_a_finding_without_cves_over_the_limit_is_refused():
    with pytest.raises(UnmappableError, match=r"it has 24\d{4} bytes"):
        with_arn(LIMIT, plugin={"id": 1}, software_vulns=PACKAGES)


@pytest.mark.parametrize(
    ("scheme", "around"), [("port", len("eu-west-1/111122223333//1/tcp/443")), ("tvm2aws", len("eu-west-1//1"))]
)
def test_an_id_of_512_characters_is_sent_and_one_of_513_is_refused(scheme, around):
    one = decode(record(plugin={"id": 1}))

    def line(length: int) -> bytes:
        resource = Resource(
            "111122223333", "eu-west-1", "r" * (length - around), msgspec.Raw(b"[{}]"), {"asset_uuid": "a"}, None
        )
        return checked_line(
            one, plugin_parts(decode_plugin(b'{"id":1}')), resource, "arn:x", MappingOptions(id_scheme=scheme)
        )

    for length in (399, 400, 401, 511, 512):
        assert len(json.loads(line(length))["Id"]) == length
    with pytest.raises(UnmappableError, match="its id would have 513 characters; the limit is 512"):
        line(513)
