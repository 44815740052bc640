"""Starts a process per run, shows what it tells, and ends it when the command is stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from airflow_provider_tenable.command.child import ORDER
from airflow_provider_tenable.command.home import new_log, prepare
from airflow_provider_tenable.command.options import Options
from airflow_provider_tenable.command.progress import PIPE
from airflow_provider_tenable.command.settings import conf_of
from airflow_provider_tenable.guards.foreign_text import visible

SUCCESS, FAILED, NOT_RUN = 0, 1, 2
#: Seconds that a process has to end by itself. Killing it loses nothing: the next run continues after the last receipt.
_GRACE = 10.0
#: Mapped tasks that are shown one by one.
_PLACES = frozenset({"import_findings", "archive_findings"})
_CHILD = ("-W", "ignore", "-m", "airflow_provider_tenable.command.child")


class StoppedError(BaseException):
    """The command was stopped by a signal. Not an ``Exception``, so that nothing takes it for a failure.

    :ivar signum: the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    def tell(self, what: str) -> None:
        """Say on stderr that the command was stopped."""
        print(f"Stopped by {signal.Signals(self.signum).name}. {what}", file=sys.stderr, flush=True)


_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def stop_on_signals() -> None:
    """From now on SIGTERM, SIGINT and SIGHUP raise :class:`StoppedError`, once."""
    for signum in _SIGNALS:
        signal.signal(signum, _stop)


def _stop(signum: int, _frame: Any) -> NoReturn:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise StoppedError(signum)


def run_once(options: Options, environment: Mapping[str, str], lock: int, *, first: bool) -> int:
    """Run the DAG once. :return: the exit status.

    :param lock: the file descriptor of the folder's lock, which the process holds too: should this one be killed, no
        other run begins beside it.
    :param first: of this command: only this one begins at ``--since`` again.
    """
    say = _printer(options)
    home, began = options.folder, datetime.now(UTC)
    log = new_log(home, began.strftime("%Y%m%dT%H%M%SZ"))
    if not (home / "airflow.db").exists():
        say(f"Preparing {home}, which takes a while the first time.")
    prepare(home, environment, log)
    say(f"A run begins; its log is {log}.")
    order = {"conf": conf_of(options), "since": options.since, "asked": first and "since" in options.given}
    told: dict[str, Any] = {}
    for event in _events(environment, order, lock, log, show=options.verbose):
        _show(event, say)
        told.update(event)
    # The run has ended: a signal is for what follows, and reaches :func:`wait_until`.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    return _conclude(options, told, log, say)


def _events(
    environment: Mapping[str, str], order: Mapping[str, Any], lock: int, log: Path, *, show: bool
) -> Iterator[dict[str, Any]]:
    """What the process tells, until it has ended."""
    read, write = os.pipe()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *_CHILD],
            env={**environment, PIPE: str(write), ORDER: json.dumps(order)},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if show else output,
            stderr=sys.stderr if show else output,
            # The keyboard's interrupt reaches this process alone, which ends the other one in its own way.
            start_new_session=True,
            pass_fds=(write, lock),
        )
    os.close(write)
    try:
        with os.fdopen(read, "rb") as lines:
            for line in lines:
                with contextlib.suppress(ValueError):
                    yield json.loads(line)
        process.wait()
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it has started."""
    for signum, seconds in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        if process.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _printer(options: Options) -> Callable[[str], None]:
    # With --json, stdout has nothing but JSON.
    stream = sys.stderr if options.json else sys.stdout

    def say(text: str) -> None:
        print(f"{datetime.now(UTC):%H:%M:%S}  {visible(text)}", file=stream, flush=True)

    return say


def _show(event: dict[str, Any], say: Callable[[str], None]) -> None:
    if note := event.get("note"):
        say(str(note))
    outcome = event.get("outcome")
    # A mapped task that has ended is named after what became of its findings.
    place, _, became = str(event.get("place") or "").partition(": ")
    name = f"{event.get('task')}{f' [{place}]' if place else ''}"
    seconds = f" ({event.get('seconds', 0):.0f} s)"
    if outcome == "success" and (event.get("text") or event.get("task") in _PLACES):
        say(f"{name}: {event['text'] or became or 'done'}{seconds}")
    elif outcome == "retry":
        say(f"{name}: WARNING, tried again in a minute: {event['text']}")
    elif outcome == "failed":
        say(f"{name}: FAILED{seconds}: {event['text']}")


def _conclude(options: Options, told: Mapping[str, Any], log: Path, say: Callable[[str], None]) -> int:
    state, error = told.get("state"), told.get("error")
    if state is None and not error:
        error = f"The process that runs the DAG has ended without a result. The last lines of {log} say why."
    status = SUCCESS if state == "success" else FAILED if state else NOT_RUN
    if options.json:
        result = {
            "state": state or "not run",
            "run_id": told.get("run_id"),
            "error": error,
            "report": told.get("report"),
            "ledger": told.get("ledger"),
            "folder": told.get("folder"),
            "log": str(log),
            "watermark_kept_in": str(options.folder),
        }
        print(json.dumps(result, sort_keys=True), flush=True)
    elif report := told.get("report"):
        # Each line was made visible by the report itself.
        print(report, flush=True)
    if error:
        say(f"NOT RUN: {error}")
    elif status == FAILED:
        say(f"The run failed: the lines above say where. Its log is {log}.")
    else:
        say(f"The run is complete. The watermark is kept in {options.folder}.")
    return status


def wait_until(moment: float) -> None:
    """Wait until a moment of the monotonic clock.

    :raises StoppedError: by a signal that has come since the end of the run.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    while (left := moment - time.monotonic()) > 0:
        time.sleep(min(left, 60.0))


__all__ = ["FAILED", "NOT_RUN", "SUCCESS", "StoppedError", "run_once", "stop_on_signals", "wait_until"]
