"""The IAM user with whose keys Tenable audits an AWS account, and its group. What is missing is created, what differs
is reported, and nothing is removed.

.. seealso:: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_tenable.exceptions import AwsRefusedError, ConfigurationError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.identifiers import shown
from airflow_provider_tenable.scan.aws_calls import Aws
from airflow_provider_tenable.scan.prerequisites import policy_arn

#: The tag of a user whose keys belong to Tenable alone. Without it, keys might be removed that others use.
AUDIT_TAG = "tenable:audit-user"
READ_ONLY, SECURITY_AUDIT = "ReadOnlyAccess", "SecurityAudit"
_NAME = r"[\w+=,.@-]"
_GROUP = re.compile(rf"{_NAME}{{1,128}}", re.ASCII)
_USER = re.compile(rf"{_NAME}{{1,64}}", re.ASCII)
_PATH = re.compile(r"/(?:[!-.0-~]+/)*", re.ASCII)
_POLICY = re.compile(rf"arn:aws[a-z-]*:iam::(?:aws|\d{{12}}):policy/[!-~]{{1,512}}|{_NAME}{{1,128}}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class WantedUser:
    """The user and its group.

    :ivar policies: names or ARNs of managed policies of the group.
    :ivar path: of both.
    :ivar tags: further tags of the user; groups cannot be tagged.
    :ivar permissions_boundary: ARN of the policy that bounds the user's permissions.
    """

    group: str
    user: str
    policies: Sequence[str] = (READ_ONLY,)
    path: str = "/"
    tags: Mapping[str, str] = field(default_factory=dict)
    permissions_boundary: str | None = None

    def check(self) -> None:
        """:raises ConfigurationError: IAM does not allow a name."""
        for name, value, pattern in (
            ("group", self.group, _GROUP),
            ("user", self.user, _USER),
            ("path", self.path, _PATH),
            *(("policy", policy, _POLICY) for policy in self.policies),
            *([("permissions_boundary", self.permissions_boundary, _POLICY)] if self.permissions_boundary else []),
        ):
            if not isinstance(value, str) or not pattern.fullmatch(value):
                raise ConfigurationError(f"{name} is {shown(value)}, which IAM does not allow.")


@dataclass
class MadeUser:
    """What there is now.

    :ivar created: what this call has made, in words.
    :ivar drift: what differs from what was asked for, in words.
    """

    created: list[str] = field(default_factory=list)
    drift: list[str] = field(default_factory=list)


def ensure_user(aws: Aws, wanted: WantedUser) -> MadeUser:
    """Create what is missing of the group and the user.

    :raises AwsRefusedError: a user of this name is not marked as Tenable's, or others would get its permissions.
    """
    wanted.check()
    made = MadeUser()
    partition = aws.identify().partition or "aws"
    # First of all: of a user that is somebody else's, nothing is changed.
    user = find_user(aws, wanted.user)
    _group(aws, wanted, made, partition)
    if user is None:
        _create_user(aws, wanted, made, partition)
    groups = _groups_of(aws, wanted.user)
    if wanted.group not in groups:
        aws.call(
            "iam",
            "add_user_to_group",
            what=f"add user {wanted.user} to group {wanted.group}",
            GroupName=wanted.group,
            UserName=wanted.user,
        )
    if user is not None:
        made.drift += _drift_of_user(aws, wanted, user, partition)
    made.drift += [f"user {wanted.user} is also in group {name}" for name in sorted(groups - {wanted.group})]
    return made


def find_user(aws: Aws, name: str) -> dict[str, Any] | None:
    """A user that is marked as Tenable's; None if there is none of this name.

    :raises AwsRefusedError: the user does not carry the mark.
    """
    answer = aws.call("iam", "get_user", what=f"look at user {name}", tolerate=("NoSuchEntity",), UserName=name)
    if answer is None:
        return None
    user: dict[str, Any] = answer["User"]
    if not any(tag.get("Key") == AUDIT_TAG and tag.get("Value") == "true" for tag in user.get("Tags") or ()):
        raise AwsRefusedError(
            f"There is a user {name} in account {aws.identify().account}, and it does not carry tag {AUDIT_TAG}=true, "
            "so it may belong to somebody else. Nothing was changed. If only Tenable uses its keys, give it that tag; "
            "otherwise choose another name for the user."
        )
    return user


def _group(aws: Aws, wanted: WantedUser, made: MadeUser, partition: str) -> None:
    name = wanted.group
    found = aws.call("iam", "get_group", what=f"look at group {name}", tolerate=("NoSuchEntity",), GroupName=name)
    if found is None:
        aws.call(
            "iam",
            "create_group",
            what=f"create group {name}",
            # Another try did it at the same time.
            tolerate=("EntityAlreadyExists",),
            GroupName=name,
            Path=wanted.path,
        )
        made.created.append(f"group {name}")
    there = {
        str(each["PolicyArn"])
        for each in _listed(aws, "list_attached_group_policies", "AttachedPolicies", GroupName=name)
    }
    asked = {policy_arn(policy, partition) for policy in wanted.policies}
    missing = sorted(asked - there)
    others = sorted(
        safe(member.get("UserName"), 64)
        for member in (found or {}).get("Users", [])
        if member.get("UserName") != wanted.user
    )
    if missing and others:
        raise AwsRefusedError(
            f"Group {name} lacks {', '.join(missing)}, and has other members ({safe(', '.join(others), 200)}), who "
            "would get the permission too. Attach the policy yourself, or choose another group."
        )
    for policy in missing:
        aws.call(
            "iam",
            "attach_group_policy",
            what=f"attach policy {policy} to group {name}",
            GroupName=name,
            PolicyArn=policy,
        )
    more = [*sorted(there - asked), *_listed(aws, "list_group_policies", "PolicyNames", GroupName=name)]
    made.drift += [f"group {name} also has policy {safe(policy, 200)}" for policy in more]
    made.drift += [f"group {name} has another member, {other}" for other in others]


def _create_user(aws: Aws, wanted: WantedUser, made: MadeUser, partition: str) -> None:
    tags = {**wanted.tags, AUDIT_TAG: "true", "managed-by": "airflow-provider-tenable"}
    boundary = (
        {"PermissionsBoundary": policy_arn(wanted.permissions_boundary, partition)}
        if wanted.permissions_boundary
        else {}
    )
    aws.call(
        "iam",
        "create_user",
        what=f"create user {wanted.user}",
        # Another try did it at the same time.
        tolerate=("EntityAlreadyExists",),
        UserName=wanted.user,
        Path=wanted.path,
        Tags=[{"Key": str(key), "Value": str(value)} for key, value in tags.items()],
        **boundary,
    )
    made.created.append(f"user {wanted.user}")


def _drift_of_user(aws: Aws, wanted: WantedUser, user: Mapping[str, Any], partition: str) -> list[str]:
    name, drift = wanted.user, []
    attached = _listed(aws, "list_attached_user_policies", "AttachedPolicies", UserName=name)
    policies = [str(each["PolicyArn"]) for each in attached]
    policies += _listed(aws, "list_user_policies", "PolicyNames", UserName=name)
    drift += [f"user {name} has policy {safe(policy, 200)} of its own" for policy in policies]
    boundary = (user.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
    asked = policy_arn(wanted.permissions_boundary, partition) if wanted.permissions_boundary else None
    if boundary != asked:
        drift.append(f"user {name} has permissions boundary {safe(boundary or 'none', 200)}, not {asked or 'none'}")
    profile = aws.call(
        "iam",
        "get_login_profile",
        what=f"look whether user {name} has a password",
        tolerate=("NoSuchEntity",),
        UserName=name,
    )
    if profile is not None:
        drift.append(f"user {name} has a password for the console, which Tenable does not need")
    return drift


def _groups_of(aws: Aws, user: str) -> set[str]:
    # A dry run has not created the user.
    return {str(group["GroupName"]) for group in _listed(aws, "list_groups_for_user", "Groups", UserName=user)}


def _listed(aws: Aws, operation: str, key: str, **arguments: Any) -> list[Any]:
    """A list of IAM: a user is in 10 groups at most, and an entity has 10 managed policies (quotas of IAM)."""
    what = operation.replace("_", " ")
    answer = aws.call("iam", operation, what=what, tolerate=("NoSuchEntity",), **arguments)
    return list((answer or {}).get(key, []))
