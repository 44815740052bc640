"""scripts/stages.py: order, output, limits and the summary, with a program in place of make; and what .ci/run runs."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.polling import until

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
try:
    import stages
finally:
    sys.path.remove(str(ROOT / "scripts"))

#: Stands in for make. `hang` is a test that never ends, below make and nox.
MAKE = """
import pathlib, subprocess, sys, time
target = sys.argv[1]
folder = pathlib.Path(__file__).parent
(folder / f"{target}.began").touch()
if target == "hang":
    try:
        subprocess.run([sys.executable, "-c", '''
import pathlib, sys, time
try:
    pathlib.Path(sys.argv[1], "inside").touch()
    time.sleep(60)
except KeyboardInterrupt:
    print("test_that_hangs", flush=True)
''', folder])
    except KeyboardInterrupt:
        sys.exit(2)
elif target == "slow":
    # Ends once the others have begun: a limit of two at a time would wait for ever otherwise.
    while len(list(folder.glob("*.began"))) < 3:
        time.sleep(0.05)
print(f"output of {target}")
sys.exit(target == "bad")
"""


@pytest.fixture
def make(tmp_path: Path) -> list[str]:
    file = tmp_path / "make.py"
    file.write_text(MAKE)
    return [sys.executable, str(file)]


def test_a_failed_stage_stops_no_other_and_output_is_in_one_piece(
    make: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = stages.run(["slow", "bad", "good"], jobs=2, limit=60, command=make, logs=tmp_path / "logs")
    assert {stage.target: stage.result for stage in ended} == {"slow": "passed", "bad": "FAILED", "good": "passed"}
    assert ended[0].target == "bad"
    assert all(stage.cpu_seconds > 0.01 for stage in ended)
    shown = re.findall(r"^=== make (\w+): \w+ after \d+ s ===\noutput of (\w+)\n===", capsys.readouterr().out, re.M)
    assert sorted(shown) == [("bad", "bad"), ("good", "good"), ("slow", "slow")]


@pytest.mark.parametrize(("targets", "code"), [(["good"], 0), (["good", "bad"], 1), (["bad", "good"], 1)])
def test_exit_code_says_whether_all_passed(make: list[str], tmp_path: Path, targets: list[str], code: int) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "stages.py"), "--logs", str(tmp_path / "logs"), *targets]
    done = subprocess.run([*command, "--make", *make], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")


def test_stage_that_takes_too_long_is_a_failure(
    make: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--minutes", "0.02", "--logs", str(tmp_path / "logs"), "hang", "--make", *make]
    monkeypatch.setattr(sys, "argv", ["stages.py", *arguments])
    assert stages.main() == 1


def test_what_hangs_is_named_with_its_test(make: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [stage] = stages.run(["hang"], jobs=2, limit=5, command=make, logs=tmp_path / "logs")
    assert stage.result == "TOO LONG"
    assert re.search(r"make hang: TOO LONG after \d+ s ===\ntest_that_hangs\n", capsys.readouterr().out)


def test_whoever_stops_it_learns_what_was_running(make: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "stages.py"), "--logs", str(tmp_path / "logs"), "hang"]
    process = subprocess.Popen(
        [*command, "--make", *make],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # As in a script's background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # noqa: PLW1509
    )
    until((tmp_path / "inside").exists, 30)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "make hang: INTERRUPTED" in out
    assert "test_that_hangs" in out


def test_summary_starts_with_the_longest(make: list[str], tmp_path: Path) -> None:
    ended = stages.run(["good", "bad"], jobs=1, limit=60, command=make, logs=tmp_path / "logs")
    ended[0].seconds, ended[1].seconds = 3.0, 125.4
    ended[0].cpu_seconds, ended[1].cpu_seconds = 1.4, 200.0
    assert stages.summary(ended).splitlines() == [
        "   125 s    200 s of CPU  bad            FAILED",
        "     3 s      1 s of CPU  good           passed",
    ]


def test_contributing_says_after_how_many_minutes_a_test_and_a_target_are_stopped() -> None:
    [target] = re.findall(r"--minutes (\d+) ", (ROOT / ".ci" / "run").read_text())
    [test] = re.findall(r'limit = "--timeout=(\d+)"', (ROOT / "noxfile.py").read_text())
    page = " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
    assert f"A test that takes {int(test) // 60} minutes fails, and a target that takes {target} is interrupted" in page


def test_ci_runs_everything_that_make_test_does() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    [named] = re.findall(r"^STAGES=\(([^)]*)\)$", script, re.M)
    makefile = (ROOT / "Makefile").read_text()
    [tests] = re.findall(r"^test: ([a-z -]+) ##", makefile, re.M)
    assert {*tests.split(), "lint", "pre-commit"} <= set(named.split())
    commands = [line.split() for line in script.splitlines() if "make " in line and not line.startswith("#")]
    assert [command[-2:] for command in commands] == [["make", "setup"]]
    for target in named.split():
        assert re.search(rf"^{target}:", makefile, re.M), target
