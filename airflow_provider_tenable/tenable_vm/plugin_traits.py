"""What a scope asks of a plugin: :mod:`airflow_provider_tenable.transform.scope`."""

from __future__ import annotations

from msgspec import Struct


class PluginTraits(Struct, frozen=True, gc=False):
    """Of one plugin.

    :ivar family: as Tenable writes it; empty where it names none.
    :ivar is_known_exploited: whether a CVE of it is in CISA's catalogue of known exploited vulnerabilities.
    :ivar vpr: Tenable's rating, 0 to 10; None where there is none.
    """

    id: int
    family: str = ""
    is_known_exploited: bool = False
    vpr: float | None = None


__all__ = ["PluginTraits"]
