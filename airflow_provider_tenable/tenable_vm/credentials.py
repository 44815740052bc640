"""Managed credentials: find, create, rotate. Their secrets are masked in the logs before a request contains them.

.. seealso:: https://developer.tenable.com/reference/credentials-create
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.exceptions import ConfigurationError, NotFoundError, TemporaryError
from airflow_provider_tenable.guards import redaction
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.uuids import is_uuid
from airflow_provider_tenable.tenable_vm.calls import Caller
from airflow_provider_tenable.tenable_vm.json_fields import number, object_in, objects_in, text

if TYPE_CHECKING:
    from tenable.io import TenableIO

NEEDS = "role Basic or higher, and the permission 'Can Use' (to change it: 'Can Edit') on the managed credential"
_PAGE = 200


@dataclass(frozen=True)
class Credential:
    """A managed credential, without its secrets.

    :ivar category: such as ``Cloud Services`` or ``Host``; scans name a credential by category, type and uuid.
    """

    uuid: str
    name: str
    category: str
    type: str
    description: str = ""


class CredentialsApi:
    """Calls about managed credentials. Parameters as in :class:`~.scans.ScansApi`."""

    def __init__(self, client: TenableIO, *, once: TenableIO, name: str) -> None:
        self._client = client
        self._once = once
        self._calls = Caller(client, name=name, needs=NEEDS)
        self._calls_once = Caller(once, name=name, needs=NEEDS, repeats=0)

    def list(self) -> list[Credential]:
        """All credentials that the user may see."""
        found: list[Credential] = []
        offset = 0
        while True:
            answer = self._calls.json(
                "list the managed credentials",
                self._client.get,
                "credentials",
                params={"limit": _PAGE, "offset": offset},
            )
            listed = objects_in(answer, "credentials", "managed credentials")
            found += [
                Credential(
                    item["uuid"],
                    str(item.get("name")),
                    _id(item.get("category")),
                    _id(item.get("type")),
                    text(item.get("description"), 4_000),
                )
                for item in listed
                if is_uuid(item.get("uuid"))
            ]
            offset += _PAGE
            pages = answer.get("pagination")
            total = number(pages.get("total")) if isinstance(pages, dict) else None
            if not listed or offset >= (total or 0):
                return found

    def credential(self, wanted: str) -> Credential:
        """A credential by name or uuid.

        :raises NotFoundError: there is none; the message lists the names.
        :raises ConfigurationError: several have this name.
        """
        listed = self.list()
        found = [item for item in listed if wanted in (item.uuid, item.name)]
        if not found:
            names = safe(", ".join(sorted(item.name for item in listed)), 500) or "none"
            raise NotFoundError(f"The API user sees no managed credential {safe(wanted, 100)!r}. It sees: {names}.")
        if len(found) > 1:
            raise ConfigurationError(f"Several managed credentials are named {safe(wanted, 100)!r}. Give the uuid.")
        return found[0]

    def find(self, name: str) -> Credential | None:
        """The credential of this exact name; None if the user sees none.

        :raises ConfigurationError: several have this name.
        """
        found = [item for item in self.list() if item.name == name]
        if len(found) > 1:
            raise ConfigurationError(f"Several managed credentials are named {safe(name, 100)!r}. Rename all but one.")
        return found[0] if found else None

    def put(
        self, *, name: str, type: str, settings: dict[str, str], secrets: tuple[str, ...], description: str = ""
    ) -> str:
        """Create a credential, or replace the settings of the one that has this name. :return: its uuid.

        Not pyTenable's ``credentials.edit``: it merges what it reads, and Tenable answers with asterisks for secrets.

        :param settings: all fields of the type, with the secrets.
        :param secrets: the names of the secret fields.
        :param description: also replaced, unless it is empty.
        """
        redaction.remember(*(settings[field] for field in secrets), in_bodies=True)
        existing = self.find(name)
        if existing:
            if existing.type != type:
                raise ConfigurationError(
                    f"The managed credential {safe(name, 100)!r} is of type {safe(existing.type, 60)!r}, not "
                    f"{safe(type, 60)!r}. Use another name."
                )
            what = f"update the managed credential {safe(name, 100)!r}"
            body: dict[str, Any] = {"settings": settings}
            if description:
                body["description"] = description
            answer = object_in(
                self._calls.json(what, self._client.put, f"credentials/{existing.uuid}", json=body),
                "the updated credential",
            )
            if answer.get("updated") is not True:
                raise TemporaryError(f"Tenable does not say that it has updated credential {safe(name, 100)!r}.")
            return existing.uuid
        body = {"name": name, "description": description, "type": type, "settings": settings}
        what = f"create the managed credential {safe(name, 100)!r}"
        uuid = object_in(self._calls_once.json(what, self._once.post, "credentials", json=body), "a credential").get(
            "uuid"
        )
        if not is_uuid(uuid):
            raise TemporaryError("Tenable's response to the creation of a credential contains no uuid.")
        return str(uuid)


def _id(value: Any) -> str:
    return text(value.get("id"), 100) if isinstance(value, dict) else text(value, 100)
