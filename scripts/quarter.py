"""A quarter of a deployment's life in minutes: daily runs over an estate that lives, under the sandbox's clocks.

Every day hosts are scanned, patched, launched and terminated, and a few things change that no scan shows: risks are
accepted, severities recast, plugins re-rated, assets deleted, moved and aged out, connectors catch up. Security Hub
deletes what is not updated for 90 days, or 30 days once archived. After each day's run the hubs are compared with what
Tenable knows:

* *unexplained*: wrong although Tenable reported it, or although the day's run was full. Must be 0 on every day.
* *waiting*: wrong because of something that Tenable reports in no incremental export, so that the next full run
  corrects it; or left active because Tenable does not know at present which account or instance its asset belongs to.

The ingestion events are compared with those of two other ways to work: to send every open finding every day, and to
send what was scanned again.

    python scripts/quarter.py --days 90 --estate small
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="quarter-airflow-"))
os.environ.update(
    {"AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1,localhost"}
)

from sandbox.tenable.hosts import ROUTABLE_KINDS  # noqa: E402
from tests.faults.pipeline import Pipeline, Zygote, start_sandbox  # noqa: E402
from tests.faults.set_oracle import active_by_tenable, active_in_hubs, wrong  # noqa: E402
from tests.faults.universe import Sandbox, belongs, identity_of  # noqa: E402

DAY = 86_400.0


@dataclass
class Life:
    """What happens to the estate in addition to scans, chosen by a seed.

    :ivar silent: ids that something has happened to since the last full run which no incremental export reports.
    """

    sandbox: Sandbox
    rng: random.Random
    silent: set[str] = field(default_factory=set)
    happened: dict[str, int] = field(default_factory=dict)

    def a_day(self) -> None:
        """A day passes at Tenable and at Security Hub, with a few changes of each kind."""
        before = {identity_of(each): each["asset_id"] for each in self.sandbox.truth()["vulnerabilities"]}
        self.sandbox.advance(DAY)
        self.sandbox.aws("clock", {"advance_seconds": DAY})
        truth = self.sandbox.truth()
        hosts = {each["asset_id"] for each in truth["assets"]}
        if aged := {identity for identity, asset in before.items() if asset not in hosts}:
            self._note("aged out by itself", aged)
        theirs = [each for each in truth["vulnerabilities"] if belongs(each, self.sandbox.accounts, (2, 3, 4))]
        for verb, most in (("accept", 2), ("recast", 2), ("restore", 1)):
            for each in self.rng.sample(theirs, min(len(theirs), self.rng.randint(0, most))):
                self._rule(verb, each)
        if self.rng.random() < 0.2 and theirs:
            self._rerate(self.rng.choice(theirs)["plugin_id"], theirs)
        living = [each for each in truth["assets"] if each["asset_kind"] in ROUTABLE_KINDS and not each["deleted_at"]]
        for verb, chance in (("delete", 0.2), ("age_out", 0.1), ("move", 0.1), ("disconnect", 0.1)):
            # An estate of some hosts is to live for a quarter.
            if self.rng.random() < chance and len(living) > 3:
                host = living.pop(self.rng.randrange(len(living)))
                self._host(verb, host["asset_id"], theirs)
        if self.rng.random() < 0.2:
            self._connect()

    def _note(self, what: str, ids: set[str]) -> None:
        self.happened[what] = self.happened.get(what, 0) + 1
        self.silent |= ids

    def _rule(self, verb: str, each: dict[str, Any]) -> None:
        silently = self.rng.random() < 0.5
        order = {"do": verb, "finding_id": each["finding_id"], "silently": silently}
        if verb == "recast":
            order["severity_id"] = self.rng.choice([1, 2, 3, 4])
        self.sandbox.change(order)
        after = next(
            found for found in self.sandbox.truth()["vulnerabilities"] if found["finding_id"] == each["finding_id"]
        )
        # An incremental export asks for certain severities: it does not have what has left them.
        unreported = silently or not belongs(after, self.sandbox.accounts)
        self._note(f"{verb}{' silently' if silently else ''}", {identity_of(each)} if unreported else set())

    def _rerate(self, plugin: int, theirs: list[dict[str, Any]]) -> None:
        severity = self.rng.choice([2, 3, 4])
        self.sandbox.change({"do": "rerate", "plugin_id": plugin, "set": {"severity_id": severity}})
        self._note("rerate", {identity_of(each) for each in theirs if each["plugin_id"] == plugin})

    def _host(self, verb: str, asset: str, theirs: list[dict[str, Any]]) -> None:
        ids = {identity_of(each) for each in theirs if each["asset_id"] == asset}
        if verb == "move":
            account = self.rng.choice(self.sandbox.accounts)
            instance = f"i-{self.rng.getrandbits(68):017x}"
            values = {"account": account, "instance_id": instance}
            self.sandbox.change({"do": "change_asset", "asset_id": asset, "set": values})
            # Its findings have other ids from now on, and are in no incremental export until the next scan.
            ids |= {identity_of(each) for each in self.sandbox.truth()["vulnerabilities"] if each["asset_id"] == asset}
        else:
            self.sandbox.change({"do": verb, "asset_id": asset})
        self._note(verb, ids)

    def _connect(self) -> None:
        before = {identity_of(each) for each in self.sandbox.truth()["vulnerabilities"]}
        self.sandbox.change({"do": "connect"})
        self._note("connect", {identity_of(each) for each in self.sandbox.truth()["vulnerabilities"]} - before)


@dataclass
class Day:
    """How a day ended. ``events``: ingestion events so far, ours and those of the other ways to work."""

    number: int
    full: bool
    active: int
    waiting: int
    unexplained: dict[str, str]
    events: dict[str, int]
    seconds: float


class Quarter:
    """A deployment. A run counts as full when its plan says so."""

    def __init__(self, pipeline: Pipeline, sandbox: Sandbox, seed: int) -> None:
        self.pipeline = pipeline
        self.sandbox = sandbox
        self.life = Life(sandbox, random.Random(seed))
        self.everything = self.rescanned = 0

    def day(self, number: int) -> Day:
        """A day passes, and a run ends it."""
        began = time.monotonic()
        if number:
            self.life.a_day()
        now = float(self.sandbox.tenable("clock")["now"])
        truth = self.sandbox.truth()
        wanted = active_by_tenable(truth, self.sandbox.accounts)
        self.everything += len(wanted)
        since = now - DAY if number else 0.0
        theirs = [each for each in truth["vulnerabilities"] if belongs(each, self.sandbox.accounts)]
        self.rescanned += sum(each["indexed"] > since and (number > 0 or each["state"] != "FIXED") for each in theirs)
        run_id = f"day-{number:03d}"
        self.pipeline.succeed(run_id, clock=now - time.time(), seconds=600.0)
        full = number == 0 or self._was_full(run_id)
        found = wrong(active_in_hubs(self.sandbox.documents()), wanted)
        if full:
            self.life.silent = self._unsettled(truth, found)
        unexplained = {each: what for each, what in found.items() if each not in self.life.silent}
        events = {
            "ours": sum(self.sandbox.aws("stats")["ingestion_events"].values()),
            "everything": self.everything,
            "rescanned": self.rescanned,
        }
        waiting = len(found) - len(unexplained)
        return Day(number, full, len(wanted), waiting, unexplained, events, time.monotonic() - began)

    def _unsettled(self, truth: dict[str, Any], found: dict[str, str]) -> set[str]:
        """Findings that a full run leaves active, as its report says: Tenable has their asset, but at present not its
        account, Region or instance.
        """
        unknown = {each["asset_id"] for each in truth["assets"] if not (each["account"] and each["instance_id"])}
        documents = self.sandbox.documents()
        return {
            each
            for each, what in found.items()
            if what == "ghost"
            and documents[each]["ProductFields"]["tenable/vulnerability-management/asset_uuid"] in unknown
        }

    def _was_full(self, run_id: str) -> bool:
        plan = json.loads((self.pipeline.run_folder(run_id) / "run.json").read_text())
        return bool(plan["hubs"]["full"])


def main() -> int:
    """Live through the days; 1 if anything was wrong that Tenable had reported, or after a full run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--estate", choices=("tiny", "small"), default="small")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write what was found, day by day")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quarter-") as name:
        days = _live(options, Path(name))
    if options.json:
        options.json.write_text(json.dumps([vars(each) for each in days], indent=1) + "\n")
    print(_summary(days), flush=True)
    return int(any(each.unexplained for each in days))


