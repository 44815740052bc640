"""Tells each owner of resources what is new, overdue and archived since the last run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseNotifier
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.layout import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable.run.owner_digest import Digests, Example, OwnerDigest

#: Digests of a run at most, unless a notifier says otherwise; and owners that a text names who have none.
MOST_OWNERS, _MOST_NAMED = 50, 20
_LONGEST_OWNER, _LONGEST_RESOURCE = 40, 120
_WORDS = {"new": "New", "overdue": "Overdue", "archived": "Fixed or gone"}


class OwnerDigestNotifier(BaseNotifier):
    """Sends a digest to each owner of findings, by the rule ``[tenable] owners``.

    For ``on_success_callback`` of the task ``advance_watermark``: a run that is not complete, a dry run and a replay
    have no digests. An owner of whom nothing is new, overdue or archived has none.

    :param send: called with the owner, a subject (one line, at most 100 characters) and a text, once per owner. The
        owner is empty for findings without an owner, and for those of owners beyond ``most_owners``. Default: a line in
        the task's log. Whoever tags resources chooses the owners: look them up, do not use them as addresses.
    :param most_owners: digests of a run at most, for the owners with the most overdue findings.
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    """

    template_fields: Sequence[str] = ("staging_path",)

    def __init__(
        self,
        *,
        send: Callable[[str, str, str], Any] | None = None,
        most_owners: int = MOST_OWNERS,
        staging_path: str | None = None,
    ) -> None:
        super().__init__()
        self.send = send
        self.most_owners = most_owners
        self.staging_path = staging_path

    def notify(self, context: Any) -> None:
        """Read the run's files and the finding index, and send the digests.

        :raises ConfigurationError: ``[tenable] owners`` is empty or invalid.
        """
        run, failed = RunFolder.of(context, self.staging_path), None
        for owner, subject, text in digest_messages(run, now=time.time(), most_owners=self.most_owners):
            if self.send is None:
                self.log.info("%s\n%s", subject, text)
                continue
            try:
                self.send(owner, subject, text)
            except Exception as error:  # noqa: BLE001 - one owner's address must not cost the others their digests.
                self.log.warning("The digest for %s was not sent: %s", safe(owner or "nobody"), safe(error))
                failed = error
        if failed is not None:
            raise failed


def digest_messages(run: RunFolder, *, now: float, most_owners: int = MOST_OWNERS) -> list[tuple[str, str, str]]:
    """Owner, subject and text of each digest of a run; none of a run that is not complete, a dry run or a replay.

    :param now: unix seconds.
    :raises ConfigurationError: ``[tenable] owners`` is empty or invalid.
    """
    from airflow_provider_tenable.run.owner_digest import owner_digests
    from airflow_provider_tenable.run.owner_rule import owner_rule

    rule = owner_rule()
    if rule is None:
        raise ConfigurationError(
            "OwnerDigestNotifier needs to know where owners come from, and the option [tenable] owners is empty. Set "
            "AIRFLOW__TENABLE__OWNERS on all workers."
        )
    found = owner_digests(run, rule, now=now, most_owners=most_owners)
    return [] if found is None else [_message(run, found, digest) for digest in found.digests]


def _message(run: RunFolder, found: Digests, digest: OwnerDigest) -> tuple[str, str, str]:
    from airflow_provider_tenable.run.owner_digest import ARCHIVED, KINDS, NEW, OVERDUE

    name = safe(digest.owner, _LONGEST_OWNER) or "No owner"
    counts = (
        f"{digest.count(kind):,} {word}"
        for kind, word in ((NEW, "new"), (OVERDUE, "overdue"), (ARCHIVED, "fixed or gone"))
    )
    subject = f"{name}: {', '.join(counts)} in {safe(run.dag_id)}"[:100]
    lines = [f"Findings of {safe(digest.owner)}" if digest.owner else "Findings without an owner"]
    lines[0] += f", run {safe(run.run_id)} of {safe(run.dag_id)}"
    for kind in KINDS:
        lines += _lines(kind, digest)
    if not digest.owner and found.further:
        named = ", ".join(safe(owner, _LONGEST_OWNER) for owner in found.further[:_MOST_NAMED])
        more = f" and {len(found.further) - _MOST_NAMED:,} more" if len(found.further) > _MOST_NAMED else ""
        lines.append(f"With those of {len(found.further):,} owners beyond most_owners: {named}{more}.")
    lines += [f"Not complete: {place}: {why}." for place, why in sorted(found.unknown.items())[:_MOST_NAMED]]
    return digest.owner, subject, "\n".join(lines)


def _lines(kind: str, digest: OwnerDigest) -> list[str]:
    from airflow_provider_tenable.tenable_vm.severities import SEVERITIES

    counts = digest.counts[kind]
    by_severity = ", ".join(f"{counts[name]:,} {name}" for name in reversed(SEVERITIES) if counts[name])
    lines = [f"{_WORDS[kind]}: {digest.count(kind):,}{f' ({by_severity})' if by_severity else ''}"]
    lines += map(_line, digest.examples[kind])
    if more := digest.count(kind) - len(digest.examples[kind]):
        lines.append(f"  and {more:,} more")
    return lines


def _line(example: Example) -> str:
    days = f"{example.days:,} days" if example.days != 1 else "1 day"
    return (
        f"  {example.severity}: plugin {example.plugin} on {safe(example.resource, _LONGEST_RESOURCE)} in "
        f"{example.account}, first observed {days} ago"
    )


__all__ = ["MOST_OWNERS", "OwnerDigestNotifier", "digest_messages"]
