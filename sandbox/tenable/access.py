"""Authorization: key pairs, the right to export, and the rate limit (API docs: authorization, rate limiting)."""

import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

ACCESS_KEY = "sandbox-access-key-000000000001"
SECRET_KEY = "sandbox-secret-key-000000000001"
NO_EXPORT = "noexport-"
NO_VIEW = "noview-"
NO_MANAGE = "nomanage-"
NO_SCAN = "noscan-"
NO_ADMIN = "noadmin-"
TAG_VIEW = "tagview-"
_WINDOW = 60.0


@dataclass(frozen=True, slots=True)
class User:
    """The user behind a key pair. Without "Can View" exports are empty without an error, as with Tenable."""

    access_key: str
    may_export: bool = True
    can_view: bool = True
    may_manage: bool = True
    may_scan: bool = True
    is_administrator: bool = True
    views: tuple[str, ...] = ("AllAssets",)

    @property
    def role(self) -> int:
        """The number of its role: Administrator, Scan Manager or Basic."""
        if not (self.may_export and self.can_view):
            return 16
        return 64 if self.is_administrator else 40


Call = Callable[[Request, User], Awaitable[Response]]
"""What answers a request of an authorized user."""
Endpoint = Callable[[str, Call], Callable[[Request], Awaitable[Response]]]
"""Makes the handler of a route from the name of its operation and what answers it."""


class Keys:
    """The valid key pair, and users with fewer rights that share its secret key.

    `noexport-{access key}` may not export (403), `noview-{access key}` sees no assets, `nomanage-{access key}` is below
    the role Scan Manager (403 for scanners), `noscan-{access key}` may not create and launch scans (403),
    `noadmin-{access key}` is a Scan Manager (403 for connectors), and `tagview-{access key}` is one that has "Can View"
    on the assets of a tag only (so says Tenable of it; its exports are complete).
    """

    def __init__(self, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> None:
        self._secret_key = secret_key
        self._users = {
            access_key: User(access_key),
            NO_EXPORT + access_key: User(NO_EXPORT + access_key, may_export=False),
            NO_VIEW + access_key: User(NO_VIEW + access_key, can_view=False),
            NO_MANAGE + access_key: User(NO_MANAGE + access_key, may_manage=False),
            NO_SCAN + access_key: User(NO_SCAN + access_key, may_scan=False),
            NO_ADMIN + access_key: User(NO_ADMIN + access_key, is_administrator=False),
            TAG_VIEW + access_key: User(TAG_VIEW + access_key, is_administrator=False, views=("Tag",)),
        }

    def user_of(self, header: str | None) -> User | None:
        """The user of an X-ApiKeys header `accessKey=..;secretKey=..`, None when it is missing, malformed or wrong."""
        parts = [part.strip().partition("=") for part in (header or "").split(";") if part.strip()]
        given = {name: value for name, _, value in parts}
        user = self._users.get(given.get("accessKey", ""))
        return user if user and given.get("secretKey") == self._secret_key else None


class RateLimit:
    """Calls per minute and key pair, in a sliding window of real time."""

    def __init__(self) -> None:
        self._calls: defaultdict[str, deque[float]] = defaultdict(deque)

    def allows(self, access_key: str, per_minute: int) -> bool:
        """Count a call; False when it is one too many."""
        calls, now = self._calls[access_key], time.monotonic()
        while calls and calls[0] <= now - _WINDOW:
            calls.popleft()
        if len(calls) >= per_minute:
            return False
        calls.append(now)
        return True

    def clear(self) -> None:
        self._calls.clear()
