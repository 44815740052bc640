"""How a task launches a scan once and waits for the end of its run, with or without a worker slot."""

from __future__ import annotations

import time
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import AirflowTaskTimeout, fail_fast, is_ended, pause
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.links.tenable import SCAN_KEY, TenableScanLink, scan_url, show
from airflow_provider_tenable.observability import metrics
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.triggers.tenable import SHORTEST_POLL_INTERVAL
from airflow_provider_tenable.triggers.tenable_scans import TenableScanTrigger

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import BaseTrigger
    from airflow_provider_tenable.observability.lineage import Data
    from airflow_provider_tenable.scan.run_machine import RunMachine
    from airflow_provider_tenable.scan.run_settings import Waiting
    from airflow_provider_tenable.scan.run_state import RunStateFile
    from airflow_provider_tenable.tenable_vm.scans import Scan


class RunsScan:
    """What tasks that run a scan share: one run, launched once, and waited for."""

    operator_extra_links = (TenableScanLink(),)
    #: Set by the constructors of those that inherit it.
    tenable_conn_id: str
    staging_path: str | None
    poll_interval: float | None
    scan_timeout: float | None
    stop_on_kill: bool
    deferrable: bool
    log: Any
    defer: Any
    #: What was read, once the task knows.
    _lineage: tuple[list[Data], list[Data]] = ([], [])
    #: Whether the task's own time limit has passed, and whether the task was ended while it ran.
    _is_out_of_time = False
    _is_stopped = False
    _machine: RunMachine | None = None
    _task_instance: Any = None
    #: The run whose page this attempt has linked to.
    _linked_run: str | None = None

    @cached_property
    def hook(self) -> TenableHook:
        """The hook of this task's connection."""
        return TenableHook(self.tenable_conn_id)

    def execute_complete(self, context: Any, event: Any = None) -> dict[str, Any]:
        """Resume after a trigger has fired. Its event is only a wake-up call: the run is polled again here.

        :param event: the event of a :class:`TenableScanTrigger`, or a time if the scan could not be launched before.
        """
        if isinstance(event, dict) and event.get("message"):
            self.log.warning("The triggerer reports: %s", safe(event["message"], 1_000))
        return self._advance(context)

    def on_kill(self) -> None:
        """Stop the run if a person or a time limit has ended the task.

        Airflow also calls this if only the worker stops (a deployment, an eviction, a drained node). Then the task's
        next attempt resumes the run. A run that somebody else has launched is never stopped.
        """
        machine = self._machine
        if machine is None or not self.stop_on_kill:
            return
        if self._is_out_of_time or is_ended(self._task_instance):
            self._is_stopped = True
            stopped = machine.stop()
            self.log.info("Run %s was %s.", machine.state.run_uuid, "stopped" if stopped else "not stopped")
        else:
            self.log.info("This task was stopped, but not by a person or a time limit: its next attempt resumes.")

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Lineage for the OpenLineage provider: the scan's results in Tenable."""
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage(*self._lineage)

    def _advance(self, context: Any) -> dict[str, Any]:
        self._task_instance = context["ti"]
        try:
            with fail_fast(), closing(self.hook):
                return self._steps(context)
        except AirflowTaskTimeout:
            # Airflow calls `on_kill` after this: the task's own execution_timeout is over.
            self._is_out_of_time = True
            raise

    def _steps(self, context: Any) -> dict[str, Any]:
        raise NotImplementedError

    def _state_file(self, context: Any) -> RunStateFile:
        from airflow_provider_tenable.scan.run_state import RunStateFile

        ti = context["ti"]
        return RunStateFile(RunFolder.of(context, self.staging_path).job(ti.task_id, ti.map_index))

    def _run_to_its_end(self, machine: RunMachine, scan: Scan, context: Any) -> dict[str, Any]:
        """Step until the run has ended. :return: its result; the caller records it with ``machine.finish``."""
        from airflow_provider_tenable.exceptions import ScanFailedError
        from airflow_provider_tenable.scan.run_settings import Ended

        self._machine = machine
        while True:
            try:
                outcome = machine.step()
            except ScanFailedError as error:
                self._count(machine, error.status, context)
                raise
            if self._is_stopped:
                machine.stop()
                raise ScanFailedError("This task was ended during its run of a scan.", status="canceled")
            self._show_link(context, scan, machine.state.run_uuid)
            if isinstance(outcome, Ended):
                if machine.state.result is None:
                    self._count(machine, str(outcome.result["status"]), context)
                self._note_lineage(outcome.result)
                return dict(outcome.result)
            # A short wait without a run is not worth the way to the triggerer and back.
            if self.deferrable and (outcome.run_uuid or outcome.seconds >= SHORTEST_POLL_INTERVAL):
                self.defer(trigger=self._trigger(machine, scan, outcome), method_name="execute_complete")
            time.sleep(outcome.seconds)

    def _show_link(self, context: Any, scan: Scan, run_uuid: str | None) -> None:
        """Link to the run's page in Tenable as soon as the run is launched."""
        if run_uuid and run_uuid != self._linked_run:
            url = self.hook.connection_arguments["url"]
            show(context, SCAN_KEY, scan_url(url, scan_id=scan.id, run_uuid=run_uuid))
            self._linked_run = run_uuid

    def _trigger(self, machine: RunMachine, scan: Scan, wait: Waiting) -> BaseTrigger:
        seconds = max(wait.seconds, SHORTEST_POLL_INTERVAL)
        if not wait.run_uuid:
            return pause(seconds)
        return TenableScanTrigger(
            tenable_conn_id=self.tenable_conn_id,
            scan={"id": scan.id, "schedule_uuid": scan.schedule_uuid, "name": scan.name},
            run_uuid=wait.run_uuid,
            status=wait.status,
            poll_interval=seconds,
            deadline=machine.deadline(),
            stops=self.stop_on_kill and not machine.state.adopted,
        )

    def _poll_interval(self) -> float:
        from airflow_provider_tenable import config

        given = self.poll_interval
        return float(config.get("scan_poll_interval_seconds") if given is None else given)

    def _scan_timeout(self) -> float:
        from airflow_provider_tenable import config

        given = self.scan_timeout
        return float(config.get("scan_timeout_hours") * 3600 if given is None else given)

    def _count(self, machine: RunMachine, status: str, context: Any) -> None:
        dag_id = context["ti"].dag_id
        metrics.count("tenable.scan.ended", 1, dag_id=dag_id, status=status)
        launched = machine.state.launched_at
        if launched is not None:
            metrics.timing("tenable.scan.duration", time.time() - launched, dag_id=dag_id)

    def _note_lineage(self, result: dict[str, Any]) -> None:
        from airflow_provider_tenable.observability.lineage import tenable_data

        url = self.hook.connection_arguments["url"]
        self._lineage = ([], [tenable_data(url, f"scans/{result['schedule_uuid']}")])
