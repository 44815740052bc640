"""The statuses of a scan's run, by what a task does about them.

Source: https://developer.tenable.com/docs/scan-status-tio. A status that is not in these sets counts as active until
the deadline, and is logged.
"""

from __future__ import annotations

COMPLETED = "completed"
#: No run, or none of ours: the scan can be launched. ``imported`` results were uploaded.
IDLE = frozenset({"empty", "imported"})
#: Waits for a scanner; Tenable aborts it after 4 hours.
PENDING = frozenset({"initializing", "pending"})
#: A person, or the end of a time window, has paused it; Tenable aborts it after 14 days.
PAUSED = frozenset({"pausing", "paused"})
#: Results and exports exist only once ``publishing`` (shown as "processing") is over.
WORKING = frozenset({"running", "resuming", "stopping", "publishing", "processing"})
#: Ends that are not a success: a person has stopped it (``canceled``, formerly ``stopped``), or Tenable (``aborted``).
FAILED = frozenset({"canceled", "stopped", "aborted", "imported"})
ENDED = FAILED | {COMPLETED}
KNOWN = IDLE | PENDING | PAUSED | WORKING | ENDED
#: Our own words: Tenable does not list the run (yet), and does not know it any more.
MISSING, LOST = "missing", "lost"


def is_active(status: str) -> bool:
    """Whether a scan whose newest run has this status is occupied. An unknown status counts as active."""
    return status not in ENDED and status not in IDLE
