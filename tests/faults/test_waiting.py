"""The deferred half of an export. The triggerer, or the worker before and after it, is killed; the export is not asked
for again, and not lost.
"""

from __future__ import annotations

import time

import pytest

from tests.faults.pipeline import Pipeline
from tests.faults.universe import Sandbox, differences, expected

#: Real triggers sleep 10 seconds at least.
QUICK = {
    "airflow_provider_tenable.triggers.tenable:SHORTEST_POLL_INTERVAL": 0.2,
    "airflow_provider_tenable.operators.tenable:SHORTEST_POLL_INTERVAL": 0.2,
}


def assert_delivered(pipeline: Pipeline, sandbox: Sandbox) -> None:
    assert differences(sandbox.held(), expected(sandbox.truth(), sandbox.accounts)) == {}
    assert pipeline.watermark


@pytest.mark.parametrize("after", [0.3, 0.8, 1.3])
def test_triggerer_killed_in_mid_poll_loses_nothing(pipeline: Pipeline, sandbox: Sandbox, after: float) -> None:
    """What the metadata database has of a trigger, its serialised form, is all that the next triggerer knows."""
    sandbox.fault({"on": "job", "kind": "vulns", "do": "late", "seconds": 3.0})
    waiting = pipeline.folder / "xcom" / "run-1.vulnerabilities.trigger.json"
    pid = pipeline.start(deferrable=True, patches=QUICK)
    deadline = time.monotonic() + 30
    while not waiting.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(after)
    pipeline.kill(pid)
    assert pipeline.wait(pid).killed
    pipeline.succeed(deferrable=True, patches=QUICK)
    assert sandbox.jobs() == {"created": 1, "running": 0, "cancelled": 0}
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize(
    "fault",
    [
        {"on": "vulns_status", "do": "status", "status": 503, "times": 3, "skip": 1},
        {"on": "vulns_status", "do": "status", "status": 404, "skip": 1},
        {"on": "vulns_status", "do": "lose_answer", "times": 2, "skip": 1},
        {"on": "vulns_status", "do": "body", "body": "null", "skip": 1},
    ],
    ids=lambda fault: f"{fault['do']}-{fault.get('status', '')}",
)
def test_fault_that_meets_the_trigger_costs_nothing(
    pipeline: Pipeline, sandbox: Sandbox, fault: dict[str, object]
) -> None:
    sandbox.fault({"on": "job", "kind": "vulns", "do": "late", "seconds": 1.0}, fault)
    pipeline.succeed(deferrable=True, patches=QUICK)
    assert_delivered(pipeline, sandbox)


def test_job_that_is_cancelled_while_the_task_waits_is_asked_for_again(pipeline: Pipeline, sandbox: Sandbox) -> None:
    sandbox.fault({"on": "job", "kind": "vulns", "do": "cancelled"})
    pipeline.succeed(deferrable=True, patches=QUICK)
    assert sandbox.jobs()["created"] == 2
    assert_delivered(pipeline, sandbox)
