"""For which accounts and Regions there is a finding index, and whether it can be relied on: ``finding_index/``.

``manifest.json`` names them, so that an index that was lost is not taken for that of a new account, and holds of which
moment the last full run was. ``lost/`` has a note for each whose files a run found missing or damaged.

A run that finds the index *unknown* (none yet though the DAG has sent before, another Tenable, another version) or
*lost* cannot know what the hubs hold. It sends everything, as a run without an index does, and adds no rows: what
Security Hub ignores as not newer it acknowledges as well, so a row would claim what may not be true. The next run that
may move the watermark is full then, and stamps what it sends with the moment that it was planned, which Security Hub
takes in any case; from then on the index is true.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import names, read_json, remove_file, write_json
from airflow_provider_tenable.state.index import FindingIndex
from airflow_provider_tenable.state.parts import VERSION

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

MANIFEST, LOST = "manifest.json", "lost"


class Registry(msgspec.Struct, frozen=True):
    """The manifest.

    :ivar version: of the rows.
    :ivar source: which Tenable, and which user of it.
    :ivar full_as_of: of which moment the last full run was, unix milliseconds.
    :ivar full_at: when it was planned, unix seconds.
    :ivar destinations: ``account/region`` of each that has an index.
    """

    version: int
    source: str
    full_as_of: int
    full_at: float
    destinations: list[str] = []


def read_registry(folder: ObjectStoragePath, source: str) -> tuple[Registry | None, str]:
    """The registry of this Tenable, else None and why there is none that counts.

    :param folder: ``finding_index/``.
    """
    try:
        value = read_json(folder / MANIFEST)
        registry = None if value is None else msgspec.convert(value, Registry)
    except (StagingError, OSError, msgspec.ValidationError) as error:
        return None, f"the finding index is damaged ({safe(error)})"
    if registry is None:
        return None, "there is no finding index yet"
    if registry.version != VERSION:
        return None, "the finding index is of another version of this package"
    if registry.source != source:
        return None, "the finding index is of another Tenable, or of another user of it"
    return registry, ""


def write_registry(folder: ObjectStoragePath, registry: Registry) -> None:
    """Replace the registry."""
    write_json(folder / MANIFEST, msgspec.to_builtins(registry))
    reached(CrashPoint.INDEX_REGISTERED)


def index_of(folder: ObjectStoragePath, account: str, region: str) -> FindingIndex:
    """The index of an account and Region."""
    return FindingIndex(folder / account / region)


def lost_destinations(folder: ObjectStoragePath) -> list[str]:
    """``account/region`` of each whose index a run found lost."""
    return [name.removesuffix(".json").replace("_", "/", 1) for name in names(folder / LOST)]


def note_lost(folder: ObjectStoragePath, destination: str, why: str) -> None:
    """Note that an index is lost. May be repeated."""
    write_json(_note(folder, destination), {"why": why})


def forget_lost(folder: ObjectStoragePath, destination: str) -> None:
    """Remove the note: the index is true again."""
    remove_file(_note(folder, destination))


def _note(folder: ObjectStoragePath, destination: str) -> ObjectStoragePath:
    return folder / LOST / f"{destination.replace('/', '_', 1)}.json"
