"""How long Security Hub keeps findings.

An ACTIVE finding is deleted 90 days after its last update, an ARCHIVED one after 30 (user guide, Security Hub CSPM:
creating and updating findings). Certainty of what counts as the last update:

* documented until 2025: the most recent UpdatedAt, which only BatchImportFindings moves. This is the default;
* reported of the page of 2026: for other findings than those of controls, UpdatedAt and ProcessedAt both count; taken
  to mean the later one. An option.
* not documented: when after that the finding disappears, and what becomes of a finding that is older on arrival. Here
  findings disappear whenever the clock is moved, so that tests which do not move it are not affected.
"""

from sandbox.aws.asff.timestamps import instant
from sandbox.aws.store import FindingStore, Stored
from sandbox.clock import DAY

ACTIVE_DAYS, ARCHIVED_DAYS = 90, 30


def expire(findings: FindingStore, now: float, *, by_processed_at: bool = False) -> int:
    """Delete what has been kept long enough; returns how many findings that were.

    :param now: unix seconds of Security Hub's clock
    :param by_processed_at: whether the time of processing counts too, where it is later than UpdatedAt
    """

    def is_expired(row: Stored) -> bool:
        updated = row.updated
        if by_processed_at:
            updated = max(updated, instant(str(row.finding().get("ProcessedAt"))) or 0)
        days = ARCHIVED_DAYS if row.record_state == "ARCHIVED" else ACTIVE_DAYS
        return updated / 1e9 + days * DAY <= now

    return findings.remove(is_expired)
