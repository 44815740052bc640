"""Hosts that EC2 recognises by their addresses: what is asked, what is kept, and what the run's later tasks read."""

from __future__ import annotations

import msgspec
import pytest

from airflow_provider_tenable.assets.placement import Answer, Place
from airflow_provider_tenable.assets.unnamed_hosts import Host, Interface, Sighting
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run import resolving, resolving_hosts
from airflow_provider_tenable.run.resolving_hosts import BY_ADDRESS, BY_MAC, batches_of, due_hosts, hosts_of, recalled
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from tests.unit.run.test_resolving import DAY, IRELAND, LOST, NOW, OTHER, VIRGINIA, A, B, Cloud, Hook, Job, asset

MAC, ADDRESS = "02:aa:bb:cc:dd:01", "10.0.0.5"


def host(number, *macs, ipv4s=(ADDRESS,), **more):
    return {"id": f"asset-{number}", "network": {"mac_addresses": list(macs or [MAC]), "ipv4s": list(ipv4s)}, **more}


class Network(Cloud):
    """EC2 that knows network interfaces too."""

    def __init__(self):
        super().__init__()
        self.sightings: list[Sighting] = []
        self.asked: list[tuple[Place, str, list[str]]] = []

    def attach(self, instance, account, region, *, mac=MAC, addresses=(ADDRESS,), vpc="vpc-1"):
        place = Place(account, region)
        answer = Answer(instance, place, account, region + "a", "running")
        self.sightings.append(Sighting(answer, (Interface(mac, frozenset(addresses), vpc),)))

    def hook(self, place, destination):
        return NetworkHook(self, place)


class NetworkHook(Hook):
    def find_hosts(self, name, values, place):
        self.cloud.asked.append((place, name, values))
        if place in self.cloud.refuses:
            raise self.cloud.refuses[place]
        for each in self.cloud.sightings:
            (interface,) = each.interfaces
            found = {interface.mac} if name == BY_MAC else interface.addresses
            if each.answer.place == place and found & set(values):
                yield each


@pytest.fixture
def cloud(monkeypatch):
    found = Network()
    monkeypatch.setattr(resolving, "_hook", found.hook)
    return found


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path)


def test_host_becomes_the_instance_that_has_its_addresses(job, cloud):
    cloud.attach(OTHER, B, VIRGINIA)
    counts = job.run([host(3)])
    assert counts == {"assets": 1, "unresolved": {}, "silent": {}, "hosts": 1, "unrecognised": {}}
    assert job.place(3) == (B, VIRGINIA)
    assert {(name, *values) for _, name, values in cloud.asked} == {(BY_MAC, MAC)}
    assert len(cloud.asked) == 4


def test_instances_and_hosts_are_resolved_together(job, cloud):
    cloud.launch(LOST, A, IRELAND)
    cloud.attach(OTHER, B, VIRGINIA)
    counts = job.run([asset(3, LOST), host(4), host(5, "0a:00:00:00:00:01")])
    assert (counts["assets"], counts["hosts"], counts["unrecognised"]) == (2, 1, {"not_found": 1})
    assert (job.place(3), job.place(4), job.place(5)) == ((A, IRELAND), (B, VIRGINIA), (None, None))


def test_two_matches_are_counted_and_not_guessed(job, cloud):
    cloud.attach(LOST, A, IRELAND)
    cloud.attach(OTHER, B, VIRGINIA)
    assert job.run([host(3)])["unrecognised"] == {"ambiguous": 1}
    assert job.place(3) == (None, None)


def test_addresses_that_disagree_are_no_match(job, cloud):
    cloud.attach(OTHER, B, VIRGINIA, addresses=("10.0.0.6",))
    assert job.run([host(3)])["unrecognised"] == {"contradicts_tenable": 1}


def test_an_address_counts_within_its_vpc_only(job, cloud):
    cloud.attach(OTHER, B, VIRGINIA)
    in_vpc = {"id": "asset-3", "network": {"ipv4s": [ADDRESS]}, "cloud": {"aws": {"vpc_id": "vpc-1"}}}
    assert job.run([in_vpc])["hosts"] == 1
    assert {name for _, name, _ in cloud.asked} == {BY_ADDRESS}
    cloud.asked = []
    assert job.run([{"id": "asset-4", "network": {"ipv4s": [ADDRESS]}}]) == {
        "assets": 0,
        "unresolved": {},
        "silent": {},
    }
    assert cloud.asked == []


