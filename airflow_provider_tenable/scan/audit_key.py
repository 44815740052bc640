"""Gives Tenable a new access key of the audit's user.

The order keeps one valid key in Tenable whatever happens in between: the new key is created and checked, then it
replaces the old one in Tenable with one request, and only then the old one is touched. What the next attempt needs to
know is in the credential's description, which that request replaces as well. The secret exists in memory only.

=============================  =======================================================================================
killed after                   the next attempt finds
=============================  =======================================================================================
the new key was created        a key that the credential does not name, which was never used: it is deleted
it was checked with STS        a key that the credential does not name, which only STS has seen: it is deleted
the credential was replaced    that the credential names this run: it continues with the old key
the old key was handled        the same, and nothing is left to do
=============================  =======================================================================================
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from airflow_provider_tenable.aws import Caller
from airflow_provider_tenable.exceptions import AwsRefusedError, ConfigurationError, TemporaryError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.scan.audit_user import find_user
from airflow_provider_tenable.scan.aws_calls import Aws
from airflow_provider_tenable.tenable_vm.credentials import Credential

log = logging.getLogger(__name__)

AWS_TYPE = "Amazon AWS"
UNTIL_NEXT, DEACTIVATE, DELETE = "until_next", "deactivate", "delete"
KEEP_OLD = (UNTIL_NEXT, DEACTIVATE, DELETE)
#: A new key works after some seconds (IAM is eventually consistent): pauses between two checks, and their number.
CHECK_PAUSE, CHECKS = 3.0, 20
#: A key whose last use is one of STS, and so long after its creation at most, was only checked.
_CHECK_TIME = timedelta(minutes=15)
#: The most keys of a user (quotas of IAM).
_MOST_KEYS = 2
_DESCRIPTION = re.compile(
    r"AWS account (?P<account>\d{12}), user (?P<user>[\w+=,.@-]{1,64}), key \.\.\.(?P<key>\w{4}), since "
    r"(?P<since>[\dT:Z-]+)(?:, before \.\.\.(?P<before>\w{4}))?\. Managed by Airflow \[(?P<run>\w{12})\]",
    re.ASCII,
)


class AuditAws(Aws, Protocol):
    """Calls of AWS, and of STS with the new key."""

    def whose_key(self, access_key_id: str, secret: str) -> Caller | None:
        """The owner of a key; None while AWS does not know it yet."""


class Credentials(Protocol):
    """What is needed of :class:`~airflow_provider_tenable.tenable_vm.credentials.CredentialsApi`."""

    def find(self, name: str) -> Credential | None: ...
    def put(
        self, *, name: str, type: str, settings: dict[str, str], secrets: tuple[str, ...], description: str = ""
    ) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """What is asked for.

    :ivar credential: name of the managed credential.
    :ivar account: the expected account; None for that of the connection.
    :ivar max_age_days: a younger key is kept; 0 for a new key in each run.
    :ivar keep_old: what becomes of the key that was replaced.
    :ivar run: 12 hex digits that are the same for all attempts of one task in one run.
    :ivar adopt: also replace a credential that was not made here.
    """

    user: str
    credential: str
    account: str | None
    max_age_days: float
    keep_old: str
    run: str
    adopt: bool = False


@dataclass(frozen=True)
class Rotated:
    """What there is now.

    :ivar key_suffix: the last four characters of the key that Tenable has.
    :ivar rotated: whether this run has given Tenable a new key.
    :ivar old_key: ``active``, ``inactive``, ``deleted`` or ``none``.
    """

    credential_uuid: str
    key_suffix: str
    rotated: bool
    old_key: str


@dataclass(frozen=True)
class Key:
    """An access key, without its secret."""

    id: str
    is_active: bool
    created: datetime | None

    @property
    def suffix(self) -> str:
        """What messages and descriptions show of it."""
        return self.id[-4:]


@dataclass(frozen=True)
class _Named:
    """What a credential's description says."""

    account: str
    key: str
    before: str | None
    run: str


