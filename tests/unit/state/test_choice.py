"""What an import sends of the findings of an account and Region, and what its receipts put into the finding index."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_provider_tenable.asff import row as asff_row
from airflow_provider_tenable.security_hub.assignment import Target
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import names
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.state.choice import FIRST, KNOWN, UNKNOWN, Choice, HubsPlan, choose, stamped
from airflow_provider_tenable.state.parts import VERSION
from airflow_provider_tenable.state.record import is_recorded
from airflow_provider_tenable.state.registry import (
    Registry,
    forget_emptied,
    forget_lost,
    index_of,
    lost_destinations,
    note_emptied,
    read_registry,
    read_state,
    write_registry,
)
from airflow_provider_tenable.tenable_vm.times import rfc3339
from airflow_provider_tenable.transform.output import FindingsWriter
from airflow_provider_tenable.transform.routing import Destination
from tests.unit.asff.test_row import made

A, REGION, SOURCE = "111122223333", "eu-west-1", "tenable-1"
VIA = Destination("aws_default", (A,), None, None, A, REGION)
AS_OF, PLANNED, DAY = 1_706_800_000_000, 1_706_800_100.0, 86_400
PORTS = (443, 80, 22)


class World:
    """A DAG's staging area, and its runs one after the other."""

    def __init__(self, tmp_path: Path) -> None:
        self.base = f"file://{tmp_path}"
        self.number = 0
        self.register()

    @property
    def root(self) -> Any:
        return RunFolder(self.base, "dag", "any").finding_index

    def register(self, **change: Any) -> None:
        usual = {"version": VERSION, "source": SOURCE, "full_as_of": 0, "full_at": 0.0, "destinations": []}
        write_registry(self.root, Registry(**{**usual, **change}))

    def merge(self, *, full_at: float) -> None:
        """What the end of a full run does."""
        index_of(self.root, A, REGION).merge(now=0)
        self.register(destinations=[f"{A}/{REGION}"], full_at=full_at)

    def staged(
        self, *changes: dict[str, Any], rows: bool = True, number: int = 0, run: RunFolder | None = None
    ) -> tuple[RunFolder, Target]:
        """A run with a finding for each change; or another shard of one."""
        self.number += run is None
        run = run or RunFolder(self.base, "dag", f"run-{self.number}")
        writer = FindingsWriter(run, number)
        for change in changes:
            line, row = made_row(change)
            writer.write(A, REGION, line, "high", VIA, row if rows else b"")
        manifest = writer.close(
            {
                "read": len(changes),
                "skipped": {},
                "skipped_accounts": [],
                "parked": 0,
                "findings": len(changes),
                "from_pool": False,
                "pool_parts": [],
            }
        )
        found = [(part["name"], part["lines"]) for entry in manifest["destinations"] for part in entry["parts"]]
        return run, Target(A, REGION, "aws_default", None, found)

    def choice(self, run: RunFolder, target: Target, *, as_of: int = AS_OF, enabled_at: int = 0, **hubs: Any) -> Choice:
        usual = {"state": KNOWN, "source": SOURCE, "planned_at": PLANNED, "refresh_days": 30.0}
        state = read_state(self.root, SOURCE)
        return choose(run, target, HubsPlan(**{**usual, **hubs}), as_of, state, lambda: enabled_at)

    def deliver(self, run: RunFolder, target: Target, choice: Choice, *, refuse: int | None = None) -> list[Any]:
        """What an import would do; the findings that were sent."""
        receipts, sent = self.receipts(run, target), []
        for name, lines in choice.lines():
            for number, line in enumerate(lines):
                if line and number == refuse:
                    receipts.reject(name, number, finding_id="x", code="No", message="no", finding=line)
                elif line and not receipts.is_done(name, number):
                    sent.append(json.loads(line))
                    receipts.accept(name, number)
        receipts.flush()
        choice.record(receipts)
        return sent

    @staticmethod
    def receipts(run: RunFolder, target: Target) -> Receipts:
        return Receipts(run, target.account, target.region, [name for name, _ in target.parts])

    def run(self, *changes: dict[str, Any], as_of: int = AS_OF, **hubs: Any) -> tuple[list[Any], dict[str, int]]:
        run, target = self.staged(*changes)
        choice = self.choice(run, target, as_of=as_of, **hubs)
        return self.deliver(run, target, choice), choice.counts

    def index(self) -> list[dict[str, Any]]:
        index = index_of(self.root, A, REGION)
        return [row for found in index.snapshot().tables() for row in found.to_pylist()]


