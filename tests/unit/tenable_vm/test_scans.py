"""Scans, runs, exports and managed credentials over real sockets: what Tenable's answers become."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest

from airflow_provider_tenable.exceptions import (
    CapacityError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    TemporaryError,
    TenablePermissionError,
    TenableRequestError,
)
from airflow_provider_tenable.hooks.tenable import new_client
from airflow_provider_tenable.tenable_vm.credentials import Credential, CredentialsApi
from airflow_provider_tenable.tenable_vm.scan_exports import Downloaded, ScanExportsApi
from airflow_provider_tenable.tenable_vm.scan_ids import file_path, is_file_id, run_path, scan_path
from airflow_provider_tenable.tenable_vm.scan_runs import Run, ScanRunsApi
from airflow_provider_tenable.tenable_vm.scans import Scan, ScansApi
from tests.local_server import client_arguments

DATA = Path(__file__).resolve().parents[2] / "data"
SCHEDULE = "template-8b64a4a8-50b4-4077-bcc4-31f451fa3549f4f660ba792e0b0f"
SCAN = Scan(26, SCHEDULE, "Weekly", "user@example.com")
RUN = Run("44346bcb-4afc-4db0-b283-2dd823fa8579", "completed", 12)
BASIC = "731a8e52-3ea6-a291-ec0a-d2ff0619c19d7bd788d6be818b65"
BODY = {"uuid": BASIC, "settings": {"name": "Weekly", "text_targets": "192.0.2.1"}}
NAME = "connection 'tenable_default'"


class Apis:
    def __init__(self, url: str, retries: int = 0) -> None:
        client = new_client(client_arguments(url), retries=retries)
        once = new_client(client_arguments(url), retries=0)
        self.clients = (client, once)
        self.scans = ScansApi(client, once=once, name=NAME)
        self.runs = ScanRunsApi(client, once=once, name=NAME)
        self.exports = ScanExportsApi(client, name=NAME)
        self.credentials = CredentialsApi(client, once=once, name=NAME)

    def close(self) -> None:
        for client in self.clients:
            client._session.close()


@pytest.fixture
def apis(server):
    made = Apis(server.url)
    yield made
    made.close()


def sample(server, name, status=200):
    server.answer(status, (DATA / name).read_bytes())


@pytest.mark.parametrize("name", ["scan_create_answer_official_example", "scan_create_answer_recorded_2021"])
def test_a_created_scan_has_the_uuid_of_its_schedule(server, apis, name):
    sample(server, f"{name}.json")
    created = json.loads((DATA / f"{name}.json").read_text())["scan"]
    scan = apis.scans.create(BODY)
    assert (scan.id, scan.schedule_uuid, scan.name) == (created["id"], created["uuid"], created["name"])
    assert scan.schedule_uuid.startswith("template-")


def test_the_answer_to_an_update_is_the_scan_itself(server, apis):
    sample(server, "scan_update_answer_official_example.json")
    assert apis.scans.update(SCAN, BODY).name == "Basic Daily Network Scan"
    assert server.requests[0][:2] == ("PUT", "/scans/26")


@pytest.mark.parametrize(("name", "number"), [("scan_list_official_example", 3), ("scan_list_recorded_2018", 3)])
def test_listed_scans_are_found_by_name_number_and_schedule(server, apis, name, number):
    sample(server, f"{name}.json")
    listed = json.loads((DATA / f"{name}.json").read_text())["scans"]
    assert len(listed) == number
    first = listed[0]
    [found] = [scan for scan in apis.scans.find(first["name"]) if scan.id == first["id"]]
    assert found.schedule_uuid == first["schedule_uuid"]
    assert apis.scans.scan(first["id"]) == apis.scans.scan(str(first["id"])) == apis.scans.scan(found) == found
    assert apis.scans.scan({"schedule_uuid": first["schedule_uuid"], "id": 1}) == found


@pytest.mark.parametrize("name", ["scan_templates_official_example", "scan_templates_excerpt_recorded_2019"])
def test_templates_are_found_by_name_and_by_title(server, apis, name):
    sample(server, f"{name}.json")
    item = json.loads((DATA / f"{name}.json").read_text())["templates"][0]
    assert apis.scans.template(item["name"]) == apis.scans.template(item["title"])
    assert apis.scans.template(item["name"]).uuid == item["uuid"]
    with pytest.raises(NotFoundError, match=rf"There is no scan template 'x'\. Tenable has: .*{item['name']}"):
        apis.scans.template("x")


def test_a_scanner_is_found_by_its_name(server, apis):
    sample(server, "scanners_list_official_example.json")
    assert apis.scans.scanner_id("US Cloud Scanner") == "00000000-0000-0000-0000-00000000000000000000000000001"
    with pytest.raises(ConfigurationError, match=r"Several scanners are named 'US West Cloud Scanners'\. Give"):
        apis.scans.scanner_id("US West Cloud Scanners")
    with pytest.raises(NotFoundError, match=r"There is no scanner 'x'\. Tenable has: .*US Cloud Scanner"):
        apis.scans.scanner_id("x")
    called = len(server.requests)
    for known in ("AUTO-ROUTED", RUN.uuid):
        assert apis.scans.scanner_id(known) == known
    assert len(server.requests) == called


def test_a_user_who_may_not_list_scanners_learns_which_role_does(server, apis):
    server.answer(403, b'{"error": "Forbidden"}')
    with pytest.raises(TenablePermissionError, match="It needs the role Scan Manager"):
        apis.scans.scanner_id("dmz")


def test_the_history_is_read_newest_first(server, apis):
    sample(server, "scan_history_official_example.json")
    runs = apis.runs.history(SCAN)
    assert len(runs) == 8
    assert runs[0] == Run("fc9dc7c5-8eec-4d39-ad9c-20e833cca69b", "canceled", 10535512, 1545945482.0, 1545945607.0)
    assert server.requests[0][1].startswith(f"/scans/{SCHEDULE}/history?")


def test_one_run_may_have_no_end(server, apis):
    sample(server, "scan_history_details_official_example.json")
    run = apis.runs.entry(SCAN, "63d15524-fce5-4555-bcd1-5b3172f41925")
    assert run == Run("63d15524-fce5-4555-bcd1-5b3172f41925", "aborted", 10509951, 1543870842.0, None)


def test_a_run_that_is_not_listed_is_none(server, apis):
    sample(server, "scan_history_404_recorded_2018.json", 404)
    assert apis.runs.entry(SCAN, RUN.uuid) is None


def test_a_run_is_looked_up_by_itself_only_if_newer_ones_fill_a_page(server, apis):
    listed = [{"scan_uuid": f"fc9dc7c5-8eec-4d39-ad9c-20e833cca6{n:02d}", "status": "completed"} for n in range(50)]
    server.answers = [(200, {}, json.dumps({"history": listed[:49]}).encode())]
    assert apis.runs.run(SCAN, listed[7]["scan_uuid"]).status == "completed"
    assert apis.runs.run(SCAN, RUN.uuid) is None
    server.answers = [(200, {}, json.dumps({"history": listed}).encode()), (200, {}, b'{"status": "aborted"}')]
    assert apis.runs.run(SCAN, RUN.uuid).status == "aborted"
    assert [path.partition("?")[0].count("/") for _, path, _, _ in server.requests] == [3, 3, 3, 4]


def test_the_latest_status_comes_with_tenables_clock(server, apis):
    sample(server, "scan_latest_status_official_example.json")
    latest = apis.runs.latest_status(SCAN)
    assert latest.status == "imported"
    assert latest.at > 1_600_000_000


@pytest.mark.parametrize(
    "name",
    ["scan_details_official_example", "scan_details_recorded_2021", "scan_details_with_history_recorded_2022"],
)
def test_results_are_counted(server, apis, name):
    sample(server, f"{name}.json")
    recorded = json.loads((DATA / f"{name}.json").read_text())
    results = apis.runs.results(SCAN, RUN)
    assert [host.name for host in results.hosts] == [host["hostname"] for host in recorded["hosts"]]
    assert [host.uuid for host in results.hosts] == [host.get("uuid") for host in recorded["hosts"]]
    for severity, number in results.severities.items():
        assert number == sum(host[severity] for host in recorded["hosts"]), severity
    assert len(results.notes) == len(recorded["notes"])
    assert results.plugins == {item["plugin_id"] for item in recorded["vulnerabilities"]}
    assert (results.run_uuid, results.status) == (recorded["info"]["uuid"], recorded["info"]["status"])
    assert server.requests[0][1] == f"/scans/{SCHEDULE}?history_id=12"


def test_compliance_is_counted_by_what_its_severity_means(server, apis):
    sample(server, "scan_details_official_example.json")
    items = json.loads((DATA / "scan_details_official_example.json").read_text())["compliance"]
    counted = apis.runs.results(SCAN).compliance
    assert set(counted) == {"failed", "warning", "passed"}
    assert sum(counted.values()) == sum(item["count"] for item in items if item["severity"] in (1, 2, 3)) > 0


def test_a_launch_gives_the_runs_uuid(server, apis):
    sample(server, "scan_launch_answer_official_example.json")
    assert apis.runs.launch(SCAN) == "44346bcb-4afc-4db0-b283-2dd823fa8579"
    assert apis.runs.launch(SCAN, ["192.0.2.9"])
    bodies = [json.loads(body) for *_, body in server.requests]
    # An empty list of other targets would be one too.
    assert bodies == [{}, {"alt_targets": ["192.0.2.9"]}]


@pytest.mark.parametrize(
    ("status", "body", "error", "text"),
    [
        (403, b"{}", TenablePermissionError, r"Scan 'Weekly' is disabled, or the API user .* lacks 'Can Execute'"),
        (404, (DATA / "scan_launch_404_official_example.json").read_bytes(), NotFoundError, "Scan not found"),
        (409, b"{}", ConflictError, "Tenable returned 409"),
        (429, (DATA / "error_429_official_example.html").read_bytes(), CapacityError, "Tenable returned 429"),
        (504, b"<html>", TemporaryError, "Tenable returned 504"),
        (200, b"{}", TemporaryError, "contains no uuid of the run"),
        (200, b'{"scan_uuid": "../users"}', TemporaryError, "contains no uuid of the run"),
        (200, b"[", TemporaryError, "is not JSON"),
    ],
)
def test_a_launch_is_never_repeated_whatever_the_answer(server, status, body, error, text):
    apis = Apis(server.url, retries=5)
    server.answer(status, body)
    with pytest.raises(error, match=text):
        apis.runs.launch(SCAN)
    assert len(server.requests) == 1
    apis.close()


@pytest.mark.parametrize("call", ["create", "create_remediation"])
def test_a_creation_is_never_repeated(server, call):
    apis = Apis(server.url, retries=5)
    server.answer(504, b"")
    with pytest.raises(TemporaryError):
        getattr(apis.scans, call)(BODY)
    assert len(server.requests) == 1
    apis.close()


def test_a_refused_creation_names_the_limit(server, apis):
    server.answer(403, b"{}")
    with pytest.raises(TenablePermissionError, match=r"It needs role Standard .* 10,000 scans, its limit"):
        apis.scans.create(BODY)


def test_active_runs_are_counted(server, apis):
    sample(server, "scan_count_official_example.json")
    assert apis.runs.active() == 5140
    server.answer(403, b"{}")
    assert apis.runs.active() is None


@pytest.mark.parametrize("status", [404, 409])
def test_a_run_that_cannot_be_stopped_is_not_an_error(server, apis, status):
    server.answer(status, b"{}")
    assert apis.runs.stop(SCAN) is False
    assert apis.runs.force_stop(SCAN) is False
    assert apis.scans.delete(26) is False if status == 404 else True


def test_a_scan_that_runs_is_not_deleted(server, apis):
    server.answer(409, b"{}")
    with pytest.raises(ConflictError):
        apis.scans.delete(26)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (
            "scan_export_answer_official_example",
            "SSEUF-ee904e9c-4fb6-4643-88a2-a4e388651568-C:e112bd1-754-946-e35-1a7bf1cbd33-pdf",
        ),
        ("scan_export_answer_recorded_2021", "SSE-d84bc6a3-1f0a-42a0-85bb-3470dfeed221-nessus"),
    ],
)
def test_file_ids_are_text_and_keep_their_colons(server, apis, name, file):
    sample(server, f"{name}.json")
    assert apis.exports.start(SCAN, RUN, {"format": "pdf"}) == file
    sample(server, "scan_export_status_official_example.json")
    assert apis.exports.status(SCAN, file) == "ready"
    assert server.requests[0][1] == f"/scans/{SCHEDULE}/export?history_id=12"
    assert server.requests[1][1].replace("%3A", ":") == f"/scans/{SCHEDULE}/export/{file}/status"


def test_the_size_of_a_file_comes_from_the_list_of_exports(server, apis):
    sample(server, "scan_exports_list_official_example.json")
    assert apis.exports.size("SSEUF-0b91ea42-cbcf-4634-8364-2f650c7b6b1d-nessus") == 1937335
    assert apis.exports.size("SSE-unknown") is None
    server.answer(403, b"{}")
    assert apis.exports.size("SSE-unknown") is None


def test_a_download_that_breaks_is_written_again_from_its_beginning(server, naps):
    apis = Apis(server.url, retries=2)
    content = b"x" * 700_000
    cut = (200, {"Content-Length": str(len(content))}, content[:300_000])

    def broken(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(cut[2])
        handler.connection.close()

    server.answers = [broken, (200, {}, content)]
    to = io.BytesIO(b"before")
    to.seek(6)
    got = apis.exports.download(SCAN, "SSE-1", to)
    assert got == Downloaded(len(content), hashlib.sha256(content).hexdigest())
    assert to.getvalue() == b"before" + content
    apis.close()


def test_a_file_is_uploaded_under_its_name(server, apis):
    sample(server, "file_upload_answer_official_example.json")
    assert apis.scans.upload("targets.txt", io.BytesIO(b"192.0.2.1")) == "scan_targets.txt"
    assert b'name="Filedata"; filename="targets.txt"' in server.requests[0][3]


def test_credentials_are_listed_without_secrets(server, apis):
    sample(server, "credential_list_official_example.json")
    expected = Credential(
        "a3820211-a59c-4fdd-b6f9-65583f61bf61",
        "Windows devices (Headquarters)",
        "Host",
        "Windows",
        "Use for scans of Windows devices located at headquarters.",
    )
    assert apis.credentials.credential("Windows devices (Headquarters)") == expected
    assert apis.credentials.credential(expected.uuid) == expected
    with pytest.raises(NotFoundError, match=r"sees no managed credential 'x'\. It sees: Windows devices"):
        apis.credentials.credential("x")


def test_a_credential_is_replaced_with_both_fields_and_its_secret_is_in_no_error(server, apis):
    listed = {"credentials": [{"uuid": "a3820211-a59c-4fdd-b6f9-65583f61bf61", "name": "audit", "type": {"id": "T"}}]}
    secret = "canary-secret-of-an-aws-user-4711"
    server.answers = [(200, {}, json.dumps(listed).encode()), (500, {}, f'{{"error": "{secret}"}}'.encode())]
    settings = {"access_key_id": "AKIA", "secret_key": secret}
    with pytest.raises(TemporaryError) as failure:
        apis.credentials.put(name="audit", type="T", settings=settings, secrets=("secret_key",))
    assert secret not in str(failure.value)
    method, path, _, body = server.requests[1]
    assert (method, path) == ("PUT", "/credentials/a3820211-a59c-4fdd-b6f9-65583f61bf61")
    assert json.loads(body) == {"settings": settings}


def test_a_credential_gets_its_description_with_its_settings_and_the_answer_must_say_so(server, apis):
    listed = {"credentials": [{"uuid": "a3820211-a59c-4fdd-b6f9-65583f61bf61", "name": "audit", "type": {"id": "T"}}]}
    found = (200, {}, json.dumps(listed).encode())
    server.answers = [found, (200, {}, b'{"updated": true}'), found, (200, {}, b'{"ok": true}')]
    arguments = {"name": "audit", "type": "T", "settings": {"a": "b" * 20}, "secrets": ("a",), "description": "key A"}
    assert apis.credentials.put(**arguments) == "a3820211-a59c-4fdd-b6f9-65583f61bf61"
    assert json.loads(server.requests[1][3]) == {"settings": {"a": "b" * 20}, "description": "key A"}
    with pytest.raises(TemporaryError, match="does not say that it has updated credential 'audit'"):
        apis.credentials.put(**arguments)


def test_a_credential_is_found_by_its_exact_name(server, apis):
    entry = {"uuid": "a3820211-a59c-4fdd-b6f9-65583f61bf61", "name": "audit", "type": {"id": "T"}}
    one = json.dumps({"credentials": [entry, {**entry, "name": "Audit"}]}).encode()
    two = json.dumps({"credentials": [entry, entry]}).encode()
    server.answers = [(200, {}, one), (200, {}, one), (200, {}, two)]
    assert apis.credentials.find("audit").name == "audit"
    assert apis.credentials.find("AUDIT") is None
    with pytest.raises(ConfigurationError, match="Several managed credentials are named 'audit'"):
        apis.credentials.find("audit")


HOSTILE = ["../users", "a/b", "template-1", "1%2F2", "26?x", "", None, True, -1, 0, "1 2", "x" * 400, "26#", "."]


@pytest.mark.parametrize("value", HOSTILE, ids=str)
def test_ids_are_checked_before_they_become_part_of_a_url(value):
    with pytest.raises(ConfigurationError):
        scan_path(value)
    with pytest.raises(ConfigurationError):
        run_path(26, value)


@pytest.mark.parametrize("value", ["../x", "a/b", "a%2Fb", "a?b", "", None, 5, ".", "a.b", "x" * 301, "a b"], ids=str)
def test_file_ids_are_checked_before_they_become_part_of_a_url(value):
    assert not is_file_id(value)
    with pytest.raises(ConfigurationError):
        file_path(26, value)


@pytest.mark.parametrize("answer", [b"[]", b'{"scans": 5}', b"{}", b"null", b'"x"'])
def test_lists_that_are_none_are_errors_in_words(server, apis, answer):
    server.answer(200, answer)
    with pytest.raises(TemporaryError, match="Tenable's response about"):
        apis.scans.find("Weekly")
    with pytest.raises(TemporaryError, match="Tenable's response about"):
        apis.runs.history(SCAN)


def test_hostile_items_of_lists_are_left_out(server, apis):
    server.answer(
        200,
        {
            "scans": [5, {"id": "../x", "schedule_uuid": SCHEDULE}, {"id": 5, "schedule_uuid": "../x"}, {"id": 5}],
            "folders": [{"id": "x"}],
            "history": [{"scan_uuid": "../x"}, 7],
            "templates": [{"name": "x", "uuid": "../y"}],
            "credentials": [{"uuid": "../y"}],
        },
    )
    assert apis.scans.find("") == []
    assert apis.scans.folders() == []
    assert apis.scans.templates() == {}
    assert apis.runs.history(SCAN) == []
    assert apis.credentials.list() == []


def test_two_scans_of_one_name_are_an_error_that_names_both(server, apis):
    item = {"schedule_uuid": SCHEDULE, "name": "twice"}
    server.answer(200, {"scans": [{**item, "id": 5}, {**item, "id": 6}], "folders": []})
    with pytest.raises(ConfigurationError, match=r"There are 2 scans named 'twice' \(ids 5, 6\)"):
        apis.scans.scan("name:twice")
    with pytest.raises(NotFoundError, match=r"There is no scan named 'once'"):
        apis.scans.scan("name:once")
    with pytest.raises(NotFoundError, match=r"Tenable lists no scan 7"):
        apis.scans.scan(7)


def test_an_export_that_tenable_rejects_says_so(server, apis):
    server.answer(400, b'{"error": "too old"}')
    with pytest.raises(TenableRequestError, match="too old"):
        apis.exports.start(SCAN, RUN, {"format": "pdf"})
