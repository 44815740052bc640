"""`airflow standalone` of Airflow 2: webserver in place of API server and DAG processor, REST API v1, backfills by the
command line.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sandbox.standalone.airflow import DAG_ID, Standalone
from sandbox.standalone.children import SandboxProcess

#: No login: every visitor is an administrator, as with Airflow 3's option simple_auth_manager_all_admins.
_WEBSERVER_CONFIG = """
WTF_CSRF_ENABLED = True
AUTH_ROLE_PUBLIC = "Admin"
"""

#: Airflow 2's backfill takes a run for deadlocked if the task before mapped ones has ended in the database, but its
#: process has not reported to the executor yet (`BackfillJobRunner._process_backfill_task_instances`). The same command
#: resumes where it stopped; operating.md says so to users.
_BACKFILL_COMMANDS = 12


class Standalone2(Standalone):
    """Airflow 2's scheduler, triggerer and webserver, on SQLite.

    SQLite wants one task at a time. Airflow's SequentialExecutor starts a new interpreter for each, which takes as long
    as most of our tasks; a LocalExecutor with one worker forks instead, and is not more parallel. Airflow refuses it on
    SQLite unless this check is switched off.
    """

    api_path = "/api/v1"
    health_path = "/health"
    components = ("metadatabase", "scheduler", "triggerer")
    run_order = "execution_date"

    def __init__(
        self, home: Path, sandbox: SandboxProcess, *, port: int | None = None, settings: dict[str, str] | None = None
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        (home / "webserver_config.py").write_text(_WEBSERVER_CONFIG)
        super().__init__(home, sandbox, port=port, settings=settings)

    def _settings(self, sandbox: SandboxProcess) -> dict[str, str]:
        settings = {
            name: value
            for name, value in super()._settings(sandbox).items()
            if not name.startswith(("AIRFLOW__API__", "AIRFLOW__API_AUTH__"))
        }
        return {
            **settings,
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
            "AIRFLOW__CORE__PARALLELISM": "1",
            "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
            "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": settings[
                "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL"
            ],
            "AIRFLOW__CORE__DAG_FILE_PROCESSOR_TIMEOUT": settings["AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT"],
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(self.port),
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__WEBSERVER__BASE_URL": self.url,
            "AIRFLOW__WEBSERVER__WORKERS": "1",
            "AIRFLOW__WEBSERVER__CONFIG_FILE": str(self.home / "webserver_config.py"),
            "AIRFLOW__WEBSERVER__SECRET_KEY": "the-sandbox-has-no-secrets",
        }

    def _log_in(self) -> None:
        """Nobody needs to."""

    def _trigger_body(self, conf: dict[str, Any]) -> dict[str, Any]:
        return {"conf": conf}

    def backfill(self, first_day: str, last_day: str) -> list[str]:
        """Run a backfill over some days (ISO dates, both inclusive) to its end, as Airflow 2 does it: in the command's
        own process.
        """
        before = {run["dag_run_id"] for run in self.runs()}
        command = [
            sys.executable,
            "-m",
            "airflow",
            "dags",
            "backfill",
            DAG_ID,
            "--start-date",
            first_day,
            "--end-date",
            last_day,
        ]
        for _ in range(_BACKFILL_COMMANDS):
            done = subprocess.run(
                command,
                env=self.env,
                cwd=self.home,
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            if "BackfillJob is deadlocked" not in done.stdout + done.stderr:
                break
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}:{os.linesep}{(done.stdout + done.stderr)[-3000:]}")
        return [run["dag_run_id"] for run in self.runs() if run["dag_run_id"] not in before]
