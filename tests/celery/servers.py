"""PostgreSQL and Redis as processes of the tests' own: on free ports, with their data in the tests' folder, as
docker-compose.yaml configures them.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox.standalone.children import Child


def wait_until(
    ready: Callable[[], Any], seconds: float, failure: str, child: Child | None = None, pause: float = 0.2
) -> Any:
    """Wait for a true value and return it. :raises RuntimeError: it took too long, or the process ended."""
    deadline = time.monotonic() + seconds
    while not (value := ready()):
        if child is not None and not child.alive():
            raise RuntimeError(f"{failure}: the process ended.\n{child.tail()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{failure} in {seconds:.0f} s.\n{child.tail() if child else ''}")
        time.sleep(pause)
    return value


def listening(port: int) -> bool:
    """Whether a process listens on a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _programs() -> Path:
    """The folder of PostgreSQL's programs: Debian keeps the server's out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    assert initdb, "There is no PostgreSQL server; scripts/test_services.sh installs one"
    return Path(initdb).resolve().parent


class Postgres(Child):
    """PostgreSQL. It refuses to run as root, so that root runs it as the user ``postgres``.

    :param environment: POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD, as the container image takes them.
    """

    def __init__(self, *, log: Path, port: int, environment: dict[str, str]) -> None:
        self.port = port
        self.environment = environment
        programs, user = _programs(), dict[str, Any]()
        # Not below pytest's own folder: that is closed to other users, by every pytest that starts.
        self.folder = Path(tempfile.mkdtemp(prefix="test-celery-postgres-"))
        password = self.folder / "password"
        password.write_text(environment["POSTGRES_PASSWORD"])
        password.chmod(0o600)
        if os.geteuid() == 0:
            user = {"user": "postgres", "group": "postgres", "extra_groups": []}
            for path in (self.folder, password):
                shutil.chown(path, "postgres", "postgres")
        data = self.folder / "data"
        init = [
            programs / "initdb",
            "--pgdata",
            data,
            "--username",
            environment["POSTGRES_USER"],
            "--auth",
            "scram-sha-256",
            "--pwfile",
            password,
            "--no-sync",
        ]
        subprocess.run(
            [*init, "--encoding", "UTF8", "--no-locale"], check=True, capture_output=True, cwd=self.folder, **user
        )
        password.unlink()
        command = [
            str(programs / "postgres"),
            "-D",
            str(data),
            "-p",
            str(port),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
        ]
        # It is thrown away at the end: nothing needs to outlive a crash of the machine.
        command += ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"]
        if user:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        super().__init__(command, log=log, env={"PATH": os.environ["PATH"], "LC_ALL": "C"}, cwd=self.folder)
        self._check = [
            programs / "pg_isready",
            "--username",
            environment["POSTGRES_USER"],
            "--dbname",
            environment["POSTGRES_DB"],
            "--port",
            str(port),
        ]

    def stop(self, patience: float = 15.0) -> None:
        """End it, and remove its data."""
        super().stop(patience)
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait(self) -> None:
        """Wait until it answers, and make the database."""
        command = [*self._check, "--host", "127.0.0.1"]
        wait_until(
            lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0,
            60,
            "PostgreSQL did not start",
            self,
        )
        database = self.environment["POSTGRES_DB"]
        self.query(f'CREATE DATABASE "{database}"', database="postgres")

    def query(self, statement: str, database: str | None = None) -> str:
        """What psql prints of a statement, unaligned."""
        command = [
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--command",
            statement,
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        command += [
            "--username",
            self.environment["POSTGRES_USER"],
            "--dbname",
            database or self.environment["POSTGRES_DB"],
        ]
        env = {"PATH": os.environ["PATH"], "PGPASSWORD": self.environment["POSTGRES_PASSWORD"], "LC_ALL": "C.UTF-8"}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout

    def contents(self) -> dict[str, str]:
        """All tables and what is in them."""
        tables = self.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split()
        return {table: self.query(f'SELECT t.* FROM "{table}" AS t') for table in tables}


class Redis(Child):
    """Redis, by the same command as in docker-compose.yaml, which passes the password by standard input."""

    def __init__(self, folder: Path, *, port: int, command: list[str], environment: dict[str, str]) -> None:
        self.port = port
        self.password = environment["REDISCLI_AUTH"]
        folder.mkdir(parents=True)
        *shell, script = command
        own = f" --port {port} --bind 127.0.0.1 --dir {folder} --save ''"
        super().__init__(
            [*shell, script + own],
            log=folder.with_suffix(".log"),
            env={"PATH": os.environ["PATH"], **environment},
            cwd=folder,
        )

    def wait(self) -> None:
        """Wait until it answers its own client."""
        wait_until(lambda: "PONG" in self.ask("ping"), 30, "Redis did not start", self)

    def ask(self, *command: str) -> str:
        """What ``redis-cli`` prints."""
        env = {"PATH": os.environ["PATH"], "REDISCLI_AUTH": self.password}
        return subprocess.run(
            ["redis-cli", "-p", str(self.port), *command], capture_output=True, text=True, env=env, check=False
        ).stdout

    def contents(self) -> str:
        """Everything in it, as text."""
        kinds = {
            "string": ["get"],
            "list": ["lrange", "0", "-1"],
            "hash": ["hgetall"],
            "set": ["smembers"],
            "zset": ["zrange", "0", "-1"],
        }
        texts = []
        for key in self.ask("--scan").split():
            verb, *rest = kinds[self.ask("type", key).strip()]
            texts.append(f"{key}: {self.ask(verb, key, *rest)}")
        return "\n".join(texts)
