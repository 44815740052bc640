"""The page lists the DAGs that import, and none of the provider's others."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from airflow_provider_tenable.ui import facts

DAGS = sorted((Path(__file__).resolve().parents[3] / "dags").glob("*.py"))


@pytest.mark.parametrize("file", DAGS, ids=lambda file: file.stem)
def test_a_dag_is_listed_if_it_imports(file: Path) -> None:
    dag = runpy.run_path(str(file))["dag"]
    listed = bool(set(facts._TAGS) & set(dag.tags)) and dag.dag_id not in facts._OTHER_DAGS
    assert listed == dag.has_task("advance_watermark")
