"""How far a machine has come on its way to a scanner that can scan: listed, on, with plugins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.tenable_vm.scanners import Scanner, the_machine

#: Tenable's clock and EC2's may differ by so many seconds.
CLOCK_SLACK = 300.0


class Step(StrEnum):
    """The steps, in their order."""

    ABSENT = "absent"
    OFF = "off"
    WITHOUT_PLUGINS = "without plugins"
    OLD_PLUGINS = "old plugins"
    READY = "ready"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The scanner that is waited for.

    :ivar since: unix seconds at which its machine was launched; entries from before are those of other machines.
    :ivar max_plugin_age_hours: plugins may be so old; None: any.
    """

    name: str | None = None
    uuid: str | None = None
    since: float | None = None
    require_plugins: bool = True
    max_plugin_age_hours: float | None = None

    @property
    def title(self) -> str:
        """How messages call it."""
        return safe(self.name or self.uuid or "?", 100)


def step_of(scanners: list[Scanner], wanted: Wanted, *, now: float) -> tuple[Step, Scanner | None]:
    """How far a scanner has come.

    :raises ConfigurationError: the name is that of several scanners.
    """
    since = None if wanted.since is None else wanted.since - CLOCK_SLACK
    scanner = the_machine(scanners, name=wanted.name, uuid=wanted.uuid, since=since)
    if scanner is None:
        return Step.ABSENT, None
    if not (scanner.linked and scanner.online) or (since is not None and (scanner.last_connect or 0) < since):
        return Step.OFF, scanner
    if not wanted.require_plugins:
        return Step.READY, scanner
    if scanner.plugin_set is None:
        return Step.WITHOUT_PLUGINS, scanner
    oldest = wanted.max_plugin_age_hours
    if oldest is not None and _time_of(scanner.plugin_set) < now - oldest * 3600:
        return Step.OLD_PLUGINS, scanner
    return Step.READY, scanner


def in_words(step: Step, wanted: Wanted, scanner: Scanner | None, *, minutes: float, host: str, instance: str) -> str:
    """What a time-out says: how far the scanner came, and what usually stops it there.

    :param host: where the scanner links to.
    :param instance: the state of its instance in words; empty if it is unknown.
    """
    name, waited = wanted.title, f"{minutes:.0f} min"
    if step == Step.ABSENT:
        return (
            f"No scanner {name} appeared in Tenable within {waited}.{instance} Usual causes: no network path to "
            f"{host}:443, an old linking key, or a Nessus that was linked before."
        )
    if step == Step.OFF:
        seen = scanner.last_connect if scanner else None
        since = f"off since {datetime.fromtimestamp(seen, UTC):%Y-%m-%d %H:%M} UTC" if seen else "has never been on"
        link = "" if scanner and scanner.linked else " Its link is disabled in Tenable."
        return f"Scanner {name} is linked, but {since}.{link}{instance} Is its machine running?"
    if step == Step.WITHOUT_PLUGINS:
        return (
            f"Scanner {name} is on, but has no plugins after {waited}.{instance} It may be waiting for its turn "
            "(Settings > Sensors, concurrent updates), or its disk is full."
        )
    return (
        f"Scanner {name} is on, but its plugins of {scanner.plugin_set if scanner else '?'} are older than "
        f"{wanted.max_plugin_age_hours} h after {waited}.{instance} It may be waiting for its turn to update."
    )


def _time_of(plugin_set: str) -> float:
    """Unix seconds of a plugin set: ``YYYYMMDDhhmm``, shorter in old versions."""
    try:
        return datetime.strptime(f"{plugin_set:0<12}"[:12], "%Y%m%d%H%M").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
