"""The findings that the sandbox holds, per account and Region."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sandbox.aws import lifecycle
from sandbox.aws.asff.timestamps import instant
from sandbox.aws.products import ProductArn
from sandbox.clock import SandboxClock, iso

_encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


@dataclass(slots=True)
class Stored:
    """One finding: the complete document as JSON, and the fields that are needed often.

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
    before: list[tuple[float, bytes]] = field(default_factory=list)
    """Earlier documents, each with the moment (`time.monotonic`) of its replacement; only where reading lags."""

    def as_seen(self, visible_until: float) -> bytes | None:
        """The document as a reader sees it that sees nothing later than this moment; None if it is not there yet."""
        if self.created > visible_until:
            return None
        return next((document for replaced_at, document in self.before if replaced_at > visible_until), self.document)

    def finding(self) -> lifecycle.Finding:
        """A newly decoded copy of the document, which may be changed."""
        finding: lifecycle.Finding = decode(self.document)
        return finding


@dataclass(slots=True)
class Shelf:
    """The findings of one account and Region, in the order in which they came, by (Id, ProductArn) and by Id."""

    rows: list[Stored] = field(default_factory=list)
    by_key: dict[tuple[str, str], Stored] = field(default_factory=dict)
    by_id: dict[str, list[Stored]] = field(default_factory=dict)


class FindingStore:
    """All findings.

    :param clock: Security Hub's own time
    :ivar lags: whether replaced documents are kept, for readers that do not see their replacement yet
    """

    def __init__(self, clock: SandboxClock | None = None) -> None:
        self._clock = clock or SandboxClock()
        self._shelves: dict[tuple[str, str], Shelf] = {}
        self.lags = False

    def clear(self) -> None:
        self._shelves.clear()

    def shelf(self, account: str, region: str) -> Shelf:
        return self._shelves.setdefault((account, region), Shelf())

    def shelves(self) -> list[Shelf]:
        """Those of all accounts and Regions, in their order."""
        return [shelf for _, shelf in sorted(self._shelves.items())]

    def __iter__(self) -> Iterator[Stored]:
        for shelf in self.shelves():
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
            finding = lifecycle.created(sent, product, region, now(self._clock))
            stored = Stored(account, region, *key, b"", sent_at, "", "")
            shelf.rows.append(stored)
            shelf.by_key[key] = stored
            shelf.by_id.setdefault(key[0], []).append(stored)
            _replace(stored, finding)
            return "created"
        if sent_at <= stored.updated:
            return "ignored"
        changed = stored.changed_by_customer
        finding = lifecycle.updated(
            stored.finding(), sent, product, region, now(self._clock), changed_by_customer=changed
        )
        stored.updated = sent_at
        self._keep(stored)
        _replace(stored, finding)
        return "updated"

    def work_on(self, stored: Stored, changes: dict[str, Any]) -> None:
        """Change a finding as its customer does."""
        finding, changed = lifecycle.worked_on(stored.finding(), changes, now(self._clock))
        stored.changed_by_customer |= changed
        self._keep(stored)
        _replace(stored, finding)

    def _keep(self, stored: Stored) -> None:
        """Keep a document that is about to be replaced, if readers may still see it."""
        if self.lags:
            stored.before.append((time.monotonic(), stored.document))

    def remove(self, is_removed: Callable[[Stored], bool]) -> int:
        """Delete findings for good; a later import of the same id creates a new one. Returns how many."""
        removed = 0
        for shelf in self._shelves.values():
            gone = [row for row in shelf.rows if is_removed(row)]
            if not gone:
                continue
            removed += len(gone)
            ids = {id(row) for row in gone}
            shelf.rows = [row for row in shelf.rows if id(row) not in ids]
            shelf.by_key = {(row.id, row.product_arn): row for row in shelf.rows}
            shelf.by_id = {}
            for row in shelf.rows:
                shelf.by_id.setdefault(row.id, []).append(row)
        return removed


def now(clock: SandboxClock | None = None) -> str:
    """The present in the form of Security Hub's own timestamps."""
    return iso(clock.now() if clock else time.time())


def _replace(stored: Stored, finding: lifecycle.Finding) -> None:
    stored.document = _encode(finding)
    # Without validation (an option) a finding may lack even these.
    severity = finding.get("Severity")
    stored.severity = severity.get("Label", "") if isinstance(severity, dict) else ""
    stored.record_state = str(finding.get("RecordState"))
