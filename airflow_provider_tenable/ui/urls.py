"""Addresses in Airflow's own pages, as they differ between Airflow 2 and 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS


class Urls:
    """Addresses relative to the page, which is one folder below Airflow's root: they hold behind any prefix.

    :param root: of Airflow, as seen from the page.
    :param airflow_3: default: the Airflow that is installed.
    """

    def __init__(self, root: str = "../", *, airflow_3: bool = AIRFLOW_V_3_0_PLUS) -> None:
        self.root = root
        self._airflow_3 = airflow_3

    def dag(self, dag_id: str) -> str:
        """The page of a DAG."""
        return f"{self.root}dags/{_quoted(dag_id)}" + ("" if self._airflow_3 else "/grid")

    def run(self, dag_id: str, run_id: str) -> str:
        """The page of a run."""
        if self._airflow_3:
            return f"{self.dag(dag_id)}/runs/{_quoted(run_id)}"
        return f"{self.dag(dag_id)}?dag_run_id={_quoted(run_id)}"

    def task(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
        """The page with the log of a task."""
        if self._airflow_3:
            mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
            return f"{self.run(dag_id, run_id)}/tasks/{_quoted(task_id)}{mapped}"
        mapped = f"&map_index={map_index}" if map_index >= 0 else ""
        return f"{self.run(dag_id, run_id)}&task_id={_quoted(task_id)}{mapped}&tab=logs"

    def form(self, dag_id: str, params: Mapping[str, Any]) -> str:
        """The trigger form of a DAG with these params filled in; empty where Airflow has no address for that.

        Airflow 2 fills in its form from the query. Up to 3.3, Airflow 3 does not (apache/airflow#54800).
        """
        if self._airflow_3:
            return ""
        filled = {
            name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
            for name, value in params.items()
        }
        return f"{self.root}dags/{_quoted(dag_id)}/trigger?{urlencode(filled)}"


def _quoted(part: str) -> str:
    return quote(part, safe="")


__all__ = ["Urls"]
