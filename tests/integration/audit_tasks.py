"""The tasks of an audit's preparation, run without a scheduler, and what AWS and Tenable have then."""

from __future__ import annotations

import itertools
from typing import Any
from urllib.request import Request, urlopen

import pytest

from airflow_provider_tenable.hooks.nessus_ec2 import NessusEc2Hook
from airflow_provider_tenable.operators.aws_audit import TenableAuditUserOperator, TenableRotateAuditKeyOperator
from tests.aws_services import AwsServices
from tests.sandbox_driver import Sandbox

AWS = {"aws_conn_id": "audit_aws"}
#: The account of moto's connection.
ACCOUNT = "123456789012"
#: Key id -> secret, of what the tasks have created.
ISSUED: dict[str, str] = {}
_numbers = itertools.count(1)


def new_user() -> str:
    """A user's name that no other test has."""
    return f"Auditor{next(_numbers)}"


def audit_user(user: str, **arguments: Any) -> TenableAuditUserOperator:
    return TenableAuditUserOperator(**{"task_id": "audit_user", "user": user, "group": f"{user}s", **AWS, **arguments})


def rotate(user: str, **arguments: Any) -> TenableRotateAuditKeyOperator:
    return TenableRotateAuditKeyOperator(
        **{"task_id": "rotate_key", "user": user, "credential": f"audit {user}", **AWS, **arguments}
    )


def watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Note the secrets of all keys that the tasks create: AWS shows each of them once."""
    real = NessusEc2Hook.call

    def call(hook: Any, service: str, operation: str, **arguments: Any) -> Any:
        answer = real(hook, service, operation, **arguments)
        if operation == "create_access_key" and answer:
            ISSUED[answer["AccessKey"]["AccessKeyId"]] = answer["AccessKey"]["SecretAccessKey"]
        return answer

    monkeypatch.setattr(NessusEc2Hook, "call", call)


def keys_of(aws: AwsServices, user: str) -> dict[str, str]:
    """Key id -> status."""
    with aws.client("iam") as iam:
        found = iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
    return {key["AccessKeyId"]: key["Status"] for key in found}


def held(sandbox: Sandbox, name: str) -> dict[str, Any] | None:
    """The managed credential as Tenable really has it, with its secrets."""
    found: list[dict[str, Any]] = [item for item in sandbox.tenable("credentials") if item["name"] == name]
    assert len(found) < 2
    return found[0] if found else None


def works(aws: AwsServices, sandbox: Sandbox, user: str) -> bool:
    """Whether Tenable has an active key of the user, with its secret."""
    credential = held(sandbox, f"audit {user}")
    if credential is None:
        return False
    key, secret = credential["settings"]["access_key_id"], credential["settings"]["secret_key"]
    return keys_of(aws, user).get(key) == "Active" and ISSUED[key] == secret


def use(aws: AwsServices, key_id: str) -> None:
    """Use a key for something else than the check of a rotation. moto does not look at the secret."""
    with urlopen(
        Request(
            aws.url,
            data=b"Action=GetUser&Version=2010-05-08",
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Authorization": f"AWS4-HMAC-SHA256 Credential={key_id}/20261127/us-east-1/iam/aws4_request, "
                "SignedHeaders=host, Signature=0",
            },
        )
    ) as answer:
        assert b"GetUserResponse" in answer.read()
