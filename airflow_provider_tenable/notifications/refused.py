"""Notifies people about accounts and Regions that permanently refused a run's findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_tenable._compat import BaseNotifier
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.layout import RunFolder

#: Maximum number of accounts and Regions that are listed individually, and of characters per reason.
_MOST_NAMED, _LONGEST_REASON = 20, 400


class RefusedDestinationsNotifier(BaseNotifier):
    """Reports which accounts and Regions permanently refused a run's findings, how many findings, and why.

    For ``on_success_callback`` and ``on_failure_callback`` of the task ``settle``, which fails if more refuse than
    ``max_refused_destinations`` allows. If none refuses, or the run has not been settled yet, there is no notification.

    :param send: called with a subject (one line, at most 100 characters) and a text. Default: a warning in the task's
        log.
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    """

    template_fields: Sequence[str] = ("staging_path",)

    def __init__(self, *, send: Callable[[str, str], Any] | None = None, staging_path: str | None = None) -> None:
        super().__init__()
        self.send = send
        self.staging_path = staging_path

    def notify(self, context: Any) -> None:
        """Read the run's ledger, and send the notification."""
        summary = refused_summary(RunFolder.of(context, self.staging_path))
        if summary is None:
            return
        if self.send is None:
            self.log.warning("%s\n%s", *summary)
        else:
            self.send(*summary)


def refused_summary(run: RunFolder) -> tuple[str, str] | None:
    """Subject and text about the accounts and Regions that refused a settled run; None if none did.

    They contain accounts, Regions, counts and AWS's messages.
    """
    from airflow_provider_tenable.staging.files import read_json

    refused = (read_json(run.ledger) or {}).get("refused")
    if not refused:
        return None
    by_records = sorted(refused.items(), key=lambda item: (-item[1]["records"], item[0]))
    lines = [f"Run {safe(run.run_id)} of {run.dag_id}: {len(refused):,} accounts and Regions refuse their findings."]
    lines += [
        f"  {place}: {entry['records']:,} findings{' (it accepted findings before)' if entry['reached'] else ''}: "
        f"{safe(entry['why'], _LONGEST_REASON)}"
        for place, entry in by_records[:_MOST_NAMED]
    ]
    if more := by_records[_MOST_NAMED:]:
        lines.append(f"  and {len(more):,} more, which {safe(run.ledger)} lists")
    lines.append(
        "Once they accept findings again, the next run delivers the missing ones, or a later one within 16 days if "
        "only an import can show it. No other action is needed."
    )
    return f"{len(refused):,} accounts and Regions refuse findings in {run.dag_id}"[:100], "\n".join(lines)


__all__ = ["RefusedDestinationsNotifier", "refused_summary"]