def made_row(change: dict[str, Any]) -> tuple[bytes, bytes]:
    port = change.get("at", 443)
    line, values = made({"port": {"port": port, "protocol": "TCP"}, **{k: v for k, v in change.items() if k != "at"}})
    from airflow_provider_tenable.asff.row import LAYOUT

    return line, LAYOUT.pack(*values)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


ALL = [{"at": port} for port in PORTS]


def test_what_was_acknowledged_is_not_sent_again(world):
    sent, counts = world.run(*ALL)
    assert (len(sent), counts) == (3, {"created": 3})
    again, counts = world.run(*ALL, as_of=AS_OF + 1)
    assert (again, counts) == ([], {"unchanged": 3})
    changed, counts = world.run(ALL[0], {**ALL[1], "severity_id": 4}, ALL[2], as_of=AS_OF + 2)
    assert counts == {"unchanged": 2, "updated": 1}
    # None of Tenable's times moved: Security Hub would ignore the same UpdatedAt.
    assert [each["UpdatedAt"] for each in changed] == ["2024-02-01T00:10:00.001Z"]
    assert changed[0]["FindingProviderFields"]["Severity"]["Label"] == "CRITICAL"


def test_the_row_says_what_was_sent(world):
    world.run(ALL[0])
    (row,) = world.index()
    finding = json.loads(made_row(ALL[0])[0])
    assert row["resource"] + row["place"] == finding["Id"]
    assert (row["archived"], row["severity"], row["plugin"], row["as_of"]) == (False, 3, 19506, AS_OF)
    assert row["updated_at"] == 1_706_746_200_000
    assert row["first_observed"] == 1_704_067_200_000


def test_what_was_fixed_before_it_was_ever_sent_cannot_be_brought_back_by_an_older_run(world):
    """A replay of a run whose finding was rejected, and fixed since."""
    fixed = {**ALL[1], "state": "FIXED"}
    assert world.run(ALL[0], fixed, as_of=AS_OF + 5)[1] == {"created": 1, "never_imported": 1}
    assert {(row["archived"], row["content"] == 0) for row in world.index()} == {(False, False), (True, True)}
    assert world.run(ALL[1], as_of=AS_OF)[1] == {"superseded": 1}
    assert world.run(fixed, as_of=AS_OF + 6)[1] == {"never_imported": 1}
    assert world.run({**ALL[1], "state": "REOPENED"}, as_of=AS_OF + 7)[1] == {"created": 1}


def test_what_was_refused_gets_no_row_and_is_sent_again(world):
    run, target = world.staged(*ALL)
    choice = world.choice(run, target)
    assert len(world.deliver(run, target, choice, refuse=1)) == 2
    assert len(world.index()) == 2
    sent, counts = world.run(*ALL, as_of=AS_OF + 1)
    assert (len(sent), counts) == (1, {"created": 1, "unchanged": 2})


def test_a_retry_sends_the_same_bytes_whatever_has_become_of_the_index(world):
    run, target = world.staged(*ALL)
    first = [list(lines) for _, lines in world.choice(run, target).lines()]
    world.run(*({**each, "severity_id": 4} for each in ALL), as_of=AS_OF + 5)
    retry = world.choice(run, target)
    assert [list(lines) for _, lines in retry.lines()] == first
    assert retry.counts == {"created": 3}


def test_decisions_that_were_lost_do_not_count_twice_what_was_sent(world):
    run, target = world.staged(*ALL)
    world.deliver(run, target, world.choice(run, target))
    for name in names(run.compared(A, REGION)):
        if name != "recorded.json":
            (run.compared(A, REGION) / name).unlink()
    again = world.choice(run, target)
    assert again.to_send == 3
    assert again.head.not_sent == {"unchanged": 0, "superseded": 0, "never_imported": 0}


def test_rows_that_an_import_died_before_are_written_by_its_retry(world):
    run, target = world.staged(*ALL)
    choice = world.choice(run, target)
    choice.record = lambda receipts: None
    world.deliver(run, target, choice)
    assert world.index() == []
    receipts = world.receipts(run, target)
    assert not is_recorded(run, target, receipts, choice.head)
    world.choice(run, target).record(receipts)
    assert len(world.index()) == 3
    assert is_recorded(run, target, receipts, choice.head)
    before = names(index_of(world.root, A, REGION).folder)
    world.choice(run, target).record(receipts)
    assert names(index_of(world.root, A, REGION).folder) == before


