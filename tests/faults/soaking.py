"""Many runs in one worker process, with random faults; what the process holds is noted after each. Driven by
``scripts/soak.py``.
"""

from __future__ import annotations

import gc
import json
import os
import random
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_provider_tenable.staging.crash_points import CrashPoint
from tests.faults import run_tasks
from tests.faults.universe import Sandbox, differences, expected

#: Faults at Tenable and at Security Hub that a run may meet, each with the chance that is asked for.
TENABLE = [
    {"on": operation, **fault}
    for operation in (
        "session",
        "vulns_export",
        "vulns_status",
        "vulns_chunk",
        "assets_export",
        "assets_status",
        "assets_chunk",
    )
    for fault in (
        {"do": "status", "status": 503},
        {"do": "status", "status": 500},
        {"do": "reset"},
        {"do": "lose_answer"},
        {"do": "truncate", "keep_bytes": 100},
    )
] + [
    {"on": "job", "kind": kind, **fault}
    for kind in ("vulns", "assets")
    for fault in (
        {"do": "fail_chunks", "chunks": [1]},
        {"do": "error"},
        {"do": "cancelled"},
        {"do": "expire"},
        {"do": "late", "seconds": 0.3},
        {"do": "repeat_chunks"},
    )
]
HUB = [
    {"on": "BatchImportFindings", **fault}
    for fault in (
        {"do": "status", "status": 429, "body": ""},
        {"do": "status", "status": 500, "body": ""},
        {"do": "reset"},
        {"do": "lose_answer"},
        {"do": "expire_credentials"},
        {"do": "fail_findings", "code": "InternalFailure", "share": 0.3},
    )
]


def soak(order: dict[str, Any]) -> None:
    """Runs ``first`` to ``last``. The process may be killed in any of them: the next one carries on with the run that
    was open.
    """
    sandbox = Sandbox(
        SimpleNamespace(tenable=order["tenable"], aws=order["aws"], facts={"accounts": order["accounts"]})
    )  # type: ignore[arg-type]
    for number in range(order["first"], order["last"] + 1):
        rng = random.Random(f"{order['seed']}/{number}/{os.getpid()}")
        chance = order["chance"]
        sandbox.clear_faults()
        if not (Path(order["folder"]) / "xcom" / f"run-{number:04d}.json").exists():
            sandbox.advance(600)
            _live(sandbox, rng)
        sandbox.fault(*[fault for fault in TENABLE if rng.random() < chance])
        sandbox.hub_fault(*[fault for fault in HUB if rng.random() < chance])
        dies = number <= order["crashes_until"] and rng.random() < 5 * chance
        os.environ["TENABLE_CRASH_AT"] = rng.choice(list(CrashPoint)).value if dies else "nowhere"
        began, errors = time.monotonic(), []
        while True:
            try:
                run_tasks.Tasks({**order, "run_id": f"run-{number:04d}"}).run()
                break
            except Exception as error:
                traceback.print_exc()
                errors.append(type(error).__name__)
                if len(errors) >= 5:
                    raise
        os.environ.pop("TENABLE_CRASH_AT")
        wrong = differences(sandbox.held(), expected(sandbox.truth(), sandbox.accounts))
        _note(Path(order["folder"]), number, time.monotonic() - began, errors, wrong)
    sandbox.client.close()


def _live(sandbox: Sandbox, rng: random.Random) -> None:
    truth = sandbox.truth()["vulnerabilities"]
    for each in rng.sample(truth, 5):
        sandbox.change(
            {"do": rng.choice(["rescan", "fix", "reopen", "accept"]), "finding_id": each["finding_id"], "found_ago": 60}
        )


def _note(folder: Path, number: int, seconds: float, errors: list[str], wrong: dict[str, Any]) -> None:
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    line = {
        "pid": os.getpid(),
        "run": number,
        "seconds": round(seconds, 2),
        "errors": errors,
        "wrong": wrong,
        "resident": resident,
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
    }
    with (folder / "vitals.jsonl").open("a") as vitals:
        vitals.write(json.dumps(line) + "\n")
