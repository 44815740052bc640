"""The end of a run: what fails it, what it leaves behind, and when and how far the watermark moves."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import (
    ConfigurationError,
    LedgerError,
    RefusedDestinationsError,
    RejectedFindingsError,
    UnknownAssetsError,
    UnservedError,
)
from airflow_provider_tenable.export.state import ExportState, Part
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.observability import metrics
from airflow_provider_tenable.run import finish, first_run, owner, places, watermark
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.security_hub.refusals import note_refusal
from airflow_provider_tenable.staging.files import names, read_json, write_json, write_whole
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.registry import read_state
from airflow_provider_tenable.transform.waiting_records import list_pool

DAG, A, B, REGION = "dag", "111111111111", "222222222222", "eu-west-1"
UNTIL, DATA_FROM, BEFORE = 1_790_000_000, 1_789_999_000, 1_789_900_000
NOW = UNTIL + 600.0
EXPORTED = {"records": 10, "data_from": float(DATA_FROM), "parts": 1, "uuid": "u"}
PART = "parked-" + "0" * 8


def destination(*accounts: str, **change: Any) -> dict[str, Any]:
    return {
        "aws_conn_id": "aws_default",
        "accounts": list(accounts),
        "role_name": "Role",
        "region": None,
        "caller_account": A,
        "connection_region": REGION,
        "partition": "aws",
        **change,
    }


class World:
    """A run of which everything is done but its end: ten records, nine findings, one parked record."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.variables: dict[str, str] = {f"{DAG}__since": str(BEFORE)}
        self.gauges: dict[str, float] = {}
        self.plan: dict[str, Any] = {
            "window": {
                "kind": "incremental",
                "since": BEFORE - 3600,
                "until": UNTIL,
                "bounded": False,
                "watermark": BEFORE,
            },
            "settings": {
                "dry_run": False,
                "max_rejected_ratio": 0.5,
                "max_refused_destinations": None,
                "region_routing": "fixed",
                "severities": ["high"],
                "states": ["open"],
            },
            "destinations": [destination(A)],
            "usual_destinations": None,
            "narrowed": False,
            "identity": {"source": "us", "run_type": "manual", "interval": [None, None]},
            "assets": {"base": None, "source": "us", "planned_at": NOW},
        }
        self.shard: dict[str, Any] = {
            "shard": 0,
            "read": 10,
            "skipped": {},
            "skipped_accounts": [],
            "parked": 1,
            "findings": 9,
            "from_pool": False,
            "pool_parts": [],
            "parked_part": "part-shard-0000.jsonl.gz",
            "waiting_parts": ["waiting-shard-0000-00000.jsonl.gz"],
            "rejected_part": None,
            "severities": {A: {"high": 9}},
            "destinations": [
                {
                    "account": A,
                    "region": REGION,
                    "aws_conn_id": "aws_default",
                    "role_name": None,
                    "parts": [{"name": "part-0", "lines": 9, "bytes": 1}],
                }
            ],
        }
        # Reads a part of the pool, whose only record is dropped, as an older release did.
        self.pool: dict[str, Any] = {
            **copy.deepcopy(self.shard),
            "shard": 1,
            "read": 1,
            "skipped": {"severity_not_chosen": 1},
            "from_pool": True,
            "parked": 0,
            "findings": 0,
            "parked_part": None,
            "destinations": [],
            "severities": {},
        }
        del self.pool["waiting_parts"]
        self.accepted, self.rejected = 9, 0

    @property
    def context(self) -> dict[str, Any]:
        return {"dag_run": SimpleNamespace(dag_id=DAG, run_id=self.run.run_id, run_type="manual")}

    def stage(self) -> World:
        write_json(self.run.plan, self.plan)
        write_json(self.run.shards, {"count": 2})
        earlier = "earlier--part-shard-0000-0123456789abcdef.jsonl.gz"
        write_whole(self.run.parked_pool / earlier, b"[]")
        self.pool["pool_parts"] = [earlier]
        for manifest in (self.shard, self.pool):
            write_json(self.run.shard_manifest(manifest["shard"]), manifest)
        for name in ("part-shard-0000.jsonl.gz", "waiting-shard-0000-00000.jsonl.gz"):
            write_whole(self.run.parked / name, name.encode())
        receipts = Receipts(self.run, A, REGION, ["part-0"])
        for line in range(self.accepted):
            receipts.accept("part-0", line)
        for line in range(self.accepted, self.accepted + self.rejected):
            receipts.reject("part-0", line, finding_id=str(line), code="InvalidInput", message="why", finding=b"{}")
        receipts.flush()
        state = ExportState("assets", {}, 0.0, uuid="u", complete=True, source="us", parts={"1": Part("part-1", 50, 1)})
        StagedExport(self.run.export("assets"), "assets").save(state)
        return self

    def settle(self) -> Any:
        return finish.settle_run(self.context, EXPORTED)  # type: ignore[arg-type]

    def advance(self, **change: Any) -> Any:
        return finish.advance_watermark(self.context, {**EXPORTED, **change})  # type: ignore[arg-type]

    @property
    def watermark(self) -> str | None:
        return self.variables.get(f"{DAG}__since")

    @property
    def ledger(self) -> dict[str, Any]:
        return read_json(self.run.ledger) or {}

    def pooled(self) -> list[str]:
        """The runs of the parts in the pool."""
        return sorted(name.partition("--")[0] for name in names(self.run.parked_pool))


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
    world = World(RunFolder(f"file://{tmp_path}", DAG, "run"))
    for module in (watermark, owner):
        monkeypatch.setattr(module, "read_variable", world.variables.get)
        monkeypatch.setattr(
            module, "write_variable", lambda name, value, text=None: world.variables.update({name: value})
        )
    monkeypatch.setattr(finish.time, "time", lambda: NOW)

    def gauge(name: str, value: float, **tags: str) -> None:
        assert tags["dag_id"] == DAG
        world.gauges[" ".join([name, *(tags[tag] for tag in sorted(tags) if tag != "dag_id")])] = value

    monkeypatch.setattr(metrics, "gauge", gauge)
    monkeypatch.setattr(metrics, "count", gauge)
    return world


