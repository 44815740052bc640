"""Checks that most records of AWS assets have a destination.

A run may leave out records permanently: assets outside AWS, severities that are not selected, a few unimportant
accounts. But it must not leave out the majority, succeed, and move the watermark past it. That happens in three
configurations, which fail a run here, after everything with a destination was delivered:

* A run that requests everything gets no vulnerabilities at all.
* No asset has an AWS account: Tenable's AWS connector, which provides the account of an instance, is not set up, or the
  API user cannot see its assets.
* Most records of EC2 instances belong to accounts without a destination, or the account is unknown to Tenable.

Assets outside AWS never count: in many containers they are the majority. A single run can be misleading, for example on
a day on which only one account is scanned. So a run that does not cover everything fails only if most of all instances
that Tenable knows have no destination either.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection

import msgspec

from airflow_provider_tenable import config
from airflow_provider_tenable.assets.account import NO_ACCOUNT, NO_INSTANCE, NO_REGION
from airflow_provider_tenable.assets.index import staged_assets
from airflow_provider_tenable.aws import ACCOUNT
from airflow_provider_tenable.exceptions import StagingError, UnservedError
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.run.asset_locations import count_locations
from airflow_provider_tenable.run.ledger import Ledger
from airflow_provider_tenable.run.plan_file import RunPlan, kind_of_plan
from airflow_provider_tenable.run.watermark import EVERYTHING
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.tenable_vm.kinds import COMPLIANCE, WAS
from airflow_provider_tenable.transform.routing import (
    CHOSEN,
    DESTINATION_REFUSED,
    NOT_CONFIGURED,
    NOT_REACHABLE,
    OTHER_PARTITION,
    Destination,
    Router,
)
from airflow_provider_tenable.transform.scope import scope_in

log = logging.getLogger(__name__)

#: Accounts named in a message; the ledger contains all of them.
_MOST_NAMED = 10

#: What to do about each reason.
_ADVICE = {
    NOT_CONFIGURED: "add the account to a destination",
    OTHER_PARTITION: "add a destination whose connection and Region belong to the partition of these resources (such "
    "as aws-us-gov or aws-cn)",
    DESTINATION_REFUSED: "remove the cause for which the account or Region refuses findings (the report names it), or "
    "leave it out with exclude_accounts or regions",
    NOT_REACHABLE: "give the destination a role_name, and create that role in the account",
    NO_REGION: "check these assets in Tenable: they have no AWS Region",
    NO_ACCOUNT: "set up Tenable's AWS connector for the accounts of these instances",
}


def check_served(ledger: Ledger, run: RunFolder, plan: RunPlan) -> None:
    """Fail a run in which most records of AWS assets have no destination.

    :raises UnservedError: the message names the accounts, the number of their records, and what to do.
    """
    ratio = config.get("max_unserved_ratio")
    if ratio >= 1:
        return
    if plan["window"]["since"] <= EVERYTHING and not ledger["exported"]:
        _refuse_nothing(plan)
    skipped, accounts = ledger["skipped"], _counting(ledger["unserved"], plan)
    served = ledger["findings"] + skipped.get("unmappable_record", 0) - ledger["not_ec2"]
    # Records that a run leaves out on purpose count like delivered ones.
    served += _records(ledger["unserved"]) - _records(accounts)
    without_account = skipped.get(NO_ACCOUNT, 0)
    unserved = _records(accounts) + without_account
    if not served and not accounts:
        _check_connector(ledger, run)
    elif unserved and unserved / (unserved + served) > ratio:
        _check_accounts(accounts, without_account, unserved, served, ratio, run, plan, ledger.get("refused", {}))


def _refuse_nothing(plan: RunPlan) -> None:
    settings = plan["settings"]
    if kind_of_plan(plan) == COMPLIANCE.name:
        what, chosen = "results of audits", f"statuses {', '.join(plan.get('audit_statuses', []))}"
        nothing_yet = "no audit has run yet"
    elif kind_of_plan(plan) == WAS.name:
        what = "findings of web applications"
        chosen = f"severities {', '.join(settings['severities'])} and states {', '.join(settings['states'])}"
        nothing_yet = "no web application was scanned yet, or the container has no Tenable Web App Scanning"
    else:
        what = "vulnerabilities"
        if filters := scope_in(settings).filters():
            # One plugin may be on no host at all.
            log.warning("Tenable exported no vulnerabilities at all: none has %s.", quoted(filters, 500))
            return
        chosen = f"severities {', '.join(settings['severities'])} and states {', '.join(settings['states'])}"
        nothing_yet = "nothing was scanned yet"
    raise UnservedError(
        f"Tenable exported no {what} at all, although this run requested all of them with {chosen}. Usual causes: the "
        "API user lacks 'Can View' on the assets, and Tenable omits what a user may not see; the connection's keys "
        f"belong to another container; {nothing_yet}. Nothing was imported, and the watermark stays. If there really "
        "is nothing to import, set [tenable] max_unserved_ratio = 1, or trigger the DAG with the param since."
    )


def _records(unserved: dict[str, dict[str, int]]) -> int:
    return sum(sum(reasons.values()) for reasons in unserved.values())


def _counting(unserved: dict[str, dict[str, int]], plan: RunPlan) -> dict[str, dict[str, int]]:
    """The records that count as unserved. Accounts missing from a run's own destinations were left out on purpose."""
    chosen = CHOSEN if plan.get("usual_destinations") is None else (*CHOSEN, NOT_CONFIGURED)
    relevant = {
        account: {reason: count for reason, count in reasons.items() if reason not in chosen}
        for account, reasons in unserved.items()
    }
    return {account: reasons for account, reasons in relevant.items() if reasons}


