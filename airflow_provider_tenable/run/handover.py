"""What a task hands to the tasks after it. A task that somebody marked as success has handed over nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from airflow_provider_tenable.exceptions import ConfigurationError

Result = TypeVar("Result", bound=Mapping[str, object])


def required(result: Result | None, task: str) -> Result:
    """The result (XCom) of an earlier task.

    :param task: its id in ``tenable_to_security_hub``.
    :raises ConfigurationError: it has none, or one without values. A retry would find the same.
    """
    if not result or all(value is None for value in result.values()):
        raise ConfigurationError(
            f"Task {task} has no result: it was marked as success without having run, or its XCom was deleted. Clear "
            f"{task}, together with the tasks after it."
        )
    return result


__all__ = ["required"]
