"""What an audit of the hubs tells: the metric and the asset's event with the differences, and which part of the
instances a sample looks at.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS
from airflow_provider_tenable.observability import metrics
from airflow_provider_tenable.run import hub_audit
from airflow_provider_tenable.run.asset_event import audited_hubs
from airflow_provider_tenable.run.hub_audit import RESULT, AuditResult
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.hub_audit import Differences

DAG_FILE = Path(__file__).parents[3] / "dags" / "tenable_audit_security_hub.py"
DAY = 86_400
RIGHT, WRONG, LOST, FAILED, UNREACHABLE = (f"{number}11122223333/eu-west-1" for number in range(5))


def test_the_event_and_the_metric_have_the_differences_of_all_hubs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk.execution_time.context import OutletEventAccessors
    else:
        from airflow.utils.context import OutletEventAccessors
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
    sent: list[Any] = []
    monkeypatch.setattr(metrics, "gauge", lambda name, value, **tags: sent.append((name, value, tags)))
    run = SimpleNamespace(dag_id="tenable_audit_security_hub", run_id="run-1")
    context: dict[str, Any] = {"dag_run": run, "outlet_events": OutletEventAccessors()}
    folder = RunFolder.of(context)
    plan = {"dag_id": "imports", "digits": "", "places": [RIGHT, WRONG, LOST, FAILED], "left": {UNREACHABLE: "x"}}
    write_json(hub_audit._plan_path(folder), plan)
    for place, result in {
        RIGHT: AuditResult(100, 0, 0, Differences(equal=100)),
        WRONG: AuditResult(50, 0, 0, Differences(counts={"missing": 5, "stale": 2}), repaired=7),
        LOST: AuditResult(9, 0, 0, None, "there is none"),
    }.items():
        write_json(folder.hub_audit(*place.split("/")) / RESULT, msgspec.to_builtins(result))

    report = runpy.run_path(str(DAG_FILE))["dag"].get_task("report")
    found = report.python_callable(**context)
    assert found == {
        "dag_id": "imports",
        "places": 4,
        "read": 150,
        "missing": 5,
        "ghost": 0,
        "stale": 2,
        "repaired": 7,
        "not_audited": 3,
    }
    assert context["outlet_events"][audited_hubs()].extra == found
    assert sent == [
        ("tenable.audit", count, {"dag_id": "imports", "kind": kind})
        for kind, count in (("missing", 5), ("ghost", 0), ("stale", 2))
    ]


@pytest.mark.parametrize("sixteenths", range(1, 17))
def test_samples_of_a_few_days_cover_every_instance(sixteenths: int) -> None:
    days = -(-16 // sixteenths)
    samples = [hub_audit._digits(sixteenths / 16, (20_000 + day) * DAY + 5) for day in range(days)]
    if sixteenths == 16:
        assert samples == [""], "all are looked at"
    else:
        assert {len(sample) for sample in samples} == {sixteenths}
        assert set().union(*samples) == set("0123456789abcdef")


@pytest.mark.parametrize(
    ("scheme", "finding"),
    [
        ("port", "eu-west-1/111122223333/i-0b00000000000000d/10/tcp/443"),
        ("tvm2aws", "eu-west-1/i-0b00000000000000d/10"),
    ],
)
def test_ids_of_a_sample_begin_with_its_prefixes(scheme: str, finding: str) -> None:
    for digits, expected in (("ab", True), ("cd", False)):
        plan: Any = {"digits": digits, "id_scheme": scheme}
        beginnings = hub_audit.prefixes(plan, "111122223333", "eu-west-1")
        assert finding.startswith(tuple(beginnings)) == expected
        in_scope = hub_audit.scope_of(beginnings)
        assert in_scope is not None
        assert in_scope(finding) == expected
    plan = {"digits": "", "id_scheme": scheme}
    assert hub_audit.scope_of(hub_audit.prefixes(plan, "111122223333", "eu-west-1")) is None
