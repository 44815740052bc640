"""The plugin's part of a finding: title, texts, types, vulnerabilities, packages, remediation."""

from __future__ import annotations

import json

import msgspec
import pytest

from airflow_provider_tenable.asff import vulnerabilities
from airflow_provider_tenable.asff.plugin import decode_plugin, plugin_parts
from airflow_provider_tenable.asff.threat import threat_product_fields
from airflow_provider_tenable.asff.vulnerabilities import with_packages
from airflow_provider_tenable.tenable_vm.records import Fix, Plugin, SoftwareVuln
from airflow_provider_tenable.tenable_vm.software import decode_software

PAGE = "https://www.tenable.com/plugins/nessus/7"


def served(*software):
    """``software_vulns`` of a record as Tenable serves it."""
    return msgspec.Raw(msgspec.json.encode(software))


def parts_of(**plugin):
    return plugin_parts(decode_plugin(json.dumps({"id": 7, **plugin}).encode()))


def vulnerabilities_of(**plugin):
    encoded = parts_of(**plugin).encoded_vulnerabilities
    return json.loads(bytes(encoded)) if encoded is not None else None


def recommendation_of(**plugin):
    return json.loads(bytes(parts_of(**plugin).remediation))["Recommendation"]


def test_generator_is_the_plugin_and_its_page_the_source():
    parts = parts_of()
    assert (parts.id, parts.generator_id, parts.source_url) == (7, "7", PAGE)


def test_pieces_that_are_put_into_a_finding_as_they_are_hold_the_plugin():
    parts = parts_of(name="A", description="B")
    assert parts.id_text == b"7"
    assert parts.id_field == b',"GeneratorId":"7"'
    assert parts.text_fields == b'"Title":"A","Description":"B","FindingProviderFields":'
    assert json.loads(b"{%b}" % parts.link_fields) == {
        "SourceUrl": PAGE,
        "Remediation": json.loads(bytes(parts.remediation)),
    }


def test_title_is_the_name_decoded_and_cut():
    assert parts_of(name="A &lt;b&gt;").title == "A <b>"
    assert parts_of(name="x" * 256).title == "x" * 256
    assert parts_of(name="x" * 257).title == "x" * 255 + "…"


@pytest.mark.parametrize("name", [None, "", "  ", 5, ["x"]])
def test_title_without_a_name_is_the_plugin(name):
    assert parts_of(name=name).title == "Tenable plugin 7"


def test_description_falls_back_to_synopsis_then_title():
    assert parts_of(name="n", description="d", synopsis="s").description == "d"
    assert parts_of(name="n", description=" ", synopsis="s").description == "s"
    assert parts_of(name="n", synopsis="a &amp; b").description == "a & b"
    assert parts_of(name="n", synopsis="").description == "n"
    assert parts_of(description="x" * 1024).description == "x" * 1024
    assert parts_of(description="x" * 1025).description == "x" * 1023 + "…"
    assert parts_of(synopsis="x" * 1025).description == "x" * 1023 + "…"


def test_type_says_cve_only_where_there_is_one():
    assert parts_of(cve=["CVE-2024-1"]).types == ("Software and Configuration Checks/Vulnerabilities/CVE",)
    for nothing in (None, [], ["", " "], ["x" * 33], "x" * 33, 5):
        assert parts_of(cve=nothing).types == ("Software and Configuration Checks/Vulnerabilities",)
        assert vulnerabilities_of(cve=nothing) is None


def test_each_cve_is_one_vulnerability_once_and_in_order():
    assert [each["Id"] for each in vulnerabilities_of(cve=["CVE-2", " CVE-1 ", "CVE-2", "", "x" * 33, "y" * 32])] == [
        "CVE-2",
        "CVE-1",
        "y" * 32,
    ]


def test_vulnerability_without_scores_has_only_its_vendor():
    assert vulnerabilities_of(cve=["CVE-1"]) == [{"Id": "CVE-1", "Vendor": {"Name": "Tenable", "Url": PAGE}}]


