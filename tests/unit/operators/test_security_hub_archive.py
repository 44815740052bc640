"""The operator that archives: several accounts and Regions in one task, of which some fail. The complete job is in
tests/integration/test_archiving.py.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable._compat import AirflowFailException
from airflow_provider_tenable.exceptions import ConfigurationError, DestinationRefusedError, TemporaryError
from airflow_provider_tenable.operators.security_hub_archive import SecurityHubArchiveFindingsOperator
from airflow_provider_tenable.security_hub.assignment import Target, write_group
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state import archive
from airflow_provider_tenable.state.gone import Gone, write_gone

ACCOUNTS = ("111111111111", "222222222222", "333333333333")
REGION = "eu-west-1"


class World:
    """A run with something to archive in three accounts, and what becomes of it in each."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
        self.context: dict[str, Any] = {"dag_run": SimpleNamespace(dag_id="dag", run_id="run"), "ti": None}
        self.run = RunFolder.of(self.context)
        self.errors: dict[str, Exception] = {}
        self.tried: list[str] = []
        hubs = {"state": "known", "source": "", "planned_at": 0.0, "refresh_days": 30}
        write_json(self.run.plan, {"hubs": hubs, "settings": {"region_routing": "fixed"}, "destinations": []})
        write_json(self.run.shards, {"count": 1, "as_of": 1})
        for account in ACCOUNTS:
            write_gone(self.run.gone(account, REGION), Gone([], [("list", 3)], {"not_reported": 3}, 9))
        write_group(self.run, 0, [Target(account, REGION, None, None, []) for account in ACCOUNTS], archives=True)
        monkeypatch.setattr(archive, "archive_listed", self.archive_listed)
        monkeypatch.setattr("airflow_provider_tenable.hooks.security_hub.SecurityHubHook.reaching", self.reaching)

    def reaching(self, _access: Any, account: str, _region: str) -> Any:
        if isinstance(error := self.errors.get(account), LookupError):
            raise error
        return SimpleNamespace(close=lambda: None)

    def archive_listed(self, run: RunFolder, account: str, region: str, gone: Gone, **_: Any) -> bool:
        self.tried.append(account)
        if account in self.errors:
            raise self.errors[account]
        record = archive.Archived({"list": archive.ArchivedFile({"not_reported": gone.total}, 0, {})})
        write_json(run.gone(account, region) / "archived.json", archive.msgspec.to_builtins(record))
        return True

    def execute(self) -> dict[str, Any]:
        operator = SecurityHubArchiveFindingsOperator(task_id="archive", assignment={"group": 0, "title": "three"})
        operator.__dict__["log"] = SimpleNamespace(
            **{name: lambda *_, **__: None for name in ("info", "warning", "error")}
        )
        result: dict[str, Any] = operator.execute(self.context)
        return result


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_all_are_archived(world: World) -> None:
    assert world.execute() == {"archived": 9, "missing": 0, "not_archived": {}}


@pytest.mark.parametrize(
    "error", [TemporaryError("later"), LookupError("the secrets backend"), ZeroDivisionError("ours")]
)
def test_one_that_fails_keeps_no_other_from_being_archived_and_is_retried(world: World, error: Exception) -> None:
    world.errors[ACCOUNTS[0]] = error
    with pytest.raises(TemporaryError, match=rf"in 1 of 3 accounts and Regions\. Failed: {ACCOUNTS[0]}/{REGION}\. "):
        world.execute()
    assert world.tried[-2:] == list(ACCOUNTS[1:])


def test_what_no_retry_can_help_ends_it_at_once(world: World) -> None:
    world.errors = {account: ConfigurationError("no such connection") for account in ACCOUNTS[:2]}
    with pytest.raises(AirflowFailException, match="in 2 of 3 accounts and Regions"):
        world.execute()
    world.errors[ACCOUNTS[0]] = TemporaryError("later")
    with pytest.raises(TemporaryError):
        world.execute()


def test_a_hub_that_refuses_is_on_record_and_fails_nothing(world: World) -> None:
    world.errors[ACCOUNTS[1]] = DestinationRefusedError("the hub is off")
    assert world.execute() == {"archived": 6, "missing": 0, "not_archived": {archive.REFUSED: 3}}
    assert archive.read_archived(world.run.gone(ACCOUNTS[1], REGION)).why_not == (archive.REFUSED, "the hub is off")