def rotate(
    aws: AuditAws,
    credentials: Credentials,
    wanted: Rotation,
    *,
    hide: Callable[[str], None],
    pause: Callable[[float], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Rotated:
    """Give Tenable a new key, or finish what an earlier attempt has begun.

    :param hide: masks the secret in all logs before anything else is done with it.
    :param pause: waits for so many seconds.
    :raises ConfigurationError: a person must decide; nothing was changed.
    :raises TemporaryError: a retry continues.
    """
    account = _checked_account(aws, wanted)
    if find_user(aws, wanted.user) is None:
        raise AwsRefusedError(
            f"There is no user {wanted.user} in account {account}. Create it with TenableAuditUserOperator, or with "
            "the CloudFormation template."
        )
    keys = _keys(aws, wanted.user)
    credential = credentials.find(wanted.credential)
    named = _named(credential, wanted, account)
    current = _find(keys, named.key) if named else None
    before = _find(keys, named.before) if named and named.before else None
    if credential and named and current and named.run == wanted.run:
        log.info("An earlier attempt has given Tenable key ...%s of user %s.", current.suffix, wanted.user)
        return _finished(aws, credential.uuid, current, before, wanted)
    if credential and current and _is_young(current, wanted, now()):
        log.info("Key ...%s of user %s is young enough, and is kept.", current.suffix, wanted.user)
        return Rotated(credential.uuid, current.suffix, False, _state(before))
    # Where the key that Tenable has was removed, the one before it is still known to be ours.
    old = current or before
    keys = _make_room(aws, wanted.user, keys, named)
    old = old if old in keys else None
    new, secret = _create(aws, wanted.user, keys, hide)
    _check(aws, new, secret, account, wanted.user, pause)
    uuid = credentials.put(
        name=wanted.credential,
        type=AWS_TYPE,
        settings={"access_key_id": new.id, "secret_key": secret},
        secrets=("access_key_id", "secret_key"),
        description=_description(account, wanted, new, old, now()),
    )
    _confirm(aws, credentials, wanted, new)
    log.info("Tenable's credential %s has key ...%s of user %s now.", wanted.credential, new.suffix, wanted.user)
    return _finished(aws, uuid, new, old, wanted)


def _checked_account(aws: AuditAws, wanted: Rotation) -> str:
    account = aws.identify().account
    if wanted.account and wanted.account != account:
        raise ConfigurationError(
            f"The AWS connection leads to account {account}, expected {wanted.account}. Correct the connection, its "
            "role, or `account`."
        )
    return account


def _keys(aws: Aws, user: str) -> list[Key]:
    answer = aws.call("iam", "list_access_keys", what=f"list the keys of user {user}", UserName=user)
    return [
        Key(str(each["AccessKeyId"]), each.get("Status") == "Active", each.get("CreateDate"))
        for each in (answer or {}).get("AccessKeyMetadata", [])
    ]


def _named(credential: Credential | None, wanted: Rotation, account: str) -> _Named | None:
    """What the credential's description says.

    :raises ConfigurationError: the credential is somebody else's, or another account's.
    """
    if credential is None:
        return None
    found = _DESCRIPTION.search(credential.description)
    if found is None:
        if wanted.adopt:
            return None
        raise ConfigurationError(
            f"The managed credential {safe(credential.name, 100)!r} was not written by this package, so it is not "
            "replaced. Choose another name for the credential, or set adopt=True to let this task manage it."
        )
    if found["account"] != account or found["user"] != wanted.user:
        raise ConfigurationError(
            f"The managed credential {safe(credential.name, 100)!r} has a key of user {found['user']} in account "
            f"{found['account']}, not of user {wanted.user} in account {account}. Choose another name for the "
            "credential."
        )
    return _Named(account, found["key"], found["before"], found["run"])


def account_in(description: str) -> str | None:
    """The account whose key a credential has, if its description was written here."""
    found = _DESCRIPTION.search(description)
    return found["account"] if found else None


def _find(keys: list[Key], suffix: str) -> Key | None:
    return next((key for key in keys if key.suffix == suffix), None)


def _is_young(key: Key, wanted: Rotation, now: datetime) -> bool:
    if not key.is_active or key.created is None:
        return False
    return now - key.created < timedelta(days=wanted.max_age_days)


def _make_room(aws: Aws, user: str, keys: list[Key], named: _Named | None) -> list[Key]:
    """Delete a key that nobody uses, if the user has as many as IAM allows."""
    if len(keys) < _MOST_KEYS:
        return keys
    others = [key for key in keys if named is None or key.suffix != named.key]
    unused = (
        [key for key in others if named and key.suffix == named.before]
        or [key for key in others if not key.is_active]
        or [key for key in others if not _was_used(aws, key)]
    )
    if not unused:
        suffixes = ", ".join(f"...{key.suffix}" for key in keys)
        raise AwsRefusedError(
            f"User {user} has two active keys in use ({suffixes}), and IAM allows no third. Remove the one that "
            "Tenable does not need; nothing was changed."
        )
    _delete(aws, user, unused[0])
    return [key for key in keys if key is not unused[0]]


def _was_used(aws: Aws, key: Key) -> bool:
    """Whether something has used a key, apart from the check of an attempt that was killed."""
    answer = aws.call(
        "iam", "get_access_key_last_used", what=f"look when key ...{key.suffix} was used", AccessKeyId=key.id
    )
    used = (answer or {}).get("AccessKeyLastUsed") or {}
    last = used.get("LastUsedDate")
    if last is None:
        return False
    is_check = used.get("ServiceName") == "sts" and key.created is not None and last - key.created < _CHECK_TIME
    return not is_check


def _create(aws: Aws, user: str, keys: list[Key], hide: Callable[[str], None]) -> tuple[Key, str]:
    """A new key and its secret. Its suffix tells it from those that there are."""
    while True:
        answer = aws.call(
            "iam",
            "create_access_key",
            what=f"create a key of user {user}",
            # An earlier request was carried out, and its response was lost.
            tolerate=("LimitExceeded",),
            UserName=user,
        )
        if answer is None:
            raise TemporaryError(f"User {user} has two keys already: another attempt has just created one. Retry.")
        made = answer["AccessKey"]
        secret = str(made["SecretAccessKey"])
        hide(secret)
        key = Key(str(made["AccessKeyId"]), True, made.get("CreateDate"))
        if _find(keys, key.suffix) is None:
            return key, secret
        _delete(aws, user, key)


def _check(aws: AuditAws, key: Key, secret: str, account: str, user: str, pause: Callable[[float], None]) -> None:
    for _ in range(CHECKS):
        owner = aws.whose_key(key.id, secret)
        if owner is not None:
            break
        pause(CHECK_PAUSE)
    else:
        raise TemporaryError(
            f"Key ...{key.suffix} of user {user} was not usable for {CHECKS * CHECK_PAUSE:.0f} s after it was created. "
            "IAM is slow at times: retry. Tenable still has the key that it had before."
        )
    if owner.account != account:
        _delete(aws, user, key)
        raise ConfigurationError(
            f"The new key belongs to account {owner.account}, expected {account}. It was deleted. Is the connection's "
            "endpoint_url that of another AWS?"
        )


def _description(account: str, wanted: Rotation, new: Key, old: Key | None, now: datetime) -> str:
    before = f", before ...{old.suffix}" if old else ""
    return (
        f"AWS account {account}, user {wanted.user}, key ...{new.suffix}, since "
        f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}{before}. Managed by Airflow [{wanted.run}]"
    )


def _confirm(aws: Aws, credentials: Credentials, wanted: Rotation, new: Key) -> None:
    """Make sure that Tenable has the new key and that the key exists, before the old one is touched."""
    credential = credentials.find(wanted.credential)
    named = _DESCRIPTION.search(credential.description) if credential else None
    if named is None or named["run"] != wanted.run or named["key"] != new.suffix:
        raise TemporaryError(
            f"Tenable has accepted a new key for the credential {safe(wanted.credential, 100)!r}, and shows another "
            "one: another run may be changing it. The old key is still active. Retry."
        )
    key = _find(_keys(aws, wanted.user), new.suffix)
    if key is None or not key.is_active:
        raise TemporaryError(
            f"Key ...{new.suffix} of user {wanted.user} was removed while Tenable was given it: another run may be "
            "changing it. The old key is still active. Retry, which creates another one."
        )


def _finished(aws: Aws, uuid: str, new: Key, old: Key | None, wanted: Rotation) -> Rotated:
    """Treat the old key as wanted."""
    if old is not None and wanted.keep_old == DELETE:
        _delete(aws, wanted.user, old)
        return Rotated(uuid, new.suffix, True, "deleted")
    if old is not None and wanted.keep_old == DEACTIVATE and old.is_active:
        aws.call(
            "iam",
            "update_access_key",
            what=f"deactivate key ...{old.suffix} of user {wanted.user}",
            # It is gone already.
            tolerate=("NoSuchEntity",),
            UserName=wanted.user,
            AccessKeyId=old.id,
            Status="Inactive",
        )
        return Rotated(uuid, new.suffix, True, "inactive")
    return Rotated(uuid, new.suffix, True, _state(old))


def _state(key: Key | None) -> str:
    return "none" if key is None else "active" if key.is_active else "inactive"


def _delete(aws: Aws, user: str, key: Key) -> None:
    aws.call(
        "iam",
        "delete_access_key",
        what=f"delete key ...{key.suffix} of user {user}",
        tolerate=("NoSuchEntity",),
        UserName=user,
        AccessKeyId=key.id,
    )
    log.info("Key ...%s of user %s was deleted.", key.suffix, user)


def as_xcom(rotated: Rotated, caller: Caller, wanted: Rotation) -> dict[str, Any]:
    """The result of the task: everything but keys."""
    return {
        "account": caller.account,
        "partition": caller.partition or "aws",
        "user": wanted.user,
        "credential": wanted.credential,
        "credential_uuid": rotated.credential_uuid,
        "key_suffix": rotated.key_suffix,
        "rotated": rotated.rotated,
        "old_key": rotated.old_key,
    }
