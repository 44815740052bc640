"""The page lists the DAGs that import, and none of the provider's others: told by their tags and by their last task."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from airflow_provider_tenable.dags import tenable_to_security_hub
from airflow_provider_tenable.ui import facts

DAGS = sorted((Path(__file__).resolve().parents[3] / "dags").glob("*.py"))


@pytest.mark.parametrize("file", DAGS, ids=lambda file: file.stem)
def test_only_the_dags_that_import_have_their_last_task(file: Path) -> None:
    dag = runpy.run_path(str(file))["dag"]
    imports = dag.dag_id in (
        facts.DEFAULT_DAG,
        "tenable_compliance_to_security_hub",
        "tenable_was_to_security_hub",
    )
    assert dag.has_task(facts._LAST_TASK) == imports


def test_a_dag_of_the_factory_has_the_tags_and_the_task() -> None:
    dag = tenable_to_security_hub("tenable_emea")
    assert set(facts._TAGS) <= set(dag.tags)
    assert dag.has_task(facts._LAST_TASK)
