"""An asset that Airflow updates whenever a run of a scan is completed, whoever launched it (Airflow 3.0 and later)."""

from __future__ import annotations

from airflow_provider_tenable._compat import Asset, watched
from airflow_provider_tenable.run.asset_event import completed_scan


def watched_scan(
    name: str,
    *,
    tenable_conn_id: str = "tenable_default",
    poll_interval: float = 300.0,
    lookback: float = 3_600.0,
) -> Asset:
    """The asset ``tenable://scan/{name}``, for the ``schedule`` of a DAG that is to run when a run of the scan is
    completed. The triggerer looks for such runs: no DAG of Airflow need have launched them.

    The payload of the event (``extra["payload"]``) is ``{"scan", "schedule_uuid", "name", "run_uuid", "status",
    "started_at", "ended_at"}``; the times are unix seconds. At least one event follows each run: the trigger keeps
    nothing on record, so a triggerer that is started again repeats the events of the last hour (``lookback``), and runs
    that ended longer before that are not reported.

    :param name: the scan's name in Tenable.
    :param tenable_conn_id: connection of type ``tenable``.
    :param poll_interval: seconds between two polls, at least 10.
    :param lookback: seconds before the start of the trigger for which completed runs are reported.
    :raises ConfigurationError: this is Airflow 2, which has no asset watchers.
    """
    # Imported here, because most DAG files that are parsed have no such asset.
    from airflow_provider_tenable.triggers.tenable_scan_events import TenableCompletedScanTrigger

    asset = completed_scan(name)
    trigger = TenableCompletedScanTrigger(
        scan=name, tenable_conn_id=tenable_conn_id, poll_interval=poll_interval, lookback=lookback
    )
    return watched(asset, asset.uri, trigger)


__all__ = ["watched_scan"]