def test_an_older_run_that_is_sent_later_brings_nothing_back(world):
    world.run(*({**each, "severity_id": 4} for each in ALL), as_of=AS_OF + 10)
    sent, counts = world.run(*ALL, as_of=AS_OF)
    assert (sent, counts) == ([], {"superseded": 3})


def test_the_order_in_which_runs_end_does_not_matter(world):
    old, target = world.staged(*ALL)
    slow = world.choice(old, target)
    world.run(*({**each, "severity_id": 4} for each in ALL), as_of=AS_OF + 10)
    world.deliver(old, target, slow)
    _, counts = world.run(*({**each, "severity_id": 4} for each in ALL), as_of=AS_OF + 20)
    assert counts == {"unchanged": 3}


def test_without_rows_the_findings_count_as_changed(world):
    """As an older release stages them."""
    world.run(*ALL)
    run, target = world.staged(*ALL, rows=False)
    choice = world.choice(run, target, as_of=AS_OF + 1)
    assert choice.counts == {"updated": 3}
    assert len(world.deliver(run, target, choice)) == 3


def test_rows_that_are_damaged_are_made_of_the_lines(world):
    run, target = world.staged(*ALL)
    path = Path(run.rows(A, REGION, target.parts[0][0]).path)
    path.write_bytes(path.read_bytes()[:-3])
    choice = world.choice(run, target)
    assert choice.counts == {"created": 3}
    world.deliver(run, target, choice)
    assert {row["content"] for row in world.index()} == {0}


@pytest.mark.parametrize("spoil", ["damaged", "gone"])
def test_an_index_that_is_lost_is_said_and_nothing_is_taken_from_it(world, caplog, spoil):
    world.run(*ALL)
    index = index_of(world.root, A, REGION)
    index.merge(now=AS_OF)
    world.register(destinations=[f"{A}/{REGION}"])
    for name in names(index.folder):
        path = Path(index.folder.path) / name
        path.unlink() if spoil == "gone" else name.startswith("findings") and path.write_bytes(b"x")
    sent, counts = world.run(*ALL, as_of=AS_OF + 1)
    assert counts == {"unknown": 3}
    assert "cannot be relied on" in caplog.text
    assert "The next run that may move the watermark is a full one" in caplog.text
    assert lost_destinations(world.root) == [f"{A}/{REGION}"]
    # What the hub ignored as not newer was acknowledged too: no row may be made of it.
    assert [each["UpdatedAt"] for each in sent] == ["2024-02-01T00:10:00.000Z"] * 3
    assert not [name for name in names(index.folder) if name.startswith("delta") and spoil == "gone"]
    # Until a full run has sent everything so that the hub takes it.
    sent, counts = world.run(*ALL, as_of=AS_OF + 2)
    assert counts == {"unknown": 3}
    sent, counts = world.run(*ALL, as_of=AS_OF + 3, full=True)
    assert [each["UpdatedAt"] for each in sent] == ["2024-02-01T15:08:20.000Z"] * 3
    index.merge(now=AS_OF, rebuild=True)
    forget_lost(world.root, f"{A}/{REGION}")
    assert world.run(*ALL, as_of=AS_OF + 4)[1] == {"unchanged": 3}


def test_an_account_that_is_new_is_not_lost(world):
    assert world.run(*ALL)[1] == {"created": 3}
    assert lost_destinations(world.root) == []


@pytest.mark.parametrize("change", [{"source": "another"}, {"version": 99}])
def test_the_index_of_another_tenable_or_version_says_nothing(world, change):
    world.run(*ALL)
    world.register(**change)
    assert read_registry(world.root, SOURCE)[0] is None
    assert world.run(*ALL, as_of=AS_OF + 1)[1] == {"unknown": 3}


def test_the_very_first_run_creates_without_asking(world):
    (Path(world.root.path) / "manifest.json").unlink()
    sent, counts = world.run(*ALL, {"at": 8, "state": "FIXED"}, state=FIRST, full=True)
    assert counts == {"created": 3, "never_imported": 1}
    assert {each["UpdatedAt"] for each in sent} == {"2024-02-01T00:10:00.000Z"}


def test_an_upgrade_stamps_what_it_sends_and_leaves_out_what_was_fixed_before(world):
    fixed = {"at": 8, "state": "FIXED", "last_fixed": "2024-01-15T00:00:00Z", "indexed": "2024-01-15T00:00:00Z"}
    fixed["last_found"] = "2024-01-10T00:00:00Z"
    sent, counts = world.run(
        *ALL, fixed, state=UNKNOWN, why="there is no finding index yet", full=True, delivered_until=1_706_700_000
    )
    assert counts == {"never_imported": 1, "unknown": 3}
    assert {each["UpdatedAt"] for each in sent} == {"2024-02-01T15:08:20.000Z"}
    # One of them says that the hub need not have it.
    assert sorted(row["content"] == 0 for row in world.index()) == [False, False, False, True]


