"""Metrics: every name is in the table, valid for every backend, sent with its tags; what is wrong with them never fails
a task.
"""

from __future__ import annotations

import ast
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable import _compat
from airflow_provider_tenable._compat import AIRFLOW_V_3_2_PLUS
from airflow_provider_tenable.observability import metrics
from airflow_provider_tenable.observability.metrics import METRICS

ROOT = Path(__file__).resolve().parents[3]
TAGS = {"dag_id": "tenable_to_security_hub", "account": "111122223333", "region": "eu-west-1"}


class Recorder:
    """Stands for Airflow's Stats; ``sent`` holds (method, name, value, tags)."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, float, dict[str, str]]] = []

    def __getattr__(self, method: str) -> Any:
        return lambda name, value, *, tags: self.sent.append((method, name, value, tags))


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(_compat, "Stats", recorder)
    return recorder


def test_a_counter_is_sent_with_its_tags_and_once_more_with_what_it_is_counted_by_in_its_name(stats):
    metrics.count("tenable.rejected", 3, **TAGS, code="InvalidInput")
    assert stats.sent == [
        ("incr", "tenable.rejected", 3, {**TAGS, "code": "InvalidInput"}),
        ("incr", "tenable.rejected.InvalidInput", 3, TAGS),
    ]


def test_a_timer_is_in_milliseconds(stats):
    metrics.timing("tenable.duration.import", 1.5, **TAGS)
    assert stats.sent == [("timing", "tenable.duration.import", 1500.0, TAGS)]


def test_a_shard_tells_its_counts(stats):
    manifest = {
        "skipped": {"no_aws_account": 2},
        "parked": 1,
        "severities": {"111122223333": {"high": 5, "critical": 4}},
    }
    metrics.transformed(manifest, 2.0, "dag")
    told = {(name, tags.get("account")): value for _, name, value, tags in stats.sent}
    assert told == {
        ("tenable.skipped", None): 2,
        ("tenable.skipped.no_aws_account", None): 2,
        ("tenable.parked", None): 1,
        ("tenable.findings", "111122223333"): 4,
        ("tenable.findings.high", "111122223333"): 5,
        ("tenable.findings.critical", "111122223333"): 4,
        ("tenable.duration.transform", None): 2000.0,
    }
    assert (
        "incr",
        "tenable.findings",
        5,
        {"dag_id": "dag", "account": "111122223333", "severity": "high"},
    ) in stats.sent


def test_a_try_of_an_import_counts_only_what_it_has_added(stats):
    before = {"accepted": 100, "rejected": {"InvalidInput": 1}, "calls": 2}
    after = {"accepted": 250, "rejected": {"InvalidInput": 1, "LimitExceeded": 2}, "calls": 4}
    metrics.imported(before, after, 1.0, **TAGS)
    assert {name: value for _, name, value, _ in stats.sent} == {
        "tenable.accepted": 150,
        "tenable.rejected": 2,
        "tenable.rejected.LimitExceeded": 2,
        "tenable.calls": 2,
        "tenable.duration.import": 1000.0,
    }


def test_receipts_that_were_forgotten_in_between_take_nothing_back(stats):
    metrics.imported(
        {"accepted": 100, "rejected": {"A": 5}, "calls": 2},
        {"accepted": 40, "rejected": {"A": 1}, "calls": 1},
        1.0,
        **TAGS,
    )
    assert {name: value for _, name, value, _ in stats.sent} == {
        "tenable.accepted": 0,
        "tenable.calls": 0,
        "tenable.duration.import": 1000.0,
    }


def test_the_lag_is_seconds_and_is_not_told_without_a_watermark(stats):
    metrics.watermark_lag("dag", None, 5000.0)
    assert stats.sent == []
    metrics.watermark_lag("dag", 1400, 5000.0)
    assert stats.sent == [
        ("gauge", "tenable.watermark_lag", 3600.0, {"dag_id": "dag"}),
        ("gauge", "tenable.watermark_lag.dag", 3600.0, {}),
    ]


@pytest.mark.parametrize(
    "error", [OSError("no route"), ImportError("statsd"), RuntimeError("whatever"), ValueError("a name")]
)
def test_metrics_that_fail_do_not_fail_the_task(monkeypatch, caplog, error):
    class Broken:
        def __getattr__(self, method: str) -> Any:
            def fail(*arguments: Any, **tags: Any) -> None:
                raise error

            return fail

    monkeypatch.setattr(_compat, "Stats", Broken())
    with caplog.at_level("WARNING", logger="airflow_provider_tenable.observability.metrics"):
        metrics.count("tenable.accepted", 1, **TAGS)
        metrics.gauge("tenable.watermark_lag", 1.0, dag_id="dag")
        metrics.timing("tenable.duration.import", 1.0, **TAGS)
    assert caplog.text.count("could not be sent") == 3


def test_an_airflow_without_stats_does_not_fail_the_task_either(monkeypatch):
    monkeypatch.delattr(_compat, "Stats")
    metrics.count("tenable.accepted", 1, **TAGS)


@pytest.mark.parametrize(
    ("method", "name", "tags"),
    [
        ("count", "tenable.acepted", TAGS),
        ("count", "tenable.accepted", {}),
        ("gauge", "tenable.accepted", TAGS),
        ("timing", "tenable.watermark_lag", TAGS),
    ],
)
def test_what_the_table_does_not_know_is_not_sent(stats, caplog, method, name, tags):
    getattr(metrics, method)(name, 1, **tags)
    assert stats.sent == []
    assert name in caplog.text


def test_what_stands_in_names_and_tags_is_plain(stats):
    metrics.count("tenable.rejected", 1, dag_id="d", account="1", region="r", code="Access, denied=yes: ä/" + "x" * 300)
    [_, (_, name, _, _)] = stats.sent
    assert re.fullmatch(r"tenable\.rejected\.Access_denied_yes_[x_]+", name)
    assert len(name) < 120
    assert not any(set(",= ") & set(text) for _, _, _, tags in stats.sent for text in tags.values())


def _reasons() -> list[str]:
    """Every reason for which a record becomes no finding, as the docs list them (and test_mapping_docs checks)."""
    section = (
        (ROOT / "docs" / "mapping.md")
        .read_text()
        .split("## Why a record does not become a finding", 1)[1]
        .split("\n## ", 1)[0]
    )
    return re.findall(r"^\| `(\w+)` \|", section, re.M)


def test_names_fit_what_every_backend_takes():
    reasons = _reasons()
    assert len(reasons) > 5
    names = [
        *METRICS,
        *(f"tenable.skipped.{reason}" for reason in reasons),
        "tenable.watermark_lag.tenable_to_security_hub",
    ]
    for name in names:
        assert re.fullmatch(r"[a-z0-9_.]+", name)
        # OpenTelemetry's limit on Airflow 2, which counts Airflow's prefix.
        assert len(f"airflow.{name}") <= 63, name


def test_the_table_is_that_of_the_code():
    used = set()
    package = ROOT / "airflow_provider_tenable"
    for path in package.rglob("*.py"):
        # What is checked there has names of that form, too.
        if path.is_relative_to(package / "requirements"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and str(node.args[0].value).startswith("tenable.")
            ):
                used.add(node.args[0].value)
    assert used == set(METRICS)
    assert all(metric.by is None or metric.by in metric.tags for metric in METRICS.values())


def test_every_metric_is_documented_with_its_kind_and_tags():
    section = (ROOT / "docs" / "operating.md").read_text().split("## Metrics\n", 1)[1].split("\n## ", 1)[0]
    rows = {
        name: cells
        for name, *cells in re.findall(r"^\| `(tenable[\w.]+)` \| (\w+) \| ([^|]+) \| ([^|]*) \|", section, re.M)
    }
    assert set(rows) == set(METRICS)
    for name, (kind, tags, meaning) in rows.items():
        metric = METRICS[name]
        assert kind == metric.kind
        assert re.findall(r"`(\w+)`", tags) == list(metric.tags), name
        assert re.findall(r"\*\*`(\w+)`\*\*", tags) == ([metric.by] if metric.by else []), name
        assert meaning.strip() == metric.description


@pytest.mark.skipif(
    AIRFLOW_V_3_2_PLUS, reason="Only a task's own process has metrics there: the system test looks at them."
)
def test_airflows_statsd_client_sends_them():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        settings = {"ON": "True", "HOST": "127.0.0.1", "PORT": str(server.getsockname()[1]), "INFLUXDB_ENABLED": "True"}
        allowed = {"AIRFLOW__METRICS__METRICS_ALLOW_LIST": "tenable"}
        code = (
            f"from airflow_provider_tenable.observability import metrics; metrics.count('tenable.accepted', 7, "
            f"**{TAGS!r})"
        )
        env = {
            **os.environ,
            **allowed,
            **{f"AIRFLOW__METRICS__STATSD_{name}": value for name, value in settings.items()},
        }
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=env, check=True, capture_output=True)
        line = server.recv(4096).decode()
    head, _, value = line.partition(":")
    name, *tags = head.split(",")
    assert (name, value) == ("airflow.tenable.accepted", "7|c")
    assert dict(tag.split("=") for tag in tags) == TAGS
