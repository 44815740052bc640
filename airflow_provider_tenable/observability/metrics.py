"""What the provider tells Airflow's metrics (``[metrics]``: StatsD, Datadog, OpenTelemetry), under Airflow's own
prefix.

A metric that is counted by something (a reason, a code, a kind of export) is sent twice: once under its name with that
as a tag, and once with it in the name, for StatsD knows no tags. Nothing here ever fails a task.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_tenable.guards.foreign_text import safe

log = logging.getLogger(__name__)

COUNTER, GAUGE, TIMER = "counter", "gauge", "timer"


@dataclass(frozen=True)
class Metric:
    """A metric: its kind, its tags, what it means. ``by`` is the tag that also stands in a name of its own."""

    kind: str
    tags: tuple[str, ...]
    description: str
    by: str | None = None


METRICS: dict[str, Metric] = {
    "tenable.exported": Metric(
        COUNTER, ("dag_id", "export"), "records that an export has staged, once it is whole", by="export"
    ),
    "tenable.skipped": Metric(COUNTER, ("dag_id", "reason"), "records that became no finding", by="reason"),
    "tenable.parked": Metric(
        COUNTER, ("dag_id",), "records kept for the following runs, since their asset is not there"
    ),
    "tenable.findings": Metric(COUNTER, ("dag_id", "account", "severity"), "findings that were mapped", by="severity"),
    "tenable.accepted": Metric(COUNTER, ("dag_id", "account", "region"), "findings that Security Hub acknowledged"),
    "tenable.rejected": Metric(
        COUNTER, ("dag_id", "account", "region", "code"), "findings that Security Hub refused for good", by="code"
    ),
    "tenable.calls": Metric(
        COUNTER, ("dag_id", "account", "region"), "calls of BatchImportFindings that were answered"
    ),
    "tenable.watermark_lag": Metric(
        GAUGE, ("dag_id",), "seconds between the watermark and now, at a run's begin and end", by="dag_id"
    ),
    "tenable.duration.export": Metric(
        TIMER, ("dag_id", "export"), "from the first request to the whole export, waiting included", by="export"
    ),
    "tenable.duration.transform": Metric(TIMER, ("dag_id",), "one task that maps a shard"),
    "tenable.duration.import": Metric(
        TIMER, ("dag_id", "account", "region"), "one task that sends findings, or one try of it"
    ),
}


def count(name: str, number: int, **tags: str) -> None:
    """Add to a counter."""
    _send("incr", COUNTER, name, int(number), tags)


def gauge(name: str, value: float, **tags: str) -> None:
    """Set a gauge."""
    _send("gauge", GAUGE, name, value, tags)


def timing(name: str, seconds: float, **tags: str) -> None:
    """Record how long something took."""
    # Milliseconds as a number: what every backend of every Airflow takes alike.
    _send("timing", TIMER, name, max(0.0, seconds) * 1000.0, tags)


def transformed(manifest: Mapping[str, Any], seconds: float, dag_id: str) -> None:
    """The counts of a shard.

    :param manifest: what the transform has written (``findings_writer``).
    """
    chosen(manifest, dag_id)
    count("tenable.parked", manifest["parked"], dag_id=dag_id)
    timing("tenable.duration.transform", seconds, dag_id=dag_id)


def chosen(manifest: Mapping[str, Any], dag_id: str) -> None:
    """What became of the records of a shard, or of findings that share an id: findings by severity, or a reason."""
    for reason, number in manifest["skipped"].items():
        count("tenable.skipped", number, dag_id=dag_id, reason=reason)
    for account, severities in manifest["severities"].items():
        for severity, number in severities.items():
            count("tenable.findings", number, dag_id=dag_id, account=account, severity=severity)


def imported(before: Mapping[str, Any], after: Mapping[str, Any], seconds: float, **tags: str) -> None:
    """What one try of an import has added to its destination's receipts: each finding is counted once, however often
    the task is retried.

    :param before: the receipts' counts when the try began: ``{"accepted", "rejected": {code: n}, "calls"}``; ``after``
        when it ended.
    """
    count("tenable.accepted", max(0, after["accepted"] - before["accepted"]), **tags)
    for code, number in after["rejected"].items():
        if number > before["rejected"].get(code, 0):
            count("tenable.rejected", number - before["rejected"].get(code, 0), **tags, code=code)
    count("tenable.calls", max(0, after["calls"] - before["calls"]), **tags)
    timing("tenable.duration.import", seconds, **tags)


def watermark_lag(dag_id: str, watermark: int | None, now: float) -> None:
    """How old the watermark is. Without one there is nothing to tell."""
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
    except Exception as error:  # noqa: BLE001 - metrics are a by-product: whatever is wrong with them, the task's own work counts.
        log.warning("The metric %s could not be sent: %s: %s", name, type(error).__name__, safe(error))


def _plain(text: str) -> str:
    """A text that may stand in a metric's name and in a tag of any backend."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", str(text))[:100] or "none"