def test_cvss_versions_carry_score_vector_and_source():
    (one,) = vulnerabilities_of(
        cve=["CVE-1"],
        cvss_base_score=9,
        cvss_vector={"raw": "AV:N"},
        cvss3_base_score=8.8,
        cvss3_vector={"raw": "CVSS:3.1/AV:N"},
        cvss4_base_score=0,
        cvss4_vector={"raw": "CVSS:4.0/AV:N"},
    )
    assert one["Cvss"] == [
        {"Version": "2.0", "BaseScore": 9.0, "BaseVector": "AV:N", "Source": "Tenable"},
        {"Version": "3.1", "BaseScore": 8.8, "BaseVector": "CVSS:3.1/AV:N", "Source": "Tenable"},
        {"Version": "4.0", "BaseScore": 0.0, "BaseVector": "CVSS:4.0/AV:N", "Source": "Tenable"},
    ]


def test_cvss_three_without_a_prefix_is_three_zero_and_needs_no_vector():
    (one,) = vulnerabilities_of(cve=["CVE-1"], cvss3_base_score=5, cvss3_vector={"raw": " "})
    assert one["Cvss"] == [{"Version": "3.0", "BaseScore": 5.0, "Source": "Tenable"}]
    (one,) = vulnerabilities_of(cve=["CVE-1"], cvss3_base_score=5, cvss3_vector={"raw": "CVSS:3.0/AV:N"})
    assert one["Cvss"][0]["Version"] == "3.0"


@pytest.mark.parametrize("score", [-0.1, 10.1, 1e300, None])
def test_score_outside_cvss_is_left_out(score):
    (one,) = vulnerabilities_of(cve=["CVE-1"], cvss3_base_score=score, cvss_base_score=10)
    assert [each["Version"] for each in one["Cvss"]] == ["2.0"]


@pytest.mark.parametrize(("percentage", "probability"), [(0, 0.0), (10.647, 0.10647), (100, 1.0), (0.00001, 1e-07)])
def test_epss_percentage_becomes_a_probability(percentage, probability):
    (one,) = vulnerabilities_of(cve=["CVE-1"], epss_score=percentage)
    assert one["EpssScore"] == probability


@pytest.mark.parametrize("percentage", [-1, 100.1, None, "much"])
def test_epss_that_is_no_percentage_is_left_out(percentage):
    (one,) = vulnerabilities_of(cve=["CVE-1"], epss_score=percentage)
    assert "EpssScore" not in one


@pytest.mark.parametrize(("value", "word"), [(True, "YES"), (False, "NO")])
def test_exploit_and_fix_are_yes_or_no(value, word):
    (one,) = vulnerabilities_of(cve=["CVE-1"], exploit_available=value)
    assert one["ExploitAvailable"] == word
    assert "FixAvailable" not in one
    (one,) = vulnerabilities_of(cve=["CVE-1"], has_patch=value)
    assert one["FixAvailable"] == word
    assert "ExploitAvailable" not in one


def test_vendor_is_tenable_with_its_severity_and_times():
    (one,) = vulnerabilities_of(
        cve=["CVE-1"],
        risk_factor="High",
        publication_date="2022-01-12T00:00:00Z",
        modification_date="2018-02-31T00:00:00Z",
    )
    assert one["Vendor"] == {
        "Name": "Tenable",
        "Url": PAGE,
        "VendorSeverity": "High",
        "VendorCreatedAt": "2022-01-12T00:00:00.000Z",
    }
    (one,) = vulnerabilities_of(cve=["CVE-1"], risk_factor="x" * 33, modification_date="2022-05-06T00:00:00Z")
    assert one["Vendor"] == {
        "Name": "Tenable",
        "Url": PAGE,
        "VendorSeverity": "x" * 31 + "…",
        "VendorUpdatedAt": "2022-05-06T00:00:00.000Z",
    }


def test_reference_urls_are_the_distinct_addresses_up_to_twenty():
    urls = [f"https://example.com/{number}" for number in range(25)]
    (one,) = vulnerabilities_of(cve=["CVE-1"], see_also=[urls[0], *urls, "no address", 5])
    assert one["ReferenceUrls"] == urls[:20]


def test_see_also_in_one_text_has_an_address_per_line():
    (one,) = vulnerabilities_of(cve=["CVE-1"], see_also="https://a.example/1\nhttps://a.example/2")
    assert one["ReferenceUrls"] == ["https://a.example/1", "https://a.example/2"]


@pytest.mark.parametrize("see_also", [None, [], "", "h", ["no address", "http://localhost/"], 5])
def test_recommendation_url_is_the_plugin_page_where_there_is_no_address(see_also):
    assert recommendation_of(see_also=see_also, solution="Fix it.") == {"Text": "Fix it.", "Url": PAGE}


