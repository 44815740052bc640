"""The sandbox as a program: `python -m sandbox` and its commands, in processes of their own."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.commands import seconds_of

ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    ready = tmp_path_factory.mktemp("sandbox") / "ready.json"
    command = [sys.executable, "-m", "sandbox", "--tenable-port", "0", "--aws-port", "0", "--estate", "tiny"]
    process = subprocess.Popen(
        [*command, "--ready-file", str(ready)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    facts = json.loads(process.stdout.readline())
    assert json.loads(ready.read_text()) == facts
    yield process, facts
    process.kill()
    process.communicate()


def test_both_servers_answer_when_the_line_is_written(started: tuple[Any, dict[str, Any]]) -> None:
    _, facts = started
    assert facts.keys() == {"tenable", "aws", "access_key", "secret_key", "accounts", "regions"}
    for server in ("tenable", "aws"):
        assert httpx.get(f"{facts[server]}/_sandbox/health").json() == {"ok": True}


def test_the_commands_look_at_a_running_sandbox(started: tuple[Any, dict[str, Any]]) -> None:
    _, facts = started
    hub = run("hub", "--aws", facts["aws"])
    assert hub.returncode == 0, hub.stderr
    assert "0 findings in all." in hub.stdout
    missing = run("finding", "no/such/finding", "--aws", facts["aws"])
    assert missing.returncode == 1
    assert "holds no finding no/such/finding" in missing.stderr
    before = httpx.get(f"{facts['tenable']}/_sandbox/clock").json()["now"]
    moved = run("advance", "1d", "--tenable", facts["tenable"])
    assert moved.returncode == 0, moved.stderr
    assert httpx.get(f"{facts['tenable']}/_sandbox/clock").json()["now"] > before + 86_000
    refused = run("advance", "1y", "--tenable", facts["tenable"])
    assert refused.returncode == 1
    assert "is not a duration" in refused.stderr


def test_a_sandbox_that_does_not_run_is_said_so() -> None:
    answer = run("hub", "--aws", "http://127.0.0.1:9")
    assert answer.returncode == 1
    assert "No sandbox answers at" in answer.stderr


def test_a_signal_stops_it_even_while_a_call_is_under_way(started: tuple[Any, dict[str, Any]]) -> None:
    process, facts = started
    httpx.post(f"{facts['tenable']}/_sandbox/faults", json={"on": "server_status", "do": "slow", "seconds": 60})
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{facts['tenable']}/server/status", timeout=0.2)
    process.send_signal(signal.SIGTERM)
    # Long before the minute that the call takes.
    assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1_800), ("12h", 43_200), ("1.5d", 129_600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
