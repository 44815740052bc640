"""Export the results of a scan as files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import (
    AirflowNotFoundException,
    AirflowSkipException,
    BaseHook,
    BaseOperator,
    conf,
    fail_fast,
    pause,
)
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.observability import metrics
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.triggers.tenable import SHORTEST_POLL_INTERVAL

if TYPE_CHECKING:
    from airflow_provider_tenable.observability.lineage import Data
    from airflow_provider_tenable.scan.export_machine import FilesMachine
    from airflow_provider_tenable.scan.export_request import ExportRequest
    from airflow_provider_tenable.tenable_vm.scan_runs import Run
    from airflow_provider_tenable.tenable_vm.scans import Scan


class TenableExportScanOperator(BaseOperator):
    """Export the results of one run as files, to any path that Airflow's ObjectStoragePath can open.

    A retry exports what is missing. A format that fails does not prevent the others; then the task fails and names it.
    The result (XCom) is ``{"scan", "run_uuid", "files": [{"format", "path", "bytes", "sha256"}]}``.

    .. seealso:: https://developer.tenable.com/reference/scans-export-request

    :param scan: result of another operator, number, schedule uuid, or ``name:`` and the name (templated).
    :param run: result of :class:`~airflow_provider_tenable.operators.scan_runs.TenableRunScanOperator`, or the uuid of
        a run; default: the newest that is completed (templated).
    :param formats: of ``nessus``, ``csv``, ``html``, ``pdf``, ``db``; without any, the task is skipped (templated).
    :param chapters: of html and pdf, separated by semicolons (templated).
    :param filters: ``[{"filter", "quality", "value"}]`` (templated).
    :param filter_type: ``and`` or ``or``.
    :param asset: name, uuid or number of the host in a db; default: the only host, or 127.0.0.1 (templated).
    :param password_conn_id: connection whose password encrypts a db (templated).
    :param path: URI of the folder; default: a folder of the run in the staging area (templated).
    :param overwrite: replace a file that has another content.
    :param poll_interval: seconds between two polls; at least 10 if the task is deferred.
    :param export_timeout: seconds that Tenable may take for one file. Default ``[tenable]
        scan_export_timeout_minutes``.
    :param tenable_conn_id: connection of type ``tenable`` (templated).
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    :param deferrable: wait in the triggerer, without a worker slot. Default ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = (
        "scan",
        "run",
        "formats",
        "chapters",
        "filters",
        "asset",
        "password_conn_id",
        "path",
        "tenable_conn_id",
        "staging_path",
    )
    template_fields_renderers = {"scan": "json", "run": "json", "formats": "json", "filters": "json"}
    ui_color = "#d5e8f7"
    #: What was read and written, once the task knows.
    _lineage: tuple[list[Data], list[Data]] = ([], [])

    def __init__(
        self,
        *,
        scan: dict[str, Any] | int | str,
        run: dict[str, Any] | str | None = None,
        formats: list[str] | tuple[str, ...] = ("nessus",),
        chapters: str = "vuln_hosts_summary;vuln_by_host;compliance_exec;compliance",
        filters: list[dict[str, str]] | None = None,
        filter_type: str = "and",
        asset: str | None = None,
        password_conn_id: str | None = None,
        path: str | None = None,
        overwrite: bool = False,
        poll_interval: float = 10.0,
        export_timeout: float | None = None,
        tenable_conn_id: str = TenableHook.default_conn_name,
        staging_path: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scan = scan
        self.run = run
        self.formats = formats
        self.chapters = chapters
        self.filters = filters
        self.filter_type = filter_type
        self.asset = asset
        self.password_conn_id = password_conn_id
        self.path = path
        self.overwrite = overwrite
        self.poll_interval = poll_interval
        self.export_timeout = export_timeout
        self.tenable_conn_id = tenable_conn_id
        self.staging_path = staging_path
        self.deferrable = deferrable

    @cached_property
    def hook(self) -> TenableHook:
        """The hook of this task's connection."""
        return TenableHook(self.tenable_conn_id)

    def execute(self, context: Any) -> dict[str, Any]:
        """Export the files."""
        return self._export(context, begins=True)

    def execute_complete(self, context: Any, event: Any = None) -> dict[str, Any]:
        """Resume after a wait. :param event: a time, without meaning."""
        return self._export(context, begins=False)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Lineage for the OpenLineage provider: from the scan's results in Tenable to the files."""
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage(*self._lineage)

    def _export(self, context: Any, *, begins: bool) -> dict[str, Any]:
        if not self.formats:
            raise AirflowSkipException("formats is empty: nothing is exported.")
        with fail_fast(), closing(self.hook):
            request = self._request()
            request.check()
            scan = self.hook.scans.scan(self.scan)
            run = self._wanted_run(scan)
            machine = self._machine(scan, run, request, context)
            if begins:
                machine.begin()
            while not machine.step():
                if self.deferrable:
                    seconds = max(self.poll_interval, SHORTEST_POLL_INTERVAL)
                    self.defer(trigger=pause(seconds), method_name="execute_complete")
                time.sleep(self.poll_interval)
            files = machine.result()
            self._note_lineage(scan, files)
            return {"scan": scan.id, "run_uuid": run.uuid, "files": files}

    def _request(self) -> ExportRequest:
        from airflow_provider_tenable.scan.export_request import ExportRequest

        return ExportRequest(
            formats=tuple(self.formats),
            chapters=self.chapters,
            filters=tuple(self.filters or ()),
            filter_type=self.filter_type,
            asset=self.asset,
        )

    def _wanted_run(self, scan: Scan) -> Run:
        from airflow_provider_tenable.exceptions import ConfigurationError, NotFoundError
        from airflow_provider_tenable.scan.status import COMPLETED

        runs = self.hook.scan_runs
        if self.run is None:
            completed = [run for run in runs.history(scan) if run.status == COMPLETED]
            if not completed:
                raise NotFoundError(f"Scan {scan.label} has no completed run. Run it first.")
            return completed[0]
        run_uuid = self.run.get("run_uuid") if isinstance(self.run, dict) else self.run
        if not isinstance(run_uuid, str):
            raise ConfigurationError(f"run is {quoted(self.run, 100)}, which names no run.")
        run = runs.run(scan, run_uuid)
        if run is None:
            raise NotFoundError(f"Tenable lists no run {quoted(run_uuid, 80)} of scan {scan.label}.")
        return run

    def _machine(self, scan: Scan, run: Run, request: ExportRequest, context: Any) -> FilesMachine:
        from airflow_provider_tenable import config
        from airflow_provider_tenable.scan.export_machine import FilesMachine
        from airflow_provider_tenable.staging.location import open_path

        ti, folder = context["ti"], RunFolder.of(context, self.staging_path)
        timeout = self.export_timeout
        return FilesMachine(
            scan=scan,
            run=run,
            request=request,
            client=self.hook.scan_exports,
            folder=open_path(self.path) if self.path else folder.downloads(ti.task_id, ti.map_index),
            state_path=folder.job(ti.task_id, ti.map_index),
            overwrite=self.overwrite,
            timeout=float(config.get("scan_export_timeout_minutes") * 60 if timeout is None else timeout),
            password=self._password() if "db" in self.formats else None,
            results=lambda: self.hook.scan_runs.results(scan, run),
            now=time.time,
            tenable_now=self.hook.scan_runs.latest_status(scan).at or time.time(),
            downloaded=lambda kind, size: metrics.count(
                "tenable.scan_export.bytes", size, dag_id=ti.dag_id, format=kind
            ),
        )

    def _password(self) -> str | None:
        """The password of a db. It is masked from now on, and never an attribute of the task."""
        from airflow_provider_tenable.exceptions import ConfigurationError
        from airflow_provider_tenable.hooks.tenable_connection import keep_secret

        if not self.password_conn_id:
            return None
        try:
            password = BaseHook.get_connection(self.password_conn_id).password
        except AirflowNotFoundException:
            raise ConfigurationError(
                f"There is no connection with the id {quoted(self.password_conn_id, 100)}. Create it with the password "
                "of the db, or correct password_conn_id."
            ) from None
        if password:
            keep_secret(password)
        return password or None

    def _note_lineage(self, scan: Scan, files: list[dict[str, Any]]) -> None:
        from airflow_provider_tenable.observability.lineage import staged_data, tenable_data

        url = self.hook.connection_arguments["url"]
        self._lineage = (
            [tenable_data(url, f"scans/{scan.schedule_uuid}")],
            [staged_data(file["path"], size=file["bytes"], files=1) for file in files],
        )
