"""Whatever Tenable serves: a finding that every judge accepts, or a reason; and the same bytes each time."""

from __future__ import annotations

import json
import random
from itertools import pairwise, permutations

import pytest
from asff_limits import problems
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mapping import DATA, ROW, checked_line, decode, example, finding_of, line_of, record, row_of_export

from airflow_provider_tenable.asff.finding import MappingOptions, UnmappableError
from airflow_provider_tenable.asff.plugin import decode_plugin, plugin_parts
from airflow_provider_tenable.asff.resource import ec2_resource, other_resource
from airflow_provider_tenable.assets.account import skip_reason
from airflow_provider_tenable.aws import TENABLE_PRODUCT, product_arn
from airflow_provider_tenable.tenable_vm.asset_row import row_of
from airflow_provider_tenable.tenable_vm.decode import decode_chunk
from airflow_provider_tenable.tenable_vm.records import Asset, Vulnerability
from sandbox.aws.asff.findings import complaint

QUICK = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


def refusals(line: bytes) -> list[str]:
    """What the limits table of these tests, botocore, and the strict sandbox say against a finding."""
    sandbox = complaint(json.loads(line), len(line))
    return problems(line) + ([sandbox] if sandbox else [])


def worth_reading(text: str) -> bool:
    return bool(text.strip())


surrogates = st.text(alphabet=st.characters(categories=["Cs", "Cc", "L", "Zs", "So"]), max_size=20)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | surrogates
    | st.sampled_from(
        ["", " ", "0", "x" * 40_000, "&lt;&#9999999999;", "2024-02-30T00:00:00Z", "1" * 400, "http://localhost/", "a/b"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "uuid", "raw", "score", "port", "key", "value", "product", "aws", "acr"])
            | surrogates,
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
times = st.one_of(
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.integers(1, 2**40),
    st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "", None, "now"]),
)
texts = st.text(max_size=30) | st.sampled_from(
    ["x" * 3000, "&amp;" * 900, "\n\n", "\u2028", "\ufeff", "🙂" * 1100, "ends with blank ", None]
)
purls = st.sampled_from(
    [
        "pkg:rpm/a/b@1:2.0-3.el9?arch=x86_64&epoch=1",
        "pkg:deb/a/b@1-2%2Bu1?arch=amd64",
        "pkg:npm/@s/n",
        "pkg:npm/%40s/n@1-x#p",
        "pkg:",
        "pkg:rpm",
        "pkg:a/b@?=&x",
    ]
)
scores = st.floats(-1, 11) | st.integers(-1, 101) | st.none()

