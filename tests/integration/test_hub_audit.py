"""The audit of the hubs: what it finds, what it repairs, and what it leaves alone."""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from airflow_provider_tenable._compat import TaskDeferred
from airflow_provider_tenable.hooks.security_hub import SecurityHubHook
from airflow_provider_tenable.operators.security_hub_audit import SecurityHubAuditOperator
from airflow_provider_tenable.run import hub_audit, hub_reading
from airflow_provider_tenable.run.params import AUDIT
from airflow_provider_tenable.run.status import read_status
from airflow_provider_tenable.security_hub import reader
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state import hub_pages
from airflow_provider_tenable.state.hub_pages import AuditCrashPoint, HubPages
from airflow_provider_tenable.state.index import FindingIndex
from tests.faults.set_oracle import active_by_tenable, active_in_hubs, wrong
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

SETTLES = hub_audit.SETTLES_SECONDS


class Audit:
    """One run of the audit's DAG."""

    def __init__(self, run_id: str, **params: Any) -> None:
        values = {name: param.default for name, param in AUDIT.items()}
        self.context: dict[str, Any] = {
            "dag_run": SimpleNamespace(
                dag_id="tenable_audit_security_hub", run_id=run_id, run_type="manual", conf=params
            ),
            "dag": SimpleNamespace(params=values),
            "params": {**values, **params},
        }

    def execute(self) -> dict[str, Any]:
        for entry in hub_audit.plan_audit(self.context):
            SecurityHubAuditOperator(task_id="audit_hubs", assignment=dict(entry)).execute(self.context)
        found: dict[str, Any] = hub_audit.finish_audit(self.context)
        return found


def counts(found: dict[str, Any]) -> tuple[int, int, int]:
    return found["missing"], found["ghost"], found["stale"]


def differing(sandbox: Sandbox) -> dict[str, str]:
    return wrong(active_in_hubs(sandbox.documents()), active_by_tenable(sandbox.truth(), sandbox.accounts))


