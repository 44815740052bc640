"""What an export task hands to the tasks after it (its XCom): a reference to what is staged, with its numbers."""

from __future__ import annotations

from typing import TypedDict


class ExportResult(TypedDict):
    """A complete, staged export.

    ``export`` is the kind, ``uuid`` Tenable's job, ``folder`` the URI of its parts; ``parts`` and ``records`` are
    counts, ``bytes`` is the size as Tenable served it. ``data_from``: unix seconds, the moment whose data the export
    is sure to hold; None where that is not known.
    """

    export: str
    uuid: str | None
    folder: str
    parts: int
    records: int
    bytes: int
    data_from: float | None


__all__ = ["ExportResult"]
