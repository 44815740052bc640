"""The lines of the table: one for each check, and for each account and Region where there are several."""

from __future__ import annotations

import logging
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_tenable.exceptions import ConfigurationError, StagingError, TenableProviderError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.requirements.catalogue import CHECKS

log = logging.getLogger(__name__)

OK, FAILED, UNCHECKED = "ok", "failed", "unchecked"
_LONGEST_DETAIL, _LONGEST_SUBJECT = 600, 100


@dataclass(frozen=True)
class Line:
    """A line of the table.

    :ivar check: a name of :data:`~airflow_provider_tenable.requirements.catalogue.CHECKS`.
    :ivar subject: whose line it is: a connection, a connector, ``account/region``; empty if there is only one.
    :ivar state: ``ok``, ``failed`` or ``unchecked``.
    :ivar detail: what was found; one bounded line without control characters.
    :ivar advice: what to do, where it differs from the check's own remedy.
    """

    check: str
    subject: str
    state: str
    detail: str
    advice: str = ""

    @property
    def remedy(self) -> str:
        """What to do; empty if the line is ok."""
        return "" if self.state == OK else self.advice or CHECKS[self.check].remedy

    def as_json(self, required: Collection[str]) -> dict[str, Any]:
        """The line as the XCom has it."""
        return {
            "check": self.check,
            "subject": safe(self.subject, _LONGEST_SUBJECT),
            "state": self.state,
            "required": self.check in required,
            "detail": safe(self.detail, _LONGEST_DETAIL),
            "remedy": safe(self.remedy, _LONGEST_DETAIL),
        }


def line_of(check: str, subject: str, error: Exception) -> Line:
    """The line of a check that has raised an error. What only a person can correct has failed; whatever may pass by
    itself, or is not understood, is unchecked.
    """
    if isinstance(error, (ConfigurationError, StagingError)):
        return Line(check, subject, FAILED, str(error))
    if isinstance(error, TenableProviderError):
        return Line(check, subject, UNCHECKED, str(error), "Nothing, unless it stays so: the next run checks it again.")
    # Its text may contain anything, also a secret.
    log.debug("Check %s raised %s.", check, type(error).__name__)
    return Line(check, subject, UNCHECKED, f"The check was interrupted by {type(error).__name__}.")


def guarded(check: str, subject: str, call: Callable[[], Line | str]) -> Line:
    """Carry out a check. :param call: returns the line, or the detail of one that is ok."""
    try:
        found = call()
    except Exception as error:  # noqa: BLE001 - one check must not stop the others.
        return line_of(check, subject, error)
    return found if isinstance(found, Line) else Line(check, subject, OK, found)


def unchecked(checks: Iterable[str], subject: str, why: str, advice: str = "") -> Iterator[Line]:
    """Lines of checks that were not carried out."""
    for check in checks:
        yield Line(check, subject, UNCHECKED, why, advice)


def in_order(lines: Iterable[Line], wanted: Collection[str]) -> list[Line]:
    """The lines of the wanted checks, in the order of the catalogue; the order of several lines of a check stays."""
    order = {name: number for number, name in enumerate(CHECKS)}
    return sorted((line for line in lines if line.check in wanted), key=lambda line: order[line.check])


def failures(lines: Sequence[Line], required: Collection[str]) -> list[Line]:
    """The lines that fail the task."""
    return [line for line in lines if line.state == FAILED and line.check in required]


def table(lines: Sequence[Line], required: Collection[str]) -> str:
    """The table as text, for the log: what is not ok has its remedy below its detail."""
    states = Counter(line.state for line in lines)
    title = ", ".join(f"{states[state]} {state}" for state in (OK, FAILED, UNCHECKED))
    rows = [("state", "check", "for", "detail")]
    for row in (line.as_json(required) for line in lines):
        state = row["state"] if row["state"] != FAILED or row["required"] else "failed (not required)"
        rows.append((state, row["check"], row["subject"], row["detail"]))
        if row["remedy"]:
            rows.append(("", "", "", f"-> {row['remedy']}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    shown = [f"Requirements of Tenable to Security Hub CSPM: {title}"]
    for *cells, detail in rows:
        head = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        pieces = textwrap.wrap(detail, 100, break_on_hyphens=False) or [""]
        shown.append(f"{head}  {pieces[0]}".rstrip())
        shown += [f"{' ' * len(head)}  {piece}" for piece in pieces[1:]]
    return "\n".join(shown)
