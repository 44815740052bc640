"""Prove with a remediation scan in Tenable Vulnerability Management that a vulnerability is fixed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseOperator, conf
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.operators.scan_waiting import RunsScan

if TYPE_CHECKING:
    from airflow_provider_tenable.scan.run_machine import RunMachine
    from airflow_provider_tenable.scan.run_state import RunStateFile
    from airflow_provider_tenable.tenable_vm.scans import Scan


class TenableRemediationScanOperator(RunsScan, BaseOperator):
    """Prove that a vulnerability is fixed: scan one host again for one plugin, with a remediation scan.

    The result (XCom) is that of :class:`~airflow_provider_tenable.operators.scan_runs.TenableRunScanOperator` with
    ``"plugin_id"``, ``"target"`` and ``"fixed"``: whether the plugin reports nothing any more. A host that did not
    answer proves nothing: the task fails.

    .. seealso:: https://developer.tenable.com/reference/io-scans-remediation-create

    :param plugin_id: the plugin that reported the vulnerability (templated).
    :param target: address or name of the host (templated).
    :param credentials: names or uuids of managed credentials; many plugins find nothing without (templated).
    :param scanner: name or uuid of the scanner that reaches the host (templated).
    :param fail_if_not_fixed: fail if the plugin still reports the vulnerability.
    :param delete_after: delete the remediation scan once its result is known; the vulnerabilities in Tenable keep it.
    :param poll_interval: as in :class:`~airflow_provider_tenable.operators.scan_runs.TenableRunScanOperator`.
    :param scan_timeout: as in :class:`~airflow_provider_tenable.operators.scan_runs.TenableRunScanOperator`.
    :param stop_on_kill: as in :class:`~airflow_provider_tenable.operators.scan_runs.TenableRunScanOperator`.
    :param tenable_conn_id: connection of type ``tenable`` (templated).
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    :param deferrable: wait in the triggerer, without a worker slot. Default ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = (
        "plugin_id",
        "target",
        "credentials",
        "scanner",
        "tenable_conn_id",
        "staging_path",
    )
    template_fields_renderers = {"credentials": "json"}
    ui_color = "#d5e8f7"

    def __init__(
        self,
        *,
        plugin_id: int | str,
        target: str,
        credentials: list[str] | None = None,
        scanner: str | None = None,
        fail_if_not_fixed: bool = False,
        delete_after: bool = True,
        poll_interval: float | None = None,
        scan_timeout: float | None = None,
        stop_on_kill: bool = True,
        tenable_conn_id: str = TenableHook.default_conn_name,
        staging_path: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plugin_id = plugin_id
        self.target = target
        self.credentials = credentials
        self.scanner = scanner
        self.fail_if_not_fixed = fail_if_not_fixed
        self.delete_after = delete_after
        self.poll_interval = poll_interval
        self.scan_timeout = scan_timeout
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
        from airflow_provider_tenable.scan.run_settings import RunSettings

        plugin = self._checked_plugin()
        store, cleared = self._state_file(context), int(context["ti"].max_tries)
        scan = self._scan(store, plugin, cleared, context)
        machine = RunMachine(
            scan=scan,
            targets=None,
            client=self.hook.scan_runs,
            store=store,
            settings=RunSettings(poll_interval=self._poll_interval(), scan_timeout=self._scan_timeout()),
            cleared=cleared,
            now=time.time,
        )
        if machine.state.result is None:
            result = self._run_to_its_end(machine, scan, context)
            result = machine.finish({**result, **self._verdict(machine, scan, plugin)}).result
        else:
            result = machine.state.result
        if self.delete_after:
            self.hook.scans.delete(scan.schedule_uuid)
        return self._judged(result, plugin)

    def _checked_plugin(self) -> int:
        from airflow_provider_tenable.exceptions import ConfigurationError
        from airflow_provider_tenable.tenable_vm.scan_ids import is_number

        if not is_number(self.plugin_id):
            raise ConfigurationError(f"plugin_id is {quoted(self.plugin_id, 60)}, which is not the number of a plugin.")
        return int(self.plugin_id)

    def _scan(self, store: RunStateFile, plugin: int, cleared: int, context: Any) -> Scan:
        """The remediation scan of this task: the recorded one, the one that a lost request has created, or a new
        one.
        """
        from airflow_provider_tenable.scan.crash_points import ScanCrashPoint
        from airflow_provider_tenable.scan.definition import Definition
        from airflow_provider_tenable.scan.run_machine import resumed
        from airflow_provider_tenable.staging.crash_points import reached
        from airflow_provider_tenable.tenable_vm.scans import Scan

        state = resumed(store.load(), cleared)
        if state.created and (state.run_uuid or state.launching or state.result):
            return Scan(**state.created)
        ti, scans = context["ti"], self.hook.scans
        name = _name_of(ti, plugin, self.target)
        existing = scans.find_remediation(name)
        if existing:
            scan = existing[0]
        else:
            definition = Definition(
                name=name,
                template_uuid=scans.template("advanced").uuid,
                targets=[self.target],
                credentials=[self.hook.credentials.credential(each) for each in self.credentials or ()],
                scanner_id=scans.scanner_id(self.scanner) if self.scanner else None,
                enabled_plugins=[plugin],
            )
            scan = scans.create_remediation(definition.body(f"{ti.dag_id}.{ti.task_id}"))
            reached(ScanCrashPoint.SCAN_CREATED)
            self.log.info("Created remediation scan %s (id %d).", scan.label, scan.id)
        state.created = {"id": scan.id, "schedule_uuid": scan.schedule_uuid, "name": scan.name}
        store.save(state)
        return scan

    def _verdict(self, machine: RunMachine, scan: Scan, plugin: int) -> dict[str, Any]:
        from airflow_provider_tenable.exceptions import ScanFailedError

        run = self.hook.scan_runs.run(scan, str(machine.state.run_uuid))
        results = self.hook.scan_runs.results(scan, run)
        if not results.hosts:
            machine.fail("unreachable")
            raise ScanFailedError(
                f"{quoted(self.target, 200)} did not answer the scan, which proves nothing about plugin {plugin}. "
                "Check that the scanner reaches the host.",
                status="unreachable",
                run_uuid=machine.state.run_uuid,
            )
        return {"plugin_id": plugin, "target": self.target, "fixed": plugin not in results.plugins}

    def _judged(self, result: dict[str, Any], plugin: int) -> dict[str, Any]:
        from airflow_provider_tenable._compat import AirflowFailException

        if result["fixed"]:
            self.log.info("Plugin %d reports nothing on %s any more.", plugin, quoted(self.target, 200))
            return result
        text = f"Plugin {plugin} still reports the vulnerability on {quoted(self.target, 200)}."
        if self.fail_if_not_fixed:
            raise AirflowFailException(text)
        self.log.warning("%s", text)
        return result


def _name_of(ti: Any, plugin: int, target: str) -> str:
    """The name by which a task finds its scan again; the digest distinguishes tasks, and targets too long to show."""
    own = json.dumps([ti.dag_id, ti.task_id, ti.run_id, ti.map_index, plugin, target])
    digest = hashlib.sha256(own.encode()).hexdigest()[:12]
    return f"Airflow: plugin {plugin} on {safe(target, 100)} ({safe(ti.run_id, 100)}) [{digest}]"
