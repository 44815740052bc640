"""The command as a process: what it shows of a run, its exit status, and that nothing is left when it is stopped.

A stand-in takes the place of the process that runs the DAG; ``tests/integration/test_command.py`` has the real one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]

#: The command, with a stand-in for its process: ``told`` is what this tells, ``then`` what it does afterwards.
_COMMAND = """
import sys
from airflow_provider_tenable.command import main, supervisor
child, grace, *arguments = sys.argv[1:]
supervisor._CHILD = ("-c", child)
supervisor._GRACE = float(grace)
supervisor.prepare = lambda home, environment, log: None
sys.exit(main.main(arguments))
"""
_TELL = "import os, json, signal, time\nfor line in {told!r}:\n    os.write(int(os.environ['{pipe}']), line.encode())\n"
DONE = {"state": "success", "run_id": "manual__1", "report": "The table.", "ledger": {"accepted": 3}, "folder": "f"}


def _note(expression: str) -> str:
    """Code that tells a note."""
    told = f"json.dumps({{'note': {expression}}}).encode() + b'\\n'"
    return f"os.write(int(os.environ['TENABLE_TO_SECURITY_HUB_PIPE']), {told})\n"


def command(home: Path, told: list[Any], *arguments: str, then: str = "", grace: float = 5) -> subprocess.Popen[str]:
    lines = [each if isinstance(each, str) else json.dumps(each) + "\n" for each in told]
    child = _TELL.format(told=lines, pipe="TENABLE_TO_SECURITY_HUB_PIPE") + then
    variables = {"TIO_ACCESS_KEY": "the-access-key", "TIO_SECRET_KEY": "the-secret-key", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND, child, str(grace), "--home", str(home), *arguments],
        env={**{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN")}, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    read = ""
    while text not in read:
        line = process.stdout.readline()
        assert line, read
        read += line
    return read


def test_a_run_is_shown_line_by_line_and_ends_with_its_report(tmp_path: Path) -> None:
    told = [
        {"task": "export_vulnerabilities", "place": "", "seconds": 3.2, "outcome": "success", "text": "16 records"},
        {"task": "import_findings", "place": "111122223333/eu-west-1", "seconds": 1, "outcome": "retry", "text": "502"},
        {
            "task": "import_findings",
            "place": "111122223333/eu-west-1: 5 sent, 0 rejected",
            "seconds": 1,
            "outcome": "success",
            "text": "",
        },
        {"task": "plan_shards", "place": "", "seconds": 1, "outcome": "success", "text": ""},
        "not JSON\n",
        DONE,
    ]
    status, output, errors = ended(command(tmp_path / "home", told))
    assert (status, errors) == (0, "")
    lines = [line[10:] for line in output.splitlines() if line[2:3] == ":"]
    assert lines[2:5] == [
        "export_vulnerabilities: 16 records (3 s)",
        "import_findings [111122223333/eu-west-1]: WARNING, tried again in a minute: 502",
        "import_findings [111122223333/eu-west-1]: 5 sent, 0 rejected (1 s)",
    ]
    assert "\nThe table.\n" in output
    assert lines[-1] == f"The run is complete. The watermark is kept in {tmp_path / 'home'}."
    for path in [tmp_path / "home", *(tmp_path / "home").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_run_that_fails_is_status_1(tmp_path: Path) -> None:
    failed = {"task": "settle", "place": "", "seconds": 1, "outcome": "failed", "text": "too \x1b[31mmany"}
    status, output, _ = ended(command(tmp_path / "home", [failed, {**DONE, "state": "failed"}]))
    assert status == 1
    assert "settle: FAILED (1 s): too " in output
    # What comes from outside cannot paint the terminal.
    assert "\x1b" not in output


@pytest.mark.parametrize(
    ("told", "message"),
    [([{"error": "No watermark."}], "NOT RUN: No watermark."), ([], "has ended without a result")],
    ids=["it says so", "it is lost"],
)
def test_a_run_that_cannot_begin_is_status_2(told: list[Any], message: str, tmp_path: Path) -> None:
    status, output, _ = ended(command(tmp_path / "home", told))
    assert status == 2
    assert message in output


def test_json_is_all_that_stdout_has(tmp_path: Path) -> None:
    status, output, errors = ended(command(tmp_path / "home", [DONE], "--json"))
    assert status == 0
    result = json.loads(output)
    assert (result["state"], result["ledger"], result["error"]) == ("success", {"accepted": 3}, None)
    assert "The run is complete" in errors


@pytest.mark.parametrize("stubborn", [False, True])
@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_during_a_run_it_leaves_no_process(signum: int, status: int, stubborn: bool, tmp_path: Path) -> None:
    """Also none that ignores SIGTERM, as a task of Airflow 2 may."""
    then = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if stubborn else ""
    then += _note("f'pid {os.getpid()} .'")
    process = command(tmp_path / "home", [], then=then + "time.sleep(600)", grace=0.2)
    pid = int(read_until(process, "pid ").split("pid ")[1].split()[0])
    process.send_signal(signum)
    ended_with, _, errors = ended(process)
    assert ended_with == status
    assert f"Stopped by {signal.Signals(signum).name}. The next run continues" in errors
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    # The folder is free again.
    assert ended(command(tmp_path / "home", [DONE]))[0] == 0


def test_run_every_goes_on_after_a_failure_and_ends_between_two_runs(tmp_path: Path) -> None:
    # A second from the start of a run to that of the next one.
    process = command(tmp_path / "home", [{**DONE, "state": "failed"}], "--run-every", "0.0003")
    read_until(process, "The run failed")
    read_until(process, "A run begins")
    read_until(process, "The run failed")
    process.send_signal(signal.SIGTERM)
    status, _, errors = ended(process)
    # The signal may meet the third run.
    assert status in (1, 143)
    assert "Stopped by SIGTERM" in errors


def test_between_two_runs_the_status_is_that_of_the_last(tmp_path: Path) -> None:
    process = command(tmp_path / "home", [DONE], "--run-every", "1")
    read_until(process, "The run is complete")
    process.send_signal(signal.SIGINT)
    status, _, errors = ended(process)
    assert (status, errors) == (0, "Stopped by SIGINT. No run was interrupted.\n")


def test_two_commands_do_not_share_a_folder_even_if_one_was_killed(tmp_path: Path) -> None:
    tell = _note("f'pid {os.getpid()} .'")
    process = command(tmp_path / "home", [], then=f"{tell}time.sleep(600)")
    pid = int(read_until(process, "pid ").split("pid ")[1].split()[0])
    try:
        status, _, errors = ended(command(tmp_path / "home", [DONE]))
        assert status == 2
        assert "Another run uses" in errors
        process.kill()
        process.communicate(timeout=60)
        # Its run goes on, and another one beside it would share the watermark.
        assert ended(command(tmp_path / "home", [DONE]))[0] == 2
    finally:
        os.kill(pid, signal.SIGKILL)
        process.kill()
        process.communicate(timeout=60)


def test_since_is_asked_for_again_by_the_first_run_of_a_command_only(tmp_path: Path) -> None:
    show = "order = json.loads(os.environ['TENABLE_TO_SECURITY_HUB_ORDER'])\n"
    show += _note("f'order {order}'")
    process = command(tmp_path / "home", [], "--since", "5", "--run-every", "0.0003", then=show)
    first = read_until(process, "order ")
    second = read_until(process, "order ")
    process.send_signal(signal.SIGTERM)
    ended(process)
    assert "'since': '5', 'asked': True" in first
    assert "'since': '5', 'asked': False" in second
