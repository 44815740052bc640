"""Ids of scans, runs, templates and scan exports. They become part of URLs, so each is checked before it is used,
whether it comes from Tenable, from a user or from an XCom.

Tenable's long ids look like UUIDs whose last group is longer (29 hex digits and more), and a scan's schedule has
``template-`` in front. The file id of an export is text with colons: ``SSEF-{run}-F:{hash}-C:{hash}-pdf``.
"""

from __future__ import annotations

import re

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import safe

_LONG = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12,40}"
_LONG_ID = re.compile(_LONG)
_SCHEDULE = re.compile(rf"(?:template-)?{_LONG}")
_NUMBER = re.compile(r"[1-9][0-9]{0,14}")
# The colon is legal in a path (RFC 3986, section 3.3); a slash, a dot or a percent sign could change the path.
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_-]{0,299}")


def is_long_id(value: object) -> bool:
    """Whether a value can be the id of a run, a template, a scanner or a network."""
    return isinstance(value, str) and _LONG_ID.fullmatch(value) is not None


def is_schedule_uuid(value: object) -> bool:
    """Whether a value can be the schedule's uuid of a scan, which Tenable recommends as its id."""
    return isinstance(value, str) and _SCHEDULE.fullmatch(value) is not None


def is_number(value: object) -> bool:
    """Whether a value is a positive whole number, as an int or as text: the id of a scan or of a history entry."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int | str) and _NUMBER.fullmatch(str(value)) is not None


def scan_path(scan: object) -> str:
    """The path of a scan's calls. :raises ConfigurationError: this cannot be the id of a scan."""
    if not (is_schedule_uuid(scan) or is_number(scan)):
        raise ConfigurationError(
            f"{safe(repr(scan), 100)} is not the id of a scan. Give its number, its schedule_uuid (template-...), "
            "or 'name:' and its name."
        )
    return f"scans/{scan}"


def run_path(scan: object, run_uuid: object) -> str:
    """The path of one run in a scan's history. :raises ConfigurationError: this cannot be the id of a run."""
    if not is_long_id(run_uuid):
        raise ConfigurationError(f"{safe(repr(run_uuid), 100)} is not the uuid of a run.")
    return f"{scan_path(scan)}/history/{run_uuid}"


def file_path(scan: object, file_id: object) -> str:
    """The path of an export. :raises ConfigurationError: this cannot be the id of an export."""
    if not is_file_id(file_id):
        raise ConfigurationError(f"{safe(repr(file_id), 100)} is not the id of a scan export.")
    return f"{scan_path(scan)}/export/{file_id}"


def is_file_id(value: object) -> bool:
    """Whether a value can be the file id of a scan export."""
    return isinstance(value, str) and _FILE.fullmatch(value) is not None
