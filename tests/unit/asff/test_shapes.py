"""Shapes in which Tenable, or somebody between, has sent the same facts: each ends in the same finding."""

from __future__ import annotations

import json

import pytest

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.asff.resource import ec2_resource
from airflow_provider_tenable.tenable_vm.asset_row import row_of_details
from tests.unit.asff.mapping import ROW, finding_of, line_of, plugin_record, record, row_of_export

CVES = ["CVE-2024-11111", "CVE-2024-11112"]


def vulnerabilities(**plugin):
    return finding_of(plugin_record(**{"cve": CVES, **plugin}))["Vulnerabilities"]


# Addresses in prose.


@pytest.mark.parametrize(
    "text",
    [
        "index.php?id=1&section=2&region=eu&copy=1&not=x&order=5&param=q",
        "a &lt b",
        "a &notit; b",
        "a &nosuch; b",
        "a &#99 b",
        "a &amp",
        "&copy",
        "a &#; b &#x; b",
    ],
)
def test_what_is_not_an_entity_with_a_semicolon_stays_as_it_is(text):
    assert limits.prose(text, 200) == text
    finding = finding_of(plugin_record(name=text, description=text, solution=text))
    assert finding["Title"] == finding["Description"] == finding["Remediation"]["Recommendation"]["Text"] == text


@pytest.mark.parametrize(
    ("text", "decoded"),
    [("&lt;&GT;&#62;&#x3e;&#X3E;", "<>>>>"), ("&amp;lt;", "&lt;"), ("&copy;=1", "©=1"), ("&#0000062;", ">")],
)
def test_entities_with_a_semicolon_are_decoded_once(text, decoded):
    assert limits.prose(text, 100) == decoded


# Placeholders.


@pytest.mark.parametrize("nothing", ["n/a", "N/A", "None", " none ", "NONE", "n/a."])
def test_placeholder_is_no_advice_and_no_description(nothing):
    finding = finding_of(plugin_record(solution=nothing, description=nothing, synopsis=nothing, see_also=[nothing, ""]))
    assert finding["Remediation"]["Recommendation"] == {"Url": "https://www.tenable.com/plugins/nessus/19506"}
    assert finding["Description"] == finding["Title"] == "Title"
    assert finding_of(plugin_record(description=nothing, synopsis="What it is"))["Description"] == "What it is"


def test_text_that_only_begins_like_a_placeholder_stays():
    finding = finding_of(plugin_record(solution="None of the versions is fixed.", description="N/A for clusters"))
    assert finding["Remediation"]["Recommendation"]["Text"] == "None of the versions is fixed."
    assert finding["Description"] == "N/A for clusters"


# Passive plugins.


@pytest.mark.parametrize(
    ("family_id", "kind"),
    [
        (1_000_007, "nnm"),
        (1_000_000, "nnm"),
        ("1000007", "nnm"),
        (999_999, "nessus"),
        (11, "nessus"),
        (None, "nessus"),
        (-1, "nessus"),
    ],
)
def test_plugin_links_to_the_page_of_its_kind(family_id, kind):
    finding = finding_of(plugin_record(family_id=family_id, cve=CVES))
    page = f"https://www.tenable.com/plugins/{kind}/19506"
    assert (
        finding["SourceUrl"]
        == finding["Remediation"]["Recommendation"]["Url"]
        == finding["Vulnerabilities"][0]["Vendor"]["Url"]
        == page
    )


# Names and types of keys.


@pytest.mark.parametrize("moment", ["2026-10-01T10:20:00.123456Z", 1_790_006_395, "1790006395"])
def test_index_time_may_be_named_indexed_at(moment):
    by_usual_name = record(indexed=moment)
    assert (
        line_of(record(indexed=None, indexed_at=moment))
        == line_of(by_usual_name)
        == line_of(record(indexed=moment, indexed_at=moment))
    )


@pytest.mark.parametrize(
    "text", ["CVE-2024-11111,CVE-2024-11112", " CVE-2024-11111\nCVE-2024-11112 ", "CVE-2024-11111; CVE-2024-11112,,"]
)
def test_cves_in_one_text_are_those_of_a_list(text):
    assert line_of(plugin_record(cve=text)) == line_of(plugin_record(cve=CVES))
    assert line_of(plugin_record(cve=[text])) == line_of(plugin_record(cve=CVES))


def test_vectors_may_be_texts_and_have_prefixes():
    scores = {"cvss_base_score": 7.5, "cvss3_base_score": 8.1, "cvss4_base_score": 9.3}
    vectors = {
        "cvss_vector": "CVSS2#AV:N/AC:L/Au:N/C:P/I:P/A:P",
        "cvss3_vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
        "cvss4_vector": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
    }
    found = vulnerabilities(**scores, **vectors)
    assert found == vulnerabilities(**scores, **{name: {"raw": vector} for name, vector in vectors.items()})
    assert [(each["Version"], each["BaseVector"]) for each in found[0]["Cvss"]] == [
        ("2.0", "AV:N/AC:L/Au:N/C:P/I:P/A:P"),
        ("3.1", vectors["cvss3_vector"]),
        ("4.0", vectors["cvss4_vector"]),
    ]


@pytest.mark.parametrize("vector", ["CVSS2#", " CVSS2# ", "", " ", None, {}, {"raw": "CVSS2#"}])
def test_vector_without_content_costs_the_vector_only(vector):
    assert vulnerabilities(cvss_base_score=7.5, cvss_vector=vector)[0]["Cvss"] == [
        {"Version": "2.0", "BaseScore": 7.5, "Source": "Tenable"}
    ]


