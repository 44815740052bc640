"""The checks of a ledger: its totals add up, and not too many findings were rejected."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from airflow_provider_tenable.exceptions import LedgerError, RejectedFindingsError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_ID, LONGEST_MESSAGE, safe
from airflow_provider_tenable.guards.identifiers import shown
from airflow_provider_tenable.run.ledger import DestinationCounts, Ledger, not_sent
from airflow_provider_tenable.run.manifests import destinations_of, shard_manifests
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.transform.manifest import GIVEN_UP

log = logging.getLogger(__name__)

#: Number of rejected findings that is tolerated whatever max_rejected_ratio is, unless that is 0.
TOLERATED = 10

#: Reasons for a broken or lost record, as opposed to one that was left out on purpose. They are counted and kept like
#: rejected findings.
BROKEN = frozenset({"unreadable_record", "unmappable_record", GIVEN_UP})

_ADVICE_ON_GIVEN_UP = (
    f" {GIVEN_UP} means that no export contained the asset for [tenable] parked_days: give the API user 'Can View' on "
    "these assets, and replay the records with tenable_replay_rejected once Tenable exports the assets."
)


def check_sums(ledger: Ledger) -> None:
    """:raises LedgerError: a total does not add up; the message contains both sides."""
    wrong = []
    total_in, total_out = (
        ledger["exported"] + ledger["unparked"],
        sum(ledger["skipped"].values()) + ledger["parked"] + ledger["findings"],
    )
    if total_in != total_out or ledger["read"] != total_in:
        wrong.append(
            f"exported {ledger['exported']} + unparked {ledger['unparked']} = {total_in}, of which {ledger['read']} "
            f"were read and {total_out} accounted for"
        )
    counted = {name: (each["findings"], *_accounted_for(each)) for name, each in ledger["destinations"].items()}
    for name, (findings, delivered, needless) in {
        "all": (ledger["findings"], *_accounted_for(ledger)),
        **counted,
    }.items():
        if delivered + needless != findings and not ledger["dry_run"]:
            rest = f" and {needless} that need no sending" if needless else ""
            wrong.append(f"{name}: {findings} findings, but {delivered} accepted or rejected{rest}")
    if sum(entry["findings"] for entry in ledger["destinations"].values()) != ledger["findings"]:
        wrong.append("the findings of the destinations are not those of the run")
    if wrong:
        raise LedgerError(
            f"The ledger does not add up: {'; '.join(wrong)}. The watermark stays. Clear the failed tasks, or the run."
        )


def _accounted_for(counts: DestinationCounts | Ledger) -> tuple[int, int]:
    """Findings that were accepted or rejected, and that need no sending."""
    return counts["accepted"] + sum(counts["rejected"].values()), not_sent(counts)


def check_rejected(ledger: Ledger, run: RunFolder, max_ratio: float, *, is_replay: bool = False) -> None:
    """Check the number of rejected findings.

    Up to :data:`TOLERATED` are accepted whatever their share, so that a finding that is always rejected does not stop a
    DAG with small runs; with a ratio of 0 none are. Records that were given up never fail an import: the next
    run would give them up again, and fail as well. They count in a replay, which was asked to send them.

    :raises RejectedFindingsError: too many were rejected; the message has the most frequent reasons, each with an
        example.
    """
    broken = {reason: count for reason, count in ledger["skipped"].items() if reason in BROKEN}
    reasons = Counter({**ledger["rejected"], **broken})
    of = ledger["findings"] + sum(broken.values())
    if not is_replay and (given_up := reasons.pop(GIVEN_UP, 0)):
        # Alarms look for "findings were rejected" here as well.
        log.warning(
            "%d of %d findings were rejected before they were sent: their assets are missing. They are in %s.%s",
            given_up,
            of,
            run.rejected,
            _ADVICE_ON_GIVEN_UP,
        )
    rejected = reasons.total()
    if not rejected:
        return
    # Divided, since 0.29 * 100 is less than 29.
    if rejected / of <= max_ratio or (max_ratio > 0 and rejected <= TOLERATED):
        # Alarms look for "findings were rejected" (deploy/cloudformation/alarms.yaml), as in the error below.
        counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(5))
        log.warning(
            "%d of %d findings were rejected, as max_rejected_ratio %g (or a count of up to %d) allows: %s. The "
            "report shows where they are.",
            rejected,
            of,
            max_ratio,
            TOLERATED,
            shown(counts),
        )
        return
    examples = {}
    for line in rejected_lines(run):
        if line["code"] not in examples:
            examples[line["code"]] = (
                f"{safe(line['id'] or 'no id', LONGEST_ID)}: {safe(line['message'], LONGEST_MESSAGE)}"
            )
    top = "; ".join(
        f"{count} x {safe(reason, LONGEST_CODE)} (such as {examples.get(reason, 'none on record')})"
        for reason, count in reasons.most_common(5)
    )
    raise RejectedFindingsError(
        f"{rejected} of {of} findings were rejected, more than max_rejected_ratio {max_ratio:g} allows: {top}. The "
        f"watermark stays. All of them are in {run.rejected}. Fix the cause and run again, or raise max_rejected_ratio "
        f"to leave them on record.{_ADVICE_ON_GIVEN_UP if GIVEN_UP in reasons else ''}"
    )


def rejected_lines(run: RunFolder) -> Iterator[dict[str, Any]]:
    """All rejections of the run: ``{"id", "account", "region", "code", "message", "finding"}``, first the records that
    could not be mapped.

    Rejections of an earlier attempt of a cleared run that do not occur in the current one do not count.

    :raises StagingError: a part is missing or damaged.
    """
    manifests = shard_manifests(run)
    for manifest in manifests:
        if manifest["rejected_part"]:
            yield from map(msgspec.json.decode, read_lines(run.rejected / manifest["rejected_part"]))
    for entry in destinations_of(manifests):
        for name in Receipts(run, entry["account"], entry["region"], entry["parts"]).rejected_names:
            for line in map(msgspec.json.decode, read_lines(run.rejected / name)):
                if line["part"] in entry["parts"]:
                    yield line


__all__ = ["BROKEN", "TOLERATED", "check_rejected", "check_sums", "rejected_lines"]
