"""Asks EC2 for the account and Region of instances that Tenable knows only by their ids: ``[tenable]
resolve_unplaced_instances``.

EC2 is asked through the destinations' roles, in each account and Region that they serve and in which Tenable knows
instances. What it says is kept in ``{staging}/{dag_id}/deployment/instances.json``: places for a week, and that an
instance was not found for a day. The rows that are completed this way are a further part of the run's assets
(:func:`~airflow_provider_tenable.assets.index.staged_assets`), so that all later tasks of the run see the same.

An account that refuses, or does not answer, delays no other. The run says so, and its instances stay without a place:
their records are counted, and wait, as without this option.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from typing import TYPE_CHECKING, TypedDict

import msgspec

from airflow_provider_tenable.assets.index import staged_assets
from airflow_provider_tenable.assets.placement import (
    NOT_ANSWERED,
    Answer,
    Known,
    Place,
    decide,
    recalled,
    remembered,
)
from airflow_provider_tenable.assets.unplaced import Question, placed, questions, unplaced_assets
from airflow_provider_tenable.aws import partition_of
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.run.asset_locations import count_locations
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.security_hub.failures import words_of
from airflow_provider_tenable.staging.files import read_json, remove_file, write_json, write_whole
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parquet import encode_rows
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.transform.routing import Destination, Router

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.ec2_instances import Ec2InstancesHook

log = logging.getLogger(__name__)

#: Places that are asked at a time, and seconds after which no further call is begun: the next run continues there.
_TOGETHER, _SECONDS = 8, 120.0
_VERSION = 1
#: Characters of the reason for which a place has not answered, and places that are named.
_LONGEST_REASON, _MOST_NAMED = 300, 100
NO_TIME = "no time was left; the next run begins there"


class ResolvedCounts(TypedDict):
    """``resolved`` of the ledger. Numbers of assets, not of records.

    ``assets``: those that EC2 has placed. ``unresolved``: why others have no place -> assets. ``silent``:
    ``account/region`` that has not answered -> why, at most 100 of them.
    """

    assets: int
    unresolved: dict[str, int]
    silent: dict[str, str]


def resolve_unplaced(run: RunFolder, plan: RunPlan, *, now: float) -> ResolvedCounts:
    """Complete the run's assets with what EC2 says. May be repeated.

    :param now: unix seconds.
    :raises StagingError: the run's assets are missing or damaged, or the disk is full.
    """
    # Of an earlier attempt: it would count as Tenable's own word.
    remove_file(run.resolved_assets)
    parts = staged_assets(str(run.export("assets")))
    assets = unplaced_assets(parts)
    asked = questions(assets)
    known, last = _read(run)
    known = {instance: entry for instance, entry in known.items() if instance in asked}
    due = {
        instance: question
        for instance, question in asked.items()
        if instance not in known or known[instance].is_due(now)
    }
    silent: dict[Place, str] = {}
    if due:
        router = Router(msgspec.convert(plan["destinations"], list[Destination]), plan["settings"]["region_routing"])
        located = [each for each in count_locations(parts) if not each.skip_reason]
        places = places_of(router, [(each.owner_id or "", each.resource_region) for each in located])
        answers, silent, last = _ask(_after(last, places), due, last)
        known |= _decided(due, answers, known, silent, places, int(now))
    write_json(run.resolved_instances, {"version": _VERSION, "last": last, "instances": remembered(known)})
    rows, unresolved = _complete(assets, known)
    if rows:
        write_whole(run.resolved_assets, encode_rows(rows, AssetRow))
    counts: ResolvedCounts = {
        "assets": len(rows),
        "unresolved": dict(sorted(unresolved.items())),
        "silent": {str(place): why for place, why in sorted(silent.items())[:_MOST_NAMED]},
    }
    write_json(run.resolved, counts)
    log.info(
        "%d of %d assets without an account or Region were placed by EC2; the others: %s.",
        len(rows),
        len(assets),
        counts["unresolved"] or "none",
    )
    return counts


def read_resolved(run: RunFolder) -> ResolvedCounts | None:
    """What became of the run's assets without a place; None where EC2 was not to be asked."""
    counts: ResolvedCounts | None = read_json(run.resolved)
    return counts


def places_of(router: Router, locations: Iterable[tuple[str, str]]) -> dict[Place, Destination]:
    """The accounts and Regions that are asked, with the destinations whose roles are used: every account that a
    destination serves, in every Region of its partition in which instances are.

    :param locations: (account, Region) of the instances that Tenable places itself.
    """
    found: dict[Place, Destination] = {}
    known = set(locations)
    accounts, regions = {account for account, _ in known}, {region for _, region in known}
    for entry in router.destinations:
        accounts |= {*entry.accounts, entry.caller_account}
        regions |= {region for region in (entry.region, entry.connection_region, *entry.regions) if region}
    for account in sorted(filter(None, accounts)):
        # An account is in one partition only, which its known instances show.
        own = {partition_of(region) for each, region in known if each == account}
        for region in sorted(regions):
            if own and partition_of(region) not in own:
                continue
            route = router.route(account, region)
            if not isinstance(route, str):
                found[Place(account, region)] = route[0]
    return found


