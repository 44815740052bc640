"""The package's errors, by what the user must do next. Free of Airflow: the operators translate them.

* :class:`ConfigurationError`: change a setting, a connection or a role; a retry would fail in the same way.
* :class:`TemporaryError`: nothing to do; the task's retry, or the next run, continues where this one stopped.
* :class:`UnservedError`: add destinations, set up Tenable's connector, or say that the rest is not meant to be served.
* :class:`FewerAssetsError`: let the API user see the assets again, or confirm that they are gone.
* :class:`RefusedDestinationsError`: make the accounts and Regions that it names accept findings, or leave them out.
* :class:`TooManyArchivedError`: find out why Tenable reports so much less, or confirm that it is right.
* :class:`RejectedFindingsError`: look at the rejected findings of the run, fix the cause, run again.
* :class:`StagingError`: files of the run are missing or damaged; the message says which.
"""

from __future__ import annotations

from airflow_provider_tenable.guards.foreign_text import visible
from airflow_provider_tenable.guards.redaction import scrub


class TenableProviderError(Exception):
    """Base of all errors this package raises on purpose. The text says what happened, to what, and what to do.

    It is always one line without known secrets, whatever it quotes, because Airflow writes it into the task's log. The
    code that raises the error bounds the length of quotes (:func:`airflow_provider_tenable.guards.foreign_text.safe`).
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(visible(scrub(message)))


class ConfigurationError(TenableProviderError):
    """A setting of the user is wrong. Usually raised before anything is imported; a retry cannot help."""


class DestinationRefusedError(ConfigurationError):
    """One account and Region permanently refuses its findings: the account is closed, its role is missing or may not be
    assumed, the Region is not enabled, the hub is off, the product is not subscribed, or the role lacks a permission.
    Others are not affected.
    """


class HubOffError(DestinationRefusedError):
    """Security Hub CSPM is not enabled in an account and Region."""


class NotSubscribedError(DestinationRefusedError):
    """An account is not subscribed to the product in a Region."""


class TenableAuthError(ConfigurationError):
    """Tenable rejects the API keys (401), or the API user lacks permission (403)."""


class TenablePermissionError(TenableAuthError):
    """The API user lacks permission for a call, or for an asset (403)."""


class TenableRequestError(ConfigurationError):
    """Tenable rejects the request itself (400, 415, 422): a filter or an option is invalid."""


class NotFoundError(ConfigurationError):
    """Tenable does not know a scan, scanner, template or credential by this name or id (404)."""


class AwsRefusedError(ConfigurationError):
    """AWS refuses a call for a reason that only a person can remove: a missing subscription or permission, an unknown
    image, a quota.
    """


class UnmappableError(ValueError):
    """A record lacks something that a finding requires, or exceeds a limit that truncation cannot meet. It is stored as
    rejected and counted; the run continues.
    """


class TemporaryError(TenableProviderError):
    """The remote service, or the network path to it, is temporarily unavailable (429, 5xx, time-outs, broken
    answers).
    """


class ConflictError(TemporaryError):
    """The object's present status does not allow the call (409), such as a scanner that runs a scan."""


class ProfileNotReadyError(TemporaryError):
    """EC2 does not know an instance profile yet that IAM has just created."""


class CapacityError(TemporaryError):
    """Tenable cannot start another scan now (429): 25 scans of the container are active, or calls are too fast."""


class ScanFailedError(TenableProviderError):
    """A run did not end as wanted: it was aborted, canceled, stopped or lost, or its time was over. A retry of the task
    launches the scan again.

    :ivar status: how the run ended, in Tenable's words; ``lost`` if Tenable does not know the run any more.
    :ivar run_uuid: the run.
    """

    def __init__(self, message: str, *, status: str, run_uuid: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.run_uuid = run_uuid


class ExportNotFoundError(TemporaryError):
    """Tenable does not know the export job or chunk (404, 410): it has expired, and must be requested again."""


class ForeignExportError(TemporaryError):
    """An export job that was taken for ours was requested by somebody else: its records have another form."""


class ChunkNotReadyError(TemporaryError):
    """Tenable lists a chunk that is not available yet (400 on a chunk)."""


class DuplicateExportError(TemporaryError):
    """An export with the same filters is running (409, or 429 naming the job).

    :ivar job_uuid: the running job, if Tenable named it.
    """

    def __init__(self, message: str, job_uuid: str | None = None) -> None:
        super().__init__(message)
        self.job_uuid = job_uuid


class ExportLimitError(TemporaryError):
    """Tenable cannot start another export now (429): all export slots of the container are taken, or calls are too
    fast.
    """


class ExportFailedError(TemporaryError):
    """An export was not completed: it broke too often, or its deadline passed."""


class StagingError(TenableProviderError):
    """A staged file is missing, damaged, or does not match its manifest."""


class DamagedFileError(StagingError):
    """A staged file exists and can be read, but its content has been damaged."""


class MissingFileError(StagingError):
    """A staged file does not exist: the staging area has answered, and has no such file."""


class StorageUnavailableError(StagingError):
    """The staging area does not answer, or refuses access. Nothing is known about the file: it is not lost."""


class LedgerError(TenableProviderError):
    """The counts of a run do not add up: something was lost or counted twice. The watermark stays."""


class IncompleteRunError(TenableProviderError):
    """A run ended incomplete: a task failed, or somebody stopped the run. The watermark stays."""


class UnservedError(TenableProviderError):
    """Most records of AWS assets have no destination, or no asset has an AWS account. The watermark stays."""


class FewerAssetsError(TenableProviderError):
    """A full asset export has far fewer assets than the last one, or none with an AWS account any more. Nothing was
    imported, and the watermark stays.
    """


class RefusedDestinationsError(TenableProviderError):
    """More accounts and Regions refused their findings than ``max_refused_destinations`` allows. The watermark
    stays.
    """


class UnknownAssetsError(UnservedError):
    """Most records belong to assets that Tenable does not export. Nothing was sent, and the watermark stays."""


class TooManyArchivedError(TenableProviderError):
    """A full run saw nothing of more findings than ``max_archived_ratio`` allows, and archived none of them. Everything
    else was delivered, and the watermark has moved.
    """


class RejectedFindingsError(TenableProviderError):
    """More findings were rejected than ``max_rejected_ratio`` allows. The watermark stays."""
