"""An account and Region that refuses its findings for good holds nobody else's watermark, is reported, and gets what it
is owed once it accepts findings again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import RefusedDestinationsError
from airflow_provider_tenable.run import finish, places
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.transform.waiting_records import list_pool
from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

ROLE = "arn:aws:iam::{}:role/TenableSecurityHubImport"


def close_account(sandbox: Sandbox, account: str) -> Callable[[], None]:
    sandbox.aws("account", {"account": account, "state": "closed"})
    return lambda: sandbox.aws("account", {"account": account, "state": "open"})


def remove_role(sandbox: Sandbox, account: str) -> Callable[[], None]:
    sandbox.aws("roles/remove", {"arn": ROLE.format(account)})
    return lambda: sandbox.aws("roles", {"arn": ROLE.format(account)})


def set_hubs(state: str) -> Callable[[Sandbox, str], Callable[[], None]]:
    def change(sandbox: Sandbox, account: str) -> Callable[[], None]:
        def set_all(to: str) -> None:
            for region in sandbox.process.facts["regions"]:
                sandbox.aws("hub", {"account": account, "region": region, "state": to})

        set_all(state)
        return lambda: set_all("subscribed")

    return change


def deny(action: str) -> Callable[[Sandbox, str], Callable[[], None]]:
    def change(sandbox: Sandbox, account: str) -> Callable[[], None]:
        sandbox.aws("roles", {"arn": ROLE.format(account), "deny": [action]})
        return lambda: sandbox.aws("roles", {"arn": ROLE.format(account)})

    return change


#: What refuses, and what its message says.
REFUSALS = {
    "no role": (remove_role, "AccessDenied"),
    "hub off": (set_hubs("off"), "InvalidAccessException"),
    "not subscribed": (set_hubs("enabled"), "is not subscribed to product"),
    "region not enabled": (set_hubs("not_opted_in"), "UnrecognizedClientException"),
    "describe denied": (deny("securityhub:DescribeHub"), "AccessDeniedException"),
}
#: Refused by what is checked before the export, and by the import alone.
LASTING = {"closed account": close_account, "import denied": deny("securityhub:BatchImportFindings")}


def wanted(sandbox: Sandbox, *accounts: str) -> Any:
    return expected(sandbox.tenable("truth"), accounts=list(accounts or sandbox.accounts))


@pytest.mark.parametrize("refusal", REFUSALS)
def test_place_that_refuses_for_good_is_on_record_with_its_reason(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], refusal: str
) -> None:
    change, words = REFUSALS[refusal]
    *others, gone = sandbox.accounts
    change(sandbox, gone)
    run = Run(defaults=defaults)
    assert run.execute()["why"].startswith("moves")
    assert delivered(sandbox.documents()) == wanted(sandbox, *others)
    assert {place.split("/")[0] for place in run.ledger["refused"]} == {gone}
    assert all(words in entry["why"] for entry in run.ledger["refused"].values())
    assert set(places.owed(run.folder)) == set(run.ledger["refused"])
    assert places.accepted_before(run.folder) == {
        place for place, entry in run.ledger["destinations"].items() if entry["accepted"]
    }


@pytest.mark.parametrize("refusal", LASTING)
def test_place_that_refuses_for_good_holds_nobody_else_and_gets_its_findings_later(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], refusal: str
) -> None:
    *others, gone = sandbox.accounts
    mend = LASTING[refusal](sandbox, gone)
    first = Run(defaults=defaults)
    assert first.execute()["why"].startswith("moves")
    assert delivered(sandbox.documents()) == wanted(sandbox, *others)
    records = first.ledger["skipped"]["destination_refused"]
    assert records == sum(entry["records"] for entry in first.ledger["refused"].values()) > 0
    assert {place.split("/")[0] for place in first.ledger["refused"]} == {gone}
    assert f"refused: {gone}/" in first.report
    assert "Complete" in first.report
    assert {place: entry["since"] for place, entry in places.owed(first.folder).items()} == dict.fromkeys(
        first.ledger["refused"], 1
    )

    # It stays so: what is known of the assets names the place before the export.
    sandbox.advance(3 * 3600)
    sandbox.change({"do": "rescan", "asset_id": asset_of(sandbox, gone)})
    second = Run(defaults=defaults)
    assert second.execute()["why"].startswith("moves")
    # The checks before the export pass if only the import is denied.
    found_before = {place.split("/")[0] for place in read_json(second.folder.plan)["refused"]}
    assert found_before == ({gone} if refusal == "closed account" else set())
    assert delivered(sandbox.documents()) == wanted(sandbox, *others)
    assert set(places.owed(first.folder)) == set(first.ledger["refused"])

    mend()
    sandbox.advance(3 * 3600)
    for entry in (first.folder.owed_places).iterdir():
        age(entry)
    third = Run(defaults=defaults)
    assert third.execute()["why"].startswith("moves")
    assert "Window begins earlier" in third.report
    assert delivered(sandbox.documents()) == wanted(sandbox)
    assert places.owed(first.folder) == {}
    assert not third.ledger["refused"]

    # What is delivered is not exported again.
    fourth = Run(defaults=defaults)
    fourth.execute()
    assert fourth.ledger["window"]["since"] > 1


def age(entry: Any) -> None:
    """The last attempt was long ago."""
    value = read_json(entry)
    write_json(entry, {**value, "attempted": value["attempted"] - 40 * 86400})


def asset_of(sandbox: Sandbox, account: str) -> str:
    return next(
        str(each["asset_id"])
        for each in sandbox.tenable("truth")["vulnerabilities"]
        if each.get("account") == account and each["severity_id"] >= 3
    )


def test_place_that_worked_before_fails_the_run_and_delivers_the_others(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    *_, gone = sandbox.accounts
    Run(defaults=defaults).execute()
    mark = variables.watermark
    sandbox.advance(3 * 3600)
    mend = close_account(sandbox, gone)
    # A rescan that finds nothing new needs no hub.
    sandbox.change(*({"do": "fix", "asset_id": asset_of(sandbox, each)} for each in sandbox.accounts))
    run = Run(defaults=defaults)
    with pytest.raises(RefusedDestinationsError, match=rf"of them accepted findings before: {gone}/.*AccessDenied"):
        run.execute()
    assert variables.watermark == mark
    assert places.owed(run.folder) == {}
    assert sum(entry["accepted"] for entry in run.ledger["destinations"].values()) > 0

    # On purpose, it holds nobody, and is owed its findings.
    tolerant = Run(params={"max_refused_destinations": 4}, defaults=defaults)
    assert tolerant.execute()["why"].startswith("moves")
    assert places.owed(run.folder)
    mend()
    sandbox.advance(3600)
    Run(defaults=defaults).execute()
    assert delivered(sandbox.documents()) == wanted(sandbox)


def test_record_that_waited_and_is_refused_is_on_record_before_the_pool_forgets_it(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, gone = sandbox.accounts
    asset = asset_of(sandbox, gone)
    sandbox.change({"do": "hide_asset", "asset_id": asset, "singly": False})
    first = Run(defaults=defaults)
    first.execute()
    parked = [name for name in list_pool(first.folder) if "--waiting-" not in name]
    assert parked

    sandbox.change({"do": "show_asset", "asset_id": asset})
    mend = LASTING["import denied"](sandbox, gone)
    sandbox.advance(3 * 3600)
    tolerant = {**defaults, "max_refused_destinations": 1}

    def killed(*arguments: Any, **options: Any) -> None:
        settle_pool(*arguments, **options)
        raise KeyboardInterrupt

    settle_pool = finish.settle_pool
    monkeypatch.setattr(finish, "settle_pool", killed)
    second = Run(defaults=tolerant)
    with pytest.raises(KeyboardInterrupt):
        second.execute()
    monkeypatch.setattr(finish, "settle_pool", settle_pool)
    assert not set(parked) & set(list_pool(first.folder))
    assert {place.split("/")[0] for place in places.owed(second.folder)} == {gone}
    assert {entry["since"] for entry in places.owed(second.folder).values()} == {1}

    # Nobody clears the run. The next one delivers what had waited, once the account accepts findings again.
    mend()
    Run(defaults=tolerant).execute()
    assert delivered(sandbox.documents()) == wanted(sandbox)
    assert places.owed(first.folder) == {}


@pytest.mark.parametrize(("limit", "fails"), [(0, True), (100, False)])
def test_param_says_how_many_are_tolerated(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], limit: int, fails: bool
) -> None:
    close_account(sandbox, sandbox.accounts[-1])
    run = Run(params={"max_refused_destinations": limit}, defaults=defaults)
    if fails:
        with pytest.raises(RefusedDestinationsError, match=r"more than max_refused_destinations 0 allows"):
            run.execute()
        assert variables.watermark is None
    else:
        assert run.execute()["why"].startswith("moves")


def test_place_that_is_out_for_the_moment_still_holds_the_watermark(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_tenable.exceptions import TemporaryError
    from airflow_provider_tenable.security_hub import responses

    monkeypatch.setattr(responses, "LONGEST_PAUSE", 0.01)
    sandbox.hub_fault(
        {
            "on": "DescribeHub",
            "do": "status",
            "status": 503,
            "body": "",
            "times": None,
            "match": {"account": sandbox.accounts[-1]},
        }
    )
    run = Run(defaults=defaults)
    with pytest.raises(TemporaryError):
        run.execute()
    assert variables.watermark is None
    assert places.owed(run.folder) == {}


def test_set_up_by_which_no_place_accepts_anything_fails(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_UNSERVED_RATIO", "1")
    for account in sandbox.accounts:
        set_hubs("off")(sandbox, account)
    with pytest.raises(RefusedDestinationsError, match="all that this run has findings for"):
        Run(defaults=defaults).execute()
    assert variables.watermark is None
