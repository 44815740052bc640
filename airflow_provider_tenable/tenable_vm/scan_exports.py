"""Exports of one run's results as a file: request, poll, download.

Not pyTenable's ``scans.export``: it polls without a limit, drops ``asset_id``, and has lost colons of file ids.

.. seealso:: https://developer.tenable.com/reference/scans-export-request
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import requests

from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError, TenableProviderError
from airflow_provider_tenable.guards.redaction import scrub_pieces
from airflow_provider_tenable.tenable_vm.calls import Caller
from airflow_provider_tenable.tenable_vm.json_fields import number, object_in, objects, text
from airflow_provider_tenable.tenable_vm.scan_ids import file_path, is_file_id, scan_path
from airflow_provider_tenable.tenable_vm.scans import NEEDS, Scan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenable.io import TenableIO

    from airflow_provider_tenable.tenable_vm.scan_runs import Run

#: The largest file that is downloaded.
LARGEST_BYTES = 20_000_000_000
_PIECE_BYTES = 256 * 1024
READY, ERROR = "ready", "error"


@dataclass(frozen=True)
class Downloaded:
    """A downloaded file: its size in bytes, and its SHA-256 in hex."""

    bytes: int
    sha256: str


class ScanExportsApi:
    """Calls about exports of scans. Parameters as in :class:`~airflow_provider_tenable.tenable_vm.scans.ScansApi`."""

    def __init__(self, client: TenableIO, *, name: str) -> None:
        self._client = client
        self._calls = Caller(client, name=name, needs=NEEDS)

    def start(self, scan: Scan, run: Run, body: dict[str, Any]) -> str:
        """Request an export. Repeating is harmless: the file id is derived from the run and the request.

        :param body: ``{"format", "chapters"?, "password"?, "asset_id"?, "filter.0.filter"?, ...}``.
        :return: the file id.
        :raises TenableRequestError: Tenable rejects the request, such as a pdf of an old run.
        """
        answer = self._calls.json(
            f"export scan {scan.label} as {body.get('format')}",
            self._client.post,
            f"{scan_path(scan.schedule_uuid)}/export",
            params={"history_id": run.history_id} if run.history_id else {"history_uuid": run.uuid},
            json=body,
        )
        file_id = object_in(answer, "an export of a scan").get("file")
        file_id = str(file_id) if isinstance(file_id, int) and not isinstance(file_id, bool) else file_id
        if not is_file_id(file_id):
            raise TemporaryError("Tenable's response to the request for an export contains no valid file id.")
        return str(file_id)

    def status(self, scan: Scan, file_id: str) -> str:
        """``ready``, ``error``, or another text while Tenable works (``loading`` and others).

        :raises NotFoundError: Tenable does not know the export (any more).
        """
        path = f"{file_path(scan.schedule_uuid, file_id)}/status"
        answer = self._calls.json(f"poll an export of scan {scan.label}", self._client.get, path)
        status = text(object_in(answer, "an export of a scan").get("status"), 40).lower()
        if not status:
            raise TemporaryError(f"Tenable's response about an export of scan {scan.label} contains no status.")
        return status

    def size(self, file_id: str) -> int | None:
        """The file's size in bytes by the list of exports; None where the list does not have it."""
        try:
            answer = self._calls.json("list the scan exports", self._client.get, "scans/exports")
        except TenableProviderError:
            # The list is a second opinion only, and an older one may be closed to the user.
            return None
        for item in objects(answer):
            if item.get("export_id") == file_id:
                metadata = item.get("metadata")
                return number(metadata.get("file_size")) if isinstance(metadata, dict) else None
        return None

    def download(self, scan: Scan, file_id: str, to: IO[bytes]) -> Downloaded:
        """Write the file in blocks.

        :param to: a file; if the connection breaks, it is written again from the position that it has now.
        """
        start = to.tell()

        def write(response: requests.Response) -> Downloaded:
            to.seek(start)
            to.truncate()
            digest, size = hashlib.sha256(), 0
            with response:
                for piece in scrub_pieces(_bounded(response)):
                    to.write(piece)
                    digest.update(piece)
                    size += len(piece)
            return Downloaded(size, digest.hexdigest())

        path = f"{file_path(scan.schedule_uuid, file_id)}/download"
        what = f"download an export of scan {scan.label}"
        _, downloaded = self._calls.call(what, lambda: self._calls.read(write, self._client.get, path))
        return downloaded


def _bounded(response: requests.Response) -> Iterator[bytes]:
    size = 0
    for piece in response.iter_content(_PIECE_BYTES):
        size += len(piece)
        if size > LARGEST_BYTES:
            raise ConfigurationError(
                f"The export of a scan has more than {LARGEST_BYTES / 1e9:.0f} GB. Export it with filters, or scan "
                "fewer targets at a time."
            )
        yield piece
