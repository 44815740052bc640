"""The scanners of the simulated Tenable: Tenable's own, groups, and machines that link themselves.

A machine that boots appears in the list once its link command has run: first off, then on, then with plugins, each
after so many seconds of real time (`POST /_sandbox/scanners`).
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.tenable.access import Endpoint, User
from sandbox.tenable.answers import error
from sandbox.web import bad_request, read_json

if TYPE_CHECKING:
    from sandbox.tenable.server import Tenable

OPERATIONS = ("scanners", "scanner", "linking_key", "delete_scanner", "scanner_scans")
CONTAINER = "00000000-0000-0000-0000-00000000000000000000000000001"
LINKING_KEY = "5a" * 32
_FIRST_MACHINE = 1001


@dataclass(slots=True)
class Machine:
    """A linked Nessus. Times are real seconds since it was booted; None: never.

    :ivar appears_after: until it is in the list, linked and off
    :ivar online_after: until it is on
    :ivar plugins_after: until it has loaded plugins
    :ivar scans: names of the scans it runs
    """

    id: int
    uuid: str
    name: str
    created: int
    aws: bool = False
    booted: float = field(default_factory=time.monotonic)
    appears_after: float | None = 0.0
    online_after: float | None = 0.0
    plugins_after: float | None = 0.0
    scans: list[str] = field(default_factory=list)

    def has(self, seconds: float | None) -> bool:
        """Whether so many seconds have passed since the boot."""
        return seconds is not None and time.monotonic() - self.booted >= seconds


class Scanners:
    """The container's scanners and its linking key."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.linking_key = LINKING_KEY
        self.machines: dict[int, Machine] = {}
        self.refused_keys = 0
        self._next = _FIRST_MACHINE

    def boot(self, order: Any) -> Machine | None:
        """A machine runs the link command: `{"name", "key", "aws", "appears_after", "online_after", "plugins_after",
        "scans"}`. None when its key is wrong, as after a new one was generated; ValueError says what is wrong with the
        order.
        """
        known = {"name", "key", "aws", "appears_after", "online_after", "plugins_after", "scans", "created"}
        if not isinstance(order, dict) or not isinstance(order.get("name"), str) or order.keys() - known:
            raise ValueError(f"The body is an object with a name; known are {', '.join(sorted(known))}.")
        if order.get("key", self.linking_key) != self.linking_key:
            self.refused_keys += 1
            return None
        arguments = {name: value for name, value in order.items() if name not in ("key", "created")}
        machine = Machine(
            id=self._next, uuid=str(uuid.uuid4()), created=int(order.get("created") or self._now()), **arguments
        )
        self._next += 1
        self.machines[machine.id] = machine
        return machine

    def listed(self) -> list[dict[str, Any]]:
        """The entries of GET /scanners."""
        return [
            self._own("US Cloud Scanner", CONTAINER, 1, "pool"),
            self._own(
                "EU Frankfurt Cloud Scanners", "26e9266b-d42e-4f77-877f-3164bce652c4db3eac57471272de", 2, "local"
            ),
            *(self.entry(machine) for machine in self.machines.values() if machine.has(machine.appears_after)),
        ]

    def entry(self, machine: Machine) -> dict[str, Any]:
        """A machine as the list shows it; what it does not have yet is left out, as in recordings."""
        is_on = machine.has(machine.online_after)
        return {
            "creation_date": machine.created,
            "group": False,
            "id": machine.id,
            "key": self.linking_key,
            "last_connect": int(self._now()) if is_on else None,
            "last_modification_date": machine.created,
            "linked": 1,
            "name": machine.name,
            "network_name": "Default",
            "num_scans": len(machine.scans),
            "pool": False,
            "scan_count": len(machine.scans),
            "source": "service",
            "status": "on" if is_on else "off",
            "timestamp": machine.created,
            "type": "managed",
            "user_permissions": 128,
            "uuid": machine.uuid,
            "platform": "LINUX",
            "engine_version": "10.9.1",
            **({"loaded_plugin_set": "202611260605"} if machine.has(machine.plugins_after) and is_on else {}),
        }

    def _own(self, name: str, scanner_uuid: str, number: int, kind: str) -> dict[str, Any]:
        return {
            "creation_date": 1500743403,
            "group": True,
            "id": number,
            "key": self.linking_key,
            "last_connect": None,
            "linked": 1,
            "name": name,
            "network_name": "Default",
            "num_scans": 0,
            "owner": "system",
            "pool": True,
            "source": "service",
            "status": "on",
            "type": kind,
            "user_permissions": 64,
            "uuid": scanner_uuid,
        }


