"""The IAM policy for scanners allows what the code calls, and nothing else; an error code of each service means what
the table says.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from airflow_provider_tenable.exceptions import AwsRefusedError, ProfileNotReadyError, TemporaryError
from airflow_provider_tenable.scan.aws_errors import ADVICE, encoded_details, refusal

ROOT = Path(__file__).resolve().parents[3]
#: What AWS asks for beside the call itself: tags in a call that creates, and the role that an instance gets.
IMPLIED = {
    "ec2:CreateTags",
    "iam:PassRole",
    "iam:TagRole",
    "iam:TagInstanceProfile",
    "ssm:AddTagsToResource",
    "secretsmanager:TagResource",
    "sts:DecodeAuthorizationMessage",
}
#: Allowed to everybody.
FREE = {"sts:GetCallerIdentity"}


def called() -> set[str]:
    """The IAM actions of all calls in the code, such as `call("ec2", "run_instances", ...)`."""
    found = set()
    package = ROOT / "airflow_provider_tenable"
    faces = [path for folder in ("hooks", "operators") for path in (package / folder).glob("nessus_*.py")]
    modules = ("images", "instances", "key_store", "prerequisites", "removal")
    for path in [*(package / "scan" / f"{module}.py" for module in modules), *faces]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            words = [each.value for each in node.args if isinstance(each, ast.Constant)]
            if name == "_iam":
                words = ["iam", *words]
            elif name == "_is_there":
                words = ["iam", next(word for word in words if str(word).startswith("get_"))]
            elif name != "call" or len(words) < 2:
                continue
            found.add(f"{words[0]}:{''.join(part.capitalize() for part in str(words[1]).split('_'))}")
    return {action for action in found if action.split(":")[0] in ("ec2", "iam", "ssm", "secretsmanager", "sts")}


def test_policy_allows_what_is_called_and_no_more() -> None:
    policy = json.loads((ROOT / "deploy" / "iam" / "nessus-scanner.json").read_text())
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert len(called()) > 30
    assert allowed == (called() - FREE) | IMPLIED


def test_what_was_created_can_only_be_changed_with_its_tag() -> None:
    policy = json.loads((ROOT / "deploy" / "iam" / "nessus-scanner.json").read_text())
    by_sid = {statement["Sid"]: statement for statement in policy["Statement"]}
    assert by_sid["ChangeWhatWasCreated"]["Condition"] == {
        "StringEquals": {"aws:ResourceTag/managed-by": "airflow-provider-tenable"}
    }
    assert by_sid["GiveTheRoleToTheInstance"]["Condition"]["StringEquals"] == {
        "iam:PassedToService": "ec2.amazonaws.com"
    }
    assert all("nessus-*" in resource for resource in by_sid["RoleOfTheScanner"]["Resource"])


@pytest.mark.parametrize("code", ADVICE)
def test_each_code_of_the_table_needs_a_person(code: str) -> None:
    error = refusal(code, "words\nof AWS.", what="do it")
    assert type(error) is AwsRefusedError
    assert str(error) == f"Cannot do it: {code}: words of AWS. {ADVICE[code]}"


@pytest.mark.parametrize("code", ["Throttling", "RequestLimitExceeded", "InternalError", "Unavailable", "x" * 500, ""])
def test_other_codes_are_temporary(code: str) -> None:
    error = refusal(code, "later", what="do it")
    assert type(error) is TemporaryError
    assert len(str(error)) < 200


def test_codes_that_mean_several_things() -> None:
    assert type(refusal("InvalidParameterValue", "Invalid IAM Instance Profile name", what="x")) is ProfileNotReadyError
    assert "or it has not enabled the Region" in str(refusal("OptInRequired", "not subscribed", what="x"))
    assert encoded_details("no. Encoded authorization failure message: a-b_c=") == "a-b_c="
    assert encoded_details("no") is None
