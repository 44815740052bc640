"""Export from Tenable Vulnerability Management into the run's staging."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import AirflowTaskTimeout, BaseOperator, conf, fail_fast, is_ended, pause
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.observability import metrics
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.tenable_vm.retry import RESTARTS
from airflow_provider_tenable.triggers.tenable import SHORTEST_POLL_INTERVAL, TenableExportTrigger

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import BaseTrigger
    from airflow_provider_tenable.export.result import ExportResult
    from airflow_provider_tenable.export.state import ExportState, Wait
    from airflow_provider_tenable.export.state_machine import ExportRun
    from airflow_provider_tenable.observability.lineage import Data


class TenableExportOperator(BaseOperator):
    """Export assets, vulnerabilities, compliance results or findings of web applications, and stage them chunk by
    chunk as they become available.

    A retried task resumes its job with the chunks that are staged. A job that fails, expires or ends incomplete is
    restarted. The result (XCom) is a reference: ``{"export", "uuid", "folder", "parts", "records", "bytes",
    "data_from"}``.

    .. seealso:: https://developer.tenable.com/reference/exports-vulns-request-export

    :param export: ``vulnerabilities``, ``assets``, ``compliance`` or ``was`` (findings of web applications).
    :param filters: Tenable's filters, times in unix seconds (templated). For vulnerabilities, set ``state`` and a time;
        without a time, Tenable exports the last 30 days.
    :param chunk_size: assets per chunk (compliance: findings per chunk) (templated).
    :param tenable_conn_id: connection of type ``tenable`` (templated).
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    :param poll_interval: seconds between two polls of the job, at most; at least 10 if the task is deferred. Default
        ``[tenable] poll_interval_seconds``.
    :param first_poll: seconds until the job is polled for the first time. Each later wait is half of the job's age, up
        to ``poll_interval``; while it is below 10, the task is not deferred. Default ``[tenable] first_poll_seconds``.
    :param export_timeout: seconds after which the job is cancelled and the task fails. Default ``[tenable]
        export_timeout_hours``.
    :param max_restarts: how often a broken job is restarted.
    :param deferrable: wait in the triggerer, without a worker slot. Default ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("filters", "chunk_size", "tenable_conn_id", "staging_path")
    template_fields_renderers = {"filters": "json"}
    ui_color = "#d5e8f7"
    #: What was read and written, once the task knows.
    _lineage: tuple[list[Data], list[Data]] = ([], [])
    #: Whether there were filters before they were rendered.
    _has_filters = False
    #: Whether the task's own time limit has passed, and whether the task was ended while it exported.
    _is_out_of_time = False
    _is_stopped = False

    def __init__(
        self,
        *,
        export: str = "vulnerabilities",
        filters: dict[str, Any] | None = None,
        chunk_size: int | None = None,
        tenable_conn_id: str = TenableHook.default_conn_name,
        staging_path: str | None = None,
        poll_interval: float | None = None,
        first_poll: float | None = None,
        export_timeout: float | None = None,
        max_restarts: int = RESTARTS,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.export = export
        self.filters = filters
        self.chunk_size = chunk_size
        self.tenable_conn_id = tenable_conn_id
        self.staging_path = staging_path
        self.poll_interval = poll_interval
        self.first_poll = first_poll
        self.export_timeout = export_timeout
        self.max_restarts = max_restarts
        self.deferrable = deferrable
        self._run: ExportRun | None = None
        self._task_instance: Any = None

    @cached_property
    def hook(self) -> TenableHook:
        """The hook of this task's connection."""
        return TenableHook(self.tenable_conn_id)

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render the fields as usual. Filters from another task are None afterwards if that task has no result."""
        self._has_filters = self._has_filters or self.filters is not None
        super().render_template_fields(context, jinja_env)

    def execute(self, context: Any) -> ExportResult:
        """Request the export, or resume the one that this run already has."""
        return self._advance(context)

    def execute_complete(self, context: Any, event: Any = None) -> ExportResult:
        """Resume after a trigger has fired. Its event is only a wake-up call: the job is polled again here.

        :param event: the event of :class:`TenableExportTrigger`, or a time if no job could be started before.
        """
        if isinstance(event, dict) and event.get("message"):
            self.log.warning("The triggerer reports: %s", safe(event["message"], 1_000))
        return self._advance(context)

    def on_kill(self) -> None:
        """Cancel the job if a person or a time limit has ended the task, so that nobody will fetch the job's chunks.

        Airflow also calls this if only the worker stops (a deployment, an eviction, a drained node). Then the task's
        next attempt resumes the job with the staged chunks. Airflow's database shows which of the two it is. If it
        cannot be queried, the job keeps running; a run that ends without using it cancels it
        (:mod:`airflow_provider_tenable.run.abandoned_exports`).
        """
        if self._run is None or self._run.state.complete:
            return
        if self._is_out_of_time or is_ended(self._task_instance):
            self._is_stopped = True
            self._run.cancel()
        else:
            self.log.info(
                "This task was stopped, but not by a person or a time limit: the %s export %s keeps running, and the "
                "task's next attempt resumes it.",
                self.export,
                self._run.state.uuid or "that was requested",
            )

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Lineage for the OpenLineage provider: from Tenable's records to the staged parts, with their counts."""
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage(*self._lineage)

    def _advance(self, context: Any) -> ExportResult:
        self._task_instance = context.get("ti")
        try:
            return self._steps(context)
        except AirflowTaskTimeout:
            # Airflow calls `on_kill` after this: the task's own execution_timeout is over.
            self._is_out_of_time = True
            raise

    def _steps(self, context: Any) -> ExportResult:
        from airflow_provider_tenable.export.state import Finished

        with fail_fast(), closing(self.hook):
            self._check_filters()
            dag_run_folder = RunFolder.of(context, self.staging_path)
            folder = dag_run_folder.export(self.export)
            run = self._run = self._export_run(folder, dag_run_folder)
            was_complete = run.state.complete
            while True:
                outcome = run.step()
                self._check_not_stopped(run)
                if isinstance(outcome, Finished):
                    if not was_complete:
                        self._report_metrics(outcome.state, dag_run_folder.dag_id)
                    return self._result(str(folder), outcome.state)
                # A short wait for a young job, or without a job, is not worth the way to the triggerer and back.
                is_brief = outcome.is_early or not outcome.job_uuid
                if self.deferrable and (not is_brief or outcome.seconds >= SHORTEST_POLL_INTERVAL):
                    self.defer(trigger=self._trigger(run, outcome), method_name="execute_complete")
                time.sleep(outcome.seconds)

    def _check_not_stopped(self, run: ExportRun) -> None:
        """End a task that was ended while it worked: on Airflow 3 `on_kill` returns to where the signal came, and the
        next step would ask for the cancelled job again.
        """
        from airflow_provider_tenable.exceptions import ExportFailedError

        if self._is_stopped:
            # The signal may have arrived after the request for a job and before its response.
            run.cancel()
            raise ExportFailedError(f"This task was ended during its export: the {self.export} export was cancelled.")

    def _check_filters(self) -> None:
        """Refuse to export everything where the task that makes the filters has made none."""
        from airflow_provider_tenable.exceptions import ConfigurationError

        if self._has_filters and self.filters is None:
            raise ConfigurationError(
                f"The filters of {self.task_id} have no value: the task that creates them (plan_run in "
                "tenable_to_security_hub) was marked as success without having run, or its XCom was deleted. Nothing "
                "was exported. Clear that task, together with the tasks after it."
            )

    def _trigger(self, run: ExportRun, wait: Wait) -> BaseTrigger:
        if not wait.job_uuid:
            return pause(max(wait.seconds, SHORTEST_POLL_INTERVAL))
        return TenableExportTrigger(
            tenable_conn_id=self.tenable_conn_id,
            export=self.export,
            job_uuid=wait.job_uuid,
            chunks_staged=wait.chunks_staged,
            poll_interval=max(run.poll_interval, SHORTEST_POLL_INTERVAL),
            deadline=run.deadline,
            cancels=not run.state.adopted,
            first_poll=wait.seconds if wait.is_early else None,
        )

    def _report_metrics(self, state: ExportState, dag_id: str) -> None:
        tags = {"dag_id": dag_id, "export": self.export}
        metrics.count("tenable.exported", sum(part.records for part in state.parts.values()), **tags)
        metrics.timing("tenable.duration.export", time.time() - state.started_at, **tags)

    def _export_run(self, folder: Any, dag_run_folder: RunFolder) -> ExportRun:
        from airflow_provider_tenable import config
        from airflow_provider_tenable.export.reattach import marked
        from airflow_provider_tenable.export.state_machine import ExportRun
        from airflow_provider_tenable.export.store import StagedExport
        from airflow_provider_tenable.run.source import check_connection, planned_source

        planned = planned_source(dag_run_folder)
        poll, first, timeout = self.poll_interval, self.first_poll, self.export_timeout
        return ExportRun(
            kind=self.export,
            body=marked(self.export, self._body(), str(folder)),
            client=self.hook.api,
            store=StagedExport(folder, self.export),
            now=time.time,
            poll_interval=float(config.get("poll_interval_seconds") if poll is None else poll),
            first_poll=float(config.get("first_poll_seconds") if first is None else first),
            timeout=float(config.get("export_timeout_hours") * 3600 if timeout is None else timeout),
            max_restarts=self.max_restarts,
            downloads=config.get("chunk_downloads"),
            source=None if planned is None else lambda: check_connection(self.hook, planned, what=self.export),
        )

    def _body(self) -> dict[str, Any]:
        from airflow_provider_tenable import config
        from airflow_provider_tenable.tenable_vm.kinds import kind_of

        kind = kind_of(self.export)
        usual = config.get(kind.size_option) if kind.size_option else kind.size
        plugin_output = config.get("plugin_output") == config.EXCERPT
        return kind.body(self.filters or {}, size=int(self.chunk_size or usual), plugin_output=plugin_output)

    def _result(self, folder: str, state: ExportState) -> ExportResult:
        from airflow_provider_tenable.tenable_vm.kinds import kind_of

        parts = state.parts.values()
        records, size = sum(part.records for part in parts), sum(part.bytes for part in parts)
        self.log.info(
            "The %s export %s is complete: %d records in %d chunks, %.1f MB.",
            self.export,
            state.uuid,
            records,
            len(parts),
            size / 1e6,
        )
        if kind_of(self.export).usually_some and not records and not self.filters:
            self.log.warning(
                "Tenable exported no assets at all. The usual cause is an API user without 'Can View' on the assets: "
                "Tenable silently omits assets that a user may not see."
            )
        self._note_lineage(folder, records, size, len(parts))
        return {
            "export": self.export,
            "uuid": state.uuid,
            "folder": folder,
            "parts": len(parts),
            "records": records,
            "bytes": size,
            "data_from": state.data_from,
        }

    def _note_lineage(self, folder: str, records: int, size: int, files: int) -> None:
        from airflow_provider_tenable.observability.lineage import staged_data, tenable_data

        self._lineage = (
            [tenable_data(self.hook.connection_arguments["url"], self.export, records)],
            [staged_data(folder, records, size, files)],
        )
