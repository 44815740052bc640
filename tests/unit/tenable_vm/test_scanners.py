"""The scanner API: published and recorded responses, odd ones, and what becomes of each status."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from airflow_provider_tenable.exceptions import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    TemporaryError,
    TenablePermissionError,
)
from airflow_provider_tenable.guards.redaction import scrub
from airflow_provider_tenable.hooks.tenable import new_client
from airflow_provider_tenable.tenable_vm.scanners import (
    Scanner,
    ScannersApi,
    is_scanner_uuid,
    machines,
    scanner_of,
    the_machine,
)
from tests.local_server import client_arguments

DATA = Path(__file__).parents[2] / "data"
KEY = "c4" * 32


@pytest.fixture
def api(server):
    made = ScannersApi(new_client(client_arguments(server.url), retries=0), name="connection 'c'", repeats=0)
    yield made
    made._client._session.close()


def sample(name):
    return json.loads((DATA / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("name", "count", "linked"),
    [
        ("scanners_list_official_example", None, 0),
        ("scanners_list_recorded_2021", 4, 0),
        ("scanners_list_with_linked_recorded_2018", 3, 1),
    ],
)
def test_published_and_recorded_lists_are_read_in_full(server, api, name, count, linked):
    server.answer(body=sample(name))
    found = api.all()
    assert len(found) == len(sample(name)["scanners"])
    assert count is None or len(found) == count
    assert sum(scanner.is_machine for scanner in found) == linked


def test_a_linked_machine_has_its_state_and_no_key(server, api):
    server.answer(body=sample("scanners_list_with_linked_recorded_2018"))
    (machine,) = [scanner for scanner in api.all() if scanner.is_machine]
    assert machine == Scanner(
        id=131712,
        uuid="3e839499-e7a5-4aa5-8a2d-61e621ea343b",
        name="pytenable-scanner",
        kind="managed",
        online=True,
        linked=True,
        last_connect=1544138452,
        plugin_set="201812051251",
        created=1538594853,
    )
    assert "6b0fc37b" not in repr(machine)


@pytest.mark.parametrize("answer", [{}, [], {"scanners": None}, {"scanners": {}}, b"null", b"not JSON"])
def test_a_response_without_a_list_is_temporary(server, api, answer):
    server.answer(body=answer)
    with pytest.raises(TemporaryError):
        api.all()


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": True},
        {"id": "1; rm"},
        {"id": -1},
        {"uuid": "../users"},
        {"uuid": None},
        {"name": ""},
        {"name": 7},
    ],
)
def test_an_entry_that_cannot_be_named_is_ignored_and_said(server, api, caplog, change):
    good = {"id": 5, "uuid": "3e839499-e7a5-4aa5-8a2d-61e621ea343b", "name": "n", "type": "managed"}
    server.answer(body={"scanners": [good, {**good, **change}, "text"]})
    assert [scanner.id for scanner in api.all()] == [5]
    assert "Tenable lists 2 scanners without a usable id or name" in caplog.text


@pytest.mark.parametrize(
    ("plugins", "read"), [("202611260605", "202611260605"), (202611260605, "202611260605"), ("", None), ("none", None)]
)
def test_plugins_are_there_only_if_their_set_is_a_date(plugins, read):
    entry = {"id": 5, "uuid": "3e839499-e7a5-4aa5-8a2d-61e621ea343b", "name": "n", "loaded_plugin_set": plugins}
    assert scanner_of(entry).plugin_set == read


def test_the_uuids_of_tenables_own_scanners_are_longer():
    assert is_scanner_uuid("00000000-0000-0000-0000-00000000000000000000000000001")
    assert is_scanner_uuid("26e9266b-d42e-4f77-877f-3164bce652c4db3eac57471272de")
    assert not is_scanner_uuid("26e9266b-d42e-4f77-877f-3164bce652c4/../x")
    assert not is_scanner_uuid(7)


def test_the_linking_key_is_masked_and_can_be_read_again(server, api):
    server.answer(body={"key": KEY})
    assert [api.linking_key(), api.linking_key()] == [KEY, KEY]
    assert scrub(f"link --key={KEY}") == "link --key=***"
    assert server.requests[0][1].endswith("/00000000-0000-0000-0000-00000000000000000000000000001/key")


def test_the_published_key_is_read(server, api, caplog):
    server.answer(body=sample("scanner_key_official_example"))
    assert len(api.linking_key()) == 64
    assert caplog.text == ""


def test_a_key_of_another_length_is_used_with_a_warning(server, api, caplog):
    server.answer(body={"key": "Ab3" * 20})
    assert api.linking_key() == "Ab3" * 20
    assert "has 60 characters" in caplog.text
    assert "Ab3Ab3" not in caplog.text


@pytest.mark.parametrize("key", [None, "", "short", 5, "x" * 63 + "'", "$(reboot)" * 4, "a" * 5000, "a b" * 20])
def test_a_key_that_could_do_something_in_a_shell_is_refused_without_being_quoted(server, api, caplog, key):
    server.answer(body={"key": key})
    with caplog.at_level(logging.DEBUG), pytest.raises(TemporaryError, match="contains no key") as failure:
        api.linking_key()
    assert "reboot" not in str(failure.value)


@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_role_names_the_role(server, api, status):
    server.answer(status, sample("scanner_403_recorded_2018"))
    with pytest.raises(ConfigurationError) as failure:
        api.all()
    if status == 403:
        assert type(failure.value) is TenablePermissionError
        assert str(failure.value).endswith("lacks permission for this. It needs the role Scan Manager or higher.")


def test_scans_that_a_scanner_runs(server, api):
    server.answer(body=sample("scanner_running_scans_official_example"))
    assert api.running_scans(7) == ["Basic Scan"]
    server.answer(404, sample("scanner_404_recorded_2018"))
    assert api.running_scans(7) == []


@pytest.mark.parametrize("answer", [{}, {"scans": None}, [], b""])
def test_a_response_without_scans_does_not_mean_none(server, api, answer):
    """Otherwise a scanner would be deleted in the middle of its scan."""
    server.answer(body=answer)
    with pytest.raises(TemporaryError):
        api.running_scans(7)


def test_deleting_what_is_gone_is_no_error(server, api):
    server.answer(body={})
    assert api.delete(7) is True
    server.answer(404, sample("scanner_404_recorded_2018"))
    assert api.delete(7) is False
    server.answer(404, b"")
    assert api.delete(7) is False
    assert [request[:2] for request in server.requests] == [("DELETE", "/scanners/7")] * 3


@pytest.mark.parametrize(
    ("status", "error"), [(409, ConflictError), (403, TenablePermissionError), (500, TemporaryError)]
)
def test_a_scanner_that_cannot_be_deleted(server, api, status, error):
    server.answer(status, {"error": "words of Tenable's"})
    with pytest.raises(error):
        api.delete(7)


def test_404_of_a_list_is_a_wrong_name_and_not_an_expired_export(server, api):
    server.answer(404, b"")
    with pytest.raises(NotFoundError):
        api.all()


def machine(number, name="n", **fields):
    uuid = f"00000000-0000-0000-0000-{number:012d}"
    return Scanner(id=number, uuid=uuid, name=name, **{"kind": "managed", "created": number, **fields})


def test_groups_and_tenables_own_scanners_are_never_the_machine():
    scanners = [machine(1, kind="local"), machine(2, kind="pool"), machine(3, group=True), machine(4)]
    assert the_machine(scanners, name="n") == machine(4)
    assert the_machine(scanners, name="other") is None


def test_a_dead_entry_of_the_same_name_does_not_hide_the_machine_that_is_online():
    scanners = [machine(1), machine(2, online=True), machine(3)]
    assert the_machine(scanners, name="n").id == 2
    assert the_machine(scanners, name="n", since=3).id == 3
    assert the_machine(scanners, uuid=machine(1).uuid.upper()).id == 1
    assert [scanner.id for scanner in machines(scanners, name="n")] == [3, 2, 1]


def test_two_machines_of_one_name_are_named():
    with pytest.raises(ConfigurationError, match=r"2 scanners with the name 'n': 0{8}-.*2, 0{8}-.*1\. Delete those"):
        the_machine([machine(1, online=True), machine(2, online=True), machine(3)], name="n")


def test_a_uuid_finds_a_machine_that_was_linked_before():
    assert the_machine([machine(5)], uuid=machine(5).uuid, since=99).id == 5
