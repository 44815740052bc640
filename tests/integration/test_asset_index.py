"""A moving estate: whatever happens to its assets, the findings that the asset index gives are, byte for byte, those of
a full export at the same moment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.run import plan as pipeline
from airflow_provider_tenable.run.manifests import destinations_of, shard_manifests
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.parts import read_lines
from sandbox.standalone.airflow import connections
from tests.integration.conftest import Sandbox, connect
from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import Run, Variables

HOUR = 3600
#: Everything that there is, of every asset: findings of assets that are no instances too.
ALL = {"non_ec2_assets": "other", "severities": ["info", "low", "medium", "high", "critical"]}


class Estate:
    """The sandbox's estate, and what is done to it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.hidden: list[str] = []

    def assets(self) -> list[dict[str, Any]]:
        """Instances that are there."""
        found = self.sandbox.tenable("truth")["assets"]
        return [
            each
            for each in found
            if each["asset_kind"] == "ec2"
            and not each["deleted_at"]
            and not each["terminated_at"]
            and not each["is_hidden"]
        ]

    def change(self, *orders: dict[str, Any]) -> None:
        self.sandbox.tenable("change", list(orders))

    def move(self, number: int) -> None:
        """Five hours, in which assets are scanned and launched by themselves, and a change of each kind."""
        self.sandbox.advance(5 * HOUR)
        there = self.assets()
        some = [there[(7 * number + position) % len(there)]["asset_id"] for position in range(6)]
        new = {
            "account": self.sandbox.accounts[number % 3],
            "region": ("eu-west-1", "us-east-1")[number % 2],
            "tags": [["Owner", f"team-{number}"]],
            "resource_tags": [["Name", f"host-{number}"], ["stage", "prod"]],
            "acr": number % 10 + 1,
        }
        self.change(
            {"do": "change_asset", "asset_id": some[0], "set": {"account": new["account"], "region": new["region"]}},
            {
                "do": "change_asset",
                "asset_id": some[1],
                "set": {"tags": new["tags"], "resource_tags": new["resource_tags"]},
            },
            {
                "do": "change_asset",
                "asset_id": some[2],
                "set": {"acr": new["acr"], "instance_type": "m7g.large", "name": f"renamed-{number}"},
            },
            {"do": "terminate", "asset_id": some[3]},
            {"do": "delete", "asset_id": some[4]},
            {"do": "rescan", "asset_id": some[5]},
            {"do": "launch"},
            {"do": "launch", "hidden": True},
        )
        # The asset that is launched hidden misses the next export, and comes with the one after it, dated before both.
        hidden = [each["asset_id"] for each in self.sandbox.tenable("truth")["assets"] if each["is_hidden"]]
        self.change(*({"do": "show_asset", "asset_id": asset} for asset in hidden if asset in self.hidden))
        self.hidden = hidden


@pytest.fixture
def estate(sandbox: Sandbox, variables: Variables) -> Iterator[Estate]:
    sandbox.tenable("options", {"prepare_seconds": 0.02})
    return Estate(sandbox)


