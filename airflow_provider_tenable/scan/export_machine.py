"""Exports the results of one run, format after format, and resumes where an earlier attempt stopped.

A format that fails does not prevent the others. Repeating a request is harmless, since Tenable derives the file id from
it; what was downloaded is recorded, and not downloaded again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import IO, TYPE_CHECKING, Any, Protocol

from airflow_provider_tenable.exceptions import (
    ConfigurationError,
    DamagedFileError,
    ExportFailedError,
    NotFoundError,
    TenableAuthError,
    TenableRequestError,
)
from airflow_provider_tenable.scan.crash_points import ScanCrashPoint
from airflow_provider_tenable.scan.export_request import ExportRequest, check_age, file_name, host_of
from airflow_provider_tenable.scan.texts import duration
from airflow_provider_tenable.staging.crash_points import reached
from airflow_provider_tenable.staging.downloads import digest_of, download_to
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.tenable_vm.scan_exports import ERROR, READY, Downloaded
from airflow_provider_tenable.tenable_vm.scan_runs import Results, Run
from airflow_provider_tenable.tenable_vm.scans import Scan

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)


class FilesClient(Protocol):
    """What the machine needs of :class:`~airflow_provider_tenable.tenable_vm.scan_exports.ScanExportsApi`."""

    def start(self, scan: Scan, run: Run, body: dict[str, Any]) -> str: ...
    def status(self, scan: Scan, file_id: str) -> str: ...
    def size(self, file_id: str) -> int | None: ...
    def download(self, scan: Scan, file_id: str, to: IO[bytes]) -> Downloaded: ...


@dataclass
class FilesState:
    """What a task has recorded.

    :ivar files: format -> ``{"path", "bytes", "sha256"}``.
    :ivar failed: format -> why it failed in this attempt.
    :ivar pending: ``{"format", "file_id", "since"}`` of the export that Tenable prepares.
    """

    run_uuid: str
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    pending: dict[str, Any] | None = None


class FilesMachine:
    """Exports one run.

    :param folder: where the files go.
    :param state_path: where the state is recorded.
    :param password: of a db; must be known to the masker.
    :param results: reads the run's results, for the host of a db.
    :param now: our clock; ``tenable_now`` is Tenable's.
    :param downloaded: gets the format and the bytes of each file that was downloaded.
    """

    def __init__(
        self,
        *,
        scan: Scan,
        run: Run,
        request: ExportRequest,
        client: FilesClient,
        folder: ObjectStoragePath,
        state_path: ObjectStoragePath,
        overwrite: bool,
        timeout: float,
        password: str | None,
        results: Callable[[], Results],
        now: Callable[[], float],
        tenable_now: float,
        downloaded: Callable[[str, int], None],
    ) -> None:
        self._scan = scan
        self._run = run
        self._request = request
        self._client = client
        self._folder = folder
        self._state_path = state_path
        self._overwrite = overwrite
        self._timeout = timeout
        self._password = password
        self._results = results
        self._now = now
        self._tenable_now = tenable_now
        self._downloaded = downloaded
        self.state = self._load()

    def begin(self) -> None:
        """Begin an attempt: formats that failed before are tried again."""
        if self.state.failed:
            self.state.failed = {}
            self._save()

    def step(self) -> bool:
        """Export what can be exported now.

        :return: whether nothing is left to do; False: Tenable prepares a file.
        """
        for kind in dict.fromkeys(self._request.formats):
            if kind in self.state.failed or self._is_there(kind):
                continue
            try:
                if not self._export(kind):
                    return False
            except TenableAuthError:
                raise
            except (ConfigurationError, ExportFailedError) as error:
                log.error("The %s of run %s was not exported: %s", kind, self._run.uuid, error)
                self.state.failed[kind] = str(error)
                self.state.pending = None
                self._save()
        return True

    def result(self) -> list[dict[str, Any]]:
        """The exported files. :raises ExportFailedError: a format failed; the text names those that did not."""
        files = [{"format": kind, **self.state.files[kind]} for kind in self._request.formats if self._has(kind)]
        if self.state.failed:
            done = ", ".join(file["path"] for file in files) or "none"
            reasons = " ".join(f"{kind}: {reason}" for kind, reason in self.state.failed.items())
            raise ExportFailedError(
                f"{len(self.state.failed)} of {len(set(self._request.formats))} formats of scan {self._scan.label} "
                f"were not exported. {reasons} Exported: {done}."
            )
        return files

    def _has(self, kind: str) -> bool:
        return kind in self.state.files

    def _is_there(self, kind: str) -> bool:
        recorded = self.state.files.get(kind)
        if recorded is None:
            return False
        if recorded["path"] == str(self._path(kind)) and digest_of(self._path(kind)) == (
            recorded["bytes"],
            recorded["sha256"],
        ):
            return True
        del self.state.files[kind]
        return False

    def _export(self, kind: str) -> bool:
        pending = self.state.pending
        if pending is None or pending["format"] != kind:
            check_age(kind, self._run, self._tenable_now)
            file_id = self._start(kind)
            pending = self.state.pending = {"format": kind, "file_id": file_id, "since": self._now()}
            self._save()
        file_id = pending["file_id"]
        try:
            status = self._client.status(self._scan, file_id)
        except NotFoundError:
            status = "forgotten by Tenable"
        if status in (ERROR, "forgotten by Tenable"):
            raise ExportFailedError(f"Tenable could not prepare the file {file_id} ({status}).")
        if status != READY:
            waited = self._now() - pending["since"]
            if waited >= self._timeout:
                raise ExportFailedError(
                    f"Tenable has not prepared the file {file_id} within {duration(waited)}; it is {status}. Raise "
                    "export_timeout, or export with filters."
                )
            return False
        self._download(kind, file_id)
        return True

    def _start(self, kind: str) -> str:
        body = self._request.body(kind)
        if kind != "db":
            return self._client.start(self._scan, self._run, body)
        if not self._password:
            raise ConfigurationError("A db export is encrypted: give the password as the password of password_conn_id.")
        host = host_of(self._results(), self._request.asset)
        body["password"] = self._password
        # Tenable documents only that this is the asset's id: the uuid comes first, the number if that is rejected.
        refused: TenableRequestError | None = None
        for asset_id in (host.uuid, host.host_id):
            if asset_id is None:
                continue
            try:
                file_id = self._client.start(self._scan, self._run, {**body, "asset_id": str(asset_id)})
            except TenableRequestError as error:
                refused = error
                continue
            log.info("The db contains host %s (asset_id %s).", host.name, asset_id)
            return file_id
        raise refused or ConfigurationError(f"Tenable reports no asset id of host {host.name}.")

    def _download(self, kind: str, file_id: str) -> None:
        path = self._path(kind)
        expected, existing = self._client.size(file_id), digest_of(path)
        different = False

        def accept(got: Downloaded) -> bool:
            nonlocal different
            self._check_size(kind, file_id, got, expected)
            reached(ScanCrashPoint.FILE_DOWNLOADED)
            different = existing is not None and existing != (got.bytes, got.sha256)
            return existing is None or (different and self._overwrite)

        got = download_to(path, lambda file: self._client.download(self._scan, file_id, file), accept)
        if different and not self._overwrite:
            raise ConfigurationError(
                f"{path} exists with other content. Remove it, choose another path, or set overwrite=True."
            )
        reached(ScanCrashPoint.FILE_WRITTEN)
        self.state.files[kind] = {"path": str(path), "bytes": got.bytes, "sha256": got.sha256}
        self.state.pending = None
        self._save()
        reached(ScanCrashPoint.FILE_RECORDED)
        self._downloaded(kind, got.bytes)
        log.info("Exported the %s of run %s to %s: %d bytes.", kind, self._run.uuid, path, got.bytes)

    def _check_size(self, kind: str, file_id: str, got: Downloaded, expected: int | None) -> None:
        if not got.bytes:
            raise ExportFailedError(f"Tenable's file {file_id} is empty.")
        if expected and expected != got.bytes:
            raise ExportFailedError(
                f"Tenable's file {file_id} has {got.bytes} bytes, but its list of exports says {expected}."
            )

    def _path(self, kind: str) -> ObjectStoragePath:
        return self._folder / file_name(self._scan.name, self._run.uuid, kind)

    def _load(self) -> FilesState:
        try:
            value: Mapping[str, Any] | None = read_json(self._state_path)
        except DamagedFileError as error:
            log.warning("%s The files are exported again.", error)
            value = None
        if not isinstance(value, dict) or value.get("run_uuid") != self._run.uuid:
            return FilesState(self._run.uuid)
        known = {name: item for name, item in value.items() if name in FilesState.__dataclass_fields__}
        return FilesState(**known)

    def _save(self) -> None:
        write_json(self._state_path, asdict(self.state))
