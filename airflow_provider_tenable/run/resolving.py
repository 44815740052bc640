"""Asks EC2 for the account and Region of instances that Tenable knows only by their ids, and for the instances that
hosts without an id are (:mod:`~airflow_provider_tenable.run.resolving_hosts`): ``[tenable]
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
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, NotRequired, TypedDict

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
from airflow_provider_tenable.assets.unnamed_hosts import unnamed_hosts
from airflow_provider_tenable.assets.unplaced import Question, placed, questions, unplaced_assets
from airflow_provider_tenable.aws import partition_of
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.run import resolving_hosts
from airflow_provider_tenable.run.asking_ec2 import after, ask_places
from airflow_provider_tenable.run.asset_locations import count_locations
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.staging.crash_points import reached
from airflow_provider_tenable.staging.files import read_json, remove_file, write_json, write_whole
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parquet import encode_rows
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.transform.routing import Destination, Router

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.ec2_instances import Ec2InstancesHook

log = logging.getLogger(__name__)

#: Seconds after which no further call is begun: the next run continues there.
_SECONDS = 120.0
_VERSION = 1
#: Places that are named.
_MOST_NAMED = 100


class ResolveCrashPoint(StrEnum):
    """The boundaries at which the fault suite kills a run that asks EC2."""

    INSTANCES_KEPT = "instances_kept"
    ASSETS_RESOLVED = "assets_resolved"


class ResolvedCounts(TypedDict):
    """``resolved`` of the ledger. Numbers of assets, not of records.

    ``assets``: those that EC2 has placed. ``unresolved``: why others have no place -> assets. ``silent``:
    ``account/region`` that has not answered -> why, at most 100 of them. ``hosts``: of those that EC2 has placed, the
    hosts without an instance id, which it recognised by their addresses. ``unrecognised``: why others were not. Both
    only where there are hosts that it could recognise.
    """

    assets: int
    unresolved: dict[str, int]
    silent: dict[str, str]
    hosts: NotRequired[int]
    unrecognised: NotRequired[dict[str, int]]


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
    known, known_hosts, last = _read(run)
    known = {instance: entry for instance, entry in known.items() if instance in asked}
    due = {
        instance: question
        for instance, question in asked.items()
        if instance not in known or known[instance].is_due(now)
    }
    unnamed = unnamed_hosts(parts)
    hosts = resolving_hosts.hosts_of(unnamed)
    known_hosts = {asset: entry for asset, entry in known_hosts.items() if asset in hosts}
    due_hosts = resolving_hosts.due_hosts(hosts, known_hosts, now)
    silent: dict[Place, str] = {}
    if due or due_hosts:
        from airflow_provider_tenable.hooks.ec2_instances import MOST_VALUES

        router = Router(msgspec.convert(plan["destinations"], list[Destination]), plan["settings"]["region_routing"])
        located = [each for each in count_locations(parts) if not each.skip_reason]
        places = places_of(router, [(each.owner_id or "", each.resource_region) for each in located])
        ask = partial(ask_places, after(last, places), hook_of=_hook_of, until=time.monotonic() + _SECONDS, last=last)
        answers, silent, last = ask(batches_of=lambda place: _batches(due, place, MOST_VALUES), call=_find)
        known |= _decided(due, answers, known, silent, places, int(now))
        sightings, mute, last = ask(
            batches_of=lambda place: resolving_hosts.batches_of(due_hosts.values(), place, MOST_VALUES),
            call=resolving_hosts.call,
            last=last,
        )
        known_hosts |= resolving_hosts.decided(due_hosts, sightings, known_hosts, mute, places, int(now))
        silent |= mute
    remembers = {"instances": remembered(known), "hosts": resolving_hosts.remembered(known_hosts)}
    write_json(run.resolved_instances, {"version": _VERSION, "last": last, **remembers})
    reached(ResolveCrashPoint.INSTANCES_KEPT)
    rows, unresolved = _complete(assets, known)
    recognised, unrecognised = resolving_hosts.completed(unnamed, hosts, known_hosts)
    if rows or recognised:
        write_whole(run.resolved_assets, encode_rows([*rows, *recognised], AssetRow))
    reached(ResolveCrashPoint.ASSETS_RESOLVED)
    counts: ResolvedCounts = {
        "assets": len(rows) + len(recognised),
        "unresolved": dict(sorted(unresolved.items())),
        "silent": {str(place): why for place, why in sorted(silent.items())[:_MOST_NAMED]},
    }
    if hosts:
        counts["hosts"] = len(recognised)
        counts["unrecognised"] = dict(sorted(unrecognised.items()))
    write_json(run.resolved, counts)
    log.info(
        "%d of %d assets without an account or Region were placed by EC2; the others: %s.",
        len(rows),
        len(assets),
        counts["unresolved"] or "none",
    )
    if hosts:
        log.info(
            "%d of %d hosts without an instance id were recognised by EC2; the others: %s.",
            len(recognised),
            len(hosts),
            counts["unrecognised"] or "none",
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


def _hook_of(place: Place, destination: Destination) -> Ec2InstancesHook:
    return _hook(place, destination)


def _batches(due: dict[str, Question], place: Place, most: int) -> list[list[str]]:
    wanted = sorted(instance for instance, question in due.items() if question.allows(place))
    return [wanted[begin : begin + most] for begin in range(0, len(wanted), most)]


def _find(hook: Ec2InstancesHook, batch: list[str], place: Place) -> list[Answer]:
    found = list(hook.find(batch, place))
    if others := len({answer.instance for answer in found} - set(batch)):
        log.warning("EC2 in %s described %d instances that were not asked for: ignored.", place, others)
    return [answer for answer in found if answer.instance in batch]


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


def _read(run: RunFolder) -> tuple[dict[str, Known], dict[str, resolving_hosts.KnownHost], str]:
    """What earlier runs know of instances and of hosts, and the last place that was asked. Nothing where the file is
    damaged, or of a newer release: EC2 is asked again.
    """
    try:
        value = read_json(run.resolved_instances, advice="")
    except StagingError as error:
        log.warning("%s So EC2 is asked for all instances again.", safe(error))
        return {}, {}, ""
    if not isinstance(value, dict) or value.get("version") != _VERSION:
        return {}, {}, ""
    last = value.get("last")
    hosts = resolving_hosts.recalled(value.get("hosts"))
    return recalled(value.get("instances")), hosts, last if isinstance(last, str) else ""


__all__ = ["ResolveCrashPoint", "ResolvedCounts", "places_of", "read_resolved", "resolve_unplaced"]
