"""Waits for an export that another task, another DAG or somebody else has requested."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import (
    AirflowFailException,
    PokeReturnValue,
    fail_fast,
    pause,
)
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.sensors.deferring import _WaitsForTenable
from airflow_provider_tenable.triggers.tenable import SHORTEST_POLL_INTERVAL, TenableExportTrigger

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import BaseTrigger

#: More chunks than any export has: the trigger then fires when the job has ended, and not when a chunk is available.
_ALL_CHUNKS = 10**9


class TenableExportSensor(_WaitsForTenable):
    """Wait until an export has ended: a job of Tenable by its uuid, or the staged export of a DAG run of ours.

    With ``job_uuid`` the result (XCom) is ``{"export", "uuid", "status", "chunks"}``, where ``chunks`` is the number of
    chunks that can be downloaded. The sensor downloads nothing, and never cancels the job.

    With ``external_dag_id`` and ``external_run_id`` the result is that of the export's own task,
    :class:`~airflow_provider_tenable.export.result.ExportResult`, as
    :func:`~airflow_provider_tenable.results.iter_vulnerabilities` takes it.

    .. seealso:: https://developer.tenable.com/reference/exports-vulns-export-status

    :param export: ``vulnerabilities``, ``assets``, ``compliance`` or ``was``.
    :param job_uuid: Tenable's job (templated).
    :param external_dag_id: the DAG with an export of ours (templated).
    :param external_run_id: its run (templated).
    :param tenable_conn_id: connection of type ``tenable``, for a job (templated).
    :param staging_path: URI of the staging area of that DAG, default ``[tenable] staging_path`` (templated).
    :param deferrable: wait in the triggerer, without a worker slot. Default ``[operators] default_deferrable``.
    :raises AirflowFailException: the job has failed, was cancelled, or does not exist; or a param is missing.
    """

    template_fields: Sequence[str] = (
        "job_uuid",
        "external_dag_id",
        "external_run_id",
        "tenable_conn_id",
        "staging_path",
    )

    def __init__(
        self,
        *,
        export: str = "vulnerabilities",
        job_uuid: str | None = None,
        external_dag_id: str | None = None,
        external_run_id: str | None = None,
        staging_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.export = export
        self.job_uuid = job_uuid
        self.external_dag_id = external_dag_id
        self.external_run_id = external_run_id
        self.staging_path = staging_path

    def poke(self, context: Any) -> PokeReturnValue:
        """Look for the end of the export once."""
        with fail_fast():
            self._check()
            result = self._ended_job() if self.job_uuid else self._staged(context)
        return PokeReturnValue(is_done=result is not None, xcom_value=result)

    def _too_late(self) -> str:
        return f"{self._name()} has not ended within {self.timeout:.0f} s."

    def _trigger(self, context: Any, deadline: float) -> BaseTrigger:
        if not self.job_uuid:
            # The staging may be on S3, whose connection only a task should read.
            return pause(max(min(self._interval(), deadline - time.time()), SHORTEST_POLL_INTERVAL))
        return TenableExportTrigger(
            tenable_conn_id=self.tenable_conn_id,
            export=self.export,
            job_uuid=self.job_uuid,
            chunks_staged=_ALL_CHUNKS,
            poll_interval=self._interval(),
            deadline=deadline,
            cancels=False,
        )

    def _check(self) -> None:
        from airflow_provider_tenable.exceptions import ConfigurationError
        from airflow_provider_tenable.guards.uuids import is_uuid
        from airflow_provider_tenable.tenable_vm.kinds import kind_of

        kind_of(self.export)
        ours = bool(self.external_dag_id) and bool(self.external_run_id)
        if bool(self.job_uuid) == ours or bool(self.external_dag_id) != bool(self.external_run_id):
            raise ConfigurationError(
                "Give TenableExportSensor either job_uuid, or external_dag_id and external_run_id. An empty one is "
                "usually the result of a task that has none."
            )
        if self.job_uuid and not is_uuid(self.job_uuid):
            raise ConfigurationError(f"job_uuid is {quoted(self.job_uuid, 80)}; it must be the UUID of an export job.")

    def _ended_job(self) -> dict[str, Any] | None:
        from airflow_provider_tenable.exceptions import ExportNotFoundError, NotFoundError, TemporaryError
        from airflow_provider_tenable.tenable_vm.jobs import ACTIVE

        assert self.job_uuid is not None
        with closing(self.hook):
            try:
                status = self.hook.export_status(self.export, self.job_uuid)
            except ExportNotFoundError as error:
                # A job is there from the response to its request on, so waiting does not bring it.
                raise NotFoundError(str(error)) from error
            except TemporaryError as error:
                self.log.warning("Could not poll %s: %s", self._name(), error)
                return None
        if status.status in ACTIVE:
            return None
        if status.status != "FINISHED":
            why = f": {safe(status.reason, 300)}" if status.reason else ""
            raise AirflowFailException(f"{self._name()} ended {safe(status.status, 40)}{why}.")
        return {
            "export": self.export,
            "uuid": self.job_uuid,
            "status": status.status,
            "chunks": len(status.chunks),
        }

    def _staged(self, context: Any) -> dict[str, Any] | None:
        from airflow_provider_tenable.exceptions import ConfigurationError
        from airflow_provider_tenable.export.store import StagedExport
        from airflow_provider_tenable.run import owner
        from airflow_provider_tenable.staging.files import names
        from airflow_provider_tenable.staging.layout import RunFolder, staging_uri_of

        assert self.external_dag_id is not None
        assert self.external_run_id is not None
        run = RunFolder(self.staging_path or staging_uri_of(context), self.external_dag_id, self.external_run_id)
        owner.check_owner(run)
        folder = run.export(self.export)
        state = StagedExport(folder, self.export).state()
        if state is None or not state.complete:
            return None
        parts = state.parts.values()
        if missing := {part.name for part in parts} - set(names(folder)):
            raise ConfigurationError(
                f"{self._name()} was complete, and {len(missing)} of its {len(parts)} chunks are not staged any more: "
                "they are removed after [tenable] retention_days. Run that DAG again."
            )
        return {
            "export": self.export,
            "uuid": state.uuid,
            "folder": str(folder),
            "parts": len(parts),
            "records": sum(part.records for part in parts),
            "bytes": sum(part.bytes for part in parts),
            "data_from": state.data_from,
        }

    def _name(self) -> str:
        if self.job_uuid:
            return f"The {self.export} export {safe(self.job_uuid, 40)}"
        return f"The {self.export} export of {quoted(self.external_dag_id, 80)} run {quoted(self.external_run_id, 80)}"