def _check_connector(ledger: Ledger, run: RunFolder) -> None:
    """Fail if no asset has an AWS account; called if no record of the run has one."""
    records = sum(ledger["skipped"].get(reason, 0) for reason in (NO_INSTANCE, NO_ACCOUNT, NO_REGION))
    if not records:
        return
    try:
        locations = count_locations(staged_assets(str(run.export("assets"))))
    except StagingError as error:
        log.warning("Cannot determine whether any asset has an AWS account: %s", error)
        return
    if any(ACCOUNT.fullmatch(location.owner_id or "") for location in locations):
        return
    raise UnservedError(
        f"None of the {locations.total():,} assets that Tenable exports has an AWS account, so none of {records:,} "
        "records could be imported into Security Hub CSPM. The watermark stays. Usual causes: Tenable's AWS connector "
        "is not set up (Settings > Cloud Connectors), or the API user has no Can View on its assets. Set it up, and "
        "run the DAG again once it has synchronised. If your assets are not in AWS on purpose, set "
        "non_ec2_assets=other to import them anyway, or [tenable] max_unserved_ratio = 1."
    )


def _check_accounts(
    accounts: dict[str, dict[str, int]],
    without_account: int,
    unserved: int,
    served: int,
    ratio: float,
    run: RunFolder,
    plan: RunPlan,
    refused: Collection[str],
) -> None:
    """Fail if most instances have no destination; called if that holds for most records of the run's AWS assets."""
    named = _named(accounts, without_account)
    # Of web applications, instances say nothing.
    if plan["window"]["since"] > EVERYTHING and kind_of_plan(plan) != WAS.name:
        counted = _unserved_instances(run, plan, refused)
        if counted is not None and counted[0] <= ratio * counted[1]:
            log.warning(
                "%d of %d records of AWS assets have no destination (%s), but only %d of all %d instances that Tenable "
                "knows are affected.",
                unserved,
                unserved + served,
                named,
                *counted,
            )
            return
    reasons = {reason for found in accounts.values() for reason in found} | ({NO_ACCOUNT} if without_account else set())
    advice = "; ".join(_ADVICE.get(reason, f"look up {reason} in mapping.md") for reason in sorted(reasons))
    raise UnservedError(
        f"{unserved:,} of {unserved + served:,} records of AWS assets have no destination, more than [tenable] "
        f"max_unserved_ratio {ratio:g} allows: {named}. Findings with a destination were delivered; the watermark "
        f"stays. What to do: {advice}. Then clear the run. If you leave them out on purpose, raise [tenable] "
        "max_unserved_ratio; 1 accepts everything."
    )


def _named(accounts: dict[str, dict[str, int]], without_account: int) -> str:
    """The accounts with the most records."""
    by_records = sorted(accounts.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    named = [
        f"{account} ({sum(reasons.values()):,}: {', '.join(reasons)})" for account, reasons in by_records[:_MOST_NAMED]
    ]
    if more := len(accounts) - len(named):
        named.append(f"{more} more accounts, which ledger.json lists")
    if without_account:
        named.append(f"instances whose account Tenable does not know ({without_account:,}: {NO_ACCOUNT})")
    return ", ".join(named)


def _unserved_instances(run: RunFolder, plan: RunPlan, refused: Collection[str]) -> tuple[int, int] | None:
    """The numbers of EC2 instances without a destination, and of all EC2 instances that Tenable knows. None if the
    run's assets cannot be read.
    """
    destinations = msgspec.convert(plan["destinations"], list[Destination])
    router = Router(destinations, plan["settings"]["region_routing"], refused)
    of_own = plan.get("usual_destinations") is not None
    counts = Counter[bool]()
    try:
        locations = count_locations(staged_assets(str(run.export("assets"))))
    except StagingError as error:
        log.warning("Cannot determine how many instances have no destination: %s", error)
        return None
    for location, assets in locations.items():
        reason = location.skip_reason
        if reason == NO_INSTANCE:
            continue
        route = reason or router.route(location.owner_id or "", location.resource_region)
        served = not isinstance(route, str) or route in CHOSEN or (of_own and route == NOT_CONFIGURED)
        counts[served] += assets
    return counts[False], counts.total()


__all__ = ["check_served"]