# One asset, exported and looked up.

ASSET_ID = "11111111-0000-4000-8000-000000000019"
EXPORTED = {
    "id": ASSET_ID,
    "types": ["cloud", "host"],
    "agent_names": ["web01-agent"],
    "cloud": {
        "aws": {
            "ec2_instance_id": "i-0123456789abcdef0",
            "owner_id": "111122223333",
            "region": "us-west-1",
            "availability_zone": "us-west-1a",
        },
    },
    "network": {"ipv4s": ["192.0.2.80"], "netbios_names": ["WEB01"]},
    "ratings": {"acr": {"score": 8.0}, "aes": {"score": 640}},
}
LOOKED_UP = {
    "name": "web01.example.com",
    "id": ASSET_ID,
    "aes_score_v3": 640,
    "acr_score_v3": 8.0,
    "acr_score": None,
    "interfaces": [{"ipv4": ["192.0.2.80"], "ipv6": [], "fqdn": ["lab.example.com"], "name": "ens192"}],
    "ipv4": ["192.0.2.80"],
    "ipv6": [],
    "fqdn": [],
    "netbios_name": ["WEB01"],
    "hostname": [],
    "agent_name": ["web01-agent"],
    "tags": [],
    "aws_ec2_instance_id": ["i-0123456789abcdef0"],
    "aws_owner_id": ["111122223333"],
    "aws_availability_zone": ["us-west-1a"],
    "aws_region": ["us-west-1"],
}


def test_looked_up_asset_gives_the_row_of_the_exported_one():
    assert row_of_details(LOOKED_UP) == row_of_export(EXPORTED)
    assert row_of_export(EXPORTED).name == "WEB01"


@pytest.mark.parametrize(
    ("scores", "acr"),
    [
        ({"acr_score_v3": 6, "acr_score": 5}, 6.0),
        ({"acr_score_v3": None, "acr_score": "5"}, 5.0),
        ({"acr_score_v3": "", "acr_score": 5}, 5.0),
        ({"acr_score_v3": [], "acr_score": 5}, 5.0),
        ({"acr_score": 5}, 5.0),
        ({"acr_score_v3": 0.0, "acr_score": 5}, 0.0),
        ({}, None),
    ],
)
def test_newer_score_counts_before_the_older_one(scores, acr):
    row = row_of_details({"id": "a", **scores})
    assert row is not None
    assert row.acr == acr


NAMES = [
    ("hostnames", "hostname"),
    ("fqdns", "fqdn"),
    ("netbios_names", "netbios_name"),
    ("agent_names", "agent_name"),
    ("name", "name"),
]


@pytest.mark.parametrize("first", range(len(NAMES) + 1))
def test_name_is_the_first_of_hostname_fqdn_netbios_agent_display_name_and_address(first):
    """Both ways to an asset, with the names before it missing, empty or blank."""
    exported: dict = {"id": ASSET_ID, "network": {"ipv4s": ["192.0.2.80"], "ipv6s": ["2001:db8::1"]}}
    looked_up: dict = {"id": ASSET_ID, "ipv4": ["192.0.2.80"], "ipv6": ["2001:db8::1"]}
    for number, (in_export, in_details) in enumerate(NAMES):
        value = f"name-{number}" if number >= first else " "
        network = exported if in_export in ("agent_names", "name") else exported["network"]
        network[in_export] = value if in_export == "name" else [value, "second"]
        if number < first and in_export != "name":
            network[in_export] = ["", value]
        looked_up[in_details] = network[in_export]
    expected = "192.0.2.80" if first == len(NAMES) else f"name-{first}"
    assert row_of_export(exported).name == expected
    assert row_of_details(looked_up) == row_of_export(exported)


def test_asset_without_any_name_or_address_has_none():
    assert row_of_export({"id": "a"}).name is None
    assert row_of_export({"id": "a", "network": {"ipv6s": ["2001:db8::1"]}}).name == "2001:db8::1"


# Tags.


def tags_of(tags):
    import msgspec

    row = msgspec.structs.replace(ROW, resource_tags=json.dumps(tags))
    return json.loads(bytes(ec2_resource(row).encoded))[0].get("Tags", {})


@pytest.mark.parametrize(
    "key",
    [
        "aws:cloudformation:stack-name",
        "AWS:x",
        "a#b",
        "a*",
        "a,b",
        "a\nb",
        "a(b)",
        "{x}",
        "a\u200bb",
        "🙂",
        "a" * 129,
        " ",
    ],
)
def test_tag_key_that_aws_may_refuse_costs_the_tag_and_not_the_finding(key):
    assert tags_of({key: "v", "Name": "web"}) == {"Name": "web"}


@pytest.mark.parametrize("key", ["Name", "cost centre", "a:b/c=d+e-f@g.h_i", "Größe", "部署", "awsome", "x-aws:y"])
def test_tag_key_that_aws_allows_stays(key):
    assert tags_of({key: "v"}) == {key: "v"}


def test_tags_that_are_left_out_do_not_count_for_the_limit():
    assert (
        len(tags_of({**{f"aws:{number}": "v" for number in range(60)}, **{f"k{number}": "v" for number in range(60)}}))
        == 50
    )
