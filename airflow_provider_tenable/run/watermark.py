"""The window of a run, and the watermark: the time up to which everything has been delivered.

A run covers [since, until). Its kind determines the filter for Tenable, and whether the watermark may move:

=============  ==============================================  =============  =========================
kind           since, until                                    filter         moves the watermark
=============  ==============================================  =============  =========================
incremental    watermark less ``lag``; first request           indexed_at     yes
window         the params (what is not given: as incremental)  since          if it covers everything
backfill       the data interval                               since          never
=============  ==============================================  =============  =========================

``indexed_at`` is used because a scan is published minutes after its own time stamp: a cursor on the scan time would
miss it. The watermark is stored in the Airflow Variable ``{dag_id}__since``, as unix seconds in text form, so that a
person can read and set it.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.run.params import MOMENT_PATTERN
from airflow_provider_tenable.run.variables import read_variable, write_variable
from airflow_provider_tenable.tenable_vm.times import utc

INCREMENTAL, WINDOW, BACKFILL = "incremental", "window", "backfill"

#: "Everything" as a filter. Tenable may treat 0, or no filter at all, as its default of 30 days.
EVERYTHING = 1

#: How far a watermark may be ahead of our clock before it counts as being in the future.
_CLOCK_SKEW_SECONDS = 300

#: Unix seconds beyond the last valid date.
_YEAR_10000 = 253402300800


class WindowEntry(TypedDict):
    """A :class:`Window` as it is staged."""

    kind: str
    since: int
    until: int
    bounded: bool
    watermark: int | None


@dataclass(frozen=True)
class Window:
    """What a run covers.

    :ivar since: unix seconds; :data:`EVERYTHING` for all records.
    :ivar until: unix seconds. The export contains everything that Tenable had published by then.
    :ivar bounded: whether records from ``until`` on are dropped: only if a person chose the bound.
    :ivar watermark: the watermark when the run was planned, or None.
    """

    kind: str
    since: int
    until: int
    bounded: bool
    watermark: int | None

    @property
    def filter(self) -> dict[str, int]:
        """The time filter for Tenable, which supports only a lower bound."""
        return {"indexed_at" if self.kind == INCREMENTAL else "since": self.since}

    def to_json(self) -> WindowEntry:
        return {
            "kind": self.kind,
            "since": self.since,
            "until": self.until,
            "bounded": self.bounded,
            "watermark": self.watermark,
        }


def variable_name(dag_id: str) -> str:
    """The Airflow Variable that holds a DAG's watermark."""
    return f"{dag_id}__since"


