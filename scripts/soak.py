"""Soak test: many runs with random faults and crashes, in long-lived workers. `make soak`.

Passes when, after every run, the hub equals the oracle; no export is left running; memory grows by less than 20 KB a
run, as a trend over the runs of a worker (an eighth of a MB an hour, where a run begins every ten minutes, as here on
the sandbox's clock); open files and threads are flat; the staging area holds no more than its retention allows; and no
key is found in anything that the runs have left.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="soak-airflow-"))
os.environ.update(
    {"AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1,localhost"}
)

from tests.faults.canary import leaks  # noqa: E402
from tests.faults.pipeline import Pipeline, Zygote, start_sandbox  # noqa: E402
from tests.faults.universe import Sandbox  # noqa: E402

#: A run begins every ten minutes of the sandbox's clock.
RUNS_AN_HOUR = 6
#: The trend of a worker's memory. The bar is 1 MB an hour; this is an eighth of it.
MOST_BYTES_A_RUN = 20_000


def main() -> int:
    """Run the soak test; 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument(
        "--chance",
        type=float,
        default=0.02,
        help="of each fault in each run; a crash, in the first half, has five times that",
    )
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--estate", default="tiny", choices=("tiny", "small"))
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        with start_sandbox(options.estate, folder / "sandbox.log") as process:
            zygote = Zygote(folder / "zygote.log")
            sandbox = Sandbox(process)
            sandbox.reset()
            # A retention of some seconds, so that old runs are removed all along.
            pipeline = Pipeline(
                zygote, sandbox, folder / "dag", env={"AIRFLOW__TENABLE__RETENTION_DAYS": str(20 / 86400)}
            )
            vitals, crashes = _soak(pipeline, sandbox, options)
            problems = _problems(pipeline, sandbox, vitals, options.runs)
            _report(vitals, crashes, time.monotonic() - began)
            sandbox.client.close()
            zygote.stop()
    print("\n".join(problems) or "All is well.", flush=True)
    return int(bool(problems))


def _soak(pipeline: Pipeline, sandbox: Sandbox, options: argparse.Namespace) -> tuple[list[dict[str, object]], int]:
    file, crashes, done = pipeline.folder / "vitals.jsonl", 0, 0
    facts = {"tenable": sandbox.process.tenable, "aws": sandbox.process.aws, "accounts": sandbox.accounts}
    # In the second half no worker is killed, so that one lives long enough for a trend of its memory.
    facts["crashes_until"] = options.runs // 2
    while done < options.runs:
        order = {"first": done + 1, "last": options.runs, "chance": options.chance, "seed": options.seed, **facts}
        result = pipeline.run(
            "soak",
            soak=order,
            seconds=24 * 3600,
            patches={"airflow_provider_tenable.security_hub.responses:LONGEST_PAUSE": 0.05},
        )
        crashes += result.killed
        lines = file.read_text().splitlines() if file.exists() else []
        done = json.loads(lines[-1])["run"] if lines else 0
        print(f"{done} runs, {crashes} crashes", flush=True)
        if not result.killed and not result.succeeded:
            raise SystemExit(f"Run {done + 1} could not be brought to its end: {result}\n{pipeline.log[-4000:]}")
    return [json.loads(line) for line in file.read_text().splitlines()], crashes


def _problems(pipeline: Pipeline, sandbox: Sandbox, vitals: list[dict[str, object]], runs: int) -> list[str]:
    problems = [
        f"After run {each['run']} the hub is not as the oracle says: {each['wrong']}"
        for each in vitals
        if each["wrong"]
    ]
    judged = False
    # Within one process, once it has warmed up.
    for pid in {each["pid"] for each in vitals}:
        mine = [each for each in vitals if each["pid"] == pid][10:]
        if len(mine) >= 40:
            judged = True
            per_run = statistics.linear_regression(
                range(len(mine)), [float(str(each["resident"])) for each in mine]
            ).slope
            print(
                f"worker {pid}: {len(mine)} runs, memory {per_run / 1e3:+.1f} KB a run, "
                f"{per_run * RUNS_AN_HOUR / 1e6:+.2f} MB an hour"
            )
            if per_run > MOST_BYTES_A_RUN:
                problems.append(f"Worker {pid} grows by {per_run / 1e3:.0f} KB a run.")
        for name in ("files", "threads"):
            values = [int(str(each[name])) for each in mine]
            if values and max(values[-5:]) > values[0] + 4:
                problems.append(f"Worker {pid} had {values[0]} {name}, and has {values[-1]}.")
    if not judged:
        problems.append("No worker lived long enough for a trend of its memory: let more runs follow each other.")
    running = {kind: sandbox.jobs(kind)["running"] for kind in ("vulns", "assets")}
    problems += [f"{count} exports of {kind} were left running." for kind, count in running.items() if count]
    left = [path.name for path in (pipeline.staging / "tenable_to_security_hub").iterdir()]
    if len(left) > max(60, runs // 5):
        problems.append(f"{len(left)} runs are still staged.")
    if pipeline.watermarks != sorted(pipeline.watermarks):
        problems.append("The watermark has moved back.")
    problems += [f"A key is in {file}." for file in leaks(pipeline.folder)]
    return problems


def _report(vitals: list[dict[str, object]], crashes: int, seconds: float) -> None:
    errors = Counter(error for each in vitals for error in each["errors"])  # type: ignore[attr-defined]
    print(
        f"{len(vitals)} runs in {seconds:.0f} s; {crashes} crashes; failed attempts: {dict(errors) or 'none'}; "
        f"findings lost or invented: {sum(bool(each['wrong']) for each in vitals)}"
    )


if __name__ == "__main__":
    sys.exit(main())
