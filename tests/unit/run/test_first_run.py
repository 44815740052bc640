"""Which runs are held back: a scheduled run sends only once somebody has let the DAG send."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run import first_run
from airflow_provider_tenable.staging.files import read_json, write_whole
from airflow_provider_tenable.staging.layout import RunFolder

SOURCE, ANOTHER, MARK = "0123456789abcdef", "fedcba9876543210", 1_790_000_000


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "scheduled__1")


def held_back(run, run_type="scheduled", mark=None, source=SOURCE, before=None):
    return first_run.is_held_back(run, run_type=run_type, mark=mark, source=source, before=before)


@pytest.mark.parametrize("run_type", ["scheduled", "asset_triggered", "dataset_triggered"])
def test_run_that_nobody_asked_for_is_held_back_until_something_says_that_the_dag_sends(run, run_type, monkeypatch):
    assert held_back(run, run_type)
    assert not held_back(run, run_type, mark=MARK)
    monkeypatch.setenv("AIRFLOW__TENABLE__FIRST_SCHEDULED_RUN", "send")
    assert not held_back(run, run_type)
    monkeypatch.setenv("AIRFLOW__TENABLE__FIRST_SCHEDULED_RUN", "dry")
    first_run.note_that_it_sends(run, SOURCE)
    assert not held_back(run, run_type)


@pytest.mark.parametrize("run_type", ["manual", "backfill", "operator_triggered", "asset_materialization"])
def test_run_that_somebody_asked_for_is_what_its_params_say(run, run_type):
    assert not held_back(run, run_type)
    # Also where it took the id of a scheduled run that was held back, as a backfill may that reprocesses.
    assert not held_back(run, run_type, before={"held_back": True})


@pytest.mark.parametrize("mark", [None, MARK])
@pytest.mark.parametrize(("before", "then"), [({"held_back": True}, True), ({"held_back": False}, False), ({}, False)])
def test_decision_of_an_earlier_attempt_stays(run, mark, before, then):
    # A plan without the key is of a release that held nothing back.
    assert held_back(run, mark=mark, before=before) is then


def test_dag_whose_watermark_is_deleted_goes_on_sending(run):
    """Deleting it means "export everything again"."""
    first_run.note_an_upgrade(run, mark=None, source=SOURCE)
    assert held_back(run)
    first_run.note_an_upgrade(run, mark=MARK, source=SOURCE)
    assert not held_back(run, mark=None)


def test_note_counts_for_the_tenable_that_it_was_written_for(run):
    first_run.note_that_it_sends(run, SOURCE)
    assert held_back(run, source=ANOTHER)
    # A watermark that is there and not of this Tenable's runs does not make it one that sends.
    first_run.note_an_upgrade(run, mark=MARK, source=ANOTHER)
    assert held_back(run, source=ANOTHER)
    # A complete real run of it does.
    first_run.note_that_it_sends(run, ANOTHER)
    assert not held_back(run, source=ANOTHER)


def test_note_is_written_once_and_not_for_a_plan_that_knows_no_source(run):
    first_run.note_that_it_sends(run, None)
    assert read_json(run.sends) is None
    first_run.note_that_it_sends(run, SOURCE)
    first_run.note_that_it_sends(RunFolder(str(run.dag_root.parent), "dag", "scheduled__2"), SOURCE)
    assert read_json(run.sends) == {"source": SOURCE, "run_id": "scheduled__1"}


def test_damaged_note_counts_as_missing(run, caplog):
    write_whole(run.sends, b"{")
    assert held_back(run)
    assert "sends.json is damaged" in caplog.text
    assert "the next complete run replaces it" in caplog.text
    assert "Remove" not in caplog.text
    first_run.note_an_upgrade(run, mark=MARK, source=SOURCE)
    assert not held_back(run)


@pytest.mark.parametrize("run_type", ["scheduled", "manual"])
def test_option_that_is_neither_is_refused(run, run_type, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__FIRST_SCHEDULED_RUN", "yes")
    with pytest.raises(
        ConfigurationError, match=r"Option \[tenable\] first_scheduled_run is 'yes'; it must be one of dry, send"
    ):
        held_back(run, run_type)


def test_warning_says_what_happens_and_what_to_do(caplog):
    first_run.warn("the_dag")
    for words in ("the_dag has not imported anything yet", "Variable the_dag__since is not set", "nothing is sent"):
        assert words in caplog.text
    assert "airflow dags trigger the_dag" in caplog.text
    assert "[tenable] first_scheduled_run = send" in caplog.text


def test_warning_is_complete(caplog):
    first_run.warn("the_dag")
    assert [record.getMessage() for record in caplog.records] == [
        "This is a dry run although its params do not ask for one: the_dag has not imported anything yet (Variable "
        "the_dag__since is not set). Everything is exported, mapped and counted, the hubs are checked, and nothing is "
        "sent. The same applies to the next scheduled runs. Once the table in the log of the task report looks right, "
        "let the DAG send: trigger it once with dry_run off and the other params as they are (airflow dags trigger "
        "the_dag); after that run is complete, scheduled runs send too. Or set [tenable] first_scheduled_run = send "
        "before the next scheduled run."
    ]


def test_watermark_of_another_tenable_or_user_stops_the_run_and_one_of_nobody_does_not(run):
    first_run.check_source(run, SOURCE)
    first_run.note_that_it_sends(run, SOURCE)
    first_run.check_source(run, SOURCE)
    with pytest.raises(ConfigurationError) as failure:
        first_run.check_source(run, ANOTHER)
    assert str(failure.value) == (
        "The watermark in Variable dag__since belongs to another Tenable instance or API user than the connection "
        "leads to now. Nothing was exported. If they are wrong, correct the connection. To import everything from this "
        "one, delete the watermark: airflow variables delete dag__since. If only the API user changed, and sees the "
        f"same assets, remove {run.sends}. Then clear the run."
    )


@pytest.mark.parametrize("note", [b"{}", b'{"source": null}', b"null"])
def test_note_without_a_source_counts_as_missing(run, note):
    write_whole(run.sends, note)
    first_run.check_source(run, SOURCE)
    assert held_back(run)
    first_run.note_an_upgrade(run, mark=MARK, source=SOURCE)
    assert not held_back(run)


def test_long_option_is_cut_in_the_message(run, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__FIRST_SCHEDULED_RUN", "y" * 41)
    with pytest.raises(ConfigurationError, match=f"is '{'y' * 40}'; it must be one of dry, send"):
        held_back(run)
