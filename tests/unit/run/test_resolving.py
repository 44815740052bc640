"""Instances that EC2 places: what is asked of whom, what is kept, and what the run's later tasks read."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from airflow_provider_tenable.assets.index import staged_assets
from airflow_provider_tenable.assets.placement import Answer, Place
from airflow_provider_tenable.assets.table import AssetTable
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.export.state import ExportState
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.run import asking_ec2, resolving
from airflow_provider_tenable.run.resolving import read_resolved, resolve_unplaced
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder

A, B = "111122223333", "222233334444"
IRELAND, VIRGINIA = "eu-west-1", "us-east-1"
LOST, OTHER = "i-0123456789abcdef0", "i-00000000000000001"
DAY = 86400
NOW = 1_000 * DAY


def asset(number, instance, *, owner=None, region=None, **more):
    aws = {"ec2_instance_id": instance, "owner_id": owner, "region": region}
    cloud = {"aws": {name: value for name, value in aws.items() if value is not None}}
    return {"id": f"asset-{number}", "cloud": cloud, **more}


#: What tells the run which accounts and Regions there are.
PLACED = [asset(1, "i-11111111", owner=A, region=IRELAND), asset(2, "i-22222222", owner=B, region=VIRGINIA)]


class Cloud:
    """EC2 in all accounts and Regions, in the place of the hook."""

    def __init__(self):
        self.instances: list[Answer] = []
        self.calls: list[tuple[Place, list[str]]] = []
        self.refuses: dict[Place, Exception] = {}
        self.unasked: list[Answer] = []

    def launch(self, instance, account, region, *, owner=None, state="running"):
        self.instances.append(Answer(instance, Place(account, region), owner or account, region + "a", state))

    def hook(self, place, destination):
        return Hook(self, place)


class Hook:
    def __init__(self, cloud, place):
        self.cloud, self.place = cloud, place

    def close(self):
        pass

    def find(self, instances, place):
        assert place == self.place
        self.cloud.calls.append((place, list(instances)))
        if place in self.cloud.refuses:
            raise self.cloud.refuses[place]
        yield from (each for each in self.cloud.instances if each.place == place and each.instance in instances)
        yield from (each for each in self.cloud.unasked if each.place == place)


@pytest.fixture
def cloud(monkeypatch):
    found = Cloud()
    monkeypatch.setattr(resolving, "_hook", found.hook)
    return found


class Job:
    """Runs of a DAG over some assets."""

    def __init__(self, path):
        self.path, self.number = path, 0
        self.destinations = [{"aws_conn_id": "aws", "accounts": [A, B], "role_name": "r", "caller_account": A}]
        self.plan = {"resolves_instances": True, "settings": {"region_routing": "resource"}}

    def run(self, *parts, now=NOW):
        """:return: what the run counts, and where its assets are."""
        self.number += 1
        self.folder = RunFolder(f"file://{self.path}", "dag", f"run-{self.number}")
        store = StagedExport(self.folder.export("assets"), "assets")
        staged = {
            str(number): store.put(str(number), 1, store.encode([json.dumps(part).encode()]))
            for number, part in enumerate([PLACED, *parts])
        }
        store.save(ExportState("assets", {}, 0.0, uuid="u", data_from=1.0, complete=True, parts=staged))
        plan = {**self.plan, "destinations": self.destinations}
        write_json(self.folder.plan, plan)
        return self.again(now)

    def again(self, now=NOW):
        counts = resolve_unplaced(self.folder, read_json(self.folder.plan), now=now)
        assert counts == read_resolved(self.folder)
        return counts

    def place(self, number):
        """The account and Region of an asset, as later tasks see it."""
        with closing(AssetTable(staged_assets(str(self.folder.export("assets"))))) as table:
            row = table.get(f"asset-{number}")
        return row.owner_id, row.region


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path)


def test_instance_gets_the_account_whose_role_has_found_it(job, cloud):
    cloud.launch(LOST, B, IRELAND)
    assert job.run([asset(3, LOST)]) == {"assets": 1, "unresolved": {}, "silent": {}}
    assert job.place(3) == (B, IRELAND)
    assert job.place(1) == (A, IRELAND)
    # Each account in each Region, and only what is not known.
    assert sorted(cloud.calls) == [
        (Place(account, region), [LOST]) for account in (A, B) for region in (IRELAND, VIRGINIA)
    ]


def test_without_the_option_nobody_reads_what_an_earlier_attempt_has_found(job, cloud):
    cloud.launch(LOST, B, IRELAND)
    job.run([asset(3, LOST)])
    write_json(job.folder.plan, {**read_json(job.folder.plan), "resolves_instances": False})
    assert job.place(3) == (None, None)


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"owner": A}, "not_found"),
        ({"region": VIRGINIA}, "not_found"),
    ],
)
def test_tenable_is_never_overridden(job, cloud, known, reason):
    """Where Tenable names the account or the Region, only that one is asked."""
    cloud.launch(LOST, B, IRELAND)
    assert job.run([asset(3, LOST, **known)])["unresolved"] == {reason: 1}
    asked = {place for place, _ in cloud.calls}
    assert all(place.account == known.get("owner", place.account) for place in asked)
    assert all(place.region == known.get("region", place.region) for place in asked)
    assert Place(B, IRELAND) not in asked
    assert job.place(3) == (known.get("owner"), known.get("region"))


def test_assets_of_one_instance_that_tenable_places_differently(job, cloud):
    cloud.launch(LOST, B, IRELAND)
    counts = job.run([asset(3, LOST, owner=A), asset(4, LOST), asset(5, LOST, owner=B)])
    assert counts == {"assets": 2, "unresolved": {"contradicts_tenable": 1}, "silent": {}}
    assert (job.place(3), job.place(4), job.place(5)) == ((A, None), (B, IRELAND), (B, IRELAND))


@pytest.mark.parametrize(
    "row",
    [
        asset(3, LOST, owner="somebody"),
        asset(3, LOST, region="nowhere"),
        asset(3, "vm-1"),
        asset(3, LOST, timestamps={"terminated_at": "2026-01-01T00:00:00Z"}),
        asset(3, LOST, timestamps={"deleted_at": "2026-01-01T00:00:00Z"}),
        {"id": "asset-3"},
    ],
)
def test_what_is_not_asked_for(job, cloud, row):
    cloud.launch(LOST, B, IRELAND)
    assert job.run([row]) == {"assets": 0, "unresolved": {}, "silent": {}}
    assert cloud.calls == []


def test_last_row_of_an_asset_counts(job, cloud):
    """The connector has learned of the instance: in a later part, or later in the same one."""
    cloud.launch(LOST, B, IRELAND)
    settled = asset(3, LOST, owner=A, region=VIRGINIA)
    assert job.run([asset(3, LOST)], [settled])["assets"] == 0
    assert job.place(3) == (A, VIRGINIA)
    assert job.run([asset(3, LOST), settled])["assets"] == 0
    assert job.run([settled], [asset(3, LOST)])["assets"] == 1


def test_two_claims_are_counted_and_not_guessed(job, cloud):
    cloud.launch(LOST, A, IRELAND)
    cloud.launch(LOST, B, VIRGINIA)
    assert job.run([asset(3, LOST)]) == {"assets": 0, "unresolved": {"ambiguous": 1}, "silent": {}}
    assert job.place(3) == (None, None)


def test_instances_of_others_that_are_gone_or_were_not_asked_for(job, cloud, caplog):
    cloud.launch(LOST, A, IRELAND, owner=B)
    cloud.launch(OTHER, A, IRELAND, state="terminated")
    cloud.unasked = [Answer("i-33333333", Place(A, IRELAND), A, "eu-west-1a", "running")]
    counts = job.run([asset(3, LOST), asset(4, OTHER)])
    assert counts["unresolved"] == {"other_owner": 1, "terminated": 1}
    assert "described 1 instances that were not asked for" in caplog.text
    # Nor does an answer count about an instance that this place was not asked for.
    cloud.unasked = [Answer("i-44444444", Place(A, IRELAND), A, "eu-west-1a", "running")]
    counts = job.run([asset(3, "i-44444444", owner=B), asset(4, "i-55555555")])
    assert counts["unresolved"] == {"not_found": 2}


def test_account_that_refuses_delays_no_other_and_is_named(job, cloud):
    cloud.launch(LOST, A, IRELAND)
    for region in (IRELAND, VIRGINIA):
        cloud.refuses[Place(B, region)] = ConfigurationError("\x1b[31mno ec2:DescribeInstances")
    counts = job.run([asset(3, LOST), asset(4, OTHER)])
    assert (counts["assets"], counts["unresolved"]) == (1, {"not_answered": 1})
    assert set(counts["silent"]) == {f"{B}/{IRELAND}", f"{B}/{VIRGINIA}"}
    assert all("ec2:DescribeInstances" in why and "\x1b" not in why for why in counts["silent"].values())
    # It is asked again by the next run, and only it.
    cloud.refuses, cloud.calls = {}, []
    cloud.launch(OTHER, B, VIRGINIA)
    assert job.run([asset(3, LOST), asset(4, OTHER)])["assets"] == 2
    assert {tuple(asked) for _, asked in cloud.calls} == {(OTHER,)}


def test_answers_are_kept_and_checked_again_in_time(job, cloud):
    cloud.launch(LOST, B, IRELAND)
    rows = [asset(3, LOST), asset(4, OTHER)]
    job.run(rows)
    cloud.calls = []
    assert job.run(rows, now=NOW + 0.5 * DAY)["unresolved"] == {"not_found": 1}
    assert cloud.calls == []
    job.run(rows, now=NOW + 2 * DAY)
    assert {tuple(asked) for _, asked in cloud.calls} == {(OTHER,)}
    # It has gone, as far as all accounts say.
    cloud.instances.clear()
    assert job.run(rows, now=NOW + 6.9 * DAY)["assets"] == 1
    assert job.run(rows, now=NOW + 7 * DAY)["unresolved"] == {"not_found": 2}


def test_place_stands_while_its_account_does_not_answer(job, cloud):
    cloud.launch(LOST, B, IRELAND)
    job.run([asset(3, LOST)])
    cloud.refuses[Place(B, IRELAND)] = ConfigurationError("no")
    assert job.run([asset(3, LOST)], now=NOW + 8 * DAY)["assets"] == 1
    assert job.place(3) == (B, IRELAND)
    # Another account claims it too, and nobody can say that it has left the first.
    cloud.launch(LOST, A, IRELAND)
    assert job.run([asset(3, LOST)], now=NOW + 9 * DAY)["unresolved"] == {"ambiguous": 1}


def test_place_that_no_destination_reaches_any_more_stands(job, cloud):
    cloud.launch(LOST, B, IRELAND)
    job.run([asset(3, LOST)])
    job.destinations[0]["accounts"] = [A]
    assert job.run([asset(3, LOST)], now=NOW + 8 * DAY)["assets"] == 1


def test_answer_of_an_account_that_fails_afterwards_counts(job, cloud, monkeypatch):
    job.run([asset(3, LOST)])
    cloud.launch(LOST, B, IRELAND)
    monkeypatch.setattr("airflow_provider_tenable.hooks.ec2_instances.MOST_VALUES", 1)

    def failing(hook, instances, place):
        if instances == [LOST] or place != Place(B, IRELAND):
            return iter([each for each in cloud.instances if each.place == place])
        raise ConfigurationError("no more")

    monkeypatch.setattr(Hook, "find", failing)
    counts = job.run([asset(3, LOST), asset(4, "i-0ffffffffffffffff")], now=NOW + 2 * DAY)
    assert (counts["assets"], counts["unresolved"]) == (1, {"not_answered": 1})


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"version": 2}', b'{"version": 1, "instances": 5, "last": 5}'])
def test_cache_that_cannot_be_read_costs_only_calls(job, cloud, content):
    cloud.launch(LOST, B, IRELAND)
    job.run([asset(3, LOST)])
    job.folder.resolved_instances.write_bytes(content)
    cloud.calls = []
    assert job.run([asset(3, LOST)])["assets"] == 1
    assert cloud.calls


@pytest.mark.parametrize("file", ["write_json", "write_whole"])
def test_process_that_dies_between_the_answers_and_the_files_loses_nothing(job, cloud, monkeypatch, file):
    cloud.launch(LOST, B, IRELAND)

    def dies(*_):
        raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(resolving, file, dies)
        with pytest.raises(SystemExit):
            job.run([asset(3, LOST)])
    assert job.place(3) == (None, None)
    cloud.calls = []
    assert job.again()["assets"] == 1
    assert job.place(3) == (B, IRELAND)
    # What had been put on record was not asked for again.
    assert bool(cloud.calls) == (file == "write_json")
    # A repetition changes nothing.
    before = job.folder.resolved_assets.read_bytes()
    assert job.again()["assets"] == 1
    assert job.folder.resolved_assets.read_bytes() == before


def test_time_is_limited_and_the_next_run_continues(job, cloud, monkeypatch):
    clock = iter(range(0, 100_000, 50))
    monkeypatch.setattr(resolving.time, "monotonic", lambda: next(clock))
    seen = set()
    for _ in range(6):
        counts = job.run([asset(3, LOST)])
        seen |= {place for place, _ in cloud.calls}
        assert counts["unresolved"] == {"not_answered": 1}
        assert set(counts["silent"].values()) == {asking_ec2.NO_TIME}
    assert len(seen) == 4


def test_accounts_and_regions_that_are_left_out_are_not_asked(job, cloud):
    job.destinations[0] |= {"exclude_accounts": [B], "regions": [IRELAND]}
    job.run([asset(3, LOST)])
    assert {place for place, _ in cloud.calls} == {Place(A, IRELAND)}
