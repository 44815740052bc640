"""Which errors a retry cannot mend."""

from __future__ import annotations

import pytest

from airflow_provider_tenable import exceptions
from airflow_provider_tenable._compat import AirflowFailException, fail_fast

AT_ONCE = [
    "ConfigurationError",
    "DestinationRefusedError",
    "HubOffError",
    "NotSubscribedError",
    "FewerAssetsError",
    "RefusedDestinationsError",
    "UnknownAssetsError",
    "TenableAuthError",
    "TenablePermissionError",
    "TenableRequestError",
    "RejectedFindingsError",
    "TooManyArchivedError",
    "UnservedError",
    "IncompleteRunError",
    "NotFoundError",
    "AwsRefusedError",
]
RETRIED = [
    "TemporaryError",
    "ExportNotFoundError",
    "ForeignExportError",
    "ChunkNotReadyError",
    "DuplicateExportError",
    "ExportFailedError",
    "ExportLimitError",
    "StagingError",
    "DamagedFileError",
    "MissingFileError",
    "StorageUnavailableError",
    "LedgerError",
    "CapacityError",
    "ConflictError",
    "ScanFailedError",
    "ProfileNotReadyError",
    "TenableProviderError",
]


def test_every_error_of_ours_is_sorted():
    ours = {
        name
        for name, value in vars(exceptions).items()
        if isinstance(value, type) and issubclass(value, exceptions.TenableProviderError)
    }
    assert ours == set(AT_ONCE) | set(RETRIED)


@pytest.mark.parametrize("name", AT_ONCE)
def test_what_only_the_user_can_mend_fails_the_task_without_a_retry(name):
    error = getattr(exceptions, name)("what to do")
    with pytest.raises(AirflowFailException, match=r"^what to do$") as failure, fail_fast():
        raise error
    assert failure.value.__cause__ is error


@pytest.mark.parametrize("name", RETRIED)
def test_what_may_pass_keeps_the_tasks_retries(name):
    further = {"status": "aborted"} if name == "ScanFailedError" else {}
    error = getattr(exceptions, name)("wait", **further)
    with pytest.raises(exceptions.TenableProviderError) as failure, fail_fast():
        raise error
    assert failure.value is error


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt()])
def test_a_bug_and_a_stop_stay_what_they_are(error):
    with pytest.raises(type(error)) as failure, fail_fast():
        raise error
    assert failure.value is error


def test_success_passes():
    with fail_fast():
        value = 1
    assert value == 1
