"""The sandbox's scans: as strict as Tenable's, with runs that pass through their statuses on the sandbox's clock."""

import pytest
from running_tenable import Running

from sandbox.tenable.access import ACCESS_KEY, NO_SCAN, SECRET_KEY
from sandbox.tenable.scan_book import TEMPLATES

BODY = {"uuid": TEMPLATES["basic"][1], "settings": {"name": "Weekly", "text_targets": "192.0.2.1"}}
CONDITION = {"filter": "plugin.id", "quality": "eq", "value": "19506"}
AWS_KEYS = {"access_key_id": "AKIA", "secret_key": "secret"}


def create(running: Running, **settings: object) -> dict[str, object]:
    answer = running.http.post("/scans", json={**BODY, "settings": {**BODY["settings"], **settings}})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["scan"])


def launch(running: Running, scan: dict[str, object]) -> str:
    return str(running.http.post(f"/scans/{scan['uuid']}/launch", json={}).json()["scan_uuid"])


def condition(number: int) -> dict[str, str]:
    """A filter of an export."""
    return {f"filter.{number}.{name}": text for name, text in CONDITION.items()}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({**BODY, "uuid": "x"}, "Invalid 'uuid' field"),
        ({**BODY, "settings": {"text_targets": "a"}}, "Invalid 'name' field"),
        ({**BODY, "settings": {"name": "a"}}, "Invalid 'targets' field"),
        ({**BODY, "settings": {"name": "a", "text_targets": ["b"]}}, "Invalid 'text_targets' field"),
        ({**BODY, "colour": 1}, "Unknown: colour"),
        ({**BODY, "settings": {**BODY["settings"], "scanner_id": "1"}}, "Invalid 'scanner_id' field"),
        ({**BODY, "credentials": {"Host": {"SSH": []}}}, "Invalid 'credentials' field"),
        ({**BODY, "credentials": {"add": {"Host": {"SSH": [{"id": "x"}]}}}}, "Invalid credential of Host, SSH"),
    ],
)
def test_a_body_that_tenable_refuses(running: Running, body: dict[str, object], text: str) -> None:
    answer = running.http.post("/scans", json=body)
    assert (answer.status_code, answer.json()["message"]) == (400, text)


def test_names_are_not_unique_and_uuids_are(running: Running) -> None:
    first, second = create(running), create(running)
    assert first["uuid"] != second["uuid"]
    assert str(first["uuid"]).startswith("template-")
    assert [scan["name"] for scan in running.http.get("/scans").json()["scans"]] == ["Weekly", "Weekly"]


def test_a_user_without_the_role_creates_and_launches_nothing(running: Running) -> None:
    keys = {"X-ApiKeys": f"accessKey={NO_SCAN}{ACCESS_KEY};secretKey={SECRET_KEY}"}
    scan = create(running)
    assert running.http.post("/scans", json=BODY, headers=keys).status_code == 403
    assert running.http.post(f"/scans/{scan['id']}/launch", json={}, headers=keys).status_code == 403


def test_a_run_passes_through_its_statuses(running: Running) -> None:
    running.control("options", {"scan_seconds": 100})
    scan = create(running)
    assert running.http.get(f"/scans/{scan['id']}/latest-status").json() == {"status": "empty"}
    run, seen = launch(running, scan), []
    for _ in range(4):
        seen.append(running.http.get(f"/scans/{scan['id']}/history/{run}").json()["status"])
        running.control("clock", {"advance_seconds": 40})
    assert seen == ["pending", "running", "publishing", "completed"]