def test_a_finding_is_refreshed_before_security_hub_deletes_it(world, monkeypatch):
    monkeypatch.setattr("time.time", lambda: PLANNED)
    world.run(*ALL)
    later = PLANNED + 31 * DAY
    sent, counts = world.run(*ALL, as_of=AS_OF + 31 * DAY * 1000, planned_at=later)
    assert counts == {"refreshed": 3}
    assert {each["UpdatedAt"] for each in sent} == {"2024-03-03T15:08:20.000Z"}
    monkeypatch.setattr("time.time", lambda: later)
    assert len(world.run(*ALL, as_of=AS_OF + 62 * DAY * 1000, planned_at=later + 31 * DAY)[0]) == 3


def test_what_was_sent_before_a_hub_was_switched_on_is_sent_again(world, caplog):
    world.run(*ALL[:2], {**ALL[2], "state": "FIXED"})
    fixed = world.run({**ALL[1], "state": "FIXED"}, as_of=AS_OF + 1)[1]
    assert fixed == {"archived": 1}
    world.merge(full_at=PLANNED)
    enabled, later = int(1000 * PLANNED) + 5_000, PLANNED + DAY
    staged = (ALL[0], {**ALL[1], "state": "FIXED"})

    # On since before: nothing is forgotten.
    assert world.run(*staged, as_of=AS_OF + 2, planned_at=later, enabled_at=enabled - 5_000)[1] == {"unchanged": 2}
    assert read_state(world.root, SOURCE).emptied == frozenset()

    sent, counts = world.run(*staged, as_of=AS_OF + 3, planned_at=later, enabled_at=enabled)
    assert counts == {"refreshed": 1, "unchanged": 1}
    # If the hub has it after all, it takes it: the time is later than the one before.
    assert [each["UpdatedAt"] for each in sent] == [rfc3339(datetime.fromtimestamp(later, UTC))]
    assert f"{A}/{REGION}: Security Hub CSPM was enabled there at 2024-02-01T" in caplog.text
    assert "the next run that may move the watermark is a full one" in caplog.text
    assert read_state(world.root, SOURCE).emptied == {f"{A}/{REGION}"}

    # It was sent since, and a full run forgets the note.
    again = world.run(*staged, as_of=AS_OF + 4, planned_at=later + DAY, enabled_at=enabled)[1]
    assert again == {"unchanged": 2}
    forget_emptied(world.root, PLANNED)
    assert read_state(world.root, SOURCE).emptied == {f"{A}/{REGION}"}
    forget_emptied(world.root, later)
    world.merge(full_at=later)
    assert read_state(world.root, SOURCE).emptied == frozenset()


def test_one_old_row_anywhere_is_noticed(world):
    enabled = int(1000 * PLANNED) + 5_000
    world.run(ALL[0], {**ALL[1], "state": "FIXED"})
    world.merge(full_at=PLANNED)
    # Merged rows are old, the one that a run has added since is not.
    world.run(ALL[2], as_of=AS_OF + 1, planned_at=PLANNED + DAY, enabled_at=0)
    world.run(ALL[2], as_of=AS_OF + 2, planned_at=PLANNED + 2 * DAY, enabled_at=enabled)
    assert read_state(world.root, SOURCE).emptied == {f"{A}/{REGION}"}


def test_an_archived_row_of_a_hub_that_has_forgotten_it_is_no_loss(world):
    world.run(ALL[0])
    world.run({**ALL[0], "state": "FIXED"}, as_of=AS_OF + 1)
    world.merge(full_at=PLANNED)
    enabled = int(1000 * PLANNED) + 5_000
    world.run({**ALL[0], "state": "FIXED"}, as_of=AS_OF + 2, planned_at=PLANNED + DAY, enabled_at=enabled)
    assert read_state(world.root, SOURCE).emptied == frozenset()


