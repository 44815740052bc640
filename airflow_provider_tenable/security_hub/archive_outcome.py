"""What became of the findings that were to be archived."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from airflow_provider_tenable.security_hub.archive_receipts import Settled

_EXAMPLES = 5

#: Codes of ``ArchiveOutcome.refused`` that are ours; all others are Security Hub's.
NOT_VISIBLE_YET = "NotVisibleYet"
ANOTHER_PRODUCT = "AnotherProduct"
TOO_LARGE = "FindingSizeExceeded"
UNREADABLE = "UnreadableFinding"


@dataclass
class ArchiveOutcome:
    """What became of the archivals, including those that earlier attempts have receipts for.

    :ivar archived: (finding id, ``UpdatedAt`` in unix milliseconds) of each finding that the hub shows as archived.
    :ivar because: id -> reason of those that have another reason than planned.
    :ivar gone: ids that the hub does not have any more.
    :ivar refused: how many could not be archived, by code; they are not tried again in this run.
    :ivar examples: code -> up to five (finding id, message).
    :ivar not_allowed: the missing permission (``securityhub:GetFindings`` or ``securityhub:BatchImportFindings``), or
        None. Then nothing further was tried, and another attempt fails in the same way until somebody grants it.
    :ivar explanation: AWS's message and advice where ``not_allowed`` is set.
    :ivar finished: every archival is in one of the lists. If not, and ``not_allowed`` is None, the time was up: run
        again.
    """

    archived: list[tuple[str, int]] = field(default_factory=list)
    because: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    not_allowed: str | None = None
    explanation: str | None = None
    finished: bool = False

    def add(self, settled: Settled) -> None:
        """Count an archival that is done."""
        if settled.updated_at is not None:
            self.archived.append((settled.id, settled.updated_at))
            if settled.because:
                self.because[settled.id] = settled.because
        elif settled.gone:
            self.gone.append(settled.id)
        else:
            code = settled.code or UNREADABLE
            self.refused[code] += 1
            examples = self.examples.setdefault(code, [])
            if len(examples) < _EXAMPLES:
                examples.append((settled.id, settled.message))
