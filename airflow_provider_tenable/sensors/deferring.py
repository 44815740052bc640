"""What the sensors have in common that wait for something in Tenable, in the triggerer on request."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    conf,
)
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.triggers.tenable import SHORTEST_POLL_INTERVAL

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import BaseTrigger


class _WaitsForTenable(BaseSensorOperator):
    """A sensor that looks once per attempt (``poke``), and between two looks is deferred if wanted.

    :param tenable_conn_id: connection of type ``tenable`` (templated).
    :param deferrable: wait in the triggerer, without a worker slot. Default ``[operators] default_deferrable``.
    """

    ui_color = "#d5e8f7"

    def __init__(
        self,
        *,
        tenable_conn_id: str = TenableHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tenable_conn_id = tenable_conn_id
        self.deferrable = deferrable

    @cached_property
    def hook(self) -> TenableHook:
        """The hook of this task's connection."""
        return TenableHook(self.tenable_conn_id)

    def execute(self, context: Any) -> Any:
        """Wait, in the triggerer if the sensor is deferrable."""
        if not self.deferrable:
            return super().execute(context)
        return self._wait(context, deadline=time.time() + self.timeout)

    def execute_complete(self, context: Any, event: Any = None, deadline: float = 0.0) -> Any:
        """Look again after the trigger has fired. Its event is only a wake-up call.

        :param deadline: unix seconds, from the first attempt.
        """
        if isinstance(event, dict) and event.get("message"):
            self.log.warning("The triggerer reports: %s", safe(event["message"], 1_000))
        return self._wait(context, deadline=deadline)

    def _wait(self, context: Any, *, deadline: float) -> Any:
        looked = self.poke(context)
        if looked.is_done:
            return looked.xcom_value
        if time.time() >= deadline:
            raise (AirflowSkipException if self.soft_fail else AirflowSensorTimeout)(self._too_late())
        return self.defer(
            trigger=self._trigger(context, deadline), method_name="execute_complete", kwargs={"deadline": deadline}
        )

    def _interval(self) -> float:
        """Seconds between two looks of a trigger."""
        # A timedelta in some of Airflow's versions.
        given: Any = self.poke_interval
        seconds = given.total_seconds() if isinstance(given, timedelta) else float(given)
        return max(seconds, SHORTEST_POLL_INTERVAL)

    def _too_late(self) -> str:
        """The message of the time-out: what has not happened within how many seconds."""
        raise NotImplementedError

    def _trigger(self, context: Any, deadline: float) -> BaseTrigger:
        """What fires once it is worth looking again.

        :param deadline: unix seconds; the trigger also fires then.
        """
        raise NotImplementedError
