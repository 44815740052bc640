"""Waits for the run of a scan that Tenable's schedule, or a person, has started."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import (
    AirflowFailException,
    PokeReturnValue,
    fail_fast,
)
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.links.tenable import SCAN_KEY, TenableScanLink, scan_url, show
from airflow_provider_tenable.sensors.deferring import _WaitsForTenable
from airflow_provider_tenable.triggers.tenable_scans import TenableScanTrigger

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import BaseTrigger
    from airflow_provider_tenable.tenable_vm.scan_runs import Run
    from airflow_provider_tenable.tenable_vm.scans import Scan


class TenableScanSensor(_WaitsForTenable):
    """Wait until a run of a scan has ended: a given run, or the first seen that began after a time.

    The result (XCom) is ``{"scan", "schedule_uuid", "name", "run_uuid", "history_id", "status", "started_at",
    "ended_at"}``, which
    :class:`~airflow_provider_tenable.operators.scan_exports.TenableExportScanOperator` accepts as ``scan`` and ``run``.

    :param scan: result of another operator, number, schedule uuid, or ``name:`` and the name (templated).
    :param run_uuid: the run, such as that of an operator with ``wait_for_completion=False`` (templated).
    :param since: without ``run_uuid``: runs that began at this time or later count; unix seconds or ISO 8601. Default:
        the end of the data interval, or the start of the DAG run (templated).
    :param accept: final statuses that count as success.
    :param tenable_conn_id: connection of type ``tenable`` (templated).
    :param deferrable: wait in the triggerer, without a worker slot. Default ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("scan", "run_uuid", "since", "tenable_conn_id")
    template_fields_renderers = {"scan": "json"}
    operator_extra_links = (TenableScanLink(),)

    def __init__(
        self,
        *,
        scan: dict[str, Any] | int | str,
        run_uuid: str | None = None,
        since: float | str | None = None,
        accept: Sequence[str] = ("completed",),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scan = scan
        self.run_uuid = run_uuid
        self.since = since
        self.accept = accept

    def poke(self, context: Any) -> PokeReturnValue:
        """Look for the run once."""
        with fail_fast(), closing(self.hook):
            scan = self.hook.scans.scan(self.scan)
            run = self._ended_run(scan, context)
            if run is None:
                return PokeReturnValue(is_done=False)
            url = self.hook.connection_arguments["url"]
            show(context, SCAN_KEY, scan_url(url, scan_id=scan.id, run_uuid=run.uuid))
            return PokeReturnValue(is_done=True, xcom_value=self._result(scan, run))

    def _too_late(self) -> str:
        return f"No run of {quoted(self.scan, 100)} ended within {self.timeout:.0f} s."

    def _trigger(self, context: Any, deadline: float) -> BaseTrigger:
        with fail_fast(), closing(self.hook):
            scan = self.hook.scans.scan(self.scan)
            status = self._status(scan)
        return TenableScanTrigger(
            tenable_conn_id=self.tenable_conn_id,
            scan={"id": scan.id, "schedule_uuid": scan.schedule_uuid, "name": scan.name},
            run_uuid=self.run_uuid,
            status=status,
            poll_interval=self._interval(),
            deadline=deadline,
            since=None if self.run_uuid else self._since(context),
        )

    def _status(self, scan: Scan) -> str | None:
        from airflow_provider_tenable.scan.run_context import status_now

        return status_now(self.hook.scan_runs, scan, self.run_uuid) if self.run_uuid else None

    def _ended_run(self, scan: Scan, context: Any) -> Run | None:
        from airflow_provider_tenable.scan.scheduled import newest_since
        from airflow_provider_tenable.scan.status import ENDED

        runs = self.hook.scan_runs
        if self.run_uuid:
            run = runs.run(scan, self.run_uuid)
            return run if run and run.status in ENDED else None
        return newest_since(runs.history(scan), self._since(context))

    def _since(self, context: Any) -> float:
        from airflow_provider_tenable.exceptions import ConfigurationError

        if self.since is None:
            moment = context.get("data_interval_end") or context["dag_run"].start_date
            return float(moment.timestamp())
        try:
            seconds = float(self.since)
        except (TypeError, ValueError):
            seconds = math.nan
        if math.isfinite(seconds):
            return seconds
        try:
            given = datetime.fromisoformat(str(self.since))
        except ValueError:
            given = None
        if given is None or given.tzinfo is None:
            raise ConfigurationError(
                f"since is {quoted(self.since, 60)}; it must be unix seconds, or a time such as "
                "2026-11-27T00:00:00+00:00."
            )
        return given.timestamp()

    def _result(self, scan: Scan, run: Run) -> dict[str, Any]:
        if run.status not in self.accept:
            # The run has ended: a retry would find the same.
            raise AirflowFailException(f"Run {run.uuid} of scan {scan.label} ended {run.status}.")
        return {
            "scan": scan.id,
            "schedule_uuid": scan.schedule_uuid,
            "name": scan.name,
            "run_uuid": run.uuid,
            "history_id": run.history_id,
            "status": run.status,
            "started_at": run.started,
            "ended_at": run.ended,
        }
