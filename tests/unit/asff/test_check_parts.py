"""What a check gives to its findings: title, description, type, requirements, and the numbers of its audit file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_tenable.asff.check import audit_number, check_parts, key_of
from tests.unit.asff.test_compliance import PREFIX, record


def fields(**changed: Any) -> dict[str, Any]:
    """The texts of a check, its entries of Compliance and of ProductFields."""
    parts = check_parts(record(**changed))
    texts = json.loads(b"{" + parts.text_fields.removesuffix(b',"FindingProviderFields":') + b"}")
    own = {
        name.removeprefix(PREFIX): value for name, value in json.loads(b"{" + parts.product_fields[1:] + b"}").items()
    }
    generator = json.loads(b"{" + parts.generator[1:] + b"}")
    compliance = json.loads(b"{" + parts.compliance[1:] + b"}")
    return {**texts, **generator, **compliance, "own": own, "type": parts.types[0]}


def test_product_fields_say_which_check_of_which_audit_it_is() -> None:
    sample = record()
    own = fields(compliance_benchmark_name="b", compliance_benchmark_version="1", profile_name="p", plugin_id=7)["own"]
    assert own["check_id"] == sample.compliance_full_id
    assert own["audit_file"] == sample.audit_file
    assert (own["benchmark"], own["benchmark_version"], own["profile"], own["plugin_id"]) == ("b", "1", "p", "7")
    assert "plugin_id" not in fields(plugin_id=None)["own"]


def test_a_check_without_a_name_is_called_by_its_id_and_its_audit() -> None:
    found = fields(check_name=None, audit_file="a.audit", compliance_full_id="c-1", compliance_control_id=None)
    assert found["Title"] == "Check c-1 of a.audit"
    assert "SecurityControlId" not in found
    assert found["GeneratorId"] == "tenable-audit/a.audit/c-1"
    assert fields(check_name="No number", compliance_control_id="X-2", audit_file="a")["GeneratorId"].endswith("/a/X-2")
    assert fields(check_name="1.2 With one", audit_file="a")["GeneratorId"].endswith("/a/1.2")


def test_the_first_text_there_is_describes_it_and_otherwise_its_title() -> None:
    texts = {"check_info": "info", "synopsis": "short", "description": "long"}
    assert fields(**texts)["Description"] == "info"
    assert fields(**{**texts, "check_info": " "})["Description"] == "short"
    assert fields(**{**texts, "check_info": None, "synopsis": None})["Description"] == "long"
    assert fields(**dict.fromkeys(texts), check_name="1.2 Name")["Description"] == "1.2 Name"


@pytest.mark.parametrize(
    ("name", "version", "standard"),
    [("CIS", "1.2", "CIS 1.2"), ("CIS", None, "CIS"), (None, "1.2", "a.audit"), (None, None, "a.audit")],
)
def test_the_standard_is_the_benchmark_and_otherwise_the_audit_file(name: Any, version: Any, standard: str) -> None:
    found = fields(compliance_benchmark_name=name, compliance_benchmark_version=version, audit_file="a.audit")
    assert found["AssociatedStandards"] == [{"StandardsId": standard}]


@pytest.mark.parametrize(
    ("audit", "benchmark", "plugin", "ending"),
    [
        ("cis_x.audit", None, 1, "/CIS Host Hardening Benchmarks"),
        ("x.audit", "Cis", 1, "/CIS Host Hardening Benchmarks"),
        ("CIS.audit", "DISA", 72426, "/CIS AWS Foundations Benchmark"),
        ("x.audit", None, 72426, "/Industry and Regulatory Standards"),
        ("x.audit", "DISA", 1, "/Industry and Regulatory Standards"),
    ],
)
def test_only_benchmarks_of_cis_have_a_type_of_their_own(audit: str, benchmark: Any, plugin: int, ending: str) -> None:
    found = fields(audit_file=audit, compliance_benchmark_name=benchmark, plugin_id=plugin)
    assert found["type"].endswith(ending)


@pytest.mark.parametrize(
    ("reference", "requirements"),
    [
        ([{"framework": "800-53", "control": "AC-2"}, {"control": "A"}], ["800-53 AC-2", "A"]),
        ([{"framework": 5, "control": "AC-2"}, {"framework": "F", "control": "B"}], ["AC-2", "F B"]),
        ([{"framework": "F"}, {"framework": "F", "control": ""}], None),
        ("text", None),
        (5, None),
        (None, None),
    ],
    ids=str,
)
def test_requirements_are_those_that_can_be_read(reference: Any, requirements: Any) -> None:
    assert fields(reference=reference).get("RelatedRequirements") == requirements


def test_records_that_give_other_parts_have_other_keys() -> None:
    one = record(see_also=["https://example.com/a"])
    assert key_of(one) == key_of(record(see_also=["https://example.com/a"]))
    assert key_of(one) != key_of(record(see_also=["https://example.com/b"]))
    assert key_of(record(see_also="https://example.com/a")) != key_of(record(see_also="https://example.com/b"))


def test_the_number_of_an_audit_file_tells_versions_of_one_audit_from_others() -> None:
    one, two = (audit_number(f"CIS_A_v{version}.audit") for version in ("1.0.0", "2.0.0"))
    assert one >> 32 == two >> 32
    assert one != two
    assert audit_number("CIS_B_v1.0.0.audit") >> 32 != one >> 32
    assert audit_number(" CIS_A_v1.0.0.audit ") == one
    # The row has room for a positive number of 64 bits; a text that is no valid Unicode has one, too.
    assert 0 < audit_number("\ud800") < 1 << 63