def test_recommendation_url_is_the_first_address():
    assert recommendation_of(see_also=["no", "https://b.example/", "https://a.example/"])["Url"] == "https://b.example/"


@pytest.mark.parametrize("solution", [None, "", " \n", 5])
def test_recommendation_without_a_solution_has_no_text(solution):
    assert recommendation_of(solution=solution) == {"Url": PAGE}


def test_solution_is_decoded_and_cut():
    assert recommendation_of(solution="a &lt; b")["Text"] == "a < b"
    assert recommendation_of(solution="x" * 512)["Text"] == "x" * 512
    assert recommendation_of(solution="x" * 513)["Text"] == "x" * 511 + "…"


def test_product_fields_of_a_plugin():
    assert parts_of(
        family="Windows",
        type="local",
        vpr={"score": 6.7},
        vpr_v2={"score": 0},
        cvss3_base_score=8.8,
        cve=["CVE-1", "CVE-2"],
    ).product_fields == {
        **threat_product_fields(Plugin(id=1)),
        "plugin_family": "Windows",
        "plugin_type": "local",
        "vpr_score": "6.7",
        "vpr_v2_score": "0",
        "cvss3_base_score": "8.8",
        "cve_count": "2",
    }
    assert set(parts_of().product_fields.values()) == {""}


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id":7,"vpr":{"score":1' + b"0" * 400 + b"}}",
        b'{"id":7,"cvss3_base_score":1e999}',
        b'{"id":7,"vpr":{"score":NaN}}',
        b'{"id":7,"vpr_v2":[]}',
    ],
)
def test_absurd_scores_are_no_scores(raw):
    assert set(plugin_parts(decode_plugin(raw)).product_fields.values()) == {""}


def packages_of(software, **plugin):
    encoded = with_packages(parts_of(cve=["CVE-1", "CVE-2"], **plugin), served(*software))[0]
    assert encoded is not None
    return {each["Id"]: each.get("VulnerablePackages") for each in json.loads(bytes(encoded))}


def test_packages_go_to_the_cves_they_were_found_in():
    software = [
        SoftwareVuln(
            product="httpd",
            version="2.4",
            path="/usr/sbin/httpd",
            vulnerabilities=["CVE-1"],
            fixes=[Fix("kb", "5"), Fix("version", ""), Fix("version", "2.5")],
        ),
        SoftwareVuln(product="everywhere"),
        SoftwareVuln(product="elsewhere", vulnerabilities=["CVE-3"]),
        SoftwareVuln(vulnerabilities=["CVE-2"]),
    ]
    httpd = {"Name": "httpd", "Version": "2.4", "FilePath": "/usr/sbin/httpd", "FixedInVersion": "2.5"}
    assert packages_of(software) == {"CVE-1": [httpd, {"Name": "everywhere"}], "CVE-2": [{"Name": "everywhere"}]}


def test_packages_of_other_cves_leave_the_vulnerabilities_as_they_are():
    assert packages_of([SoftwareVuln(product="elsewhere", vulnerabilities=["CVE-3"])]) == {"CVE-1": None, "CVE-2": None}
    assert packages_of([SoftwareVuln(product=" ")]) == {"CVE-1": None, "CVE-2": None}


def test_at_most_twenty_packages_and_their_texts_are_cut():
    found = packages_of([SoftwareVuln(product="p" * 513, version=str(number)) for number in range(21)])["CVE-1"]
    assert [each["Version"] for each in found] == [str(number) for number in range(20)]
    assert found[0]["Name"] == "p" * 511 + "…"


def package_of(**item):
    (package,) = packages_of([SoftwareVuln(product="p", **item)])["CVE-1"]
    del package["Name"]
    return package


def test_fix_of_a_package_manager_is_its_version_in_the_purl():
    found = package_of(
        version="9.9.4-61.el7",
        identifier="pkg:rpm/centos/examplelib-libs@9.9.4-61.el7",
        fixes=[Fix("rpm", "pkg:rpm/centos/examplelib-libs@9.9.4-74.el7_6.1")],
        potential=False,
    )
    assert found == {
        "Version": "9.9.4-61.el7",
        "Release": "61.el7",
        "PackageManager": "rpm",
        "FixedInVersion": "9.9.4-74.el7_6.1",
    }


