"""The memory that a pod needs for each task, from the measured peaks: with the Kubernetes executor each task has one."""

from __future__ import annotations

import math
from typing import Any

Rows = list[tuple[str, ...]]

#: Kubernetes rounds nothing; people do.
_STEP_MIB = 128
#: Stage that is measured -> the tasks that run it.
_TASKS = {
    "export": "`export_assets`, `export_vulnerabilities`",
    "transform": "`transform`",
    "transform_audits": "`transform` of audits",
    "import": "`import_findings`",
}


def pods(memory: dict[str, Any]) -> Rows:
    """The table: each task's peak with the most records, and the request that has room for it.

    :param memory: figures of the suite ``memory``.
    """
    records = max((name for name in memory if name != "bare_mb"), key=int)
    bare = memory["bare_mb"]
    rows: Rows = [("tasks", f"peak with {int(records):,} records", "and Airflow's supervisor", "request")]
    for stage, tasks in _TASKS.items():
        peak = memory[records][stage]["peak_mb"]
        rows.append((tasks, f"{peak:.0f} MB", f"{peak + bare:.0f} MB", f"{request(peak + bare)}Mi"))
    return rows


def request(megabytes: float) -> int:
    """MiB for a process that has needed so much."""
    return math.ceil(megabytes / _STEP_MIB) * _STEP_MIB


__all__ = ["pods", "request"]
