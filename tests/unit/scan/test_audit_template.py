"""From the template of AWS audits to settings and audit files: as recorded in 2021, and as the sandbox has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.scan.audit_template import AuditTemplate, audits_of
from sandbox.tenable import audits as sandbox_audits

RECORDED = json.loads(
    (Path(__file__).parents[2] / "data" / "cloud_audit_template_aws_part_recorded_2021.json").read_text()
)
ACCOUNT = "111122223333"


@pytest.fixture
def recorded() -> AuditTemplate:
    return AuditTemplate.parse(RECORDED)


@pytest.fixture
def today() -> AuditTemplate:
    return AuditTemplate.parse(sandbox_audits.template("cloud_audit", "Audit Cloud Infrastructure", "u"))


def test_the_recorded_template_has_its_regions_and_audits(recorded: AuditTemplate) -> None:
    assert {name: len(group) for name, group in recorded.groups.items()} == {
        "GovCloud": 2,
        "Rest of the World": 21,
        "China": 2,
    }
    # The sample has these; the upload of a custom file is none of them.
    assert [(audit.title, len(audit.variables)) for audit in recorded.audits] == [
        ("CIS_Amazon_Web_Services_Foundations_v1.3.0_L1", 12),
        ("CIS_Amazon_Web_Services_Foundations_v1.3.0_L2", 6),
        ("CIS_Amazon_Web_Services_Three-tier_Web_Architecture_L1_v1.0.0", 38),
        ("CIS_Amazon_Web_Services_Three-tier_Web_Architecture_L2_v1.0.0", 7),
    ]


def test_regions_become_settings_by_the_name_of_the_checkbox(today: AuditTemplate) -> None:
    regions = today.regions(["eu-west-1", "eu-central-1", "eu-west-1"], "aws")
    assert regions == ["eu-central-1", "eu-west-1"]
    assert today.settings(regions) == {
        "aws_ui_region_type": "Rest of the World",
        "aws_us_east_1": "no",
        "aws_us_east_2": "no",
        "aws_us_west_2": "no",
        # Not made of the Region's name.
        "aws_eu-central-1": "yes",
        "aws_eu_west_1": "yes",
        "aws_ap_south_1": "no",
        "aws_use_https": "yes",
        "aws_verify_ssl": "yes",
    }


@pytest.mark.parametrize(
    ("partition", "group", "number"),
    [("aws", "Rest of the World", 21), ("aws-us-gov", "GovCloud", 2), ("aws-cn", "China", 2)],
)
def test_all_regions_are_those_of_the_keys_partition(
    recorded: AuditTemplate, partition: str, group: str, number: int
) -> None:
    regions = recorded.regions("all", partition)
    assert len(regions) == number
    settings = recorded.settings(regions)
    assert settings["aws_ui_region_type"] == group
    assert sum(value == "yes" for value in settings.values()) == number + 2


@pytest.mark.parametrize(
    ("regions", "problem"),
    [
        (["eu-north-9"], r"knows no Region 'eu-north-9'\. It has: ap-south-1, eu-central-1"),
        (["eu-west-1", "us-gov-east-1"], r"us-gov-east-1 is in partition aws-us-gov, and the keys are of aws\."),
        ([], "No Regions are given"),
        ([None], "knows no Region None"),
        ("eu-west-9", "knows no Region 'eu-west-9'"),
    ],
)
def test_other_regions_are_refused_with_what_there_is(today: AuditTemplate, regions: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        today.regions(regions, "aws")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        # Of versions as numbers, not as texts.
        ("CIS_Amazon_Web_Services_Foundations_*_L1", ["CIS_Amazon_Web_Services_Foundations_v10.0.0_L1"]),
        (
            "CIS_Amazon_Web_Services_Foundations_*",
            ["CIS_Amazon_Web_Services_Foundations_v10.0.0_L1", "CIS_Amazon_Web_Services_Foundations_v7.0.0_L2"],
        ),
        ("*Three-tier*", ["CIS_Amazon_Web_Services_Three-tier_Web_Architecture_L1_v1.0.0"]),
        ("72426_AWS_Security_Best_Practices.audit", ["AWS_Security_Best_Practices"]),
        ("AWS_Security_Best_Practices.audit", ["AWS_Security_Best_Practices"]),
        ("CIS_Amazon_Web_Services_Foundations_v6.0.0_L1", ["CIS_Amazon_Web_Services_Foundations_v6.0.0_L1"]),
        ("CIS Amazon Web Services Foundations v7.0.0 L1", ["CIS_Amazon_Web_Services_Foundations_v7.0.0_L1"]),
    ],
)
def test_patterns_mean_the_newest_version(today: AuditTemplate, pattern: str, found: list[str]) -> None:
    assert [audit.title for audit in today.files([pattern, pattern], latest=True)] == found


def test_all_versions_if_that_is_wanted(today: AuditTemplate) -> None:
    assert len(today.files(["CIS_Amazon_Web_Services_Foundations_*_L1"], latest=False)) == 3


def test_a_pattern_without_a_match_is_refused_with_what_there_is(today: AuditTemplate) -> None:
    with pytest.raises(ConfigurationError, match=r"'CIS_Azure\*' matches none of the template's: AWS_Security_Best"):
        today.files(["CIS_Azure*"], latest=True)


def test_all_variables_are_sent_with_their_defaults_and_the_given_values(today: AuditTemplate) -> None:
    files = today.files(["*Foundations*_L1", "*Foundations*_L2"], latest=True)
    own = f"arn:aws:sns:eu-west-1:{ACCOUNT}:alarms"
    audits = audits_of(files, {"*_L2": {"ALARM_ARN": own}, "*": {"INACTIVE_ACCOUNT_DAYS": 30}}, ["mine.audit"], ACCOUNT)
    assert audits.body == {
        "feed": {
            "add": [
                {
                    "id": "72426_CIS_Amazon_Web_Services_Foundations_v10.0.0_L1.audit",
                    "variables": {"INACTIVE_ACCOUNT_DAYS": "30"},
                },
                {
                    "id": "72426_CIS_Amazon_Web_Services_Foundations_v7.0.0_L2.audit",
                    "variables": {"ALARM_ARN": own, "CMK_METRIC_NAME": "Cmk"},
                },
            ]
        },
        "custom": {
            "add": [
                {
                    "type": "custom",
                    "category": "Amazon AWS",
                    "file": "mine.audit",
                    "variables": {"file": "mine.audit"},
                }
            ]
        },
    }
    assert audits.warnings == []


def test_defaults_of_a_foreign_account_and_placeholders_are_warned_about(today: AuditTemplate) -> None:
    files = today.files(["*Foundations*_L2", "*Three-tier*"], latest=True)
    warnings = audits_of(files, {}, [], ACCOUNT).warnings
    assert len(warnings) == 2
    assert "ALARM_ARN=arn:aws:sns:us-east-1:757334363917:" in warnings[0]
    assert "WEB_TIER_TAG=WEB_TIER_TAG" in warnings[1]


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"*_L2": {"X": 1}}, "has no variable 'X'. It has: ALARM_ARN, CMK_METRIC_NAME"),
        ({"*_L3": {"X": 1}}, r"variables are given for '\*_L3', which matches no audit file"),
        ({"*_L2": "X"}, "are 'X', not an object"),
    ],
)
def test_wrong_variables_are_named(today: AuditTemplate, variables: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        audits_of(today.files(["*_L2"], latest=True), variables, [], ACCOUNT)


def test_a_variable_without_default_needs_a_value(today: AuditTemplate) -> None:
    details = sandbox_audits.template("cloud_audit", "x", "u")
    details["compliance"]["data"][1]["audits"][4]["inputs"][0]["default"] = None
    files = AuditTemplate.parse(details).files(["*_L2"], latest=True)
    with pytest.raises(ConfigurationError, match="needs a value for ALARM_ARN"):
        audits_of(files, {}, [], ACCOUNT)
    assert audits_of(files, {"*": {"ALARM_ARN": "x"}}, [], ACCOUNT).warnings == []
    with pytest.raises(ConfigurationError, match="No audit file is given"):
        audits_of([], {}, [], ACCOUNT)


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"settings": [], "compliance": None},
        {**RECORDED, "compliance": {"data": "x"}},
        {**RECORDED, "settings": {"basic": {"inputs": [{"id": "aws_ui_region_type", "options": [{"inputs": "x"}]}]}}},
        {"settings": {"id": ["aws_ui_region_type"]}, "compliance": {"data": [None, {"name": "Amazon AWS"}]}},
    ],
    ids=range(5),
)
def test_another_shape_is_refused_in_words(details: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"Tenable's template cloud_audit has no (Regions|audit files)"):
        AuditTemplate.parse(details)
