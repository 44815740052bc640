"""Taking over from older tools, over real sockets: no decision is lost, no old finding stays active that Tenable does
not have, and none that was taken over. What cannot be matched stays, and is listed.
"""

from __future__ import annotations

import gzip
import json
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable._compat import AirflowFailException
from airflow_provider_tenable.operators.security_hub_take_over import SecurityHubTakeOverOperator
from airflow_provider_tenable.run import hub_audit, take_over, taking_over
from airflow_provider_tenable.run.params import TAKE_OVER
from airflow_provider_tenable.security_hub import customer_updates, reader, take_over_pages
from airflow_provider_tenable.security_hub.customer_decisions import decisions_of
from airflow_provider_tenable.security_hub.old_tool_ids import of_old_id, of_our_id
from airflow_provider_tenable.security_hub.take_over import StillWritingError
from airflow_provider_tenable.security_hub.take_over_pages import TakeOverCrashPoint
from airflow_provider_tenable.staging.layout import RunFolder
from sandbox.aws.old_tools import PRODUCTS
from sandbox.clock import iso
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

SUPPRESSED = {"Workflow": {"Status": "SUPPRESSED"}, "Note": {"Text": "accepted", "UpdatedBy": "jo"}}
#: What customers decide, in turn; the first is nothing.
DECISIONS: list[dict[str, Any]] = [
    {},
    SUPPRESSED,
    {"Workflow": {"Status": "RESOLVED"}},
    {"Severity": {"Label": "LOW"}},
    {"UserDefinedFields": {"ticket": "T-1"}, "VerificationState": "FALSE_POSITIVE"},
]
SUMS = ("outcomes", "decisions", "updates")
FOREIGN = "prowler/prowler"
NOT_IN_TENABLE = "i-0dead00000000000d"
#: Account, ARN of the product, and id.
Key = tuple[str, str, str]


class TakeOver:
    """One run of the DAG."""

    def __init__(self, run_id: str, **params: Any) -> None:
        values = {name: param.default for name, param in TAKE_OVER.items()}
        self.context: dict[str, Any] = {
            "dag_run": SimpleNamespace(dag_id="tenable_take_over", run_id=run_id, run_type="manual", conf=params),
            "dag": SimpleNamespace(params=values),
            "params": {**values, **params},
        }
        self.entries: list[Any] = []

    def step(self, *, only_read: bool) -> None:
        for entry in self.entries:
            SecurityHubTakeOverOperator(task_id="hubs", assignment=dict(entry), only_read=only_read).execute(
                self.context
            )

    def execute(self) -> dict[str, Any]:
        self.entries = self.entries or take_over.plan_take_over(self.context)
        self.step(only_read=True)
        take_over.check_old_tool(self.context)
        self.step(only_read=False)
        found: dict[str, Any] = take_over.finish_take_over(self.context)
        return found

    @property
    def left(self) -> dict[str, str]:
        """Id -> outcome, of all that the files list."""
        files = (RunFolder.of(self.context).root / "take_over").glob("*/*/left.jsonl.gz")
        lines = [line for path in files for line in gzip.decompress(path.read_bytes()).splitlines()]
        return {each["id"]: each["outcome"] for each in map(json.loads, lines)}


def held(sandbox: Sandbox) -> dict[Key, dict[str, Any]]:
    return {
        (each["AwsAccountId"], each["ProductArn"], each["Id"]): each for each in sandbox.aws("findings")["findings"]
    }


def is_old(key: Key) -> bool:
    return of_old_id(key[2]) is not None and any(key[1].endswith(product) for product in PRODUCTS.values())


class Estate:
    """The old tools' findings of everything that Tenable reports, with decisions, and of what it does not report."""

    def __init__(self, sandbox: Sandbox) -> None:
        ours = held(sandbox)
        keys = sorted({(of_our_id(key[2], key[0]), key[0]) for key in ours})
        self.wanted = {}
        estates: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for number, (key, account) in enumerate(keys):
            tool, decided = list(PRODUCTS)[number % 2], DECISIONS[number % len(DECISIONS)]
            state = "ARCHIVED" if number % 7 == 6 else "ACTIVE"
            estates.setdefault((account, key.region, tool), []).append(
                {"instance": key.instance, "plugin": key.plugin, "set": decided, "record_state": state}
            )
            self.wanted[key, account] = decided
        self.places = sorted({place[:2] for place in estates})
        for (account, region, tool), found in estates.items():
            gone = {"instance": NOT_IN_TENABLE, "plugin": 10, "set": SUPPRESSED}
            # Not imported: whether Tenable has it cannot be told.
            unknown = {"instance": NOT_IN_TENABLE, "plugin": 11, "severity": "LOW"}
            sandbox.aws(
                "old-tools", {"account": account, "region": region, "tool": tool, "findings": [*found, gone, unknown]}
            )
            # Another vendor's, with the same ids.
            sandbox.aws(
                "old-tools", {"account": account, "region": region, "tool": FOREIGN, "findings": [found[0], gone]}
            )
        self.unknown = {f"{region}/{NOT_IN_TENABLE}/11" for _, region in self.places}

    def check(self, sandbox: Sandbox, before: dict[Key, dict[str, Any]]) -> None:
        now = held(sandbox)
        assert any(key[1].endswith(FOREIGN) for key in now)
        assert now.keys() == before.keys(), "nothing is deleted, and nothing is new"
        for key, finding in now.items():
            ours = None if is_old(key) else of_our_id(key[2], key[0])
            if ours is not None and key[1].endswith("/tenable/vulnerability-management"):
                assert decisions_of(finding) == self.wanted[ours, key[0]], key
                assert finding["RecordState"] == before[key]["RecordState"]
            elif is_old(key):
                assert (finding["RecordState"] == "ACTIVE") == (key[2] in self.unknown), key
                assert decisions_of(finding) == decisions_of(before[key])
            else:
                assert finding == before[key]


