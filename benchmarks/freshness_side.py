"""How long a change at Tenable waits for the run that brings it to the hub, under the clocks of the sandbox.

python -m benchmarks.freshness_side HOURS RUNS CHANGES      one line of JSON: the seconds that each change waited

Findings are fixed and come back at random moments between the runs, CHANGES of them in each interval; Tenable indexes
each at its moment. The clocks are moved, so that a day passes in a second. A change counts as visible with the
first run after which the hub shows what Tenable has; its wait ends at the beginning of that run. What the run itself
takes is measured elsewhere.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="benchmark-airflow-"))
os.environ.update(
    {"AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1,localhost"}
)

from tests.faults.pipeline import Pipeline, Zygote, start_sandbox
from tests.faults.set_oracle import active_by_tenable, active_in_hubs, wrong
from tests.faults.universe import Sandbox, belongs, identity_of

DAY = 86_400.0
SEED = 18


def main() -> None:
    """Live through the runs of one schedule."""
    hours, runs, changes = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    behind = str(int(hours * runs / 24) + 3)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        arguments = ("--days-behind", behind, "--hub-days-behind", behind)
        with start_sandbox("small", folder / "sandbox.log", *arguments) as process:
            zygote, sandbox = Zygote(folder / "zygote.log"), Sandbox(process)
            sandbox.reset()
            found = Schedule(Pipeline(zygote, sandbox, folder / "dag"), sandbox).live(hours * 3600, runs, changes)
            sandbox.client.close()
            zygote.stop()
    print(json.dumps(found), flush=True)


class Schedule:
    """A deployment whose runs begin at equal intervals."""

    def __init__(self, pipeline: Pipeline, sandbox: Sandbox) -> None:
        self.pipeline = pipeline
        self.sandbox = sandbox
        self.rng = random.Random(SEED)
        #: Finding id -> when its change was indexed, and its asset; of changes that no run has brought to the hub yet.
        self.pending: dict[str, tuple[float, str]] = {}

    def live(self, interval: float, runs: int, changes: int) -> dict[str, Any]:
        """:return: ``waits`` in seconds; ``late``: how often a run has not brought a change that was there before it;
        ``never``: changes that no run has brought.
        """
        begun, _ = self._run(0)
        waits: list[float] = []
        late = 0
        for number in range(1, runs + 1):
            begin = begun + interval
            chosen = self._choose(changes)
            # A run takes real seconds, which pass on the sandbox's clock too.
            soonest = self._now() + 1.0
            for each, moment in zip(chosen, sorted(self.rng.uniform(soonest, begin) for _ in chosen), strict=True):
                self._advance_to(moment)
                verb = "reopen" if each["state"] == "FIXED" else "fix"
                self.sandbox.change({"do": verb, "finding_id": each["finding_id"], "found_ago": 0})
                self.pending[identity_of(each)] = self._now(), each["asset_id"]
            self._advance_to(begin)
            begun, visible = self._run(number)
            waits += [begun - self.pending.pop(each)[0] for each in visible]
            late += len(self.pending)
        return {"waits": waits, "late": late, "never": len(self.pending)}

    def _now(self) -> float:
        return float(self.sandbox.tenable("clock")["now"])

    def _advance_to(self, moment: float) -> None:
        seconds = max(0.0, moment - self._now())
        self.sandbox.advance(seconds)
        self.sandbox.aws("clock", {"advance_seconds": seconds})

    def _choose(self, number: int) -> list[dict[str, Any]]:
        """Findings of ours that are to be fixed, or to come back."""
        truth = self.sandbox.truth()
        gone = _gone(truth)
        ours = {
            identity_of(each): each
            for each in truth["vulnerabilities"]
            if belongs(each, self.sandbox.accounts)
            and each["asset_id"] not in gone
            and each["severity_modification_type"] != "ACCEPTED"
        }
        return self.rng.sample([each for name, each in ours.items() if name not in self.pending], number)

    def _run(self, number: int) -> tuple[float, set[str]]:
        """:return: when it began, and which pending changes the hub shows after it."""
        began = self._now()
        self.pipeline.succeed(f"run-{number:04d}", clock=began - time.time(), seconds=600.0)
        truth = self.sandbox.truth()
        found = wrong(active_in_hubs(self.sandbox.documents()), active_by_tenable(truth, self.sandbox.accounts))
        # What becomes of the findings of a host that has just gone is not a change of theirs.
        gone = _gone(truth)
        self.pending = {each: (when, asset) for each, (when, asset) in self.pending.items() if asset not in gone}
        return began, self.pending.keys() - found.keys()


def _gone(truth: dict[str, Any]) -> set[str]:
    return {each["asset_id"] for each in truth["assets"] if each["terminated_at"] or each["deleted_at"]}


if __name__ == "__main__":
    main()
