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
#: The stages that the run at size measures as processes of their own, too; the last one only there.
_AT_SIZE = ("export", "transform", "import", "settle")


def peaks(results: dict[str, Any]) -> dict[str, float]:
    """Each stage's peak in MB: the largest of those with the most records, and of those of the run at size, which has
    more assets. An import also compares with what the hub holds.

    :param results: with the suites ``memory``, ``index`` and ``size``.
    """
    memory, index, size = (results[suite]["figures"] for suite in ("memory", "index", "size"))
    of_most = memory[_most(memory)]
    found = {stage: of_most[stage]["peak_mb"] if stage in of_most else 0.0 for stage in _TASKS}
    for stage in _AT_SIZE:
        found[stage] = max(found[stage], *(day["stages"][stage]["peak_mb"] for day in size["days"]))
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
