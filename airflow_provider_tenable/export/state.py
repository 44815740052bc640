"""The stored state of an export, from which a killed task's retry resumes, and the outcomes of one step. Free of
Airflow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from airflow_provider_tenable.export.chunks import Encoded


@dataclass
class Part:
    """A staged chunk: file name, number of records, and size in bytes as Tenable returned it."""

    name: str
    records: int
    bytes: int


@dataclass
class ExportState:
    """The stored state of an export, from which a killed task's retry resumes.

    :ivar requested_at: when the running job was requested (unix seconds, our clock), before the call.
    :ivar source: the Tenable instance and API user of the request (a digest). None: not recorded, because the run has
        no plan, or an older release made the request.
    :ivar adopted: whether somebody else may have requested the running job; such a job is not cancelled.
    :ivar cancellations: jobs of this export that somebody else cancelled.
    :ivar stalled_polls: consecutive polls of a finished job without progress.
    :ivar given_up: broken jobs, which must not be found in Tenable's list and used again.
    :ivar data_from: the time (unix seconds) whose data the export certainly contains: the earlier of ``requested_at``
        and an adopted job's creation. None: unknown, because Tenable does not report when the adopted job was created.
    """

    kind: str
    body: dict[str, Any]
    started_at: float
    uuid: str | None = None
    requested_at: float | None = None
    data_from: float | None = None
    restarts: int = 0
    complete: bool = False
    parts: dict[str, Part] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)
    adopted: bool = False
    cancellations: int = 0
    stalled_polls: int = 0
    source: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The staged form. A field with its default is omitted if older versions do not know it, so that they can read
        it.
        """
        value = asdict(self)
        return {name: item for name, item in value.items() if item or name not in _LATER}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ExportState:
        return cls(**{**value, "parts": {chunk: Part(**part) for chunk, part in value["parts"].items()}})


#: Fields added after version 0.1.0.
_LATER = frozenset({"adopted", "cancellations", "stalled_polls", "source"})


class ExportStore(Protocol):
    """Stores state and chunks.

    ``encode`` raises ``ValueError`` for a chunk that cannot be decoded; ``drop`` removes the parts of an abandoned job.
    """

    def load(self) -> ExportState | None: ...
    def save(self, state: ExportState) -> None: ...
    def encode(self, pieces: Iterable[bytes]) -> Encoded: ...
    def put(self, job_uuid: str, chunk_id: int, chunk: Encoded) -> Part: ...
    def drop(self, job_uuid: str) -> None: ...


@dataclass(frozen=True)
class Wait:
    """Nothing to do for now: poll the named job again after ``seconds`` (None: no job is running yet).

    :ivar is_early: whether ``seconds`` is less than the usual interval, because the job is young.
    """

    seconds: float
    job_uuid: str | None
    chunks_staged: int
    is_early: bool = False


@dataclass(frozen=True)
class Finished:
    """The export is complete and staged."""

    state: ExportState
