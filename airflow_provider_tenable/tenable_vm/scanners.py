"""The calls of Tenable's scanner API that we use: the list, the linking key, the scans a scanner runs, unlinking.

Sources: API reference (scanners), and the recorded responses in ``tests/data``.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.exceptions import ConfigurationError, NotFoundError, TemporaryError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.redaction import remember
from airflow_provider_tenable.tenable_vm.calls import Caller
from airflow_provider_tenable.tenable_vm.retry import REPEATS

if TYPE_CHECKING:
    from tenable.io import TenableIO

log = logging.getLogger(__name__)

#: What the API user needs for these calls.
_NEEDS = "the role Scan Manager or higher"
#: The scanner whose key is the linking key of the whole container. Its last group has 29 digits (API reference: get
#: scanner key).
_CONTAINER = "00000000-0000-0000-0000-00000000000000000000000000001"
#: Ids of scanners are not always UUIDs: those of Tenable's own scanners have 28 or 29 digits in their last group.
_SCANNER_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12,40}", re.IGNORECASE | re.ASCII)
#: A linking key becomes an argument of a command. All keys seen have 64 hex digits; the documentation says letters and
#: digits.
_LINKING_KEY = re.compile(r"[0-9A-Za-z]{16,256}", re.ASCII)
_PLUGIN_SET = re.compile(r"[0-9]{8,14}", re.ASCII)


@dataclass(frozen=True)
class Scanner:
    """An entry of the list of scanners, without its key.

    :ivar kind: ``managed`` for a linked Nessus, ``local`` and ``pool`` for Tenable's own.
    :ivar online: whether Tenable shows it as on.
    :ivar linked: whether its link is enabled.
    :ivar last_connect: unix seconds; None if it has never connected.
    :ivar plugin_set: the plugins it has loaded, as ``YYYYMMDDhhmm``; None as long as there are none.
    :ivar group: whether the entry is a group of scanners.
    :ivar created: unix seconds; None if unknown.
    """

    id: int
    uuid: str
    name: str
    kind: str = ""
    online: bool = False
    linked: bool = False
    last_connect: int | None = None
    plugin_set: str | None = None
    group: bool = False
    created: int | None = None

    @property
    def is_machine(self) -> bool:
        """Whether it is a linked Nessus, not a group or one of Tenable's own scanners."""
        return self.kind == "managed" and not self.group


def is_scanner_uuid(value: object) -> bool:
    """Whether this can be the uuid of a scanner."""
    return isinstance(value, str) and _SCANNER_UUID.fullmatch(value) is not None


