"""The calls of Tenable's export API that we use, through pyTenable's client, with its errors classified by what to do
next.

What each status means, and how often a request is repeated: :mod:`airflow_provider_tenable.tenable_vm.retry`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_tenable.exceptions import (
    ChunkNotReadyError,
    DuplicateExportError,
    ExportLimitError,
    ExportNotFoundError,
    TemporaryError,
    TenablePermissionError,
    TenableRequestError,
)
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.uuids import UUID, is_uuid, same_uuid
from airflow_provider_tenable.tenable_vm.calls import Caller, Special
from airflow_provider_tenable.tenable_vm.http_time import http_date
from airflow_provider_tenable.tenable_vm.job_fields import job_of, jobs_of, status_of
from airflow_provider_tenable.tenable_vm.jobs import Job, JobStatus
from airflow_provider_tenable.tenable_vm.kinds import kind_of
from airflow_provider_tenable.tenable_vm.response_body import read_chunk
from airflow_provider_tenable.tenable_vm.retry import REPEATS

if TYPE_CHECKING:
    from tenable.io import TenableIO

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: What the API user needs for exports.
_NEEDS = (
    "'Can View' on the assets, and the right to export (role Basic or higher; on FedRAMP, assets need an administrator)"
)
#: A 409 means a duplicate only where an export is requested.
_OF_EXPORTS = {409: TemporaryError}


class TenableApi:
    """Calls on one pyTenable client.

    :param client: pyTenable's ``TenableIO``.
    :param name: what messages call the source of the client, such as its connection.
    :param repeats: how often a request is repeated whose response is cut off: as often as the client repeats a failed
        one.
    """

    def __init__(self, client: TenableIO, *, name: str, repeats: int = REPEATS) -> None:
        self._client = client
        self._caller = Caller(client, name=name, needs=_NEEDS, by_status=_OF_EXPORTS, repeats=repeats)
        self._reported: set[str] = set()

    def who_am_i(self) -> str:
        """The name of the user that the keys belong to (``GET /session``)."""
        session, _ = self._session()
        return safe(session.get("username") or session.get("name") or session.get("uuid") or "an unnamed user", 100)

    def identity(self) -> str:
        """A digest of the Tenable instance and the API user. New keys of the same user do not change it."""
        session, _ = self._session()
        facts = [self._client._url, *(str(session.get(name)) for name in ("container_uuid", "uuid", "username"))]
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]

    def server_time(self) -> float | None:
        """Tenable's clock (unix seconds), from the ``Date`` header of a cheap response (``GET /session``); None without
        that header.
        """
        _, headers = self._session()
        return http_date(headers.get("Date"))

    def _session(self) -> tuple[dict[str, Any], Mapping[str, str]]:
        session, headers = self._caller.answer("identify the user", self._client.get, "session")
        if not isinstance(session, dict):
            raise TemporaryError("Tenable's response about the user is not a JSON object.")
        return session, headers

    def start(self, kind: str, body: dict[str, Any]) -> str:
        """Request an export. :return: the job's uuid.

        :raises DuplicateExportError: an export with the same filters is running.
        """
        what = f"start the {kind} export"
        answer = self._caller.json(
            what, self._client.post, kind_of(kind).start_path, json=body, special=_starting(what, kind)
        )
        job = answer.get("export_uuid") if isinstance(answer, dict) else None
        if not isinstance(job, str) or not job:
            raise TemporaryError(f"Tenable's response to the request to {what} contains no export_uuid.")
        if not is_uuid(job):
            # The id becomes part of URLs and file names.
            raise TemporaryError(
                f"Tenable's response to the request to {what} contains the export_uuid {safe(job, 80)!r}, which is not "
                "a UUID."
            )
        return job

    def status(self, kind: str, job_uuid: str) -> JobStatus:
        """The state of a job."""
        what = f"{kind} export {job_uuid}"
        path = f"{_job_path(kind, job_uuid)}/status"
        answer = self._caller.json(f"poll {what}", self._client.get, path, special=_of_kind(kind))
        return status_of(answer, what)

    def jobs(self, kind: str) -> list[Job]:
        """The jobs of the last days (``GET .../export/status``: the 1,000 most recent), without those whose id is not a
        UUID.
        """
        path = f"{kind_of(kind).path}/status"
        answer = self._caller.json(f"list the {kind} exports", self._client.get, path, special=_of_kind(kind))
        listed = jobs_of(answer)
        strange = [job["uuid"] for job in listed if not is_uuid(job["uuid"])]
        if strange:
            self._report_once(
                "jobs",
                "Tenable lists %s exports whose ids are not UUIDs, such as %r. They are ignored.",
                kind,
                safe(strange[0], 80),
            )
        return [job_of(job) for job in listed if is_uuid(job["uuid"])]

    def chunk(self, kind: str, job_uuid: str, chunk_id: int) -> bytes:
        """The bytes of a chunk, all of them in memory. Errors as for :meth:`receive_chunk`."""
        return self.receive_chunk(kind, job_uuid, chunk_id, b"".join)

    def receive_chunk(self, kind: str, job_uuid: str, chunk_id: int, receive: Callable[[Iterator[bytes]], _T]) -> _T:
        """Pass the bytes of a chunk to ``receive``, piece by piece, while they arrive.

        :param receive: reads all pieces. It is called again, from the first piece on, if the response was cut off.
        :return: what ``receive`` returns.
        :raises ChunkNotReadyError: the chunk is listed, but not available yet (400).
        :raises ExportNotFoundError: the job or chunk has expired (404, 410).
        """
        path = f"{_job_path(kind, job_uuid)}/chunks/{int(chunk_id)}"
        what = f"fetch chunk {chunk_id} of {kind} export {job_uuid}"
        read = partial(read_chunk, receive=receive)
        try:
            headers, (size, received) = self._caller.call(
                what, lambda: self._caller.read(read, self._client.get, path), special=_of_kind(kind)
            )
        except TenableRequestError as error:
            raise ChunkNotReadyError(str(error)) from error
        if not size and not {"content-length", "transfer-encoding"} & {name.lower() for name in headers}:
            # A connection that dies within the headers looks the same, so a body is empty only if the headers say so.
            raise TemporaryError(f"Cannot {what}: Tenable's response was cut off.")
        return received

    def cancel(self, kind: str, job_uuid: str) -> None:
        """Cancel a job. A job that has already ended is not an error."""
        try:
            path = f"{_job_path(kind, job_uuid)}/cancel"
            self._caller.done(f"cancel {kind} export {job_uuid}", self._client.post, path)
        except (TenableRequestError, ExportNotFoundError, DuplicateExportError):
            return

    def asset(self, asset_id: str) -> dict[str, Any] | None:
        """One asset's details (``GET /assets/{id}``), or None if Tenable does not know it.

        Asset ids come from records, so an id that is not a UUID is not looked up, and a response about a different
        asset is ignored: the records that need the asset are parked, like those of an unknown one.
        """
        if not is_uuid(asset_id):
            return None
        try:
            answer = self._caller.json(f"look up asset {asset_id}", self._client.get, f"assets/{asset_id}")
        except (ExportNotFoundError, TenableRequestError):
            return None
        except TenablePermissionError as error:
            # Permissions differ from asset to asset: one hidden asset does not mean that the others are hidden.
            self._report_once(
                "hidden asset",
                "%s The records of this asset are parked. Those of other hidden assets are parked without a further "
                "message.",
                error,
            )
            return None
        if not isinstance(answer, dict):
            return None
        if not same_uuid(answer.get("id"), asset_id):
            self._report_once(
                "asset",
                "Tenable was asked for asset %s but returned asset %r. The response is not used, and the records of "
                "the asset are parked. Further responses of this kind are not logged. A proxy that caches responses "
                "can cause this.",
                asset_id,
                safe(answer.get("id"), 80),
            )
            return None
        return answer

    def _report_once(self, kind: str, text: str, *arguments: object) -> None:
        if kind not in self._reported:
            self._reported.add(kind)
            log.warning(text, *arguments)


def _of_kind(kind: str) -> Special:
    """What differs for the calls of a kind: which licence a refusal may be about."""
    product = kind_of(kind).product
    return Special(hints={403: _licence(product)} if product else {})


def _licence(product: str) -> str:
    return (
        f"This can also mean that the container has no licence of {product}, or that the role of the API user does not "
        "include it: let an administrator of Tenable check both. Without the product there is nothing to import: pause "
        "this DAG"
    )


def _starting(what: str, kind: str) -> Special:
    """What differs where an export is requested: a duplicate, a limit, and an API that the container does not have."""
    product = kind_of(kind).product

    def duplicate(status: int, text: str) -> DuplicateExportError | None:
        # Today a 409 with active_job_id; in 2023 a 429 that said "Duplicate export", with the job in its text or in a
        # list of values.
        if status != 409 and not (status == 429 and "duplicate" in text.lower()):
            return None
        job = UUID.search(text)
        return DuplicateExportError(
            f"Cannot {what}: Tenable is already running one with the same filters.", job[0] if job else None
        )

    return Special(
        error_of=duplicate,
        # No job has been named yet that Tenable could not find.
        by_status={429: ExportLimitError, **({404: TenablePermissionError} if product else {})},
        hints={
            **({status: _licence(product) for status in (403, 404)} if product else {}),
            429: "Tenable runs at most 10 exports of a container at a time, including those of other tools and people",
        },
    )


def _job_path(kind: str, job_uuid: str) -> str:
    """The path of a job. :raises ExportNotFoundError: its id is not a UUID, so Tenable cannot know it."""
    if not is_uuid(job_uuid):
        raise ExportNotFoundError(f"Tenable has no {kind} export {safe(job_uuid, 80)!r}: an export id must be a UUID.")
    return f"{kind_of(kind).path}/{job_uuid}"
