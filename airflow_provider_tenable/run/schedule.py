"""The schedule of a DAG that imports or audits: from ``[tenable]``, or from its DAG file.

Every schedule has data intervals. On Airflow 3 a cron text on its own has none ([scheduler]
create_cron_data_intervals), so a backfill of such a DAG would not cover anything.

DAG files import this module while Airflow parses them, so it must not import anything heavy.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow_provider_tenable import config
from airflow_provider_tenable._compat import DeltaDataIntervalTimetable, any_asset_or, conf, cron_timetable
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.run.asset_event import scans_from_option

#: The default of a factory's argument ``schedule``. None means no schedule.
FROM_OPTIONS = "[tenable] schedule"
#: The same for audits of AWS accounts.
AUDIT_FROM_OPTION = "[tenable] audit_schedule_hours"


def schedule_of(given: Any = FROM_OPTIONS) -> Any:
    """What Airflow's ``DAG`` accepts as its schedule.

    :param given: cron text, a timedelta, None, or whatever else Airflow accepts. Default: the options ``schedule`` (or
        ``schedule_hours``) and ``import_after_scans``; None without any of them: then nothing starts by itself, and
        switching the DAG on does not start a run. :data:`AUDIT_FROM_OPTION`: the option ``audit_schedule_hours``.
    :raises ConfigurationError: the cron text or the time zone is invalid.
    """
    if given == FROM_OPTIONS:
        scans = scans_from_option()
        return any_asset_or(_from_options(), scans) if scans else _from_options()
    if given == AUDIT_FROM_OPTION:
        hours = config.get("audit_schedule_hours")
        return DeltaDataIntervalTimetable(timedelta(hours=hours)) if hours else None
    if isinstance(given, str):
        return _cron(given, "The schedule of the DAG")
    return DeltaDataIntervalTimetable(given) if isinstance(given, timedelta) else given


def _from_options() -> Any:
    hours, cron = config.get("schedule_hours"), config.get("schedule")
    if cron:
        return _cron(cron, "Option [tenable] schedule")
    return DeltaDataIntervalTimetable(timedelta(hours=hours)) if hours else None


def _cron(text: str, what: str) -> Any:
    zone = config.get("schedule_timezone") or _airflows_zone()
    try:
        return cron_timetable(text, zone)
    except Exception as error:
        # croniter, pendulum and Airflow have no error in common.
        raise ConfigurationError(
            f"{what} is {quoted(text, 80)} in the time zone {quoted(zone, 80)}, which Airflow cannot read "
            f"({safe(error, 200)}). Use a cron expression such as 0 2 * * *, and a time zone such as Europe/Berlin."
        ) from error


def _airflows_zone() -> str:
    zone = str(conf.get("core", "default_timezone", fallback="utc"))
    # `system` is the time zone of each machine, which may differ.
    return "UTC" if zone.lower() in ("utc", "system") else zone


__all__ = ["AUDIT_FROM_OPTION", "FROM_OPTIONS", "schedule_of"]