plugins = st.fixed_dictionaries(
    {"id": st.integers(0, 2**40)},
    optional={
        **dict.fromkeys(("name", "family", "type", "synopsis", "description", "solution", "risk_factor"), texts),
        "see_also": st.lists(
            st.sampled_from(["https://example.com/a", "http://localhost/", "http://10.0.0.1/x", "https://a b", "h"])
            | texts,
            max_size=30,
        ),
        "cve": st.lists(st.sampled_from([f"CVE-2024-{number}" for number in range(50)]) | texts, max_size=60)
        | st.just("CVE-2024-1, CVE-2024-2"),
        "family_id": st.sampled_from([11, 1_000_007, "1000007", -1, None]),
        **dict.fromkeys(("cvss_base_score", "cvss3_base_score", "cvss4_base_score", "epss_score"), scores),
        **{
            name: st.fixed_dictionaries({}, optional={"raw": texts}) | texts
            for name in ("cvss_vector", "cvss3_vector", "cvss4_vector")
        },
        "vpr": st.fixed_dictionaries({}, optional={"score": scores}),
        "exploit_available": st.booleans() | st.none(),
        "has_patch": st.booleans() | st.none(),
        "publication_date": times,
        "modification_date": times,
    },
)
believable = st.fixed_dictionaries(
    {
        "asset": st.just({"uuid": "asset-1"}),
        "plugin": plugins,
        "severity_id": st.integers(0, 4),
        "first_found": st.just("2024-01-01T00:00:00Z"),
    },
    optional={
        "port": st.fixed_dictionaries(
            {},
            optional={
                "port": st.integers(-5, 70_000) | st.sampled_from(["0", "443", "", "a/b"]),
                "protocol": texts,
                "service": texts,
            },
        ),
        **dict.fromkeys(("output", "severity", "recast_reason", "source", "finding_id"), texts),
        "severity_modification_type": st.sampled_from(["NONE", "RECASTED", "ACCEPTED", "accepted", "", "x" * 5000]),
        "severity_default_id": st.integers(0, 4),
        **dict.fromkeys(("last_found", "last_fixed", "resurfaced_date", "indexed", "indexed_at"), times),
        "state": st.sampled_from(["OPEN", "REOPENED", "FIXED", "NEW", "fixed", "", None]),
        "software_vulns": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    **dict.fromkeys(("product", "version", "path"), texts),
                    "vulnerabilities": st.lists(st.sampled_from(["CVE-2024-1", "CVE-2024-2"])),
                    "identifier": purls | texts,
                    "fixes": st.lists(
                        st.fixed_dictionaries(
                            {},
                            optional={
                                "fix_type": st.sampled_from(["version", "rpm", "deb", "kb", None]),
                                "value": purls | texts,
                            },
                        )
                    ),
                    "potential": st.booleans() | st.none(),
                    "potential_reasons": st.lists(st.sampled_from(["Backported", "", "x" * 600])) | st.none(),
                },
            ),
            max_size=25,
        ),
    },
)
addresses = st.lists(
    st.ip_addresses().map(str) | st.sampled_from(["2001:DB8::/32", "fe80::1%eth0", "", "x"]), max_size=25
)
tags = st.lists(
    st.fixed_dictionaries({"key": texts | st.sampled_from(["aws:x", "a#b", "Größe", "a" * 128]), "value": texts}),
    max_size=60,
)
assets = st.fixed_dictionaries(
    {"id": st.just("asset-1")},
    optional={
        "cloud": st.fixed_dictionaries(
            {
                "aws": st.fixed_dictionaries(
                    {
                        "owner_id": st.sampled_from(["111122223333", "000000000001"]),
                        "region": st.sampled_from(
                            ["eu-west-1", "us-gov-west-1", "cn-north-1", "us-isob-east-1", "ap-southwestss-10"]
                        ),
                        "ec2_instance_id": st.from_regex(r"i-[0-9a-f]{17}", fullmatch=True),
                    },
                    optional=dict.fromkeys(
                        ("ec2_instance_ami_id", "ec2_instance_type", "ec2_name", "vpc_id", "subnet_id"), texts
                    ),
                )
            }
        ),
        "network": st.fixed_dictionaries(
            {},
            optional={
                "ipv4s": addresses,
                "ipv6s": addresses,
                "hostnames": st.lists(texts.filter(lambda text: text is not None), max_size=2),
            },
        ),
        "ratings": st.fixed_dictionaries(
            {"acr": st.fixed_dictionaries({"score": scores | st.sampled_from(["9.0", "", "x"])})}
        ),
        "tags": tags,
        "resource_tags": tags,
    },
)


def row_from(asset):
    (decoded,), _ = decode_chunk(json.dumps([asset]).encode(), Asset)
    return row_of(decoded)


def outcome(value, row, options=None) -> bytes | str:
    """The line of a record on any asset, or the reason why there is none. Nothing else may come of it."""
    try:
        one = decode(value)
        plugin = plugin_parts(decode_plugin(bytes(one.plugin)))
        resource = (
            ec2_resource(row)
            if skip_reason(row) is None
            else other_resource(row, account="444455556666", region="eu-west-1")
        )
        arn = product_arn(TENABLE_PRODUCT, region=resource.region, account=resource.account)
        return checked_line(one, plugin, resource, arn, options or MappingOptions())
    except (UnmappableError, ValueError, RecursionError) as error:
        return f"{error}"


@given(believable, assets)
@QUICK
def test_every_finding_passes_the_limits_botocore_and_the_strict_sandbox(value, asset):
    line = outcome(value, row_from(asset))
    if isinstance(line, str):
        # The only reason left for a record of the right types: a protocol that bursts the id.
        assert "its id would have" in line
    else:
        assert refusals(line) == []


@given(believable, assets)
@QUICK
def test_same_record_gives_the_same_bytes(value, asset):
    assert outcome(value, row_from(asset)) == outcome(
        json.loads(json.dumps(value)), row_from(json.loads(json.dumps(asset)))
    )


