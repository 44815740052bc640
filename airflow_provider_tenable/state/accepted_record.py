"""What a run has done about accepted risks in an account and Region, on record: ``compared/{account}/{region}/``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable.exceptions import DamagedFileError
from airflow_provider_tenable.security_hub.workflow import Key
from airflow_provider_tenable.staging.files import read_json, write_json

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

_RECORD, _TRIED = "accepted.json", "accepted_tried.json"


class AcceptedOutcome(msgspec.Struct):
    """``accepted.json``.

    :ivar parts: (name, findings) of the staged parts that it is about.
    :ivar began: when it was first tried, unix seconds.
    :ivar complete: whether nothing is left to be tried.
    :ivar suppressed: findings that the run has suppressed, or would.
    :ivar reopened: findings that it has set to NEW, or would.
    :ivar kept: those that were suppressed by us before, and still are.
    :ivar left: why findings were left to the person who works on them -> how many.
    :ivar not_done: code -> findings with which it could not be done.
    :ivar why_not: why, where an action is not allowed, or the hub refuses.
    """

    parts: list[tuple[str, int]]
    began: float
    complete: bool = False
    suppressed: int = 0
    reopened: int = 0
    kept: int = 0
    left: dict[str, int] = {}
    not_done: dict[str, int] = {}
    why_not: str = ""


class Tried(msgspec.Struct):
    """``accepted_tried.json``: what a run was about to change, so that a retry counts it too."""

    suppress: list[Key] = []
    reopen: list[Key] = []


def read_outcome(folder: ObjectStoragePath, parts: list[tuple[str, int]]) -> AcceptedOutcome | None:
    """What became of accepted risks; None where nothing is on record for these parts.

    :param folder: ``compared/{account}/{region}``.
    """
    outcome = _read(folder / _RECORD, AcceptedOutcome)
    return outcome if outcome is not None and outcome.parts == parts else None


def write_outcome(folder: ObjectStoragePath, outcome: AcceptedOutcome) -> None:
    """Put on record what became of them so far."""
    write_json(folder / _RECORD, msgspec.to_builtins(outcome))


def read_tried(folder: ObjectStoragePath) -> Tried:
    """What earlier attempts were about to change."""
    return _read(folder / _TRIED, Tried) or Tried()


def write_tried(folder: ObjectStoragePath, tried: Tried) -> None:
    """Put on record what is about to be changed."""
    write_json(folder / _TRIED, msgspec.to_builtins(tried))


def _read(path: ObjectStoragePath, kind: Any) -> Any:
    try:
        value = read_json(path, advice="")
        return None if value is None else msgspec.convert(value, kind)
    except (DamagedFileError, msgspec.ValidationError):
        # The hub says what was done.
        return None


__all__ = ["AcceptedOutcome", "Tried", "read_outcome", "read_tried", "write_outcome", "write_tried"]
