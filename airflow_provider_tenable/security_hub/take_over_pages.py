"""What a takeover has read from a hub, on record: ``take_over/{account}/{region}/``. Reading resumes after the last
page that is on record, and what a retry decides rests on the same findings.

Of a finding only those fields are kept that decide what becomes of it; texts of the vulnerability are not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable.exceptions import DamagedFileError, StagingError, StorageUnavailableError
from airflow_provider_tenable.security_hub.customer_decisions import NOTE, PROVIDER_FIELDS, WORKFLOW
from airflow_provider_tenable.security_hub.reader import Finding
from airflow_provider_tenable.staging.crash_points import reached
from airflow_provider_tenable.staging.files import read_json, remove, write_json
from airflow_provider_tenable.staging.parts import read_lines, write_lines

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

_PROGRESS = "read.json"
#: Findings of a file: 50 calls of GetFindings.
FINDINGS_OF_FILE = 5_000
#: What was read so many seconds ago is read again: the customer may have decided otherwise since.
STALE_SECONDS = 6 * 3600
_KEPT = (
    "Id",
    "ProductArn",
    "AwsAccountId",
    "Region",
    "UpdatedAt",
    "RecordState",
    WORKFLOW,
    NOTE,
    "UserDefinedFields",
    "VerificationState",
    *PROVIDER_FIELDS,
)


class TakeOverCrashPoint(StrEnum):
    """Where the tests kill a takeover: what it has done differs from what it has recorded."""

    PAGES_READ = "take_over_pages_read"
    UPDATES_RECORDED = "take_over_updates_recorded"
    LEFT_LISTED = "take_over_left_listed"
    RECORDED = "take_over_recorded"


class Progress(msgspec.Struct):
    """``read.json``.

    :ivar began: unix seconds.
    :ivar token: of the next page; None at the beginning and at the end.
    :ivar complete: whether all pages were read.
    :ivar files: the files with the findings, and the number of findings of each.
    """

    began: float
    token: str | None = None
    complete: bool = False
    pages: int = 0
    files: list[tuple[str, int]] = []

    @property
    def findings(self) -> int:
        """How many findings were read."""
        return sum(count for _, count in self.files)


class EstatePages:
    """The record of one account and Region.

    :param reason_field: the key of ``ProductFields`` that says why a finding was archived.
    """

    def __init__(self, folder: ObjectStoragePath, reason_field: str) -> None:
        self.folder = folder
        self._reason_field = reason_field

    def progress(self) -> Progress | None:
        """How far an earlier try came; None where there is none that can be read."""
        try:
            value = read_json(self.folder / _PROGRESS, advice="")
            return None if value is None else msgspec.convert(value, Progress)
        except (DamagedFileError, msgspec.ValidationError):
            return None

    def begin(self, now: float | None = None) -> Progress:
        """Begin from the first page."""
        progress = Progress(time.time() if now is None else now)
        remove(self.folder)
        write_json(self.folder / _PROGRESS, msgspec.to_builtins(progress))
        return progress

    def add(self, progress: Progress, findings: Sequence[Finding]) -> None:
        """Put findings on record, and how far they reach."""
        if findings:
            lines = [msgspec.json.encode(self._kept(each)) for each in findings]
            progress.files.append(
                (write_lines(self.folder, f"read-{len(progress.files):05d}", lines), len(findings)),
            )
        write_json(self.folder / _PROGRESS, msgspec.to_builtins(progress))
        reached(TakeOverCrashPoint.PAGES_READ)

    def findings(self, progress: Progress) -> Iterator[Finding]:
        """What was read. :raises StagingError: a file is missing or damaged."""
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        for name, count in progress.files:
            found = 0
            try:
                for line in read_lines(self.folder / name):
                    yield decode(line)
                    found += 1
            except StorageUnavailableError:
                raise
            except (StagingError, OSError, msgspec.DecodeError) as error:
                raise self._damaged(name) from error
            if found != count:
                raise self._damaged(name)

    def _damaged(self, name: str) -> StagingError:
        return StagingError(
            f"What the takeover has read, {self.folder / name}, is missing or damaged. Start another run of the "
            "takeover: what it has done already stays done."
        )

    def _kept(self, finding: Finding) -> Finding:
        kept = {name: finding[name] for name in _KEPT if name in finding}
        resources, fields = finding.get("Resources"), finding.get("ProductFields")
        provider = finding.get("FindingProviderFields")
        kept["Resources"] = (
            [{"Id": each.get("Id")} if isinstance(each, dict) else None for each in resources]
            if isinstance(resources, list)
            else None
        )
        if isinstance(fields, dict) and self._reason_field in fields:
            kept["ProductFields"] = {self._reason_field: fields[self._reason_field]}
        if isinstance(provider, dict):
            kept["FindingProviderFields"] = {name: provider[name] for name in PROVIDER_FIELDS if name in provider}
        elif provider is not None:
            kept["FindingProviderFields"] = "?"
        return kept


__all__ = ["FINDINGS_OF_FILE", "STALE_SECONDS", "EstatePages", "Progress", "TakeOverCrashPoint"]
