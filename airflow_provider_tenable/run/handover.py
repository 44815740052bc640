"""Checks the results that tasks pass on. A task that was marked as success does not have one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from airflow_provider_tenable.exceptions import ConfigurationError

Result = TypeVar("Result", bound=Mapping[str, object])


def required(result: Result | None, task: str) -> Result:
    """The result (XCom) of an earlier task.

    :param task: its id in ``tenable_to_security_hub``.
    :raises ConfigurationError: the result is missing or has no values. A retry cannot help.
    """
    if not result or all(value is None for value in result.values()):
        raise ConfigurationError(
            f"Task {task} has no result: it was marked as success without having run, or its XCom was deleted. Clear "
            f"{task}, together with the tasks after it."
        )
    return result


__all__ = ["required"]
