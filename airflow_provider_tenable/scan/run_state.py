"""What a task has recorded about the run of a scan that it launched, in the run folder in staging.

A launch cannot be repeated safely, so the task writes a note before it, with everything that identifies the run
afterwards.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.exceptions import DamagedFileError, StagingError
from airflow_provider_tenable.staging.files import read_json, write_json

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath


@dataclass
class Launching:
    """A launch whose result is not recorded yet.

    :ivar at: Tenable's clock before the launch, in unix seconds; None if Tenable did not report it.
    :ivar known: uuids of the runs that existed before.
    :ivar tried_at: our clock at the newest attempt.
    :ivar lost: attempts whose answer was lost and whose run never appeared.
    """

    at: float | None
    known: list[str]
    tried_at: float
    lost: int = 0


@dataclass
class RunState:
    """The state of one task's run.

    :ivar cleared: Airflow's number of permitted tries, which changes only if the task is cleared. It distinguishes a
        retry, which resumes, from a task that was cleared after its success, which scans again.
    :ivar created: what the task created for the run, such as a remediation scan: ``{"id", "schedule_uuid", "name"}``.
    :ivar run_uuid: the run, once known.
    :ivar adopted: whether somebody else launched it.
    :ivar launched_at: our clock when the run became known.
    :ivar waiting_since: our clock since when the launch waits for capacity, or for another run to end.
    :ivar missing_since: our clock since when Tenable neither lists the run nor reports the scan as active.
    :ivar failed_polls: polls that failed in a row.
    :ivar status: the last status that was logged.
    :ivar result: the task's result, once the run has ended as wanted.
    :ivar failure: the final status of a run that did not.
    """

    cleared: int = 0
    created: dict[str, Any] | None = None
    launching: Launching | None = None
    run_uuid: str | None = None
    adopted: bool = False
    launched_at: float | None = None
    waiting_since: float | None = None
    missing_since: float | None = None
    failed_polls: int = 0
    status: str | None = None
    result: dict[str, Any] | None = None
    failure: str | None = None
    unknown: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The staged form: everything that differs from its default."""
        value = {**self.unknown, **asdict(self)}
        value.pop("unknown")
        return {name: item for name, item in value.items() if item not in (None, 0, False, {})}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RunState:
        """From the staged form. Fields of a newer version are kept."""
        known = {name: item for name, item in value.items() if name in cls.__dataclass_fields__ and name != "unknown"}
        launching = known.pop("launching", None)
        state = cls(**known, launching=Launching(**launching) if launching else None)
        state.unknown = {name: item for name, item in value.items() if name not in cls.__dataclass_fields__}
        return state


class RunStateFile:
    """Stores the state of one task's run.

    :param path: see :meth:`airflow_provider_tenable.staging.layout.RunFolder.job`.
    """

    def __init__(self, path: ObjectStoragePath) -> None:
        self._path = path

    def load(self) -> RunState | None:
        """The recorded state; None if there is none.

        :raises StagingError: it cannot be read or is damaged.
        """
        try:
            value = read_json(self._path)
            return None if value is None else RunState.from_json(value)
        except (DamagedFileError, AttributeError, TypeError) as error:
            # Not the usual advice to remove the folder: the next attempt would launch the scan a second time.
            raise StagingError(
                f"The staged file {self._path} is not the state of a scan's run ({type(error).__name__}). Look in "
                "Tenable whether the scan runs. Once it does not, remove the file and clear the task."
            ) from error

    def save(self, state: RunState) -> None:
        """Write the state atomically."""
        write_json(self._path, state.to_json())
