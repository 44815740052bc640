"""What a DAG imports, and how, as far as a full run is needed after a change of it.

Each full run leaves its DAG's scope in the finding index (``scope`` of
:class:`~airflow_provider_tenable.state.registry.Registry`). The next run that may move the watermark compares: where
the scope is another one, it is full, so that it brings what came in, archives what fell out, and sends what is mapped
in another way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2s
from typing import Any

from airflow_provider_tenable import config
from airflow_provider_tenable.asff.title import check_title_format
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.run.owner_rule import owners_of_scope
from airflow_provider_tenable.run.params import RunParam
from airflow_provider_tenable.run.scope_params import SCOPE, values_of
from airflow_provider_tenable.tenable_vm.kinds import COMPLIANCE, VULNERABILITIES
from airflow_provider_tenable.tenable_vm.severities import TENABLE

#: Params that say where findings go: each account and Region has an index of its own.
_PLACES = frozenset({"destinations", "region_routing"})
#: What destinations leave out.
_OF_DESTINATIONS = "scope of destinations"
#: What had this value before it could be chosen. Of everything else, a scope that an older release has left says
#: nothing.
_BEFORE: Mapping[str, Any] = {
    "severity_source": TENABLE,
    "title_format": "",
    "owners": "",
    _OF_DESTINATIONS: None,
    **{name: param.default for name, param in SCOPE.items()},
}


def title_format() -> str:
    """``[tenable] title_format``. :raises ConfigurationError: it cannot be used; the text says why."""
    text: str = config.get("title_format")
    if text:
        try:
            check_title_format(text)
        except ValueError as error:
            raise ConfigurationError(
                f"Option [tenable] title_format is {quoted(text, 200)}: {safe(error)}. Correct "
                "AIRFLOW__TENABLE__TITLE_FORMAT or the option in airflow.cfg, or leave it empty for the plugin's name."
            ) from error
    return text


def scope_of(defaults: Mapping[str, Any], table: Mapping[str, RunParam], kind: str) -> dict[str, str]:
    """The scope of a DAG: name of a param or option -> digest of its value.

    :param defaults: the DAG's own defaults: a run that may move the watermark covers these.
    :param table: its params.
    :param kind: of its records.
    :raises ConfigurationError: an option cannot be used.
    """
    names = [name for name, param in table.items() if param.covers is not None and name not in _PLACES]
    chosen = {name: defaults[name] for name in names}
    if kind == COMPLIANCE.name:
        chosen["audit_severity"] = config.get("audit_severity")
    else:
        chosen["title_format"] = title_format()
    chosen["owners"] = owners_of_scope()
    chosen[_OF_DESTINATIONS] = _scopes_of(defaults["destinations"]) if kind == VULNERABILITIES.name else None
    return {name: _digest(value) for name, value in chosen.items()}


def _scopes_of(destinations: Any) -> Any:
    """What the destinations leave out, and where; None where none of them does."""
    entries = [entry for entry in destinations if isinstance(entry, dict)] if isinstance(destinations, list) else []
    while entries and not entries[-1].get("scope"):
        # What is imported before an entry of this kind does not depend on it.
        entries.pop()
    names = ("accounts", "exclude_accounts", "regions", "scope")
    return json.dumps([[entry.get(name) for name in names] for entry in entries], sort_keys=True) if entries else None


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is different.

    :param before: what the last full run left; empty of an older release.
    """
    known = {**{name: _digest(value) for name, value in _BEFORE.items()}, **before}
    return sorted(name for name, digest in now.items() if known.get(name, digest) != digest)


def _digest(value: Any) -> str:
    # The order of a list of choices means nothing, nor do blank lines of a form; an empty list is none.
    if isinstance(value, (list, tuple)):
        value = sorted(values_of(value)) or None
    return blake2s(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


__all__ = ["changes", "scope_of", "title_format"]
