"""The IAM policies and the CloudFormation template: they parse, name actions that exist, and allow no more than the
package calls.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
IAM = ROOT / "deploy" / "iam"
TEMPLATE = ROOT / "deploy" / "cloudformation" / "member-role.yaml"
EXECUTION_TEMPLATE = ROOT / "deploy" / "cloudformation" / "execution-policy.yaml"
ALARMS = ROOT / "deploy" / "cloudformation" / "alarms.yaml"

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
        policies = [each["Properties"] for each in template(path)["Resources"].values()]
        assert {tuple(each["Roles"][0].items()) for each in policies} == {(("Ref", "ExecutionRoleName"),)}
        return [statement for each in policies for statement in each["PolicyDocument"]["Statement"]]
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
            # Not a call: what a call that names a role needs.
            known |= {"PassRole"} if service == "iam" else set()
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
            found = {each for each in actions(statement) if not each.startswith("ec2:Describe")}
            assert found <= {
                "ssm:GetCommandInvocation",
                "sts:DecodeAuthorizationMessage",
                "securityhub:DescribeHub",
                "securityhub:ListEnabledProductsForImport",
                "securityhub:EnableImportFindingsForProduct",
            }


def test_policies_allow_every_call_of_the_import() -> None:
    hook = (ROOT / "airflow_provider_tenable" / "hooks" / "security_hub.py").read_text()
    called = set(re.findall(r"client\.(batch_import_findings|get_findings|enable_import_findings_for_product)\b", hook))
    called |= set(re.findall(r'_call\("(\w+)"', hook))
    # Only for the words of a message, and never asked for where it is not allowed: describe_security_hub_v2.
    names = {"securityhub:" + "".join(part.capitalize() for part in call.split("_")) for call in called}
    member = {action for statement in statements(IAM / "member-role.json") for action in actions(statement)}
    optional = {action for statement in statements(IAM / "enable-product.json") for action in actions(statement)}
    assert member | optional == names
    execution = {action for statement in statements(IAM / "execution-role.json") for action in actions(statement)}
    assert member | {"sts:AssumeRole"} <= execution


def test_member_role_describes_instances_only_where_that_is_asked_for() -> None:
    [statement] = statements(IAM / "describe-instances.json")
    policy = template()["Resources"]["ImportRole"]["Properties"]["Policies"][0]["PolicyDocument"]
    conditional = [each["If"] for each in policy["Statement"] if "If" in each]
    assert ["MayDescribeInstances", statement, {"Ref": "AWS::NoValue"}] in conditional
    assert template()["Parameters"]["DescribeInstances"]["Default"] == "false"


def test_product_is_the_one_of_the_options() -> None:
    from airflow_provider_tenable.config import OPTIONS

    for path in (IAM / "execution-role.json", IAM / "member-role.json", TEMPLATE):
        assert f"product/{OPTIONS['product'].default}" in path.read_text()


def test_role_has_one_name_everywhere() -> None:
    name = template()["Parameters"]["RoleName"]["Default"]
    assert f"role/{name}" in (IAM / "execution-role.json").read_text()
    assert name in (ROOT / "docs" / "mwaa.md").read_text()


@pytest.mark.parametrize("path", [TEMPLATE, EXECUTION_TEMPLATE, ALARMS], ids=lambda path: path.name)
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
        keys = {f"{name}KeyArn": f"{name.upper()}_KEY_ARN" for name in ("Staging", "Environment", "Secrets")}
        return {"StagingPrefix": "tenable", "AWS::AccountId": "${aws:PrincipalAccount}", **keys}[value["Ref"]]
    if "Sub" in value:
        names = {
            "AWS::Partition": "aws",
            "AWS::Region": "REGION",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::AccountId": "ACCOUNT_ID",
            "StagingBucket": "STAGING_BUCKET",
            "StagingPrefix": "tenable",
            "ConnectionsPrefix": "airflow/connections",
        }
        return re.sub(
            r"\$\{([\w:]+)\}",
            lambda match: {**names, "ImportRoleName": "TenableSecurityHubImport"}[match[1]],
            value["Sub"],
        )
    return {key: _filled(each) for key, each in value.items()}


def test_execution_template_allows_what_the_policy_files_allow() -> None:
    assert _filled(statements(EXECUTION_TEMPLATE)) == statements(IAM / "execution-role.json") + statements(
        IAM / "kms.json"
    )


def test_keys_of_customers_are_asked_for_and_none_is_allowed_without() -> None:
    loaded = template(EXECUTION_TEMPLATE)
    keys = [each for each in loaded["Resources"].values() if "kms:" in json.dumps(each)]
    guarded = [
        (each["Condition"], each["Properties"]["PolicyDocument"]["Statement"][0]["Resource"]["Ref"]) for each in keys
    ]
    assert guarded == [
        ("HasStagingKey", "StagingKeyArn"),
        ("HasEnvironmentKey", "EnvironmentKeyArn"),
        ("HasSecretsKey", "SecretsKeyArn"),
    ]
    for condition, parameter in guarded:
        assert loaded["Conditions"][condition] == {"Not": [{"Equals": [{"Ref": parameter}, ""]}]}
        assert loaded["Parameters"][parameter]["Default"] == ""
        pattern = re.compile(loaded["Parameters"][parameter]["AllowedPattern"])
        assert pattern.match("arn:aws:kms:eu-west-1:123456789012:key/mrk-11111111222233334444555555555555")
        # A policy does not accept an alias as a key.
        assert not pattern.match("arn:aws:kms:eu-west-1:123456789012:alias/mine")
        assert not pattern.match("None")


def test_keys_serve_one_service_and_all_that_it_does() -> None:
    by_sid = {each["Sid"]: each for each in statements(IAM / "kms.json")}
    assert all(each["Condition"]["StringEquals"]["kms:ViaService"] for each in by_sid.values())
    # An upload in parts is decrypted, too, when it is completed.
    assert set(actions(by_sid["UseTheKeyOfTheStagingBucket"])) == {"kms:Decrypt", "kms:GenerateDataKey"}
    assert {"kms:Decrypt", "kms:GenerateDataKey"} <= set(actions(by_sid["UseTheKeyOfTheEnvironment"]))
    assert actions(by_sid["UseTheKeyOfTheConnections"]) == ["kms:Decrypt"]


def resource(name: str) -> dict[str, Any]:
    found: dict[str, Any] = template(ALARMS)["Resources"][name]["Properties"]
    return found


def test_failed_runs_are_read_from_a_metric_that_mwaa_publishes() -> None:
    # Amazon MWAA's guide, "Apache Airflow environment metrics in CloudWatch": timers, and "DAG, Environment" as the
    # dimensions.
    alarm = resource("RunFailed")
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == (
        "AmazonMWAA",
        "DAGDurationFailed",
        "SampleCount",
    )
    assert {each["Name"]: each["Value"]["Ref"] for each in alarm["Dimensions"]} == {
        "Environment": "EnvironmentName",
        "DAG": "DagId",
    }
    assert template(ALARMS)["Parameters"]["DagId"]["Default"] == "tenable_to_security_hub"


@pytest.mark.parametrize(
    ("lines", "alarm"),
    [
        ("RejectedLines", "FindingsRejected"),
        ("RefusedLines", "DestinationsRefused"),
        ("WatermarkLines", "WatermarkOld"),
    ],
)
def test_alarm_reads_what_its_filter_counts(lines: str, alarm: str) -> None:
    counted, read = resource(lines)["MetricTransformations"][0], resource(alarm)
    assert (counted["MetricNamespace"], counted["MetricName"]) == (read["Namespace"], read["MetricName"])
    assert "Dimensions" not in read


def phrase(name: str) -> str:
    """The text that a filter searches for."""
    found = re.fullmatch('"(.+)"', resource(name)["FilterPattern"])
    assert found
    return found[1]


def test_filters_find_what_the_tasks_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_tenable.exceptions import RejectedFindingsError
    from airflow_provider_tenable.run import ledger_checks, watermark

    window = watermark.Window(watermark.INCREMENTAL, 0, 1_800_000_000, False, None)
    moved, why = watermark.next_watermark(window, data_from=None, current=None, narrowed=False, dry_run=False)
    assert moved
    assert phrase("WatermarkLines") in f"The watermark {why}."
    assert 'log.info("The watermark %s.", why)' in (ROOT / "airflow_provider_tenable" / "run" / "finish.py").read_text()
    for stays in ({"dry_run": True, "narrowed": False}, {"dry_run": False, "narrowed": True}):
        _, why = watermark.next_watermark(window, data_from=None, current=None, **stays)
        assert phrase("WatermarkLines") not in f"The watermark {why}."

    counts = {"findings": 100, "rejected": {"InvalidInput": 1}, "skipped": {}}
    ledger_checks.check_rejected(counts, None, 0.01)  # type: ignore[arg-type]
    assert phrase("RejectedLines") in caplog.text
    monkeypatch.setattr(ledger_checks, "rejected_lines", lambda _: [])
    with pytest.raises(RejectedFindingsError, match=phrase("RejectedLines")):
        ledger_checks.check_rejected(counts, SimpleNamespace(rejected="staging"), 0)  # type: ignore[arg-type]


def test_filter_finds_what_is_logged_of_accounts_that_refuse(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    from airflow_provider_tenable.exceptions import RefusedDestinationsError
    from airflow_provider_tenable.run.refusals import check_refused
    from airflow_provider_tenable.staging.layout import RunFolder

    run = RunFolder(f"file://{tmp_path}", "dag", "run")
    entry = {"records": 3, "why": "closed", "reached": False}
    ledger: Any = {"refused": {"111122223333/eu-west-1": entry}, "findings": 1}
    plan: Any = {"settings": {"max_refused_destinations": None}}
    check_refused(ledger, run, plan)
    assert phrase("RefusedLines") in caplog.text
    with pytest.raises(RefusedDestinationsError, match=phrase("RefusedLines")):
        check_refused(ledger, run, {"settings": {"max_refused_destinations": 0}})  # type: ignore[typeddict-item]


def test_watermark_alarm_waits_no_longer_than_cloudwatch_can() -> None:
    alarm, hours = resource("WatermarkOld"), template(ALARMS)["Parameters"]["WatermarkHours"]
    assert alarm["EvaluationPeriods"] == {"Ref": "WatermarkHours"}
    # PutMetricAlarm: no more than seven days where the period is an hour or longer.
    assert hours["MaxValue"] * alarm["Period"] == 604_800
    assert alarm["TreatMissingData"] == "breaching"


def test_alarms_tell_a_topic_where_there_is_one() -> None:
    for name in ("RunFailed", "FindingsRejected", "DestinationsRefused", "WatermarkOld"):
        assert resource(name)["AlarmActions"] == {"If": ["HasTopic", [{"Ref": "TopicArn"}], {"Ref": "AWS::NoValue"}]}


def test_member_template_trusts_one_role() -> None:
    loaded = template()
    trust = loaded["Resources"]["ImportRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert [each["Principal"] for each in trust] == [{"AWS": {"Ref": "ExecutionRoleArn"}}]
    pattern = re.compile(loaded["Parameters"]["ExecutionRoleArn"]["AllowedPattern"])
    assert pattern.match("arn:aws:iam::123456789012:role/service-role/AmazonMWAA-env")
    assert not pattern.match("*")


def test_trust_names_one_role() -> None:
    [statement] = statements(IAM / "member-role-trust.json")
    # The complete ARN: a role that MWAA's console has made has the path service-role/.
    assert (
        statement["Principal"]["AWS"]
        == statement["Condition"]["StringEquals"]["aws:PrincipalArn"]
        == "EXECUTION_ROLE_ARN"
    )
    assert "*" not in json.dumps(statement)