def test_a_run_that_adds_up_is_settled_and_its_parked_records_wait_for_the_next_ones(world):
    sums = world.stage().settle()
    assert (sums["exported"], sums["findings"], sums["accepted"], sums["parked"]) == (10, 9, 9, 1)
    assert (world.ledger["accepted"], world.ledger["complete"]) == (9, False)
    # What was read from the pool is gone, what this run has parked is there.
    assert world.pooled() == ["run", "run"]
    assert len(list_pool(world.run)) == 2
    assert world.watermark == str(BEFORE)
    assert not first_run.has_sent(world.run)
    # May be repeated.
    assert world.settle() == sums
    assert world.pooled() == ["run", "run"]


def test_the_watermark_moves_to_what_the_export_certainly_contains(world):
    world.stage()
    assert world.advance() == {
        "before": BEFORE,
        "after": DATA_FROM,
        "why": f"moves to {watermark.utc(DATA_FROM)}",
    }
    assert world.watermark == str(DATA_FROM)
    assert world.ledger["complete"] is True
    assert world.ledger["watermark"]["after"] == DATA_FROM
    assert "active" not in world.ledger
    assert read_json(world.run.sends) == {"source": "us", "run_id": "run"}
    status = read_json(world.run.status)
    assert (status["watermark"], status["at"], status["counts"]["accepted"]) == (DATA_FROM, int(NOW), 9)
    assert "hubs" not in status
    assert world.gauges["tenable.watermark_lag"] == NOW - DATA_FROM
    # Clearing the task changes nothing.
    assert world.advance()["why"].startswith("stays: it is already")
    assert world.advance()["after"] == DATA_FROM
    assert world.ledger["watermark"]["before"] == BEFORE


def test_an_export_whose_moment_is_unknown_moves_it_to_the_end_of_the_window(world):
    # Of the plan of an older release it is not known whose assets they were.
    del world.plan["assets"]
    world.stage()
    assert world.advance(data_from=None)["after"] == UNTIL
    assert not first_run.has_sent(world.run)


