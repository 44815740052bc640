"""The params of a run, checked: what a DAG run, a backfill or a person may choose."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import LONGEST_MESSAGE, quoted
from airflow_provider_tenable.tenable_vm.records import SEVERITIES

STATES = ("open", "reopened", "fixed")

DEFAULTS: dict[str, Any] = {
    "batch_size": 100,
    "since": None,
    "until": None,
    "severities": ["high", "critical"],
    "states": list(STATES),
    "destinations": [{"aws_conn_id": "aws_default", "accounts": "*", "role_name": None, "region": None}],
    "region_routing": "fixed",
    "accepted_risks": "archive",
    "non_ec2_assets": "skip",
    "max_rejected_ratio": 0.01,
    "dry_run": False,
}


class Settings(Struct, frozen=True):
    """A run's params. Names and meanings as in the DAG's form."""

    batch_size: int
    severities: tuple[str, ...]
    states: tuple[str, ...]
    region_routing: str
    accepted_risks: str
    non_ec2_assets: str
    max_rejected_ratio: float
    dry_run: bool


def parse_settings(params: dict[str, Any]) -> Settings:
    """Check the params once more: those of a backfill, a trigger by another DAG or ``dag.test`` do not all come through the form.

    :raises ConfigurationError: naming the param, what it is, and what it may be.
    """
    value = {**DEFAULTS, **params}
    return Settings(
        batch_size=_number(value, "batch_size", 1, 100, whole=True),
        severities=_several(value, "severities", SEVERITIES),
        states=_several(value, "states", STATES),
        region_routing=_one(value, "region_routing", ("fixed", "resource")),
        accepted_risks=_one(value, "accepted_risks", ("archive", "import")),
        non_ec2_assets=_one(value, "non_ec2_assets", ("skip", "other")),
        max_rejected_ratio=_number(value, "max_rejected_ratio", 0, 1),
        dry_run=_boolean(value, "dry_run"),
    )


def narrowed(settings: Settings, defaults: dict[str, Any]) -> bool:
    """Whether a run leaves out records, or kinds of assets, that the DAG's own defaults export: then the watermark may not pass them.

    :param defaults: the DAG's params as they stand in the DAG.
    """
    usual = parse_settings(defaults)
    return not (
        set(usual.severities) <= set(settings.severities)
        and set(usual.states) <= set(settings.states)
        and settings.non_ec2_assets in (usual.non_ec2_assets, "other")
    )


def _number(value: dict[str, Any], name: str, least: float, most: float, *, whole: bool = False) -> Any:
    number = value[name]
    if isinstance(number, bool) or not isinstance(number, int if whole else (int, float)) or not least <= number <= most:
        kind = "a whole number" if whole else "a number"
        raise ConfigurationError(f"{name} is {quoted(number, LONGEST_MESSAGE)}; it must be {kind} from {least:g} to {most:g}.")
    return number


def _one(value: dict[str, Any], name: str, known: tuple[str, ...]) -> str:
    if value[name] not in known:
        raise ConfigurationError(f"{name} is {quoted(value[name], LONGEST_MESSAGE)}; it must be one of {', '.join(known)}.")
    return str(value[name])


def _several(value: dict[str, Any], name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    chosen = value[name]
    if not isinstance(chosen, (list, tuple)) or not chosen or not set(map(str, chosen)) <= set(known):
        raise ConfigurationError(f"{name} is {quoted(chosen, LONGEST_MESSAGE)}; it must be a list of at least one of {', '.join(known)}.")
    return tuple(name for name in known if name in chosen)


def _boolean(value: dict[str, Any], name: str) -> bool:
    if not isinstance(value[name], bool):
        raise ConfigurationError(f"{name} is {quoted(value[name], LONGEST_MESSAGE)}; it must be true or false.")
    return bool(value[name])
