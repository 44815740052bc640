"""Decides whether a scheduled run may send: only after a person has let this DAG send.

Switching a DAG on starts its due scheduled run at once, and Airflow's trigger form switches the DAG on unless that is
unticked. So the first run of a new deployment would send findings before anyone has seen them. Therefore an unattended
run is *held back* (planned as a dry run) until one of these conditions holds:

* The watermark is set: a real run was complete, under this release or an older one, or a person set it.
* ``[tenable] first_scheduled_run = send``.
* A note in staging (``{staging}/{dag_id}/deployment/sends.json``) records that a real run was complete. It outlives the
  watermark: deleting the watermark still means "export everything again", not "stop sending". It counts only for the
  Tenable user for whom it was written, so a deployment that moves from the sandbox to the real Tenable, and whose
  watermark is deleted, starts with a dry run again. The note also records the owner of the watermark
  (:func:`check_source`).

Manual runs, runs triggered by another DAG, and backfills are intended: they do what their params say.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow_provider_tenable import config
from airflow_provider_tenable.exceptions import ConfigurationError, StagingError
from airflow_provider_tenable.run import watermark
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder

log = logging.getLogger(__name__)

DRY, SEND = "dry", "send"
#: Types of unattended runs (``dataset_triggered``: Airflow 2).
_UNATTENDED = frozenset({"scheduled", "asset_triggered", "dataset_triggered"})


def is_held_back(
    run: RunFolder, *, run_type: str, mark: int | None, source: str, before: dict[str, Any] | None = None
) -> bool:
    """Whether a run becomes a dry run although its params do not request one.

    :param run_type: Airflow's: scheduled, manual, backfill, ...
    :param mark: the watermark, unix seconds.
    :param source: the Tenable instance and API user.
    :param before: the plan of an earlier attempt at the run with the same params: its decision stays.
    :raises ConfigurationError: the option is neither ``dry`` nor ``send``.
    """
    choice = config.get("first_scheduled_run")
    if choice not in (DRY, SEND):
        raise ConfigurationError(
            f"Option [tenable] first_scheduled_run is {choice[:40]!r}; it must be one of {DRY}, {SEND}."
        )
    if run_type not in _UNATTENDED:
        return False
    if before is not None:
        return bool(before.get("held_back", False))
    return mark is None and choice == DRY and _noted_source(run) != source


def warn(dag_id: str) -> None:
    """Log that a run is held back, and how to let the DAG send."""
    log.warning(
        "This is a dry run although its params do not ask for one: %s has not imported anything yet (Variable %s is "
        "not set). Everything is exported, mapped and counted, the hubs are checked, and nothing is sent. The same "
        "applies to the next scheduled runs. Once the table in the log of the task report looks right, let the DAG "
        "send: %s",
        dag_id,
        watermark.variable_name(dag_id),
        how_to_send(dag_id),
    )


def how_to_send(dag_id: str) -> str:
    """Instructions for letting the DAG send."""
    return (
        f"trigger it once with dry_run off and the other params as they are (airflow dags trigger {dag_id}); after "
        "that run is complete, scheduled runs send too. Or set [tenable] first_scheduled_run = send before the next "
        "scheduled run."
    )


def note_that_it_sends(run: RunFolder, source: str | None) -> None:
    """Note that a real run of this DAG was complete. May be repeated.

    :param source: the Tenable instance and API user; None in the plan of a run that an older release planned.
    """
    if source is not None and _noted_source(run) != source:
        write_json(run.sends, {"source": source, "run_id": run.run_id})


def has_sent(run: RunFolder) -> bool:
    """Whether a real run of this DAG was complete before, over whichever Tenable."""
    return _noted_source(run) is not None


def note_an_upgrade(run: RunFolder, *, mark: int | None, source: str) -> None:
    """Add the missing note to a watermark from an older release or from a person: the DAG sends."""
    if mark is not None and _noted_source(run) is None:
        note_that_it_sends(run, source)


def check_source(run: RunFolder, source: str) -> None:
    """Stop a run that would continue from the watermark of another Tenable instance or API user.

    The deliveries from that source say nothing about this one: everything older than the watermark would be missing,
    and a user with fewer permissions would move it past records that only the other one can see.

    :raises ConfigurationError: the source differs; the message explains what to do.
    """
    noted = _noted_source(run)
    if noted is None or noted == source:
        return
    name = watermark.variable_name(run.dag_id)
    raise ConfigurationError(
        f"The watermark in Variable {name} belongs to another Tenable instance or API user than the connection leads "
        "to now. Nothing was exported. If they are wrong, correct the connection. To import everything from "
        f"this one, delete the watermark: airflow variables delete {name}. If only the API user changed, and sees the "
        f"same assets, remove {run.sends}. Then clear the run."
    )


def _noted_source(run: RunFolder) -> str | None:
    try:
        source = (read_json(run.sends, advice="") or {}).get("source")
    except StagingError as error:
        log.warning("%s It counts as missing, and the next complete run replaces it.", error)
        return None
    return None if source is None else str(source)


__all__ = ["check_source", "has_sent", "how_to_send", "is_held_back", "note_an_upgrade", "note_that_it_sends", "warn"]
