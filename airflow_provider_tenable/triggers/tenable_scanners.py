"""Waits in the triggerer for a scanner to come further: to appear in Tenable, to be on, to have plugins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseTrigger, TriggerEvent
from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.triggers.tenable import SHORTEST_POLL_INTERVAL

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.tenable import TenableHook


class TenableScannerTrigger(BaseTrigger):
    """Fires when a scanner has come further than the task has seen, or when its deadline has passed.

    The event is only a wake-up call: the task looks for itself.

    It contains only the connection's id, no keys.

    :param tenable_conn_id: connection of type ``tenable``.
    :param name: the scanner's name, or its ``uuid``.
    :param since: unix seconds; scanners of the name that were linked before do not count.
    :param require_plugins: as of the sensor.
    :param max_plugin_age_hours: as of the sensor.
    :param step: how far the task has seen it come.
    :param poll_interval: seconds between two polls.
    :param deadline: unix seconds after which the trigger always fires.
    """

    def __init__(
        self,
        *,
        tenable_conn_id: str,
        name: str | None,
        uuid: str | None,
        since: float | None,
        require_plugins: bool,
        max_plugin_age_hours: float | None,
        step: str,
        poll_interval: float,
        deadline: float,
    ) -> None:
        super().__init__()
        self.tenable_conn_id = tenable_conn_id
        self.name = name
        self.uuid = uuid
        self.since = since
        self.require_plugins = require_plugins
        self.max_plugin_age_hours = max_plugin_age_hours
        self.step = step
        self.poll_interval = poll_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The constructor's arguments, for the metadata database."""
        names = (
            "tenable_conn_id",
            "name",
            "uuid",
            "since",
            "require_plugins",
            "max_plugin_age_hours",
            "step",
            "poll_interval",
            "deadline",
        )
        return (
            "airflow_provider_tenable.triggers.tenable_scanners.TenableScannerTrigger",
            {name: getattr(self, name) for name in names},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the list of scanners, for the first time after ``poll_interval`` seconds."""
        from airflow_provider_tenable.hooks.tenable import TenableHook

        # No retries in the client: it would sleep through a long Retry-After, and the next poll comes anyway.
        hook = TenableHook(self.tenable_conn_id, retries=0)
        try:
            event = None
            while event is None:
                await asyncio.sleep(max(self.poll_interval, SHORTEST_POLL_INTERVAL))
                event = await self._poll(hook)
                if event is None and time.time() >= self.deadline:
                    event = {"message": "the deadline has passed"}
            yield TriggerEvent(event)
        finally:
            hook.close()

    async def _poll(self, hook: TenableHook) -> dict[str, Any] | None:
        from asgiref.sync import sync_to_async

        from airflow_provider_tenable.scan.online import Wanted, step_of

        wanted = Wanted(
            name=self.name,
            uuid=self.uuid,
            since=self.since,
            require_plugins=self.require_plugins,
            max_plugin_age_hours=self.max_plugin_age_hours,
        )
        try:
            await sync_to_async(lambda: hook.connection_arguments)()
            scanners = await asyncio.to_thread(hook.list_scanners)
            step, _ = step_of(scanners, wanted, now=time.time())
        except ConfigurationError as error:
            return {"message": str(error)}
        except TemporaryError as error:
            self.log.warning("Could not poll scanner %s: %s", wanted.title, error)
            return None
        return {"step": step.value} if step.value != self.step else None
