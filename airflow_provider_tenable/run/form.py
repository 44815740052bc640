"""The DAGs' params as Airflow's trigger form shows them, with the deployment's own defaults.

A DAG file imports this module while it is parsed, so it loads nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_tenable import config
from airflow_provider_tenable._compat import AirflowException, Param
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.run.params import IMPORT, REPLAY, RunParam


def import_params() -> dict[str, Param]:
    """The params of ``tenable_to_security_hub``, with the defaults of ``[tenable] dag_params``.

    :raises ConfigurationError: the option has an unknown name or a wrong value. Airflow lists it among its DAG import
        errors.
    """
    params = _form(IMPORT)
    for name, default in config.dag_params().items():
        if name not in params:
            raise ConfigurationError(
                f"[tenable] dag_params has {quoted(name, 80)}, which is not a param of this DAG. It knows "
                f"{sorted(params)}."
            )
        params[name] = Param(default, description=params[name].description, **params[name].schema)
        try:
            params[name].resolve()
        except AirflowException as error:
            # Airflow would say only that the DAG may not have a schedule.
            raise ConfigurationError(
                f"[tenable] dag_params has a wrong {name}: {safe(str(error).splitlines()[0])}."
            ) from error
    return params


def replay_params() -> dict[str, Param]:
    """The params of ``tenable_replay_rejected``."""
    return _form(REPLAY)


def _form(table: Mapping[str, RunParam]) -> dict[str, Param]:
    return {
        name: Param(param.default, title=param.title, description=param.help.replace("`", ""), **param.schema)
        for name, param in table.items()
    }


__all__ = ["import_params", "replay_params"]
