"""Keys leave the command line before anything else happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_tenable.command import hidden_keys

ROOT = Path(__file__).resolve().parents[3]

#: Stands for the command's own module: says what other users of the machine see of its process.
_WITNESS = """
import json, os, sys
if sys.argv[1:2] == ["--param"]:
    seen = open("/proc/self/cmdline").read().split("\\0")
    print(json.dumps([os.getpid(), seen, {name: os.environ.get(name) for name in sys.argv[3].split(",")}]))
    sys.exit()
"""


@pytest.mark.parametrize(
    ("arguments", "rest", "keys"),
    [
        (["--dry-run"], ["--dry-run"], {}),
        (["--tio-access-key", "a", "--json"], ["--json"], {"TIO_ACCESS_KEY": "a"}),
        (["--tio-secret-key=s=t", "--since", "1"], ["--since", "1"], {"TIO_SECRET_KEY": "s=t"}),
        (
            ["--aws-access-id", "A", "--aws-secret-key=K"],
            [],
            {"AWS_ACCESS_ID": "A", "AWS_SECRET_KEY": "K"},
        ),
        # The value is missing: later the command says which key it lacks.
        (["--tio-access-key"], [], {"TIO_ACCESS_KEY": ""}),
    ],
    ids=str,
)
def test_keys_are_split_off(arguments: list[str], rest: list[str], keys: dict[str, str]) -> None:
    assert hidden_keys.split(arguments) == (rest, keys)


def test_command_replaces_itself_by_one_without_keys(tmp_path: Path) -> None:
    """The real thing: the same process, whose command line in ``/proc`` has the keys no more."""
    # Python runs this module at its start, and so in both incarnations of the process.
    (tmp_path / "sitecustomize.py").write_text(_WITNESS)
    code = "from airflow_provider_tenable.command.main import main; main()"
    names = "TIO_ACCESS_KEY,TIO_SECRET_KEY"
    process = subprocess.Popen(
        [
            sys.executable, "-c", code,
            "--tio-access-key", "the-access-key", "--param", "x", names, "--tio-secret-key=the-secret-key",
        ],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    output, warned = process.communicate(timeout=60)
    pid, seen, kept = json.loads(output)
    assert pid == process.pid
    assert "the-access-key" not in " ".join(seen)
    assert "the-secret-key" not in " ".join(seen)
    assert kept == {"TIO_ACCESS_KEY": "the-access-key", "TIO_SECRET_KEY": "the-secret-key"}
    assert "visible to every user" in warned
    assert "the-" not in warned


def test_without_keys_nothing_is_replaced_or_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("replaced"))
    hidden_keys.hide(["--dry-run"])
    assert capsys.readouterr() == ("", "")
