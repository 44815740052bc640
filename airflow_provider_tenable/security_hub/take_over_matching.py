"""Matches the findings of the old tools in a hub with ours, and decides what becomes of each. Pure: it makes no calls.

Nothing is guessed. A finding of an old tool is archived only once all that the customer decided about it is on every
one of ours that stands for the same vulnerability, or once Tenable is known not to have it any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import Struct

from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.security_hub.archived_document import milliseconds_of
from airflow_provider_tenable.security_hub.customer_decisions import (
    UnreadableDecisionError,
    content_of,
    decisions_of,
)
from airflow_provider_tenable.security_hub.old_tool_ids import Vulnerability, is_about, of_old_id, of_our_id
from airflow_provider_tenable.security_hub.reader import Finding

#: What becomes of a finding of an old tool. The first two are the reasons of its archiving, too.
TAKEN_OVER, NOT_IN_TENABLE = "taken_over", "not_in_tenable"
CONFLICT, UNMATCHED = "conflict", "unmatched"

#: Whether Tenable is known not to have a vulnerability any more; with the severities of the old findings.
IsGone = Callable[[Vulnerability, frozenset[str]], bool]


class Seen(Struct, frozen=True):
    """A finding in the hub.

    :ivar updated_at: unix milliseconds.
    :ivar decided: field -> what the customer set it to; None where that cannot be read.
    :ivar severity: the label that its tool gave it; empty where that cannot be read.
    """

    id: str
    product_arn: str
    updated_at: int
    is_archived: bool
    decided: dict[str, Any]
    severity: str = ""


class Match(Struct, frozen=True):
    """What becomes of the findings of the old tools of a vulnerability.

    :ivar outcome: one of the constants above.
    :ivar updates: finding of ours -> fields that are to be set.
    :ivar fields: those in which decisions differ.
    """

    vulnerability: Vulnerability
    outcome: str
    old: list[Seen]
    updates: list[tuple[Seen, dict[str, Any]]] = []
    fields: list[str] = []


class Estate:
    """The findings of the old tools, and ours, in the hub of an account and Region.

    :param old_arns: products of the old tools. ``our_arns``: ours.
    :param ids_like_tvm2aws: whether our findings have the ids of ``tvm2aws``: then its findings are ours already.
    :param reason_field: key of ``ProductFields`` that says why a finding was archived.
    :ivar unreadable: ids of findings of the old tools that are left alone -> why.
    :ivar others: findings that are neither.
    :ivar done: findings that an earlier run has taken over.
    :ivar last_written: the latest ``UpdatedAt`` of an old tool's active findings, unix milliseconds.
    """

    def __init__(
        self,
        account: str,
        region: str,
        *,
        old_arns: Iterable[str],
        our_arns: Iterable[str],
        ids_like_tvm2aws: bool,
        reason_field: str,
    ) -> None:
        self._account, self._region = account, region
        self._old_arns, self._our_arns = frozenset(old_arns), frozenset(our_arns)
        self._same_ids = ids_like_tvm2aws
        self._reason_field = reason_field
        # By product and id: a page that shifts while it is read returns findings twice.
        self._old: dict[Vulnerability, dict[tuple[str, str], Seen]] = defaultdict(dict)
        self._ours: dict[Vulnerability, dict[tuple[str, str], Seen]] = defaultdict(dict)
        self.unreadable: dict[str, str] = {}
        self.others = self.done = self.last_written = 0

    def add(self, finding: Finding) -> None:
        """Add a finding. :raises TemporaryError: it is not one that was asked for."""
        arn, finding_id = finding.get("ProductArn"), finding.get("Id")
        for name, wanted in (("AwsAccountId", self._account), ("Region", self._region)):
            if finding.get(name) != wanted:
                raise _unasked(name)
        if not isinstance(arn, str) or arn not in self._old_arns | self._our_arns:
            raise _unasked("ProductArn")
        if not isinstance(finding_id, str):
            raise _unasked("Id")
        old = self._old_vulnerability(arn, finding_id)
        ours = None if old else self._our_vulnerability(arn, finding_id)
        if old is None and ours is None:
            self.others += 1
        elif ours is not None:
            self._add_ours(ours, finding, finding_id, arn)
        elif old is not None:
            self._add_old(old, finding, finding_id, arn)

    def _old_vulnerability(self, arn: str, finding_id: str) -> Vulnerability | None:
        if arn not in self._old_arns and self._same_ids:
            return None
        return of_old_id(finding_id)

    def _our_vulnerability(self, arn: str, finding_id: str) -> Vulnerability | None:
        if arn not in self._our_arns:
            return None
        return of_old_id(finding_id) if self._same_ids else of_our_id(finding_id, self._account)

    def _add_ours(self, key: Vulnerability, finding: Finding, finding_id: str, arn: str) -> None:
        try:
            self._ours[key][arn, finding_id] = _seen(finding, finding_id, arn)
        except UnreadableDecisionError as error:
            # What is not known to be undecided is not overwritten.
            self._ours[key][arn, finding_id] = Seen(finding_id, arn, 0, False, {str(error): None})

    def _add_old(self, key: Vulnerability, finding: Finding, finding_id: str, arn: str) -> None:
        product_fields = finding.get("ProductFields") or {}
        reason = product_fields.get(self._reason_field) if isinstance(product_fields, dict) else None
        if reason in (TAKEN_OVER, NOT_IN_TENABLE) and finding.get("RecordState") == "ARCHIVED":
            self.done += 1
            return
        if not is_about(finding, key.instance):
            self.unreadable[finding_id] = "Resources"
            return
        try:
            seen = _seen(finding, finding_id, arn)
        except UnreadableDecisionError as error:
            self.unreadable[finding_id] = str(error)
            return
        if not seen.is_archived:
            self.last_written = max(self.last_written, seen.updated_at)
        self._old[key][arn, finding_id] = seen

    def unmatched(self) -> Iterator[Vulnerability]:
        """What findings of the old tools stand for that none of ours stands for."""
        return (key for key in self._old if not self._ours.get(key))

    def matches(self, is_gone: IsGone) -> Iterator[Match]:
        """What becomes of the findings of the old tools, in the order of their ids."""
        for key in sorted(self._old):
            old, ours = list(self._old[key].values()), list(self._ours.get(key, {}).values())
            if ours:
                yield _matched(key, old, ours)
            elif is_gone(key, frozenset(each.severity for each in old)):
                yield Match(key, NOT_IN_TENABLE, old)
            else:
                yield Match(key, UNMATCHED, old)


def _matched(key: Vulnerability, old: list[Seen], ours: list[Seen]) -> Match:
    wanted: dict[str, Any] = {}
    differ: set[str] = set()
    for name, value in ((name, value) for each in old for name, value in each.decided.items()):
        if name in wanted and content_of(wanted[name]) != content_of(value):
            differ.add(name)
        wanted[name] = value
    updates = []
    for each in ours:
        differ.update(
            name
            for name, value in each.decided.items()
            if (wanted and value is None) or (name in wanted and content_of(wanted[name]) != content_of(value))
        )
        updates.append((each, {name: value for name, value in wanted.items() if name not in each.decided}))
    # The note explains the status: neither is carried without the other, nor put beside one that says otherwise.
    if differ:
        return Match(key, CONFLICT, old, fields=sorted(differ))
    return Match(key, TAKEN_OVER, old, [(each, fields) for each, fields in updates if fields])


def _seen(finding: Finding, finding_id: str, arn: str) -> Seen:
    updated_at = milliseconds_of(finding.get("UpdatedAt"))
    if updated_at is None:
        raise UnreadableDecisionError("UpdatedAt")
    state = finding.get("RecordState", "ACTIVE")
    if state not in ("ACTIVE", "ARCHIVED"):
        raise UnreadableDecisionError("RecordState")
    return Seen(finding_id, arn, updated_at, state == "ARCHIVED", decisions_of(finding), _severity_of(finding))


def _severity_of(finding: Finding) -> str:
    provider = finding.get("FindingProviderFields")
    for fields in (provider, finding):
        severity = fields.get("Severity") if isinstance(fields, dict) else None
        label = severity.get("Label") if isinstance(severity, dict) else None
        if isinstance(label, str) and label:
            return label
    return ""


def _unasked(what: str) -> TemporaryError:
    return TemporaryError(
        f"GetFindings returned a finding with another {what} than it was asked for: does something else answer in "
        "place of AWS?"
    )


__all__ = ["CONFLICT", "NOT_IN_TENABLE", "TAKEN_OVER", "UNMATCHED", "Estate", "IsGone", "Match", "Seen"]
