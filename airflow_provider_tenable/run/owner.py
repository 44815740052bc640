"""The owner of a DAG's staging folder: two deployments with one staging path would continue and remove each other's
runs.

A deployment is identified by its metadata database, because hosts and containers change their names: the Variable
``{dag_id}__owner`` is a random id that the first run sets. The first run on a staging folder writes the same id into
``{staging}/{dag_id}/deployment/owner.json``. Every later step that continues or removes something compares the two.
"""

from __future__ import annotations

import logging
import time
import uuid
from datetime import UTC, datetime
from typing import TypedDict

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder

log = logging.getLogger(__name__)

#: A person may set the Variable, so its value is untrusted.
_LONGEST = 64


class Owner(TypedDict):
    """``owner.json``; ``at`` in unix seconds."""

    owner: str
    at: int


def variable_name(dag_id: str) -> str:
    """The Airflow Variable that identifies this deployment of a DAG."""
    return f"{dag_id}__owner"


def claim(run: RunFolder) -> None:
    """Make this deployment the owner of a DAG's staging folder, unless the folder has one. May be repeated.

    :raises ConfigurationError: another deployment is the owner.
    """
    own = _own_id(run.dag_id) or _new_id(run.dag_id)
    if read_json(run.owner) is None:
        entry: Owner = {"owner": own, "at": int(time.time())}
        write_json(run.owner, entry)
        log.info("%s belongs to this deployment from now on.", run.dag_root)
    # Read again, because another deployment may have claimed it at the same time.
    _compare(run, own)


def check_owner(run: RunFolder) -> None:
    """Check that a DAG's staging folder does not belong to another deployment. An unclaimed folder passes.

    :raises ConfigurationError: another deployment is the owner.
    """
    if read_json(run.owner) is not None:
        _compare(run, _own_id(run.dag_id))


def _compare(run: RunFolder, own: str | None) -> None:
    noted: Owner | None = read_json(run.owner)
    if noted is None or noted["owner"] == own:
        return
    name = variable_name(run.dag_id)
    raise ConfigurationError(
        f"The staging folder {run.dag_root} belongs to another deployment: {_shown(noted['owner'])}, since "
        f"{_iso(noted['at'])}; this one is {_shown(own)} (Variable {name}). Two deployments on one staging path would "
        "continue and remove each other's runs. Nothing was exported, imported or removed. Give this deployment a "
        "[tenable] staging_path of its own. If this deployment replaces the other one, which no longer runs, or if its "
        f"metadata database was reset, remove {run.owner}. Then clear the run."
    )


def _own_id(dag_id: str) -> str | None:
    return (read_variable(variable_name(dag_id)) or "").strip()[:_LONGEST] or None


def _new_id(dag_id: str) -> str:
    """Set the Variable. Another run may do so at the same time: the value read back counts."""
    new = uuid.uuid4().hex
    write_variable(variable_name(dag_id), new)
    return _own_id(dag_id) or new


def read_variable(name: str) -> str | None:
    """A Variable's text, None where it is not set."""
    from airflow_provider_tenable._compat import Variable

    # The default is given by position: its keyword differs between Airflow 2 and 3.
    value = Variable.get(name, None)
    return None if value is None else str(value)


def write_variable(name: str, value: str) -> None:
    """Set a Variable."""
    from airflow_provider_tenable._compat import Variable

    Variable.set(name, value)


def _shown(owner: str | None) -> str:
    return "unknown" if owner is None else quoted(owner[:_LONGEST])


def _iso(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return safe(seconds, 20)


__all__ = ["check_owner", "claim", "variable_name"]
