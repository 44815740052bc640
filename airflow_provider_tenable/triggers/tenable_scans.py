"""Waits in the triggerer for the end of a scan's run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseTrigger, TriggerEvent, is_deferred
from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError, TenableProviderError
from airflow_provider_tenable.triggers.tenable import SHORTEST_POLL_INTERVAL

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.tenable import TenableHook
    from airflow_provider_tenable.tenable_vm.scans import Scan


class TenableScanTrigger(BaseTrigger):
    """Fires when a run has ended or has another status than the task has seen, or when a deadline has passed.

    It contains only the connection's id, no keys. The task itself decides what the status means.

    :param tenable_conn_id: connection of type ``tenable``.
    :param scan: ``{"id", "schedule_uuid", "name"}``.
    :param run_uuid: the run; None: it waits for a run that began after ``since`` and has ended.
    :param status: the status that the task has seen.
    :param poll_interval: seconds between two polls, at least 10.
    :param deadline: unix seconds after which the trigger always fires.
    :param stops: whether the run may be stopped when a person has cleared or marked the task.
    :param since: unix seconds, if there is no ``run_uuid``.
    """

    def __init__(
        self,
        *,
        tenable_conn_id: str,
        scan: dict[str, Any],
        run_uuid: str | None,
        status: str | None,
        poll_interval: float,
        deadline: float,
        stops: bool = False,
        since: float | None = None,
    ) -> None:
        super().__init__()
        self.tenable_conn_id = tenable_conn_id
        self.scan = scan
        self.run_uuid = run_uuid
        self.status = status
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.stops = stops
        self.since = since

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The constructor's arguments, for the metadata database."""
        return (
            "airflow_provider_tenable.triggers.tenable_scans.TenableScanTrigger",
            {
                "tenable_conn_id": self.tenable_conn_id,
                "scan": self.scan,
                "run_uuid": self.run_uuid,
                "status": self.status,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "stops": self.stops,
                "since": self.since,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the run, for the first time after ``poll_interval`` seconds."""
        from airflow_provider_tenable.hooks.tenable import TenableHook

        # No retries in the client: it would sleep through a long Retry-After, and the next poll comes anyway.
        hook = TenableHook(self.tenable_conn_id, retries=0)
        try:
            event = None
            while event is None:
                remaining = self.deadline - time.time()
                await asyncio.sleep(max(min(self.poll_interval, remaining), SHORTEST_POLL_INTERVAL))
                event = await self._poll(hook)
                if event is None and time.time() >= self.deadline:
                    event = {"message": "the deadline has passed"}
            yield TriggerEvent({"run_uuid": self.run_uuid, **event})
        finally:
            hook.close()

    async def on_kill(self) -> None:
        """Stop the run when a person has cleared or marked the waiting task (Airflow 3.3 and later report that).

        Airflow reports the same when another triggerer takes over (apache/airflow#73454). The task is deferred then,
        and waits for the run.
        """
        if not self.stops or self.run_uuid is None:
            return
        if await is_deferred(self.task_instance) is not False:
            self.log.info("The task still waits for run %s, so the run is not stopped.", self.run_uuid)
            return
        from asgiref.sync import sync_to_async

        from airflow_provider_tenable.hooks.tenable import TenableHook

        hook = TenableHook(self.tenable_conn_id, retries=0)
        try:
            await sync_to_async(lambda: hook.connection_arguments)()
            stopped = await asyncio.to_thread(lambda: self._stop(hook))
            self.log.info("Run %s was %s.", self.run_uuid, "stopped" if stopped else "not active any more")
        except TenableProviderError as error:
            self.log.warning("Could not stop run %s: %s", self.run_uuid, error)
        finally:
            hook.close()

    async def _poll(self, hook: TenableHook) -> dict[str, Any] | None:
        """The event for the task, or None."""
        from asgiref.sync import sync_to_async

        try:
            # As in the trigger for exports: Airflow reads connections through the event loop's own bridge to threads.
            await sync_to_async(lambda: hook.connection_arguments)()
            return await asyncio.to_thread(lambda: self._news(hook))
        except ConfigurationError as error:
            return {"message": str(error)}
        except TemporaryError as error:
            self.log.warning("Could not poll scan %s: %s", self._scan().label, error)
            return None

    def _news(self, hook: TenableHook) -> dict[str, Any] | None:
        from airflow_provider_tenable.scan.run_context import status_now
        from airflow_provider_tenable.scan.scheduled import newest_since
        from airflow_provider_tenable.scan.status import ENDED

        scan = self._scan()
        if self.run_uuid is None:
            run = newest_since(hook.scan_runs.history(scan), self.since or 0.0)
            return {"run_uuid": run.uuid, "status": run.status} if run else None
        status = status_now(hook.scan_runs, scan, self.run_uuid)
        # A run may have ended after the task's poll and before the task has noted its status for this trigger.
        return None if status == self.status and status not in ENDED else {"status": status}

    def _stop(self, hook: TenableHook) -> bool:
        from airflow_provider_tenable.scan.run_context import is_ours

        assert self.run_uuid is not None
        scan = self._scan()
        return is_ours(hook.scan_runs, scan, self.run_uuid) and hook.scan_runs.stop(scan)

    def _scan(self) -> Scan:
        from airflow_provider_tenable.tenable_vm.scans import Scan

        return Scan(int(self.scan["id"]), str(self.scan["schedule_uuid"]), str(self.scan["name"]))