@pytest.mark.parametrize(
    "row",
    [
        host(3, "00:50:56:a6:0c:5b"),
        host(3, timestamps={"deleted_at": "2026-01-01T00:00:00Z"}),
        host(3, name="arn:aws:sqs:eu-west-1:111122223333:orders"),
        host(3, cloud={"aws": {"ec2_instance_id": "vm-1"}}),
    ],
)
def test_what_is_not_asked_for(job, cloud, row):
    cloud.attach(OTHER, B, VIRGINIA)
    assert "hosts" not in job.run([row])
    assert cloud.asked == []


def test_answers_are_kept_for_a_day_and_as_long_as_the_addresses_are_the_same(job, cloud):
    cloud.attach(OTHER, B, VIRGINIA)
    rows = [host(3), host(4, "0a:00:00:00:00:01")]
    job.run(rows)
    cloud.asked = []
    assert job.run(rows, now=NOW + 0.9 * DAY)["hosts"] == 1
    assert cloud.asked == []
    job.run([host(3, ipv4s=["10.0.0.7"]), rows[1]], now=NOW + 0.9 * DAY)
    assert {tuple(values) for _, _, values in cloud.asked} == {(MAC,)}
    assert job.place(3) == (None, None)
    # The network interface has been moved to another instance.
    cloud.sightings.clear()
    cloud.attach(LOST, B, VIRGINIA)
    assert job.run(rows, now=NOW + 2 * DAY)["hosts"] == 1
    assert resolving_hosts.recalled(_kept(job))["asset-3"].instance == LOST


def _kept(job):
    return msgspec.json.decode(job.folder.resolved_instances.read_bytes())["hosts"]


def test_what_is_known_stands_while_its_place_does_not_answer(job, cloud):
    cloud.attach(OTHER, B, VIRGINIA)
    job.run([host(3)])
    cloud.refuses[Place(B, VIRGINIA)] = ConfigurationError("no")
    counts = job.run([host(3)], now=NOW + 2 * DAY)
    assert (counts["hosts"], set(counts["silent"])) == (1, {f"{B}/{VIRGINIA}"})
    # Nobody has confirmed it, so that it is asked for again.
    assert _kept(job)["asset-3"][0] == NOW
    job.destinations[0]["accounts"] = [A]
    assert job.run([host(3)], now=NOW + 3 * DAY)["hosts"] == 1


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        [NOW, "d", OTHER, B, VIRGINIA],
        [True, "d", OTHER, B, VIRGINIA, ""],
        [NOW, "d", "i-x", B, VIRGINIA, ""],
        [NOW, "d", OTHER, "1", VIRGINIA, ""],
        [NOW, "d", OTHER, B, "x", ""],
        [NOW, "d", OTHER, B, VIRGINIA, "not_found"],
        [NOW, "d", "", "", "", ""],
        [NOW, "d", "", "", "", "not_answered"],
        [NOW, 5, "", "", "", "not_found"],
    ],
)
def test_what_cannot_have_been_remembered_is_asked_for_again(entry):
    assert recalled({"asset-3": entry}) == {}


@pytest.mark.parametrize("value", [None, 5, [], "x"])
def test_a_damaged_memory_is_none(value):
    assert recalled(value) == {}


def test_a_call_has_at_most_as_many_values_as_ec2_takes():
    hosts = [Host(frozenset({f"02:00:00:00:00:{number:02x}"}), frozenset({ADDRESS}), "", "", "") for number in range(5)]
    hosts.append(Host(frozenset(), frozenset({"10.0.0.8"}), "vpc-1", A, ""))
    batches = batches_of(hosts, Place(A, IRELAND), 2)
    assert [(name, len(values)) for name, values in batches] == [(BY_MAC, 2), (BY_MAC, 2), (BY_MAC, 1), (BY_ADDRESS, 1)]
    assert [name for name, _ in batches_of(hosts, Place(B, IRELAND), 200)] == [BY_MAC]


def test_numbers_are_bounded_and_those_asked_longest_ago_come_first(monkeypatch):
    monkeypatch.setattr(resolving_hosts, "_MOST_HOSTS", 3)
    monkeypatch.setattr(resolving_hosts, "_MOST_DUE", 2)
    rows = {
        f"asset-{number}": AssetRow(id=f"asset-{number}", macs=f'["02:00:00:00:00:0{number}"]') for number in range(5)
    }
    hosts = hosts_of(rows)
    assert list(hosts) == ["asset-0", "asset-1", "asset-2"]
    known = {
        name: resolving_hosts.KnownHost(NOW - DAY * days, resolving_hosts.digest_of(hosts[name]), "", None, "not_found")
        for name, days in (("asset-0", 2), ("asset-1", 3))
    }
    assert list(due_hosts(hosts, known, NOW)) == ["asset-2", "asset-1"]
