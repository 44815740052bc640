"""Watches a scan in the triggerer, for the asset of its results (Airflow 3.0 and later)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseEventTrigger, TriggerEvent
from airflow_provider_tenable.exceptions import TenableProviderError
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.triggers.tenable import SHORTEST_POLL_INTERVAL

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.tenable import TenableHook
    from airflow_provider_tenable.tenable_vm.scan_runs import Run
    from airflow_provider_tenable.tenable_vm.scans import Scan


class TenableCompletedScanTrigger(BaseEventTrigger):
    """Fires for each completed run of a scan. It never ends, and contains only the connection's id, no keys.

    Airflow starts a trigger of an asset again at once when it fails, so no error ends it: it logs what is wrong, and
    polls again after the interval.

    :param scan: the scan's name in Tenable.
    :param tenable_conn_id: connection of type ``tenable``.
    :param poll_interval: seconds between two polls, at least 10.
    :param lookback: seconds before its start for which completed runs are reported.
    """

    def __init__(self, *, scan: str, tenable_conn_id: str, poll_interval: float, lookback: float) -> None:
        super().__init__()
        self.scan = scan
        self.tenable_conn_id = tenable_conn_id
        self.poll_interval = poll_interval
        self.lookback = lookback

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The constructor's arguments. They are the identity of the trigger, so none of them is a moment."""
        return (
            "airflow_provider_tenable.triggers.tenable_scan_events.TenableCompletedScanTrigger",
            {
                "scan": self.scan,
                "tenable_conn_id": self.tenable_conn_id,
                "poll_interval": self.poll_interval,
                "lookback": self.lookback,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the history of the scan, and report each completed run once."""
        from airflow_provider_tenable.hooks.tenable import TenableHook

        since, reported = time.time() - self.lookback, set[str]()
        hook = TenableHook(self.tenable_conn_id, retries=0)
        try:
            while True:
                await asyncio.sleep(max(self.poll_interval, SHORTEST_POLL_INTERVAL))
                try:
                    scan, history = await self._history(hook)
                except TenableProviderError as error:
                    self.log.warning("Could not poll scan %s: %s", quoted(self.scan, 80), error)
                    continue
                # Oldest first, as they happened.
                for run in reversed(history):
                    if _is_news(run, since) and run.uuid not in reported:
                        reported.add(run.uuid)
                        yield TriggerEvent(_payload(scan, run))
                # Of older runs than those of the history nothing is said any more.
                reported &= {run.uuid for run in history}
        finally:
            hook.close()

    async def _history(self, hook: TenableHook) -> tuple[Scan, list[Run]]:
        from asgiref.sync import sync_to_async

        # As in the trigger for exports: Airflow reads connections through the event loop's own bridge to threads.
        await sync_to_async(lambda: hook.connection_arguments)()
        return await asyncio.to_thread(lambda: self._read(hook))

    def _read(self, hook: TenableHook) -> tuple[Scan, list[Run]]:
        # By name each time: a scan that is deleted and created again has another id.
        scan = hook.scans.scan(f"name:{self.scan}")
        return scan, hook.scan_runs.history(scan)


def _is_news(run: Run, since: float) -> bool:
    from airflow_provider_tenable.scan.status import COMPLETED

    return run.status == COMPLETED and (run.ended or run.started or 0.0) >= since


def _payload(scan: Scan, run: Run) -> dict[str, Any]:
    return {
        "scan": scan.id,
        "schedule_uuid": scan.schedule_uuid,
        "name": scan.name,
        "run_uuid": run.uuid,
        "status": run.status,
        "started_at": run.started,
        "ended_at": run.ended,
    }


__all__ = ["TenableCompletedScanTrigger"]