def parse_moment(value: Any, name: str) -> int | None:
    """A param as unix seconds: a number, a numeric string, or ISO 8601 (without an offset: UTC). None and blanks are
    None.

    :raises ConfigurationError: the value is invalid.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # No valid number of seconds has 16 digits, and a longer one may not fit into a float.
        seconds = float(value) if abs(value) < 10**15 else -1.0
    else:
        text = str(value).strip()
        try:
            if not re.search(MOMENT_PATTERN, text):
                # Python reads more than ISO 8601, such as 19700110000000Z, and something else than was meant.
                raise ValueError(text)
            # Eight digits are a date (20261123), not a time in 1970.
            if re.fullmatch(r"\d{1,12}(\.\d+)?", text) and not re.fullmatch(r"\d{8}", text):
                seconds = float(text)
            else:
                moment = datetime.fromisoformat(text)
                seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except ValueError:
            seconds = -1
    if not 0 <= seconds < _YEAR_10000:
        raise ConfigurationError(
            f"{name} is {quoted(value, 80)}. Give unix seconds (1790000000) or ISO 8601 (2026-11-23T00:00:00Z)."
        )
    return int(seconds)


def parse_watermark(text: str | None, *, name: str, now: float) -> int | None:
    """Read the Variable's text.

    :raises ConfigurationError: it is not unix seconds, or is in the future: a run from there would skip everything in
        between.
    """
    if text is None or not text.strip():
        return None
    advice = f"Set the Airflow Variable {name} to unix seconds, or delete it to export everything again."
    if not re.fullmatch(r"\d{1,12}", text.strip()):
        raise ConfigurationError(f"The watermark {text.strip()[:40]!r} in Variable {name} cannot be read. {advice}")
    value = int(text.strip())
    if value > now + _CLOCK_SKEW_SECONDS:
        raise ConfigurationError(f"The watermark in Variable {name} lies in the future ({utc(value)}). {advice}")
    return value


def plan_window(
    *,
    run_type: str,
    interval: tuple[float | None, float | None],
    since: int | None,
    until: int | None,
    watermark: int | None,
    lag: int,
    now: float,
    server_now: float | None,
) -> Window:
    """Decide what a run covers.

    :param run_type: Airflow's run type: scheduled, manual, backfill, ...
    :param interval: the run's data interval in unix seconds.
    :param since: param, unix seconds.
    :param until: param, unix seconds.
    :param now: our clock, before the first export is requested.
    :param server_now: Tenable's clock at the same time; the earlier of the two is used.
    :raises ConfigurationError: the window is empty.
    """
    before_first_ask = int(now if server_now is None else min(now, server_now))
    if run_type == "backfill" and since is None and until is None:
        start, end = interval
        if start is None or end is None or start >= end:
            raise ConfigurationError(
                "This backfill's data interval is empty, so it does not cover anything. Use the DAG's own interval "
                "timetable, or give since and until."
            )
        return Window(BACKFILL, max(int(start), EVERYTHING), int(end), True, watermark)
    incremental_since = EVERYTHING if watermark is None else max(watermark - lag, EVERYTHING)
    if since is None and until is None:
        return Window(INCREMENTAL, incremental_since, before_first_ask, False, watermark)
    begin = incremental_since if since is None else max(since, EVERYTHING)
    # An upper bound in the future has no effect: its data does not exist yet.
    bounded = until is not None and until <= before_first_ask
    end = until if until is not None and bounded else before_first_ask
    if begin >= end:
        raise ConfigurationError(
            f"The window is empty: since {utc(begin)} is not before until {utc(end)}. Choose an earlier since or a "
            "later until."
        )
    kind = BACKFILL if run_type == "backfill" else WINDOW
    return Window(kind, begin, end, bounded, watermark)


def covered_until(window: Window, data_from: float | None) -> int:
    """The time up to which a run has exported everything, unix seconds.

    :param data_from: as for :func:`next_watermark`.
    """
    return window.until if data_from is None else min(window.until, int(data_from))


def next_watermark(
    window: Window, *, data_from: float | None, current: int | None, narrowed: bool, dry_run: bool
) -> tuple[int | None, str]:
    """The new watermark after a run whose findings were all acknowledged (None: it stays), and the reason in words.

    :param data_from: the time whose data the export certainly contains (earlier than ``until`` if a running job was
        adopted).
    :param current: the current watermark; another run may have moved it since this one began.
    :param narrowed: whether the params may deliver less than the DAG's own defaults would, or deliver it differently.
    """
    target = covered_until(window, data_from)
    if dry_run:
        return None, "stays: dry_run"
    if window.kind == BACKFILL:
        return None, "stays: a backfill never moves it"
    if narrowed:
        return None, "stays: the run's params deliver less than the DAG's own defaults, or deliver it differently"
    if window.kind == WINDOW and window.since > EVERYTHING:
        # `since` filters by the time of the scan. Findings that were published late, recast or accepted in between have
        # an older scan time, so they are not in the window.
        return None, "stays: a window by scan time may miss what was published late; the next incremental run covers it"
    if current is None and window.since > EVERYTHING:
        return (
            None,
            "stays unset: the watermark was removed during the run, so nothing before the run's window is certain",
        )
    if current is not None and window.since > max(current, EVERYTHING):
        return None, f"stays: it was set back to {utc(current)} during the run, before this window"
    if current is not None and target <= current:
        return None, "stays: it is already at or after the end of this window"
    return target, f"moves to {utc(target)}"


def read_watermark(dag_id: str) -> str | None:
    """The Variable's text, or None if it is not set."""
    return read_variable(variable_name(dag_id))


def current(dag_id: str) -> int | None:
    """The watermark in unix seconds, or None if it is not set.

    :raises ConfigurationError: as :func:`parse_watermark`.
    """
    return parse_watermark(read_watermark(dag_id), name=variable_name(dag_id), now=time.time())


def check_not_hidden(dag_id: str) -> None:
    """Check whether something outside Airflow's database defines the Variable: it would override what a run sets, and
    the watermark could never move.

    A worker cannot see a value that is set only in the environment of Airflow 3's API server; :func:`write_watermark`
    detects it.

    :raises ConfigurationError: naming the Variable and where it is defined.
    """
    from airflow_provider_tenable._compat import defined_outside_database

    name = variable_name(dag_id)
    if place := defined_outside_database(name):
        raise ConfigurationError(
            f"Variable {name} is defined by {place}, which overrides the value that a run sets: the watermark could "
            "never move. Nothing was exported. Remove it there. To start at a chosen time, set it in Airflow's "
            f"database: airflow variables set {name} 1790000000."
        )


def description(dag_id: str) -> str:
    """What Airflow's list of Variables says about the watermark."""
    return f"Watermark of DAG {dag_id}, unix seconds: its next run continues from here. Set or delete it as you like."


def write_watermark(dag_id: str, value: int) -> None:
    """Set the Variable and read it back: one from the environment or a secrets backend would override it.

    :raises ConfigurationError: reading it back gives another value.
    """
    name = variable_name(dag_id)
    write_variable(name, str(value), description(dag_id))
    if read_watermark(dag_id) != str(value):
        raise ConfigurationError(
            f"Variable {name} was set to {value} but reads differently: the environment or a secrets backend also "
            "defines it. Remove it there; the watermark must be stored in Airflow's database."
        )
