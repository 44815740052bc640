"""Every rule of the finding format refuses what it should, and lets its bounds pass."""

from collections.abc import Callable
from typing import Any

import pytest

from sandbox.aws.asff.findings import complaint
from sandbox.aws.asff.rules import ALSO_REQUIRED, ANY_OF, RULES, Items, Pairs, Range, Rule, Text
from sandbox.aws.asff.schema import service_model, shape_check

MakeFinding = Callable[..., dict[str, Any]]

PREFIX = "Finding does not adhere to Amazon Finding Format. "
# Strings that satisfy a pattern or a format, to be made longer.
SAMPLES = {"url": "https://example.com/", "ipv4": "10.0.0.1", "ipv6": "::1", "finding-type": "Effects/"}


def text_of(rule: Text, length: int) -> str:
    if rule.format in ("ipv4", "ipv6"):
        return SAMPLES[rule.format]
    sample = SAMPLES.get(rule.format or "", "")
    return sample + "1" * (length - len(sample))


def text_cases(rule: Text) -> tuple[list[Any], list[Any]]:
    """(accepted, refused)"""
    if rule.values:
        return list(rule.values), ["something else", "", 5]
    refused: list[Any] = ["", " ", "x" * (rule.longest + 1), None, 5, True, ["x"]]
    if rule.format:
        refused.append("no such format")
    if rule.shortest > 1:
        refused.append("1" * (rule.shortest - 1))
    return [text_of(rule, rule.longest), text_of(rule, max(rule.shortest, 12))], refused


def cases_of(rule: Rule, member: Any) -> tuple[list[Any], list[Any]]:
    match rule:
        case Text():
            return text_cases(rule)
        case Range():
            return [rule.least, rule.greatest], [rule.least - 1, rule.greatest + 1, 1.5, "1", True]
        case Pairs():
            key, value = text_cases(rule.key), text_cases(rule.value)
            refused_keys = [bad for bad in key[1] if isinstance(bad, str)]
            return [{"k": value[0][0]}, {key[0][0]: "v"}, {f"k{i}": "v" for i in range(rule.most)}], [
                {f"k{i}": "v" for i in range(rule.most + 1)},
                *({"k": bad} for bad in value[1]),
                *({bad: "v"} for bad in refused_keys),
                ["k"],
            ]
        case Items(most, fewest, each):
            item = text_of(each, 12) if each else example_of(member.member)
            refused: list[Any] = [[item] * (most + 1), {"0": item}] if most else [{"0": item}]
            if fewest:
                refused.append([item] * (fewest - 1))
            if each:
                refused += [[bad] for bad in text_cases(each)[1]]
            return [[item] * (most or 1)], refused


def example_of(shape: Any) -> Any:
    """Something that the shape accepts."""
    if shape.type_name == "structure":
        return {name: example_of(shape.members[name]) for name in shape.required_members}
    return "something"


@pytest.mark.parametrize("name", RULES)
def test_rule_lets_its_bounds_pass_and_refuses_what_is_beyond(name: str) -> None:
    shape_name, member = name.split(".")
    shape = service_model().shape_for(shape_name)
    accepted, refused = cases_of(RULES[name], shape.members[member])  # type: ignore[attr-defined]

    def complaints(value: Any) -> list[str]:
        errors: list[str] = []
        shape_check(shape_name)({member: value}, "data", errors)
        return [error for error in errors if error.startswith((f"data.{member}", "The maximum size of an individual"))]

    for value in accepted:
        assert complaints(value) == []
    for value in refused:
        assert complaints(value), value


def test_believable_finding_is_accepted(make_finding: MakeFinding) -> None:
    assert complaint(make_finding(), 3_000) is None


def test_finding_with_top_level_severity_and_types_is_accepted(make_finding: MakeFinding) -> None:
    finding = make_finding(FindingProviderFields=None, Severity={"Normalized": 70}, Types=["TTPs/Discovery"])
    assert complaint(finding, 3_000) is None


