"""Reading a hub for a takeover page by page, and what a task that is killed or cleared finds again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_provider_tenable.exceptions import AwsRefusedError, ConfigurationError, StagingError
from airflow_provider_tenable.run import taking_over
from airflow_provider_tenable.run.take_over import TakeOverPlan
from airflow_provider_tenable.run.taking_over import estate_arns, read_hub, take_over_hub
from airflow_provider_tenable.security_hub import customer_updates, reader
from airflow_provider_tenable.security_hub.archived_document import timestamp_of
from airflow_provider_tenable.security_hub.customer_decisions import decisions_of
from airflow_provider_tenable.security_hub.take_over_pages import STALE_SECONDS
from airflow_provider_tenable.staging.layout import RunFolder
from tests.unit.security_hub.old_estate import V1, V1_OWNED, Hub, old_id, our_id
from tests.unit.security_hub.test_archiving import ACCOUNT, PRODUCT, REGION

SUPPRESSED = {"Workflow": {"Status": "SUPPRESSED"}, "Note": {"Text": "accepted", "UpdatedBy": "jo"}}
COMMON: dict[str, Any] = {"product": "tenable/vulnerability-management", "until": None}


class World:
    def __init__(self, folder: Path, size: int = 250) -> None:
        self.run = RunFolder(f"file://{folder}", "takeover", "run")
        self.hub = Hub()
        for number in range(size):
            self.hub.put(old_id(number), by_customer=SUPPRESSED)
            self.hub.put(our_id(number))
        self.plan: TakeOverPlan = {
            "dag_id": "dag",
            "run_id": "full",
            "source": "",
            "not_before": 0.0,
            "planned_at": time.time(),
            "dry_run": False,
            "old_tool_is_off": False,
            "id_scheme": "port",
            "why_unknown": "unknown",
            "places": [f"{ACCOUNT}/{REGION}"],
            "left": {},
        }

    def read(self, **options: Any) -> Any:
        return read_hub(self.run, self.plan, ACCOUNT, REGION, source=self.hub, **{**COMMON, **options})

    def take_over(self, **options: Any) -> Any:
        return take_over_hub(self.run, self.plan, ACCOUNT, REGION, hub=self.hub, **{**COMMON, **options})

    def check(self, size: int = 250) -> None:
        assert self.hub.active(PRODUCT) == {our_id(number) for number in range(size)}
        for number in range(size):
            assert decisions_of(self.hub.held[PRODUCT, our_id(number)]) == SUPPRESSED


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for module, name in ((reader, "READ_RATE"), (reader, "READ_BURST"), (customer_updates, "UPDATE_RATE")):
        monkeypatch.setattr(module, name, 1e6)
    return World(tmp_path)


def test_reading_resumes_after_the_last_page_on_record(world: World) -> None:
    pieces = 0
    while world.read(until=0.0) is None:
        pieces += 1
    assert (pieces, world.hub.calls.count("read")) == (4, 5)
    assert world.take_over().counts == {"taken_over": 250}
    world.check()


def test_a_page_that_is_lost_from_the_record_is_noticed(world: World) -> None:
    while world.read(until=0.0) is None:
        pass
    (world.run.take_over(ACCOUNT, REGION) / "read-00002.jsonl.gz").unlink()
    with pytest.raises(StagingError, match="Start another run"):
        world.take_over()
    assert "update" not in world.hub.calls


def test_what_was_read_long_ago_is_read_again_so_that_later_decisions_count(world: World) -> None:
    world.read()
    world.hub._work_on((PRODUCT, our_id(1)), {"Workflow": {"Status": "NOTIFIED"}})
    path = world.run.take_over(ACCOUNT, REGION) / "read.json"
    pages = taking_over.EstatePages(path.parent, "")
    progress = pages.progress()
    assert progress is not None
    progress.began -= STALE_SECONDS + 1
    pages.add(progress, [])
    assert world.take_over().counts == {"taken_over": 249, "conflict": 1}
    assert decisions_of(world.hub.held[PRODUCT, our_id(1)]) == {"Workflow": {"Status": "NOTIFIED"}}


def test_an_old_tool_that_writes_after_the_check_is_noticed_where_something_is_changed(world: World) -> None:
    world.hub.put(old_id(1), UpdatedAt=timestamp_of(int(1000 * time.time())))
    with pytest.raises(ConfigurationError, match="seems to run still"):
        world.take_over()
    assert set(world.hub.calls) == {"read"}


class KilledError(BaseException):
    pass


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_call_it_ends_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    for module, name in ((reader, "READ_RATE"), (reader, "READ_BURST"), (customer_updates, "UPDATE_RATE")):
        monkeypatch.setattr(module, name, 1e6)
    whole = World(tmp_path / "whole", 25)
    whole.take_over()
    for at in range(1, len(whole.hub.calls) + 1):
        world = World(tmp_path / str(at), 25)

        def kill(call: int, name: str, at: int = at) -> None:
            if call == at:
                raise KilledError

        setattr(world.hub, moment, kill)
        with pytest.raises(KilledError):
            world.take_over()
        result = world.take_over()
        assert (result.counts, result.archived) == ({"taken_over": 25}, 25)
        world.check(25)
        assert world.take_over() == result, "a task that is cleared does nothing twice"


def test_updates_are_made_once_whatever_happens_to_archiving(world: World) -> None:
    denied = ClientError(
        {"Error": {"Code": "AccessDeniedException", "Message": "not authorized to perform: securityhub:GetFindings"}},
        "GetFindings",
    )

    def deny(call: int, name: str) -> None:
        if "update" in world.hub.calls and name == "read":
            raise denied

    world.hub.before = deny
    with pytest.raises(AwsRefusedError, match=r"carried over.*GetFindings"):
        world.take_over()
    updates = world.hub.calls.count("update")
    world.hub.before = lambda call, name: None
    world.take_over()
    assert world.hub.calls.count("update") == updates
    world.check()


def test_a_token_that_has_become_invalid_lets_reading_begin_again(world: World) -> None:
    assert world.read(until=0.0) is None

    def refuse(call: int, name: str) -> None:
        raise ClientError({"Error": {"Code": "InvalidInputException", "Message": "token"}}, "GetFindings")

    world.hub.before = refuse
    assert world.read() is None
    world.hub.before = lambda call, name: None
    assert world.read().read == 500
    world.take_over()
    world.check()


def test_time_that_is_up_while_archiving_resumes_after_the_receipts(tmp_path: Path, world: World) -> None:
    world = World(tmp_path / "small", 60)
    world.read()
    pieces = 1
    while world.take_over(until=0.0) is None:
        pieces += 1
    assert pieces > 2
    world.check(60)


@pytest.mark.parametrize(
    ("product", "ours", "theirs"),
    [
        ("tenable/vulnerability-management", PRODUCT, [V1_OWNED, V1]),
        ("default", f"arn:aws:securityhub:{REGION}:{ACCOUNT}:product/{ACCOUNT}/default", [V1_OWNED, V1, PRODUCT]),
    ],
)
def test_whose_findings_are_ours(product: str, ours: str, theirs: list[str]) -> None:
    assert estate_arns(ACCOUNT, REGION, product, "port") == (theirs, [ours])
