"""The process that runs the DAG once, by Airflow's own ``dag.test``: ``python -m ...command.child``.

It reads what to do from the environment, and tells what happens in a pipe (:mod:`.progress`).
"""

from __future__ import annotations

import gc
import json
import os
import runpy
from pathlib import Path
from typing import Any

from airflow_provider_tenable.command.progress import tell
from airflow_provider_tenable.command.settings import dag_file

#: The environment variable with the order: ``{"conf": {}, "since": "", "asked": false}``.
ORDER = "TENABLE_TO_SECURITY_HUB_ORDER"
DAG_ID = "tenable_to_security_hub"


def main() -> None:
    """Run the DAG, and tell what became of it."""
    order = json.loads(os.environ[ORDER])
    from airflow_provider_tenable.exceptions import TenableProviderError
    from airflow_provider_tenable.guards.foreign_text import safe

    try:
        conf = {**order["conf"], **_since(order)}
        dag = runpy.run_path(str(dag_file(Path(os.environ["AIRFLOW_HOME"]))))["dag"]
        _end_others()
        run = dag.test(run_conf=conf)
    except TenableProviderError as error:
        tell(error=str(error))
        return
    except Exception as error:
        tell(error=f"Airflow could not run the DAG: {safe(error, 1_000)}")
        raise
    _tell_result(run)


def _since(order: dict[str, Any]) -> dict[str, Any]:
    """The start of the run: it becomes the watermark of a deployment that has none, so that later runs continue from
    there. Afterwards it counts only as an option of the command line: a variable that stays set must not have every
    run begin there again.
    """
    from airflow.models.variable import Variable

    from airflow_provider_tenable.run.watermark import description, parse_moment, variable_name

    since = parse_moment(order["since"], "--since (OBSERVED_SINCE)")
    if since is None:
        return {}
    name = variable_name(DAG_ID)
    if Variable.get(name, None) is None and since > 1:
        if order["conf"].get("dry_run"):
            return {"since": since}
        Variable.set(name, str(since), description(DAG_ID))
        tell(note=f"There was no watermark: it is set to the given start, {since}.")
        return {}
    return {"since": since} if order["asked"] else {}


def _end_others() -> None:
    """Mark runs as failed whose process was stopped, in the command's own database."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        session.query(DagRun).filter(DagRun.state.in_(["running", "queued"])).update(
            {"state": "failed"}, synchronize_session=False
        )


def _tell_result(run: Any) -> None:
    from airflow_provider_tenable.exceptions import TenableProviderError
    from airflow_provider_tenable.run.report import report_of
    from airflow_provider_tenable.staging.files import read_json
    from airflow_provider_tenable.staging.layout import RunFolder
    from airflow_provider_tenable.staging.location import default_staging_uri

    folder = RunFolder(default_staging_uri(), run.dag_id, run.run_id)
    try:
        report, ledger = report_of(folder), read_json(folder.ledger)
    except TenableProviderError as error:
        report, ledger = str(error), None
    tell(
        state=str(getattr(run.state, "value", run.state)),
        run_id=run.run_id,
        report=report,
        ledger=ledger,
        folder=str(folder.root),
    )


if __name__ == "__main__":
    # Airflow makes millions of objects here and hardly any cycle. Searching for cycles as often as Python does by
    # default takes a sixth of the CPU.
    gc.set_threshold(50_000, 50, 100)
    main()
    # Python would search everything that Airflow has imported for cycles once more before it ends, for seconds of CPU.
    gc.freeze()
