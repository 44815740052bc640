"""Tell people of the findings that Security Hub refused in a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_tenable._compat import BaseNotifier
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_ID, safe, visible
from airflow_provider_tenable.staging.layout import RunFolder

#: So many accounts, and so many reasons, are told of singly.
_LONGEST_LIST = 10
_LONGEST_MESSAGE = 300
#: Messages that name the finding are all different: no more than so many are kept apart.
_MOST_REASONS = 1000


class RejectedFindingsNotifier(BaseNotifier):
    """Tells how many findings were rejected, in which accounts, with which codes, and for what reasons most.

    For ``on_success_callback`` and ``on_failure_callback`` of the task ``settle``: it fails where more were rejected
    than ``max_rejected_ratio`` allows. Where a run has rejected nothing, or is not as far yet, nothing is told.

    :param send: called with a subject (one line, at most 100 characters) and a text. Default: a warning in the task's
        log.
    :param threshold: tell only of more rejected findings than so many.
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
        """Look at the run's ledger and at what it has put aside, and tell."""
        run = RunFolder.of(context, self.staging_path)
        summary = rejected_summary(run, self.threshold)
        if summary is None:
            return
        if self.send is None:
            self.log.warning("%s\n%s", *summary)
        else:
            self.send(*summary)


def rejected_summary(run: RunFolder, threshold: int = 0) -> tuple[str, str] | None:
    """Subject and text about the rejected findings of a run that was settled; None where there are no more than
    ``threshold``.

    They hold accounts, Regions, counts, codes, Security Hub's messages and ids of findings; no finding itself.
    """
    from airflow_provider_tenable.run.ledger import BROKEN
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
        "Security Hub."
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
    return f"{rejected + sum(broken.values()):,} findings rejected by Security Hub in {run.dag_id}"[:100], "\n".join(
        lines
    )


def _reasons(run: RunFolder) -> list[tuple[tuple[str, str], int, str]]:
    """The most frequent pairs of code and message, how often each, and the id of one finding."""
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
            # Also what an older release has put aside, which kept codes as they came.
            code = safe(line.code, LONGEST_CODE)
            reason = (code, safe(line.message, _LONGEST_MESSAGE))
            if reason not in numbers and len(numbers) >= _MOST_REASONS:
                reason = (code, "further messages")
            numbers[reason] += 1
            examples.setdefault(reason, safe(line.id or "a record without id", LONGEST_ID))
    return [(reason, number, examples[reason]) for reason, number in numbers.most_common(_LONGEST_LIST)]
