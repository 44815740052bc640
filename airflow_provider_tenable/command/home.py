"""The command's folder: a private Airflow, the watermark in its database, staged files, logs.

Only its user can read it. One command at a time uses it: two runs at once would share a watermark.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_tenable.command.settings import dag_file
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import safe

_DAG = '''"""Made by tenable-to-security-hub, and written again by each run."""

from airflow_provider_tenable.command.progress import callbacks
from airflow_provider_tenable.dags import tenable_to_security_hub

dag = tenable_to_security_hub(schedule=None, default_args=callbacks())
# There is no triggerer: the command waits itself.
for name in ("export_assets", "export_vulnerabilities"):
    dag.get_task(name).deferrable = False
'''


@contextmanager
def locked(home: Path) -> Iterator[int]:
    """Make the folder, and keep all others out of it. Yields the lock's file descriptor, which processes that are
    started may hold as well.

    :raises ConfigurationError: the folder cannot be made, or another command uses it.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "logs").mkdir(mode=0o700, exist_ok=True)
        lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"The folder {home} cannot be used: {safe(error.strerror)}. Choose another one with --home."
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"Another run uses {home}. Nothing was started. Wait until it has ended, or give this one a --home of "
                "its own if it is for another Tenable container."
            ) from None
        yield lock
    finally:
        os.close(lock)


def prepare(home: Path, environment: Mapping[str, str], log: Path) -> None:
    """Write the DAG file, and make or upgrade the database, which takes ten seconds once.

    :param log: the file that Airflow's output is added to.
    :raises ConfigurationError: Airflow could not make its database.
    """
    file = dag_file(home)
    file.parent.mkdir(exist_ok=True)
    if not file.exists() or file.read_text() != _DAG:
        file.write_text(_DAG)
    # The assets of a DAG must be known to the database of Airflow 3.0 and 3.1 before its tasks can update them.
    airflow = importlib.metadata.version("apache-airflow")
    made_by = f"{airflow} {importlib.metadata.version('airflow-provider-tenable')}"
    mark = home / "database"
    if mark.exists() and mark.read_text() == made_by and (home / "airflow.db").exists():
        return
    steps = [["db", "migrate"], *([["dags", "reserialize"]] if airflow.startswith(("3.0.", "3.1.")) else [])]
    for step in steps:
        with log.open("ab") as output:
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "airflow", *step],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            )
        if done.returncode:
            raise ConfigurationError(f"Airflow could not make its database in {home}: see {log}.")
    mark.write_text(made_by)


def new_log(home: Path, name: str) -> Path:
    """A log file that only its user can read. The last 30 are kept, and Airflow's own logs of the last tasks."""
    for old in sorted((home / "logs").glob("run-*.log"))[:-29]:
        old.unlink(missing_ok=True)
    shutil.rmtree(home / "logs" / "tasks", ignore_errors=True)
    path = home / "logs" / f"run-{name}.log"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    return path


__all__ = ["locked", "new_log", "prepare"]
