"""Which instance a host without an instance id is: by MAC and private addresses, and never by a guess."""

from __future__ import annotations

import itertools
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.assets.placement import (
    AMBIGUOUS,
    CONTRADICTS_TENABLE,
    NOT_ANSWERED,
    NOT_FOUND,
    OTHER_OWNER,
    TERMINATED,
    Answer,
    Place,
)
from airflow_provider_tenable.assets.unnamed_hosts import (
    Host,
    Interface,
    Sighting,
    host_of,
    recognise,
    unnamed_hosts,
)
from airflow_provider_tenable.aws import ec2_mac_of
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.staging.parquet import encode_rows
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow, row_of_details
from airflow_provider_tenable.tenable_vm.kinds import ASSETS

A, B = Place("111122223333", "eu-west-1"), Place("222233334444", "us-east-1")
I, J = "i-0123456789abcdef0", "i-00000000000000001"  # noqa: E741 - two instances
MAC, OTHER_MAC, VPC = "02:aa:bb:cc:dd:01", "06:aa:bb:cc:dd:02", "vpc-1"
HOST = Host(frozenset({MAC}), frozenset({"10.0.0.5"}), "", "", "")


def seen(
    instance=I, place=A, *, mac=MAC, addresses=("10.0.0.5",), vpc=VPC, state="running", owner=None, more=()
) -> Sighting:
    answer = Answer(instance, place, owner or place.account, place.region + "a", state)
    return Sighting(answer, (Interface(mac, frozenset(addresses), vpc), *more))


def host(**changes) -> Host:
    return msgspec.structs.replace(HOST, **changes)


@pytest.mark.parametrize(
    ("known", "sightings", "found"),
    [
        (HOST, [seen()], (I, A)),
        (HOST, [seen(), seen()], (I, A)),
        (HOST, [seen(addresses=("10.0.0.4", "10.0.0.5"))], (I, A)),
        (HOST, [], NOT_FOUND),
        # MAC and address must agree, on one interface.
        (HOST, [seen(addresses=("10.0.0.6",))], CONTRADICTS_TENABLE),
        (
            HOST,
            [seen(addresses=("10.0.0.6",), more=(Interface(OTHER_MAC, frozenset({"10.0.0.5"}), VPC),))],
            CONTRADICTS_TENABLE,
        ),
        (HOST, [seen(mac=OTHER_MAC)], NOT_FOUND),
        # Only one of them is known.
        (host(addresses=frozenset()), [seen(addresses=("10.0.0.6",))], (I, A)),
        (host(macs=frozenset(), vpc=VPC), [seen()], (I, A)),
        (host(macs=frozenset(), vpc=VPC), [seen(vpc="vpc-2")], NOT_FOUND),
        # An address alone is everywhere.
        (host(macs=frozenset()), [seen()], NOT_FOUND),
        (host(vpc="vpc-2"), [seen()], CONTRADICTS_TENABLE),
        (host(account=A.account, region=A.region), [seen()], (I, A)),
        (host(account=B.account), [seen()], NOT_FOUND),
        (host(region=B.region), [seen()], NOT_FOUND),
        # Two matches are none.
        (HOST, [seen(), seen(J)], AMBIGUOUS),
        (HOST, [seen(), seen(J, B)], AMBIGUOUS),
        (HOST, [seen(), seen(I, B)], AMBIGUOUS),
        (HOST, [seen(), seen(J, addresses=("10.0.0.6",))], (I, A)),
        (HOST, [seen(state="terminated")], TERMINATED),
        (HOST, [seen(owner=B.account)], OTHER_OWNER),
        (HOST, [seen("x"), seen("")], NOT_FOUND),
    ],
)
def test_one_match_that_agrees_is_the_instance(known, sightings, found):
    for order in itertools.permutations(sightings):
        assert recognise(known, order) == found


