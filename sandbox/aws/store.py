"""The findings that the sandbox holds, per account and Region."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from sandbox.aws import lifecycle
from sandbox.aws.asff.timestamps import instant
from sandbox.aws.products import ProductArn

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(slots=True)
class Stored:
    """One finding: the whole document as JSON, and what is asked of it often.

    `updated` is its UpdatedAt in nanoseconds since 1970, `created` when it first came, on the monotonic clock.
    """

    account: str
    region: str
    id: str
    product_arn: str
    document: bytes
    updated: int
    severity: str
    record_state: str
    changed_by_customer: frozenset[str] = frozenset()
    created: float = field(default_factory=time.monotonic)

    def finding(self) -> lifecycle.Finding:
        """The document, decoded anew: free to be changed."""
        finding: lifecycle.Finding = _decode(self.document)
        return finding


@dataclass(slots=True)
class Shelf:
    """The findings of one account and Region, in the order in which they came, by (Id, ProductArn) and by Id."""

    rows: list[Stored] = field(default_factory=list)
    by_key: dict[tuple[str, str], Stored] = field(default_factory=dict)
    by_id: dict[str, list[Stored]] = field(default_factory=dict)


class FindingStore:
    """All findings."""

    def __init__(self) -> None:
        self._shelves: dict[tuple[str, str], Shelf] = {}

    def clear(self) -> None:
        self._shelves.clear()

    def shelf(self, account: str, region: str) -> Shelf:
        return self._shelves.setdefault((account, region), Shelf())

    def __iter__(self) -> Iterator[Stored]:
        for _, shelf in sorted(self._shelves.items()):
            yield from shelf.rows

    def find(self, account: str, region: str, finding_id: str, product_arn: str) -> Stored | None:
        return self.shelf(account, region).by_key.get((finding_id, product_arn))

    def put(self, account: str, region: str, sent: lifecycle.Finding, product: ProductArn) -> str:
        """Import an acceptable finding; says whether it was `created`, `updated`, or `ignored` as not newer."""
        shelf = self.shelf(account, region)
        key = (sent["Id"], sent["ProductArn"])
        sent_at = instant(sent["UpdatedAt"]) or 0
        stored = shelf.by_key.get(key)
        if stored is None:
            finding = lifecycle.created(sent, product, region, now())
            stored = Stored(account, region, *key, b"", sent_at, "", "")
            shelf.rows.append(stored)
            shelf.by_key[key] = stored
            shelf.by_id.setdefault(key[0], []).append(stored)
            _replace(stored, finding)
            return "created"
        if sent_at <= stored.updated:
            return "ignored"
        changed = stored.changed_by_customer
        finding = lifecycle.updated(stored.finding(), sent, product, region, now(), changed_by_customer=changed)
        stored.updated = sent_at
        _replace(stored, finding)
        return "updated"

    def work_on(self, stored: Stored, changes: dict[str, Any]) -> None:
        """Change a finding as its customer does."""
        finding, changed = lifecycle.worked_on(stored.finding(), changes, now())
        stored.changed_by_customer |= changed
        _replace(stored, finding)


def now() -> str:
    """The present in the form of Security Hub's own timestamps."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _replace(stored: Stored, finding: lifecycle.Finding) -> None:
    stored.document = _encode(finding)
    # Without validation (an option) a finding may lack even these.
    severity = finding.get("Severity")
    stored.severity = severity.get("Label", "") if isinstance(severity, dict) else ""
    stored.record_state = str(finding.get("RecordState"))