def test_counts_and_active_findings_of_a_complete_run_are_measured(world):
    world.plan["hubs"] = {"state": "first", "source": "us", "planned_at": NOW, "refresh_days": 30.0, "full": True}
    write_json(world.run.finding_index / "nothing.json", {})
    world.shard["destinations"] = []
    world.shard.update(findings=0, skipped={"severity_not_chosen": 9}, severities={})
    world.accepted = 0
    world.stage()
    world.advance()
    assert world.ledger["active"]["by_severity"] == {}
    assert read_json(world.run.status)["hubs"]["unknown"] == []
    assert world.gauges["tenable.active high"] == 0
    # A full run makes the index known.
    assert read_state(world.run.finding_index, "us").registry is not None


def test_a_dry_run_is_counted_and_leaves_nothing_behind(world):
    world.plan["settings"]["dry_run"] = True
    world.accepted = 0
    world.stage()
    assert world.settle()["findings"] == 9
    result = world.advance()
    assert result == {"before": BEFORE, "after": BEFORE, "why": "stays: dry_run"}
    assert world.pooled() == ["earlier"]
    assert world.watermark == str(BEFORE)
    assert world.ledger["complete"] is True
    assert not first_run.has_sent(world.run)
    assert not world.run.status.exists()
    assert world.gauges["tenable.watermark_lag"] == NOW - BEFORE


def test_a_dry_run_forgets_nothing_of_what_a_destination_lacks(world):
    places.note_owed(world.run, f"{A}/{REGION}", since=BEFORE, until=BEFORE + 1, why="closed", attempted=False)
    world.plan["settings"]["dry_run"] = True
    world.accepted = 0
    world.stage().advance()
    assert list(places.owed(world.run)) == [f"{A}/{REGION}"]


@pytest.mark.parametrize("step", ["settle", "advance"])
def test_a_run_that_does_not_add_up_fails_and_moves_nothing(world, step):
    world.accepted = 8
    with pytest.raises(LedgerError):
        getattr(world.stage(), step)()
    assert world.ledger["accepted"] == 8
    assert (world.watermark, world.pooled(), first_run.has_sent(world.run)) == (str(BEFORE), ["earlier"], False)


def too_many_rejected(world: World) -> None:
    world.accepted, world.rejected = 4, 5
    world.plan["settings"]["max_rejected_ratio"] = 0.0


def parked(world: World) -> None:
    world.shard.update(read=100, parked=91, missing_assets=50)


def refused(world: World) -> None:
    world.accepted = 0
    places.note_acceptance(world.run, A, REGION)
    note_refusal(world.run, A, REGION, "hub off")


def unserved(world: World) -> None:
    world.shard.update(read=30, skipped={"account_not_configured": 20}, unserved={B: {"account_not_configured": 20}})


@pytest.mark.parametrize("step", [finish.settle_run, finish.advance_watermark])
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (too_many_rejected, RejectedFindingsError),
        (parked, UnknownAssetsError),
        (refused, RefusedDestinationsError),
        (unserved, UnservedError),
    ],
)
def test_a_run_that_must_not_pass_fails_before_anything_is_parked_or_moved(world, step, change, error):
    change(world)
    world.stage()
    exported: Any = {**EXPORTED, "records": world.shard["read"]}
    with pytest.raises(error):
        step(world.context, exported)
    assert (world.watermark, world.pooled(), first_run.has_sent(world.run)) == (str(BEFORE), ["earlier"], False)
    assert world.ledger["complete"] is False


@pytest.mark.parametrize("step", [finish.settle_run, finish.advance_watermark])
@pytest.mark.parametrize("kind", ["vulnerabilities", "compliance"])
def test_an_export_without_a_result_is_named(world, step, kind):
    world.plan["kind"] = kind
    world.stage()
    for result in (None, dict.fromkeys(EXPORTED)):
        with pytest.raises(ConfigurationError, match=f"Task export_{kind} has no result"):
            step(world.context, result)


def test_an_export_of_another_tenable_is_never_settled(world):
    world.stage()
    StagedExport(world.run.export("vulnerabilities"), "vulnerabilities").save(
        ExportState("vulnerabilities", {}, 0.0, source="them")
    )
    with pytest.raises(ConfigurationError, match="vulnerabilities export comes from another Tenable"):
        world.settle()
    assert not world.run.ledger.exists()


