"""Checks before the export which accounts and hub Regions accept findings.

A check costs about a second of CPU time, so the checks of one run are limited in time. The next run then continues with
the destinations that were not checked: ``{staging}/{dag_id}/deployment/checks.json`` stores which came last.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable import config
from airflow_provider_tenable.exceptions import (
    DestinationRefusedError,
    NotSubscribedError,
    StagingError,
)
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.run import places
from airflow_provider_tenable.run.asset_locations import count_locations
from airflow_provider_tenable.security_hub.failures import words_of
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.transform.routing import Destination, Router

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

#: Concurrent checks, and seconds after which no further check is started: the import detects the other refusals.
_TOGETHER, _SECONDS = 16, 120.0


@dataclass
class Checked:
    """The results of the checks before the export.

    :ivar refused: ``account/region`` -> why it permanently refuses findings.
    :ivar accepting: those that have passed the checks.
    """

    refused: dict[str, str] = field(default_factory=dict)
    accepting: set[str] = field(default_factory=set)


def check_places(
    run: RunFolder,
    router: Router,
    known_assets: Iterable[ObjectStoragePath],
    *,
    product: str | None = None,
    also: Iterable[tuple[str, str]] = (),
) -> Checked:
    """Check whether the hubs of destinations for which the run may have findings accept them: those that lack findings,
    and those that no run has reached yet, in turns.

    A destination that was reached and lacks nothing is not checked: the import detects the same.

    :param router: the router of the run's destinations.
    :param known_assets: the parts of the asset index, which name the destinations; empty without an index.
    :param product: ``company/product`` or ``default``. Default ``[tenable] product``.
    :param also: accounts and Regions of resources that the assets do not name.
    """
    outstanding: dict[str, Destination] = {}
    for place in places.owed(run):
        account, region = place.split("/")
        route = router.route(account, region)
        if not isinstance(route, str) and route[1] == region:
            outstanding[place] = route[0]
    reached = places.accepted_before(run)
    unreached = {
        place: destination
        for place, destination in {**_places_of(known_assets, router), **_routed(also, router)}.items()
        if place not in reached and place not in outstanding
    }
    groups = {"outstanding": outstanding, "unreached": unreached}
    last = _last_checked(run)
    turns = zip_longest(*(_after(last.get(name, ""), group) for name, group in groups.items()))
    order = [place for turn in turns for place in turn if place is not None]
    chosen = [(place, (outstanding | unreached)[place]) for place in order]
    checked, started = _check(chosen, product or str(config.get("product")))
    if left := len(order) - started:
        log.info(
            "No time left to check %d of %d accounts and Regions before the export. The next run starts with them.",
            left,
            len(order),
        )
        for name, group in groups.items():
            last[name] = next((place for place in reversed(order[:started]) if place in group), last.get(name, ""))
        _note_last_checked(run, last)
    return checked


def _places_of(parts: Iterable[ObjectStoragePath], router: Router) -> dict[str, Destination]:
    """The destinations of the EC2 instances in the asset index, as ``account/region``."""
    found: dict[str, Destination] = {}
    try:
        locations = count_locations(parts)
    except StagingError as error:
        log.warning("Cannot determine the accounts of the assets before the export: %s", error)
        return found
    for location in locations:
        if location.skip_reason:
            continue
        route = router.route(location.owner_id or "", location.resource_region)
        if not isinstance(route, str):
            found[f"{location.owner_id}/{route[1]}"] = route[0]
    return found


def _routed(resources: Iterable[tuple[str, str]], router: Router) -> dict[str, Destination]:
    """The destinations of resources, given by account and Region."""
    routes = ((account, router.route(account, region)) for account, region in resources)
    return {f"{account}/{route[1]}": route[0] for account, route in routes if not isinstance(route, str)}


def _after(last: str, group: dict[str, Destination]) -> list[str]:
    """The destinations of a group, starting with the one after the last that an earlier run has checked."""
    ordered = sorted(group)
    first = bisect_right(ordered, last)
    return ordered[first:] + ordered[:first]


def _last_checked(run: RunFolder) -> dict[str, str]:
    try:
        last = read_json(run.checks, advice="")
    except StagingError as error:
        log.warning("The checks before the export start with the first account and Region: %s", safe(error))
        return {}
    return {name: place for name, place in last.items() if isinstance(place, str)} if isinstance(last, dict) else {}


def _note_last_checked(run: RunFolder, last: dict[str, str]) -> None:
    try:
        write_json(run.checks, last)
    except StagingError as error:
        log.warning("Cannot record which accounts and Regions were checked: %s", safe(error))


def _check(candidates: list[tuple[str, Destination]], product: str) -> tuple[Checked, int]:
    """Check destinations in the given order until the time is up. :return: the results, and how many were checked."""
    checked, until = Checked(), time.monotonic() + _SECONDS
    running: set[Future[None]] = set()
    started = 0
    with ThreadPoolExecutor(max_workers=_TOGETHER, thread_name_prefix="securityhub-check") as pool:
        for place, destination in candidates:
            if len(running) >= _TOGETHER:
                _, running = wait(running, max(until - time.monotonic(), 0), FIRST_COMPLETED)
            if time.monotonic() >= until:
                break
            started += 1
            try:
                # Each hook looks up its connection, so one that is not used would cost a request for nothing.
                hook = _hook(place, destination)
            except Exception as error:  # noqa: BLE001 - one connection must not end the run of all others
                _report_undetermined(place, error)
            else:
                running.add(pool.submit(_check_one, checked, place, hook, product))
    checked.refused = dict(sorted(checked.refused.items()))
    for place, why in checked.refused.items():
        log.warning("%s refuses findings: %s", place, why)
    return checked, started


def _check_one(checked: Checked, place: str, hook: Any, product: str) -> None:
    try:
        with closing(hook):
            # Nothing is changed yet: the import subscribes the account, if allowed.
            hook.preflight(product, enable_product=False)
    except NotSubscribedError as error:
        if config.get("enable_product"):
            checked.accepting.add(place)
        else:
            checked.refused[place] = str(error)
    except DestinationRefusedError as error:
        checked.refused[place] = str(error)
    except Exception as error:  # noqa: BLE001 - the import will meet the same error and decide.
        _report_undetermined(place, error)
    else:
        checked.accepting.add(place)


def _report_undetermined(place: str, error: Exception) -> None:
    log.warning("Cannot determine before the export whether %s accepts findings: %s", place, words_of(error))


def _hook(place: str, destination: Destination) -> Any:
    from airflow_provider_tenable.hooks.security_hub import SecurityHubHook

    account, region = place.split("/")
    return SecurityHubHook.reaching(destination, account, region)


__all__ = ["Checked", "check_places"]