def test_who_does_not_answer_leaves_it_open():
    assert recognise(HOST, [], silent={B}) == NOT_ANSWERED
    assert recognise(HOST, [seen()], silent={B}) == (I, A)
    # Only a MAC address is known: the other place may have it too.
    assert recognise(host(addresses=frozenset()), [seen()], silent={B}) == NOT_ANSWERED
    # What was known stands while its place is silent, and no longer.
    assert recognise(HOST, [], earlier=(I, A), silent={A}) == (I, A)
    assert recognise(HOST, [], earlier=(I, A), silent={B}) == NOT_ANSWERED
    assert recognise(HOST, [], earlier=(I, A)) == NOT_FOUND
    assert recognise(HOST, [seen(J, B)], earlier=(I, A), silent={A}) == AMBIGUOUS


def row_of(**asset) -> AssetRow:
    (row,) = ASSETS.rows(json.dumps([{"id": "a", **asset}]).encode())
    assert isinstance(row, AssetRow)
    return row


def network(*macs, ipv4s=("10.0.0.5", "203.0.113.1"), interfaces=()):
    listed = [{"name": "eth", "mac_addresses": list(each)} for each in interfaces]
    return {"mac_addresses": list(macs), "ipv4s": list(ipv4s), "network_interfaces": listed}


@pytest.mark.parametrize(
    ("asset", "found"),
    [
        ({"network": network(MAC)}, HOST),
        ({"network": network(MAC.upper().replace(":", "-"))}, HOST),
        ({"network": network(interfaces=[[MAC], [MAC, "00:50:56:a6:0c:5b"]])}, HOST),
        ({"network": network(MAC, ipv4s=[])}, host(addresses=frozenset())),
        ({"network": network(MAC, ipv4s=["8.8.8.8", "x"])}, host(addresses=frozenset())),
        ({"network": network(), "cloud": {"aws": {"vpc_id": VPC}}}, host(macs=frozenset(), vpc=VPC)),
        (
            {"network": network(MAC), "cloud": {"aws": {"owner_id": A.account, "availability_zone": "eu-west-1a"}}},
            host(account=A.account, region=A.region),
        ),
        # Not enough, or contradictory.
        ({"network": network()}, None),
        ({"network": network("00:50:56:a6:0c:5b", "ff:ff:ff:ff:ff:ff", "x")}, None),
        ({"network": network(MAC), "cloud": {"aws": {"owner_id": "a" * 64}}}, None),
        ({"network": network(MAC), "cloud": {"aws": {"region": "nowhere"}}}, None),
        ({"network": network(MAC), "cloud": {"aws": {"ec2_instance_id": I}}}, None),
    ],
)
def test_what_a_host_is_recognised_by(asset, found):
    assert host_of(row_of(**asset)) == found


def test_an_asset_looked_up_singly_says_the_same():
    row = row_of_details({"id": "a", "mac_address": [MAC], "ipv4": ["10.0.0.5"]})
    assert row is not None
    assert host_of(row) == HOST


@pytest.mark.parametrize("junk", [None, 5, "x", [None], [5], {"mac_addresses": 1}, [{"mac_addresses": [MAC, 5, None]}]])
def test_junk_costs_that_field_only(junk):
    for name in ("mac_addresses", "network_interfaces"):
        assert row_of(network={"ipv4s": ["10.0.0.5"], name: junk}).addresses == '["10.0.0.5"]'


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        (MAC, MAC),
        ("0A-BB-CC-DD-EE-0F", "0a:bb:cc:dd:ee:0f"),
        (" 0e:00:00:00:00:00 ", "0e:00:00:00:00:00"),
        ("00:50:56:a6:0c:5b", None),
        ("01:00:00:00:00:00", None),
        ("03:00:00:00:00:00", None),
        ("02:aa:bb:cc:dd", None),
        ("02:aa:bb:cc:dd:01:02", None),
        ("02:aa:bb:cc:dd:0g", None),
        ("", None),
        ("02" * 1_000_000, None),
    ],
)
def test_mac_addresses_are_those_of_ec2(text, mac):
    assert ec2_mac_of(text) == mac


