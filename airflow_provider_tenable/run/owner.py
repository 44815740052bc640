"""The owner of a DAG's staging folder: two deployments with one staging path would continue and remove each other's
runs.

The owner is in ``{staging}/{dag_id}/deployment/owner.json``. A deployment is recognised by its metadata database,
because hosts and containers change their names: the Variable ``{dag_id}__owner`` has the same random id as the file.

The file decides, because the file system or the object store lets one run only create it, while the last of several
runs that set a Variable would win. So the first run creates the file, marked as ``pending``, sets the Variable, and
removes the mark. A run that finds a pending file and no Variable waits: if the Variable appears, both runs belong to
one deployment.

``plan_run`` claims the folder. The exports of a planned run, and the later steps that plan, settle or remove something,
check it again, also if somebody marked ``plan_run`` as success; transforms and imports rely on these.
"""

from __future__ import annotations

import logging
import time
import uuid
from typing import NotRequired, TypedDict

from airflow_provider_tenable.exceptions import ConfigurationError, DamagedFileError
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.run.variables import read_variable, write_variable
from airflow_provider_tenable.staging.files import create_json, read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.tenable_vm.times import utc

log = logging.getLogger(__name__)

#: A person may set the Variable, so its value is untrusted.
_LONGEST = 64

#: Seconds to wait for the run that is claiming the folder, and between two polls. A claim takes milliseconds.
_LONGEST_CLAIM, _POLL_INTERVAL = 20.0, 0.5


class Owner(TypedDict):
    """``owner.json``; ``at`` in unix seconds; ``pending``: the deployment's Variable may not be set yet."""

    owner: str
    at: int
    pending: NotRequired[bool]


def variable_name(dag_id: str) -> str:
    """The Airflow Variable that identifies this deployment of a DAG."""
    return f"{dag_id}__owner"


def claim(run: RunFolder) -> None:
    """Make this deployment the owner of a DAG's staging folder, unless the folder has one. May be repeated.

    :raises ConfigurationError: another deployment is the owner, or the record of the owner is damaged.
    """
    own = _own_id(run.dag_id)
    if own is None:
        own = _first_claim(run)
    elif (noted := _noted(run)) is None:
        # All runs of this deployment would write the same.
        create_json(run.owner, _entry(own))
    elif noted["owner"] == own and noted.get("pending"):
        # The run that set the Variable ended right after it.
        write_json(run.owner, _entry(own))
    # Read again, because another deployment may have claimed it at the same time.
    _compare(run, own)


def check_owner(run: RunFolder) -> None:
    """Check that a DAG's staging folder does not belong to another deployment. An unclaimed folder passes.

    :raises ConfigurationError: another deployment is the owner, or the record of the owner is damaged.
    """
    if _noted(run) is not None:
        _compare(run, _own_id(run.dag_id))


def _first_claim(run: RunFolder) -> str:
    """Give this deployment its id: a new one, or that of a run of the same deployment that claims the folder now."""
    new = uuid.uuid4().hex
    create_json(run.owner, {**_entry(new), "pending": True})
    noted = _noted(run)
    if noted is not None and noted["owner"] != new:
        noted = _wait_for_claim(run, noted)
        own = _own_id(run.dag_id)
        if own is not None:
            return own
        if not noted.get("pending"):
            # The folder belongs to another deployment. This one gets an id, by which the error names it.
            _set_own_id(run.dag_id, new)
            return new
        # The run that created the file ended before it set the Variable, so nobody owns the folder yet.
        new = noted["owner"]
    _set_own_id(run.dag_id, new)
    # A person may set the Variable at the same time: the value read back counts.
    own = _own_id(run.dag_id) or new
    write_json(run.owner, _entry(own))
    log.info("%s belongs to this deployment from now on.", run.dag_root)
    return own


def _wait_for_claim(run: RunFolder, noted: Owner) -> Owner:
    """Wait until the run that is claiming the folder has set its deployment's Variable."""
    until = time.monotonic() + _LONGEST_CLAIM
    while noted.get("pending") and _own_id(run.dag_id) is None and time.monotonic() < until:
        time.sleep(_POLL_INTERVAL)
        noted = _noted(run) or noted
    return noted


def _entry(owner: str) -> Owner:
    return {"owner": owner, "at": int(time.time())}


def _noted(run: RunFolder) -> Owner | None:
    """The recorded owner; None if the folder is unclaimed."""
    try:
        noted: Owner | None = read_json(run.owner, advice="")
        if noted is None or (isinstance(noted, dict) and isinstance(noted.get("owner"), str)):
            return noted
        cause: object = "it does not name an owner"
    except DamagedFileError as error:
        cause = error.__cause__ or error
    raise ConfigurationError(
        f"{run.owner}, which records the deployment that owns this staging folder, is damaged ({safe(cause)}). Nothing "
        "was exported, imported or removed, because the folder may belong to another deployment. If only this "
        f"deployment uses it, remove this one file: the next run writes it again from Variable "
        f"{variable_name(run.dag_id)}. Keep all other files in {run.owner.parent}: they record which findings are "
        "outstanding. Then clear the run."
    )


def _compare(run: RunFolder, own: str | None) -> None:
    noted = _noted(run)
    if noted is None or noted["owner"] == own:
        return
    name = variable_name(run.dag_id)
    raise ConfigurationError(
        f"The staging folder {run.dag_root} belongs to another deployment: {_shown(noted['owner'])}, since "
        f"{utc(noted.get('at', 0))}; this one is {_shown(own)} (Variable {name}). Two deployments on one staging path "
        "would continue and remove each other's runs. Nothing was exported, imported or removed. Give this deployment "
        "a [tenable] staging_path of its own. If this deployment replaces the other one, which no longer runs, or if "
        f"its metadata database was reset, remove {run.owner}. Then clear the run."
    )


def _own_id(dag_id: str) -> str | None:
    return (read_variable(variable_name(dag_id)) or "").strip()[:_LONGEST] or None


def _set_own_id(dag_id: str, own: str) -> None:
    write_variable(
        variable_name(dag_id),
        own,
        f"Id of this deployment, by which DAG {dag_id} recognises its own staging folder. Keep it: without it the next "
        "run cannot tell the folder from that of another deployment.",
    )


def _shown(owner: str | None) -> str:
    return "unknown" if owner is None else quoted(owner[:_LONGEST])


__all__ = ["check_owner", "claim", "variable_name"]
