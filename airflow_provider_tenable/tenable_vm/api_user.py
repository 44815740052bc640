"""Who the API user is, and which assets it may view.

Sources: API reference (``GET /session``; ``GET /api/v3/access-control/permissions/users/me``), roles as in the
documentation of roles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.tenable_vm.calls import Caller
from airflow_provider_tenable.tenable_vm.http_time import http_date
from airflow_provider_tenable.tenable_vm.json_fields import number, object_in, objects, objects_in, text
from airflow_provider_tenable.tenable_vm.retry import REPEATS

if TYPE_CHECKING:
    from tenable.io import TenableIO

BASIC, ADMINISTRATOR = 16, 64
#: Number of a role -> its name.
ROLES = {
    BASIC: "Basic",
    24: "Scan Operator",
    32: "Standard",
    40: "Scan Manager",
    ADMINISTRATOR: "Administrator",
}
_VIEW = "CanView"
_EVERYTHING = frozenset({"AllAssets", "AllObjects"})
_MOST_TAGS = 1_000


@dataclass(frozen=True)
class ApiUser:
    """The user that the keys belong to.

    :ivar role: the number of its role; None if Tenable gives none.
    :ivar enabled: whether the user is enabled.
    :ivar server_time: Tenable's clock, unix seconds; None if the response has none.
    """

    name: str
    role: int | None
    enabled: bool
    server_time: float | None

    @property
    def role_name(self) -> str:
        return ROLES.get(self.role, f"role {self.role}") if self.role is not None else "an unknown role"

    @property
    def is_administrator(self) -> bool:
        return self.role is not None and self.role >= ADMINISTRATOR


@dataclass(frozen=True)
class Viewable:
    """The assets that a user may view.

    :ivar everything: whether *Can View* applies to all assets.
    :ivar tags: names of the tags whose assets it applies to.
    """

    everything: bool
    tags: tuple[str, ...]


class ApiUserApi:
    """Calls about the API user on one pyTenable client. Parameters as in :class:`~.scanners.ScannersApi`."""

    def __init__(self, client: TenableIO, *, name: str, repeats: int = REPEATS) -> None:
        self._client = client
        self._caller = Caller(client, name=name, needs="the role Basic or higher", repeats=repeats)

    def me(self) -> ApiUser:
        """The user (``GET /session``)."""
        answer, headers = self._caller.answer("identify the user", self._client.get, "session")
        session = object_in(answer, "the user")
        name = text(session.get("username"), 100) or text(session.get("name"), 100) or "an unnamed user"
        return ApiUser(
            name,
            number(session.get("permissions")),
            session.get("enabled") is not False,
            http_date(headers.get("Date")),
        )

    def viewable(self) -> Viewable:
        """The assets that the permissions of the user let it view. An administrator may view all without them."""
        what = "read the user's permissions"
        path = "api/v3/access-control/permissions/users/me"
        answer = self._caller.json(what, self._client.get, path)
        granted = [
            permission
            for permission in objects_in(answer, "permissions_granted", "the user's permissions")
            if _VIEW in _texts(permission.get("actions"))
        ]
        of_view = [entry for permission in granted for entry in objects(permission.get("objects"))]
        tags = {text(entry.get("name"), 100) for entry in of_view[:_MOST_TAGS] if entry.get("type") == "Tag"}
        return Viewable(
            any(entry.get("type") in _EVERYTHING for entry in of_view if isinstance(entry.get("type"), str)),
            tuple(sorted(tags - {""})),
        )


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
