"""Wait for a scanner that has been linked to be able to scan."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_tenable import config
from airflow_provider_tenable._compat import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
    fail_fast,
)
from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.identifiers import shown
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.links.tenable import SCANNERS_KEY, TenableScannersLink, scanners_url, show
from airflow_provider_tenable.observability import metrics
from airflow_provider_tenable.triggers.tenable import SHORTEST_POLL_INTERVAL
from airflow_provider_tenable.triggers.tenable_scanners import TenableScannerTrigger

if TYPE_CHECKING:
    from airflow_provider_tenable.scan.online import Step, Wanted
    from airflow_provider_tenable.tenable_vm.scanners import Scanner

#: Lines of the console that a time-out logs.
CONSOLE_LINES = 30


class TenableScannerSensor(BaseSensorOperator):
    """Wait until a scanner is in Tenable's list, on, and has loaded plugins.

    A scanner that is on without plugins cannot scan: it downloads and compiles them for minutes after it was linked. A
    time-out says how far the scanner came, and shows the last lines on the console of its instance.

    The result (XCom) is ``{"id", "uuid", "name", "plugin_set"}``.

    :param scanner: the result of
        :class:`~airflow_provider_tenable.operators.nessus_ec2.NessusCreateScannerOperator`, from which name, instance
        and time of the launch are taken (templated).
    :param name: the scanner's name, instead (templated).
    :param uuid: the scanner's uuid, instead (templated).
    :param require_plugins: wait for plugins, too.
    :param max_plugin_age_hours: wait until the plugins are not older than this; None: any.
    :param since: unix seconds; scanners of this name that were linked before do not count. Default: the time at which
        the instance was launched (templated).
    :param instance_id: the instance whose console a time-out shows (templated).
    :param tenable_conn_id: connection of type ``tenable`` (templated).
    :param aws_conn_id: AWS connection, for the console only; None for the worker's own credentials (templated).
    :param region_name: the instance's Region (templated).
    :param timeout: seconds; default ``[tenable] scanner_timeout_minutes``.
    :param deferrable: wait in the triggerer, without a worker slot. Default ``[operators] default_deferrable``. Without
        it, the sensor is rescheduled between two polls.
    """

    template_fields: Sequence[str] = (
        "scanner",
        "name",
        "uuid",
        "since",
        "instance_id",
        "tenable_conn_id",
        "aws_conn_id",
        "region_name",
    )
    template_fields_renderers = {"scanner": "json"}
    ui_color = "#d5e8f7"
    operator_extra_links = (TenableScannersLink(),)

    def __init__(
        self,
        *,
        scanner: dict[str, Any] | None = None,
        name: str | None = None,
        uuid: str | None = None,
        require_plugins: bool = True,
        max_plugin_age_hours: float | None = None,
        since: float | None = None,
        instance_id: str | None = None,
        tenable_conn_id: str = TenableHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        defaults: dict[str, Any] = {"poke_interval": 30, "mode": "reschedule"}
        if "timeout" not in kwargs:
            defaults["timeout"] = config.get("scanner_timeout_minutes") * 60
        super().__init__(**{**defaults, **kwargs})
        self.scanner = scanner
        self.name = name
        self.uuid = uuid
        self.require_plugins = require_plugins
        self.max_plugin_age_hours = max_plugin_age_hours
        self.since = since
        self.instance_id = instance_id
        self.tenable_conn_id = tenable_conn_id
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.deferrable = deferrable
        self._seen: tuple[Step, Scanner | None] | None = None

    @cached_property
    def hook(self) -> TenableHook:
        """The hook of this task's connection."""
        return TenableHook(self.tenable_conn_id)

    def execute(self, context: Any) -> Any:
        """Wait, deferred or as sensors do."""
        if self.deferrable:
            return self._defer_or_return(context, time.time() + self.timeout)
        try:
            return super().execute(context)
        except (AirflowSensorTimeout, AirflowSkipException) as error:
            if self._seen is None:
                raise
            # The sensor's own text names seconds only.
            raise type(error)(self._how_far()) from None

    def execute_complete(self, context: Any, event: Any = None, deadline: float | None = None) -> Any:
        """Resume after the trigger has fired. Its event is only a wake-up call.

        :param deadline: unix seconds, from the first execution.
        """
        if isinstance(event, dict) and event.get("message"):
            self.log.info("The triggerer reports: %s", safe(event["message"], 1_000))
        return self._defer_or_return(context, time.time() + self.timeout if deadline is None else deadline)

    def poke(self, context: Any) -> PokeReturnValue:
        """Look once."""
        with fail_fast(), closing(self.hook):
            found = self._look(context)
        return PokeReturnValue(is_done=found is not None, xcom_value=found)

    def _defer_or_return(self, context: Any, deadline: float) -> Any:
        with fail_fast(), closing(self.hook):
            found = self._look(context)
        if found is not None:
            return found
        if time.time() >= deadline:
            error = AirflowSkipException if self.soft_fail else AirflowSensorTimeout
            raise error(self._how_far())
        wanted, step = self._wanted(), self._seen[0].value if self._seen else ""
        self.defer(
            trigger=TenableScannerTrigger(
                tenable_conn_id=self.tenable_conn_id,
                name=wanted.name,
                uuid=wanted.uuid,
                since=wanted.since,
                require_plugins=wanted.require_plugins,
                max_plugin_age_hours=wanted.max_plugin_age_hours,
                step=step,
                poll_interval=max(float(self.poke_interval), SHORTEST_POLL_INTERVAL),
                deadline=deadline,
            ),
            method_name="execute_complete",
            kwargs={"deadline": deadline},
        )
        return None

    def _look(self, context: Any) -> dict[str, Any] | None:
        from airflow_provider_tenable.scan.online import Step, step_of

        wanted = self._wanted()
        try:
            step, scanner = step_of(self.hook.list_scanners(), wanted, now=time.time())
        except TemporaryError as error:
            # The next poll comes anyway.
            self.log.warning("Could not look for scanner %s: %s", wanted.title, error)
            return None
        if self._seen is None or self._seen[0] != step:
            self.log.info("Scanner %s: %s.", wanted.title, step.value)
            show(context, SCANNERS_KEY, scanners_url(self.hook.connection_arguments["url"]))
        self._seen = step, scanner
        if step != Step.READY or scanner is None:
            return None
        if wanted.since is not None:
            dag_id = getattr(context.get("dag_run"), "dag_id", "")
            metrics.timing("tenable.scanner.online_after", max(0.0, time.time() - wanted.since), dag_id=dag_id)
        return {"id": scanner.id, "uuid": scanner.uuid, "name": scanner.name, "plugin_set": scanner.plugin_set}

    def _wanted(self) -> Wanted:
        from airflow_provider_tenable.scan.online import Wanted

        reference = self.scanner if isinstance(self.scanner, dict) else {}
        uuid = self.uuid or reference.get("uuid")
        name = self.name or reference.get("name")
        since = self.since if self.since is not None else reference.get("launched_at")
        if not uuid and not name:
            raise ConfigurationError(
                f"Sensor {self.task_id} does not know which scanner to wait for: give scanner, name or uuid. If it is "
                "the result of another task, that task was marked as success without having run, or its XCom was "
                "deleted."
            )
        try:
            since = None if since in (None, "") else float(since)
        except (TypeError, ValueError):
            raise ConfigurationError(f"since is {shown(since)}; it must be a time in unix seconds.") from None
        return Wanted(
            name=None if uuid else str(name),
            uuid=str(uuid) if uuid else None,
            since=since,
            require_plugins=self.require_plugins,
            max_plugin_age_hours=self.max_plugin_age_hours,
        )

    def _how_far(self) -> str:
        from airflow_provider_tenable.scan.online import Step, in_words

        step, scanner = self._seen or (Step.ABSENT, None)
        url = self.hook.connection_arguments["url"]
        return in_words(
            step,
            self._wanted(),
            scanner,
            minutes=float(self.timeout) / 60,
            host=urlsplit(url).hostname or url,
            instance=self._instance(),
        )

    def _instance(self) -> str:
        """The state of the instance and the last line of its console, as a part of a message; the console's other lines
        are logged.
        """
        reference = self.scanner if isinstance(self.scanner, dict) else {}
        instance_id = self.instance_id or reference.get("instance_id")
        if not instance_id:
            return ""
        from airflow_provider_tenable.hooks.nessus_ec2 import NessusEc2Hook
        from airflow_provider_tenable.scan import instances
        from airflow_provider_tenable.scan.bootstrap import MARK

        region = self.region_name or reference.get("region")
        try:
            with closing(NessusEc2Hook(aws_conn_id=self.aws_conn_id or None, region_name=region or None)) as hook:
                instance = instances.describe(hook, instance_id)
                lines = instances.console_lines(hook, instance_id, last=CONSOLE_LINES)
        except (ConfigurationError, TemporaryError) as error:
            return f" Its instance {safe(instance_id, 40)} could not be asked ({error})."
        for line in lines:
            self.log.info("Console of %s: %s", instance_id, line)
        said = next((line for line in reversed(lines) if MARK in line), lines[-1] if lines else "nothing yet")
        state = instance.state if instance else "unknown to EC2"
        return f" Its instance {instance_id} is {state}, and its console says: {said}."
