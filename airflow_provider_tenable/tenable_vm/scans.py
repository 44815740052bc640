"""Scans and their templates: find, create, change, delete. Runs: :mod:`.scan_runs`; results as files:
:mod:`.scan_exports`.

.. seealso:: https://developer.tenable.com/reference/scans-create
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_tenable.exceptions import ConfigurationError, NotFoundError, TemporaryError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.tenable_vm.calls import Caller, Special
from airflow_provider_tenable.tenable_vm.json_fields import number, object_in, objects_in, text
from airflow_provider_tenable.tenable_vm.scan_ids import is_long_id, is_number, is_schedule_uuid, scan_path
from airflow_provider_tenable.tenable_vm.scanners import ScannersApi

if TYPE_CHECKING:
    from tenable.io import TenableIO

NEEDS = (
    "role Standard to create scans (Scan Operator with a policy), Scan Operator to use them, Scan Manager to delete "
    "them, and the matching permission on the scan"
)
_CREATING = Special(
    hints={403: "The answer is the same if the container has 10,000 scans, its limit: delete some that nobody uses"}
)
#: The longest name that Tenable is known to take.
LONGEST_NAME = 512


@dataclass(frozen=True)
class Template:
    """A scan template: ``basic``, ``advanced``, ``cloud_audit`` and others."""

    name: str
    uuid: str
    title: str


@dataclass(frozen=True)
class Folder:
    """A folder of the API user."""

    id: int
    name: str


@dataclass(frozen=True)
class Scan:
    """A scan's configuration.

    :ivar id: number of the scan; some calls accept nothing else.
    :ivar schedule_uuid: the id that Tenable recommends, mostly ``template-...``.
    :ivar owner: name of the user who owns it.
    """

    id: int
    schedule_uuid: str
    name: str
    owner: str = ""

    @property
    def label(self) -> str:
        """The name for messages: quoted and bounded."""
        return repr(safe(self.name, 100))


class ScansApi:
    """Calls about scans.

    :param client: pyTenable's client.
    :param once: a client that never repeats a request, for calls that must not be carried out twice.
    :param name: what messages call the source of the client, such as its connection.
    """

    def __init__(self, client: TenableIO, *, once: TenableIO, name: str) -> None:
        self._client = client
        self._once = once
        self._name = name
        self._calls = Caller(client, name=name, needs=NEEDS)
        self._calls_once = Caller(once, name=name, needs=NEEDS, repeats=0)

    def templates(self) -> dict[str, Template]:
        """The scan templates by name."""
        answer = self._calls.json("list the scan templates", self._client.get, "editor/scan/templates")
        listed = objects_in(answer, "templates", "scan templates")
        return {
            str(item["name"]): Template(text(item["name"]), str(item["uuid"]), text(item.get("title")))
            for item in listed
            if isinstance(item.get("name"), str) and is_long_id(item.get("uuid"))
        }

    def template(self, wanted: str) -> Template:
        """A template by name or title. Its uuid is looked up each time, since Tenable does not promise to keep it.

        :raises NotFoundError: there is none; the message lists those that exist.
        """
        templates = self.templates()
        titled = [template for template in templates.values() if template.title == wanted]
        found = templates.get(wanted) or (titled[0] if titled else None)
        if found is None:
            names = safe(", ".join(sorted(templates)), 1_000)
            raise NotFoundError(f"There is no scan template {safe(wanted, 100)!r}. Tenable has: {names}.")
        return found

    def template_details(self, template: Template) -> dict[str, Any]:
        """What a template offers: its settings, credentials and audit files."""
        path = f"editor/scan/templates/{template.uuid}"
        what = f"read the scan template {template.name}"
        return object_in(self._calls.json(what, self._client.get, path), "a scan template")

    def folders(self) -> list[Folder]:
        """The API user's folders."""
        return self._list(None)[1]

    def find(self, name: str, *, folder: str | None = None) -> list[Scan]:
        """The scans of this exact name that the API user can see; Tenable allows several.

        :param folder: name of the folder to look into.
        :raises NotFoundError: there is no such folder.
        """
        folder_id = None if folder is None else self.folder(folder).id
        return [scan for scan in self._list(folder_id)[0] if scan.name == name]

    def folder(self, name: str) -> Folder:
        """A folder by its name. :raises NotFoundError: the API user has none of this name."""
        folders = self.folders()
        for folder in folders:
            if folder.name == name:
                return folder
        names = safe(", ".join(sorted(folder.name for folder in folders)), 500)
        raise NotFoundError(f"The API user has no folder {safe(name, 100)!r}. There are: {names}.")

    def scan(self, reference: Any) -> Scan:
        """A scan by what users have of it: the XCom of another operator, its number, its schedule uuid, or ``name:``
        and its name.

        :raises NotFoundError: there is none.
        :raises ConfigurationError: there are several of this name, or this is not a reference to a scan.
        """
        if isinstance(reference, Scan):
            return reference
        if isinstance(reference, dict):
            reference = reference.get("schedule_uuid") or reference.get("id")
        if isinstance(reference, str) and reference.startswith("name:"):
            return self._only(self.find(reference.removeprefix("name:")), reference.removeprefix("name:"))
        scan_path(reference)
        for scan in self._list(None)[0]:
            if str(reference) in (str(scan.id), scan.schedule_uuid):
                return scan
        raise NotFoundError(
            f"Tenable lists no scan {safe(reference, 100)}: it was deleted, or the API user may not see it."
        )

    def _only(self, found: list[Scan], name: str) -> Scan:
        if not found:
            raise NotFoundError(
                f"There is no scan named {safe(name, 100)!r}, or the API user may not see it ('Can View')."
            )
        if len(found) > 1:
            ids = ", ".join(str(scan.id) for scan in found)
            raise ConfigurationError(
                f"There are {len(found)} scans named {safe(name, 100)!r} (ids {safe(ids, 200)}). Rename one of them, "
                "or give the scan by its id."
            )
        return found[0]

    def scanner_id(self, wanted: str) -> str:
        """The uuid of a scanner or scanner group by its name; a uuid and ``AUTO-ROUTED`` are returned as they are.

        Only a name needs the list of scanners, and so an API user with the role Scan Manager.

        :raises NotFoundError: there is none; the message lists those that exist.
        :raises ConfigurationError: several have this name.
        """
        if wanted == "AUTO-ROUTED" or is_long_id(wanted):
            return wanted
        scanners = ScannersApi(self._client, name=self._name).all()
        found = [scanner.uuid for scanner in scanners if scanner.name == wanted]
        if not found:
            names = safe(", ".join(sorted(scanner.name for scanner in scanners)), 500)
            raise NotFoundError(f"There is no scanner {safe(wanted, 100)!r}. Tenable has: {names}.")
        if len(found) > 1:
            raise ConfigurationError(f"Several scanners are named {safe(wanted, 100)!r}. Give the uuid of one.")
        return found[0]

    def owner(self) -> str:
        """The name under which Tenable lists scans of the API user."""
        session = object_in(self._calls.json("identify the user", self._client.get, "session"), "the user")
        return text(session.get("username"))

    def description(self, scan: Scan) -> str:
        """A scan's description, as its editor shows it."""
        return text(self.settings(scan)[1].get("description"), 4_000)

    def settings(self, scan: Scan) -> tuple[str, dict[str, Any]]:
        """The uuid of a scan's template, and its present settings as the editor shows them (``GET /editor/scan/{id}``,
        which takes the number only).
        """
        answer = object_in(
            self._calls.json(
                f"read the settings of scan {scan.label}", self._client.get, f"editor/scan/{int(scan.id)}"
            ),
            "the scan's settings",
        )
        found: dict[str, Any] = {}
        rest = [answer.get("settings")]
        while rest:
            each = rest.pop()
            if isinstance(each, dict):
                if isinstance(each.get("id"), str) and each.get("default") is not None:
                    found[each["id"]] = each["default"]
                rest += each.values()
            elif isinstance(each, list):
                rest += each
        return str(answer.get("uuid")), found

    def change_settings(self, scan: Scan, settings: Mapping[str, str]) -> None:
        """Change some settings, and leave all else as it is.

        Whether settings that a request leaves out stay as they are is not documented, so the present ones are sent
        with them. Credentials and audits are given as changes (``add``, ``edit``, ``delete``): without any, they stay.
        """
        uuid, present = self.settings(scan)
        if not is_long_id(uuid):
            raise TemporaryError(f"Tenable's response about the settings of scan {scan.label} contains no uuid.")
        self.update(scan, {"uuid": uuid, "settings": {**present, **settings}})

    def create(self, body: dict[str, Any]) -> Scan:
        """Create a scan. Never repeated by the client: Tenable would create a second one of the same name.

        :param body: ``{"uuid", "settings", "credentials", "audits", "plugins"}``, see
            :mod:`airflow_provider_tenable.scan.definition`.
        :raises TemporaryError: also if it is unknown whether the scan was created; :meth:`find` shows it.
        """
        answer = self._calls_once.json(
            f"create scan {_name_in(body)!r}", self._once.post, "scans", json=body, special=_CREATING
        )
        return _created(answer)

    def create_remediation(self, body: dict[str, Any]) -> Scan:
        """Create a remediation scan: as :meth:`create`, with ``enabled_plugins`` (``POST /scans/remediation``)."""
        what = f"create remediation scan {_name_in(body)!r}"
        answer = self._calls_once.json(what, self._once.post, "scans/remediation", json=body, special=_CREATING)
        return _created(answer)

    def find_remediation(self, name: str) -> list[Scan]:
        """The remediation scans of this exact name among the 200 most recent."""
        answer = self._calls.json(
            "list the remediation scans",
            self._client.get,
            "scans/remediation",
            params={"limit": 200, "offset": 0, "sort": "scan_creation_date:desc"},
        )
        listed = [_scan(item) for item in objects_in(answer, "scans", "remediation scans")]
        return [scan for scan in listed if scan and scan.name == name]

    def update(self, scan: Scan, body: dict[str, Any]) -> Scan:
        """Replace a scan's configuration."""
        what = f"update scan {scan.label}"
        answer = object_in(self._calls.json(what, self._client.put, scan_path(scan.id), json=body), "the updated scan")
        return _scan(answer) or scan

    def delete(self, scan: object) -> bool:
        """Delete a scan. :return: whether it was there.

        :raises ConflictError: it runs, pauses or stops.
        """
        path = scan_path(scan)
        try:
            self._calls.done(f"delete scan {scan}", self._client.delete, path)
        except NotFoundError:
            return False
        return True

    def upload(self, name: str, file: IO[bytes]) -> str:
        """Upload a file for a scan, such as an audit file. :return: the name by which settings refer to it."""
        answer = self._calls_once.json(
            f"upload {safe(name, 100)}", self._once.post, "file/upload", files={"Filedata": (name, file)}
        )
        uploaded = object_in(answer, "the uploaded file").get("fileuploaded")
        if not isinstance(uploaded, str) or not uploaded:
            raise TemporaryError("Tenable's response to the upload of a file contains no name of the file.")
        return uploaded

    def _list(self, folder_id: int | None) -> tuple[list[Scan], list[Folder]]:
        # Without the filters by date: they select by execution, so a scan that never ran would be missing.
        params = {} if folder_id is None else {"folder_id": folder_id}
        answer = self._calls.json("list the scans", self._client.get, "scans", params=params)
        scans = [_scan(item) for item in objects_in(answer, "scans", "scans")]
        folders = [
            Folder(int(item["id"]), item["name"])
            for item in objects_in(answer, "folders", "folders")
            if is_number(item.get("id")) and isinstance(item.get("name"), str)
        ]
        return [scan for scan in scans if scan], folders


def _name_in(body: dict[str, Any]) -> str:
    return safe(body.get("settings", {}).get("name", ""), 100)


def _created(answer: Any) -> Scan:
    created = object_in(answer, "the new scan").get("scan")
    scan = _scan(created) if isinstance(created, dict) else None
    if scan is None:
        raise TemporaryError("Tenable's response to the creation of a scan does not contain the scan's id and uuid.")
    return scan


def _scan(item: dict[str, Any]) -> Scan | None:
    """A scan in an answer, or None if its ids are not valid.

    Lists have the schedule's uuid in ``schedule_uuid`` (``uuid`` is the newest run's), other answers in ``uuid``.
    """
    schedule, scan_id = item.get("schedule_uuid") or item.get("uuid"), number(item.get("id"))
    if not is_schedule_uuid(schedule) or not scan_id:
        return None
    name = item.get("name")
    return Scan(scan_id, str(schedule), name if isinstance(name, str) else "", text(item.get("owner")))
