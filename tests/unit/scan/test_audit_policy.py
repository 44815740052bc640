"""What the audit's IAM policy allows is what is called; the CloudFormation template makes what the operator makes."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import Any

from airflow_provider_tenable.operators.aws_audit import DEFAULT_GROUP, DEFAULT_USER
from airflow_provider_tenable.scan.audit_user import AUDIT_TAG, READ_ONLY, SECURITY_AUDIT, WantedUser
from tests.unit.test_deploy import template

ROOT = Path(__file__).resolve().parents[3]
POLICY = json.loads((ROOT / "deploy" / "iam" / "tenable-audit.json").read_text())
#: What AWS asks for beside the call itself: tags in the call that creates the user.
IMPLIED = {"iam:TagUser"}


def called() -> set[str]:
    """The IAM actions of all calls, such as `call("iam", "get_user", ...)` and `_listed(aws, "list_user_policies")`."""
    found = set()
    for module in ("audit_user", "audit_key"):
        source = (ROOT / "airflow_provider_tenable" / "scan" / f"{module}.py").read_text()
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            words = [each.value for each in node.args if isinstance(each, ast.Constant)]
            operation = words[1:2] if name == "call" else words[:1] if name == "_listed" else []
            found |= {"".join(part.capitalize() for part in str(each).split("_")) for each in operation}
    return {f"iam:{name}" for name in found}


def test_policy_allows_what_is_called_and_no_more() -> None:
    allowed = {action for statement in POLICY["Statement"] for action in statement["Action"]}
    assert len(called()) > 14
    assert allowed == called() | IMPLIED


def test_policy_is_for_the_names_that_the_operators_have_and_two_policies() -> None:
    resources = {statement["Resource"] for statement in POLICY["Statement"]}
    assert resources == {
        f"arn:aws:iam::ACCOUNT_ID:group/{DEFAULT_GROUP}",
        f"arn:aws:iam::ACCOUNT_ID:user/{DEFAULT_USER}",
    }
    [attach] = [each for each in POLICY["Statement"] if each["Action"] == ["iam:AttachGroupPolicy"]]
    assert attach["Condition"]["ArnEquals"]["iam:PolicyARN"] == [
        f"arn:aws:iam::aws:policy/{name}" for name in (READ_ONLY, SECURITY_AUDIT)
    ]


def test_template_makes_what_the_operator_makes() -> None:
    loaded: dict[str, Any] = template(ROOT / "deploy" / "cloudformation" / "tenable-audit-user.yaml")
    group, user = (loaded["Resources"][name]["Properties"] for name in ("AuditGroup", "AuditUser"))
    assert loaded["Parameters"]["GroupName"]["Default"] == DEFAULT_GROUP
    assert loaded["Parameters"]["UserName"]["Default"] == DEFAULT_USER
    always, optional = group["ManagedPolicyArns"]
    assert always == {"Sub": f"arn:${{AWS::Partition}}:iam::aws:policy/{READ_ONLY}"}
    assert optional["If"][:2] == [
        "HasSecurityAudit",
        {"Sub": f"arn:${{AWS::Partition}}:iam::aws:policy/{SECURITY_AUDIT}"},
    ]
    assert inspect.signature(WantedUser).parameters["policies"].default == (READ_ONLY,)
    assert user["Groups"] == [{"Ref": "AuditGroup"}]
    assert user["Tags"] == [{"Key": AUDIT_TAG, "Value": "true"}]
    # A key in a stack would be shown by CloudFormation.
    assert "AccessKey" not in json.dumps(loaded["Resources"])