def test_potential_package_is_marked_with_the_reasons():
    found = package_of(
        version="1.2-3",
        identifier="pkg:deb/debian/libexample1@1.2-3",
        fixes=[Fix("deb", "pkg:deb/debian/libexample1@1.2-3%2Bdeb12u1?arch=amd64&epoch=2")],
        potential=True,
        potential_reasons=["Backported", "Managed"],
    )
    assert found == {
        "Version": "1.2-3",
        "Epoch": "2",
        "Release": "3",
        "Architecture": "amd64",
        "PackageManager": "deb",
        "FixedInVersion": "1.2-3+deb12u1",
        "Remediation": "Potential finding (Backported, Managed): confirm that this package is affected before you "
        "change it.",
    }
    for reasons in (None, [], [" "]):
        assert package_of(potential=True, potential_reasons=reasons)["Remediation"].startswith(
            "Potential finding: confirm"
        )
    assert package_of(potential=None, potential_reasons=["Managed"]) == {}


def test_qualifiers_of_the_installed_package_count_before_those_of_the_fix():
    found = package_of(
        identifier="pkg:rpm/x/p@1-1?arch=aarch64&epoch=1",
        fixes=[Fix("rpm", "pkg:rpm/x/p@2-2?arch=noarch&epoch=2&distro=el7")],
    )
    assert found == {
        "Epoch": "1",
        "Release": "1",
        "Architecture": "aarch64",
        "PackageManager": "rpm",
        "FixedInVersion": "2-2",
    }


def test_package_manager_of_the_installed_package_is_known_without_a_fix():
    assert package_of(identifier="pkg:npm/%40scope/p@1.0-rc.1", version="1.0-rc.1") == {
        "Version": "1.0-rc.1",
        "PackageManager": "npm",
    }
    assert package_of(identifier="pkg:rpm/x/p", version="1-2.el9") == {
        "Version": "1-2.el9",
        "Release": "2.el9",
        "PackageManager": "rpm",
    }
    assert package_of(identifier="cpe:2.3:a:example:server:2.4.58:*", version="2.4-58") == {"Version": "2.4-58"}


@pytest.mark.parametrize("kind", ["version", None])
def test_kind_of_fix_that_is_not_a_package_manager_leaves_it_to_the_purl(kind):
    assert package_of(version="1-1", fixes=[Fix(kind, "pkg:rpm/x/p@2-2?arch=noarch")]) == {
        "Version": "1-1",
        "Release": "1",
        "Architecture": "noarch",
        "PackageManager": "rpm",
        "FixedInVersion": "2-2",
    }
    # ASFF's field describes the installed package, so its own purl is preferred.
    assert package_of(identifier="pkg:pypi/p@1", fixes=[Fix(kind, "pkg:rpm/x/p@2")])["PackageManager"] == "pypi"


@pytest.mark.parametrize(
    ("fixes", "version"),
    [
        ([Fix("kb", "5002113"), Fix("version", "2.5")], "2.5"),
        ([Fix("rpm", "pkg:rpm/x/p"), Fix("version", "2.5")], "2.5"),
        ([Fix("rpm", "pkg:rpm/x/p@"), Fix("version", "")], None),
        ([Fix("npm", "pkg:npm/@scope/p")], None),
        ([Fix("npm", "pkg:npm/@scope/p@1.2#lib/x")], "1.2"),
        ([Fix("version", "pkg:rpm/x/p@2?arch=noarch")], "2"),
        ([Fix("rpm", "not a purl")], None),
        ([Fix("rpm", "pkg:")], None),
        ([Fix(None, "pkg:rpm/x/p@3?arch&=&x=%ff")], "3"),
        ([Fix("version", None)], None),
    ],
)
def test_fixed_version_is_the_first_that_can_be_read(fixes, version):
    assert package_of(fixes=fixes).get("FixedInVersion") == version


@pytest.mark.parametrize(("own", "expected"), [(True, "YES"), (False, "YES"), (None, "YES")])
def test_fix_that_the_record_names_is_available_whatever_the_plugin_says(own, expected):
    software = [SoftwareVuln(product="p", vulnerabilities=["CVE-2"], fixes=[Fix("kb", "5")])]
    parts = parts_of(cve=["CVE-1", "CVE-2"], has_patch=own, see_also="https://a.example/")
    one, two = json.loads(bytes(with_packages(parts, served(*software))[0] or b""))
    assert one.get("FixAvailable") == {True: "YES", False: "NO", None: None}[own]
    assert two["FixAvailable"] == expected
    assert list(two) == ["Id", "Vendor", "FixAvailable", "VulnerablePackages"]
    for nothing in ([], [Fix("kb", "")], [Fix("version", None)]):
        found = with_packages(parts, served(SoftwareVuln(product="p", fixes=nothing)))[0]
        assert {each.get("FixAvailable") for each in json.loads(bytes(found or b""))} == {one.get("FixAvailable")}


