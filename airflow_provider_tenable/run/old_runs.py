"""Removes the staged files of earlier runs of DAGs that have no ledger."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from airflow_provider_tenable import config
from airflow_provider_tenable.exceptions import ConfigurationError, StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.files import names, remove
from airflow_provider_tenable.staging.layout import RunFolder

log = logging.getLogger(__name__)


def remove_runs(run: RunFolder, last_step: Callable[[RunFolder], float | None]) -> list[str]:
    """Remove the files of the other runs of a DAG after ``[tenable] retention_days``.

    :param last_step: of a run -> unix seconds at which it last wrote something; None where that is unknown, and its
        files stay.
    :return: the ids of the runs whose files were removed.
    """
    before = time.time() - config.get("retention_days") * 86_400
    removed = []
    for name in names(run.dag_root):
        if name == run.run_id or name in RunFolder.RESERVED:
            continue
        try:
            old = run.beside(name)
            last = last_step(old)
            if last is not None and last < before:
                remove(old.root)
                removed.append(name)
        except (ConfigurationError, StagingError, OSError) as error:
            # One run that cannot be read must not prevent the removal of the others.
            log.warning("The clean-up skips run %s, which keeps its files: %s", safe(name), safe(error))
    return removed


__all__ = ["remove_runs"]