def test_a_second_launch_a_disabled_scan_and_a_full_container_are_refused(running: Running) -> None:
    running.control("options", {"scan_seconds": 100})
    scan, disabled = create(running), create(running, enabled=False)
    launch(running, scan)
    path = f"/scans/{scan['id']}/launch"
    assert running.http.post(path, json={}).status_code == 409
    assert running.http.post(f"/scans/{disabled['id']}/launch", json={}).status_code == 403
    assert running.http.post("/scans/999/launch", json={}).json() == {"info": {"error": "Scan not found"}}
    running.control("options", {"active_elsewhere": 24})
    full = running.http.post(f"/scans/{create(running)['id']}/launch", json={})
    assert (full.status_code, full.headers["content-type"].split(";")[0]) == (429, "text/html")
    assert running.http.get("/scans/count?active=true").json() == {"count": 25}
    for targets in ([], "192.0.2.1", [""], [1]):
        assert running.http.post(path, json={"alt_targets": targets}).status_code == 400


def test_a_run_is_deleted_only_once_it_has_ended_and_stopped_only_while_it_runs(running: Running) -> None:
    running.control("options", {"scan_seconds": 100})
    scan = create(running)
    launch(running, scan)
    assert running.http.delete(f"/scans/{scan['id']}").status_code == 409
    assert running.http.post(f"/scans/{scan['id']}/stop").status_code == 200
    running.control("clock", {"advance_seconds": 20})
    assert running.http.post(f"/scans/{scan['id']}/stop").status_code == 409
    assert running.http.get(f"/scans/{scan['id']}/latest-status").json() == {"status": "canceled"}
    assert running.http.delete(f"/scans/{scan['id']}").status_code == 200


def test_old_results_are_archived_and_have_no_pdf(running: Running) -> None:
    running.control("faults", {"on": "scan_run", "do": "old", "seconds": 61 * 86_400})
    scan = create(running)
    launch(running, scan)
    results = running.http.get(f"/scans/{scan['id']}").json()
    assert (results["info"]["is_archived"], results["hosts"]) == (True, [])
    body = {"format": "pdf", "chapters": "vuln_by_host"}
    assert running.http.post(f"/scans/{scan['id']}/export", json=body).status_code == 400
    assert running.http.post(f"/scans/{scan['id']}/export", json={"format": "csv"}).status_code == 200
    # The API docs: older results are exported without filters only.
    filtered = {"format": "csv", **condition(0)}
    assert running.http.post(f"/scans/{scan['id']}/export", json=filtered).json()["message"].endswith("than 60 days")


def test_exports_have_text_ids_with_colons_that_repeat(running: Running) -> None:
    running.control("options", {"scan_seconds": 0, "scan_export_seconds": 30})
    scan = create(running)
    launch(running, scan)
    path = f"/scans/{scan['id']}/export"
    body = {"format": "pdf", "chapters": "vuln_by_host"}
    file = running.http.post(path, json=body).json()["file"]
    assert ":" in file
    assert running.http.post(path, json=body).json()["file"] == file
    assert running.http.get(f"{path}/{file}/status").json() == {"status": "loading"}
    assert running.http.get(f"{path}/{file}/download").status_code == 404
    running.control("clock", {"advance_seconds": 31})
    assert running.http.get(f"{path}/{file}/status").json() == {"status": "ready"}
    listed = running.http.get("/scans/exports").json()[0]
    assert listed["metadata"]["file_size"] == len(running.http.get(f"{path}/{file}/download").content) > 0
    for missing in ({"format": "pdf"}, {"format": "db"}, {"format": "doc"}):
        assert running.http.post(path, json=missing).status_code == 400


@pytest.mark.parametrize(
    ("filters", "status"),
    [
        ({**condition(0), **condition(1), "filter.search_type": "or"}, 200),
        ({"filter.0.filter": "plugin.id", "filter.0.value": "19506"}, 400),
        ({**condition(0), "filter.search_type": "xor"}, 400),
        ({"filter.0.colour": "red"}, 400),
        ({**condition(0), "filter.0.value": 19506}, 400),
    ],
)
def test_filters_of_an_export_are_complete(running: Running, filters: dict[str, object], status: int) -> None:
    running.control("options", {"scan_seconds": 0})
    scan = create(running)
    launch(running, scan)
    answer = running.http.post(f"/scans/{scan['id']}/export", json={"format": "csv", **filters})
    assert answer.status_code == status


