"""What exports and runs have staged, record by record: for tasks of your own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_tenable.run.ledger_checks import rejected_lines
from airflow_provider_tenable.run.manifests import destinations_of, shard_manifests
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines, read_part


def iter_vulnerabilities(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The records of a vulnerability export as Tenable returned them. One chunk is in memory at a time.

    :param result: the result (XCom) of :class:`~airflow_provider_tenable.operators.tenable.TenableExportOperator` with
        ``export="vulnerabilities"``.
    :raises StagingError: a chunk is missing or damaged.
    """
    from airflow_provider_tenable.export.store import staged_parts

    for part in staged_parts(str(result["folder"]), "vulnerabilities"):
        yield from json.loads(read_part(part))


def iter_findings(run: RunFolder) -> Iterator[dict[str, Any]]:
    """The findings (ASFF) that a run has mapped, whether or not they were sent.

    :param run: ``RunFolder.of(context)`` in a task of the run, or that of an event's ``dag_id`` and ``run_id``.
    :raises StagingError: a part is missing or damaged; those of a complete run are removed after ``[tenable]
        retention_days``.
    """
    for entry in destinations_of(shard_manifests(run)):
        for name in entry["parts"]:
            for line in read_lines(run.destination(entry["account"], entry["region"]) / name):
                yield json.loads(line)


def iter_rejected(run: RunFolder) -> Iterator[dict[str, Any]]:
    """What Security Hub CSPM rejected in a run: ``{"id", "account", "region", "code", "message", "finding"}``.

    :param run: as for :func:`iter_findings`.
    :raises StagingError: a part is missing or damaged.
    """
    yield from rejected_lines(run)


__all__ = ["iter_findings", "iter_rejected", "iter_vulnerabilities"]
