"""The checks of Tenable's AWS connectors, from which an asset has its account."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from airflow_provider_tenable.exceptions import TenablePermissionError
from airflow_provider_tenable.requirements.lines import FAILED, OK, UNCHECKED, Line, line_of
from airflow_provider_tenable.tenable_vm.connectors import Connector
from airflow_provider_tenable.tenable_vm.times import utc

_KEYS = "Put a new access key into the connector."
_ROLE = "Give the connector's role or user the permissions of Tenable's AWS guide"
#: Tenable's error codes (documentation of connectors) -> what they mean, what to do.
ERRORS = {
    "AWS_INSUFFICIENT_PERMISSIONS_ERROR": ("its credentials lack permissions in AWS", f"{_ROLE}."),
    "AWS_INVALID_CREDENTIALS_ERROR": ("AWS does not accept its credentials", _KEYS),
    "AWS_INVALID_KEYS": ("its access key or secret key is wrong", _KEYS),
    "AWS_INVALID_REGION_ERROR": ("it names a Region that AWS does not know or the account has not enabled", ""),
    "AWS_INVALID_TRUST": (
        "the trust policy of its role does not let Tenable assume it",
        "Let the trust policy name Tenable's account 012615275169, with the container's UUID as the external id.",
    ),
    "AWS_MISSING_CT_PERM": ("it may not read CloudTrail", f"{_ROLE} for CloudTrail (Describe, Get, List, Lookup)."),
    "AWS_MISSING_EC2_PERM": ("it may not list EC2 instances", f"{_ROLE}, which include ec2:DescribeInstances."),
    "AWS_SUBACCOUNT_ERROR": ("one of its further accounts cannot be read", "Check the role in each of its accounts."),
    "AWS_UNAVAILABLE_ERROR": ("AWS did not answer", "Nothing, unless it stays so."),
    "AWS_UNKNOWN_ERROR": ("Tenable does not know why", "Start an import; if that fails too, ask Tenable's support."),
}
_GOOD = frozenset({"completed", "scheduled", "saved"})
_MOST_NAMED = 10


def check_connectors(
    connectors: Sequence[Connector] | Exception,
    *,
    accounts: Collection[str],
    seen: Collection[str],
    now: float,
    max_sync_age_hours: float,
) -> Iterator[Line]:
    """The lines of ``connector.*``.

    :param connectors: the AWS connectors, or the error of asking for them.
    :param accounts: the accounts that get findings.
    :param seen: those of which the asset index has assets.
    :param now: unix seconds, by Tenable's clock.
    """
    if isinstance(connectors, Exception):
        advice = ""
        if isinstance(connectors, TenablePermissionError):
            advice = "Look at the connectors as an administrator, or give the API user that role for this check."
        for check in ("connector.status", "connector.sync"):
            detail = line_of(check, "", connectors).detail
            yield Line(check, "", UNCHECKED, detail, advice)
        yield _accounts((), accounts, seen, known=False)
        return
    for connector in connectors:
        yield _status(connector)
        yield _sync(connector, now, max_sync_age_hours)
    if not connectors:
        if seen:
            detail = f"Tenable has no AWS connector, but knows the assets of {len(seen)} AWS accounts, from agents."
            yield Line("connector.status", "", OK, detail)
        else:
            yield Line("connector.status", "", FAILED, "Tenable has no AWS connector.", "Create one in Tenable.")
        yield Line("connector.sync", "", UNCHECKED, "There is no AWS connector.", "See connector.status.")
    yield _accounts(connectors, accounts, seen, known=True)


def _status(connector: Connector) -> Line:
    code, check, name = connector.error_code, "connector.status", connector.name
    said = ": ".join(filter(None, (connector.status or "no status", connector.message)))
    if code is not None:
        meaning, advice = ERRORS.get(code, ("a code that is not documented", ""))
        return Line(check, name, FAILED, f"{code}: {meaning}.", advice)
    if connector.expired:
        return Line(check, name, FAILED, f"Its credentials have expired ({said}).", _KEYS)
    if connector.status.lower() in _GOOD:
        return Line(check, name, OK, f"{said}.")
    if any(word in connector.status.lower() for word in ("error", "fail")):
        return Line(check, name, FAILED, f"{said}.")
    return Line(check, name, UNCHECKED, f"Tenable gives a status that is not documented: {said}.")


def _sync(connector: Connector, now: float, hours: float) -> Line:
    check, name = "connector.sync", connector.name
    if connector.last_sync is None:
        return Line(check, name, FAILED, "It has never imported anything.")
    allowed = max(hours * 3_600, 2 * (connector.interval or 0))
    age = now - connector.last_sync
    detail = f"Last successful import {utc(int(connector.last_sync))}, {max(age, 0) / 3_600:.1f} hours ago."
    return Line(check, name, OK if age <= allowed else FAILED, detail)


def _accounts(
    connectors: Sequence[Connector], accounts: Collection[str], seen: Collection[str], *, known: bool
) -> Line:
    named = set[str]().union(*(connector.accounts for connector in connectors))
    missing = sorted(set(accounts) - named - set(seen))
    check, total = "connector.accounts", len(set(accounts))
    if not accounts:
        return Line(
            check, "", UNCHECKED, "No account is known yet: there is no asset index, and no destination names one."
        )
    if not missing:
        return Line(
            check, "", OK, f"Tenable knows all {total} accounts, {len(set(accounts) & set(seen))} by their assets."
        )
    some = ", ".join(missing[:_MOST_NAMED]) + (
        f" and {len(missing) - _MOST_NAMED} more" if missing[_MOST_NAMED:] else ""
    )
    if not known:
        return Line(
            check, "", UNCHECKED, f"The asset index has no assets of {some}, and the connectors were not checked."
        )
    if not all(connector.names_all_accounts for connector in connectors):
        return Line(
            check, "", UNCHECKED, f"No connector names {some}; but one has a key, or finds accounts by itself, unnamed."
        )
    return Line(check, "", FAILED, f"No connector covers {some}, and the asset index has no assets there.")
