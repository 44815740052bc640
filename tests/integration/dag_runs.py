"""DAG files run by Airflow itself (``dag.test``), in a process, a home and a database of their own."""

from __future__ import annotations

import fcntl
import json
import os
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

#: Runs what it is ordered, one DAG run after the other, and says what became of each.
_PROGRAM = """
import json, runpy, sys, time, traceback
from airflow_provider_tenable.operators import security_hub
from tests import botocore_models

botocore_models.share()
security_hub.PAUSE_SECONDS = 0.5
sleep = time.sleep


def wait(seconds):
    # dag.test waits a second each time that it finds no task to run, as after each that fails.
    caller = sys._getframe(1).f_code
    sleep(0.05 if (caller.co_name, caller.co_filename.rpartition("/")[2]) == ("test", "dag.py") else seconds)


time.sleep = wait
for number, order in enumerate(json.load(open(sys.argv[1]))):
    print(f"BEGIN {number}", flush=True)
    dag = runpy.run_path(order["file"])["dag"]
    for task in dag.tasks if order["retries"] is not None else []:
        if hasattr(task, "partial_kwargs"):
            task.partial_kwargs["retries"] = order["retries"]
        else:
            task.retries = order["retries"]
    try:
        run = dag.test(run_conf=order["conf"])
    except Exception:
        traceback.print_exc(file=sys.stdout)
        result = {"state": "refused"}
    else:
        names = ("task_id", "map_index", "state", "try_number", "rendered_map_index")
        tasks = [{name: getattr(each, name) for name in names} for each in run.get_task_instances()]
        result = {"state": run.state, "run_id": run.run_id, "tasks": tasks}
    print("RESULT", json.dumps(result, default=lambda each: getattr(each, "value", str(each))), flush=True)
"""


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


class DagRuns:
    """An Airflow without scheduler.

    :param folder: where its home, DAGs and database are made.
    :param database: an empty one, to be copied (see :func:`make_database`).
    :param files: its DAG files.
    :param settings: further environment variables.
    """

    def __init__(self, folder: Path, database: Path, files: list[Path], settings: dict[str, str] | None = None) -> None:
        self.home = folder / "airflow"
        self.dags = folder / "dags"
        self.dags.mkdir(parents=True)
        for file in files:
            shutil.copy(file, self.dags)
        self.database = folder / "airflow.db"
        shutil.copy(database, self.database)
        self.env = {
            **_environment(self.home, self.database),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
            **(settings or {}),
        }
        self._orders = folder / "orders.json"
        # Airflow's DAG processor must have seen an asset before Airflow 3.0's dag.test considers it active, and an
        # alias before Airflow 2's can add an event to it.
        if not AIRFLOW_V_3_2_PLUS if AIRFLOW_V_3_0_PLUS else any("asset_alias" in file.read_text() for file in files):
            self._python("-m", "airflow", "dags", "reserialize")

    def run(self, *orders: tuple[str, dict[str, Any]], retries: int | None = None) -> list[Outcome]:
        """DAG runs, one after the other in one process.

        :param orders: name of the DAG file without its ending, and the run's conf.
        :param retries: of all tasks; None for those that the DAG gives them.
        """
        self._orders.write_text(
            json.dumps(
                [{"file": str(self.dags / f"{name}.py"), "conf": conf, "retries": retries} for name, conf in orders]
            )
        )
        pieces = self._python("-c", _PROGRAM, str(self._orders)).split("\nBEGIN ")[-len(orders) :]
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

    def _python(self, *arguments: str) -> str:
        return _python(self.env, *arguments)


def make_database(shared: Path) -> Path:
    """A migrated database: one for all processes of a test run, since making it takes longer than most of what is done
    with it.

    :param shared: a folder that all of them see.
    """
    made = shared / "airflow-migrated.db"
    with (shared / "airflow-migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            unfinished = made.with_suffix(".new")
            _python(_environment(shared / "airflow-migrated", unfinished), "-m", "airflow", "db", "migrate")
            unfinished.rename(made)
    return made


def _environment(home: Path, database: Path) -> dict[str, str]:
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
    }
    return {**os.environ, **settings}


def _python(env: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", *arguments]
    done = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return "\n" + done.stdout