@pytest.mark.parametrize(
    "name",
    [
        "SchemaVersion",
        "Id",
        "ProductArn",
        "GeneratorId",
        "AwsAccountId",
        "CreatedAt",
        "UpdatedAt",
        "Title",
        "Description",
        "Resources",
    ],
)
def test_required_member_is_missed(make_finding: MakeFinding, name: str) -> None:
    assert complaint(make_finding(**{name: None}), 3_000) == f"{PREFIX}data should have required property '{name}'."


def test_finding_without_severity_is_refused_in_the_words_of_the_service(make_finding: MakeFinding) -> None:
    assert complaint(make_finding(FindingProviderFields=None), 3_000) == (
        f"{PREFIX}data should have required property 'FindingProviderFields', data should match some schema in anyOf."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Title": "x" * 257}, "data.Title should NOT be longer than 256 characters"),
        ({"Description": "x" * 1025}, "data.Description should NOT be longer than 1024 characters"),
        ({"Resources": []}, "data.Resources should NOT have fewer than 1 items"),
        (
            {"Remediation": {"Recommendation": {"Text": ""}}},
            "data.Remediation.Recommendation.Text should NOT be shorter than 1 characters",
        ),
        (
            {"Remediation": {"Recommendation": {"Text": "x" * 513}}},
            "data.Remediation.Recommendation.Text should NOT be longer than 512 characters",
        ),
        (
            {"Remediation": {"Recommendation": {}}},
            "data.Remediation.Recommendation should have required property 'Text', data.Remediation.Recommendation "
            "should match some schema in anyOf",
        ),
        ({"RecordState": "FOO"}, "data.RecordState should be equal to one of the allowed values"),
        ({"Confidence": 101}, "data.Confidence should be <= 100"),
        ({"Comment": "x"}, "data should NOT have additional properties"),
        ({"Region": "us-east-1"}, "data should NOT have additional properties"),
        ({"SourceUrl": "see the vendor's page"}, 'data.SourceUrl should match format "url"'),
        ({"Id": "arn:aws:x"}, 'data.Id should match pattern "^(?!arn:)"'),
        ({"GeneratorId": "  "}, r'data.GeneratorId should match pattern ".*\S.*"'),
        ({"ProductFields": {"a/b": ""}}, "data.ProductFields['a/b'] should NOT be shorter than 1 characters"),
        (
            {"FindingProviderFields": {"Severity": {"Label": "INFO"}, "Types": ["Effects"]}},
            "data.FindingProviderFields.Severity.Label should be equal to one of the allowed values",
        ),
        (
            {"FindingProviderFields": {"Severity": {"Label": "HIGH"}, "Types": ["Effects/a/b/c"]}},
            'data.FindingProviderFields.Types[0] should match pattern "^([^/]+)(/[^/]+){0,2}$"',
        ),
        (
            {"FindingProviderFields": {"Severity": {"Label": "HIGH"}}},
            "data.FindingProviderFields should have required property 'Types'",
        ),
        (
            {"FindingProviderFields": {"Severity": {"Label": "HIGH", "Normalized": 70}, "Types": ["Effects"]}},
            "data.FindingProviderFields.Severity should NOT have additional properties",
        ),
    ],
)
def test_refusal_reads_as_the_service_words_it(
    make_finding: MakeFinding, changes: dict[str, Any], message: str
) -> None:
    assert complaint(make_finding(**changes), 3_000) == f"{PREFIX}{message}."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Type": "u7in-16tb.224xlarge"}, "Type should NOT be longer than 16 characters"),
        ({"IpV4Addresses": ["10.0.0.1"] * 11}, "IpV4Addresses should NOT have more than 10 items"),
        ({"IpV4Addresses": ["10.0.0.256"]}, 'IpV4Addresses[0] should match format "ipv4"'),
        ({"IpV6Addresses": ["10.0.0.1"]}, 'IpV6Addresses[0] should match format "ipv6"'),
        ({"LaunchedAt": "2024-01-01"}, "LaunchedAt should match pattern"),
        ({"Colour": "red"}, "data.Resources[0].Details.AwsEc2Instance should NOT have additional properties"),
    ],
)
def test_details_of_an_instance_are_checked(make_finding: MakeFinding, changes: dict[str, Any], message: str) -> None:
    finding = make_finding()
    finding["Resources"][0]["Details"]["AwsEc2Instance"].update(changes)
    assert message in (complaint(finding, 3_000) or "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Partition": "aws-eusc"}, "data.Resources[0].Partition should be equal to one of the allowed values"),
        ({"Id": ""}, "data.Resources[0].Id should NOT be shorter than 1 characters"),
        ({"Region": "x" * 17}, "data.Resources[0].Region should NOT be longer than 16 characters"),
        ({"Tags": {"my key": ""}}, "data.Resources[0].Tags['my key'] should NOT be shorter than 1 characters"),
        (
            {"Details": {"Other": {"Destinations": "x" * 1025}}},
            "data.Resources[0].Details.Other['Destinations'] should NOT be longer than 1024 characters",
        ),
    ],
)
def test_resource_is_checked(make_finding: MakeFinding, changes: dict[str, Any], message: str) -> None:
    finding = make_finding()
    finding["Resources"][0].update(changes)
    assert complaint(finding, 3_000) == f"{PREFIX}{message}."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Id": "x" * 33}, "Vulnerabilities[0].Id should NOT be longer than 32 characters"),
        ({"EpssScore": "0.9"}, "Vulnerabilities[0].EpssScore should be number"),
        ({"FixAvailable": "MAYBE"}, "Vulnerabilities[0].FixAvailable should be equal to one of the allowed values"),
        ({"Vendor": {}}, "Vulnerabilities[0].Vendor should have required property 'Name'"),
        ({"ReferenceUrls": "https://a.b"}, "Vulnerabilities[0].ReferenceUrls should be array"),
        ({"LastKnownExploitAt": "yesterday"}, "Vulnerabilities[0].LastKnownExploitAt should match pattern"),
    ],
)
def test_vulnerability_is_checked(make_finding: MakeFinding, changes: dict[str, Any], message: str) -> None:
    finding = make_finding()
    finding["Vulnerabilities"][0].update(changes)
    assert message in (complaint(finding, 3_000) or "")


