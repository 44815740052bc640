"""Waits in the triggerer for a Tenable export."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseTrigger, TriggerEvent, is_deferred
from airflow_provider_tenable.exceptions import ConfigurationError, ExportNotFoundError, TemporaryError
from airflow_provider_tenable.export.polling import longer

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.tenable import TenableHook
    from airflow_provider_tenable.tenable_vm.jobs import JobStatus

#: Airflow 3.2 and 3.3 lose a task whose trigger fires while its worker is still reporting that it was deferred
#: (apache/airflow#66374, #71580): no trigger fires within its first seconds.
SHORTEST_POLL_INTERVAL = 10.0


class TenableExportTrigger(BaseTrigger):
    """Fires when an export has chunks that are not staged yet, when it has ended, or when its deadline has passed.

    It contains only the connection's id, no keys. pyTenable is synchronous, so it runs in a thread and does not block
    the event loop.

    :param tenable_conn_id: connection of type ``tenable``.
    :param export: the kind of export.
    :param job_uuid: Tenable's job.
    :param chunks_staged: the number of chunks that the task has staged.
    :param poll_interval: seconds between two polls, at most.
    :param deadline: unix seconds after which the trigger always fires.
    :param cancels: whether the job may be cancelled when the task is cleared or marked; False for somebody else's job.
    :param first_poll: seconds until the first poll of a young job. Each wait is half as long again as the one before
        it, up to ``poll_interval``; once a poll has failed, ``poll_interval``. None: always ``poll_interval``.
    """

    def __init__(
        self,
        *,
        tenable_conn_id: str,
        export: str,
        job_uuid: str,
        chunks_staged: int,
        poll_interval: float,
        deadline: float,
        cancels: bool = True,
        first_poll: float | None = None,
    ) -> None:
        super().__init__()
        self.tenable_conn_id = tenable_conn_id
        self.export = export
        self.job_uuid = job_uuid
        self.chunks_staged = chunks_staged
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.cancels = cancels
        self.first_poll = first_poll
        self._has_failed = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The constructor's arguments, for the metadata database."""
        return (
            "airflow_provider_tenable.triggers.tenable.TenableExportTrigger",
            {
                "tenable_conn_id": self.tenable_conn_id,
                "export": self.export,
                "job_uuid": self.job_uuid,
                "chunks_staged": self.chunks_staged,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                # Omitted by default, because version 0.1.0 does not know them.
                **({} if self.cancels else {"cancels": False}),
                **({} if self.first_poll is None else {"first_poll": self.first_poll}),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the job, for the first time after ``first_poll`` or ``poll_interval`` seconds, and never within ten."""
        from airflow_provider_tenable.hooks.tenable import TenableHook

        # No retries in the client: it would sleep through a long Retry-After, and the next poll comes anyway.
        hook = TenableHook(self.tenable_conn_id, retries=0)
        try:
            event, seconds = None, self.poll_interval if self.first_poll is None else self.first_poll
            while event is None:
                await asyncio.sleep(max(seconds, SHORTEST_POLL_INTERVAL))
                event = await self._poll(hook)
                seconds = self.poll_interval if self._has_failed else longer(seconds, poll_interval=self.poll_interval)
                if event is None and time.time() >= self.deadline:
                    event = {"message": "the export's deadline has passed"}
            yield TriggerEvent({"job_uuid": self.job_uuid, **event})
        finally:
            hook.close()

    async def on_kill(self) -> None:
        """Cancel the job when a person has cleared or marked the waiting task (Airflow 3.3 and later report that).

        Airflow reports the same when another triggerer takes over (apache/airflow#73454). The task is deferred then,
        and waits for the job. Before 3.3 the job runs to its end.
        """
        if not self.cancels:
            return
        if await is_deferred(self.task_instance) is not False:
            self.log.info(
                "The task still waits for %s export %s, so the job is not cancelled.", self.export, self.job_uuid
            )
            return
        from asgiref.sync import sync_to_async

        from airflow_provider_tenable.hooks.tenable import TenableHook

        hook = TenableHook(self.tenable_conn_id, retries=0)
        try:
            await sync_to_async(lambda: hook.connection_arguments)()
            await asyncio.to_thread(lambda: hook.cancel_export(self.export, self.job_uuid))
            self.log.info("Cancelled %s export %s.", self.export, self.job_uuid)
        except (ConfigurationError, TemporaryError) as error:
            self.log.warning("Could not cancel %s export %s: %s", self.export, self.job_uuid, error)
        finally:
            hook.close()

    async def _poll(self, hook: TenableHook) -> dict[str, Any] | None:
        """The event for the task, or None. The task itself decides what happens to the job."""
        from asgiref.sync import sync_to_async

        try:
            # Airflow reads connections through the event loop's own bridge to threads; a plain thread would hang on
            # Airflow 3.
            await sync_to_async(lambda: hook.connection_arguments)()
            status = await asyncio.to_thread(lambda: hook.export_status(self.export, self.job_uuid))
        except (ExportNotFoundError, ConfigurationError) as error:
            return {"message": str(error)}
        except TemporaryError as error:
            self.log.warning("Could not poll %s export %s: %s", self.export, self.job_uuid, error)
            self._has_failed = True
            return None
        return {"status": status.status} if self._is_news(status) else None

    def _is_news(self, status: JobStatus) -> bool:
        from airflow_provider_tenable.tenable_vm.jobs import ACTIVE

        return status.status not in ACTIVE or len(status.chunks) > self.chunks_staged