def _after(last: str, places: dict[Place, Destination]) -> list[tuple[Place, Destination]]:
    """The places, starting with the one after the last that an earlier run has asked."""
    ordered = sorted(places.items())
    first = bisect_right([str(place) for place, _ in ordered], last)
    return ordered[first:] + ordered[:first]


def _ask(
    places: Sequence[tuple[Place, Destination]], due: dict[str, Question], last: str
) -> tuple[list[Answer], dict[Place, str], str]:
    """Ask all places until the time is up.

    :return: the answers, which places are silent and why, and the last place that was asked.
    """
    until = time.monotonic() + _SECONDS
    answers: list[Answer] = []
    silent: dict[Place, str] = {}

    def ask(place: Place, hook: Ec2InstancesHook, wanted: list[str]) -> None:
        from airflow_provider_tenable.hooks.ec2_instances import MOST_VALUES

        try:
            with closing(hook):
                for begin in range(0, len(wanted), MOST_VALUES):
                    if time.monotonic() >= until:
                        silent[place] = NO_TIME
                        return
                    batch = wanted[begin : begin + MOST_VALUES]
                    found = list(hook.find(batch, place))
                    answers.extend(answer for answer in found if answer.instance in batch)
                    if others := len({answer.instance for answer in found} - set(batch)):
                        log.warning("EC2 in %s described %d instances that were not asked for: ignored.", place, others)
        except Exception as error:  # noqa: BLE001 - one account must not delay the others.
            silent[place] = safe(words_of(error), _LONGEST_REASON)
            log.warning("EC2 in %s does not say which instances it has: %s", place, silent[place])

    running = set[Future[None]]()
    with ThreadPoolExecutor(max_workers=_TOGETHER, thread_name_prefix="ec2-instances") as pool:
        for place, destination in places:
            wanted = sorted(instance for instance, question in due.items() if question.allows(place))
            if not wanted:
                continue
            if len(running) >= _TOGETHER:
                _, running = wait(running, max(until - time.monotonic(), 0), FIRST_COMPLETED)
            if time.monotonic() >= until:
                silent[place] = NO_TIME
                continue
            try:
                # Here, because a connection is looked up in the task's own thread.
                running.add(pool.submit(ask, place, _hook(place, destination), wanted))
            except Exception as error:  # noqa: BLE001 - one connection must not delay the others.
                silent[place] = safe(words_of(error), _LONGEST_REASON)
    unasked = {place for place, why in silent.items() if why == NO_TIME}
    if unasked:
        log.warning("No time was left to ask EC2 in %d of %d accounts and Regions.", len(unasked), len(places))
        last = next((str(place) for place, _ in reversed(places) if place not in unasked), last)
    return answers, silent, last


def _hook(place: Place, destination: Destination) -> Ec2InstancesHook:
    from airflow_provider_tenable.hooks.ec2_instances import Ec2InstancesHook

    return Ec2InstancesHook.reaching(destination, place)


def _decided(
    due: dict[str, Question],
    answers: Iterable[Answer],
    known: dict[str, Known],
    silent: dict[Place, str],
    places: Iterable[Place],
    now: int,
) -> dict[str, Known]:
    """What is known of the instances that were asked for."""
    by_instance: dict[str, list[Answer]] = {}
    for answer in answers:
        by_instance.setdefault(answer.instance, []).append(answer)
    asked = set(places)
    decided = {}
    for instance, question in due.items():
        earlier = known[instance].place if instance in known else None
        mute = {place for place in silent if question.allows(place)}
        if earlier is not None and earlier not in asked:
            # No destination reaches it any more, so that nobody can say that it has moved.
            mute.add(earlier)
        found = decide(by_instance.get(instance, ()), earlier=earlier, silent=mute)
        if isinstance(found, str):
            decided[instance] = Known(now, None, found)
        elif any(answer.place == found for answer in by_instance.get(instance, ())):
            decided[instance] = Known(now, found, "")
        else:
            # Nobody has confirmed it: the next run asks again.
            decided[instance] = known[instance]
    return decided


def _complete(assets: dict[str, AssetRow], known: dict[str, Known]) -> tuple[list[AssetRow], Counter[str]]:
    """The rows that have a place now, by asset, and why the others have none."""
    rows: list[AssetRow] = []
    unresolved: Counter[str] = Counter()
    for _, row in sorted(assets.items()):
        entry = known.get(row.instance_id or "")
        found = placed(row, entry.place) if entry and entry.place else entry.reason if entry else NOT_ANSWERED
        if isinstance(found, str):
            unresolved[found] += 1
        else:
            rows.append(found)
    return rows, unresolved


def _read(run: RunFolder) -> tuple[dict[str, Known], str]:
    """What earlier runs know, and the last place that was asked. Nothing where the file is damaged, or of a newer
    release: EC2 is asked again.
    """
    try:
        value = read_json(run.resolved_instances, advice="")
    except StagingError as error:
        log.warning("%s So EC2 is asked for all instances again.", safe(error))
        return {}, ""
    if not isinstance(value, dict) or value.get("version") != _VERSION:
        return {}, ""
    last = value.get("last")
    return recalled(value.get("instances")), last if isinstance(last, str) else ""


__all__ = ["ResolvedCounts", "places_of", "read_resolved", "resolve_unplaced"]