@pytest.fixture
def delivered(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Estate:
    monkeypatch.setattr(hub_audit, "SETTLES_SECONDS", 0)
    # The sandbox does not throttle.
    for module, name in ((reader, "READ_RATE"), (reader, "READ_BURST"), (customer_updates, "UPDATE_RATE")):
        monkeypatch.setattr(module, name, 1e6)
    # Fewer hubs take less time.
    defaults["destinations"][0]["accounts"] = sandbox.accounts[:2]
    Run(defaults=defaults).execute()
    return Estate(sandbox)


def test_everything_is_taken_over_once_the_old_tool_is_off_killed_anywhere_or_not(
    sandbox: Sandbox,
    delivered: Estate,
    defaults: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The old tool still writes, in one of the hubs: none is changed.
    account, region = delivered.places[-1]
    fresh = {"instance": NOT_IN_TENABLE, "plugin": 12, "updated_at": iso(sandbox.aws("clock")["now"])}
    sandbox.aws("old-tools", {"account": account, "region": region, "tool": "tvm2aws", "findings": [fresh]})
    before = held(sandbox)
    with pytest.raises(StillWritingError, match="Nothing was changed"):
        TakeOver("too early", dry_run=False).execute()
    without_preflight = TakeOver("later", dry_run=False)
    without_preflight.entries = take_over.plan_take_over(without_preflight.context)[-1:]
    with pytest.raises(AirflowFailException, match="still"):
        without_preflight.step(only_read=False)
    dry = TakeOver("dry").execute()
    assert held(sandbox) == before
    assert "Dry run: nothing was changed" in caplog.text

    run = TakeOver("real", dry_run=False, old_tool_is_off=True)
    run.entries = take_over.plan_take_over(run.context)
    for point in TakeOverCrashPoint:
        with monkeypatch.context() as patch:
            for module in (take_over_pages, taking_over):
                patch.setattr(module, "reached", partial(_die_at, point))
            with pytest.raises(KilledError):
                run.execute()
    denied = {
        "__type": "AccessDeniedException",
        "message": "not authorized to perform: securityhub:BatchImportFindings",
    }
    sandbox.hub_fault({"on": "BatchImportFindings", "do": "status", "status": 403, "body": denied})
    with pytest.raises(AirflowFailException, match=r"carried over.*BatchImportFindings"):
        run.execute()
    found = run.execute()
    delivered.check(sandbox, before)
    assert [dry[name] for name in SUMS] == [found[name] for name in SUMS]
    unmatched = sum(key[2] in delivered.unknown for key in before)
    assert found["outcomes"] == {
        "not_in_tenable": unmatched + 1,
        "taken_over": len(delivered.wanted),
        "unmatched": unmatched,
    }
    assert found["archived"] == unmatched + 1 + len(delivered.wanted)
    assert run.left.keys() == delivered.unknown
    assert "all that stay are listed in" in caplog.text

    # Again, and after a run that is not full: nothing is left to do, and nothing counts as gone.
    Run(defaults=defaults).execute()
    calls = sandbox.aws("stats")["calls"]
    gone = {"instance": NOT_IN_TENABLE, "plugin": 13}
    sandbox.aws("old-tools", {"account": account, "region": region, "tool": "tvm2aws", "findings": [gone]})
    again = TakeOver("again", dry_run=False).execute()
    assert again["outcomes"] == {"unmatched": unmatched + 1}
    assert "it was not a full one" in caplog.text
    now = sandbox.aws("stats")["calls"]
    assert all(now[name] == calls[name] for name in ("BatchUpdateFindings", "BatchImportFindings"))


class KilledError(BaseException):
    """As if the process had been killed."""


def _die_at(point: TakeOverCrashPoint, reached: Any) -> None:
    if reached is point:
        raise KilledError
