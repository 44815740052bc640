"""Where an export's state and chunks are staged: ``{run}/{kind}/export.json`` and ``part-*``."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.export.chunks import Encoded, format_of
from airflow_provider_tenable.export.state import ExportState, Part
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.files import names, read_json, remove_file, write_json, write_whole
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.tenable_vm.kinds import kind_of

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

MANIFEST = "export.json"


class StagedExport:
    """The store of one export.

    :param folder: the export's folder in the run's staging.
    :param kind: ``assets``, ``vulnerabilities``, ``compliance`` or ``was``.
    """

    def __init__(self, folder: ObjectStoragePath, kind: str) -> None:
        self.folder = folder
        self.kind = kind
        self._format = format_of(kind_of(kind))

    def load(self) -> ExportState | None:
        """The state, without missing parts. The parts of a complete export are also checked for damage: its task runs
        again only if somebody cleared it.
        """
        state = self.state()
        if state is None:
            return None
        there = set(names(self.folder))
        lost = [
            chunk
            for chunk, part in state.parts.items()
            if part.name not in there or (state.complete and not self._is_intact(part))
        ]
        if lost:
            log.warning(
                "Chunks %s of the %s export are no longer staged, or are damaged: fetching them again.",
                lost[:10],
                self.kind,
            )
            state.parts = {chunk: part for chunk, part in state.parts.items() if chunk not in lost}
            state.complete = False
        return state

    def _is_intact(self, part: Part) -> bool:
        try:
            self._format.check(self.folder / part.name)
        except StagingError:
            return False
        return True

    def state(self) -> ExportState | None:
        """The stored state. :raises StagingError: it is damaged."""
        value = read_json(self.folder / MANIFEST)
        try:
            return None if value is None else ExportState.from_json(value)
        except (AttributeError, KeyError, TypeError) as error:
            raise StagingError(
                f"The state {self.folder / MANIFEST} is damaged ({safe(error)}). Remove the run's folder and clear "
                "the run."
            ) from error

    def save(self, state: ExportState) -> None:
        write_json(self.folder / MANIFEST, state.to_json())

    def encode(self, pieces: Iterable[bytes]) -> Encoded:
        """Encode a chunk while it arrives; see :meth:`.ChunkFormat.encode`. Nothing is staged yet."""
        return self._format.encode(pieces)

    def put(self, job_uuid: str, chunk_id: int, chunk: Encoded) -> Part:
        """Stage a chunk."""
        # The job's id is part of the name, because chunk 1 of the job that replaces a broken one is a different chunk.
        name = f"part-{job_uuid[:8]}-{chunk_id:06d}{self._format.ending}"
        write_whole(self.folder / name, chunk.content)
        return Part(name=name, records=chunk.records, bytes=chunk.size)

    def drop(self, job_uuid: str) -> None:
        """Remove the parts of an abandoned job."""
        for name in names(self.folder):
            if name.startswith(f"part-{job_uuid[:8]}-"):
                remove_file(self.folder / name)


def staged_parts(uri: str, kind: str) -> list[ObjectStoragePath]:
    """The parts of a complete export, in the order of their chunks.

    :param uri: the export's folder.
    :raises StagingError: the export is not complete.
    """
    folder = open_path(uri)
    state = StagedExport(folder, kind).state()
    if state is None or not state.complete:
        raise StagingError(f"The {kind} export in {uri} is not complete. Clear its task.")
    return [folder / part.name for _, part in sorted(state.parts.items(), key=lambda item: int(item[0]))]
