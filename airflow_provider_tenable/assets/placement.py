"""Which account and Region an EC2 instance is in, by the answers of EC2. Nothing is guessed: an instance that two
places claim, or that an answer describes in a way that cannot be, has no place.

An answer counts only if the account whose role asked is the owner of the instance: ``OwnerId`` of its reservation (EC2
API reference: DescribeInstances).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from airflow_provider_tenable.aws import ACCOUNT, INSTANCE, REGION, region_of

#: Why an instance has no place.
NOT_FOUND = "not_found"
AMBIGUOUS = "ambiguous"
TERMINATED = "terminated"
OTHER_OWNER = "other_owner"
CONTRADICTS_TENABLE = "contradicts_tenable"
#: Some accounts or Regions have not answered, so that it may be there.
NOT_ANSWERED = "not_answered"

#: States of instances that do not exist any more, or not for long. EC2 shows them for about an hour.
_GONE = frozenset({"terminated", "shutting-down"})
#: Seconds for which a place is believed, and for which an instance without one is not asked for again.
_PLACE_SECONDS, _REASON_SECONDS = 7 * 86400, 86400
_CLOCK_SKEW_SECONDS = 300
#: Reasons that are remembered. The others may have changed by the next run.
_REMEMBERED = frozenset({NOT_FOUND, AMBIGUOUS, TERMINATED, OTHER_OWNER})


class Place(NamedTuple):
    """An account and Region."""

    account: str
    region: str

    def __str__(self) -> str:
        return f"{self.account}/{self.region}"


class Answer(NamedTuple):
    """An instance, as EC2 describes it.

    :ivar place: the account and Region that were asked.
    :ivar owner: ``OwnerId`` of the reservation.
    :ivar zone: its availability zone; empty if the answer names none.
    :ivar state: ``State.Name``.
    """

    instance: str
    place: Place
    owner: str
    zone: str
    state: str


class Known(NamedTuple):
    """What is remembered of an instance: its place or, without one, the reason; and when EC2 said so, unix seconds."""

    at: int
    place: Place | None
    reason: str

    def is_due(self, now: float) -> bool:
        """Whether EC2 is to be asked again."""
        seconds = _PLACE_SECONDS if self.place else _REASON_SECONDS
        return not self.at - _CLOCK_SKEW_SECONDS <= now < self.at + seconds


def decide(answers: Iterable[Answer], *, earlier: Place | None = None, silent: Collection[Place] = ()) -> Place | str:
    """The place of one instance, or the reason why it has none.

    :param answers: all answers that name the instance.
    :param earlier: the place that EC2 gave before. It stands as long as it does not answer.
    :param silent: the places that have not answered, or were not asked.
    """
    claims: dict[Place, bool] = {}
    wrong: set[Place] = set()
    for answer in answers:
        zone_fits = not answer.zone or region_of(None, answer.zone) == answer.place.region
        if answer.owner != answer.place.account or not zone_fits:
            wrong.add(answer.place)
        else:
            claims[answer.place] = claims.get(answer.place, False) or answer.state in _GONE
    if earlier is not None and earlier in silent:
        claims.setdefault(earlier, False)
    claims = {place: gone for place, gone in claims.items() if place not in wrong}
    if len(claims) > 1:
        return AMBIGUOUS
    for place, gone in claims.items():
        return TERMINATED if gone else place
    if wrong:
        return OTHER_OWNER
    return NOT_ANSWERED if silent else NOT_FOUND


def remembered(known: dict[str, Known]) -> dict[str, list[object]]:
    """What is written to a file of what is known."""
    return {
        instance: [entry.at, *(entry.place or ("", "")), entry.reason]
        for instance, entry in sorted(known.items())
        if entry.place or entry.reason in _REMEMBERED
    }


def recalled(value: object) -> dict[str, Known]:
    """What :func:`remembered` has written; entries that it cannot have written are left out, and so asked for again."""
    found: dict[str, Known] = {}
    for instance, entry in value.items() if isinstance(value, dict) else ():
        if not isinstance(entry, list) or len(entry) != 4 or not INSTANCE.fullmatch(str(instance)):
            continue
        at, account, region, reason = entry
        if type(at) is not int or not all(isinstance(text, str) for text in (account, region, reason)):
            continue
        if ACCOUNT.fullmatch(account) and REGION.fullmatch(region) and not reason:
            found[str(instance)] = Known(at, Place(account, region), "")
        elif not account and not region and reason in _REMEMBERED:
            found[str(instance)] = Known(at, None, reason)
    return found


__all__ = [
    "AMBIGUOUS",
    "CONTRADICTS_TENABLE",
    "NOT_ANSWERED",
    "NOT_FOUND",
    "OTHER_OWNER",
    "TERMINATED",
    "Answer",
    "Known",
    "Place",
    "decide",
    "recalled",
    "remembered",
]