def test_decisions_belong_to_their_part(world):
    run, first = world.staged(*ALL)
    other, second = world.staged({**ALL[0], "at": 8443}, {**ALL[0], "at": 9443}, number=1, run=run)
    assert other == run
    target = Target(A, REGION, "aws_default", None, [*first.parts, *second.parts])
    world.deliver(run, target, world.choice(run, target))
    run, first = world.staged(*ALL)
    _, second = world.staged({**ALL[0], "at": 8443}, {**ALL[0], "at": 9443, "severity_id": 1}, number=1, run=run)
    target = Target(A, REGION, "aws_default", None, [*first.parts, *second.parts])
    choice = world.choice(run, target, as_of=AS_OF + 1)
    assert choice.counts == {"unchanged": 4, "updated": 1}
    (sent,) = world.deliver(run, target, choice)
    assert "9443" in sent["Id"]


def test_decisions_that_were_lost_count_as_sent_what_has_a_receipt_and_nothing_else(world):
    world.run(*ALL)
    run, target = world.staged(*({**each, "severity_id": 4} for each in ALL[:1]), *ALL[1:])
    receipts = world.receipts(run, target)
    receipts.accept(target.parts[0][0], 0)
    receipts.flush()
    world.run({**ALL[0], "severity_id": 4}, as_of=AS_OF + 1)
    assert world.choice(run, target, as_of=AS_OF + 1).counts == {"unknown": 1, "unchanged": 2}


def test_rows_that_a_full_run_left_alone_lead_to_no_other_one(world, caplog):
    world.run(ALL[0])
    world.merge(full_at=PLANNED + 10)
    world.run(ALL[1], as_of=AS_OF + 1, planned_at=PLANNED + DAY, enabled_at=int(1000 * PLANNED) + 5_000)
    assert read_state(world.root, SOURCE).emptied == frozenset()
    assert "was enabled there" not in caplog.text


def test_a_note_that_cannot_be_read_leads_to_one_full_run(world, tmp_path):
    note_emptied(world.root, f"{A}/{REGION}", 5)
    (note,) = (tmp_path / "dag" / "finding_index" / "emptied").iterdir()
    for damage in (b"{", b"[]", b'{"enabled_at": "x"}', b'{"enabled_at": null}'):
        note.write_bytes(damage)
        assert read_state(world.root, SOURCE).emptied == {f"{A}/{REGION}"}
    forget_emptied(world.root, 0.0)
    assert not note.exists()


def test_a_stamp_replaces_the_time_and_nothing_else():
    line = made_row({"output": 'x","UpdatedAt":"2020-01-01T00:00:00Z","Title":"y'})[0]
    other = stamped(line, 1_706_800_100_007)
    assert json.loads(other) == {**json.loads(line), "UpdatedAt": "2024-02-01T15:08:20.007Z"}


def test_a_part_of_which_nothing_is_sent_is_not_opened(world):
    world.run(*ALL)
    run, target = world.staged(*ALL)
    choice = world.choice(run, target, as_of=AS_OF + 1)
    (Path(run.destination(A, REGION).path) / target.parts[0][0]).unlink()
    assert list(choice.lines()) == []


def test_the_staged_lines_stay_as_they_are(world):
    run, target = world.staged(*ALL)
    assert [json.loads(line)["Id"] for line in read_lines(run.destination(A, REGION) / target.parts[0][0])]
    assert names(run.destination(A, REGION)) == [name for name, _ in target.parts]


def test_the_plan_of_the_hubs_reads_back_as_it_was_written():
    hubs = HubsPlan(state=KNOWN, source=SOURCE, planned_at=PLANNED, refresh_days=30.0)
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(hubs)), HubsPlan) == hubs


def test_a_release_that_maps_in_another_way_sends_what_is_there_once_more_and_says_so(world, caplog, monkeypatch):
    monkeypatch.setattr(asff_row, "MATERIAL_VERSION", 1)
    monkeypatch.setattr(asff_row, "_VERSION", 1 << 56)
    run, target = world.staged({}, {"at": PORTS[1]})
    assert len(world.deliver(run, target, world.choice(run, target))) == 2
    world.merge(full_at=0.0)
    assert "mapped them" not in caplog.text
    monkeypatch.undo()
    run, target = world.staged({}, {"at": PORTS[1]}, {"at": PORTS[2]})
    choice = world.choice(run, target)
    assert choice.counts == {"created": 1, "updated": 2}
    assert choice.head.changed_states == {"remapped": 2}
    assert f"{A}/{REGION}: 2 findings were sent by an earlier release, which mapped them in another way" in caplog.text
    assert len(world.deliver(run, target, choice)) == 3
    # Once: they are of this release now.
    caplog.clear()
    run, target = world.staged({}, {"at": PORTS[1]}, {"at": PORTS[2]})
    assert world.choice(run, target).counts == {"unchanged": 3}
    assert "mapped them" not in caplog.text
