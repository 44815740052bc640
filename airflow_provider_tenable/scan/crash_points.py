"""The boundaries at which the tests of scans kill a task: every point at which what happened in Tenable or in a folder
differs from what is recorded. See :mod:`airflow_provider_tenable.staging.crash_points`.
"""

from __future__ import annotations

from enum import StrEnum


class ScanCrashPoint(StrEnum):
    """The boundaries, in the order in which a run of ``tenable_scan`` reaches them."""

    SCAN_CREATED = "scan_created"
    LAUNCH_NOTED = "scan_launch_noted"
    LAUNCHED = "scan_launched"
    RUN_RECORDED = "scan_run_recorded"
    RESULT_RECORDED = "scan_result_recorded"
    FILE_DOWNLOADED = "scan_file_downloaded"
    FILE_WRITTEN = "scan_file_written"
    FILE_RECORDED = "scan_file_recorded"