def test_key_of_product_fields_may_not_begin_with_aws(make_finding: MakeFinding) -> None:
    assert "property name 'aws/x'" in (complaint(make_finding(ProductFields={"aws/x": "1"}), 3_000) or "")


def test_field_of_32_kb_has_a_message_of_its_own(make_finding: MakeFinding) -> None:
    finding = make_finding()
    finding["Vulnerabilities"][0]["ReferenceUrls"] = ["x" * 32_768]
    assert complaint(finding, 3_000) == "The maximum size of an individual field should be less than 32768"
    finding["Vulnerabilities"][0]["ReferenceUrls"] = ["x" * 32_767]
    assert complaint(finding, 3_000) is None


def test_finding_of_more_than_240_kb_is_refused(make_finding: MakeFinding) -> None:
    assert complaint(make_finding(), 240_000) is None
    assert "240000 bytes" in (complaint(make_finding(), 240_001) or "")


def test_all_complaints_are_named_at_once(make_finding: MakeFinding) -> None:
    message = complaint(make_finding(Title="", UpdatedAt="zzz", Foo=1), 3_000) or ""
    assert all(part in message for part in ("data.Title", "data.UpdatedAt", "additional properties"))


@pytest.mark.parametrize("finding", [None, [], "x", 5])
def test_what_is_no_object_is_refused(finding: Any) -> None:
    assert complaint(finding, 10) == f"{PREFIX}data should be object."


def test_rules_name_members_of_the_api_model() -> None:
    model = service_model()
    for name in (*RULES, *(f"{shape}.{key}" for shape, keys in ALSO_REQUIRED.items() for key in keys)):
        shape, _, member = name.partition(".")
        assert member in model.shape_for(shape).members, name  # type: ignore[attr-defined]
    for shape, groups in ANY_OF.items():
        assert {key for group in groups for key in group} <= set(model.shape_for(shape).members)  # type: ignore[attr-defined]
