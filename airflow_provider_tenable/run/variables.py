"""Airflow's Variables as text."""

from __future__ import annotations


def read_variable(name: str) -> str | None:
    """A Variable's text; None if it is not set."""
    from airflow_provider_tenable._compat import Variable

    # The default is passed by position, because its keyword differs between Airflow 2 and 3.
    value = Variable.get(name, None)
    return None if value is None else str(value)


def write_variable(name: str, value: str, description: str) -> None:
    """Set a Variable. :param description: shown in Airflow's list of Variables."""
    from airflow_provider_tenable._compat import Variable

    Variable.set(name, value, description)


__all__ = ["read_variable", "write_variable"]
