"""A run dies by SIGKILL at every boundary in turn; carried on, it ends as if nothing had happened.

The run that is killed is an eventful one: its export breaks once and is started again, a new host's asset is missing,
one that was missing has come, the asset index is brought up to date and has garbage in it, Security Hub rejects a
finding. All tests share one history, as the runs of a real deployment do.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

import airflow_provider_tenable
from airflow_provider_tenable.run.resolving import ResolveCrashPoint
from airflow_provider_tenable.scan.crash_points import ScanCrashPoint
from airflow_provider_tenable.security_hub.take_over_pages import TakeOverCrashPoint
from airflow_provider_tenable.staging.crash_points import CrashPoint
from airflow_provider_tenable.state.accepted import AcceptedCrashPoint
from airflow_provider_tenable.state.hub_pages import AuditCrashPoint
from tests.faults.canary import leaks
from tests.faults.pipeline import Pipeline, Zygote
from tests.faults.universe import Findings, Sandbox, belongs, differences, expected, identity_of, version_of

PACKAGE = Path(airflow_provider_tenable.__file__).parent


def place_of(record: dict[str, Any]) -> tuple[str, str]:
    """Hub Region and account of a record of the truth."""
    region, account, *_ = identity_of(record).split("/")
    return region, account


class History:
    """A deployment that goes on from test to test: every run finds what the one before left."""

    def __init__(self, zygote: Zygote, sandbox: Sandbox, folder: Path) -> None:
        self.zygote, self.sandbox, self.folder = zygote, sandbox, folder
        self.number = 0
        self.begin()

    def begin(self) -> None:
        """A new deployment, and its first run."""
        self.number += 1
        self.sandbox.reset()
        self.pipeline = self.pipeline_in(self.folder / f"dag-{self.number}")
        self.pipeline.defaults["max_rejected_ratio"] = 1.0
        truth = self.sandbox.truth()["vulnerabilities"]
        assets = {each["asset_id"] for each in truth if belongs(each, self.sandbox.accounts)}
        # Enough findings that something is left when one finding is refused.
        self.assets = sorted(
            assets,
            key=lambda asset: sum(each["asset_id"] == asset and belongs(each, self.sandbox.accounts) for each in truth),
        )[-3:]
        # The place of another asset refuses every import, and has never accepted anything.
        places = {each["asset_id"]: place_of(each) for each in truth if each["asset_id"] in assets}
        taken = {places[asset] for asset in self.assets}
        self.refusing = min(asset for asset in assets if places[asset] not in taken)
        self.place = places[self.refusing]
        self.pipeline.env["AIRFLOW__TENABLE__MAX_UNSERVED_RATIO"] = "1"
        self.refuse()
        self.hidden: str | None = None
        self.launch()
        self.ended: Findings = {}
        self.doomed = self.launch_doomed()
        self.pipeline.succeed("run-0", defaults=self.pipeline.defaults)

    def refuse(self) -> None:
        """One account and Region passes every check, and refuses the import."""
        region, account = self.place
        body = {"__type": "AccessDeniedException", "message": "no"}
        self.sandbox.hub_fault(
            {
                "on": "BatchImportFindings",
                "do": "status",
                "status": 403,
                "headers": {"x-amzn-ErrorType": "AccessDeniedException"},
                "body": body,
                "times": None,
                "match": {"account": account, "region": region},
            }
        )

    def pipeline_in(self, folder: Path) -> Pipeline:
        """A DAG that stages on the local disk."""
        return Pipeline(self.zygote, self.sandbox, folder)

    def launch(self) -> None:
        """A new host has findings, and its asset is in no export and no single lookup; that of the one before has
        come.
        """
        if self.hidden:
            self.sandbox.change({"do": "show_asset", "asset_id": self.hidden})
        self.hidden = None
        while self.hidden is None:
            self.sandbox.change({"do": "launch", "hidden": True})
            truth = self.sandbox.truth()
            theirs = {each["asset_id"] for each in truth["vulnerabilities"] if belongs(each, self.sandbox.accounts)}
            self.hidden = next(
                (each["asset_id"] for each in truth["assets"] if each["is_hidden"] and each["asset_id"] in theirs), None
            )

    def launch_doomed(self) -> str:
        """A new host with findings that a hub will hold as active ones, so that they are archived when it is
        terminated.
        """
        while True:
            before = {each["asset_id"] for each in self.sandbox.truth()["assets"]}
            self.sandbox.change({"do": "launch", "vulnerabilities": 6})
            truth = self.sandbox.truth()
            [asset] = {each["asset_id"] for each in truth["assets"]} - before
            if any(
                belongs(each, self.sandbox.accounts)
                and place_of(each) != self.place
                and version_of(each).record_state == "ACTIVE"
                for each in truth["vulnerabilities"]
                if each["asset_id"] == asset
            ):
                return asset

    def end(self, asset: str, before: Findings) -> None:
        """A host is terminated, and no export has what it had: its findings are below the chosen severities now."""
        for each in self.sandbox.truth()["vulnerabilities"]:
            identity = identity_of(each)
            if each["asset_id"] == asset and identity in before:
                self.ended[identity] = before[identity]._replace(record_state="ARCHIVED")
        self.sandbox.change(
            {"do": "terminate", "asset_id": asset},
            {"do": "recast", "asset_id": asset, "severity_id": 1, "silently": True},
        )

    #: How old garbage must be, on a store where none can be made that is old.
    patches: ClassVar[dict[str, float]] = {}

    def leave_garbage(self) -> None:
        """A part of the asset index that somebody wrote two days ago, and did not live to put into the manifest."""
        part = self.pipeline.staging / "tenable_to_security_hub" / "asset_index" / f"assets-{self.number:064x}.parquet"
        part.write_bytes(b"garbage")
        os.utime(part, times=(time.time() - 2 * 86400,) * 2)

    def let_something_happen(self) -> dict[str, Any]:
        """An hour passes, hosts are scanned, a new host's asset is missing, one finding will be refused; all of it but
        this is expected in the hub.
        """
        self.number += 1
        self.sandbox.clear_faults()
        self.refuse()
        self.sandbox.advance(3600)
        refused_of, *_ = self.assets = [*self.assets[1:], self.assets[0]]
        before = self.sandbox.held()
        for asset in [*self.assets, self.refusing]:
            self.sandbox.change({"do": "rescan", "asset_id": asset})
        self.launch()
        # Its findings are archived, although Tenable exports nothing of them.
        self.end(self.doomed, before)
        self.doomed = self.launch_doomed()
        self.leave_garbage()
        truth = self.sandbox.truth()
        wanted = expected(truth, self.sandbox.accounts)
        theirs = [each for each in truth["vulnerabilities"] if belongs(each, self.sandbox.accounts)]
        # A fixed one is not scanned again, so it would not be exported.
        one = next(
            each
            for each in theirs
            if (each["asset_id"], each["state"]) == (refused_of, "OPEN")
            and each["severity_modification_type"] != "ACCEPTED"
        )
        refused = identity_of(one)
        # What was only scanned again is not sent, so it could not be refused: this one is recast to its own severity.
        self.sandbox.change(
            {
                "do": "recast",
                "finding_id": one["finding_id"],
                "severity_id": one["severity_id"],
                "reason": f"In round {self.number}.",
            }
        )
        for identity in [refused, *(identity_of(each) for each in theirs if each["asset_id"] == self.hidden)]:
            wanted.pop(identity)
            if identity in before:
                wanted[identity] = before[identity]
        wanted = {identity: value for identity, value in wanted.items() if tuple(identity.split("/")[:2]) != self.place}
        wanted |= self.ended
        self.sandbox.fault({"on": "job", "do": "fail_chunks", "chunks": [1], "kind": "vulns"})
        self.sandbox.hub_fault(
            {
                "on": "BatchImportFindings",
                "do": "fail_findings",
                "code": "InvalidInput",
                "ids_containing": refused,
                "times": None,
            }
        )
        return {
            "wanted": wanted,
            "refused": refused,
            "jobs": self.sandbox.jobs()["created"],
            "assets": self.sandbox.jobs("assets")["created"],
        }

    def check(self, scene: dict[str, Any]) -> None:
        """The hub equals the oracle, and Tenable was asked at most once more than needed."""
        assert differences(self.sandbox.held(), scene["wanted"]) == {}
        # One export breaks by order, one takes its place.
        assert self.sandbox.jobs()["created"] - scene["jobs"] <= 3
        assert self.sandbox.jobs("assets")["created"] - scene["assets"] <= 2
        assert self.sandbox.jobs()["running"] == 0
        assert self.pipeline.watermarks == sorted(set(self.pipeline.watermarks))


_History = TypeVar("_History", bound=History)


@contextmanager
def begun_anew_after_a_failure(history: _History) -> Iterator[_History]:
    """A broken run must not make the next test fail too."""
    failed = True
    try:
        yield history
        failed = False
    finally:
        if failed:
            history.begin()


@pytest.fixture(scope="module")
def history_of_module(zygote: Zygote, tiny_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> History:
    return History(zygote, tiny_sandbox, tmp_path_factory.mktemp("history"))


@pytest.fixture
def history(history_of_module: History) -> Iterator[History]:
    with begun_anew_after_a_failure(history_of_module) as history:
        yield history
    assert not leaks(history_of_module.folder)


#: Behind these a run has moved the watermark.
MOVED = (CrashPoint.WATERMARK_WRITTEN, CrashPoint.RUN_COMPLETE, CrashPoint.INDEX_PART_REMOVED)


def attempt(history: History, *crash_at: str, carry_on: str) -> None:
    """A run that is killed at a boundary, at the next one when it is carried on, and so on.

    :param crash_at: in the order of the run.
    """
    scene = history.let_something_happen()
    run_id = f"run-{history.number}"
    before = history.pipeline.watermark
    for number, point in enumerate(crash_at):
        crashed = history.pipeline.run(run_id, crash_at=point, patches=history.patches)
        assert crashed.killed, f"{point} was not reached: {crashed}\n{history.pipeline.log[-3000:]}"
        if set(crash_at[: number + 1]).isdisjoint(MOVED):
            assert history.pipeline.watermark == before, "the watermark moved before the run was over"
    run_id = run_id if carry_on != "next run" else f"{run_id}-next"
    history.pipeline.succeed(run_id, clear=carry_on == "clear", patches=history.patches)
    history.check(scene)
    ledger = history.pipeline.ledger(run_id)
    assert ledger["complete"]
    assert history.pipeline.watermark
    assert history.pipeline.watermark > (before or 0)


@pytest.mark.parametrize("point", list(CrashPoint))
def test_run_killed_at_every_boundary_is_carried_on_by_the_retry_of_its_task(
    history: History, point: CrashPoint
) -> None:
    attempt(history, point.value, carry_on="retry")


@pytest.mark.parametrize("point", list(CrashPoint))
def test_run_killed_at_every_boundary_is_made_good_by_the_next_run(history: History, point: CrashPoint) -> None:
    attempt(history, point.value, carry_on="next run")


@pytest.mark.parametrize(
    "point",
    [
        CrashPoint.CHUNK_STAGED,
        CrashPoint.SHARD_MANIFEST_WRITTEN,
        CrashPoint.CALL_ANSWERED,
        CrashPoint.WATERMARK_WRITTEN,
        CrashPoint.RUN_COMPLETE,
    ],
)
def test_killed_run_can_be_cleared_and_run_again_as_a_whole(history: History, point: CrashPoint) -> None:
    attempt(history, point.value, carry_on="clear")


# The n-th file of a run: state, chunk, manifest, part, receipts, ledger are all among them.
@pytest.mark.parametrize("number", [2, 3, 5, 8, 12, 16, 20, 24])
def test_run_killed_in_the_middle_of_any_file_is_carried_on(history: History, number: int) -> None:
    attempt(history, f"{CrashPoint.FILE_NOT_RENAMED.value}:{number}", carry_on="retry")


@pytest.mark.parametrize("number", [2, 3])
def test_import_killed_at_a_later_call_sends_only_what_has_no_receipt(history: History, number: int) -> None:
    attempt(history, f"{CrashPoint.CALL_ANSWERED.value}:{number}", carry_on="retry")


def test_run_killed_again_and_again_still_ends_right(history: History) -> None:
    scene = history.let_something_happen()
    run_id = f"run-{history.number}"
    for point in CrashPoint:
        if history.pipeline.run(run_id, crash_at=point.value).succeeded:
            break
    history.pipeline.succeed(run_id)
    history.check(scene)


def test_every_boundary_is_reached_by_a_sunny_run(history: History) -> None:
    scene = history.let_something_happen()
    history.pipeline.succeed(f"run-{history.number}", trace=True)
    history.check(scene)
    passed = set((history.pipeline.folder / "boundaries").read_text().split())
    ledger = history.pipeline.ledger(f"run-{history.number}")
    assert passed == {point.value for point in CrashPoint}, f"full: {ledger['full']}, gone: {ledger['gone']}"


def test_every_boundary_in_the_code_is_a_registered_one_and_the_other_way_round() -> None:
    used = {
        name
        for file in PACKAGE.rglob("*.py")
        if file.name != "crash_points.py"
        for name in re.findall(r"reached\(([^)]*)\)", file.read_text())
    }
    assert used == {
        f"{type(point).__name__}.{point.name}"
        for point in (
            *CrashPoint,
            *ScanCrashPoint,
            *AuditCrashPoint,
            *TakeOverCrashPoint,
            *ResolveCrashPoint,
            *AcceptedCrashPoint,
        )
    }
