"""Notifies people about the findings that Security Hub rejected in a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_tenable._compat import BaseNotifier
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_ID, safe, visible
from airflow_provider_tenable.staging.layout import RunFolder

#: Maximum number of accounts, and of reasons, that are listed individually.
_LONGEST_LIST = 10
_LONGEST_MESSAGE = 300
#: Messages that name the finding are all different, so at most this many are distinguished.
_MOST_REASONS = 1000


class RejectedFindingsNotifier(BaseNotifier):
    """Reports how many findings were rejected, in which accounts, with which codes, and the most frequent reasons.

    For ``on_success_callback`` and ``on_failure_callback`` of the task ``settle``, which fails if more findings were
    rejected than ``max_rejected_ratio`` allows. If nothing was rejected, or the run has not been settled yet, there is
    no notification.

    :param send: called with a subject (one line, at most 100 characters) and a text. Default: a warning in the task's
        log.
    :param threshold: notify only if more findings than this were rejected.
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    """

    template_fields: Sequence[str] = ("staging_path",)

    def __init__(
        self, *, send: Callable[[str, str], Any] | None = None, threshold: int = 0, staging_path: str | None = None
    ) -> None:
        super().__init__()
        self.send = send
        self.threshold = threshold
        self.staging_path = staging_path

    def notify(self, context: Any) -> None:
        """Read the run's ledger and rejected findings, and send the notification."""
        run = RunFolder.of(context, self.staging_path)
        summary = rejected_summary(run, self.threshold)
        if summary is None:
            return
        if self.send is None:
            self.log.warning("%s\n%s", *summary)
        else:
            self.send(*summary)


def rejected_summary(run: RunFolder, threshold: int = 0) -> tuple[str, str] | None:
    """Subject and text about the rejected findings of a settled run; None if there are at most ``threshold``.

    They contain accounts, Regions, counts, codes, Security Hub's messages and ids of findings, but no complete finding.
    """
    from airflow_provider_tenable.run.ledger_checks import BROKEN
    from airflow_provider_tenable.staging.files import read_json

    ledger = read_json(run.ledger)
    if ledger is None:
        return None
    rejected = sum(ledger["rejected"].values())
    broken = {reason: number for reason, number in ledger["skipped"].items() if reason in BROKEN}
    if rejected + sum(broken.values()) <= threshold:
        return None
    lines = [
        f"Run {safe(run.run_id)} of {run.dag_id}: {rejected:,} of {ledger['findings']:,} findings were rejected by "
        "Security Hub CSPM."
    ]
    places = {name: entry["rejected"] for name, entry in ledger["destinations"].items() if entry["rejected"]}
    worst = sorted(places.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    lines += [
        f"  {name}: {', '.join(f'{number:,} x {safe(code, LONGEST_CODE)}' for code, number in codes.items())}"
        for name, codes in worst[:_LONGEST_LIST]
    ]
    if len(worst) > _LONGEST_LIST:
        lines.append(f"  and {len(worst) - _LONGEST_LIST:,} more accounts and Regions")
    lines += [f"  {number:,} records did not become findings: {reason}" for reason, number in broken.items()]
    lines.append("Most frequent reasons:")
    lines += [
        f"  {number:,} x {code}: {message} (such as {example})" for (code, message), number, example in _reasons(run)
    ]
    lines.append(
        f"All of them are in {visible(str(run.rejected))}. Once the cause is fixed, tenable_replay_rejected can send "
        "them again."
    )
    subject = f"{rejected + sum(broken.values()):,} findings rejected by Security Hub CSPM in {run.dag_id}"
    return subject[:100], "\n".join(lines)


def _reasons(run: RunFolder) -> list[tuple[tuple[str, str], int, str]]:
    """The most frequent pairs of code and message, with their frequency and the id of one finding."""
    import msgspec

    from airflow_provider_tenable.staging.files import names
    from airflow_provider_tenable.staging.parts import read_lines

    class Line(msgspec.Struct):
        code: str
        message: str
        id: str | None = None

    decoder = msgspec.json.Decoder(Line)
    numbers: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for name in names(run.rejected):
        for raw in read_lines(run.rejected / name):
            line = decoder.decode(raw)
            # Older releases stored codes as received.
            code = safe(line.code, LONGEST_CODE)
            reason = (code, safe(line.message, _LONGEST_MESSAGE))
            if reason not in numbers and len(numbers) >= _MOST_REASONS:
                reason = (code, "further messages")
            numbers[reason] += 1
            examples.setdefault(reason, safe(line.id or "a record without id", LONGEST_ID))
    return [(reason, number, examples[reason]) for reason, number in numbers.most_common(_LONGEST_LIST)]
