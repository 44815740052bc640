"""The calls of Tenable's export API that we use, through pyTenable's client, with its errors classified by what to do
next.

What each status means, and how often a request is repeated: :mod:`airflow_provider_tenable.tenable_vm.retry`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Any, TypeVar

import requests
from tenable.errors import APIError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from airflow_provider_tenable.exceptions import (
    ChunkNotReadyError,
    ConfigurationError,
    DuplicateExportError,
    ExportLimitError,
    ExportNotFoundError,
    TemporaryError,
    TenablePermissionError,
    TenableProviderError,
    TenableRequestError,
)
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.uuids import UUID, is_uuid, same_uuid
from airflow_provider_tenable.tenable_vm.http_time import http_date
from airflow_provider_tenable.tenable_vm.jobs import Job, JobStatus
from airflow_provider_tenable.tenable_vm.kinds import ECHOED_SIZES, kind_of
from airflow_provider_tenable.tenable_vm.response_body import read_bytes, read_chunk
from airflow_provider_tenable.tenable_vm.retry import REPEAT_SECONDS, REPEATS, rule_of

if TYPE_CHECKING:
    from tenable.io import TenableIO

_T = TypeVar("_T")

log = logging.getLogger(__name__)


_KEYS = re.compile(r"(?:access|secret)Key", re.IGNORECASE)
#: Chunk ids count up from 1; no export has a billion of them.
_MOST_CHUNKS = 1_000_000_000


class _BrokenBodyError(Exception):
    """The body of a response was cut off. Unlike a failed request, it has not been repeated by pyTenable."""

    def __init__(self, path: str, error: requests.exceptions.RequestException) -> None:
        super().__init__(path)
        self.path = path
        self.error = error


def _report_broken_body(state: RetryCallState) -> None:
    broken = state.outcome and state.outcome.exception()
    if isinstance(broken, _BrokenBodyError):
        log.warning("The response to %s was cut off (%s): trying again.", broken.path, _short(broken.error))


class TenableApi:
    """Calls on one pyTenable client.

    :param client: pyTenable's ``TenableIO``.
    :param name: what messages call the source of the client, such as its connection.
    :param repeats: how often a request is repeated whose response is cut off: as often as the client repeats a failed
        one.
    """

    def __init__(self, client: TenableIO, *, name: str, repeats: int = REPEATS) -> None:
        self._client = client
        self._name = name
        self._repeats = repeats
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
        session, headers = self._answer("identify the user", self._client.get, "session")
        if not isinstance(session, dict):
            raise TemporaryError("Tenable's response about the user is not a JSON object.")
        return session, headers

    def start(self, kind: str, body: dict[str, Any]) -> str:
        """Request an export. :return: the job's uuid.

        :raises DuplicateExportError: an export with the same filters is running.
        """
        what = f"start the {kind} export"
        answer = self._json(what, self._client.post, kind_of(kind).start_path, json=body, starting=True)
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
        answer = self._json(f"poll {kind} export {job_uuid}", self._client.get, f"{_job_path(kind, job_uuid)}/status")
        if not isinstance(answer, dict) or not isinstance(answer.get("status"), str):
            raise TemporaryError(f"Tenable's response about {kind} export {job_uuid} contains no status.")
        if answer["status"].strip().upper() == "FINISHED" and not isinstance(answer.get("chunks_available"), list):
            # An empty result is an empty list. Anything else leaves open what was exported.
            raise TemporaryError(
                f"Tenable reports {kind} export {job_uuid} as FINISHED without a list chunks_available."
            )
        lost = _ids(answer.get("chunks_failed")) | _ids(answer.get("chunks_cancelled"))
        return JobStatus(
            status=safe(answer["status"], 40).upper(),
            chunks=_ids(answer.get("chunks_available")),
            lost_chunks=lost,
            reason=safe(answer.get("reason") or "") or None,
            filters=answer.get("filters"),
            chunk_size=_chunk_size(answer),
            created=_seconds(answer.get("created")),
            total_chunks=answer.get("total_chunks"),
            counted_chunks=_counted_chunks(answer, len(lost)),
        )

    def jobs(self, kind: str) -> list[Job]:
        """The jobs of the last days (``GET .../export/status``: the 1,000 most recent), without those whose id is not a
        UUID.
        """
        answer = self._json(f"list the {kind} exports", self._client.get, f"{kind_of(kind).path}/status")
        listed = [
            job
            for job in _list(answer.get("exports") if isinstance(answer, dict) else None)
            if isinstance(job, dict) and job.get("uuid")
        ]
        strange = [job["uuid"] for job in listed if not is_uuid(job["uuid"])]
        if strange:
            self._report_once(
                "jobs",
                "Tenable lists %s exports whose ids are not UUIDs, such as %r. They are ignored.",
                kind,
                safe(strange[0], 80),
            )
        return [
            Job(
                uuid=job["uuid"],
                status=safe(job.get("status", ""), 40).upper(),
                filters=job.get("filters"),
                chunk_size=_chunk_size(job),
                created=_seconds(job.get("created")),
            )
            for job in listed
            if is_uuid(job["uuid"])
        ]

    def chunk(self, kind: str, job_uuid: str, chunk_id: int) -> bytes | IO[bytes]:
        """The bytes of a chunk; a large chunk as a file, which the caller must close.

        :raises ChunkNotReadyError: the chunk is listed, but not available yet (400).
        :raises ExportNotFoundError: the job or chunk has expired (404, 410).
        """
        path = f"{_job_path(kind, job_uuid)}/chunks/{int(chunk_id)}"
        what = f"fetch chunk {chunk_id} of {kind} export {job_uuid}"
        try:
            headers, body = self._call(what, lambda: self._read(read_chunk, self._client.get, path))
        except TenableRequestError as error:
            raise ChunkNotReadyError(str(error)) from error
        if body == b"" and not {"content-length", "transfer-encoding"} & {name.lower() for name in headers}:
            # A connection that dies within the headers looks the same, so a body is empty only if the headers say so.
            raise TemporaryError(f"Cannot {what}: Tenable's response was cut off.")
        return body

    def cancel(self, kind: str, job_uuid: str) -> None:
        """Cancel a job. A job that has already ended is not an error."""
        try:
            path = f"{_job_path(kind, job_uuid)}/cancel"
            self._call(f"cancel {kind} export {job_uuid}", lambda: self._read(read_bytes, self._client.post, path))
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
            answer = self._json(f"look up asset {asset_id}", self._client.get, f"assets/{asset_id}")
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

    def _json(
        self, what: str, request: Callable[..., requests.Response], path: str, *, starting: bool = False, **body: Any
    ) -> Any:
        """Send a request and decode the response."""
        return self._answer(what, request, path, starting=starting, **body)[0]

    def _answer(
        self, what: str, request: Callable[..., requests.Response], path: str, *, starting: bool = False, **body: Any
    ) -> tuple[Any, Mapping[str, str]]:
        headers, data = self._call(what, lambda: self._read(read_bytes, request, path, **body), starting=starting)
        try:
            return json.loads(data), headers
        except (ValueError, RecursionError):
            raise TemporaryError(f"Cannot {what}: Tenable's response is not JSON.") from None

    def _read(
        self, read: Callable[[requests.Response], _T], request: Callable[..., requests.Response], path: str, **body: Any
    ) -> tuple[Mapping[str, str], _T]:
        """Send a request and read the response's body with ``read``. :return: its headers, and the result of ``read``.

        pyTenable repeats a request without a response. If a streamed body is cut off later, this method repeats the
        request, as often and after the same pause.
        """

        def once() -> tuple[Mapping[str, str], _T]:
            response = request(path, box=False, stream=True, **body)
            try:
                return response.headers, read(response)
            except requests.exceptions.RequestException as error:
                raise _BrokenBodyError(path, error) from None

        repeated = Retrying(
            retry=retry_if_exception_type(_BrokenBodyError),
            stop=stop_after_attempt(1 + self._repeats),
            wait=wait_fixed(REPEAT_SECONDS),
            before_sleep=_report_broken_body,
            reraise=True,
        )
        try:
            return repeated(once)
        except _BrokenBodyError as broken:
            raise broken.error from None

    def _call(self, what: str, call: Callable[[], _T], *, starting: bool = False) -> _T:
        try:
            return call()
        except APIError as error:
            raise self._classify(what, error, starting=starting) from None
        except requests.exceptions.SSLError as error:
            raise ConfigurationError(
                f"Cannot {what}: the TLS certificate of {self._client._url} is not trusted ({_short(error)}). "
                f"Set extra 'verify' of {self._name} to the path of the CA bundle that signs it."
            ) from None
        except requests.exceptions.ProxyError as error:
            raise TemporaryError(
                f"Cannot {what}: the proxy of {self._name} does not respond ({_short(error)})."
            ) from None
        except requests.exceptions.RequestException as error:
            raise TemporaryError(
                f"Cannot {what}: {self._client._url} is not reachable ({_short(error)}). Check the URL of {self._name} "
                "and the network path."
            ) from None
        except OSError as error:
            # requests raises a plain OSError if the CA bundle or a client certificate does not exist.
            raise ConfigurationError(
                f"Cannot {what}: a file named in the TLS settings cannot be read ({type(error).__name__}). "
                f"Extra 'verify' of {self._name} must be true, false, or the path of a CA bundle on the workers."
            ) from None
        except ValueError as error:
            raise TemporaryError(
                f"Cannot {what}: Tenable's response cannot be read ({type(error).__name__})."
            ) from None

    def _classify(self, what: str, error: APIError, *, starting: bool) -> TenableProviderError:
        response = error.response
        status = response.status_code
        # The session has masked the keys in it.
        text = response.text[:2000]
        if starting and status in (409, 429):
            # Today a 409 with active_job_id; in 2023 a 429 that said "Duplicate export", with the job in its text or in
            # a list of values.
            job = UUID.search(text)
            if status == 409 or "duplicate" in text.lower():
                return DuplicateExportError(
                    f"Cannot {what}: Tenable is already running one with the same filters.", job[0] if job else None
                )
        kind = ExportLimitError if starting and status == 429 else rule_of(status).error
        message = f"Cannot {what}: Tenable returned {status} {safe(response.reason or '', 100)}".rstrip()
        if status == 401:
            message += (
                f". The API keys of {self._name} are not valid (any more). Generate a pair for the API user "
                f"and put it into the connection"
            )
        elif status == 403:
            message += (
                f". The API user of {self._name} lacks permission for this. It needs 'Can View' on the assets, and the "
                "right "
                f"to export "
                "(role Basic or higher; on FedRAMP, assets need an administrator)"
            )
        elif _KEYS.search(text):
            message += ", and the response repeats the request with its keys, which are not shown"
        elif "html" not in response.headers.get("Content-Type", "") and text.strip():
            message += f": {safe(text)}"
        if kind is DuplicateExportError and not starting:
            kind = TemporaryError
        if kind is ExportLimitError:
            message += (
                ". Tenable runs at most 10 exports of a container at a time, including those of other tools and people"
            )
        return kind(message + ".")


def _job_path(kind: str, job_uuid: str) -> str:
    """The path of a job. :raises ExportNotFoundError: its id is not a UUID, so Tenable cannot know it."""
    if not is_uuid(job_uuid):
        raise ExportNotFoundError(f"Tenable has no {kind} export {safe(job_uuid, 80)!r}: an export id must be a UUID.")
    return f"{kind_of(kind).path}/{job_uuid}"


def _ids(value: Any) -> frozenset[int]:
    """Chunk ids, which become part of URLs and file names. An invalid id raises an error, because skipping it would
    lose a chunk.

    :param value: a list of whole numbers or of strings of digits; None for an empty one.
    """
    try:
        return frozenset(_chunk_id(item) for item in value or [])
    except (TypeError, ValueError):
        raise TemporaryError(f"Tenable's response about an export lists invalid chunks: {safe(value, 100)}.") from None


def _chunk_id(item: Any) -> int:
    # int() accepts more than this: it would turn a fraction into another chunk's number, and True into 1.
    if isinstance(item, str) and re.fullmatch(r"[0-9]{1,9}", item):
        return int(item)
    if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < _MOST_CHUNKS:
        return item
    raise ValueError("not a chunk id")


def _counted_chunks(answer: dict[str, Any], lost: int) -> int:
    """How many chunks a finished job must list. Tenable does not document whether empty chunks are listed, so they are
    not expected.
    """
    empty = _count(answer.get("empty_chunks_count"))
    return max(_count(answer.get("chunks_available_count")), _count(answer.get("total_chunks")) - lost) - empty


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST_CHUNKS else 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _chunk_size(job: dict[str, Any]) -> int | None:
    size = next((job[name] for name in ECHOED_SIZES if job.get(name)), None)
    return size if isinstance(size, int) else None


def _seconds(milliseconds: Any) -> float | None:
    return milliseconds / 1000 if isinstance(milliseconds, (int, float)) and milliseconds > 0 else None


def _short(error: Exception) -> str:
    """The class of a connection error, without its text, which may contain a proxy's password."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return type(reason or error).__name__
