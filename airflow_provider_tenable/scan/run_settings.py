"""Settings of a run, and what a step of it returns."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds for which a run may be neither in the history nor active before it counts as lost, or as never launched.
GRACE = 600.0
#: Seconds between two attempts to find a run whose launch was not answered.
SEARCH_INTERVAL = 15.0
#: Launches whose answer is lost and whose run never appears, before the task fails.
LOST_LAUNCHES = 3
#: A history entry that began this many seconds before the launch is of an earlier run. Tenable reports whole seconds.
CLOCK_SLACK = 5.0
#: What happens if somebody else's run is active.
FAIL, WAIT, ADOPT = "fail", "wait", "adopt"
IF_RUNNING = (FAIL, WAIT, ADOPT)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a run is launched and followed. Times in seconds.

    :ivar if_running: ``fail``, ``wait`` or ``adopt``.
    :ivar accept: final statuses that count as success.
    """

    if_running: str = FAIL
    accept: tuple[str, ...] = ("completed",)
    poll_interval: float = 60.0
    scan_timeout: float = 43_200.0
    capacity_timeout: float = 3_600.0
    pending_timeout: float = 14_400.0
    stop_on_timeout: bool = True


@dataclass(frozen=True)
class Waiting:
    """Nothing to do for now.

    :ivar run_uuid: the run, once known.
    :ivar status: its status, as the trigger compares it.
    """

    seconds: float
    run_uuid: str | None = None
    status: str | None = None


@dataclass(frozen=True)
class Ended:
    """The run has ended as wanted. :ivar result: the task's result."""

    result: dict[str, object]