def test_export_takes_the_number_of_a_run_as_history_id_and_its_uuid_as_history_uuid(running: Running) -> None:
    running.control("options", {"scan_seconds": 0})
    scan = create(running)
    run = launch(running, scan)
    launch(running, scan)
    path, body = f"/scans/{scan['id']}/export", {"format": "csv"}
    number = running.http.get(f"/scans/{scan['id']}/history/{run}").json()["object_id"]
    assert run in running.http.post(path, params={"history_id": number}, json=body).json()["file"]
    assert run in running.http.post(path, params={"history_uuid": run}, json=body).json()["file"]
    assert running.http.post(path, params={"history_id": run}, json=body).status_code == 404
    assert running.http.post(path, params={"history_uuid": number}, json=body).status_code == 404


def test_every_active_run_counts_even_those_of_one_scan(running: Running) -> None:
    running.control("options", {"scan_seconds": 100, "launches_active_scans": True})
    scan = create(running)
    launch(running, scan)
    launch(running, scan)
    assert running.http.get("/scans/count?active=true").json() == {"count": 2}


def test_scan_names_managed_credentials_of_their_type(running: Running) -> None:
    item = {"name": "audit", "type": "Amazon AWS", "settings": AWS_KEYS}
    uuid = running.http.post("/credentials", json=item).json()["uuid"]

    def status(category: str, kind: str) -> int:
        body = {**BODY, "credentials": {"add": {category: {kind: [{"id": uuid}]}}}}
        return running.http.post("/scans", json=body).status_code

    assert status("Cloud Services", "Amazon AWS") == 200
    assert status("Host", "Amazon AWS") == 400
    assert status("Host", "SSH") == 400


def test_credentials_are_found_by_name_and_keep_their_names_unique(running: Running) -> None:
    items = [{"name": name, "type": "Amazon AWS", "settings": AWS_KEYS} for name in ("a:b", "c")]
    first, _ = (running.http.post("/credentials", json=item).json()["uuid"] for item in items)
    found = running.http.get("/credentials", params={"f": "name:eq:a:b"}).json()
    assert ([each["uuid"] for each in found["credentials"]], found["pagination"]["total"]) == ([first], 1)
    assert running.http.get("/credentials", params={"f": "name:like:a"}).status_code == 400
    assert running.http.put(f"/credentials/{first}", json={"name": "c"}).status_code == 409
    assert running.http.put(f"/credentials/{first}", json=[]).status_code == 400
    keys = {"X-ApiKeys": f"accessKey={NO_SCAN}{ACCESS_KEY};secretKey={SECRET_KEY}"}
    assert running.http.delete(f"/credentials/{first}", headers=keys).status_code == 403


def test_credentials_mask_their_secret_and_have_unique_names(running: Running) -> None:
    body = {"name": "audit", "type": "Amazon AWS", "settings": AWS_KEYS}
    uuid = running.http.post("/credentials", json=body).json()["uuid"]
    assert running.http.post("/credentials", json=body).status_code == 409
    # Both inputs are of the type "password" (recorded in 2021).
    assert running.http.get(f"/credentials/{uuid}").json()["settings"] == dict.fromkeys(AWS_KEYS, "********")
    for bad in ({"unknown": 1}, {"description": 1}, {"settings": {**AWS_KEYS, "secret_key": ""}}):
        assert running.http.put(f"/credentials/{uuid}", json=bad).status_code == 400
    assert running.http.put(f"/credentials/{uuid}", json={"settings": {"secret_key": "x"}}).status_code == 400
    masked = {**AWS_KEYS, "secret_key": "********"}
    assert running.http.put(f"/credentials/{uuid}", json={"settings": masked}).json() == {"updated": True}
    assert running.tenable.credentials[uuid]["settings"] == masked
    assert running.http.delete(f"/credentials/{uuid}").json() == {"deleted": True}
