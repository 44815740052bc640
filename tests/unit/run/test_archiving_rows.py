"""Which staged findings tell a full run that Tenable still reports them."""

from __future__ import annotations

import numpy as np

from airflow_provider_tenable.run.archiving import _of_this_export
from airflow_provider_tenable.state.staged import FIELDS


def test_a_record_that_waited_since_an_earlier_export_does_not():
    """In between it may have been recast below the severities: the export has it, and it is skipped."""
    rows = np.zeros(4, np.dtype(FIELDS))
    # Of the run's own export, of an earlier one, of this one and of a later one.
    rows["as_of"] = [0, 999, 1000, 1001]
    assert _of_this_export(rows, 1000)["as_of"].tolist() == [0, 1000, 1001]
