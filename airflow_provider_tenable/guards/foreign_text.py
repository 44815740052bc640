"""Makes text from outside safe to quote in a log line or an error: one bounded line without control characters.

Responses of Tenable, AWS and systems in between, fields of records, codes, ids and file names are untrusted. A line
break in them would forge a log line, an escape sequence would control a terminal, and a bidirectional override would
reorder what a person reads (Unicode TR 36, section 3.2; CWE-117).
"""

from __future__ import annotations

import re

from airflow_provider_tenable.guards.redaction import scrub

#: Default of the maximum number of characters that are quoted.
LONGEST = 300
#: Maximum for an error code: it becomes a key of the ledger, and the tag of a metric.
LONGEST_CODE = 100
#: Maximum for a message of AWS. Those about IAM contain two ARNs and an action.
LONGEST_MESSAGE = 1_000
#: Maximum for a finding's id (the limit of ASFF), or for a run id with its DAG id.
LONGEST_ID = 512

_ELLIPSIS = "\u2026"
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?]) +(?=[A-Z])")


def safe(value: object, limit: int = LONGEST) -> str:
    r"""Quote text from outside.

    Runs of white space, including all kinds of line breaks, become one space. Everything else that cannot be printed
    (control characters, escape sequences, bidirectional overrides, zero-width and unassigned characters, lone
    surrogates) is shown as an escape such as ``\x1b`` or ``\u202e``. Known secrets are masked
    (:mod:`airflow_provider_tenable.guards.redaction`).

    :param value: a string, bytes (decoded as UTF-8), or anything else, of which ``str()`` is quoted.
    :param limit: the maximum number of characters; a longer text ends with an ellipsis.
    :return: a string for which ``str.isprintable()`` is true.
    """
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    # A body may have megabytes: process only as much as the removal of white space may require.
    line = visible(" ".join(scrub(text[: 8 * limit + 64]).split()))
    return line if len(line) <= limit else line[: limit - 1].rstrip() + _ELLIPSIS


def quoted(value: object, limit: int = LONGEST) -> str:
    """Quote a value of any type from outside in the form of ``repr()``.

    :param limit: as for :func:`safe`.
    """
    return safe(repr(value), limit)


def beginning(text: str, limit: int = LONGEST) -> str:
    """As many of the first sentences of a message as fit; a first one that does not is cut.

    :param limit: the maximum number of characters.
    """
    ends = [match.start() for match in _BETWEEN_SENTENCES.finditer(text)] + [len(text)]
    fitting = [end for end in ends if end <= limit]
    return text[: fitting[-1]] if fitting else text[: limit - 1].rstrip() + _ELLIPSIS


def visible(text: str) -> str:
    """The text with a space for every line break or tab, and an escape for everything else that cannot be printed."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _shown(char) for char in text)


def _shown(char: str) -> str:
    return " " if char.isspace() else char.encode("unicode_escape").decode("ascii")
