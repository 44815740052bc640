"""The provider's metrics, sent through Airflow's own (``[metrics]``: StatsD, Datadog, OpenTelemetry) with the same
prefix.

A metric that is broken down (by reason, by code, by kind of export) is sent twice: once under its name with a tag, and
once with the tag's value in the name, because StatsD does not support tags. Nothing here ever fails a task.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES

log = logging.getLogger(__name__)

COUNTER, GAUGE, TIMER = "counter", "gauge", "timer"


@dataclass(frozen=True)
class Metric:
    """A metric: its kind, its tags, its meaning. ``by`` is the tag whose value is also sent as part of the name."""

    kind: str
    tags: tuple[str, ...]
    description: str
    by: str | None = None


METRICS: dict[str, Metric] = {
    "tenable.exported": Metric(
        COUNTER, ("dag_id", "export"), "records that an export has staged, sent when it is complete", by="export"
    ),
    "tenable.skipped": Metric(COUNTER, ("dag_id", "reason"), "records that did not become a finding", by="reason"),
    "tenable.parked": Metric(
        COUNTER, ("dag_id",), "records kept for the following runs because their asset is missing"
    ),
    "tenable.findings": Metric(COUNTER, ("dag_id", "account", "severity"), "findings that were mapped", by="severity"),
    "tenable.accepted": Metric(
        COUNTER, ("dag_id", "account", "region"), "findings that Security Hub CSPM acknowledged"
    ),
    "tenable.rejected": Metric(
        COUNTER,
        ("dag_id", "account", "region", "code"),
        "findings that Security Hub CSPM permanently rejected",
        by="code",
    ),
    "tenable.calls": Metric(
        COUNTER, ("dag_id", "account", "region"), "calls of BatchImportFindings that received a response"
    ),
    "tenable.compared": Metric(
        COUNTER,
        ("dag_id", "verdict"),
        "findings of complete runs, by what became of them: created, updated, archived, refreshed, unknown (sent); "
        "unchanged, superseded, never_imported (not sent)",
        by="verdict",
    ),
    "tenable.archived": Metric(
        COUNTER,
        ("dag_id", "reason"),
        "findings that complete runs archived, because Tenable says so (fixed, risk_accepted) or does not report them "
        "any more",
        by="reason",
    ),
    "tenable.archiving_stopped": Metric(
        GAUGE,
        ("dag_id",),
        "findings that the last complete run did not archive because they were too many",
        by="dag_id",
    ),
    "tenable.reopened": Metric(
        COUNTER, ("dag_id",), "findings of complete runs that were archived in the hub and are active again"
    ),
    "tenable.active": Metric(
        GAUGE,
        ("dag_id", "severity"),
        "findings that are active in all hubs after a complete run, according to the finding index",
        by="severity",
    ),
    "tenable.overdue": Metric(
        GAUGE,
        ("dag_id", "severity"),
        "those of them that are older than [tenable] service_levels",
        by="severity",
    ),
    "tenable.oldest_age": Metric(
        GAUGE, ("dag_id",), "days since the oldest active finding was first observed", by="dag_id"
    ),
    "tenable.audit": Metric(
        GAUGE,
        ("dag_id", "kind"),
        "findings that the last audit of the hubs found missing, ghost or stale",
        by="kind",
    ),
    "tenable.watermark_lag": Metric(
        GAUGE, ("dag_id",), "seconds between the watermark and now, at the beginning and end of a run", by="dag_id"
    ),
    "tenable.refused_destinations": Metric(
        GAUGE,
        ("dag_id",),
        "accounts and Regions that refused a run's findings for good, when it is settled",
        by="dag_id",
    ),
    "tenable.duration.export": Metric(
        TIMER,
        ("dag_id", "export"),
        "from the first request to the complete export, including waiting time",
        by="export",
    ),
    "tenable.duration.transform": Metric(TIMER, ("dag_id",), "one task that maps a shard"),
    "tenable.duration.import": Metric(
        TIMER, ("dag_id", "account", "region"), "one task that sends findings, or one attempt of it"
    ),
    "tenable.scanner.online_after": Metric(
        TIMER, ("dag_id",), "from the launch of a scanner's instance until it can scan"
    ),
    "tenable.scan.ended": Metric(
        COUNTER, ("dag_id", "status"), "runs of scans that have ended, by their final status", by="status"
    ),
    "tenable.scan.duration": Metric(TIMER, ("dag_id",), "from the launch of a scan to the end of its run"),
    "tenable.scan_export.bytes": Metric(
        COUNTER, ("dag_id", "format"), "bytes of scan results that were downloaded", by="format"
    ),
}


def count(name: str, number: int, **tags: str) -> None:
    """Add to a counter."""
    _send("incr", COUNTER, name, int(number), tags)


def gauge(name: str, value: float, **tags: str) -> None:
    """Set a gauge."""
    _send("gauge", GAUGE, name, value, tags)


def timing(name: str, seconds: float, **tags: str) -> None:
    """Send a duration, given in seconds, as milliseconds."""
    # A plain number of milliseconds means the same to every backend of every Airflow.
    _send("timing", TIMER, name, max(0.0, seconds) * 1000.0, tags)


def transformed(manifest: Mapping[str, Any], seconds: float, dag_id: str) -> None:
    """The counts of a shard.

    :param manifest: the shard's manifest, as :mod:`airflow_provider_tenable.transform.manifest` describes it.
    """
    chosen(manifest, dag_id)
    count("tenable.parked", manifest["parked"], dag_id=dag_id)
    timing("tenable.duration.transform", seconds, dag_id=dag_id)


def chosen(manifest: Mapping[str, Any], dag_id: str) -> None:
    """The results for the records of a shard, or for findings that share an id: mapped findings by severity, and
    skipped records by reason.
    """
    for reason, number in manifest["skipped"].items():
        count("tenable.skipped", number, dag_id=dag_id, reason=reason)
    for account, severities in manifest["severities"].items():
        for severity, number in severities.items():
            count("tenable.findings", number, dag_id=dag_id, account=account, severity=severity)


def imported(before: Mapping[str, Any], after: Mapping[str, Any], seconds: float, **tags: str) -> None:
    """What one attempt of an import has added to its destination's receipts. Each finding is counted once, however
    often the task is retried.

    :param before: the receipts' counts when the attempt began: ``{"accepted", "rejected": {code: n}, "calls"}``.
    :param after: the same when it ended.
    """
    count("tenable.accepted", max(0, after["accepted"] - before["accepted"]), **tags)
    for code, number in after["rejected"].items():
        if number > before["rejected"].get(code, 0):
            count("tenable.rejected", number - before["rejected"].get(code, 0), **tags, code=code)
    count("tenable.calls", max(0, after["calls"] - before["calls"]), **tags)
    timing("tenable.duration.import", seconds, **tags)


def completed(ledger: Mapping[str, Any], dag_id: str) -> None:
    """What became of the findings of a complete run.

    :param ledger: as :mod:`airflow_provider_tenable.run.ledger` describes it.
    """
    not_sent = {verdict: ledger.get(verdict, 0) for verdict in ("unchanged", "superseded", "never_imported")}
    for verdict, number in {**ledger.get("sent", {}), **not_sent}.items():
        if number:
            count("tenable.compared", number, dag_id=dag_id, verdict=verdict)
    if ledger.get("reopened"):
        count("tenable.reopened", ledger["reopened"], dag_id=dag_id)
    for reason, number in ledger.get("archived", {}).items():
        count("tenable.archived", number, dag_id=dag_id, reason=reason)
    gone = ledger.get("gone")
    if gone is not None:
        for reason, number in gone["archived"].items():
            count("tenable.archived", number, dag_id=dag_id, reason=reason)
        gauge("tenable.archiving_stopped", sum(gone["stopped"].values()), dag_id=dag_id)


def active(hubs: Mapping[str, Any] | None, dag_id: str) -> None:
    """What the hubs hold after a run.

    :param hubs: a :class:`~airflow_provider_tenable.run.ages.HubsEntry`; None where nothing is known.
    """
    if hubs is None:
        return
    total = hubs["total"]
    # In total only: without tags, the gauges of many accounts and Regions would overwrite each other.
    for severity in SEVERITIES:
        # A gauge keeps its value until it is set again, so those without findings are set to 0.
        gauge("tenable.active", total["by_severity"].get(severity, 0), dag_id=dag_id, severity=severity)
        gauge("tenable.overdue", total["overdue"].get(severity, 0), dag_id=dag_id, severity=severity)
    if total["oldest_days"] is not None:
        gauge("tenable.oldest_age", total["oldest_days"], dag_id=dag_id)


def audited(counts: Mapping[str, int], dag_id: str) -> None:
    """How all audited hubs differ from the finding index.

    :param counts: kind -> findings, with all kinds: those without findings are set to 0.
    """
    for kind, number in counts.items():
        gauge("tenable.audit", number, dag_id=dag_id, kind=kind)


def watermark_lag(dag_id: str, watermark: int | None, now: float) -> None:
    """Send the watermark's age in seconds. Without a watermark, nothing is sent."""
    if watermark is not None:
        gauge("tenable.watermark_lag", now - watermark, dag_id=dag_id)


def _send(method: str, kind: str, name: str, value: float, tags: dict[str, str]) -> None:
    try:
        from airflow_provider_tenable._compat import Stats

        metric = METRICS[name]
        if metric.kind != kind or set(tags) != set(metric.tags):
            raise ValueError(f"{name} is a {metric.kind} with the tags {metric.tags}")
        labels = {tag: _plain(text) for tag, text in tags.items()}
        send = getattr(Stats, method)
        send(name, value, tags=labels)
        if metric.by:
            send(
                f"{name}.{labels[metric.by]}",
                value,
                tags={tag: text for tag, text in labels.items() if tag != metric.by},
            )
    except Exception as error:  # noqa: BLE001 - a failing metric must never fail the task.
        log.warning("The metric %s could not be sent: %s: %s", name, type(error).__name__, safe(error))


def _plain(text: str) -> str:
    """The text with characters replaced that a backend may not allow in a metric's name or a tag."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", str(text))[:100] or "none"
