"""The memory that a pod needs for each task, from the measured peaks. The Kubernetes executor makes one for each."""

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
    "settle": "`settle`, `plan_archiving`, `advance_watermark`",
}
#: Stages that only the run at size measures as processes of their own.
_AT_SIZE = ("settle",)


def peaks(results: dict[str, Any]) -> dict[str, float]:
    """Each stage's peak in MB, with the most records that were measured. An import also compares with what the hub
    holds.

    :param results: with the suites ``memory``, ``index`` and ``size``.
    """
    memory, index, size = (results[suite]["figures"] for suite in ("memory", "index", "size"))
    found = {stage: memory[_most(memory)][stage]["peak_mb"] for stage in _TASKS if stage not in _AT_SIZE}
    for stage in _AT_SIZE:
        found[stage] = max(day["stages"][stage]["peak_mb"] for day in size["days"])
    comparing = memory["bare_mb"] + max(each["mb_above_airflow"] for each in index.values())
    return {**found, "import": max(found["import"], comparing)}


def pods(results: dict[str, Any]) -> Rows:
    """The table: each task's peak, and the request that has room for it."""
    memory = results["memory"]["figures"]
    bare = memory["bare_mb"]
    rows: Rows = [("tasks", "peak", "and Airflow's supervisor", "request")]
    for stage, peak in peaks(results).items():
        rows.append((_TASKS[stage], f"{peak:.0f} MB", f"{peak + bare:.0f} MB", f"{request(peak + bare)}Mi"))
    return rows


def _most(memory: dict[str, Any]) -> str:
    return max((name for name in memory if name != "bare_mb"), key=int)


def request(megabytes: float) -> int:
    """MiB for a process that has needed so much."""
    return math.ceil(megabytes / _STEP_MIB) * _STEP_MIB


__all__ = ["peaks", "pods", "request"]
