"""Accounts and Regions that refused a run's findings for good: ``{run}/refusals/{account}/{region}.json``.

An import writes the file instead of failing, so that one account that cannot be reached does not block the findings of
all others. The next attempt at the same account and Region removes it first.
"""

from __future__ import annotations

from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import read_json, remove_file, write_json
from airflow_provider_tenable.staging.layout import RunFolder


def note_refusal(run: RunFolder, account: str, region: str, why: str) -> None:
    """Record that an account and Region refuses its findings.

    :param why: the error's text.
    """
    write_json(run.refusal(account, region), {"why": why})
    reached(CrashPoint.REFUSAL_NOTED)


def forget_refusal(run: RunFolder, account: str, region: str) -> None:
    """Remove the record, if there is one."""
    remove_file(run.refusal(account, region))


def refusal_of_place(run: RunFolder, account: str, region: str) -> str | None:
    """Why an account and Region refused its findings in this run; None where it did not."""
    noted = read_json(run.refusal(account, region))
    return None if noted is None else str(noted["why"])


__all__ = ["forget_refusal", "note_refusal", "refusal_of_place"]
