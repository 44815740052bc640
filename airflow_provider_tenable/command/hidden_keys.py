"""Takes keys off the command line, where every user of the machine can read them (``ps``, ``/proc/{pid}/cmdline``).

A process cannot change its command line without a library, but it can replace itself: by the same program, under the
same process id, with the keys in its environment, which only its user and root can read. That happens before anything
else. Until then, for the time that Python takes to start, the keys are visible.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

#: Option -> environment variable.
SECRETS: Mapping[str, str] = {
    "--tio-access-key": "TIO_ACCESS_KEY",
    "--tio-secret-key": "TIO_SECRET_KEY",
    "--aws-access-id": "AWS_ACCESS_ID",
    "--aws-secret-key": "AWS_SECRET_KEY",
}
#: Which of the variables were options: these count before a file and a connection of the environment.
MARK = "TENABLE_TO_SECURITY_HUB_GIVEN"

WARNING = (
    "Keys on the command line are visible to every user of this machine while the command starts, and stay in the "
    "shell's history. Set {names} in the environment instead, or use --config."
)


def split(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The arguments without keys, and the keys by their environment variable."""
    rest: list[str] = []
    keys: dict[str, str] = {}
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, value = argument.partition("=")
        if name in SECRETS:
            keys[SECRETS[name]] = value if equals else next(waiting, "")
        else:
            rest.append(argument)
    return rest, keys


def hide(arguments: Sequence[str]) -> None:
    """Replace this process by one without keys on its command line, if there are any."""
    rest, keys = split(arguments)
    if not keys:
        return
    print(WARNING.format(names=", ".join(sorted(keys))), file=sys.stderr, flush=True)
    environment = {**os.environ, **keys, MARK: ",".join(sorted(keys))}
    command = [sys.executable, "-m", "airflow_provider_tenable.command", *rest]
    os.execve(sys.executable, command, environment)  # noqa: S606 - itself, with the same arguments.


__all__ = ["MARK", "SECRETS", "WARNING", "hide", "split"]
