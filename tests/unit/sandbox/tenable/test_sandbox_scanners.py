"""The sandbox's scanners: as strict as Tenable's, and machines that come online step by step."""

from running_tenable import Running

from sandbox.tenable.access import ACCESS_KEY, NO_MANAGE, SECRET_KEY
from sandbox.tenable.scanners import CONTAINER, LINKING_KEY


def machines(running: Running) -> list[dict[str, object]]:
    entries = running.http.get("/scanners").json()["scanners"]
    return [entry for entry in entries if entry["type"] == "managed"]


def test_a_machine_is_first_off_then_on_then_has_plugins(running: Running) -> None:
    assert running.control("scanners", {"name": "a", "appears_after": 3600}) == {"linked": True, "id": 1001}
    running.control("scanners", {"name": "b", "online_after": None})
    running.control("scanners", {"name": "c", "plugins_after": None})
    running.control("scanners", {"name": "d"})
    states = [(entry["name"], entry["status"], "loaded_plugin_set" in entry) for entry in machines(running)]
    assert states == [("b", "off", False), ("c", "on", False), ("d", "on", True)]


def test_a_wrong_key_links_nothing(running: Running) -> None:
    assert running.control("scanners", {"name": "a", "key": "0" * 64}) == {"linked": False, "id": None}
    assert machines(running) == []
    assert running.http.get(f"/scanners/{CONTAINER}/key").json() == {"key": LINKING_KEY}


def test_deleting(running: Running) -> None:
    number = running.control("scanners", {"name": "a", "scans": ["Nightly"]})["id"]
    assert [scan["name"] for scan in running.http.get(f"/scanners/{number}/scans").json()["scans"]] == ["Nightly"]
    assert running.http.delete(f"/scanners/{number}").status_code == 200
    gone = running.http.delete(f"/scanners/{number}")
    assert (gone.status_code, gone.json()["message"]) == (404, f"Scanner with id {number} not found.")
    assert running.http.get(f"/scanners/{number}").content == b""
    assert running.http.delete("/scanners/1").status_code == 403


def test_only_a_scan_manager_sees_scanners(running: Running) -> None:
    keys = {"X-ApiKeys": f"accessKey={NO_MANAGE}{ACCESS_KEY};secretKey={SECRET_KEY}"}
    for path in ("/scanners", "/scanners/1", "/scanners/1/scans", f"/scanners/{CONTAINER}/key"):
        answer = running.http.get(path, headers=keys)
        assert (answer.status_code, answer.json()["message"]) == (403, "Insufficient scope")


def test_an_order_that_cannot_be_understood(running: Running) -> None:
    for order in ({}, [], {"name": 5}, {"name": "a", "colour": "red"}):
        assert running.http.post("/_sandbox/scanners", json=order).status_code == 400
