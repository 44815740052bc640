"""The run's folder: what one stage writes and the next one reads.

Layout below ``{staging}/{dag_id}/{run_id}/`` (``RunFolder``)::

    run.json                                 the run's plan: window, settings, destinations, parts of the asset index
    shards.json                              into how many tasks the transform was split
    imports/group-*.json                     which import task serves which destinations, where there are more of these than tasks
    assets/  vulnerabilities/                export.json (state, then manifest) and part-* files
    findings/shard-*.json                    manifest of one transform task
    findings/{account}/{region}/part-*.jsonl.zst
    rejected/part-*.jsonl.gz                 what could not become, or was not accepted as, a finding
    receipts/{account}/{region}.jsonl        what Security Hub acknowledged
    ledger.json                              the counts, which must add up

Beside the runs: ``parked/`` (records that wait for their assets) and ``asset_index/``.

Every file appears whole or not at all: on a local disk it is written under a temporary name, flushed and renamed; an object store puts
an object whole. Files count only when a manifest names them.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import uuid
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.crash_points import CrashPoint, reached
from airflow_provider_tenable.exceptions import ConfigurationError, StagingError
from airflow_provider_tenable.packing import Packer, unpacked

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

#: gzip's fastest level: findings are written once and read once, and shrink about tenfold even so.
_GZIP_LEVEL = 1

_REMOVALS_AT_A_TIME = 8

#: The key under which a manifest has its own checksum, and that of the format it is written in.
_CHECKSUM = "checksum"
_FORMAT = "format"
#: The format of everything that is staged. To be raised when what this version writes would be read wrongly by an older one.
FORMAT = 1


def newer_format(path: ObjectStoragePath, found: Any) -> StagingError:
    """What to say of a file that another version has written: going on with half of what it means would be worse than not at all."""
    return StagingError(
        f"The staged file {path} has format {found}, written by a newer version of airflow-provider-tenable; this one reads format {FORMAT}. "
        "Install the newer version again. Or remove the file's run folder and clear the run; parked records must be moved elsewhere."
    )


def open_path(uri: str) -> ObjectStoragePath:
    """The path object of a URI, by Airflow's own object storage layer (``file://``, ``s3://conn@bucket/...``)."""
    from airflow_provider_tenable._compat import ObjectStoragePath

    try:
        path = ObjectStoragePath(uri)
        # Airflow 2.11 looks for the file system only when it is used.
        _ = path.fs
        return path
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"The staging path {uri!r} cannot be opened: {error}. s3:// needs the extra airflow-provider-tenable[s3].") from error


def default_staging_uri() -> str:
    """``[tenable] staging_path``, or a folder in AIRFLOW_HOME."""
    from airflow_provider_tenable import config

    configured = str(config.get("staging_path"))
    if configured:
        return configured
    home = os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow"))
    return "file://" + os.path.join(os.path.abspath(home), "tenable_staging")


def is_local(path: ObjectStoragePath) -> bool:
    """Whether the path lies on this machine's file system."""
    return path.protocol in ("file", "local", "")


