"""Compares the conf that a user passed with the params of the run, so that nothing is ignored silently.

Airflow accepts conf keys without a param, so a misspelt ``dryrun`` would start a real run; and with ``[core]
dag_run_conf_overrides_params = False`` it ignores conf.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Any

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted

#: Keys that Airflow's own operators add to a conf (TriggerDagRunOperator, if OpenLineage is installed).
_AIRFLOWS_OWN = frozenset({"openlineage"})
#: Names and characters of a name that a message repeats.
_MOST_NAMES, _MOST_CHARACTERS = 5, 80


def check_conf(context: Any, known: Collection[str]) -> None:
    """Reject a conf if parts of it would be ignored.

    :param context: the task's context.
    :param known: the params that the steps of the DAG read; the DAG may have more.
    :raises ConfigurationError: a key is not a param (the message names the closest one), or a value is missing from the
        run's params.
    """
    dag_run, params = context["dag_run"], context["params"]
    conf: dict[str, Any] = getattr(dag_run, "conf", None) or {}
    names = sorted({*known, *getattr(context.get("dag"), "params", ())})
    unknown = [name for name in conf if name not in names and name not in _AIRFLOWS_OWN]
    if unknown:
        raise ConfigurationError(
            f"The run was given {_listed(unknown, names)}, which DAG {dag_run.dag_id} does not have. Nothing was "
            f"exported. Trigger it again with params that it has: {', '.join(names) or 'none'}."
        )
    ignored = [name for name in conf if name in names and (name not in params or params[name] != conf[name])]
    if ignored:
        raise ConfigurationError(
            f"The run was given {_listed(ignored, [])}, but Airflow ignored it because [core] "
            "dag_run_conf_overrides_params is False. Nothing was exported. Set the option to True, or trigger the DAG "
            "without params and set its defaults with [tenable] dag_params."
        )


def _listed(given: list[str], names: list[str]) -> str:
    """The quoted names, each with the param that may have been meant."""
    normal = {name.lower().replace("_", ""): name for name in names}
    said = []
    for name in given[:_MOST_NAMES]:
        close = get_close_matches("".join(filter(str.isalnum, name.lower())), list(normal), n=1)
        said.append(f"{quoted(name, _MOST_CHARACTERS)}{f' (did you mean {normal[close[0]]!r}?)' if close else ''}")
    more = len(given) - len(said)
    return f"the param{'s' if len(given) > 1 else ''} {', '.join(said)}{f' and {more} more' if more else ''}"


__all__ = ["check_conf"]
