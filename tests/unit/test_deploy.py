"""The IAM policies and the CloudFormation template: they parse, name actions that exist, and allow no more than the package calls."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
IAM = ROOT / "deploy" / "iam"
TEMPLATE = ROOT / "deploy" / "cloudformation" / "member-role.yaml"
EXECUTION_TEMPLATE = ROOT / "deploy" / "cloudformation" / "execution-policy.yaml"

#: IAM's names of S3's object calls are not those of the API.
S3_ACTIONS = {"ListBucket", "GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload"}


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short functions, as {function: argument}."""


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: loader.construct_mapping(node, deep=True)}  # type: ignore[arg-type]


_Loader.add_multi_constructor("!", _function)


def template(path: Path = TEMPLATE) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(path.read_text(), _Loader)
    return loaded


def statements(path: Path) -> list[dict[str, Any]]:
    if path == TEMPLATE:
        role = template()["Resources"]["ImportRole"]["Properties"]
        raw = role["Policies"][0]["PolicyDocument"]["Statement"] + role["AssumeRolePolicyDocument"]["Statement"]
        return [each["If"][1] if "If" in each else each for each in raw]
    if path == EXECUTION_TEMPLATE:
        policy = template(path)["Resources"]["ExecutionPolicy"]["Properties"]["PolicyDocument"]
    else:
        policy = json.loads(path.read_text())
    assert policy["Version"] == "2012-10-17"
    found: list[dict[str, Any]] = policy["Statement"]
    return found


def actions(statement: dict[str, Any]) -> list[str]:
    named = statement["Action"]
    return [named] if isinstance(named, str) else named


POLICIES = [*sorted(IAM.glob("*.json")), TEMPLATE, EXECUTION_TEMPLATE]


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_policy_names_known_actions_only(path: Path) -> None:
    session = botocore.session.get_session()
    for statement in statements(path):
        assert statement["Effect"] == "Allow"
        assert re.fullmatch(r"[A-Za-z0-9]+", statement["Sid"])
        for action in actions(statement):
            service, name = action.split(":")
            assert "*" not in action
            known = S3_ACTIONS if service == "s3" else set(session.get_service_model(service).operation_names)
            assert name in known, action


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_import_is_bound_to_the_own_account_and_one_product(path: Path) -> None:
    for statement in statements(path):
        if "securityhub:BatchImportFindings" in actions(statement):
            assert len(actions(statement)) == 1
            target = statement["Condition"]["StringEquals"]["securityhub:TargetAccount"]
            assert target in ("${aws:PrincipalAccount}", {"Ref": "AWS::AccountId"})
            assert "product/" in json.dumps(statement["Resource"])


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_everything_stands_only_where_aws_knows_no_resource(path: Path) -> None:
    for statement in statements(path):
        if statement.get("Resource") == "*":
            assert set(actions(statement)) <= {
                "securityhub:DescribeHub",
                "securityhub:ListEnabledProductsForImport",
                "securityhub:EnableImportFindingsForProduct",
            }


def test_policies_allow_every_call_of_the_import() -> None:
    hook = (ROOT / "airflow_provider_tenable" / "hooks" / "security_hub.py").read_text()
    called = set(re.findall(r"client\.(describe_hub|batch_import_findings|enable_import_findings_for_product)\(", hook))
    called |= set(re.findall(r'get_paginator\("(\w+)"\)', hook))
    names = {"securityhub:" + "".join(part.capitalize() for part in call.split("_")) for call in called}
    member = {action for statement in statements(IAM / "member-role.json") for action in actions(statement)}
    optional = {action for statement in statements(IAM / "enable-product.json") for action in actions(statement)}
    assert member | optional == names
    execution = {action for statement in statements(IAM / "execution-role.json") for action in actions(statement)}
    assert member | {"sts:AssumeRole"} <= execution


def test_product_is_the_one_of_the_options() -> None:
    from airflow_provider_tenable.config import OPTIONS

    for path in (IAM / "execution-role.json", IAM / "member-role.json", TEMPLATE):
        assert f"product/{OPTIONS['product'].default}" in path.read_text()


def test_role_has_one_name_everywhere() -> None:
    name = template()["Parameters"]["RoleName"]["Default"]
    assert f"role/{name}" in (IAM / "execution-role.json").read_text()
    assert name in (ROOT / "docs" / "mwaa.md").read_text()


@pytest.mark.parametrize("path", [TEMPLATE, EXECUTION_TEMPLATE], ids=lambda path: path.name)
def test_template_is_whole(path: Path) -> None:
    text, loaded = path.read_text(), template(path)
    names = set(loaded["Parameters"]) | set(loaded["Resources"]) | set(loaded["Conditions"])
    used = set(re.findall(r"!(?:Ref|GetAtt|If \[)\s*\"?([A-Za-z]\w+)(?![\w:])", text)) - {"AWS"}
    used |= set(re.findall(r"\$\{([A-Za-z]\w*)\}", "".join(re.findall(r"!Sub .*", text))))
    assert used <= names


def _filled(value: Any) -> Any:
    """A value of the execution role's template as CloudFormation makes it, in the terms of the JSON file."""
    if isinstance(value, list):
        return [_filled(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "If" in value:
        return _filled(value["If"][1])
    if "Ref" in value:
        return {"StagingPrefix": "tenable", "AWS::AccountId": "${aws:PrincipalAccount}"}[value["Ref"]]
    if "Sub" in value:
        names = {
            "AWS::Partition": "aws",
            "AWS::Region": "REGION",
            "AWS::AccountId": "ACCOUNT_ID",
            "StagingBucket": "STAGING_BUCKET",
            "StagingPrefix": "tenable",
        }
        return re.sub(r"\$\{([\w:]+)\}", lambda match: {**names, "ImportRoleName": "TenableSecurityHubImport"}[match[1]], value["Sub"])
    return {key: _filled(each) for key, each in value.items()}


def test_execution_template_allows_what_the_policy_file_allows() -> None:
    assert _filled(statements(EXECUTION_TEMPLATE)) == statements(IAM / "execution-role.json")


def test_member_template_trusts_one_role() -> None:
    loaded = template()
    trust = loaded["Resources"]["ImportRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert [each["Principal"] for each in trust] == [{"AWS": {"Ref": "ExecutionRoleArn"}}]
    pattern = re.compile(loaded["Parameters"]["ExecutionRoleArn"]["AllowedPattern"])
    assert pattern.match("arn:aws:iam::123456789012:role/service-role/AmazonMWAA-env")
    assert not pattern.match("*")


def test_trust_names_one_role() -> None:
    [statement] = statements(IAM / "member-role-trust.json")
    assert statement["Principal"]["AWS"].endswith(":role/EXECUTION_ROLE")
    assert "*" not in json.dumps(statement)
