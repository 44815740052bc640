"""The entry point of ``tenable-to-security-hub``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider_tenable.command.hidden_keys import hide
from airflow_provider_tenable.exceptions import TenableProviderError

if TYPE_CHECKING:
    from airflow_provider_tenable.command.options import Options


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, run, and give the exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    # First of all: until then, other users can read the keys.
    hide(given)
    from airflow_provider_tenable.command.options import parse
    from airflow_provider_tenable.command.supervisor import NOT_RUN, StoppedError, stop_on_signals

    stop_on_signals()
    try:
        return _run(parse(given))
    except TenableProviderError as error:
        print(f"Nothing was run: {error}", file=sys.stderr)
        return NOT_RUN
    except StoppedError as stopped:
        stopped.tell("The next run continues from the watermark.")
        return 128 + stopped.signum


def _run(options: Options) -> int:
    from airflow_provider_tenable.command.home import locked
    from airflow_provider_tenable.command.settings import environment
    from airflow_provider_tenable.command.supervisor import StoppedError, run_once, wait_until

    # All that is made is its user's own.
    os.umask(0o077)
    hours, made = options.hours, environment(options, os.environ)
    first = True
    with locked(options.folder) as lock:
        while True:
            began = time.monotonic()
            status = run_once(options, made, lock, first=first)
            if hours is None:
                return status
            first = False
            try:
                wait_until(began + hours * 3600)
            except StoppedError as stopped:
                # Nothing was interrupted.
                stopped.tell("No run was interrupted.")
                return status


__all__ = ["main"]
