"""Reads fields of Tenable's JSON without trusting their types. What must be there raises an error in words; what may be
missing becomes None or empty.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.guards.foreign_text import safe


def object_in(answer: Any, what: str) -> dict[str, Any]:
    """The answer as an object. :raises TemporaryError: it is something else."""
    if not isinstance(answer, dict):
        raise TemporaryError(f"Tenable's response about {what} is not a JSON object.")
    return answer


def objects_in(answer: Any, field: str, what: str) -> list[dict[str, Any]]:
    """The objects of a list in an answer; items that are not objects are left out.

    :raises TemporaryError: the list is missing. An empty one may be null.
    """
    value = object_in(answer, what).get(field, ...)
    if value is None:
        return []
    if not isinstance(value, list):
        raise TemporaryError(f"Tenable's response about {what} contains no list {field!r}.")
    return [item for item in value if isinstance(item, dict)]


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list that may be missing."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: Any, limit: int = 300) -> str:
    """One bounded line of text; empty for anything that is not text."""
    return safe(value, limit) if isinstance(value, str) else ""


def number(value: Any) -> int | None:
    """A whole number of at least 0, also from a text of digits; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
