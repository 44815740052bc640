"""A machine that runs a bootstrap script: with the real shell, and stand-ins for what the image has."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

KEY = "7e" * 32

#: Each stand-in writes down how it was called, then takes the next answer from its queue: "exit code|output".
_PROGRAM = """#!/bin/sh
name=$(basename "$0")
printf '%s %s\\n' "$name" "$*" >>"$MACHINE/calls"
queue="$MACHINE/$name.$1.$2"
[ -f "$queue" ] || queue="$MACHINE/$name"
[ -f "$queue" ] || exit 0
line=$(head -n 1 "$queue")
[ "$(wc -l <"$queue")" -le 1 ] || { tail -n +2 "$queue" >"$queue.new" && mv "$queue.new" "$queue"; }
code=${line%%|*}
if [ "$code" -eq 0 ]; then printf '%s\\n' "${line#*|}"; else printf '%s\\n' "${line#*|}" >&2; fi
exit "$code"
"""
PROGRAMS = ("nessuscli", "aws", "service", "yum", "sleep")


@dataclass
class Machine:
    """:ivar calls: what the script has run, in order."""

    folder: Path
    programs: tuple[str, ...] = PROGRAMS
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        bin_folder = self.folder / "bin"
        bin_folder.mkdir(exist_ok=True)
        for name in self.programs:
            (bin_folder / name).write_text(_PROGRAM)
            (bin_folder / name).chmod(stat.S_IRWXU)
        self.answers("nessuscli managed status", "0|Linked to: None")
        self.answers("nessuscli managed link", "0|Successfully linked to cloud.tenable.com:443")
        self.answers("aws ssm get-parameter", f"0|{KEY}")
        self.answers("aws secretsmanager get-secret-value", f"0|{KEY}")

    def answers(self, command: str, *lines: str) -> None:
        """What a command answers, in turn; the last answer stays."""
        (self.folder / ".".join(command.split()[:3])).write_text("".join(f"{line}\n" for line in lines))

    def run(self, script: str, shell: str = "sh") -> subprocess.CompletedProcess[str]:
        """Run a script as the machine would."""
        path = self.folder / "script"
        path.write_text(script)
        (self.folder / "calls").write_text("")
        env = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "MACHINE": str(self.folder),
            "TENABLE_BOOTSTRAP_LOG": str(self.log),
        }
        done = subprocess.run([shell, str(path)], env=env, capture_output=True, text=True, check=False, timeout=60)
        self.calls = (self.folder / "calls").read_text().splitlines()
        return done

    @property
    def log(self) -> Path:
        return self.folder / "bootstrap.log"

    def ran(self, beginning: str) -> list[str]:
        """The calls that begin like this."""
        return [call for call in self.calls if call.startswith(beginning)]