def test_a_folder_of_another_deployment_is_left_alone(world):
    world.stage()
    write_json(world.run.owner, {"owner": "them", "at": 1})
    with pytest.raises(ConfigurationError, match="belongs to another deployment"):
        world.settle()
    assert not world.run.ledger.exists()


def test_a_run_that_delivers_less_than_usual_moves_no_watermark(world):
    world.plan["narrowed"] = True
    result = world.stage().advance()
    assert (result["after"], result["why"][:28]) == (BEFORE, "stays: the run's params deli")
    assert (world.watermark, world.ledger["complete"], first_run.has_sent(world.run)) == (str(BEFORE), True, False)


NOT_CONFIGURED = "account_not_configured"


@pytest.mark.parametrize(
    ("usual", "left_out", "moves"),
    [
        # The run's destinations are the DAG's own.
        (None, [B], True),
        # Of those it was given instead of its own, none is missing.
        ([destination(A)], [], True),
        ([destination(A)], [B], True),
        ([destination(A, B)], [B], False),
        ([destination(A, B)], [B, "333333333333"], False),
        # Its own destinations leave this account out, too.
        ([destination(exclude_accounts=[B])], [B], True),
        # The Regions of its resources are not known.
        ([destination(A, B, regions=[REGION])], [B], False),
        ([destination(A, B, partition="aws-cn", connection_region="cn-north-1")], [B], False),
    ],
)
def test_accounts_that_the_dags_own_destinations_cover_hold_the_watermark_and_the_pool(world, usual, left_out, moves):
    world.plan["usual_destinations"] = usual
    world.shard["skipped_accounts"] = left_out
    result = world.stage().advance()
    assert (result["after"], world.watermark) == ((DATA_FROM, str(DATA_FROM)) if moves else (BEFORE, str(BEFORE)))
    # What waited is still needed by the next run, which has these accounts.
    assert world.pooled() == (["run", "run"] if moves else ["earlier", "run", "run"])


def test_what_a_destination_lacks_is_on_record_before_the_pool_and_the_watermark_change(world, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_UNSERVED_RATIO", "1")
    world.accepted = 0
    world.plan["settings"]["max_refused_destinations"] = 1
    world.stage()
    note_refusal(world.run, A, REGION, "hub off")

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finish, "settle_pool", killed)
        with pytest.raises(KeyboardInterrupt):
            world.advance()
    assert places.owed(world.run)[f"{A}/{REGION}"]["since"] == BEFORE - 3600
    assert world.watermark == str(BEFORE)
    assert world.advance()["after"] == DATA_FROM
    assert list(places.owed(world.run)) == [f"{A}/{REGION}"]


@pytest.mark.parametrize(("end", "narrowed", "kept"), [(0, False, False), (1, False, True), (0, True, True)])
def test_what_a_destination_has_received_is_forgotten(world, end, narrowed, kept):
    """But not what it lacks of later: it is complete only up to what the export certainly contains."""
    places.note_owed(world.run, f"{A}/{REGION}", since=BEFORE, until=DATA_FROM + end, why="closed", attempted=False)
    world.plan["narrowed"] = narrowed
    world.stage().advance()
    assert list(places.owed(world.run)) == ([f"{A}/{REGION}"] if kept else [])


@pytest.mark.parametrize(
    ("module", "step"),
    [
        (finish, "settle_index"),
        (first_run, "note_that_it_sends"),
        (watermark, "write_watermark"),
        (finish, "write_status"),
    ],
)
def test_a_run_that_dies_at_its_end_is_not_complete_and_its_retry_completes_it(world, monkeypatch, module, step):
    world.stage()

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, step, killed)
        with pytest.raises(KeyboardInterrupt):
            world.advance()
    assert world.ledger["complete"] is False
    assert world.watermark == str(DATA_FROM if step == "write_status" else BEFORE)
    # Once the watermark has moved, it is on record that the DAG sends.
    assert first_run.has_sent(world.run) == (step in ("write_watermark", "write_status"))
    result = world.advance()
    assert (result["before"], result["after"]) == (BEFORE, DATA_FROM)
    assert (world.watermark, world.ledger["complete"]) == (str(DATA_FROM), True)
    assert json.dumps(result)