def _summary(days: list[Day]) -> str:
    last, full = days[-1].events, sum(each.full for each in days)
    ours = max(last["ours"], 1)
    bad = [len(each.unexplained) for each in days if each.unexplained]
    return (
        f"\n{len(days)} days, {full} full runs, {days[-1].active} active findings at the end.\n"
        f"Wrong findings: {sum(bad)} unexplained, on {len(bad)} days; at most "
        f"{max(each.waiting for each in days)} waited for a full run.\n"
        f"Ingestion events: {last['ours']}. To send every open finding every day takes {last['everything']} "
        f"({last['everything'] / ours:.1f} times as many), to send what was scanned again {last['rescanned']} "
        f"({last['rescanned'] / ours:.1f} times)."
    )


def _live(options: argparse.Namespace, folder: Path) -> list[Day]:
    behind = str(options.days + 2)
    arguments = ("--days-behind", behind, "--hub-days-behind", behind)
    with start_sandbox(options.estate, folder / "sandbox.log", *arguments) as process:
        zygote = Zygote(folder / "zygote.log")
        sandbox = Sandbox(process)
        sandbox.reset()
        sandbox.tenable("options", {"asset_age_out_days": 75, "hides_deleted_assets": True})
        quarter = Quarter(Pipeline(zygote, sandbox, folder / "dag"), sandbox, options.seed)
        days = []
        for number in range(options.days):
            day = quarter.day(number)
            days.append(day)
            kinds = dict(Counter(day.unexplained.values()))
            print(
                f"day {day.number:3d} {'full' if day.full else '    '}  active {day.active:5d}  waiting "
                f"{day.waiting:4d}  unexplained {kinds or 0}  events {day.events['ours']}  {day.seconds:.1f} s",
                flush=True,
            )
        print("Changes:", ", ".join(f"{name} {count}" for name, count in sorted(quarter.life.happened.items())))
        sandbox.client.close()
        zygote.stop()
    return days


if __name__ == "__main__":
    sys.exit(main())
