"""DAG files that call the provider's functions, and copies of the DAG files of 0.1.0, which must keep working."""

from __future__ import annotations

import runpy
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable.dags import tenable_aws_audit, tenable_replay_rejected, tenable_to_security_hub
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run.own_options import own_option
from airflow_provider_tenable.staging.layout import RunFolder

ROOT = Path(__file__).resolve().parents[2]
COPIES = sorted((ROOT / "tests" / "data" / "dag_files_0_1_0").glob("*.py"))
EXAMPLES = sorted((ROOT / "airflow_provider_tenable" / "example_dags").glob("example_*.py"))


def shape(dag: Any) -> dict[str, Any]:
    """What running plans, pages and people depend on, by task."""
    return {
        task.task_id: (
            sorted(task.downstream_task_ids),
            str(task.trigger_rule),
            task.is_teardown,
            task.retries,
            task.doc_md,
            getattr(task, "operator_class", type(task)).__name__,
            [each.uri for each in task.outlets],
        )
        for task in dag.tasks
    }


@pytest.mark.parametrize("copy", COPIES, ids=lambda path: path.stem)
def test_copies_of_the_old_dag_files_are_the_dags_of_today(copy: Path) -> None:
    old = runpy.run_path(str(copy))["dag"]
    new = runpy.run_path(str(ROOT / "dags" / copy.name))["dag"]
    assert shape(old) == shape(new)
    assert list(old.params) == list(new.params)
    assert type(old.timetable) is type(new.timetable)


def test_a_dag_of_its_own_has_its_own_connections_options_and_asset() -> None:
    made = tenable_to_security_hub(
        "emea",
        tenable_conn_id="tenable_emea",
        aws_conn_id="aws_emea",
        staging_path="file:///emea",
        id_scheme="tvm2aws",
        product="default",
        params={"severities": ["critical"]},
        tags=["emea"],
        default_args={"owner": "emea"},
    )
    for name in ("export_assets", "export_vulnerabilities"):
        task = made.get_task(name)
        assert (task.tenable_conn_id, task.staging_path, task.owner) == ("tenable_emea", "file:///emea", "emea")
    mapped = {name: made.get_task(name).partial_kwargs for name in ("transform", "import_findings", "archive_findings")}
    assert {kwargs["staging_path"] for kwargs in mapped.values()} == {"file:///emea"}
    assert {kwargs["product"] for kwargs in mapped.values()} == {"default"}
    assert mapped["transform"]["id_scheme"] == "tvm2aws"
    assert mapped["transform"]["tenable_conn_id"] == "tenable_emea"
    for name in ("plan_run", "remove_old_runs"):
        assert list(made.get_task(name).op_args) == ["tenable_emea"]
    assert made.params["severities"] == ["critical"]
    assert [each["aws_conn_id"] for each in made.params["destinations"]] == ["aws_emea"]
    assert [each.uri for each in made.get_task("advance_watermark").outlets] == ["tenable://security-hub/emea"]
    assert "`emea__since`" in made.doc_md
    assert made.tags == {"emea"} or list(made.tags) == ["emea"]


def test_the_steps_between_the_operators_use_the_options_of_their_dag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}/option")
    run = SimpleNamespace(dag_id="emea", run_id="run-1")
    own = tenable_to_security_hub("emea", staging_path=f"file://{tmp_path}/own", product="default")
    usual = tenable_to_security_hub("usual")
    for dag, path, product in ((own, "own", "default"), (usual, "option", "tenable/vulnerability-management")):
        context = {"dag": dag, "dag_run": run}
        assert str(RunFolder.of(context).root).endswith(f"{tmp_path}/{path}/emea/run-1")
        assert own_option(context, "product") == product
    # Callbacks, and tests, may have no DAG.
    assert str(RunFolder.of({"dag_run": run}).root).endswith("/option/emea/run-1")


@pytest.mark.parametrize(
    ("given", "kind"),
    [("0 2 * * *", "CronDataIntervalTimetable"), (timedelta(hours=6), "DeltaDataIntervalTimetable"), (None, "Null")],
    ids=str,
)
def test_a_schedule_has_data_intervals_on_every_airflow(given: Any, kind: str) -> None:
    assert type(tenable_to_security_hub("d", schedule=given).timetable).__name__.startswith(kind)


def test_the_cron_option_replaces_the_hours_and_has_its_own_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__SCHEDULE", "30 2 * * 1-5")
    monkeypatch.setenv("AIRFLOW__TENABLE__SCHEDULE_TIMEZONE", "Europe/Berlin")
    timetable = tenable_to_security_hub("d").timetable
    assert type(timetable).__name__ == "CronDataIntervalTimetable"
    assert timetable.summary == "30 2 * * 1-5"
    # Airflow 3 keeps the text, Airflow 2 an object.
    assert "Europe/Berlin" in str(getattr(timetable._timezone, "name", timetable._timezone))


