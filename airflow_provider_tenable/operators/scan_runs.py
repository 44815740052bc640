"""Run a scan in Tenable Vulnerability Management and wait for its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseOperator, conf, pause
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.operators.scan_waiting import RunsScan
from airflow_provider_tenable.triggers.tenable import SHORTEST_POLL_INTERVAL

if TYPE_CHECKING:
    from airflow_provider_tenable.scan.run_machine import RunMachine
    from airflow_provider_tenable.scan.run_settings import RunSettings
    from airflow_provider_tenable.tenable_vm.scans import Scan


class TenableRunScanOperator(RunsScan, BaseOperator):
    """Launch a scan and wait for the end of its run.

    The scan is launched once, whatever happens to the task: a retry resumes the run, and a launch whose response was
    lost is looked for in the scan's history. A task that is cleared after its success launches the scan again. The
    result (XCom) is ``{"scan", "schedule_uuid", "name", "run_uuid", "history_id", "status", "started_at", "ended_at",
    "hosts", "severities", "compliance"}``; without ``wait_for_completion`` the first four.

    .. seealso:: https://developer.tenable.com/docs/scan-status-tio

    :param scan: result of :class:`~airflow_provider_tenable.operators.tenable_scans.TenableCreateScanOperator`, number,
        schedule uuid, or ``name:`` and the name (templated).
    :param targets: scanned instead of the scan's own targets (templated).
    :param if_running: what happens if the scan runs already: ``fail``, ``wait`` for its end and launch it, or ``adopt``
        that run.
    :param wait_for_completion: False: succeed once the run is launched.
    :param accept: final statuses that count as success, such as ``canceled`` in addition to ``completed``.
    :param poll_interval: seconds between two polls; at least 10 if the task is deferred. Default ``[tenable]
        scan_poll_interval_seconds``.
    :param scan_timeout: seconds after which the task fails. Default ``[tenable] scan_timeout_hours``.
    :param capacity_timeout: seconds to wait if 25 scans are active, Tenable's limit.
    :param pending_timeout: seconds after which a run that no scanner takes fails.
    :param stop_on_timeout: stop the run if its time is over.
    :param stop_on_kill: stop the run if a person ends the task.
    :param tenable_conn_id: connection of type ``tenable`` (templated).
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    :param deferrable: wait in the triggerer, without a worker slot. Default ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("scan", "targets", "tenable_conn_id", "staging_path")
    template_fields_renderers = {"scan": "json", "targets": "json"}
    ui_color = "#d5e8f7"

    def __init__(
        self,
        *,
        scan: dict[str, Any] | int | str,
        targets: list[str] | None = None,
        if_running: str = "fail",
        wait_for_completion: bool = True,
        accept: Sequence[str] = ("completed",),
        poll_interval: float | None = None,
        scan_timeout: float | None = None,
        capacity_timeout: float = 3_600.0,
        pending_timeout: float = 14_400.0,
        stop_on_timeout: bool = True,
        stop_on_kill: bool = True,
        tenable_conn_id: str = TenableHook.default_conn_name,
        staging_path: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scan = scan
        self.targets = targets
        self.if_running = if_running
        self.wait_for_completion = wait_for_completion
        self.accept = accept
        self.poll_interval = poll_interval
        self.scan_timeout = scan_timeout
        self.capacity_timeout = capacity_timeout
        self.pending_timeout = pending_timeout
        self.stop_on_timeout = stop_on_timeout
        self.stop_on_kill = stop_on_kill
        self.tenable_conn_id = tenable_conn_id
        self.staging_path = staging_path
        self.deferrable = deferrable

    # Airflow 2 wants this in the class of the operator itself.
    def execute(self, context: Any) -> dict[str, Any]:
        """Launch the scan, or resume the run that an earlier attempt has launched."""
        return self._advance(context)

    def _steps(self, context: Any) -> dict[str, Any]:
        from airflow_provider_tenable.scan.run_machine import RunMachine

        scan = self.hook.scans.scan(self.scan)
        machine = RunMachine(
            scan=scan,
            targets=self.targets or None,
            client=self.hook.scan_runs,
            store=self._state_file(context),
            settings=self._run_settings(),
            cleared=int(context["ti"].max_tries),
            now=time.time,
        )
        if not self.wait_for_completion:
            launched = machine.finish(self._launched(machine, scan)).result
            self._show_link(context, scan, str(launched["run_uuid"]))
            return launched
        result = self._run_to_its_end(machine, scan, context)
        self._note_audited_assets(scan, result)
        return machine.finish(result).result

    def _note_audited_assets(self, scan: Scan, result: dict[str, Any]) -> None:
        """Of an AWS audit, record the assets of its results: Tenable's records of them name no account."""
        from airflow_provider_tenable.scan.audited_accounts import add_assets, is_recorded
        from airflow_provider_tenable.staging.location import default_staging_uri

        staging = self.staging_path or default_staging_uri()
        if not is_recorded(staging, scan.schedule_uuid):
            return
        runs = self.hook.scan_runs
        hosts = runs.results(scan, runs.run(scan, str(result["run_uuid"]))).hosts
        for collision in add_assets(staging, scan.schedule_uuid, [host.uuid for host in hosts if host.uuid]):
            self.log.warning("%s", collision)

    def _launched(self, machine: RunMachine, scan: Scan) -> dict[str, Any]:
        """Step until the run is known."""
        from airflow_provider_tenable.scan.run_settings import Ended

        self._machine = machine
        while machine.state.run_uuid is None:
            outcome = machine.step()
            if isinstance(outcome, Ended):
                return dict(outcome.result)
            if machine.state.run_uuid is None:
                if self.deferrable and outcome.seconds >= SHORTEST_POLL_INTERVAL:
                    self.defer(trigger=pause(outcome.seconds), method_name="execute_complete")
                time.sleep(outcome.seconds)
        return {
            "scan": scan.id,
            "schedule_uuid": scan.schedule_uuid,
            "name": scan.name,
            "run_uuid": machine.state.run_uuid,
        }

    def _run_settings(self) -> RunSettings:
        from airflow_provider_tenable.exceptions import ConfigurationError
        from airflow_provider_tenable.scan.run_settings import IF_RUNNING, RunSettings

        if self.if_running not in IF_RUNNING:
            raise ConfigurationError(
                f"if_running is {quoted(self.if_running, 40)}; it must be one of {', '.join(IF_RUNNING)}."
            )
        return RunSettings(
            if_running=self.if_running,
            accept=tuple(self.accept),
            poll_interval=self._poll_interval(),
            scan_timeout=self._scan_timeout(),
            capacity_timeout=self.capacity_timeout,
            pending_timeout=self.pending_timeout,
            stop_on_timeout=self.stop_on_timeout,
        )
