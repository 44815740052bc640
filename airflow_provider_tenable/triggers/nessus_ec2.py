"""Waits in the triggerer for a scanner's EC2 instance to pass EC2's status checks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseTrigger, TriggerEvent
from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.triggers.tenable import SHORTEST_POLL_INTERVAL

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.nessus_ec2 import NessusEc2Hook


class NessusInstanceTrigger(BaseTrigger):
    """Fires when an instance is ready or will never be, or when its deadline has passed. The event is only a wake-up
    call: the task looks for itself.

    It contains only the connection's id, no keys. boto3 is synchronous, so it runs in a thread.

    :param aws_conn_id: AWS connection; None for the triggerer's own credentials.
    :param region_name: the instance's Region.
    :param verify: as of the operator.
    :param botocore_config: as of the operator.
    :param instance_id: the instance.
    :param poll_interval: seconds between two polls.
    :param deadline: unix seconds after which the trigger always fires.
    """

    def __init__(
        self,
        *,
        aws_conn_id: str | None,
        region_name: str | None,
        instance_id: str,
        poll_interval: float,
        deadline: float,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.instance_id = instance_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.verify = verify
        self.botocore_config = botocore_config

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The constructor's arguments, for the metadata database."""
        names = ("aws_conn_id", "region_name", "instance_id", "poll_interval", "deadline", "verify", "botocore_config")
        return (
            "airflow_provider_tenable.triggers.nessus_ec2.NessusInstanceTrigger",
            {name: getattr(self, name) for name in names},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the instance, for the first time after ``poll_interval`` seconds."""
        from airflow_provider_tenable.hooks.nessus_ec2 import NessusEc2Hook

        hook = NessusEc2Hook(
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            config=self.botocore_config,
        )
        try:
            event = None
            while event is None:
                await asyncio.sleep(max(self.poll_interval, SHORTEST_POLL_INTERVAL))
                event = await self._poll(hook)
                if event is None and time.time() >= self.deadline:
                    event = {"message": "the deadline has passed"}
            yield TriggerEvent({"instance_id": self.instance_id, **event})
        finally:
            hook.close()

    async def _poll(self, hook: NessusEc2Hook) -> dict[str, Any] | None:
        from asgiref.sync import sync_to_async

        from airflow_provider_tenable.scan.instances import is_ready

        try:
            # Airflow reads connections through the event loop's own bridge to threads; a plain thread would hang on
            # Airflow 3.
            await sync_to_async(lambda: hook.conn_config)()
            is_there = await asyncio.to_thread(lambda: is_ready(hook, self.instance_id))
        except ConfigurationError as error:
            return {"message": str(error)}
        except TemporaryError as error:
            self.log.warning("Could not poll instance %s: %s", self.instance_id, error)
            return None
        return {"ready": True} if is_there else None