@pytest.fixture
def delivered(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A DAG that has delivered everything, long enough ago."""
    monkeypatch.setattr(hub_audit, "SETTLES_SECONDS", 0)
    Run(defaults=defaults).execute()
    assert differing(sandbox) == {}
    return defaults


def active_ids(sandbox: Sandbox) -> list[str]:
    return sorted(active_in_hubs(sandbox.documents()))


def forget(sandbox: Sandbox, identity: str) -> None:
    region, account, *_ = identity.split("/")
    sandbox.aws("lose", {"account": account, "region": region, "id": identity})


def as_another_would(sandbox: Sandbox, identity: str, **change: Any) -> None:
    """Something else imports a finding of ours with other contents."""
    document = {**sandbox.documents()[identity], **change}
    for name in ("Workflow", "WorkflowState", "Note", "ProcessedAt", "Severity", "Types", "Region"):
        document.pop(name, None)
    document["ProductFields"] = {
        name: value for name, value in document["ProductFields"].items() if not name.startswith("aws/")
    }
    account, region = document["AwsAccountId"], document["ProductArn"].split(":")[3]
    with closing(
        SecurityHubHook(
            aws_conn_id="aws_default", region_name=region, account=account, role_name="TenableSecurityHubImport"
        )
    ) as hook:
        answer = hook.import_batch([msgspec.json.encode(document)])
        assert answer["SuccessCount"] == 1, answer


def later(sandbox: Sandbox, identity: str) -> str:
    """A time after that of the finding, and long enough ago."""
    moment = datetime.fromisoformat(sandbox.documents()[identity]["UpdatedAt"]) + timedelta(seconds=1)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_a_hub_that_is_right_differs_in_nothing_and_samples_of_two_days_find_what_is_lost(
    sandbox: Sandbox, delivered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Audit("right").execute()
    assert counts(found) == (0, 0, 0)
    assert found["read"] == len(sandbox.documents())
    assert found["places"] == len({each["AwsAccountId"] + each["Region"] for each in sandbox.documents().values()})

    # As all instances that are made today; those of the sandbox have any digit there.
    sampled = [identity for identity in active_ids(sandbox) if "/i-0" in identity]
    lost = sampled[::3]
    for identity in lost:
        forget(sandbox, identity)
    halves = []
    for day in range(2):
        monkeypatch.setattr(hub_audit, "time", SimpleNamespace(time=lambda day=day: 86_400.0 * day))
        halves.append(Audit(f"half-{day}", sample=0.5).execute())
    assert all(half["read"] and half["missing"] for half in halves)
    assert sum(half["read"] for half in halves) == len(sampled) - len(lost)
    assert [sum(counts(half)[kind] for half in halves) for kind in range(3)] == [len(lost), 0, 0]


def test_what_differs_is_found_exactly_and_the_next_full_run_mends_it(
    sandbox: Sandbox, delivered: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    ids = active_ids(sandbox)
    # A hub that has lost a tenth, shows 5 % too many, and 3 % wrongly.
    shares = [round(len(ids) * share) for share in (0.10, 0.05, 0.03)]
    assert min(shares) >= 2, "too few findings to take these shares of"
    rest = iter(ids)
    lost, templates, stale = (list(islice(rest, share)) for share in shares)
    # Ports of their own: several findings of a host may differ in nothing else.
    invented = [f"{identity.rsplit('/', 1)[0]}/{65000 + number}" for number, identity in enumerate(templates)]
    archived, recast = stale[::2], stale[1::2]
    for template, identity in zip(templates, invented, strict=True):
        as_another_would(sandbox, template, Id=identity)
    for identity in archived:
        as_another_would(sandbox, identity, RecordState="ARCHIVED", UpdatedAt=later(sandbox, identity))
    for identity in recast:
        fields = {
            **sandbox.documents()[identity]["FindingProviderFields"],
            "Severity": {"Label": "LOW", "Original": "low"},
        }
        as_another_would(sandbox, identity, FindingProviderFields=fields, UpdatedAt=later(sandbox, identity))
    for identity in lost:
        forget(sandbox, identity)
    suppressed = next(rest)
    region, account, *_ = suppressed.split("/")
    sandbox.aws(
        "customer",
        {"account": account, "region": region, "id": suppressed, "set": {"Workflow": {"Status": "SUPPRESSED"}}},
    )
    before = sandbox.documents()

    found = Audit("looks").execute()
    wanted = (len(lost), len(invented), len(stale))
    assert counts(found) == wanted
    assert found["repaired"] == 0
    assert sandbox.documents() == before, "an audit changes nothing in a hub"
    for examples in (lost, invented, stale):
        assert any(identity in caplog.text for identity in examples)
    assert "1 worked on by the customer" in caplog.text
    # Nothing was repaired: a full run leaves it as it is.
    Run(defaults=delivered, params={"full": True}).execute()
    assert differing(sandbox)

    found = Audit("repairs", repair=True).execute()
    assert counts(found) == wanted
    assert found["repaired"] == sum(wanted)
    # The index says what the hub holds, so that there is no difference any more.
    assert counts(Audit("again").execute()) == (0, 0, 0)
    run = Run(defaults=delivered, params={"full": True})
    run.execute()
    assert differing(sandbox) == {}
    assert run.ledger["accepted"] == len(lost) + len(stale)
    assert run.ledger["gone"]["archived"] == {"not_reported": len(invented)}
    assert counts(Audit("last").execute()) == (0, 0, 0)
    assert sandbox.documents()[suppressed]["Workflow"]["Status"] == "SUPPRESSED"


def test_a_lost_index_is_made_again_so_that_ghosts_are_archived(sandbox: Sandbox, delivered: dict[str, Any]) -> None:
    run = Run(defaults=delivered)
    shutil.rmtree(run.folder.finding_index.path)
    asset = next(
        each["ProductFields"]["tenable/vulnerability-management/asset_uuid"] for each in sandbox.documents().values()
    )
    sandbox.change({"do": "age_out", "asset_id": asset})
    found = Audit("lost").execute()
    assert (found["not_audited"], counts(found)) == (found["places"], (0, 0, 0))
    rebuilt = Audit("rebuilds", rebuild=True).execute()
    assert rebuilt["repaired"] == len(active_ids(sandbox))
    # The first makes the index again, the second knows what is gone.
    for number in range(2):
        Run(defaults=delivered, params={"full": True, "max_archived_ratio": 1}).execute()
        assert bool(differing(sandbox)) == (number == 0)


def test_findings_of_others_are_left_alone(sandbox: Sandbox, delivered: dict[str, Any]) -> None:
    """Those of the old tool, and of other DAGs and products, do not have our field."""
    identity = active_ids(sandbox)[0]
    region, account, *_ = identity.split("/")
    foreign = {"account": account, "region": region, "tool": "prowler/prowler"}
    sandbox.aws("old-tools", {**foreign, "findings": [{"instance": "i-0dead00000000000d", "plugin": 10}]})
    fields = {"other/field": "x"}
    as_another_would(sandbox, identity, Id="old/tool/1", ProductFields=fields)
    assert counts(Audit("others", repair=True).execute()) == (0, 0, 0)
    for others in ("old/tool/1", f"{region}/i-0dead00000000000d/10"):
        assert sandbox.documents()[others]["RecordState"] == "ACTIVE"


def test_an_audit_resumes_after_the_last_page_on_record(
    sandbox: Sandbox, delivered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader.FindingsReader.pages, "__kwdefaults__", {"next_token": None, "page_size": 10})
    monkeypatch.setattr(hub_reading, "ROWS_OF_FILE", 20)
    calls = sandbox.aws("stats")["calls"].get("GetFindings", 0)
    audit = Audit("pieces")
    entries = hub_audit.plan_audit(audit.context)
    deferred = 0
    for entry in entries:
        for _ in range(50):
            operator = SecurityHubAuditOperator(task_id="audit_hubs", assignment=dict(entry), minutes=1e-9)
            try:
                operator.execute(audit.context)
                break
            except TaskDeferred:
                deferred += 1
    assert deferred > len(entries)
    assert counts(hub_audit.finish_audit(audit.context)) == (0, 0, 0)
    pages = sum(-(-count // 10) for count in per_hub(sandbox).values())
    assert sandbox.aws("stats")["calls"]["GetFindings"] - calls <= pages + len(entries)


def per_hub(sandbox: Sandbox) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in sandbox.documents().values():
        place = f"{each['AwsAccountId']}/{each['Region']}"
        found[place] = found.get(place, 0) + 1
    return found


def test_a_run_that_writes_meanwhile_prevents_a_repair(
    sandbox: Sandbox, delivered: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    identity = active_ids(sandbox)[0]
    forget(sandbox, identity)
    audit = Audit("meanwhile", repair=True)
    entries = hub_audit.plan_audit(audit.context)
    region, account, *_ = identity.split("/")
    run = RunFolder.of(audit.context)
    plan = hub_audit.read_plan(run)
    HubPages(run.hub_audit(account, region)).begin(
        hub_reading._first(plan, hub_audit.index_state(run, plan), account, region)
    )
    folder = Run(defaults=delivered).folder.finding_index / account / region
    # As a run does that adds rows: here, the same ones again.
    index = FindingIndex(folder)
    index.add(next(index.snapshot().merged_tables()).slice(0, 1))
    (entry,) = (each for each in entries if each["title"] == f"{account}/{region}")
    found = SecurityHubAuditOperator(task_id="audit_hubs", assignment=dict(entry)).execute(audit.context)
    assert found["missing"] == 1
    assert hub_audit.finish_audit(audit.context)["repaired"] == 0
    assert "a run has written into the index meanwhile" in caplog.text


def test_it_waits_until_the_hubs_show_all_of_the_last_run(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    run = Run(defaults=defaults)
    run.execute()
    audit = Audit("early")
    (entry, *_) = hub_audit.plan_audit(audit.context)
    with pytest.raises(TaskDeferred):
        SecurityHubAuditOperator(task_id="audit_hubs", assignment=dict(entry)).execute(audit.context)
    status = read_status(run.folder)
    assert status is not None
    assert hub_audit.read_plan(run.folder.of_dag("tenable_audit_security_hub", "early"))["not_before"] == (
        status["at"] + SETTLES
    )


def test_an_audit_that_is_killed_anywhere_ends_as_if_it_had_not_been(
    sandbox: Sandbox, delivered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for point in AuditCrashPoint:
        identity = active_ids(sandbox)[0]
        forget(sandbox, identity)
        audit = Audit(f"killed-{point}", repair=True)
        account, region = identity.split("/")[1], identity.split("/")[0]
        (entry,) = (each for each in hub_audit.plan_audit(audit.context) if each["title"] == f"{account}/{region}")
        with monkeypatch.context() as patch:
            for module in (hub_pages, hub_reading):
                patch.setattr(module, "reached", partial(_die_at, point))
            with pytest.raises(KilledError):
                SecurityHubAuditOperator(task_id="audit_hubs", assignment=dict(entry)).execute(audit.context)
        SecurityHubAuditOperator(task_id="audit_hubs", assignment=dict(entry)).execute(audit.context)
        found = hub_audit.finish_audit(audit.context)
        assert (found["missing"], found["repaired"]) == (1, 1), point
    assert counts(Audit("after").execute()) == (0, 0, 0)
    Run(defaults=delivered, params={"full": True}).execute()
    assert differing(sandbox) == {}


class KilledError(BaseException):
    """As if the process had been killed."""


def _die_at(point: AuditCrashPoint, reached: Any) -> None:
    if reached is point:
        raise KilledError
