"""Checks of the names of roles, connections, accounts and Regions.

Params, staged files and XComs are untrusted. They are checked when they are read, and again before a name becomes part
of an ARN, a path or a connection look-up.
"""

from __future__ import annotations

import re
from reprlib import Repr

from airflow_provider_tenable.aws import ACCOUNT, REGION
from airflow_provider_tenable.guards.foreign_text import safe

#: IAM's rules for ``RoleName`` and ``Path`` (API reference: CreateRole). A path is at most 512 characters with the
#: slashes at both ends, of which ours has one.
_ROLE = re.compile(r"(?P<path>(?:[!-.0-~]+/)*)[\w+=,.@-]{1,64}", re.ASCII)
_LONGEST_PATH = 511

#: Airflow's rule (``RE_SANITIZE_CONN_ID`` and ``CONN_ID_MAX_LEN`` in ``airflow.models.connection``), the same in 2.11
#: and 3.
_CONNECTION = re.compile(r"[\w#!()\-.:/\\]{1,250}")

#: STS's rule for ``ExternalId`` (API reference: AssumeRole).
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)

#: Names of staged parts: they become part of a path.
_PART = re.compile(r"\w[\w.-]{0,199}", re.ASCII)

_repr = Repr()
_repr.maxstring = _repr.maxother = 120


def is_role_name(value: object) -> bool:
    """Whether this can be a role's name, with its path in front: ``team/TenableSecurityHubImport``."""
    match = _ROLE.fullmatch(value) if isinstance(value, str) else None
    return match is not None and len(match["path"]) <= _LONGEST_PATH


def is_connection_id(value: object) -> bool:
    """Whether this can be the id of an Airflow connection."""
    return isinstance(value, str) and _CONNECTION.fullmatch(value) is not None


def is_external_id(value: object) -> bool:
    """Whether this can be the external id of a role's trust policy."""
    return isinstance(value, str) and _EXTERNAL_ID.fullmatch(value) is not None


def is_part_name(value: object) -> bool:
    """Whether this can be the name of a staged part."""
    return isinstance(value, str) and _PART.fullmatch(value) is not None


def is_pool_part(value: object) -> bool:
    """Whether this can be the name of a part of the pool of waiting records, which begins with a run's id: anything
    but a path.
    """
    return isinstance(value, str) and value.endswith((".jsonl.zst", ".jsonl.gz")) and "/" not in value


def is_place(value: object) -> bool:
    """Whether this is an account and a hub Region: ``111122223333/eu-west-1``."""
    account, _, region = value.partition("/") if isinstance(value, str) else ("", "", "")
    return bool(ACCOUNT.fullmatch(account) and REGION.fullmatch(region))


def invalid_target(
    *, account: object, region: object, aws_conn_id: object, role_name: object, external_id: object = None
) -> str | None:
    """The first invalid value, in words; None if all are valid. Connection, role and external id may be None."""
    if not isinstance(account, str) or not ACCOUNT.fullmatch(account):
        return f"{shown(account)} is not an AWS account id"
    if not isinstance(region, str) or not REGION.fullmatch(region):
        return f"{shown(region)} is not an AWS Region"
    if aws_conn_id is not None and not is_connection_id(aws_conn_id):
        return f"{shown(aws_conn_id)} is not a connection id"
    if role_name is not None and not is_role_name(role_name):
        return f"{shown(role_name)} is not the name of an IAM role"
    if external_id is not None and not is_external_id(external_id):
        return f"{shown(external_id)} is not an external id"
    return None


def shown(value: object) -> str:
    """A value from outside for a message: quoted, and shortened in the middle if it is long."""
    return safe(_repr.repr(value))
