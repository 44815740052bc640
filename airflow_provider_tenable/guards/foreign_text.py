"""Makes text from outside safe to quote in a log line or an error: one line, bounded, without characters that act.

Answers of Tenable, AWS and whatever stands between, fields of records, codes, ids and file names are written by others.
A line break in them would begin a log line of its own, an escape sequence would steer a terminal, and a bidirectional
override would reorder what a person reads (Unicode TR 36, section 3.2; CWE-117).
"""

from __future__ import annotations

from airflow_provider_tenable.guards.redaction import scrub

#: Characters that are quoted of one text, if the caller asks for no other number.
LONGEST = 300
#: The most of a code of an error that is kept: it becomes a key of the ledger, and the tag of a metric.
LONGEST_CODE = 100
#: The most of AWS's messages that is quoted. Those about IAM have two ARNs and an action.
LONGEST_MESSAGE = 1_000
#: The most of a finding's id (ASFF allows as many), or of a run's, with the DAG's before it.
LONGEST_ID = 512

_ELLIPSIS = "\u2026"


def safe(value: object, limit: int = LONGEST) -> str:
    r"""Quote text from outside.

    Runs of white space, line breaks of every kind included, become one space. Whatever else cannot be printed (control
    characters, escape sequences, bidirectional overrides, zero-width and unassigned characters, lone surrogates) is
    shown as an escape such as ``\x1b`` or ``\u202e``. Known secrets are masked
    (:mod:`airflow_provider_tenable.guards.redaction`).

    :param value: a text, bytes (read as UTF-8), or anything else, of which ``str()`` is quoted.
    :param limit: the most characters that are returned; a longer text ends with an ellipsis.
    :return: a text for which ``str.isprintable()`` holds.
    """
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    # A body may have megabytes: no more of it is looked at than white space can be expected to take away.
    line = visible(" ".join(scrub(text[: 8 * limit + 64]).split()))
    return line if len(line) <= limit else line[: limit - 1].rstrip() + _ELLIPSIS


def quoted(value: object, limit: int = LONGEST) -> str:
    """Quote a value from outside as ``repr()`` shows it: a text in quotation marks, a param of any type.

    :param limit: as for :func:`safe`.
    """
    return safe(repr(value), limit)


def visible(text: str) -> str:
    """The text with a space for every line break or tab, and an escape for everything else that cannot be printed."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _shown(char) for char in text)


def _shown(char: str) -> str:
    return " " if char.isspace() else char.encode("unicode_escape").decode("ascii")
