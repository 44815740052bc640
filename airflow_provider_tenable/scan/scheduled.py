"""Finds the run of a scan that Tenable, or a person, has started."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_provider_tenable.scan.status import ENDED

if TYPE_CHECKING:
    from airflow_provider_tenable.tenable_vm.scan_runs import Run


def newest_since(history: Iterable[Run], since: float) -> Run | None:
    """The newest run that began at ``since`` or later and has ended.

    :param history: newest first.
    :param since: unix seconds.
    """
    # Tenable reports whole seconds.
    since = math.floor(since)
    for run in history:
        if run.status in ENDED and run.started is not None and run.started >= since:
            return run
    return None
