"""What is kept of an export, so that a killed task's retry resumes it, and the outcomes of one step. No Airflow in here."""

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
    """What is kept of an export, so that a killed task's retry goes on where it stood.

    :ivar requested_at: when the running job was asked for (unix seconds, our clock), before the call.
    :ivar given_up: jobs that broke: a later look at Tenable's list must not take them for ours again.
    :ivar data_from: the moment whose data the export is sure to hold: the earlier of ``requested_at`` and an adopted job's creation.
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

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ExportState:
        parts = {chunk: Part(**part) for chunk, part in value.pop("parts").items()}
        return cls(**value, parts=parts)


class ExportStore(Protocol):
    """Where state and chunks are kept.

    ``put`` raises ``ValueError`` for a chunk that cannot be decoded; ``drop`` removes the parts of a job that is given up.
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
    """The export is whole and staged."""

    state: ExportState
