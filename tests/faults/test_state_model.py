"""A model of everything that moves no time in an export, and of hubs and indexes that forget. Whatever happens in
whatever order: after a full run the hubs equal Tenable as a set, and a run after it has nothing to send.

What :mod:`tests.faults.test_model` looks at (deliveries, refusals, crashes of ordinary runs) is not repeated here. The
numbers R21 to R30 are those of docs/reliability.md.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from airflow_provider_tenable.run.params import DEFAULTS
from airflow_provider_tenable.staging.crash_points import CrashPoint
from sandbox.standalone.airflow import destinations
from tests.faults.canary import leaks
from tests.faults.pipeline import Pipeline, Result, Zygote, start_sandbox
from tests.faults.set_oracle import active_by_tenable, active_in_hubs, wrong
from tests.faults.universe import Sandbox, belongs

FULL = os.environ.get("FAULTS") == "full"
VULNERABILITIES, HOSTS = st.integers(0, 59), st.integers(0, 11)
DAY = 86_400.0
#: Days by which the clocks of the simulated services are behind at the beginning; their hubs have been on for longer.
BEHIND = 900
SEVERITIES = {"medium": 2, "high": 3, "critical": 4}
#: What may stop a run for good, and the next one begins: exports with too few assets, and more to archive than the
#: brake allows.
STOPS = ("FewerAssetsError", "TooManyArchivedError", "AirflowFailException")


class Deployment(RuleBasedStateMachine):
    """A Tenable, a customer's hubs, and a DAG between them.

    :cvar zygote, sandbox: set by the test.
    :cvar found: figures of all examples.
    """

    zygote: Zygote
    sandbox: Sandbox
    found: dict[str, int]

    @initialize()
    def begin(self) -> None:
        self.sandbox.reset()
        self.folder = Path(tempfile.mkdtemp(prefix="faults-state-model-"))
        self.pipeline = Pipeline(self.zygote, self.sandbox, self.folder / "dag")
        self.pipeline.env["AIRFLOW__TENABLE__MAX_UNSERVED_RATIO"] = "1"
        self.runs = 0
        self.open_run: str | None = None
        self.ended: list[str] = []
        self.clock = self.days = 0.0
        self.customers: dict[str, dict[str, Any]] = {}
        #: What was active when its row was lost: what Tenable does not report any more then, only an audit would find.
        self.forgotten: set[str] = set()
        self._set_scope(["high", "critical"], late=True)
        self.found["examples"] += 1
        # From here on there is something that can go out of date.
        self.the_dag_runs(full=False)

    # --- Tenable ---

    def _theirs(self) -> list[dict[str, Any]]:
        truth = self.sandbox.truth()["vulnerabilities"]
        return [each for each in truth if belongs(each, self.sandbox.accounts, tuple(SEVERITIES.values()))]

    def _change(self, verb: str, number: int, **more: Any) -> None:
        theirs = self._theirs()
        if theirs:
            self.sandbox.change({"do": verb, "finding_id": theirs[number % len(theirs)]["finding_id"], **more})

    def _host(self, verb: str, number: int, **more: Any) -> None:
        """To a host that can have findings, as long as there are several."""
        hosts = sorted({each["asset_id"] for each in self._theirs()})
        if len(hosts) > 2:
            self.sandbox.change({"do": verb, "asset_id": hosts[number % len(hosts)], **more})

    @rule(
        verb=st.sampled_from(["accept", "recast", "restore"]),
        number=VULNERABILITIES,
        severity=st.integers(0, 4),
        silently=st.booleans(),
    )
    def a_rule_changes_a_finding(self, verb: str, number: int, severity: int, silently: bool) -> None:
        """R25: with ``silently`` no time moves."""
        more = {"severity_id": severity} if verb == "recast" else {}
        self._change(verb, number, silently=silently, **more)

    @rule(number=VULNERABILITIES, severity=st.integers(1, 4))
    def a_plugin_is_rerated(self, number: int, severity: int) -> None:
        theirs = self._theirs()
        if theirs:
            plugin = theirs[number % len(theirs)]["plugin_id"]
            self.sandbox.change({"do": "rerate", "plugin_id": plugin, "set": {"severity_id": severity}})

    @rule(verb=st.sampled_from(["fix", "reopen", "rescan"]), number=VULNERABILITIES)
    def a_scan_sees_it(self, verb: str, number: int) -> None:
        self._change(verb, number, **({} if verb == "fix" else {"found_ago": 60}))

    @rule(verb=st.sampled_from(["terminate", "delete", "age_out"]), number=HOSTS)
    def a_host_is_gone(self, verb: str, number: int) -> None:
        self._host(verb, number)

    @rule(hidden=st.booleans())
    def deleted_assets_are_hidden_or_shown(self, hidden: bool) -> None:
        """R22."""
        self.sandbox.tenable("options", {"hides_deleted_assets": hidden})

    @rule(number=HOSTS, account=st.integers(0, 2), instance=st.integers(0, 3))
    def a_host_moves(self, number: int, account: int, instance: int) -> None:
        values = {"account": self.sandbox.accounts[account], "instance_id": f"i-{instance:017x}"}
        self._host("change_asset", number, set=values)

    @rule(number=HOSTS)
    def a_tag_changes(self, number: int) -> None:
        self._host("change_asset", number, set={"name": f"name-{number}"})

    @rule(number=HOSTS)
    def the_connector_loses_a_host(self, number: int) -> None:
        self._host("disconnect", number)

    @rule()
    def the_connector_catches_up(self) -> None:
        self.sandbox.change({"do": "connect"})

    @rule(share=st.sampled_from([0.0, 0.0, 0.3, 0.6]))
    def exports_are_silently_short(self, share: float) -> None:
        """R21."""
        self.sandbox.tenable("options", {"missing_share": share})

    # --- What the customer does ---

    def _set_scope(self, severities: list[str], *, late: bool) -> None:
        self.severities = severities
        accounts = self.sandbox.accounts[: -1 if late else None]
        self.pipeline.defaults.update(severities=severities, destinations=destinations(accounts))

    @rule(severities=st.lists(st.sampled_from(sorted(SEVERITIES)), min_size=1, unique=True), late=st.booleans())
    def the_scope_changes(self, severities: list[str], late: bool) -> None:
        """R23; with ``late`` an account has no destination yet."""
        self._set_scope(sorted(severities), late=late)

    @precondition(lambda self: self.sandbox.documents())
    @rule(number=VULNERABILITIES)
    def a_finding_is_suppressed(self, number: int) -> None:
        documents = self.sandbox.documents()
        if documents:
            identity = sorted(documents)[number % len(documents)]
            region, account, *_ = identity.split("/")
            fields = {"Workflow": {"Status": "SUPPRESSED"}, "UserDefinedFields": {"team": str(number)}}
            self.sandbox.aws("customer", {"account": account, "region": region, "id": identity, "set": fields})
            self.customers[identity] = fields

    @rule(number=st.integers(0, 5), how=st.sampled_from(["hub", "lose"]))
    def a_hub_forgets(self, number: int, how: str) -> None:
        """R27: it was switched off and on again. What is lost without that only an audit would notice."""
        hubs = self.sandbox.aws("hub")["hubs"]
        hub = hubs[number % len(hubs)]
        place = {"account": hub["account"], "region": hub["region"]}
        self.sandbox.aws("hub", {**place, "state": "emptied"})
        prefix = f"{hub['region']}/{hub['account']}/"
        self.customers = {each: fields for each, fields in self.customers.items() if not each.startswith(prefix)}

    # --- Time and files ---

    @rule(days=st.sampled_from([0.1, 1.0, 8.0, 31.0, 91.0]))
    def time_passes(self, days: float) -> None:
        if days > 25:
            # What is archived is deleted after 30 days, and with it what the customer has written.
            self.customers.clear()
        self._pass(days * DAY)

    @rule(shift=st.sampled_from([-200.0, 0.0, 7200.0]))
    def clock_jumps(self, shift: float) -> None:
        """R29."""
        self.clock = shift

    @rule(number=st.integers(0, 400), how=st.sampled_from(["remove", "cut", "scribble"]))
    def a_file_of_the_index_is_damaged(self, number: int, how: str) -> None:
        """R26."""
        root = self.pipeline.run_folder("x").parent / "finding_index"
        files = sorted(path for path in root.rglob("*") if path.is_file())
        if not files:
            return
        path = files[number % len(files)]
        if how == "remove":
            path.unlink()
        elif how == "cut":
            path.write_bytes(path.read_bytes()[: -max(1, path.stat().st_size // 3)])
        else:
            path.write_bytes(b"\x00" * 64)
        self._forget("/".join(path.relative_to(root).parts[:2]) if len(path.relative_to(root).parts) == 3 else "")
        event(f"{how} {path.name.split('-')[0]}")

    @rule(everything=st.booleans())
    def the_index_is_lost(self, everything: bool) -> None:
        """R26."""
        root = self.pipeline.run_folder("x").parent / "finding_index"
        shutil.rmtree(root if everything else root / self.sandbox.accounts[0], ignore_errors=True)
        self._forget("" if everything else self.sandbox.accounts[0])

    def _forget(self, place: str) -> None:
        """Rows of ``account/region``, of an account, or all of them are lost."""
        for identity in active_in_hubs(self.sandbox.documents()):
            region, account, *_ = identity.split("/")
            if f"{account}/{region}".startswith(place):
                self.forgotten.add(identity)

    # --- Runs ---

    @rule(full=st.booleans())
    def the_dag_runs(self, full: bool) -> None:
        result = self._run(params={"full": full})
        assert result.succeeded or result.error in STOPS, f"{result}\n{self.pipeline.log[-3000:]}"

    @rule()
    def a_day_ends_with_a_run(self) -> None:
        self._pass(DAY)
        self.the_dag_runs(full=False)

    @rule()
    def a_week_ends_with_a_full_run(self) -> None:
        self._pass(7 * DAY)
        self.the_dag_runs(full=True)

    @rule(
        point=st.sampled_from([point for point in CrashPoint if point is not CrashPoint.EXPORT_FORGOTTEN]),
        times=st.integers(1, 3),
        full=st.booleans(),
    )
    def a_run_is_killed(self, point: CrashPoint, times: int, full: bool) -> None:
        result = self._run(crash_at=f"{point.value}:{times}", params={"full": full})
        self.found["killed"] += result.killed
        assert result.killed or result.succeeded or result.error in STOPS, f"{result}\n{self.pipeline.log[-3000:]}"

    @precondition(lambda self: self.ended)
    @rule(number=st.integers(0, 20))
    def an_old_run_is_cleared(self, number: int) -> None:
        """R30."""
        if self.open_run is None:
            self.open_run = self.ended[number % len(self.ended)]
            result = self._run(clear=True)
            assert result.succeeded or result.error in STOPS, f"{result}\n{self.pipeline.log[-3000:]}"
            self.open_run = None

    def _run(self, **order: Any) -> Result:
        """Carry on with the run that was killed, or begin another."""
        if self.open_run is None:
            self.runs += 1
            self.open_run, self.params = f"run-{self.runs}", order.pop("params", {})
        order["params"] = self.params
        patches = {"airflow_provider_tenable.security_hub.responses:LONGEST_PAUSE": 0.05}
        now = float(self.sandbox.tenable("clock")["now"])
        result = self.pipeline.run(self.open_run, patches=patches, clock=now - time.time() + self.clock, **order)
        self.found["runs"] += 1
        if not result.killed:
            if result.succeeded:
                self.ended.append(self.open_run)
            self.open_run = None
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
        self.sandbox.tenable("options", {"missing_share": 0.0})
        self.clock = 0.0
        self.the_connector_catches_up()
        self._set_scope(self.severities, late=False)
        if self.open_run is not None:
            self._run()
        # The first one may only make a lost index again, and cannot know what is gone then.
        for _ in range(2):
            self._pass(60)
            self._full_run()
        self._one_more_host_is_gone()
        self._pass(60)
        self._full_run()
        truth = self.sandbox.truth()
        severities = tuple(SEVERITIES[name] for name in self.severities)
        wanted = active_by_tenable(truth, self.sandbox.accounts, severities)
        found = wrong(active_in_hubs(self.sandbox.documents()), wanted)
        left = {identity for identity in self.forgotten if found.get(identity) == "ghost"}
        assert {identity: what for identity, what in found.items() if identity not in left} == {}
        self.found["left"] += len(left)
        self.found["compared"] += len(wanted)
        documents = self.sandbox.documents()
        for identity, fields in self.customers.items():
            if identity in documents:
                assert {name: documents[identity].get(name) for name in fields} == fields
        events = self._events()
        self._pass(60)
        self._full_run()
        assert self._events() == events, "a run in which nothing has changed sends nothing"
        assert not leaks(self.folder)

    def _one_more_host_is_gone(self) -> None:
        """A host with active findings, so that each example archives something."""
        documents = self.sandbox.documents()
        for identity in sorted(active_in_hubs(documents)):
            asset = documents[identity]["ProductFields"]["tenable/vulnerability-management/asset_uuid"]
            if any(each["asset_id"] == asset for each in self.sandbox.truth()["assets"]):
                self.sandbox.change({"do": "age_out", "asset_id": asset})
                return

    def _pass(self, seconds: float) -> None:
        self.days += seconds / DAY
        if self.days > BEHIND - 10:
            return
        self.sandbox.advance(seconds)
        self.sandbox.aws("clock", {"advance_seconds": seconds})

    def _events(self) -> int:
        return sum(self.sandbox.aws("stats")["ingestion_events"].values())

    def _full_run(self) -> None:
        result = self._run(params={"full": True, "max_archived_ratio": 1, "accept_fewer_assets": True})
        assert result.succeeded, f"{result}\n{self.pipeline.log[-3000:]}"
        ledger = self.pipeline.ledger(self.ended[-1])
        assert ledger["full"]
        self.found["archived"] += sum(ledger["gone"]["archived"].values())


@pytest.fixture(scope="module")
def living_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox in which years can pass, at Tenable and at Security Hub."""
    log = tmp_path_factory.mktemp("sandbox") / "sandbox.log"
    with start_sandbox("tiny", log, "--days-behind", str(BEHIND), "--hub-days-behind", str(BEHIND)) as process:
        sandbox = Sandbox(process)
        yield sandbox
        sandbox.client.close()


def test_after_a_full_run_the_hubs_equal_tenable(zygote: Zygote, living_sandbox: Sandbox, record_property: Any) -> None:
    assert {"full", "max_archived_ratio", "accept_fewer_assets", "severities"} <= DEFAULTS.keys()
    Deployment.zygote, Deployment.sandbox = zygote, living_sandbox
    Deployment.found = dict.fromkeys(("examples", "runs", "killed", "archived", "compared", "left"), 0)
    run_state_machine_as_test(
        Deployment,
        settings=settings(
            max_examples=60 if FULL else 2,
            stateful_step_count=30 if FULL else 14,
            # A run takes seconds.
            deadline=None,
            derandomize=not FULL,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    figures = Deployment.found
    record_property("figures", json.dumps(figures))
    print(figures)
    assert figures["compared"]
    assert figures["archived"]
