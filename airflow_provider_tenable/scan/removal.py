"""Removes what a scanner had in AWS, apart from its instance. Only what carries the scanner's tag is removed; the rest
is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.identifiers import shown
from airflow_provider_tenable.scan import key_store
from airflow_provider_tenable.scan.aws_calls import Aws, belongs_to
from airflow_provider_tenable.scan.prerequisites import base_name
from airflow_provider_tenable.scan.secret_source import SecretSource

#: What can be removed, in an order in which nothing is still in use.
KINDS = ("parameter", "security_group", "key_pair", "instance_profile")


def check_kinds(kinds: object) -> tuple[str, ...]:
    """The kinds to remove, in the order of :data:`KINDS`. :raises ConfigurationError: one is unknown."""
    given = list(kinds) if isinstance(kinds, (list, tuple)) else [kinds]
    if unknown := [kind for kind in given if kind not in KINDS]:
        raise ConfigurationError(f"cleanup names {shown(unknown[0])}; it can name {', '.join(KINDS)}.")
    return tuple(kind for kind in KINDS if kind in given)


def remove(aws: Aws, name: str, kinds: Sequence[str], *, secret: SecretSource) -> list[str]:
    """Remove what belongs to a scanner. :return: what is left, in words."""
    steps: dict[str, Callable[[], list[str]]] = {
        "parameter": lambda: [] if key_store.remove(aws, secret, name=name) else [str(secret)],
        "security_group": lambda: _security_groups(aws, name),
        "key_pair": lambda: _key_pairs(aws, name),
        "instance_profile": lambda: [*_profile(aws, name), *_role(aws, name)],
    }
    return [left for kind in check_kinds(kinds) for left in steps[kind]()]


def _security_groups(aws: Aws, name: str) -> list[str]:
    answer = aws.call(
        "ec2",
        "describe_security_groups",
        what="look for the scanner's security group",
        Filters=[{"Name": "group-name", "Values": [base_name(name)]}],
    )
    left = []
    for group in (answer or {}).get("SecurityGroups", []):
        words = f"security group {group['GroupId']}"
        if not belongs_to(name, group.get("Tags")):
            left.append(words)
            continue
        gone = aws.call(
            "ec2",
            "delete_security_group",
            what=f"delete {words}",
            # Another machine uses it, or a network interface is still being removed.
            tolerate=("DependencyViolation", "InvalidGroup.NotFound"),
            GroupId=group["GroupId"],
        )
        if gone is None:
            left.append(f"{words} (in use)")
    return left


def _key_pairs(aws: Aws, name: str) -> list[str]:
    answer = aws.call(
        "ec2",
        "describe_key_pairs",
        what="look for the scanner's key pair",
        Filters=[{"Name": "tag:tenable:scanner", "Values": [name]}],
    )
    for pair in (answer or {}).get("KeyPairs", []):
        if belongs_to(name, pair.get("Tags")):
            aws.call("ec2", "delete_key_pair", what=f"delete key pair {pair['KeyName']}", KeyName=pair["KeyName"])
    return []


def _iam(aws: Aws, operation: str, what: str, **arguments: Any) -> dict[str, Any] | None:
    return aws.call("iam", operation, what=what, tolerate=("NoSuchEntity",), **arguments)


def _profile(aws: Aws, name: str) -> list[str]:
    profile = base_name(name)
    answer = _iam(aws, "get_instance_profile", f"look at instance profile {profile}", InstanceProfileName=profile)
    found = (answer or {}).get("InstanceProfile")
    if found is None:
        return []
    if not belongs_to(name, found.get("Tags")):
        return [f"instance profile {profile}"]
    for role in found.get("Roles", []):
        _iam(
            aws,
            "remove_role_from_instance_profile",
            f"take role {role['RoleName']} out of instance profile {profile}",
            InstanceProfileName=profile,
            RoleName=role["RoleName"],
        )
    _iam(aws, "delete_instance_profile", f"delete instance profile {profile}", InstanceProfileName=profile)
    return []


def _role(aws: Aws, name: str) -> list[str]:
    role = base_name(name)
    answer = _iam(aws, "get_role", f"look at role {role}", RoleName=role)
    found = (answer or {}).get("Role")
    if found is None:
        return []
    if not belongs_to(name, found.get("Tags")):
        return [f"role {role}"]
    attached = _iam(aws, "list_attached_role_policies", f"list the policies of role {role}", RoleName=role)
    for policy in (attached or {}).get("AttachedPolicies", []):
        _iam(
            aws,
            "detach_role_policy",
            f"detach policy {policy['PolicyArn']} from role {role}",
            RoleName=role,
            PolicyArn=policy["PolicyArn"],
        )
    inline = _iam(aws, "list_role_policies", f"list the inline policies of role {role}", RoleName=role)
    for policy_name in (inline or {}).get("PolicyNames", []):
        _iam(aws, "delete_role_policy", f"delete policy {policy_name}", RoleName=role, PolicyName=policy_name)
    gone = aws.call(
        "iam", "delete_role", what=f"delete role {role}", tolerate=("NoSuchEntity", "DeleteConflict"), RoleName=role
    )
    still = gone is None and _iam(aws, "get_role", f"look at role {role}", RoleName=role) is not None
    return [f"role {role} (in use)"] if still else []
