"""A model of Tenable, the pipeline and the customer. Whatever happens in whatever order: once it settles, hub equals
model, and the customer's fields are his.

Hypothesis chooses what happens; every step is real: scans, fixes and hosts at the sandbox, runs and crashes of the
pipeline in child processes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from airflow_provider_tenable.staging.crash_points import CrashPoint
from tests.faults.canary import leaks
from tests.faults.pipeline import Pipeline, Zygote
from tests.faults.universe import REFUSALS, Findings, Sandbox, belongs, differences, expected

FULL = os.environ.get("FAULTS") == "full"
VULNERABILITIES = st.integers(0, 59)
HOSTS = st.integers(0, 5)
#: Longer than [tenable] lag_seconds (an hour), by which a window begins before the watermark.
LAG = 3 * 3600.0
#: Longer than the longest pause between two attempts to deliver what an account lacks (16 days).
PATIENCE = 17 * 86400.0


class Deployment(RuleBasedStateMachine):
    """A Tenable, a customer's hubs, and a DAG between them.

    :cvar zygote, sandbox: set by the test.
    :cvar refusal: how an account refuses its findings at the beginning and at the end, if any does.
    """

    zygote: Zygote
    sandbox: Sandbox
    refusal: str | None

    @initialize(number=st.integers(0, 1))
    def begin(self, number: int) -> None:
        self.sandbox.reset()
        self.folder = Path(tempfile.mkdtemp(prefix="faults-model-"))
        self.pipeline = Pipeline(self.zygote, self.sandbox, self.folder / "dag")
        self.runs = 0
        self.open_run: str | None = None
        self.clock = 0.0
        #: What has been deleted at Tenable keeps its finding as it was.
        self.gone: Findings = {}
        self.customers: dict[str, dict[str, Any]] = {}
        self.hidden: set[str] = set()
        #: Accounts that refuse their findings for good, and those that ever have.
        self.refusing: set[str] = set()
        self.refused: set[str] = set()
        # Nobody is alarmed about them here, so that the watermark moves on without them.
        self.pipeline.defaults["max_refused_destinations"] = 100
        self.pipeline.env["AIRFLOW__TENABLE__MAX_UNSERVED_RATIO"] = "1"
        if self.refusal:
            self.account_refuses(number, self.refusal)

    def _truth(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [
            each for each in self.sandbox.truth()["vulnerabilities"] if belongs(each, self.sandbox.accounts)
        ]
        return found

    def _change(self, verb: str, number: int, **more: Any) -> None:
        truth = self._truth()
        if truth:
            self.sandbox.change({"do": verb, "finding_id": truth[number % len(truth)]["finding_id"], **more})

    @rule(number=VULNERABILITIES, ago=st.sampled_from([60, 600, 3000]))
    def scan_finds_it_again(self, number: int, ago: int) -> None:
        """Published late: stamped up to 50 minutes before."""
        self._change("rescan", number, found_ago=ago)

    @rule(number=VULNERABILITIES)
    def it_is_fixed(self, number: int) -> None:
        self._change("fix", number)

    @rule(number=VULNERABILITIES)
    def it_comes_back(self, number: int) -> None:
        self._change("reopen", number, found_ago=60)

    @rule(number=VULNERABILITIES)
    def its_risk_is_accepted(self, number: int) -> None:
        self._change("accept", number)

    @rule(number=HOSTS)
    def host_is_terminated(self, number: int) -> None:
        assets = self.sandbox.truth()["assets"]
        self.sandbox.change({"do": "terminate", "asset_id": assets[number % len(assets)]["asset_id"]})

    @rule(number=HOSTS)
    def asset_is_published_late(self, number: int) -> None:
        assets = self.sandbox.truth()["assets"]
        asset = assets[number % len(assets)]["asset_id"]
        self.hidden.add(asset)
        self.sandbox.change({"do": "hide_asset", "asset_id": asset, "singly": False})

    @rule()
    def assets_are_published(self) -> None:
        for asset in self.hidden:
            self.sandbox.change({"do": "show_asset", "asset_id": asset})
        self.hidden.clear()

    @rule(agents=st.booleans())
    def instance_is_scanned_before_the_connector_knows_it(self, agents: bool) -> None:
        """With an agent, Tenable knows the instance and no account; with a scanner alone, an address."""
        self.sandbox.change({"do": "launch", "vulnerabilities": 6, "unconnected": True, "agents": agents})

    @rule()
    def connector_catches_up(self) -> None:
        self.sandbox.change({"do": "connect"})

    @rule(seconds=st.sampled_from([1.0, 60.0, 900.0, 4 * 3600.0, 86400.0]))
    def time_passes(self, seconds: float) -> None:
        """Hosts are scanned, patched and launched by themselves in it."""
        self.sandbox.advance(seconds)

    @rule(shift=st.sampled_from([-200.0, 0.0, 7200.0]))
    def clock_jumps(self, shift: float) -> None:
        self.clock = shift

    @precondition(lambda self: self.sandbox.documents())
    @rule(number=VULNERABILITIES, status=st.sampled_from(["SUPPRESSED", "NOTIFIED"]))
    def customer_works_on_a_finding(self, number: int, status: str) -> None:
        documents = self.sandbox.documents()
        identity = sorted(documents)[number % len(documents)]
        region, account, *_ = identity.split("/")
        fields = {"Workflow": {"Status": status}, "UserDefinedFields": {"team": str(number)}}
        self.sandbox.aws("customer", {"account": account, "region": region, "id": identity, "set": fields})
        self.customers[identity] = fields

    @rule(
        point=st.sampled_from([point for point in CrashPoint if point is not CrashPoint.EXPORT_FORGOTTEN]),
        times=st.integers(1, 3),
    )
    def run_is_killed(self, point: CrashPoint, times: int) -> None:
        result = self._run(crash_at=f"{point.value}:{times}")
        assert result.killed or result.succeeded, result

    @rule(kind=st.sampled_from(["fail_chunks", "expire", "error"]))
    def export_breaks(self, kind: str) -> None:
        self.sandbox.fault(
            {"on": "job", "kind": "vulns", "do": kind, **({"chunks": [1]} if kind == "fail_chunks" else {})}
        )

    @rule(verb=st.sampled_from(["lose_answer", "reset"]))
    def hub_loses_an_answer(self, verb: str) -> None:
        self.sandbox.hub_fault({"on": "BatchImportFindings", "do": verb})

    @rule(number=st.integers(0, 1), how=st.sampled_from(REFUSALS))
    def account_refuses(self, number: int, how: str) -> None:
        """Not the first one, to which the connection belongs."""
        account = self.sandbox.accounts[1 + number]
        self.sandbox.accept(account)
        self.sandbox.refuse(account, how)
        self.refusing.add(account)
        self.refused.add(account)

    @rule(number=st.integers(0, 1))
    def account_accepts_findings_again(self, number: int) -> None:
        account = self.sandbox.accounts[1 + number]
        self.sandbox.accept(account)
        self.refusing.discard(account)

    @rule()
    def pipeline_runs(self) -> None:
        result = self._run()
        assert result.succeeded, f"{result}\n{self.pipeline.log[-3000:]}"

    def _run(self, **order: Any) -> Any:
        """Carry on with the run that was killed, or begin another."""
        if self.open_run is None:
            self.runs += 1
            self.open_run = f"run-{self.runs}"
        patches = {"airflow_provider_tenable.security_hub.responses:LONGEST_PAUSE": 0.05}
        now = float(self.sandbox.tenable("clock")["now"])
        before = self.pipeline.watermarks
        result = self.pipeline.run(self.open_run, patches=patches, clock=now - time.time() + self.clock, **order)
        if result.succeeded:
            self.open_run = None
        after = self.pipeline.watermarks
        assert after[: len(before)] == before
        assert after == sorted(after)
        return result

    def teardown(self) -> None:
        if not hasattr(self, "pipeline"):
            return
        try:
            self._settle()
        finally:
            shutil.rmtree(self.folder)

    def _settle(self) -> None:
        self.sandbox.clear_faults()
        self.clock = 0.0
        self.assets_are_published()
        self.connector_catches_up()
        if self.refusal:
            self._scan_what_is_refused(self.refusal)
        self.pipeline_runs()
        # A window begins before the watermark: without a longer pause, it would cover what was refused anyway.
        self.sandbox.advance(LAG if self.refusal else 60)
        # Whatever was killed has been carried on; one more run brings what has happened since.
        self.pipeline_runs()
        # Nobody waits for the accounts that refuse, nor for those that accept findings again.
        others = [account for account in self.sandbox.accounts if account not in self.refused]
        assert differences(self.sandbox.held_by(others), expected(self.sandbox.truth(), others)) == {}
        if self.refused:
            self._accounts_recover()
        assert differences(self.sandbox.held(), expected(self.sandbox.truth(), self.sandbox.accounts)) == {}
        documents = self.sandbox.documents()
        for identity, fields in self.customers.items():
            assert documents[identity]["UserDefinedFields"] == fields["UserDefinedFields"]
            if fields["Workflow"]["Status"] == "SUPPRESSED":
                assert documents[identity]["Workflow"] == fields["Workflow"]
        assert self.sandbox.jobs()["running"] == 0
        assert not leaks(self.folder)

    def _scan_what_is_refused(self, refusal: str) -> None:
        """An account refuses findings that are new to it."""
        for number in (0, 1):
            self.account_refuses(number, refusal)
        found = [each for each in self._truth() if each["account"] in self.refusing and each["state"] != "FIXED"]
        assert found, "an account that refuses has findings"
        for each in found:
            self.sandbox.change({"do": "rescan", "finding_id": each["finding_id"], "found_ago": 60})

    def _accounts_recover(self) -> None:
        """The causes are removed, and nothing else is done: what is missing arrives by itself."""
        for account in self.refusing:
            self.sandbox.accept(account)
        self.pipeline_runs()
        # The worker's clock alone: in the estate nothing is scanned meanwhile, which would export everything again.
        self.clock = PATIENCE
        self.pipeline_runs()
        self.sandbox.advance(60)
        self.pipeline_runs()
        self.clock = 0.0


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("refusal", [None, *REFUSALS])
def test_whatever_happens_the_hub_ends_as_the_model_says(
    zygote: Zygote, tiny_sandbox: Sandbox, refusal: str | None
) -> None:
    Deployment.zygote, Deployment.sandbox, Deployment.refusal = zygote, tiny_sandbox, refusal
    run_state_machine_as_test(
        Deployment,
        settings=settings(
            max_examples=70 if FULL else 2,
            stateful_step_count=30 if FULL else 12,
            deadline=None,
            derandomize=not FULL,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
