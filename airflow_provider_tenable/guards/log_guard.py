"""Masks secrets in the logs of this package and of the libraries that see the API keys, whatever handles the records.

pyTenable logs every rejected request at ERROR with the body of the response, and every request at DEBUG; requests,
urllib3 and botocore log server responses. Their loggers are created dynamically (one per error class), handlers differ
between worker, triggerer, web server and command line, and a logger's filter does not see records from its children. So
records are cleaned when they are created: by a record factory that wraps the previous one.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable
from typing import Any

from airflow_provider_tenable.guards.foreign_text import safe, visible
from airflow_provider_tenable.guards.redaction import MASK, scrub

#: Loggers of the libraries, with all their children: pyTenable (both generations), what it sends with, and what AWS is
#: called with.
_FOREIGN = ("tenable", "restfly", "requests", "urllib3", "botocore", "boto3")
_OURS = "airflow_provider_tenable"
#: The most characters of a library's message. pyTenable quotes bodies in full.
LONGEST_RECORD = 4_000

#: Secrets in responses of AWS that nobody knows before, and that botocore logs at DEBUG: credentials of STS, private
#: keys of EC2, secrets of Secrets Manager, and values of SSM's parameters. A value in JSON ends at a quote without a
#: backslash before it: most secrets of Secrets Manager are JSON themselves.
_AWS_SECRET = re.compile(
    r"(?P<before><(?:SecretAccessKey|SessionToken|keyMaterial)>)[^<]+"
    r"|(?P<key>\"(?:SecretAccessKey|SessionToken|SecretString|SecretBinary)\":\s*\""
    r"|\"Parameter\":\s*\{[^{}]*?\"Value\":\s*\")(?:\\+[^\\]|[^\"\\])+"
)


class GuardedRecords:
    """A record factory (:func:`logging.setLogRecordFactory`) that cleans the records of some loggers.

    :param previous: makes the records.
    """

    def __init__(self, previous: Callable[..., logging.LogRecord]) -> None:
        self._previous = previous

    def __call__(self, name: str | None, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._previous(name, *args, **kwargs)
        # logging.makeLogRecord gives no name, and fills in a record that was made elsewhere.
        top = (name or "").partition(".")[0]
        if top in _FOREIGN or top == _OURS:
            _clean(record, foreign=top != _OURS)
        return record


def install() -> None:
    """Clean records from now on; nothing happens where that is so already."""
    if not isinstance(logging.getLogRecordFactory(), GuardedRecords):
        logging.setLogRecordFactory(GuardedRecords(logging.getLogRecordFactory()))


def _masked(found: re.Match[str]) -> str:
    return f"{found['before'] or found['key']}{MASK}"


def _clean(record: logging.LogRecord, *, foreign: bool) -> None:
    try:
        message = record.getMessage()
    except Exception as error:  # noqa: BLE001 - logging itself would print the arguments as they are.
        message = f"a message that cannot be formatted ({type(error).__name__}): {record.msg}"
    message = scrub(_AWS_SECRET.sub(_masked, message))
    # Lines of ours are ours: what they quote is one line already.
    record.msg, record.args = (
        safe(message, LONGEST_RECORD) if foreign else "\n".join(map(visible, message.split("\n"))),
        (),
    )
    if record.exc_info and record.exc_info[1] is not None:
        trace = "".join(traceback.format_exception(*record.exc_info))
        scrubbed = "\n".join(map(visible, scrub(trace).split("\n")))
        if scrubbed != trace:
            # It shows a secret, or control characters of somebody else's text, which a terminal would obey. The
            # exception belongs to others and stays as it is: its text takes its place, and the last line goes into
            # the message, for handlers that look for no text.
            record.msg += f" ({safe(traceback.format_exception_only(record.exc_info[1])[-1])})"
            record.exc_info, record.exc_text = None, scrubbed
