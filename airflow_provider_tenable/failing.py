"""Where our errors meet Airflow's: what a retry cannot mend fails the task at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_tenable._compat import AirflowFailException
from airflow_provider_tenable.exceptions import ConfigurationError, RejectedFindingsError, UnservedError


@contextmanager
def fail_fast() -> Iterator[None]:
    """Turn errors that only the user can mend into Airflow's "fail without retrying". All others keep the task's retries."""
    try:
        yield
    except (ConfigurationError, RejectedFindingsError, UnservedError) as error:
        raise AirflowFailException(str(error)) from error