@pytest.mark.parametrize(
    ("cron", "zone"), [("every day", "UTC"), ("61 2 * * *", "UTC"), ("0 2 * * *", "Mars/Olympus")], ids=str
)
def test_a_schedule_that_cannot_be_read_is_an_import_error_in_words(
    cron: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__SCHEDULE", cron)
    monkeypatch.setenv("AIRFLOW__TENABLE__SCHEDULE_TIMEZONE", zone)
    with pytest.raises(ConfigurationError, match=r"Option \[tenable\] schedule is .*which Airflow cannot read.*0 2"):
        tenable_to_security_hub("d")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"severity": ["high"]}, "The argument params of the DAG file contains 'severity', which is not a param"),
        ({"batch_size": 101}, "The argument params of the DAG file contains an invalid batch_size"),
    ],
    ids=str,
)
def test_wrong_params_of_a_dag_file_are_an_import_error_in_words(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        tenable_to_security_hub("d", params=params)


def test_a_dag_file_overrides_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__DAG_PARAMS", '{"severities": ["low"], "batch_size": 7}')
    made = tenable_to_security_hub("d", params={"severities": ["critical"]})
    assert (made.params["severities"], made.params["batch_size"]) == (["critical"], 7)


def test_a_replay_is_of_the_dag_that_it_is_told() -> None:
    made = tenable_replay_rejected("again", of_dag="emea", tenable_conn_id="tenable_emea", staging_path="file:///emea")
    assert made.params["dag_id"] == "emea"
    assert made.get_task("transform").partial_kwargs["tenable_conn_id"] == "tenable_emea"
    assert made.get_task("import_findings").partial_kwargs["staging_path"] == "file:///emea"


def test_audits_of_a_dag_of_its_own_have_its_connection_accounts_and_assets() -> None:
    accounts = [{"account": "111122223333"}]
    made = tenable_aws_audit(
        "emea", tenable_conn_id="tenable_emea", params={"accounts": accounts}, staging_path="file:///emea"
    )
    assert made.params["accounts"] == accounts
    used = {task.task_id: getattr(task, "tenable_conn_id", None) for task in made.tasks}
    assert {each for each in used.values() if each} == {"tenable_emea"}
    assert made.get_task("audit.what_to_send").op_args[-1] == "tenable_emea"
    assert made.get_task("audit.run_scan").staging_path == "file:///emea"
    outlets = [getattr(each, "uri", None) or each.name for each in made.get_task("complete").outlets]
    assert outlets == ["emea", "tenable://aws-audits/emea"]
    assert "tenable://aws-audits/emea" in made.doc_md
    with pytest.raises(ConfigurationError, match="The argument params of the DAG file contains an invalid accounts"):
        tenable_aws_audit("d", params={"accounts": "111122223333"})


def test_audits_have_a_schedule_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not tenable_aws_audit().timetable.can_be_scheduled
    monkeypatch.setenv("AIRFLOW__TENABLE__AUDIT_SCHEDULE_HOURS", "168")
    assert tenable_aws_audit().timetable._delta == timedelta(days=7)
    assert tenable_to_security_hub("d").timetable._delta == timedelta(days=1)
    assert not tenable_aws_audit(schedule=None).timetable.can_be_scheduled
    monkeypatch.setenv("AIRFLOW__TENABLE__AUDIT_SCHEDULE_HOURS", "0.1")
    with pytest.raises(ConfigurationError, match=r"audit_schedule_hours is 0\.1; the minimum is 0\.25, or 0 for no"):
        tenable_aws_audit()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_parse_and_start_nothing_by_themselves(path: Path) -> None:
    """Airflow 3.3 shows them where ``[core] load_examples`` is on, beside the real ones."""
    from airflow_provider_tenable._compat import DAG

    found = [each for each in runpy.run_path(str(path)).values() if isinstance(each, DAG)]
    assert found
    assert all(each.dag_id.startswith("example_tenable_") for each in found)
    assert not [each.dag_id for each in found if each.timetable.can_be_scheduled]


def test_groups_leave_the_ids_of_tasks_as_they_are() -> None:
    made = tenable_to_security_hub("d")
    assert {"export_assets", "export_vulnerabilities", "transform", "import_findings"} <= set(made.task_ids)
    assert not [each for each in made.task_ids if "." in each]
    assert "export" in made.task_group.get_task_group_dict()
