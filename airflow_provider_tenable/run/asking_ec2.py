"""Asks EC2 in many accounts and Regions at a time, and for a limited time. One that does not answer delays no other."""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_tenable.assets.placement import Place
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.security_hub.failures import words_of
from airflow_provider_tenable.transform.routing import Destination

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.ec2_instances import Ec2InstancesHook

log = logging.getLogger(__name__)

#: Places that are asked at a time.
_TOGETHER = 8
#: Characters of the reason for which a place has not answered.
_LONGEST_REASON = 300
NO_TIME = "no time was left; the next run begins there"

BatchT = TypeVar("BatchT")
FoundT = TypeVar("FoundT")


def after(last: str, places: dict[Place, Destination]) -> list[tuple[Place, Destination]]:
    """The places, starting with the one after the last that an earlier run has asked."""
    ordered = sorted(places.items())
    first = bisect_right([str(place) for place, _ in ordered], last)
    return ordered[first:] + ordered[:first]


def ask_places(
    places: Sequence[tuple[Place, Destination]],
    *,
    hook_of: Callable[[Place, Destination], Ec2InstancesHook],
    batches_of: Callable[[Place], Sequence[BatchT]],
    call: Callable[[Ec2InstancesHook, BatchT, Place], Iterable[FoundT]],
    until: float,
    last: str,
) -> tuple[list[FoundT], dict[Place, str], str]:
    """Ask all places until the time is up.

    :param batches_of: what to ask a place; nothing: it is not asked.
    :param call: asks a place for one batch.
    :param until: ``time.monotonic()`` after which no further call is begun.
    :param last: the last place that an earlier run has asked.
    :return: the answers, which places are silent and why, and the last place that was asked.
    """
    answers: list[FoundT] = []
    silent: dict[Place, str] = {}

    def ask(place: Place, hook: Ec2InstancesHook, batches: Sequence[BatchT]) -> None:
        try:
            with closing(hook):
                for batch in batches:
                    if time.monotonic() >= until:
                        silent[place] = NO_TIME
                        return
                    answers.extend(call(hook, batch, place))
        except Exception as error:  # noqa: BLE001 - one account must not delay the others.
            silent[place] = safe(words_of(error), _LONGEST_REASON)
            log.warning("EC2 in %s does not say which instances it has: %s", place, silent[place])

    running = set[Future[None]]()
    with ThreadPoolExecutor(max_workers=_TOGETHER, thread_name_prefix="ec2-instances") as pool:
        for place, destination in places:
            batches = batches_of(place)
            if not batches:
                continue
            if len(running) >= _TOGETHER:
                _, running = wait(running, max(until - time.monotonic(), 0), FIRST_COMPLETED)
            if time.monotonic() >= until:
                silent[place] = NO_TIME
                continue
            try:
                # Here, because a connection is looked up in the task's own thread.
                running.add(pool.submit(ask, place, hook_of(place, destination), batches))
            except Exception as error:  # noqa: BLE001 - one connection must not delay the others.
                silent[place] = safe(words_of(error), _LONGEST_REASON)
    unasked = {place for place, why in silent.items() if why == NO_TIME}
    if unasked:
        log.warning("No time was left to ask EC2 in %d of %d accounts and Regions.", len(unasked), len(places))
        last = next((str(place) for place, _ in reversed(places) if place not in unasked), last)
    return answers, silent, last


__all__ = ["NO_TIME", "after", "ask_places"]
