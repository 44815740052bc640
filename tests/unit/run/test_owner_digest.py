"""Digests of owners: every finding is in exactly one, and the examples are the worst ones, however many owners there
are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff.owner import OwnerRule
from airflow_provider_tenable.run import owner_digest
from airflow_provider_tenable.run.owner_digest import EXAMPLES, Digests, owner_digests
from airflow_provider_tenable.run.owner_rows import ARCHIVED, KINDS, NEW, OVERDUE, Rows
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES

ACCOUNTS = ("111122223333", "222233334444")
RULE = OwnerRule(("owner",), accounts={ACCOUNTS[1]: "of account"})
#: Kind, account, asset, severity, plugin, days.
Finding = tuple[str, str, int, int, int, int]


def uuid_of(asset: int) -> str:
    # Zeros at the end, which NumPy drops.
    return str(UUID(int=asset << 64))


class Assets:
    """Assets by number: each has an owner of its own, but for every third, and unknown ones from 90 on."""

    def get(self, asset_id: str) -> AssetRow | None:
        number = UUID(asset_id).int >> 64
        tags = {} if number % 3 == 0 else {"owner": f"owner {number % 5}"}
        return None if number >= 90 else AssetRow(id=asset_id, name=f"host-{number}", resource_tags=json.dumps(tags))

    def close(self) -> None:
        pass


def owner_of(account: str, asset: int) -> str:
    if asset < 90 and asset % 3:
        return f"owner {asset % 5}"
    return "of account" if account == ACCOUNTS[1] else ""


def rows(findings: list[Finding]) -> Iterator[Rows]:
    """In pieces, as they are read."""
    for kind in KINDS:
        for account in ACCOUNTS:
            some = [each for each in findings if each[:2] == (kind, account)]
            for begin in range(0, len(some), 20):
                piece = some[begin : begin + 20]
                keys = np.array([UUID(uuid_of(each[2])).bytes for each in piece], "S16")
                numbers = np.array([each[3:] for each in piece], "i8")
                yield Rows(kind, account, keys, numbers[:, 0], numbers[:, 1], numbers[:, 2])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    made = RunFolder(f"file://{tmp_path_factory.mktemp('staging')}", "dag", "run-1")
    write_json(made.ledger, {"complete": True, "dry_run": False})
    hubs = {"state": "known", "source": "s", "planned_at": 1.0, "refresh_days": 30.0}
    write_json(made.plan, {"hubs": hubs})
    return made


def digests(run: RunFolder, findings: list[Finding], most_owners: int = 50) -> Digests:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner_digest, "all_rows", lambda *given: rows(findings))
        patch.setattr(owner_digest, "staged_assets", lambda uri: [])
        patch.setattr(owner_digest, "AssetTable", lambda parts: Assets())
        found = owner_digests(run, RULE, now=1.0, most_owners=most_owners)
    assert found is not None
    return found


@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.sampled_from(ACCOUNTS),
            st.integers(0, 99),
            st.integers(0, 4),
            st.integers(1, 9),
            st.integers(0, 9),
        ),
        max_size=120,
    ),
    st.integers(0, 4),
)
@settings(max_examples=60)
def test_every_finding_is_in_one_digest_and_the_worst_ones_are_named(run, findings, most_owners):
    found = digests(run, findings, most_owners)
    named = [each.owner for each in found.digests]
    assert len(named) == len(set(named)) <= most_owners + 1
    assert "" not in named[:-1]
    assert not set(named) & set(found.further)
    for digest in found.digests:
        owners = {digest.owner, *(found.further if not digest.owner else ())}
        for kind in KINDS:
            own = [each for each in findings if each[0] == kind and owner_of(each[1], each[2]) in owners]
            assert digest.counts[kind] == Counter(SEVERITIES[each[3]] for each in own)
            worst = sorted((-each[3], -each[5]) for each in own)[:EXAMPLES]
            assert [(-SEVERITIES.index(each.severity), -each.days) for each in digest.examples[kind]] == worst
    for kind in KINDS:
        assert sum(each.count(kind) for each in found.digests) == sum(each[0] == kind for each in findings)


def test_the_worst_of_many_are_named_and_of_these_the_oldest(run):
    findings: list[Finding] = [(OVERDUE, ACCOUNTS[0], 1, number % 5, number, (7 * number) % 20) for number in range(20)]
    (digest,) = digests(run, findings).digests
    worst = sorted(findings, key=lambda each: (-each[3], -each[5]))[:EXAMPLES]
    assert [each.plugin for each in digest.examples[OVERDUE]] == [each[4] for each in worst]


def test_owners_with_the_most_to_do_come_first_and_others_share_one(run):
    findings: list[Finding] = [
        *[(OVERDUE, ACCOUNTS[0], 1, 3, 1, 40)] * 2,
        *[(NEW, ACCOUNTS[0], 2, 3, 1, 0)] * 5,
        (ARCHIVED, ACCOUNTS[0], 4, 3, 1, 9),
        (NEW, ACCOUNTS[0], 3, 4, 1, 0),
    ]
    found = digests(run, findings, 2)
    assert [each.owner for each in found.digests] == ["owner 1", "owner 2", ""]
    assert found.further == ["owner 4"]
    assert (found.digests[-1].count(NEW), found.digests[-1].count(ARCHIVED)) == (1, 1)


def test_resources_are_named_as_far_as_they_are_known(run):
    found = digests(run, [(NEW, ACCOUNTS[1], number, 3, 7, 0) for number in (1, 95)])
    assert {each.owner: [one.resource for one in each.examples[NEW]] for each in found.digests} == {
        "owner 1": ["host-1"],
        "of account": [f"asset {uuid_of(95)}"],
    }


@pytest.mark.parametrize(
    ("ledger", "plan"),
    [
        (None, {}),
        ({"complete": False, "dry_run": False}, {}),
        ({"complete": True, "dry_run": True}, {}),
        ({"complete": True, "dry_run": False}, {"replays": "dag/other"}),
        ({"complete": True, "dry_run": False}, {"hubs": None}),
    ],
)
def test_other_runs_have_no_digests(tmp_path, ledger: Any, plan: dict[str, Any]) -> None:
    run = RunFolder(f"file://{tmp_path}", "dag", "run-1")
    hubs = {"state": "known", "source": "s", "planned_at": 1.0, "refresh_days": 30.0}
    write_json(run.plan, {"hubs": hubs, **plan})
    if ledger is not None:
        write_json(run.ledger, ledger)
    assert owner_digests(run, RULE, now=1.0, most_owners=5) is None