def write_whole(path: ObjectStoragePath, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also when the process is killed or the disk is full."""
    if not is_local(path):
        try:
            # One request, or a multipart upload that counts only once it is complete.
            path.fs.pipe_file(path.path, data)
        except OSError as error:
            raise StagingError(
                f"Cannot write {path}: {error.strerror or error}. Look at the bucket's name and at what the connection is allowed there, and clear the task."
            ) from error
        return
    target = path.path
    temporary = f"{target}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        reached(CrashPoint.FILE_NOT_RENAMED)
        os.replace(temporary, target)
    except OSError as error:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise StagingError(
            f"Cannot write {target}: {error.strerror or error}. Make room, or point [tenable] staging_path elsewhere, and clear the task."
        ) from error


def content_of(path: ObjectStoragePath) -> bytes:
    """Read a file as it is now. :raises FileNotFoundError: it is not there."""
    if is_local(path):
        return bytes(path.read_bytes())
    # Opening it would look it up in listings that fsspec keeps: what another worker has put there since then would be missing, or cut to its earlier length.
    return bytes(path.fs.cat_file(path.path))


def read_whole(path: ObjectStoragePath) -> bytes:
    """Read a file. :raises StagingError: it is not there."""
    try:
        return content_of(path)
    except FileNotFoundError as error:
        raise StagingError(f"The staged file {path} is gone. Clear the run's tasks from the export on.") from error


def write_json(path: ObjectStoragePath, value: Any) -> None:
    """Write a value as JSON, whole, with keys sorted so that the same value gives the same bytes."""
    # Imported here and below, since operators import this module, and a DAG file that is parsed needs none of it.
    import msgspec

    if isinstance(value, dict):
        value = {**value, _FORMAT: FORMAT}
        value[_CHECKSUM] = _checksum(value)
    write_whole(path, msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=1))


def _checksum(value: Any) -> int:
    import msgspec

    return zlib.crc32(msgspec.json.encode(value, order="sorted"))


def read_json(path: ObjectStoragePath) -> Any:
    """Read a JSON file, or None where it is not there. :raises StagingError: it cannot be decoded, or a newer version has written it."""
    import msgspec

    try:
        data = content_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        value = msgspec.json.decode(data)
        # One digit that flips would still be JSON: another end of the window, another number of records.
        if isinstance(value, dict) and value.pop(_CHECKSUM, None) not in (None, _checksum(value)):
            raise ValueError("its checksum is another")
    # msgspec's own error is a ValueError only in its newer releases.
    except (ValueError, msgspec.DecodeError) as error:
        raise StagingError(f"The staged file {path} is damaged ({error}). Remove the run's folder and clear the run.") from error
    if isinstance(value, dict):
        written_in = value.pop(_FORMAT, FORMAT)
        if written_in > FORMAT:
            raise newer_format(path, written_in)
    return value


def compress(data: bytes) -> bytes:
    """Gzip without a time stamp, so that the same bytes in give the same bytes out."""
    return gzip.compress(data, compresslevel=_GZIP_LEVEL, mtime=0)


#: Memory that a compressor takes once it works.
COMPRESSOR_BYTES = 1_500_000

#: Bytes of lines that are compressed together, and bytes that are decompressed at a time.
_TOGETHER_BYTES = 256_000
BLOCK_BYTES = 300_000


def read_blocks(path: ObjectStoragePath) -> Iterator[bytes]:
    """Read a compressed part, some MB at a time. :raises StagingError: missing or damaged, perhaps only after the last block."""
    try:
        yield from unpacked(read_whole(path), BLOCK_BYTES)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise StagingError(f"The staged part {path} is damaged ({error}). Clear the run's tasks from the export on.") from error


def read_part(path: ObjectStoragePath) -> bytes:
    """Read and decompress a ``.gz`` part. :raises StagingError: missing or damaged."""
    return b"".join(read_blocks(path))


class PartWriter:
    """Collects lines, compressed as they come, into a part that is then written whole.

    :param folder: where the part goes when it is closed.
    :param stem: the part's name without its ending.
    :param by_content: whether a digest of the lines becomes part of the name, so that other lines are another part.
    :param packed: for the bulk of a run: compressed by :mod:`airflow_provider_tenable.packing` instead of gzip.
    """

    def __init__(self, folder: ObjectStoragePath, stem: str, *, by_content: bool = False, packed: bool = False) -> None:
        self.lines = 0
        self.raw_bytes = 0
        self._folder = folder
        self._stem = stem
        self._digest = hashlib.sha256() if by_content else None
        self._packed = packed
        self._packer: Packer | None = None
        self._buffer = io.BytesIO()
        self._gzip = None if packed else gzip.GzipFile(fileobj=self._buffer, mode="wb", compresslevel=_GZIP_LEVEL, mtime=0, filename="")
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    def write(self, line: bytes) -> int:
        """Add one line, given without its newline.

        :return: by how many bytes the part takes more memory than before; what is compressed hardly counts, so it may be negative.
        """
        self._waiting.append(line)
        size = len(line) + 1
        self._waiting_bytes += size
        self.lines += 1
        self.raw_bytes += size
        # Each call of digest and compressor has a price of its own.
        if self._waiting_bytes < _TOGETHER_BYTES:
            return size
        before = self.held_bytes
        self._compress()
        return size + self.held_bytes - before

    @property
    def held_bytes(self) -> int:
        """About how many bytes of memory the part takes."""
        return self._waiting_bytes + (COMPRESSOR_BYTES if self._packer else 0)

    def _compress(self) -> None:
        if not self._waiting:
            return
        self._waiting.append(b"")
        data = b"\n".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        # Only now: of thousands of destinations, most have a few findings, and a compressor takes more memory than they do.
        if self._packed and self._packer is None:
            self._packer = Packer()
        (self._packer or self._gzip).write(data)  # type: ignore[union-attr]
        if self._digest:
            self._digest.update(data)

    def close(self) -> str:
        """Put the part in its place; its name is returned."""
        self._compress()
        stem = f"{self._stem}-{self._digest.hexdigest()[:16]}" if self._digest else self._stem
        if self._packed:
            packer = self._packer or Packer()
            name, content = f"{stem}.jsonl.zst", packer.close()
        else:
            assert self._gzip
            self._gzip.close()
            name, content = f"{stem}.jsonl.gz", self._buffer.getvalue()
        write_whole(self._folder / name, content)
        return name


def write_lines(folder: ObjectStoragePath, stem: str, lines: Iterable[bytes]) -> str:
    """Write a whole part of lines; its name is returned."""
    part = PartWriter(folder, stem)
    for line in lines:
        part.write(line)
    return part.close()


def read_lines(path: ObjectStoragePath) -> Iterator[bytes]:
    """The lines of a part, without their newlines."""
    begun = b""
    for block in read_blocks(path):
        *lines, begun = (begun + block).split(b"\n")
        for line in lines:
            if line:
                yield line
    if begun:
        yield begun


class RunFolder:
    """The paths of one run.

    :param base: URI of the staging area.
    :param dag_id: the DAG's id.
    :param run_id: the run's id.
    """

    PARKED = "parked"
    ASSET_INDEX = "asset_index"
    #: Folders beside those of the runs.
    RESERVED = frozenset({PARKED, ASSET_INDEX})

    def __init__(self, base: str, dag_id: str, run_id: str) -> None:
        for name in (dag_id, run_id):
            if name in ("", ".", "..", *self.RESERVED) or "/" in name or "\0" in name:
                raise ConfigurationError(f"{name!r} cannot be the name of a staging folder. Give the run another run_id.")
        self._base = base
        self.dag_root = open_path(base) / dag_id
        self.root = self.dag_root / run_id
        self.dag_id = dag_id
        self.run_id = run_id
        self.plan = self.root / "run.json"
        self.shards = self.root / "shards.json"
        self.ledger = self.root / "ledger.json"
        self.findings = self.root / "findings"
        self.rejected = self.root / "rejected"
        self.parked = self.root / self.PARKED
        self.parked_pool = self.dag_root / self.PARKED
        self.asset_index = self.dag_root / self.ASSET_INDEX

    @classmethod
    def of(cls, context: Any, staging_path: str | None = None) -> RunFolder:
        """The folder of the run that a task's context belongs to."""
        dag_run = context["dag_run"]
        return cls(staging_path or default_staging_uri(), dag_run.dag_id, dag_run.run_id)

    def beside(self, run_id: str) -> RunFolder:
        """The folder of another run of the same DAG."""
        return RunFolder(self._base, self.dag_root.name, run_id)

    def export(self, kind: str) -> ObjectStoragePath:
        """The folder of an export: ``assets``, ``vulnerabilities``."""
        return self.root / kind

    def destination(self, account: str, region: str) -> ObjectStoragePath:
        """The folder of the findings of one account and region."""
        return self.findings / account / region

    def receipts(self, account: str, region: str) -> ObjectStoragePath:
        """The receipts of one account and region."""
        return self.root / "receipts" / account / f"{region}.jsonl"

    def import_group(self, number: int) -> ObjectStoragePath:
        """The destinations of an import task that serves several."""
        return self.root / "imports" / f"group-{number:05d}.json"

    def shard_manifest(self, index: int) -> ObjectStoragePath:
        """The manifest of a transform task."""
        return self.findings / f"shard-{index:04d}.json"


def names(folder: ObjectStoragePath) -> list[str]:
    """The sorted names in a folder; empty where there is no such folder."""
    folder.fs.invalidate_cache()
    try:
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.endswith(".tmp"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    finally:
        # The listing was true just now; whatever asks next asks the store.
        folder.fs.invalidate_cache()


def remove(folder: ObjectStoragePath) -> None:
    """Remove a folder and what is in it; nothing happens where it is not there."""
    if is_local(folder):
        if folder.fs.exists(folder.path):
            folder.fs.rm(folder.path, recursive=True)
        return
    folder.fs.invalidate_cache()
    # Not rm(): it reads a path with *, ? or [ in it, which a run id may hold, as a pattern, and would remove the files of other runs.
    with ThreadPoolExecutor(_REMOVALS_AT_A_TIME) as pool:
        list(pool.map(folder.fs.rm_file, folder.fs.find(folder.path)))
    folder.fs.invalidate_cache()


def remove_file(path: ObjectStoragePath) -> None:
    """Remove a file; nothing happens where it is not there."""
    with contextlib.suppress(FileNotFoundError):
        if is_local(path):
            path.unlink()
        else:
            path.fs.rm_file(path.path)
