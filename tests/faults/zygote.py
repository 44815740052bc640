"""A process that has imported everything once and forks a child per run: a run then costs a second and not seven, and
may be killed.

Orders come as JSON lines on stdin: ``{"do": "start", ...}`` answers ``{"pid": n}``, ``{"do": "wait", "pid": n}`` how
the child ended.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import botocore.session

from sandbox.garbage import collect_rarely
from tests import botocore_models
from tests.faults import run_tasks
from tests.late_imports import import_late


def _warm_up() -> None:
    """Import the whole package, so that all runs are of one version of it, and read botocore's models."""
    import_late()
    _read_models()
    # The Amazon provider looks at the stack for every client, and `inspect` then at each loaded module once.
    inspect.stack()
    # What is here now stays: no child looks for garbage in it, which would also copy its pages.
    collect_rarely()


def _read_models() -> None:
    """Let every child find botocore's models read already: they are 2 MB of JSON per client."""
    botocore_models.share()
    session = botocore.session.get_session()
    for service in ("sts", "securityhub", "s3"):
        session.create_client(service, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")


def _child(order: dict[str, Any]) -> NoReturn:
    code = 70
    try:
        os.setsid()
        folder = Path(order["folder"])
        log = os.open(folder / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        outcome = run_tasks.main(order)
        run_tasks.replace_file(folder / f"outcome.{os.getpid()}.json", json.dumps(outcome))
        code = 0 if outcome["error"] is None else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return {
                "code": os.waitstatus_to_exitcode(status),
                "peak": usage.ru_maxrss * 1024,
                "cpu": usage.ru_utime + usage.ru_stime,
            }
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return {"code": None, "peak": 0, "cpu": 0.0}


def main() -> None:
    """Serve orders until stdin ends."""
    _warm_up()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "start":
            pid = os.fork()
            if pid == 0:
                _child(order)
            answer: dict[str, Any] = {"pid": pid}
        elif order["do"] == "kill":
            os.kill(order["pid"], signal.SIGKILL)
            answer = {}
        else:
            answer = _wait(order["pid"], order["seconds"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
