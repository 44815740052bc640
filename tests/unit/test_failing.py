"""Which errors a retry cannot mend."""

from __future__ import annotations

import traceback

import pytest

from airflow_provider_tenable import exceptions
from airflow_provider_tenable._compat import AirflowFailException, complete_message, fail_fast
from airflow_provider_tenable.guards.foreign_text import beginning

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
    assert failure.value.__context__ is error


@pytest.mark.parametrize("name", RETRIED)
def test_what_may_pass_keeps_the_tasks_retries(name, caplog):
    further = {"status": "aborted"} if name == "ScanFailedError" else {}
    error = getattr(exceptions, name)("wait", **further)
    with pytest.raises(exceptions.TenableProviderError) as failure, fail_fast():
        raise error
    assert failure.value is error
    assert [(each.levelname, each.message, each.exc_info) for each in caplog.records] == [("ERROR", "wait", None)]


HAPPENED = "Account 111122223333 refuses the findings of eu-west-1."
TO_DO = f"Enable Security Hub CSPM there: {'and there ' * 30}or leave it out. Then clear the task."


def test_message_is_a_line_of_its_own_before_a_short_exception(caplog):
    """Airflow shows an exception as the title of a traceback."""
    with pytest.raises(AirflowFailException) as failure, fail_fast():
        raise exceptions.RefusedDestinationsError(f"{HAPPENED} {TO_DO}") from ValueError("an answer of AWS")
    [line] = caplog.records
    assert (line.levelname, line.message, line.exc_info) == ("ERROR", f"{HAPPENED} {TO_DO}", None)
    assert str(failure.value) == HAPPENED
    shown = "".join(traceback.format_exception(failure.value))
    assert shown.count("Traceback") == 1
    assert "an answer of AWS" not in shown
    assert "Then clear the task" not in shown
    # Notifications and the command still have all of it.
    assert complete_message(failure.value) == f"{HAPPENED} {TO_DO}"


@pytest.mark.parametrize(
    "other",
    [ValueError("x"), AirflowFailException("x"), exceptions.StagingError("x"), "x"],
    ids=repr,
)
def test_complete_message_of_any_other_exception_is_its_own(other):
    assert complete_message(other) == "x"


def test_failure_that_hides_another_error_keeps_its_own_message():
    error = AirflowFailException("second")
    error.__context__, error.__suppress_context__ = ValueError("first"), True
    assert complete_message(error) == "second"


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("", ""),
        ("One.", "One."),
        ("One. Two.", "One. Two."),
        ("One is ready. Two is not yet.", "One is ready."),
        ("Is it v1.2 or e.g. 3? Nobody knows.", "Is it v1.2 or e.g. 3?"),
        ("A first sentence that is too long for it. Two.", "A first sentence that is\u2026"),
        ("x" * 30, "x" * 24 + "\u2026"),
    ],
)
def test_beginning_of_a_message_ends_with_a_sentence(text, begins):
    assert beginning(text, 25) == begins


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt()])
def test_a_bug_and_a_stop_stay_what_they_are(error):
    with pytest.raises(type(error)) as failure, fail_fast():
        raise error
    assert failure.value is error


def test_success_passes():
    with fail_fast():
        value = 1
    assert value == 1