class ScannersApi:
    """Calls about scanners on one pyTenable client.

    :param client: pyTenable's ``TenableIO``.
    :param name: what messages call the source of the client, such as its connection.
    :param repeats: how often a request is repeated whose response is cut off.
    """

    def __init__(self, client: TenableIO, *, name: str, repeats: int = REPEATS) -> None:
        self._client = client
        self._caller = Caller(client, name=name, needs=_NEEDS, repeats=repeats)

    def all(self) -> list[Scanner]:
        """All scanners that the API user sees (``GET /scanners``)."""
        answer = self._caller.json("list the scanners", self._client.get, "scanners")
        entries = answer.get("scanners") if isinstance(answer, dict) else None
        if not isinstance(entries, list):
            raise TemporaryError("Tenable's response about the scanners contains no list of them.")
        read = [scanner_of(entry) for entry in entries]
        if len(entries) > (known := sum(scanner is not None for scanner in read)):
            log.warning("Tenable lists %d scanners without a usable id or name. They are ignored.", len(read) - known)
        return [scanner for scanner in read if scanner is not None]

    def linking_key(self) -> str:
        """The key that links scanners and agents to this container. It is a secret, and masked from now on."""
        answer = self._caller.json("get the linking key", self._client.get, f"scanners/{_CONTAINER}/key")
        key = answer.get("key") if isinstance(answer, dict) else None
        # Not in bodies: the next response with the key would lose it.
        remember(key if isinstance(key, str) else None)
        if not isinstance(key, str) or not _LINKING_KEY.fullmatch(key):
            # The value may be the key all the same, so the message does not quote it.
            raise TemporaryError("Tenable's response about the linking key contains no key of letters and digits.")
        if len(key) != 64:
            log.warning("The linking key has %d characters; Tenable's keys have 64.", len(key))
        return key

    def running_scans(self, scanner_id: int) -> list[str]:
        """The names of the scans that a scanner runs now. A scanner that is gone runs none."""
        what = f"list the scans of scanner {int(scanner_id)}"
        try:
            answer = self._caller.json(what, self._client.get, f"scanners/{int(scanner_id)}/scans")
        except NotFoundError:
            return []
        scans = answer.get("scans") if isinstance(answer, dict) else None
        if not isinstance(scans, list):
            # "None" would let a scanner be deleted in the middle of its scan.
            raise TemporaryError(f"Tenable's response to the request to {what} contains no list of scans.")
        return [safe(scan.get("name") if isinstance(scan, dict) else scan, 100) for scan in scans]

    def delete(self, scanner_id: int) -> bool:
        """Delete and unlink a scanner. :return: whether it was there."""
        try:
            self._caller.done(f"delete scanner {int(scanner_id)}", self._client.delete, f"scanners/{int(scanner_id)}")
        except NotFoundError:
            return False
        return True


def scanner_of(entry: Any) -> Scanner | None:
    """An entry of Tenable's list; None if it has no usable id, uuid or name."""
    if not isinstance(entry, dict):
        return None
    number, uuid, name = entry.get("id"), entry.get("uuid"), entry.get("name")
    if not isinstance(number, int) or isinstance(number, bool) or number < 0 or not is_scanner_uuid(uuid):
        return None
    if not isinstance(name, str) or not name:
        return None
    plugins = entry.get("loaded_plugin_set")
    return Scanner(
        id=number,
        uuid=str(uuid),
        name=name,
        kind=safe(entry.get("type") or "", 40),
        online=entry.get("status") == "on",
        linked=entry.get("linked") in (1, True),
        last_connect=_seconds(entry.get("last_connect")),
        plugin_set=str(plugins) if _PLUGIN_SET.fullmatch(str(plugins or "")) else None,
        group=bool(entry.get("group")) or bool(entry.get("pool")),
        created=_seconds(entry.get("creation_date")),
    )


def _seconds(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def machines(
    scanners: list[Scanner], *, name: str | None = None, uuid: str | None = None, since: float | None = None
) -> list[Scanner]:
    """The linked machines of a name or uuid, the latest first.

    :param since: unix seconds; machines that were linked before are left out, unless they are asked for by uuid.
    """
    found = [
        scanner
        for scanner in scanners
        if scanner.is_machine
        and (scanner.uuid.lower() == uuid.lower() if uuid else scanner.name == name)
        and (uuid or since is None or scanner.created is None or scanner.created >= since)
    ]
    return sorted(found, key=lambda scanner: scanner.created or 0, reverse=True)


def the_machine(
    scanners: list[Scanner], *, name: str | None = None, uuid: str | None = None, since: float | None = None
) -> Scanner | None:
    """The linked machine of a name or uuid; None if there is none.

    Names are not unique in Tenable: a machine that was terminated without being unlinked stays in the list, off. It
    does not count next to one that is online.

    :raises ConfigurationError: several machines of this name are online, or several are off.
    """
    found = machines(scanners, name=name, uuid=uuid, since=since)
    if len(found) > 1:
        found = [scanner for scanner in found if scanner.online] or found
    if len(found) > 1:
        raise ConfigurationError(
            f"Tenable has {len(found)} scanners with the name {safe(name, 100)!r}: "
            f"{', '.join(scanner.uuid for scanner in found[:5])}. Delete those that are gone, or name one by its uuid."
        )
    return found[0] if found else None
