"""Where the linking key waits for a machine: a SecureString of SSM, or a secret of Secrets Manager. The values pass
through here and are never logged, returned in results, or put into tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.redaction import remember
from airflow_provider_tenable.scan.aws_calls import Aws, belongs_to, tags_of
from airflow_provider_tenable.scan.secret_source import SecretSource


@dataclass(frozen=True)
class Stored:
    """What became of a secret that was to be stored.

    :ivar version: AWS's version of it: a number (SSM) or an id (Secrets Manager).
    :ivar changed: whether it was missing or had another value.
    """

    version: str
    changed: bool


def put(aws: Aws, source: SecretSource, value: str, *, name: str, tags: Mapping[str, str] | None = None) -> Stored:
    """Store a secret, unless it has that value already.

    :param name: the scanner that it is for; a tag.
    """
    remember(value)
    current = _read(aws, source)
    if current is not None and current[0] == value:
        return Stored(current[1], changed=False)
    if source.kind == "parameter":
        return Stored(_put_parameter(aws, source, value, is_new=current is None, name=name, tags=tags), changed=True)
    return Stored(_put_secret(aws, source, value, is_new=current is None, name=name, tags=tags), changed=True)


def read(aws: Aws, source: SecretSource) -> str | None:
    """A secret's value, masked from now on; None if there is none."""
    found = _read(aws, source)
    return found[0] if found else None


def remove(aws: Aws, source: SecretSource, *, name: str) -> bool:
    """Remove a secret of a scanner. :return: whether it is gone; False for one that others have made."""
    if not _is_ours(aws, source, name):
        return False
    if source.kind == "parameter":
        aws.call(
            "ssm",
            "delete_parameter",
            what=f"delete parameter {source.name}",
            tolerate=("ParameterNotFound",),
            Name=source.name,
        )
    else:
        aws.call(
            "secretsmanager",
            "delete_secret",
            what=f"delete secret {source.name}",
            tolerate=("ResourceNotFoundException",),
            SecretId=source.name,
            ForceDeleteWithoutRecovery=True,
        )
    return True


def _read(aws: Aws, source: SecretSource) -> tuple[str, str] | None:
    """Value and version."""
    if source.kind == "parameter":
        answer = aws.call(
            "ssm",
            "get_parameter",
            what=f"read parameter {source.name}",
            tolerate=("ParameterNotFound",),
            Name=source.name,
            WithDecryption=True,
        )
        found = (answer or {}).get("Parameter") or {}
        value, version = found.get("Value"), found.get("Version")
        if value is not None and found.get("Type") != "SecureString":
            raise ConfigurationError(
                f"Parameter {source.name} in {aws.region} is a {found.get('Type')}, not a SecureString: its value is "
                "shown to everybody who may read it. Delete it, and run the task again."
            )
    else:
        answer = aws.call(
            "secretsmanager",
            "get_secret_value",
            what=f"read secret {source.name}",
            tolerate=("ResourceNotFoundException",),
            SecretId=source.name,
        )
        value, version = (answer or {}).get("SecretString"), (answer or {}).get("VersionId")
    if value is None:
        return None
    remember(str(value))
    return str(value), str(version)


def _put_parameter(
    aws: Aws, source: SecretSource, value: str, *, is_new: bool, name: str, tags: Mapping[str, str] | None
) -> str:
    # Tags can be given to a new parameter only.
    more = {"Tags": tags_of(name, tags)} if is_new else {"Overwrite": True}
    answer = aws.call(
        "ssm",
        "put_parameter",
        what=f"write parameter {source.name}",
        Name=source.name,
        Type="SecureString",
        Value=value,
        Description=f"Linking key for the Nessus scanner {name}. Written by airflow-provider-tenable.",
        **more,
    )
    return str((answer or {}).get("Version"))


def _put_secret(
    aws: Aws, source: SecretSource, value: str, *, is_new: bool, name: str, tags: Mapping[str, str] | None
) -> str:
    what = f"write secret {source.name}"
    if is_new:
        answer = aws.call(
            "secretsmanager",
            "create_secret",
            what=what,
            tolerate=("ResourceExistsException",),
            Name=source.name,
            SecretString=value,
            Tags=tags_of(name, tags),
        )
        if answer is not None:
            return str(answer.get("VersionId"))
    answer = aws.call("secretsmanager", "put_secret_value", what=what, SecretId=source.name, SecretString=value)
    return str((answer or {}).get("VersionId"))


def _is_ours(aws: Aws, source: SecretSource, name: str) -> bool:
    if source.kind == "parameter":
        answer = aws.call(
            "ssm",
            "list_tags_for_resource",
            what=f"look at the tags of parameter {source.name}",
            tolerate=("InvalidResourceId",),
            ResourceType="Parameter",
            ResourceId=source.name,
        )
        return answer is None or belongs_to(name, answer.get("TagList"))
    answer = aws.call(
        "secretsmanager",
        "describe_secret",
        what=f"look at secret {source.name}",
        tolerate=("ResourceNotFoundException",),
        SecretId=source.name,
    )
    return answer is None or belongs_to(name, answer.get("Tags"))
