"""What is kept of an export, so that a killed task's retry resumes it, and the outcomes of one step. No Airflow in
here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import IO, Any, Protocol


@dataclass
class Part:
    """A staged chunk: file name, number of records, bytes as Tenable served them."""

    name: str
    records: int
    bytes: int


@dataclass
class ExportState:
    """What is kept of an export, so that a killed task's retry resumes where it stopped.

    :ivar requested_at: when the running job was asked for (unix seconds, our clock), before the call.
    :ivar adopted: whether somebody else may have asked for the running job: then we do not cancel it.
    :ivar cancellations: jobs of this export that somebody else cancelled.
    :ivar stalled_polls: consecutive polls of a finished job that brought nothing new.
    :ivar given_up: jobs that broke: a later look at Tenable's list must not take them for ours again.
    :ivar data_from: the moment whose data the export is sure to hold: the earlier of ``requested_at`` and an adopted
        job's creation.
        None: nobody knows, since Tenable does not tell when the adopted job was created.
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

    def to_json(self) -> dict[str, Any]:
        """The staged form. A version that does not know a field can read it as long as the field has its default."""
        value = asdict(self)
        return {name: item for name, item in value.items() if item or name not in _LATER}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ExportState:
        return cls(**{**value, "parts": {chunk: Part(**part) for chunk, part in value["parts"].items()}})


#: Fields that came after version 0.1.0.
_LATER = frozenset({"adopted", "cancellations", "stalled_polls"})


class ExportStore(Protocol):
    """Where state and chunks are kept.

    ``put`` raises ``ValueError`` for a chunk that cannot be decoded; ``drop`` removes the parts of a job that is given
    up.
    """

    def load(self) -> ExportState | None: ...
    def save(self, state: ExportState) -> None: ...
    def put(self, job_uuid: str, chunk_id: int, data: bytes | IO[bytes]) -> Part: ...
    def drop(self, job_uuid: str) -> None: ...


@dataclass(frozen=True)
class Wait:
    """Nothing to do for now: look again after so many seconds, at the job that is named (None: none runs yet)."""

    seconds: float
    job_uuid: str | None
    chunks_staged: int


@dataclass(frozen=True)
class Finished:
    """The export is complete and staged."""

    state: ExportState
