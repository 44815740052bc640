"""What an import sends is decided for each account and Region by itself, and of each part in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_tenable.security_hub.assignment import Target
from airflow_provider_tenable.staging.files import names
from airflow_provider_tenable.state.choice import UNKNOWN
from tests.unit.state.test_choice import ALL, AS_OF, PLANNED, REGION, A, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_decisions_of_three_parts_belong_to_their_part(world: World) -> None:
    run, first = world.staged(*ALL)
    _, second = world.staged({**ALL[0], "at": 8443}, number=1, run=run)
    _, third = world.staged({**ALL[0], "at": 9443}, {**ALL[0], "at": 9444}, number=2, run=run)
    target = Target(A, REGION, "aws_default", None, [*first.parts, *second.parts, *third.parts])
    # The middle one, and the last one, are there already.
    world.run({**ALL[0], "at": 8443}, {**ALL[0], "at": 9444})
    choice = world.choice(run, target, as_of=AS_OF + 1)
    assert choice.counts == {"created": 4, "unchanged": 2}
    sent = world.deliver(run, target, choice)
    assert [each["Id"].rsplit("/", 1)[1] for each in sent] == ["443", "80", "22", "9443"]
    assert len(world.index()) == 6


def test_decisions_are_on_record_under_their_account_and_region(world: World) -> None:
    run, target = world.staged(*ALL)
    world.choice(run, target)
    assert len(names(run.compared(A, REGION))) == 2


def test_since_when_a_hub_is_on_is_asked_only_where_there_is_an_index(world: World) -> None:
    enabled = int(1000 * PLANNED) + 5_000
    # Nothing of it was delivered as far as the registry says: nothing can be forgotten.
    world.run(ALL[0])
    sent, counts = world.run(ALL[0], as_of=AS_OF + 1, planned_at=PLANNED + 9, enabled_at=enabled)
    assert (sent, counts) == ([], {"unchanged": 1})
    world.merge(full_at=PLANNED)
    counts = world.run(ALL[0], as_of=AS_OF + 2, planned_at=PLANNED + 9, enabled_at=enabled)[1]
    assert counts == {"refreshed": 1}


def test_a_run_older_than_the_last_full_one_creates_nothing(world: World) -> None:
    assert world.run(ALL[0], full_as_of=AS_OF + 1)[1] == {"superseded": 1}
    assert world.run(ALL[0], full_as_of=AS_OF)[1] == {"created": 1}
    # The full run has ended after this one was planned.
    world.register(full_as_of=AS_OF + 5)
    assert world.run(ALL[1], as_of=AS_OF + 1, full_as_of=AS_OF)[1] == {"superseded": 1}
    assert world.run(ALL[1], as_of=AS_OF + 1)[1] == {"superseded": 1}
    assert world.run(ALL[1], as_of=AS_OF + 5)[1] == {"created": 1}


def test_where_the_hub_is_not_known_only_a_full_run_puts_rows_into_the_index(world: World) -> None:
    known = {"state": UNKNOWN, "why": "lost"}
    assert world.run(ALL[0], **known)[1] == {"unknown": 1}
    assert world.index() == []
    assert world.run(ALL[0], as_of=AS_OF + 1, full=True, **known)[1] == {"unknown": 1}
    assert len(world.index()) == 1
