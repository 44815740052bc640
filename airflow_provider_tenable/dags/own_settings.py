"""The settings of one DAG that differ from the options in ``[tenable]``: what the factories have in common.

They are the DAG's ``default_args``. Airflow passes these to every operator that has an argument of that name, and the
steps between the operators read them from the DAG (:func:`airflow_provider_tenable.run.own_options.own_option`,
:meth:`airflow_provider_tenable.staging.layout.RunFolder.of`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_provider_tenable._compat import EXPONENTIAL_BACKOFF

TAGS = ["tenable", "security-hub", "aws", "security"]
START_DATE = datetime(2026, 1, 1, tzinfo=UTC)


def own_args(given: Mapping[str, Any] | None, **own: Any) -> dict[str, Any]:
    """The ``default_args`` of a DAG: the provider's, the DAG file's, and the DAG's own settings.

    The first delay between retries, and the longest, are Airflow's own settings: ``[core] default_task_retry_delay``
    and ``max_task_retry_delay``.

    :param given: of the DAG file.
    :param own: settings by the name of their option; None: as the option says.
    """
    usual = {"owner": "security", "retries": 2, "retry_exponential_backoff": EXPONENTIAL_BACKOFF}
    return {**usual, **(given or {}), **{name: value for name, value in own.items() if value is not None}}


__all__ = ["START_DATE", "TAGS", "own_args"]