def scanner_routes(tenable: "Tenable", endpoint: Endpoint) -> list[BaseRoute]:
    """The scanner endpoints, and the order that boots a machine."""

    async def every(_: Request, user: User) -> Response:
        return JSONResponse({"scanners": tenable.scanners.listed()}) if user.may_manage else _no_right()

    async def key(request: Request, user: User) -> Response:
        if not user.may_manage:
            return _no_right()
        if request.path_params["uuid"] != CONTAINER:
            return _unknown(request.path_params["uuid"])
        return JSONResponse({"key": tenable.scanners.linking_key})

    async def one(request: Request, user: User) -> Response:
        number = request.path_params["id"]
        entry = next((entry for entry in tenable.scanners.listed() if entry["id"] == number), None)
        if not user.may_manage:
            return _no_right()
        # GET of an unknown one has no body at all (recorded in 2018).
        return JSONResponse(entry) if entry else Response(status_code=404)

    async def delete(request: Request, user: User) -> Response:
        number = request.path_params["id"]
        if not user.may_manage or number in (1, 2):
            return _no_right()
        return JSONResponse({}) if tenable.scanners.machines.pop(number, None) else _unknown(number)

    async def scans(request: Request, user: User) -> Response:
        number = request.path_params["id"]
        machine = tenable.scanners.machines.get(number)
        if not user.may_manage:
            return _no_right()
        if machine is None and number not in (1, 2):
            return _unknown(number)
        return JSONResponse({"scans": [_scan(name) for name in (machine.scans if machine else [])]})

    async def order(request: Request) -> Response:
        try:
            machine = tenable.scanners.boot(await read_json(request))
        except (ValueError, TypeError) as problem:
            return bad_request(problem)
        return JSONResponse({"linked": machine is not None, "id": machine and machine.id})

    async def change(request: Request) -> Response:
        body = await read_json(request)
        machine = tenable.scanners.machines.get(request.path_params["id"])
        if machine is None or not isinstance(body, dict) or not isinstance(body.get("scans"), list):
            return bad_request('The body is {"scans": [names]}, of a machine that is there.')
        machine.scans = [str(name) for name in body["scans"]]
        return JSONResponse({"scans": machine.scans})

    return [
        Route("/scanners", endpoint("scanners", every)),
        Route("/scanners/{id:int}", endpoint("scanner", one), methods=["GET"]),
        Route("/scanners/{id:int}", endpoint("delete_scanner", delete), methods=["DELETE"]),
        Route("/scanners/{id:int}/scans", endpoint("scanner_scans", scans)),
        Route("/scanners/{uuid}/key", endpoint("linking_key", key)),
        Route("/_sandbox/scanners", order, methods=["POST"]),
        Route("/_sandbox/scanners/{id:int}", change, methods=["POST"]),
    ]


def _scan(name: str) -> dict[str, Any]:
    return {"scan_id": 36, "scanner_uuid": CONTAINER, "name": name, "status": "running", "id": str(uuid.uuid4())}


def _unknown(name: object) -> Response:
    return error(404, f"Scanner with id {name} not found.")


def _no_right() -> Response:
    return error(403, "Insufficient scope")
