"""Options that one DAG sets for itself, in its ``default_args`` (see :mod:`airflow_provider_tenable.dags`)."""

from __future__ import annotations

from typing import Any

from airflow_provider_tenable import config


def own_option(context: Any, name: str) -> Any:
    """The value of an option for the DAG of a task: the DAG's own, or that of ``[tenable]``.

    :param name: of the option.
    """
    own = (getattr(context.get("dag"), "default_args", None) or {}).get(name)
    return config.get(name) if own is None else own


__all__ = ["own_option"]
