"""For which accounts and Regions there is a finding index, and whether it can be relied on: ``finding_index/``.

``manifest.json`` names them, so that an index that was lost is not taken for that of a new account, and holds of which
moment the last full run was. ``lost/`` has a note for each whose files a run found missing or damaged. ``written/`` has
a file for each run that has added deltas, with their names, until they are merged: so a delta that disappears is
noticed. ``emptied/`` has a note for each hub that was switched off and on again after findings were delivered, until
a full run has sent them again.

A run that finds the index *unknown* (none yet though the DAG has sent before, another Tenable, another version) or
*lost* cannot know what the hubs hold. It sends everything, as a run without an index does, and adds no rows: what
Security Hub ignores as not newer it acknowledges as well, so a row would claim what may not be true. The next run that
may move the watermark is full then, and stamps what it sends with the moment that it was planned, which Security Hub
takes in any case; from then on the index is true.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_tenable.exceptions import DamagedFileError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.identifiers import is_place
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import names, read_json, remove_file, write_json
from airflow_provider_tenable.state.index import FindingIndex
from airflow_provider_tenable.state.parts import VERSION

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

MANIFEST, LOST, WRITTEN, EMPTIED = "manifest.json", "lost", "written", "emptied"


class Registry(msgspec.Struct, frozen=True):
    """The manifest.

    :ivar version: of the rows.
    :ivar source: which Tenable, and which user of it.
    :ivar full_as_of: of which moment the last full run was, unix milliseconds.
    :ivar full_at: when it was planned, unix seconds.
    :ivar destinations: ``account/region`` of each that has an index.
    :ivar scope: what the last full run imported (:mod:`airflow_provider_tenable.run.scope`); empty of an older release.
    """

    version: int
    source: str
    full_as_of: int
    full_at: float
    destinations: list[str] = []
    scope: dict[str, str] = {}


class IndexState(msgspec.Struct, frozen=True):
    """What is known of the finding index as a whole, read once.

    :ivar root: ``finding_index/``.
    :ivar registry: None where it says nothing about this Tenable.
    :ivar why: why there is none.
    :ivar lost: ``account/region`` of each index that a run found lost.
    :ivar written: ``account/region`` -> the deltas that runs have noted and that are not known to be merged.
    :ivar emptied: ``account/region`` of each hub that was enabled after the last full run, and findings were delivered
        to it before.
    """

    root: ObjectStoragePath
    registry: Registry | None
    why: str
    lost: frozenset[str]
    written: dict[str, frozenset[str]]
    emptied: frozenset[str] = frozenset()

    def index(self, destination: str) -> FindingIndex:
        """The index of an account and Region."""
        account, region = destination.split("/")
        return index_of(self.root, account, region, self.written.get(destination, frozenset()))

    def is_registered(self, destination: str) -> bool:
        """Whether an account and Region have an index."""
        return self.registry is not None and destination in self.registry.destinations


def read_state(folder: ObjectStoragePath, source: str) -> IndexState:
    """What is known of the finding index of a Tenable.

    :param folder: ``finding_index/``.
    :raises StorageUnavailableError: the store does not answer.
    """
    registry, why = read_registry(folder, source)
    written: dict[str, set[str]] = {}
    for note in _notes(folder).values():
        for destination, deltas in note.items():
            written.setdefault(destination, set()).update(deltas)
    return IndexState(
        folder,
        registry,
        why,
        frozenset(lost_destinations(folder)),
        {destination: frozenset(deltas) for destination, deltas in written.items()},
        frozenset(
            destination
            for destination, enabled_at in _emptied(folder)
            if registry is not None and (enabled_at is None or enabled_at > 1000 * registry.full_at)
        ),
    )


def read_registry(folder: ObjectStoragePath, source: str) -> tuple[Registry | None, str]:
    """The registry of this Tenable, else None and why there is none that counts.

    :param folder: ``finding_index/``.
    :raises StorageUnavailableError: the store does not answer.
    """
    try:
        value = read_json(folder / MANIFEST, advice="")
        registry = None if value is None else msgspec.convert(value, Registry)
    except (DamagedFileError, msgspec.ValidationError) as error:
        return None, f"the finding index is damaged ({safe(error)})"
    if registry is None:
        return None, "there is no finding index yet"
    if registry.version != VERSION:
        return None, "the finding index is of another version of this package"
    if registry.source != source:
        return None, "the finding index is of another Tenable, or of another user of it"
    if not all(map(is_place, registry.destinations)):
        return None, "the finding index is damaged (its manifest names something that is not an account and Region)"
    return registry, ""


def write_registry(folder: ObjectStoragePath, registry: Registry) -> None:
    """Replace the registry."""
    write_json(folder / MANIFEST, msgspec.to_builtins(registry))
    reached(CrashPoint.INDEX_REGISTERED)


def index_of(
    folder: ObjectStoragePath, account: str, region: str, expected: Collection[str] = frozenset()
) -> FindingIndex:
    """The index of an account and Region.

    :param expected: as for :class:`~airflow_provider_tenable.state.index.FindingIndex`.
    """
    return FindingIndex(folder / account / region, expected)


def note_written(folder: ObjectStoragePath, run: str, deltas: Mapping[str, Collection[str]]) -> None:
    """Note which deltas a run has added. May be repeated.

    :param run: ``dag_id/run_id``.
    :param deltas: ``account/region`` -> names.
    """
    found = {destination: sorted(names) for destination, names in sorted(deltas.items()) if names}
    if found:
        write_json(folder / WRITTEN / f"{hashlib.sha256(run.encode()).hexdigest()[:32]}.json", {"deltas": found})
        reached(CrashPoint.DELTAS_NOTED)


def forget_written(folder: ObjectStoragePath, is_settled: Callable[[str, str], bool]) -> None:
    """Remove what need not be expected any more from the notes.

    :param is_settled: (``account/region``, delta) -> whether the delta is merged, or given up.
    """
    for name, note in _notes(folder).items():
        left = {
            destination: waiting
            for destination, deltas in note.items()
            if (waiting := [delta for delta in deltas if not is_settled(destination, delta)])
        }
        if not left:
            remove_file(folder / WRITTEN / name)
        elif left != note:
            write_json(folder / WRITTEN / name, {"deltas": left})


def _notes(folder: ObjectStoragePath) -> dict[str, dict[str, list[str]]]:
    """File -> ``account/region`` -> deltas. A damaged note cannot say what is missing, and is dropped."""
    found = {}
    for name in names(folder / WRITTEN):
        try:
            note = read_json(folder / WRITTEN / name, advice="")
            deltas = msgspec.convert(note["deltas"], dict[str, list[str]]) if note else {}
            found[name] = {destination: each for destination, each in deltas.items() if is_place(destination)}
        except (DamagedFileError, msgspec.ValidationError, KeyError, TypeError) as error:
            log.warning("The note %s/%s of a run's deltas cannot be read: %s", WRITTEN, safe(name), safe(error))
    return found


def lost_destinations(folder: ObjectStoragePath) -> list[str]:
    """``account/region`` of each whose index a run found lost."""
    return _noted(folder / LOST)


def note_lost(folder: ObjectStoragePath, destination: str, why: str) -> None:
    """Note that an index is lost. May be repeated."""
    write_json(_note(folder / LOST, destination), {"why": why})


def forget_lost(folder: ObjectStoragePath, destination: str) -> None:
    """Remove the note: the index is true again."""
    remove_file(_note(folder / LOST, destination))


def note_emptied(folder: ObjectStoragePath, destination: str, enabled_at: int) -> None:
    """Note that a hub was enabled after findings were delivered to it. May be repeated.

    :param enabled_at: unix milliseconds.
    """
    write_json(_note(folder / EMPTIED, destination), {"enabled_at": enabled_at})


def forget_emptied(folder: ObjectStoragePath, full_at: float) -> None:
    """Remove the notes of hubs that were enabled before a full run, and those that cannot be read.

    :param full_at: when it was planned, unix seconds.
    """
    for destination, enabled_at in _emptied(folder):
        if enabled_at is None or enabled_at <= 1000 * full_at:
            remove_file(_note(folder / EMPTIED, destination))


def _emptied(folder: ObjectStoragePath) -> Iterator[tuple[str, int | None]]:
    """(``account/region``, since when its hub is on) of each note; None where the note cannot be read."""
    for destination in _noted(folder / EMPTIED):
        try:
            note = read_json(_note(folder / EMPTIED, destination), advice="")
            yield destination, int(note["enabled_at"])
        except (DamagedFileError, KeyError, TypeError, ValueError) as error:
            log.warning("The note %s/%s cannot be read: %s", EMPTIED, destination, safe(error))
            yield destination, None


def _noted(folder: ObjectStoragePath) -> list[str]:
    """``account/region`` of each note in a folder."""
    found = [name.removesuffix(".json").replace("_", "/", 1) for name in names(folder)]
    # Other files, such as those of a network file system, are not notes. The names become parts of paths.
    return [destination for destination in found if is_place(destination)]


def _note(folder: ObjectStoragePath, destination: str) -> ObjectStoragePath:
    return folder / f"{destination.replace('/', '_', 1)}.json"
