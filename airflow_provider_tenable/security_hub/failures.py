"""What a task says of accounts and Regions that failed, once all others are done."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError, TenableProviderError
from airflow_provider_tenable.guards.foreign_text import safe

_MOST_LISTED = 5


def words_of(error: Exception) -> str:
    """An error for a message: our own as they are, those of others as foreign text."""
    return str(error) if isinstance(error, TenableProviderError) else safe(error)


def listed(failed: Mapping[str, Exception]) -> str:
    """All names, and the errors of the first of them.

    :param failed: ``account/region`` -> its error.
    """
    errors = " ".join(f"{name}: {words_of(error)}" for name, error in list(failed.items())[:_MOST_LISTED])
    others = len(failed) - _MOST_LISTED
    more = f" The log has the errors of the other {others} too." if others > 0 else ""
    return f"Failed: {', '.join(failed)}. {errors}{more}"


def kind_of(failed: Mapping[str, Exception]) -> type[TenableProviderError]:
    """The class of the error of the task: one that is retried, unless no retry can help any of them."""
    permanent = all(isinstance(error, ConfigurationError) for error in failed.values())
    return ConfigurationError if permanent else TemporaryError
