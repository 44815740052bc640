"""Runs the DAG's steps in order, in process, with the real operators and hooks over real sockets. No scheduler, no
database.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.operators.compliance import TenableComplianceToAsffOperator
from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from airflow_provider_tenable.operators.security_hub_archive import SecurityHubArchiveFindingsOperator
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.operators.was import TenableWasToAsffOperator
from airflow_provider_tenable.run import archiving, finish, owner, retention, watermark
from airflow_provider_tenable.run import plan as plan_module
from airflow_provider_tenable.run.kind_params import OF_KIND
from airflow_provider_tenable.run.report import report_of
from airflow_provider_tenable.staging.files import names, read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines

DAG_ID = "tenable_to_security_hub"
#: By the kind of its records: the id of the DAG, and the operator that transforms.
_DAGS = {
    "vulnerabilities": (DAG_ID, TenableToAsffOperator),
    "compliance": ("tenable_compliance_to_security_hub", TenableComplianceToAsffOperator),
    "was": ("tenable_was_to_security_hub", TenableWasToAsffOperator),
}
_numbers = itertools.count(1)


class Variables:
    """Airflow's Variables, as the watermark uses them."""

    def __init__(self, monkeypatch: Any) -> None:
        self.values: dict[str, str] = {}
        self.writes: list[str] = []
        monkeypatch.setattr(
            watermark, "read_watermark", lambda dag_id: self.values.get(watermark.variable_name(dag_id))
        )
        monkeypatch.setattr(watermark, "write_watermark", self._write)
        monkeypatch.setattr(owner, "read_variable", self.values.get)
        monkeypatch.setattr(owner, "write_variable", lambda name, value, text: self.values.update({name: value}))

    def _write(self, dag_id: str, value: int) -> None:
        self.values[watermark.variable_name(dag_id)] = str(value)
        self.writes.append(str(value))

    @property
    def watermark(self) -> str | None:
        return self.values.get(watermark.variable_name(DAG_ID))

    @watermark.setter
    def watermark(self, value: str | None) -> None:
        if value is None:
            self.values.pop(watermark.variable_name(DAG_ID), None)
        else:
            self.values[watermark.variable_name(DAG_ID)] = value


@dataclass
class Run:
    """One run of the DAG.

    :param defaults: the DAG's own params; ``params`` are those of this run.
    """

    params: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    run_type: str = "manual"
    interval: tuple[datetime | None, datetime | None] = (None, None)
    run_id: str = ""
    kind: str = "vulnerabilities"

    def __post_init__(self) -> None:
        self.run_id = self.run_id or f"{self.run_type}__{next(_numbers)}"
        usual = {name: param.default for name, param in OF_KIND[self.kind].items()}
        defaults = {**usual, **self.defaults}
        dag_id = _DAGS[self.kind][0]
        self.pushed: dict[str, Any] = {}
        self.context: dict[str, Any] = {
            "dag_run": SimpleNamespace(dag_id=dag_id, run_id=self.run_id, run_type=self.run_type, conf=self.params),
            "dag": SimpleNamespace(params=defaults),
            "params": {**defaults, **self.params},
            "ti": SimpleNamespace(xcom_push=lambda key, value: self.pushed.update({key: value})),
            "data_interval_start": self.interval[0],
            "data_interval_end": self.interval[1],
        }
        self.folder = RunFolder.of(self.context)

    def execute(self) -> dict[str, Any]:
        """All steps; the watermark step's result. The first failure is raised, as it would fail the DAG run."""
        plan = plan_module.plan_run(self.context, kind=self.kind)
        assets = self.export("assets", plan["asset_filters"])
        filters = "vulnerability_filters" if self.kind == "vulnerabilities" else f"{self.kind}_filters"
        vulnerabilities = self.export(self.kind, plan[filters])
        self.transform(plan, assets, vulnerabilities)
        for number, assignment in enumerate(plan_module.plan_imports(self.context)):
            SecurityHubImportFindingsOperator(task_id=f"import_{number}", assignment=assignment).execute(self.context)
        finish.settle_run(self.context, vulnerabilities)
        for entry in archiving.plan_archiving(self.context, vulnerabilities):
            task = SecurityHubArchiveFindingsOperator(task_id=f"archive_{entry['group']}", assignment=dict(entry))
            task.execute(self.context)
        result = finish.advance_watermark(self.context, vulnerabilities)
        archiving.check_archived(self.context)
        retention.remove_old_runs(self.context)
        return result

    def export(self, kind: str, filters: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        """One export, waited for in the task itself."""
        arguments = {"deferrable": False, "poll_interval": 0.1, "filters": filters, **arguments}
        return TenableExportOperator(task_id=f"export_{kind}", export=kind, **arguments).execute(self.context)

    def transform(self, plan: dict[str, Any], assets: dict[str, Any], vulnerabilities: dict[str, Any]) -> None:
        """All shards."""
        for shard in plan_module.plan_shards(self.context, vulnerabilities, assets):
            make: Any = _DAGS[self.kind][1]
            operator = make(
                task_id=f"transform_{shard['index']}",
                shard=shard,
                assets=assets,
                plan=plan,
                **{self.kind: vulnerabilities},
            )
            operator.execute(self.context)

    @property
    def ledger(self) -> dict[str, Any]:
        ledger: dict[str, Any] = read_json(self.folder.ledger)
        return ledger

    @property
    def report(self) -> str:
        return report_of(self.folder)


def staged_lines(run: Run, destination: str) -> list[bytes]:
    """The staged findings of ``account/region``."""
    folder = run.folder.destination(*destination.split("/"))
    return [line for name in names(folder) for line in read_lines(folder / name)]
