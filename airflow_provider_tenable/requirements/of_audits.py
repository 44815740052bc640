"""The checks of the audits of AWS accounts that the DAG tenable_aws_audit has recorded."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_tenable.exceptions import NotFoundError, TenablePermissionError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.requirements.lines import FAILED, OK, UNCHECKED, Line, guarded, line_of, unchecked
from airflow_provider_tenable.scan.audited_accounts import Audited, audits_on_record, collisions_in
from airflow_provider_tenable.scan.status import COMPLETED, IDLE
from airflow_provider_tenable.scan.status import FAILED as ENDED_BADLY
from airflow_provider_tenable.tenable_vm.scans import Scan

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.tenable import TenableHook
    from airflow_provider_tenable.tenable_vm.api_user import ApiUser

_SCANS, _ASSETS = "audit.scans", "audit.assets"
_RUN = "Run the DAG tenable_aws_audit for this account, with debug if the audit ends badly again."


def check_audits(hook: TenableHook, user: ApiUser | Exception, staging: str, *, most: int) -> Iterator[Line]:
    """The lines of ``audit.*``: one call of Tenable for each audit.

    :param user: the API user, or the error of asking for it.
    :param staging: URI of the staging area, where the audits are on record.
    :param most: the number of audits that are looked at.
    """
    if isinstance(user, Exception):
        yield from unchecked((_SCANS, _ASSETS), "", "Not checked, because tenable.keys is not ok.", "See tenable.keys.")
        return
    try:
        audits = audits_on_record(staging)
    except Exception as error:  # noqa: BLE001 - it becomes a line.
        yield line_of(_SCANS, "", error)
        yield Line(_ASSETS, "", UNCHECKED, "Not checked: the records of audits cannot be read.", "See audit.scans.")
        return
    if not audits:
        for check in (_SCANS, _ASSETS):
            yield Line(check, "", OK, "No audit of an AWS account is on record.")
        return
    for schedule_uuid, audited in islice(audits.items(), most):
        yield guarded(
            _SCANS,
            f"{audited.account}: {audited.name}",
            lambda schedule_uuid=schedule_uuid, audited=audited: _scan(hook, schedule_uuid, audited),  # type: ignore[misc]
        )
    if len(audits) > most:
        beyond = f"{len(audits) - most} of {len(audits)} audits were not looked at."
        yield Line(_SCANS, "", UNCHECKED, beyond, "Raise max_places.")
    collisions = collisions_in(audits)
    for collision in collisions:
        yield Line(_ASSETS, collision.asset, FAILED, str(collision))
    if not collisions:
        accounts = len({audited.account for audited in audits.values()})
        yield Line(_ASSETS, "", OK, f"No asset stands for several of {accounts} accounts.")


def _scan(hook: TenableHook, schedule_uuid: str, audited: Audited) -> Line | str:
    subject = f"{audited.account}: {audited.name}"
    try:
        # The call names the scan by its schedule's uuid only.
        status = hook.scan_runs.latest_status(Scan(0, schedule_uuid, audited.name)).status
    except NotFoundError as error:
        return Line(_SCANS, subject, FAILED, str(error), _RUN)
    except TenablePermissionError as error:
        return Line(_SCANS, subject, UNCHECKED, str(error), "Let the API user view the scan (Can View).")
    if status in ENDED_BADLY:
        return Line(_SCANS, subject, FAILED, f"Its newest run is {safe(status)}, so its results are incomplete.", _RUN)
    if status in IDLE:
        return Line(_SCANS, subject, FAILED, "It has never run.", _RUN)
    if status == COMPLETED and not audited.assets:
        detail = "Its newest run is completed, but none of its runs had the result of a check."
        return Line(_SCANS, subject, FAILED, detail, _RUN)
    return f"Its newest run is {safe(status)}."