def _mutate(value, junk, draw):
    """Put junk somewhere into a record, at any depth."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: _mutate(value[key], junk, draw)}
    if isinstance(value, list) and value and draw(st.booleans()):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], _mutate(value[index], junk, draw), *value[index + 1 :]]
    return junk


@given(st.data())
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
def test_hostile_record_becomes_a_valid_finding_or_a_reason_and_no_other_exception(data):
    value = data.draw(st.sampled_from(example("vulns_chunk_official_example.json")))
    for _ in range(data.draw(st.integers(1, 4))):
        value = _mutate(value, data.draw(anything), data.draw)
    line = outcome(json.dumps(value).encode(), ROW)
    assert isinstance(line, str) or refusals(line) == []


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_hostile_asset_becomes_a_resource_or_is_left_out_and_no_other_exception(data):
    asset = data.draw(st.sampled_from(example("assets_v2_chunk_official_example.json")))
    for _ in range(data.draw(st.integers(1, 4))):
        asset = _mutate(asset, data.draw(anything), data.draw)
    rows, unreadable = decode_chunk(json.dumps([asset]).encode(), Asset)
    assert len(rows) + len(unreadable) == 1
    for each in rows:
        line = outcome(record(), row_of(each))
        assert isinstance(line, str) or refusals(line) == []


def test_hostile_bytes_become_a_valid_finding_or_a_reason():
    whole = json.dumps(example("vulns_chunk_official_example.json")[0]).encode()
    rng = random.Random(7)
    seen = set()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.choice(b'\x00"{}[],:\\0NIu\xff')
        line = outcome(bytes(data), ROW)
        seen.add(type(line))
        assert isinstance(line, str) or refusals(line) == []
    assert seen == {bytes, str}


@pytest.mark.parametrize(
    "extreme",
    [
        {"output": "\ud800" * 10_000},
        {"port": {"port": -1, "protocol": "TCP"}},
        {"first_found": "0001-01-01T00:00:00Z", "last_found": "9999-12-31T23:59:59.999999Z"},
        {
            "plugin": {
                "id": 1,
                "cve": [f"CVE-2024-{number}" for number in range(10_000)],
                "description": "&lt;" * 250_000,
            }
        },
        {"plugin": {"id": 2**63 - 1}},
        {"plugin": {"id": 1, "see_also": ["http://localhost/kb"]}},
        {"output": "\u202eright to left", "plugin": {"id": 1, "name": "\u202e"}},
    ],
)
def test_extreme_record_still_becomes_a_finding(extreme):
    assert refusals(line_of(record(**extreme))) == []


def test_deeply_nested_record_is_a_reason():
    assert "recursion" in outcome(
        b'{"asset":{"uuid":"a"},"plugin":{"id":1},"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", ROW
    )


def test_duplicate_records_give_duplicate_ids_and_bytes():
    first, second = decode_chunk(json.dumps([record(), record()]).encode(), Vulnerability)[0]
    assert first == second or line_of(record()) == line_of(record())


LIFE = [
    record(state="OPEN", last_found="2024-01-02T00:00:00Z", indexed="2024-01-02T00:10:00Z"),
    record(
        state="FIXED",
        last_found="2024-01-02T00:00:00Z",
        last_fixed="2024-01-05T00:00:00Z",
        indexed="2024-01-05T00:10:00Z",
    ),
    record(
        state="REOPENED",
        last_found="2024-01-09T00:00:00Z",
        resurfaced_date="2024-01-09T00:00:00Z",
        indexed="2024-01-09T00:10:00Z",
    ),
    record(
        state="FIXED",
        last_found="2024-01-09T00:00:00Z",
        resurfaced_date="2024-01-09T00:00:00Z",
        last_fixed="2024-01-12T00:00:00Z",
        indexed="2024-01-12T00:10:00Z",
    ),
]


def test_each_step_of_a_life_is_newer_than_the_one_before_with_one_id_and_one_creation():
    findings = [finding_of(each) for each in LIFE]
    assert [each["RecordState"] for each in findings] == ["ACTIVE", "ARCHIVED", "ACTIVE", "ARCHIVED"]
    assert all(before["UpdatedAt"] < after["UpdatedAt"] for before, after in pairwise(findings))
    assert len({(each["Id"], each["CreatedAt"], each["FirstObservedAt"]) for each in findings}) == 1


@pytest.mark.parametrize("steps", [2, 3, 4])
def test_any_delivery_order_ends_in_the_latest_state(steps):
    latest = finding_of(LIFE[steps - 1])
    for order in permutations(LIFE[:steps]):
        stored: dict = {}
        for each in order:
            sent = finding_of(each)
            # Security Hub ignores what is not newer.
            if not stored or sent["UpdatedAt"] > stored["UpdatedAt"]:
                stored = sent
        assert stored == latest


def test_published_assets_and_records_make_findings_that_every_judge_accepts():
    for asset in example("assets_v2_chunk_official_example.json"):
        for value in example("vulns_chunk_official_example.json"):
            line = outcome(value, row_of_export(asset))
            assert isinstance(line, bytes)
            assert refusals(line) == []


def test_judges_refuse_what_is_wrong():
    good = json.loads((DATA / "golden_finding_ec2.json").read_text())
    for change in (
        {"Title": "x" * 257},
        {"Title": " "},
        {"Workflow": {"Status": "NEW"}},
        {"UpdatedAt": "yesterday"},
        {"RecordState": "FOO"},
        {"Id": ""},
        {"Nonsense": 1},
    ):
        line = json.dumps({**good, **change}, separators=(",", ":")).encode()
        assert problems(line), change
