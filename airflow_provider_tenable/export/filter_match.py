"""Compares the filters of an export with the filters that Tenable echoes for a job.

Tenable's echo differs from the request (API docs: export status, list of jobs): it is a JSON string in the list of
asset jobs, has ``0`` for times that were not set, states and severities in upper case, tags in a separate object, and
empty objects for unset scores.
"""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_tenable.tenable_vm.kinds import FilterNames


def same_filters(ours: dict[str, Any], echoed: Any, names: FilterNames) -> bool:
    """Whether a job's echoed filters mean the same as ours; False if the echo cannot be read.

    :param names: the filters of the job's kind.
    """
    if isinstance(echoed, str):
        try:
            echoed = json.loads(echoed or "{}")
        except (ValueError, RecursionError):
            return False
    if echoed is None:
        echoed = {}
    return isinstance(echoed, dict) and _canonical(ours, names) == _canonical(echoed, names)


def _canonical(filters: dict[str, Any], names: FilterNames) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, given in filters.items():
        if name == "tags" and isinstance(given, dict):
            flat.update(_canonical(given, names))
            continue
        value = _value(name, given, names)
        if not _unset(value):
            flat[names.synonyms.get(name, name)] = value
    return flat


def _value(name: str, value: Any, names: FilterNames) -> Any:
    if isinstance(value, dict):
        return {key: converted for key, item in value.items() if not _unset(converted := _value(key, item, names))}
    if isinstance(value, (list, tuple, set, frozenset)):
        return sorted({str(item).upper() if name in names.upper_case else str(item) for item in value})
    return value


def _unset(value: Any) -> bool:
    return value is None or value is False or value == 0 or value in ("", [], {})
