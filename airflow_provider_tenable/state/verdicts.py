"""Which findings are sent, why, and with which ``UpdatedAt`` (the table of docs/state.md), for many at a time."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from airflow_provider_tenable.asff import row

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_DAY = 86_400_000
#: Security Hub deletes an archived finding so many days after its last update.
_ARCHIVED_DAYS = 30


class Verdict(IntEnum):
    """What becomes of a finding. The names are keys of the ledger."""

    #: Sent, since what the hub has is not known.
    UNKNOWN = 0
    CREATED = 1
    UPDATED = 2
    #: Sent: active in the hub, to be archived.
    ARCHIVED = 3
    #: Sent, or Security Hub would delete it 90 days after its last update; or since the hub was switched off and on
    #: again after it was sent.
    REFRESHED = 4
    #: From here on: not sent.
    UNCHANGED = 5
    SUPERSEDED = 6
    NEVER_IMPORTED = 7

    @property
    def key(self) -> str:
        return self.name.lower()


#: Verdicts of findings that are sent, and of those that are not.
SENT = (Verdict.CREATED, Verdict.UPDATED, Verdict.ARCHIVED, Verdict.REFRESHED, Verdict.UNKNOWN)
NOT_SENT = (Verdict.UNCHANGED, Verdict.SUPERSEDED, Verdict.NEVER_IMPORTED)


class Moments(Struct, frozen=True):
    """What all findings of a run are compared by; unix milliseconds.

    :ivar planned: when the run was planned, so that a retry decides the same.
    :ivar as_of: for which moment the run's export speaks.
    :ivar refresh: ``[tenable] refresh_days``.
    :ivar full_as_of: of which moment the last full run of the DAG was; None where there was none.
    :ivar known: whether the index says what the hub holds.
    :ivar stamps: where it does not: whether everything is sent with ``planned``, so that Security Hub takes it.
    :ivar enabled_at: since when the hub is on; 0 if that is not known. It may have forgotten what was sent before.
    :ivar delivered_until: where it does not: what was fixed before is archived in the hub, if it ever was there.
    """

    planned: int
    as_of: int
    refresh: int
    full_as_of: int | None = None
    known: bool = True
    stamps: bool = False
    delivered_until: int = 0
    enabled_at: int = 0


class Held(Struct, frozen=True):
    """What the index says of each of the findings, as arrays; where ``found`` is not, the rest means nothing."""

    found: Array
    content: Array
    archived: Array
    updated_at: Array
    as_of: Array
    sent_at: Array


def decide(staged: Array, held: Held, moments: Moments) -> tuple[Array, Array]:
    """The verdict of each finding, and the ``UpdatedAt`` that it is sent with (unix milliseconds; 0: its own).

    :param staged: rows of staged findings (:data:`~airflow_provider_tenable.state.staged.FIELDS`), none of which is in
        another one's place. ``as_of`` is given in each.
    """
    import numpy as np

    archived = (staged["flags"] & row.ARCHIVED) != 0
    own, planned = staged["updated_at"], moments.planned
    # A later time than any in the hub, or Security Hub ignores what is sent.
    floor = np.where(held.found, held.updated_at + 1, 0)
    if not moments.known:
        verdicts = np.full(len(staged), Verdict.UNKNOWN, "u1")
        if not moments.stamps:
            return verdicts, np.zeros(len(staged), "<i8")
        fixed_long_ago = ((staged["flags"] & row.FIXED) != 0) & (own < moments.delivered_until)
        verdicts[fixed_long_ago] = Verdict.NEVER_IMPORTED
        return verdicts, np.maximum(planned, floor)
    same_state = held.found & (archived == held.archived)
    same = same_state & (staged["content"] == held.content) & (staged["content"] != row.UNKNOWN_CONTENT)
    young = (held.sent_at > planned - moments.refresh) & (held.sent_at >= moments.enabled_at)
    # Security Hub deletes what is archived anyway: it is not refreshed, and not brought back to change it.
    gone = same_state & archived & (held.sent_at < planned - _ARCHIVED_DAYS * _DAY)
    older = staged["as_of"] < (0 if moments.full_as_of is None else moments.full_as_of)
    superseded = np.where(held.found, held.as_of > staged["as_of"], older)
    # Archived in Tenable before it was ever sent: its row says from when on, and that the hub does not have it.
    never_sent = held.found & held.archived & (held.content == row.UNKNOWN_CONTENT)
    verdicts = np.select(
        [
            superseded,
            (~held.found | never_sent) & archived,
            ~held.found | never_sent,
            (same & (young | archived)) | gone,
            same,
            archived & ~same_state,
        ],
        [
            Verdict.SUPERSEDED,
            Verdict.NEVER_IMPORTED,
            Verdict.CREATED,
            Verdict.UNCHANGED,
            Verdict.REFRESHED,
            Verdict.ARCHIVED,
        ],
        Verdict.UPDATED,
    ).astype("u1")
    # Security Hub counts its 90 days from UpdatedAt: an old one might be deleted on arrival, and would refresh nothing.
    old = (own < planned - moments.refresh) | (verdicts == Verdict.REFRESHED)
    stamps = np.maximum(np.where(old, planned, own), floor)
    return verdicts, np.where(stamps == own, 0, stamps)
