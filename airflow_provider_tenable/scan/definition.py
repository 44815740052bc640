"""A scan's configuration: from an operator's arguments to the body of ``POST /scans``.

Tenable does not apply the defaults of its user interface to API calls, so a scan has the settings that are given here
and nothing else.

.. seealso:: https://developer.tenable.com/reference/scans-create
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.tenable_vm.credentials import Credential
from airflow_provider_tenable.tenable_vm.scans import LONGEST_NAME

MANAGED = "managed by Airflow: "
AUTO_ROUTED = "AUTO-ROUTED"
#: Settings that have an argument of their own.
_OWN = frozenset({"name", "description", "text_targets", "tag_targets", "scanner_id", "folder_id", "policy_id"})


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What a scan consists of.

    :ivar template_uuid: of the scan's template.
    :ivar tag_targets: uuids of asset tags.
    :ivar settings: further settings, as the API names them.
    :ivar audits: ``audits`` of the body, such as ``{"feed": {"add": [{"id": ..., "variables": {...}}]}}``.
    :ivar scanner_id: uuid of a scanner or a group, or ``AUTO-ROUTED``.
    :ivar schedule: ``{"starttime", "rrules", "timezone"}``; Tenable launches the scan then.
    """

    name: str
    template_uuid: str
    description: str = ""
    targets: Sequence[str] = ()
    tag_targets: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    credentials: Sequence[Credential] = ()
    audits: Mapping[str, Any] | None = None
    scanner_id: str | None = None
    network_uuid: str | None = None
    folder_id: int | None = None
    policy_id: int | None = None
    schedule: Mapping[str, str] | None = None
    enabled_plugins: Sequence[int] = ()

    def body(self, manager: str) -> dict[str, Any]:
        """The body of the request.

        :param manager: ``{dag_id}.{task_id}`` of the task that manages the scan; its mark ends the description.
        :raises ConfigurationError: the name is empty or too long, or a setting has an argument of its own.
        """
        body = self._body()
        body["settings"]["description"] = self.description
        mark = f"{mark_of(manager)} [{_digest(body)}]"
        body["settings"]["description"] = f"{self.description}\n{mark}".strip()
        return body

    def _body(self) -> dict[str, Any]:
        if not self.name.strip() or len(self.name) > LONGEST_NAME:
            raise ConfigurationError(f"A scan needs a name of at most {LONGEST_NAME} characters.")
        own = sorted(_OWN & self.settings.keys())
        if own:
            raise ConfigurationError(
                f"The settings of scan {safe(self.name, 100)!r} contain {', '.join(own)}. Use the arguments of the "
                "operator for them."
            )
        settings: dict[str, Any] = {**self.settings, "name": self.name}
        optional: dict[str, Any] = {
            "text_targets": ",".join(_checked_targets(self.targets)),
            "tag_targets": list(self.tag_targets),
            "scanner_id": self.scanner_id,
            "target_network_uuid": self.network_uuid,
            "folder_id": self.folder_id,
            "policy_id": self.policy_id,
        }
        settings.update({name: value for name, value in optional.items() if value})
        if self.schedule is not None:
            settings.update({**self.schedule, "enabled": True})
        body: dict[str, Any] = {"uuid": self.template_uuid, "settings": settings}
        if self.credentials:
            body["credentials"] = {"add": _by_type(self.credentials)}
        if self.audits:
            body["audits"] = dict(self.audits)
        if self.enabled_plugins:
            body["enabled_plugins"] = [int(plugin) for plugin in self.enabled_plugins]
        return body


def mark_of(manager: str) -> str:
    """What the description of a managed scan contains."""
    return f"{MANAGED}{manager}"


def is_managed_by(description: str, manager: str) -> bool:
    """Whether the description says that this task manages the scan."""
    return f"{mark_of(manager)} [" in description


def is_unchanged(description: str, body: Mapping[str, Any]) -> bool:
    """Whether the scan was last written from these arguments: its description contains their digest."""
    return body["settings"]["description"].rpartition("[")[2] in description


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]


def _checked_targets(targets: Iterable[str]) -> list[str]:
    """Targets are sent as one text separated by commas, which Tenable does not check."""
    checked = []
    for target in targets:
        text = str(target).strip()
        if not text or "," in text or not text.isprintable():
            raise ConfigurationError(
                f"{safe(repr(target), 100)} is not a target. Give a list of addresses, ranges, networks or host names."
            )
        checked.append(text)
    return checked


def _by_type(credentials: Iterable[Credential]) -> dict[str, dict[str, list[dict[str, str]]]]:
    """Category -> type -> credentials."""
    added: dict[str, dict[str, list[dict[str, str]]]] = {}
    for credential in credentials:
        added.setdefault(credential.category, {}).setdefault(credential.type, []).append({"id": credential.uuid})
    return added