_macs, _addresses = st.sampled_from([MAC, OTHER_MAC]), st.sampled_from(["10.0.0.5", "10.0.0.6", "10.0.0.7"])
_places, _vpcs = st.sampled_from([A, B]), st.sampled_from([VPC, "vpc-2", ""])
_sightings = st.builds(
    seen, st.sampled_from([I, J, "x"]), _places, mac=_macs, addresses=st.lists(_addresses), vpc=_vpcs,
    state=st.sampled_from(["running", "terminated"]), owner=st.sampled_from([None, B.account]),
)  # fmt: skip
_hosts = st.builds(
    Host, st.frozensets(_macs), st.frozensets(_addresses), _vpcs,
    st.sampled_from(["", A.account]), st.sampled_from(["", A.region, B.region]),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(_hosts, st.lists(_sightings, max_size=5), st.frozensets(_places))
def test_what_is_recognised_agrees_with_all_that_is_known(known, sightings, silent):
    found = recognise(known, sightings, silent=silent)
    if isinstance(found, str):
        return
    instance, place = found
    assert known.allows(place)
    matching = [
        each
        for each in sightings
        if (each.answer.instance, each.answer.place) == found
        and any(
            (interface.mac in known.macs or (not known.macs and known.vpc))
            and (not known.addresses or known.addresses & interface.addresses)
            and known.vpc in ("", interface.vpc)
            for interface in each.interfaces
        )
    ]
    assert matching
    assert all(each.answer.owner == place.account for each in matching)
    # No second instance would do as well.
    others = [each for each in sightings if each.answer.instance == (J if instance == I else I)]
    assert recognise(known, others) in (NOT_FOUND, CONTRADICTS_TENABLE)


def part_of(tmp_path, name: str, *assets):
    path = tmp_path / name
    path.write_bytes(encode_rows([row_of(**asset) for asset in assets], AssetRow))
    return open_path(f"file://{path}")


def test_of_all_assets_those_are_found_that_ec2_may_recognise_as_they_were_last(tmp_path):
    known, in_vpc = {"network": network(MAC)}, {"network": network(), "cloud": {"aws": {"vpc_id": VPC}}}
    named = {**known, "name": "arn:aws:sqs:eu-west-1:111122223333:orders"}
    first = part_of(
        tmp_path,
        "1",
        {"id": "stays", **known},
        {"id": "in-vpc", **in_vpc},
        {"id": "placed", **known, "cloud": {"aws": {"ec2_instance_id": I}}},
        {"id": "named", **named},
        {"id": "bare"},
        {"id": "vpc-only", "cloud": {"aws": {"vpc_id": VPC}}},
        {"id": "deleted", **known, "timestamps": {"deleted_at": "2026-01-01T00:00:00Z"}},
        # Twice: its last row counts.
        {"id": "twice", **in_vpc},
        {"id": "no-more", **known},
        {"id": "twice", **known},
        {"id": "no-more"},
        {"id": "placed-later", **known},
        {"id": "moved", **in_vpc},
    )
    second = part_of(
        tmp_path,
        "2",
        {"id": "placed-later", **known, "cloud": {"aws": {"ec2_instance_id": I}}},
        {"id": "moved", **known},
    )
    nobody = part_of(tmp_path, "3", {"id": "x"})
    found = unnamed_hosts([first, second, nobody])
    assert set(found) == {"stays", "in-vpc", "twice", "moved"}
    assert {name: host_of(row) for name, row in found.items()} == {
        "stays": HOST,
        "in-vpc": host(macs=frozenset(), vpc=VPC),
        "twice": HOST,
        "moved": HOST,
    }
    assert set(unnamed_hosts([first])) == {"stays", "in-vpc", "twice", "placed-later", "moved"}
    assert unnamed_hosts([nobody]) == unnamed_hosts([]) == {}
