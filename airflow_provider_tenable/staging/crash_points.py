"""The boundaries at which the fault suite kills a run: every point at which what a run has done differs from what it
has recorded.

In production nothing happens here. If the environment variable ``TENABLE_CRASH_AT`` names a boundary (``name``, or
``name:n`` for the n-th time), the process that reaches it is ended by SIGKILL, as if the machine was lost or out of
memory. The suite tests all of them.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from enum import StrEnum

VARIABLE = "TENABLE_CRASH_AT"


class CrashPoint(StrEnum):
    """The boundaries, in the order in which a run reaches them."""

    PLAN_WRITTEN = "plan_written"
    FILE_NOT_RENAMED = "file_not_renamed"
    EXPORT_REQUEST_NOTED = "export_request_noted"
    EXPORT_ASKED_FOR = "export_asked_for"
    EXPORT_ID_KEPT = "export_id_kept"
    CHUNK_STAGED = "chunk_staged"
    EXPORT_FORGOTTEN = "export_forgotten"
    EXPORT_COMPLETE = "export_complete"
    INDEX_PART_WRITTEN = "index_part_written"
    INDEX_PUBLISHED = "index_published"
    POOL_CLAIMED = "pool_claimed"
    SHARDS_PLANNED = "shards_planned"
    FINDINGS_PART_WRITTEN = "findings_part_written"
    SHARD_TRANSFORMED = "shard_transformed"
    SHARD_MANIFEST_WRITTEN = "shard_manifest_written"
    IMPORTS_PLANNED = "imports_planned"
    FINDINGS_COMPARED = "findings_compared"
    BEFORE_CALL = "before_call"
    CALL_ANSWERED = "call_answered"
    REJECTED_PART_WRITTEN = "rejected_part_written"
    RECEIPTS_WRITTEN = "receipts_written"
    REFUSAL_NOTED = "refusal_noted"
    ROWS_RECORDED = "rows_recorded"
    GONE_LISTED = "gone_listed"
    ARCHIVING_PLANNED = "archiving_planned"
    ARCHIVE_RECORDED = "archive_recorded"
    DELTAS_NOTED = "deltas_noted"
    LEDGER_WRITTEN = "ledger_written"
    OWED_NOTED = "owed_noted"
    POOL_PART_PUT = "pool_part_put"
    POOL_PART_REMOVED = "pool_part_removed"
    INDEX_REGISTERED = "index_registered"
    BEFORE_WATERMARK = "before_watermark"
    WATERMARK_WRITTEN = "watermark_written"
    RUN_COMPLETE = "run_complete"
    INDEX_PART_REMOVED = "index_part_removed"


_times: Counter[str] = Counter()


def reached(point: StrEnum) -> None:
    """Mark a boundary that the run has reached: one of :class:`CrashPoint`, or of another room's own."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    name, _, number = wanted.partition(":")
    if name == point.value:
        _times[name] += 1
        if _times[name] == int(number or 1):
            os.kill(os.getpid(), signal.SIGKILL)
