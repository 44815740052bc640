"""Where an export's state and chunks are staged: ``{run}/{kind}/export.json`` and ``part-*``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.export.state import ExportState, Part
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.files import names, open_path, read_json, remove_file, write_json, write_whole
from airflow_provider_tenable.staging.parts import BLOCK_BYTES, read_blocks
from airflow_provider_tenable.staging.zstd import Packer, pack

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

MANIFEST = "export.json"


class StagedExport:
    """The store of one export. Asset chunks become Parquet, the others stay as Tenable served them, compressed.

    :param folder: the export's folder in the run's staging.
    :param kind: ``assets``, ``vulnerabilities`` or ``compliance``.
    """

    def __init__(self, folder: ObjectStoragePath, kind: str) -> None:
        self.folder = folder
        self.kind = kind

    def load(self) -> ExportState | None:
        """The state, without the parts that are gone. Those of a whole export are looked into: its task runs again only because somebody cleared it."""
        state = self.state()
        if state is None:
            return None
        there = set(names(self.folder))
        lost = [chunk for chunk, part in state.parts.items() if part.name not in there or (state.complete and not self._is_intact(part))]
        if lost:
            log.warning("Chunks %s of the %s export are staged no more, or damaged: fetching them again.", lost[:10], self.kind)
            state.parts = {chunk: part for chunk, part in state.parts.items() if chunk not in lost}
            state.complete = False
        return state

    def _is_intact(self, part: Part) -> bool:
        from airflow_provider_tenable.assets.parquet import read_columns

        try:
            if part.name.endswith(".parquet"):
                read_columns(self.folder / part.name)
            else:
                # Piece by piece: a chunk may have some GB.
                for _ in read_blocks(self.folder / part.name):
                    pass
        except StagingError:
            return False
        return True

    def state(self) -> ExportState | None:
        """The state as it is on record. :raises StagingError: it is damaged."""
        value = read_json(self.folder / MANIFEST)
        try:
            return None if value is None else ExportState.from_json(value)
        except (AttributeError, KeyError, TypeError) as error:
            raise StagingError(f"The state {self.folder / MANIFEST} is damaged ({safe(error)}). Remove the run's folder and clear the run.") from error

    def save(self, state: ExportState) -> None:
        write_json(self.folder / MANIFEST, state.to_json())

    def put(self, job_uuid: str, chunk_id: int, data: bytes | IO[bytes]) -> Part:
        """Stage a chunk. A file, which holds a large one, is read piece by piece, and closed.

        :raises ValueError: it is no JSON array.
        """
        # The job's id is part of the name: chunk 1 of the job that replaces a broken one is another chunk.
        stem = f"part-{job_uuid[:8]}-{chunk_id:06d}"
        if self.kind == "assets":
            from airflow_provider_tenable.assets.parquet import to_parquet

            whole = data if isinstance(data, bytes) else _whole(data)
            (content, records), size, name = to_parquet(whole), len(whole), f"{stem}.parquet"
        else:
            (content, records, size), name = _packed(data), f"{stem}.json.zst"
        write_whole(self.folder / name, content)
        return Part(name=name, records=records, bytes=size)

    def drop(self, job_uuid: str) -> None:
        """Remove the parts of a job that is given up."""
        for name in names(self.folder):
            if name.startswith(f"part-{job_uuid[:8]}-"):
                remove_file(self.folder / name)


def _whole(file: IO[bytes]) -> bytes:
    with file:
        return file.read()


def _packed(data: bytes | IO[bytes]) -> tuple[bytes, int, int]:
    """A chunk compressed, its number of records, and its bytes. :raises ValueError: it is no JSON array."""
    from airflow_provider_tenable.tenable_vm.decode import count_blocks, count_records

    if isinstance(data, bytes):
        return pack(data), count_records(data), len(data)
    packer = Packer()

    def packing(file: IO[bytes]) -> Iterator[bytes]:
        while block := file.read(BLOCK_BYTES):
            packer.write(block)
            yield block

    with data:
        records = count_blocks(packing(data))
        return packer.close(), records, data.tell()


def staged_parts(uri: str, kind: str) -> list[ObjectStoragePath]:
    """The parts of a whole export, in the order of their chunks.

    :param uri: the export's folder.
    :raises StagingError: the export is not whole.
    """
    folder = open_path(uri)
    state = StagedExport(folder, kind).state()
    if state is None or not state.complete:
        raise StagingError(f"The {kind} export in {uri} is not whole. Clear its task.")
    return [folder / part.name for _, part in sorted(state.parts.items(), key=lambda item: int(item[0]))]
