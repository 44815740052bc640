"""DAG files run by Airflow itself (``dag.test``), in processes and databases of their own."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_2_PLUS

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Outcome:
    """What became of a DAG run.

    :ivar state: ``success``, ``failed``, or ``refused`` where Airflow did not begin it.
    :ivar output: what its tasks have logged.
    """

    state: str
    output: str
    run_id: str = ""
    tasks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def errors(self) -> str:
        """What its log says of errors, to explain a failure."""
        return "\n".join(line for line in self.output.splitlines() if "Error" in line or "Exception" in line)[-6000:]

    def of(self, task_id: str) -> list[dict[str, Any]]:
        """The task's instances, in the order of their map index."""
        return sorted(
            (each for each in self.tasks if each["task_id"] == task_id), key=lambda each: int(each["map_index"])
        )


class AirflowProcess:
    """An Airflow to fork from (see :mod:`tests.integration.airflow_zygote`). It starts when it is first needed.

    :param folder: where its home is made.
    :param shared: a folder that all processes of a test run see.
    :ivar home: ``AIRFLOW_HOME`` of all that it runs.
    """

    def __init__(self, folder: Path, shared: Path) -> None:
        self.home = folder / "airflow"
        self._shared = shared
        # Airflow reads where its database is when it is imported, so it is the same place for all children.
        self._settings = {"AIRFLOW_HOME": str(self.home), **with_database(self.home / "airflow.db")}
        self._log = folder / "airflow.log"
        self._process: subprocess.Popen[str] | None = None

    @property
    def empty_database(self) -> Path:
        """A migrated database: one for all processes of a test run, since making it takes longer than most of what is
        done with it.
        """
        made = self._shared / "airflow-migrated.db"
        with (self._shared / "airflow-migrated.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                unfinished = made.with_suffix(".new")
                self.ask(unfinished, {}, arguments=["db", "migrate"])
                unfinished.rename(made)
        return made

    def ask(self, database: Path, settings: dict[str, str], **order: Any) -> str:
        """What a child prints that carries an order out.

        :param database: the file that the child finds its database in, and leaves it in.
        :param settings: environment variables next to those of this process.
        """
        process = self._process or self._start()
        assert process.stdin
        output, own = self._log.with_suffix(".out"), self.home / "airflow.db"
        if database.exists():
            shutil.copy(database, own)
        env = {**os.environ, **self._settings, **settings}
        process.stdin.write(json.dumps({"env": env, "output": str(output), **order}) + "\n")
        process.stdin.flush()
        answer, said = self._answer(), output.read_text(errors="replace")
        # With what a child that was not closed has left in the write-ahead log.
        with closing(sqlite3.connect(own)) as source, closing(sqlite3.connect(database)) as target:
            source.backup(target)
        for file in self.home.glob(f"{own.name}*"):
            file.unlink()
        assert answer == {"code": 0}, f"{answer}: {said[-6000:]}"
        return said

    def stop(self) -> None:
        if self._process and self._process.stdin and self._process.stdout:
            self._process.stdin.close()
            self._process.wait(60)
            self._process.stdout.close()

    def _start(self) -> subprocess.Popen[str]:
        self.home.mkdir(parents=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "tests.integration.airflow_zygote"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **self._settings},
                text=True,
            )
        assert self._answer() == {"ready": True}, self._log.read_text()[-6000:]
        return self._process

    def _answer(self) -> dict[str, Any]:
        assert self._process
        assert self._process.stdout
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")
        return answer


class DagRuns:
    """An Airflow without scheduler.

    :param folder: where its DAGs and its database are made.
    :param airflow: what runs it.
    :param files: its DAG files.
    :param settings: further environment variables.
    """

    def __init__(
        self, folder: Path, airflow: AirflowProcess, files: list[Path], settings: dict[str, str] | None = None
    ) -> None:
        self.dags = folder / "dags"
        self.dags.mkdir(parents=True)
        for file in files:
            shutil.copy(file, self.dags)
        self.database = folder / "airflow.db"
        shutil.copy(airflow.empty_database, self.database)
        self.home = airflow.home
        self.env = {
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
            **(settings or {}),
        }
        self._airflow = airflow
        # Airflow's DAG processor must have seen an asset before Airflow 3.0's dag.test considers it active, and an
        # alias before Airflow 2's can add an event to it.
        with_alias = any(re.search("asset_alias|aws_audit", file.read_text()) for file in files)
        if not AIRFLOW_V_3_2_PLUS if AIRFLOW_V_3_0_PLUS else with_alias:
            airflow.ask(self.database, self.env, arguments=["dags", "reserialize"])

    def run(self, *orders: tuple[str, dict[str, Any]], retries: int | None = None) -> list[Outcome]:
        """DAG runs, one after the other in one process.

        :param orders: name of the DAG file without its ending, and the run's conf.
        :param retries: of all tasks; None for those that the DAG gives them.
        """
        runs = [{"file": str(self.dags / f"{name}.py"), "conf": conf, "retries": retries} for name, conf in orders]
        pieces = ("\n" + self._airflow.ask(self.database, self.env, runs=runs)).split("\nBEGIN ")[-len(orders) :]
        outcomes = []
        for piece in pieces:
            output, _, result = piece.partition("\nRESULT ")
            outcomes.append(Outcome(output=output, **json.loads(result.splitlines()[0])))
        assert len(outcomes) == len(orders)
        return outcomes

    def cells(self) -> Iterator[tuple[str, str, bytes]]:
        """Every value of every row in the database: the DAG that the row is of, if any, table and column, value."""
        with closing(sqlite3.connect(self.database)) as database:
            database.text_factory = bytes
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                table = name.decode()
                rows = database.execute(f'SELECT * FROM "{table}"')
                columns = [column[0] for column in rows.description]
                for row in rows:
                    values = dict(zip(columns, row, strict=True))
                    dag_id = (values.get("dag_id") or b"").decode()
                    for column, value in values.items():
                        yield dag_id, f"{table}.{column}", value if isinstance(value, bytes) else str(value).encode()


def with_database(database: Path) -> dict[str, str]:
    return {"AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}"}