def test_fix_that_counts_may_be_beyond_the_packages_that_are_shown():
    software = [SoftwareVuln(product="p")] * 20 + [SoftwareVuln(product="q", fixes=[Fix("version", "2")])]
    found = json.loads(bytes(with_packages(parts_of(cve=["CVE-1"]), served(*software))[0] or b""))
    assert found[0]["FixAvailable"] == "YES"


def test_addresses_stand_with_the_first_cve_only():
    first, *later = vulnerabilities_of(
        cve=["CVE-1", "CVE-2", "CVE-3"], see_also=["https://a.example/"], cvss3_base_score=5
    )
    assert first.pop("ReferenceUrls") == ["https://a.example/"]
    assert [{**each, "Id": "CVE-1"} for each in later] == [first, first]


def test_packages_without_a_cve_have_no_place():
    assert with_packages(parts_of(), served(SoftwareVuln(product="httpd")))[0] is None


UNREADABLE_PACKAGES = {
    "null": (b"null", []),
    "no list": (b'{"product":"p"}', []),
    "a text": (b'"p"', []),
    "items of other kinds": (b'[5,null,"x",[],{"product":"p"}]', ["p"]),
    "a name that is none": (b'[{"product":7},{"product":"p"}]', [None, "p"]),
    "bytes that are no text": (b'[{"product":"a\xffb"}]', ["a?b"]),
    "a lone surrogate": (b'[{"product":"a\\ud800b"}]', ["a?b"]),
    "something very deep": (b'[{"product":"p","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}]", []),
}


@pytest.mark.parametrize(("data", "names"), UNREADABLE_PACKAGES.values(), ids=UNREADABLE_PACKAGES.keys())
def test_packages_that_cannot_be_read_cost_these_packages_only(data, names):
    assert [each.product for each in decode_software(data)] == names
    parts = parts_of(cve=["CVE-1"])
    (one,) = json.loads(bytes(with_packages(parts, msgspec.Raw(data))[0] or b""))
    assert [package["Name"] for package in one.get("VulnerablePackages", [])] == [name for name in names if name]


def test_plugin_itself_is_not_changed_by_a_record_with_packages():
    parts = parts_of(cve=["CVE-1"])
    before = parts.cve_entries.pieces([]), bytes(parts.encoded_vulnerabilities or b"")
    with_packages(parts, served(SoftwareVuln(product="httpd", fixes=[Fix("version", "2")])))
    assert (parts.cve_entries.pieces([]), bytes(parts.encoded_vulnerabilities or b"")) == before


def test_what_is_kept_with_packages_is_bounded_and_the_same_whether_kept_or_not(monkeypatch):
    monkeypatch.setattr(vulnerabilities, "PACKAGES_BYTES", 20_000)
    parts = plugin_parts(Plugin(id=1, cve=["CVE-2026-0001", "CVE-2026-0002"]))
    table = vulnerabilities._PackagesMemo()
    monkeypatch.setattr(vulnerabilities, "_memo", table)
    most = 0
    for number in range(500):
        software = [SoftwareVuln(product="openssl", version=f"3.0.{number % 200}", path=f"/opt/{number % 200}/lib")]
        for _ in range(2):
            assert with_packages(parts, served(*software)) == vulnerabilities._with_packages(
                parts, bytes(served(*software))
            )
        most = max(most, sum(len(key) + len(bytes(built[0] or b"")) for (_, key), built in table._built.items()))
    assert 10_000 < most <= 20_000


def test_packages_of_one_plugin_are_not_those_of_another():
    software = served(SoftwareVuln(product="openssl", version="3.0.1"))
    one, other = (
        with_packages(plugin_parts(Plugin(id=number, cve=[f"CVE-2026-000{number}"])), software)[0] for number in (1, 2)
    )
    assert b"CVE-2026-0001" in bytes(one or b"")
    assert b"CVE-2026-0002" in bytes(other or b"")
