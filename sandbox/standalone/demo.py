"""`make demo`: the main job on three days, on a real Airflow. `make ui`: the same Airflow, left running for a person to
click through.

The first run brings everything that Tenable has. Then the sandbox's clock is advanced by a day, in which hosts are
scanned again, patched and terminated: the second run brings only what changed. On the third day everything is scanned
again and little has changed: a full run sends that little, and archives what Tenable does not report any more.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from sandbox import commands
from sandbox.standalone import airflow_of_this_environment, third_day
from sandbox.standalone.airflow import Standalone
from sandbox.standalone.children import ROOT, SandboxProcess
from sandbox.standalone.signals import ended_by_signals

_HOME = ROOT / ".demo"
_BEGAN = time.monotonic()


def say(text: str) -> None:
    """Print what happens, with the seconds since the start."""
    print(f"[{time.monotonic() - _BEGAN:5.0f} s] {text}", flush=True)


@contextmanager
def running(home: Path, *, port: int | None, estate: str) -> Iterator[tuple[SandboxProcess, Standalone]]:
    """The sandbox and Airflow, which end with the body, whatever ends it.

    :raises SystemExit: the folder holds something else.
    """
    _empty(home)
    say("Starting the sandbox: Tenable and AWS Security Hub on localhost.")
    # Long enough for the export to be deferred to the triggerer, as a real one is.
    with ExitStack() as stack:
        sandbox = stack.enter_context(
            SandboxProcess("--estate", estate, "--prepare-seconds", "15", log=home / "sandbox.log")
        )
        say(f"  Tenable {sandbox.tenable}, AWS {sandbox.aws}")
        say(
            "Starting Airflow: database, scheduler, triggerer, DAG processor and API server. This takes a minute or "
            "two."
        )
        airflow = stack.enter_context(airflow_of_this_environment(home, sandbox, port=port))
        stack.callback(_say_if_anybody_listens, "Stopping Airflow and the sandbox.")
        airflow.wait_until_healthy()
        airflow.connect(sandbox)
        say(f"  Airflow {airflow.url}")
        yield sandbox, airflow


def _empty(home: Path) -> None:
    if home.exists() and any(home.iterdir()) and not (home / "sandbox.log").exists():
        raise SystemExit(f"{home} is not a folder of the demo and would be emptied. Name a new folder.")
    shutil.rmtree(home, ignore_errors=True)


def _say_if_anybody_listens(text: str) -> None:
    # The terminal may be closed.
    with suppress(OSError):
        say(text)


def run_three_days(sandbox: SandboxProcess, airflow: Standalone) -> None:
    """Three runs. :raises SystemExit: a run failed, or its figures are wrong."""

    def progress(line: str) -> None:
        say(f"  {line}")

    say("Switching the DAG tenable_to_security_hub on: its first run brings everything.")
    airflow.unpause()
    first = airflow.first_run()
    state = airflow.wait_for(first, progress=progress)
    _show(airflow, sandbox, first, state)

    say("Moving Tenable's clock forward by a day: hosts are scanned again, patched, terminated.")
    httpx.post(f"{sandbox.tenable}/_sandbox/clock", json={"advance_seconds": 86400}, timeout=60).raise_for_status()
    say("Triggering the DAG by hand: it continues from the watermark.")
    second = airflow.trigger()
    state = airflow.wait_for(second, progress=progress)
    _show(airflow, sandbox, second, state)

    say("The third day: all hosts are scanned again; two are gone; a risk is accepted and another one recast.")
    third_day.begin(sandbox.tenable, sandbox.aws)
    say("Triggering a full run, as the DAG makes one every week: it sees what moved no time in Tenable, too.")
    third = airflow.trigger({"full": True})
    state = airflow.wait_for(third, progress=progress)
    _show(airflow, sandbox, third, state)

    before, after = exported(airflow.report_of(first)), exported(airflow.report_of(second))
    if not 0 < after < before:
        raise SystemExit(
            f"The second run should have exported less than the first, but exported {after:,} after {before:,}."
        )
    findings, sent, archived = (
        figure(airflow.report_of(third), name)
        for name in ("Findings", "Accepted by Security Hub", "Archived, not in Tenable any more")
    )
    if not sent < findings / 10 or not archived:
        raise SystemExit(
            f"The third run should have sent few of its {findings:,} findings and archived some, but sent {sent:,} and "
            f"archived {archived:,}."
        )
    say(
        f"Done. The first run exported {before:,} vulnerabilities, the second only the {after:,} that changed. The "
        f"third looked at {findings:,} findings, sent {sent:,} of them, and archived {archived:,} that are gone."
    )


def exported(report: str) -> int:
    """The number of exported records in a report."""
    return figure(report, "Exported records")


def figure(report: str, name: str) -> int:
    """A number in a report; 0 where it is not there."""
    match = re.search(rf"^\| {re.escape(name)}\s*\|\s*([\d,]+)\s+\|", report, re.MULTILINE)
    return int(match[1].replace(",", "")) if match else 0


def _show(airflow: Standalone, sandbox: SandboxProcess, run_id: str, state: str) -> None:
    print(
        f"\nRun {run_id}: {state}\n{airflow.report_of(run_id)}\n\nWhat Security Hub "
        f"holds:\n{commands.hub(sandbox.aws)}\n",
        flush=True,
    )
    if state != "success":
        raise SystemExit(f"The run failed. Its logs are in {airflow.home / 'logs'}.")


def main() -> None:
    """Run the demo, or keep Airflow open."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave Airflow and the sandbox running until Ctrl-C")
    parser.add_argument("--port", type=int, help="port of Airflow's UI (a free one; 8080 with --keep)")
    parser.add_argument(
        "--estate", default="demo", choices=("tiny", "small", "demo"), help="size of the simulated estate"
    )
    parser.add_argument(
        "--home", type=Path, default=_HOME, help="folder of Airflow's files and logs, which is emptied first (.demo)"
    )
    options = parser.parse_args()
    port = options.port or (8080 if options.keep else None)
    with ended_by_signals(), running(options.home, port=port, estate=options.estate) as (sandbox, airflow):
        if options.keep:
            _keep(sandbox, airflow)
        else:
            run_three_days(sandbox, airflow)
    if not options.keep:
        say(
            f"Nothing is left running; files and logs are in {options.home}. To click through the DAG yourself: make ui"
        )


def _keep(sandbox: SandboxProcess, airflow: Standalone) -> None:
    print(
        f"\nOpen {airflow.url} (no login). The DAG tenable_to_security_hub is paused: switch it on, or trigger it.\n"
        f"What Security Hub holds: {sandbox.aws}\n"
        f"Move Tenable's clock forward:  .venv/bin/python -m sandbox advance 1d --tenable {sandbox.tenable}\n"
        f"Order a fault:            curl -X POST {sandbox.tenable}/_sandbox/faults -H 'content-type: "
        f"application/json' -d '{json.dumps({'on': 'vulns_chunk', 'do': 'status', 'status': 503, 'times': 3})}'\n"
        "Stop everything: Ctrl-C\n",
        flush=True,
    )
    try:
        while airflow.alive() and sandbox.alive():
            time.sleep(1.0)
    except KeyboardInterrupt:
        return
    raise SystemExit(f"A process ended by itself:\n{airflow.tail()}")


if __name__ == "__main__":
    main()
