"""What an export task passes to the tasks after it (its XCom): a reference to the staged files, with counts."""

from __future__ import annotations

from typing import TypedDict


class ExportResult(TypedDict):
    """A complete, staged export.

    ``export`` is the kind, ``uuid`` Tenable's job, ``folder`` the URI of its parts; ``parts`` and ``records`` are
    counts, ``bytes`` is the size as Tenable returned it. ``data_from``: unix seconds, the time whose data the export
    certainly contains; None if unknown.
    """

    export: str
    uuid: str | None
    folder: str
    parts: int
    records: int
    bytes: int
    data_from: float | None


__all__ = ["ExportResult"]
