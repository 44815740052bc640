"""Run targets of make, several at a time, and print the output of each when it ends; at the end, how long each took and
how many seconds of CPU it used, with the processes that it waited for.

    python scripts/stages.py --jobs 2 --minutes 30 faults unit docs

They start in the order of their names: the longest belongs first. One that takes longer than `--minutes` is interrupted
as by Ctrl-C, so that pytest prints which test was running. Exits with 1 if one failed; the others run to their end.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "stages"
_POLL_SECONDS = 0.2
#: Seconds between Ctrl-C and SIGKILL.
_PATIENCE = 60.0


class Stage:
    """A target that runs.

    :param command: of make, without the target.
    :ivar seconds: how long it took.
    :ivar cpu_seconds: of CPU that it and the processes that it waited for used.
    :ivar result: ``passed``, ``FAILED``, ``TOO LONG`` or ``INTERRUPTED``; empty while it runs.
    """

    def __init__(self, target: str, command: Sequence[str], logs: Path) -> None:
        self.target = target
        self.log = logs / f"{target}.log"
        self.result = ""
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self._began = time.monotonic()
        with self.log.open("wb") as output:
            # A session of its own: an interrupt reaches make, nox and pytest, but neither the other stages nor us.
            self._process = subprocess.Popen(
                [*command, target],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_heed_interrupts,  # noqa: PLW1509
            )

    def poll(self, limit: float) -> bool:
        """Whether it has ended; after ``limit`` seconds it is interrupted."""
        if not self._has_ended():
            if time.monotonic() - self._began <= limit:
                return False
            self.interrupt("TOO LONG")
        else:
            self._end("FAILED" if self._process.returncode else "passed")
        return True

    def _has_ended(self) -> bool:
        # By wait4 and not by Popen.poll, which throws the use of CPU away.
        pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
        if pid:
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu_seconds = usage.ru_utime + usage.ru_stime
        return bool(pid)

    def interrupt(self, result: str) -> None:
        """End it as Ctrl-C does, or by SIGKILL."""
        os.killpg(self._process.pid, signal.SIGINT)
        until = time.monotonic() + _PATIENCE
        while not self._has_ended():
            if time.monotonic() >= until:
                os.killpg(self._process.pid, signal.SIGKILL)
            time.sleep(0.01)
        self._end(result)

    def _end(self, result: str) -> None:
        self.result, self.seconds = result, time.monotonic() - self._began

    def show(self) -> None:
        """Print its output."""
        title = f"make {self.target}: {self.result} after {self.seconds:.0f} s"
        print(f"\n=== {title} ===\n{self.log.read_text(errors='replace')}=== {title} ===", flush=True)


def _heed_interrupts() -> None:
    """In the child: a shell lets what it starts in the background ignore Ctrl-C, and all that comes after it too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(targets: Sequence[str], *, jobs: int, limit: float, command: Sequence[str], logs: Path) -> list[Stage]:
    """Run the targets.

    :param limit: seconds for one of them.
    :return: the stages in the order in which they ended.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting, running, ended = list(targets), list[Stage](), list[Stage]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(Stage(waiting.pop(0), command, logs))
            time.sleep(_POLL_SECONDS)
            for stage in [each for each in running if each.poll(limit)]:
                running.remove(stage)
                ended.append(stage)
                stage.show()
    finally:
        # We are being stopped: say where each of them was.
        for stage in running:
            stage.interrupt("INTERRUPTED")
            stage.show()
    return ended


def summary(stages: Sequence[Stage]) -> str:
    """The stages, their seconds and those of CPU, the longest first."""
    ordered = sorted(stages, key=lambda stage: -stage.seconds)
    return "\n".join(
        f"{stage.seconds:6.0f} s {stage.cpu_seconds:6.0f} s of CPU  {stage.target:14} {stage.result}"
        for stage in ordered
    )


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main() -> int:
    """Run them; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time (2)")
    parser.add_argument("--minutes", type=float, default=60, help="limit of a single target (60)")
    parser.add_argument("--make", nargs="+", default=["make"], help=argparse.SUPPRESS)
    parser.add_argument("--logs", type=Path, default=LOGS, help=f"folder of the targets' output ({LOGS})")
    parser.add_argument("targets", nargs="+", metavar="target")
    options = parser.parse_args()
    began = time.monotonic()
    with _sigterm_interrupts():
        stages = run(
            options.targets, jobs=options.jobs, limit=options.minutes * 60, command=options.make, logs=options.logs
        )
    print(f"\n{summary(stages)}\n{time.monotonic() - began:6.0f} s  all of them, {options.jobs} at a time")
    return int(any(stage.result != "passed" for stage in stages))


if __name__ == "__main__":
    sys.exit(main())
