"""The state machine of one scan run: launch it once, find it again, follow it to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable

from airflow_provider_tenable.exceptions import CapacityError, ConflictError, TemporaryError
from airflow_provider_tenable.scan.crash_points import ScanCrashPoint
from airflow_provider_tenable.scan.follow import Follow
from airflow_provider_tenable.scan.launch import Launch
from airflow_provider_tenable.scan.run_context import RunContext, RunsClient, StateStore
from airflow_provider_tenable.scan.run_settings import GRACE, Ended, RunSettings, Waiting
from airflow_provider_tenable.scan.run_state import RunState
from airflow_provider_tenable.scan.status import PENDING
from airflow_provider_tenable.staging.crash_points import reached
from airflow_provider_tenable.tenable_vm.retry import FAILED_POLLS
from airflow_provider_tenable.tenable_vm.scans import Scan

log = logging.getLogger(__name__)


class RunMachine:
    """Launches a scan and follows its run, step by step.

    :param scan: the scan.
    :param targets: scanned instead of the scan's own.
    :param store: keeps the state between steps, attempts and processes.
    :param cleared: as in :class:`~airflow_provider_tenable.scan.run_state.RunState`.
    :param now: our clock, in unix seconds.
    """

    def __init__(
        self,
        *,
        scan: Scan,
        targets: list[str] | None,
        client: RunsClient,
        store: StateStore,
        settings: RunSettings,
        cleared: int,
        now: Callable[[], float],
    ) -> None:
        self._run = RunContext(scan, targets, client, store, settings, now, resumed(store.load(), cleared))

    @property
    def state(self) -> RunState:
        """The recorded state."""
        return self._run.state

    def step(self) -> Waiting | Ended:
        """Do what can be done now.

        :raises ScanFailedError: the run ended otherwise than wanted, or its time is over.
        :raises ConflictError: another run is active, and ``if_running`` is ``fail``.
        :raises CapacityError: Tenable had no capacity within ``capacity_timeout``.
        :raises ConfigurationError: Tenable refuses the launch.
        """
        run, state = self._run, self.state
        if state.result is not None:
            return Ended(state.result)
        try:
            outcome = Follow(run).step(state.run_uuid) if state.run_uuid else Launch(run).step()
        except (CapacityError, ConflictError):
            raise
        except TemporaryError as error:
            state.failed_polls += 1
            if state.failed_polls > FAILED_POLLS:
                raise
            run.save()
            log.warning("Could not poll scan %s: %s", run.scan.label, error)
            return run.waiting(run.settings.poll_interval)
        if state.failed_polls:
            state.failed_polls = 0
            run.save()
        return outcome

    def finish(self, result: dict[str, object]) -> Ended:
        """Record the task's result: a retry returns it again, a task that is cleared later launches a new run."""
        self.state.result = result
        self._run.save()
        reached(ScanCrashPoint.RESULT_RECORDED)
        return Ended(result)

    def fail(self, status: str) -> None:
        """Record that the run has not brought what it was for: a retry launches the scan again."""
        self.state.failure = status
        self._run.save()

    def stop(self) -> bool:
        """Stop the run, if it is active and this task launched it. :return: whether it was stopped."""
        return self._run.stop()

    def deadline(self) -> float:
        """Our clock when the next time limit of the run is over."""
        state, settings = self.state, self._run.settings
        began = state.launched_at or self._run.now()
        limits = [began + settings.scan_timeout]
        if state.status in PENDING:
            limits.append(began + settings.pending_timeout)
        if state.missing_since is not None:
            limits.append(state.missing_since + GRACE)
        return min(limits)


def resumed(state: RunState | None, cleared: int) -> RunState:
    """The state with which an attempt begins.

    A retry resumes its run, or returns the recorded result again. After a run that failed, and after a task that was
    successful and cleared, the scan is launched again. What was created for the run remains.
    """
    if state is None:
        return RunState(cleared=cleared)
    if state.failure or (state.result is not None and state.cleared != cleared):
        return RunState(cleared=cleared, created=state.created)
    if state.result is None:
        state.cleared = cleared
    return state