def exported(defaults: dict[str, Any]) -> tuple[Run, dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A run as far as its exports."""
    run = Run(params=ALL, defaults=defaults)
    plan = pipeline.plan_run(run.context)
    return (
        run,
        plan,
        run.export("assets", plan["asset_filters"], poll_interval=0.03),
        run.export("vulnerabilities", plan["vulnerability_filters"], poll_interval=0.03),
    )


def findings(run: Run) -> dict[str, list[bytes]]:
    """All staged lines of a run, by account and Region; and what became no finding."""
    manifests = shard_manifests(run.folder)
    found = {f"{each['account']}/{each['region']}": sorted(_lines(run, each)) for each in destinations_of(manifests)}
    return {
        **found,
        "skipped": sorted(repr(sorted(each["skipped"].items())).encode() for each in manifests),
        "parked": [b"%d" % sum(each["parked"] for each in manifests)],
    }


def _lines(run: Run, entry: dict[str, Any]) -> Iterator[bytes]:
    for part in entry["parts"]:
        yield from read_lines(run.folder.destination(entry["account"], entry["region"]) / part)


def of_a_full_export(
    run: Run, plan: dict[str, Any], vulnerabilities: dict[str, Any], defaults: dict[str, Any]
) -> dict[str, list[bytes]]:
    """The findings of the same vulnerabilities with all assets as Tenable exports them at this moment."""
    other = Run(params=ALL, defaults=defaults)
    assets = other.export("assets", {}, poll_interval=0.03)
    write_json(other.folder.shards, {"count": 1})
    shard = {"index": 0, "count": 1}
    TenableToAsffOperator(
        task_id="full", shard=shard, assets=assets, vulnerabilities=vulnerabilities, plan=plan
    ).execute(other.context)
    return findings(other)


def test_index_and_full_export_give_the_same_findings_over_a_moving_estate(
    estate: Estate, defaults: dict[str, Any]
) -> None:
    full = []
    for number in range(11):
        run, plan, vulnerabilities = exported_once(defaults)
        ours = findings(run)
        assert ours == of_a_full_export(run, plan, vulnerabilities, defaults), number
        assert sum(map(len, ours.values())) > 1000
        if not plan["asset_filters"]:
            full.append(number)
        estate.move(number)
    # Five hours each: one full export a day.
    assert full == [0, 5, 10]


def test_so_it_is_where_full_exports_lack_what_is_gone(estate: Estate, defaults: dict[str, Any]) -> None:
    """The API docs do not say whether they do. Without the index a terminated asset is then looked up singly, which
    tells less of it: no resource tags.
    """
    estate.sandbox.tenable("options", {"omits_gone_assets": True})
    for number in range(4):
        run, plan, vulnerabilities = exported_once(defaults)
        ours, theirs = findings(run), of_a_full_export(run, plan, vulnerabilities, defaults)
        assert plain(ours) == plain(theirs)
        assert number == 0 or ours != theirs
        estate.move(number)


def plain(found: dict[str, list[bytes]]) -> dict[str, list[Any]]:
    """Findings without what is told of their assets."""

    def told(line: bytes) -> Any:
        finding = json.loads(line)
        return finding["Id"], finding["UpdatedAt"], finding["RecordState"], finding["FindingProviderFields"]["Severity"]

    return {place: sorted(map(told, lines), key=str) if "/" in place else lines for place, lines in found.items()}


def test_of_a_days_runs_one_exports_all_assets(estate: Estate, variables: Variables, defaults: dict[str, Any]) -> None:
    records, reports = [], []
    for _ in range(5):
        run = Run(params={"severities": ["critical"]}, defaults={**defaults, "severities": ["critical"]})
        run.execute()
        records.append(transferred(run))
        reports.append(run.report)
        assert delivered(estate.sandbox.documents()) == expected(
            estate.sandbox.tenable("truth"), accounts=estate.sandbox.accounts, severities=(4,)
        )
        estate.sandbox.advance(6 * HOUR)
    jobs = [each for each in estate.sandbox.tenable("stats")["exports"] if each["kind"] == "assets"]
    assert ["since" in each["filters"] for each in jobs] == [False, True, True, True, False]
    # A fifth of the hosts are scanned a day, and an hour of lag is asked for again.
    assert records[0] >= 59
    assert sum(records[1:4]) < records[0]
    assert f"all {records[0]} exported: this run is a full one" in reports[0]
    assert f"{records[1]} exported, changed since" in reports[1]
    assert f"{records[0]} of " in reports[1]


def transferred(run: Run) -> int:
    """Assets that Tenable sent to a run."""
    return sum(part["records"] for part in read_json(run.folder.export("assets") / "export.json")["parts"].values())


def test_what_tenable_does_not_date_comes_with_the_next_full_export(estate: Estate, defaults: dict[str, Any]) -> None:
    """The negative control: without its update a row is the old one, and the comparison above would see it."""
    exported_once(defaults)
    asset = estate.assets()[0]["asset_id"]
    estate.sandbox.advance(5 * HOUR)
    estate.change(
        {"do": "change_asset", "asset_id": asset, "set": {"tags": [["Owner", "nobody-knows"]]}, "silently": True}
    )
    seen = []
    for _ in range(5):
        run, plan, vulnerabilities = exported_once(defaults)
        seen.append(findings(run) == of_a_full_export(run, plan, vulnerabilities, defaults))
        estate.sandbox.advance(5 * HOUR)
    assert seen == [False] * 4 + [True]


def exported_once(defaults: dict[str, Any]) -> tuple[Run, dict[str, Any], dict[str, Any]]:
    """A run as far as its findings."""
    run, plan, assets, vulnerabilities = exported(defaults)
    run.transform(plan, assets, vulnerabilities)
    return run, plan, vulnerabilities


def test_asset_that_is_published_after_the_lag_is_looked_up_singly(
    estate: Estate, variables: Variables, defaults: dict[str, Any]
) -> None:
    """Its update is older than what the index asks for: without the look-up its findings would wait for the next full
    export.
    """
    Run(defaults=defaults).execute()
    estate.sandbox.advance(HOUR)
    estate.change({"do": "launch", "hidden": True, "vulnerabilities": 30})
    first = Run(defaults=defaults)
    first.execute()
    assert first.ledger["parked"] > 0
    estate.sandbox.advance(3 * HOUR)
    Run(defaults=defaults).execute()
    (hidden,) = (each["asset_id"] for each in estate.sandbox.tenable("truth")["assets"] if each["is_hidden"])
    estate.change({"do": "show_asset", "asset_id": hidden})
    last = Run(defaults=defaults)
    last.execute()
    assert last.ledger["unparked"] >= first.ledger["parked"]
    assert last.ledger["parked"] == 0
    assert delivered(estate.sandbox.documents()) == expected(
        estate.sandbox.tenable("truth"), accounts=estate.sandbox.accounts
    )


def test_another_user_of_tenable_has_an_index_of_its_own(
    estate: Estate, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Run(defaults=defaults).execute()
    tenable = {**connections(estate.sandbox.process)["tenable_default"]}
    connect(monkeypatch, "tenable_default", {**tenable, "login": f"noview-{tenable['login']}"})
    # It may not continue from the other one's watermark.
    run = Run(defaults=defaults, params={"since": 1})
    assert pipeline.plan_run(run.context)["asset_filters"] == {}
    connect(monkeypatch, "tenable_default", tenable)
    run = Run(defaults=defaults)
    assert "since" in pipeline.plan_run(run.context)["asset_filters"]
