"""What a failed task says to a person: the complete message, of which its exception has the beginning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from airflow_provider_tenable._compat import AirflowFailException, complete_message


@contextmanager
def fails_at_once(match: str) -> Iterator[None]:
    """The body fails without a retry, with a message that has a match of this pattern."""
    with pytest.raises(AirflowFailException) as failure:
        yield
    message = complete_message(failure.value)
    assert re.search(match, message), message
