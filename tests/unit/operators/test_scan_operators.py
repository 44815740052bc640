"""The operators about scans, against the sandbox's Tenable over sockets."""

from __future__ import annotations

import errno
import gc
import io
import json
import logging
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_provider_tenable._compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
)
from airflow_provider_tenable.exceptions import (
    ConflictError,
    ExportFailedError,
    ScanFailedError,
    StagingError,
    TemporaryError,
)
from airflow_provider_tenable.operators.remediation_scans import TenableRemediationScanOperator
from airflow_provider_tenable.operators.scan_exports import TenableExportScanOperator
from airflow_provider_tenable.operators.scan_runs import TenableRunScanOperator
from airflow_provider_tenable.operators.tenable_scans import TenableCreateScanOperator, TenableDeleteScanOperator
from airflow_provider_tenable.scan.crash_points import ScanCrashPoint
from airflow_provider_tenable.sensors.tenable_scans import TenableScanSensor
from airflow_provider_tenable.staging import downloads
from sandbox.tenable.scan_book import TEMPLATES
from tests.scan_tasks import Killed, context_of, kill_at, quick, run_deferred, staging  # noqa: F401

pytestmark = pytest.mark.usefixtures("staging", "quick")

BOTH = pytest.mark.parametrize("deferrable", [False, True])


def create(**arguments):
    return TenableCreateScanOperator(
        task_id="create_scan", **{"name": "Nightly", "targets": ["192.0.2.1", "192.0.2.0/28"], **arguments}
    )


def run(scan="name:Weekly", **arguments):
    return TenableRunScanOperator(task_id="run_scan", scan=scan, **arguments)


def export(**arguments):
    return TenableExportScanOperator(task_id="export_scan", **{"scan": "name:Weekly", **arguments})


def remediate(**arguments):
    return TenableRemediationScanOperator(
        task_id="rescan", **{"plugin_id": 51192, "target": "192.0.2.1", "deferrable": False, **arguments}
    )


def execute(task, **options):
    return task.execute(context_of(task, **options))


def ended(tenable, config, **fault):
    """A run that has ended."""
    if fault:
        tenable.order("scan_run", **fault)
    made = tenable.launch(config)
    tenable.advance(5)
    return made


class TestCreate:
    def test_a_scan_is_created_as_asked_for_and_marked(self, tenable):
        tenable.tenable.credentials["c"] = {
            "uuid": "a3820211-a59c-4fdd-b6f9-65583f61bf61",
            "name": "ssh",
            "type": "SSH",
            "settings": {},
        }
        task = create(
            credentials=["ssh"],
            folder="Nightly",
            scanner="AUTO-ROUTED",
            policy="31",
            settings={"scan_time_window": 60},
            schedule={"starttime": "20261127T010000", "rrules": "FREQ=DAILY;INTERVAL=1", "timezone": "UTC"},
            description="Every night.",
            template="Advanced Network Scan",
        )
        result = execute(task)
        [config] = tenable.tenable.scans.scans.values()
        assert result == {
            "id": config.id,
            "schedule_uuid": config.uuid,
            "name": "Nightly",
            "template": "Advanced Network Scan",
            "created": True,
        }
        assert config.body["uuid"] == TEMPLATES["advanced"][1]
        description = config.settings.pop("description")
        assert description.startswith("Every night.\nmanaged by Airflow: dag.create_scan [")
        assert config.settings == {
            "name": "Nightly",
            "text_targets": "192.0.2.1,192.0.2.0/28",
            "folder_id": 12,
            "scanner_id": "AUTO-ROUTED",
            "policy_id": 31,
            "scan_time_window": 60,
            "starttime": "20261127T010000",
            "rrules": "FREQ=DAILY;INTERVAL=1",
            "timezone": "UTC",
            "enabled": True,
        }
        assert config.body["credentials"] == {
            "add": {"Host": {"SSH": [{"id": "a3820211-a59c-4fdd-b6f9-65583f61bf61"}]}}
        }

    def test_it_is_found_again_and_changed_only_if_the_arguments_have(self, tenable):
        first = execute(create())
        again = execute(create())
        assert again == {**first, "created": False}
        assert tenable.calls("scan_update") == 0
        changed = execute(create(targets=["192.0.2.99"]))
        assert changed["id"] == first["id"]
        assert tenable.calls("scan_update") == 1
        [config] = tenable.tenable.scans.scans.values()
        assert config.settings["text_targets"] == "192.0.2.99"
        execute(create(targets=["192.0.2.99"], description="Every night."))
        assert tenable.calls("scan_update") == 2
        assert config.settings["description"].startswith("Every night.\n")

    def test_a_task_that_dies_after_the_creation_creates_no_second_scan(self, tenable, kill_at):  # noqa: F811
        kill_at(ScanCrashPoint.SCAN_CREATED)
        with pytest.raises(Killed):
            execute(create())
        kill_at(None)
        assert execute(create())["created"] is False
        assert len(tenable.tenable.scans.scans) == 1

    def test_a_lost_answer_creates_no_second_scan(self, tenable):
        tenable.order("scan_create", "late_status", status=504)
        with pytest.raises(TemporaryError):
            execute(create())
        assert execute(create())["created"] is False
        assert len(tenable.tenable.scans.scans) == 1

    def test_a_scan_that_a_person_has_made_is_not_changed(self, tenable):
        tenable.add_scan("Nightly", description="by hand")
        with pytest.raises(AirflowFailException, match=r"was not created by this task, so it is not changed\."):
            execute(create())
        assert execute(create(if_exists="keep"))["created"] is False
        assert tenable.calls("scan_update") == 0
        execute(create(adopt=True))
        assert tenable.calls("scan_update") == 1
        with pytest.raises(AirflowFailException, match="There is a scan named 'Nightly' already"):
            execute(create(if_exists="fail"))

    def test_scans_of_others_are_left_alone(self, tenable):
        tenable.add_scan("Nightly").owner = "somebody@example.com"
        assert execute(create())["created"] is True

    def test_two_scans_of_the_name_are_an_error(self, tenable):
        tenable.add_scan("Nightly")
        tenable.add_scan("Nightly")
        with pytest.raises(AirflowFailException, match=r"owns 2 scans named 'Nightly' \(ids 36, 37\)"):
            execute(create())

    def test_a_dry_run_changes_nothing(self, tenable):
        assert execute(create(dry_run=True))["id"] is None
        execute(create())
        execute(create(dry_run=True, targets=["192.0.2.7"]))
        assert (tenable.calls("scan_create"), tenable.calls("scan_update")) == (1, 0)

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"template": "x"}, r"There is no scan template 'x'\. Tenable has: advanced, basic"),
            ({"folder": "x"}, r"has no folder 'x'\. There are: My Scans, Nightly"),
            ({"credentials": ["x"]}, r"sees no managed credential 'x'\. It sees: none"),
            ({"targets": ["192.0.2.1,192.0.2.2"]}, "is not a target"),
            ({"targets": [""]}, "is not a target"),
            ({"settings": {"name": "y"}}, r"contain name\. Use the arguments"),
            ({"name": " "}, "A scan needs a name"),
            ({"if_exists": "maybe"}, "if_exists is 'maybe'; it must be update, keep or fail"),
            ({"targets": None}, "Invalid 'targets' field"),
        ],
    )
    def test_wrong_arguments_fail_without_a_retry(self, tenable, arguments, text):
        with pytest.raises(AirflowFailException, match=text):
            execute(create(**arguments))
        assert tenable.tenable.scans.scans == {}


class TestRun:
    @BOTH
    def test_a_scan_runs_to_its_end(self, tenable, deferrable):
        config = tenable.add_scan()
        task = run(deferrable=deferrable, targets=["192.0.2.5"])
        context = context_of(task)
        result, triggers = run_deferred(task, tenable, context)
        assert (
            context["ti"].pushed["tenable_scan_url"].endswith(f"/scan-details/{config.id}/{result['run_uuid']}/history")
        )
        assert (result["run_uuid"], result["status"], result["hosts"]) == (config.runs[0].uuid, "completed", 1)
        assert config.runs[0].targets == ["192.0.2.5"]
        assert bool(triggers) is deferrable
        for path, kwargs in triggers:
            assert path == "airflow_provider_tenable.triggers.tenable_scans.TenableScanTrigger"
            assert (kwargs["run_uuid"], kwargs["stops"], kwargs["poll_interval"]) == (result["run_uuid"], True, 60)
        assert execute(task) == result

    def test_the_xcom_of_a_created_scan_is_a_scan(self, tenable):
        scan = execute(create())
        assert execute(run(scan, deferrable=False))["scan"] == scan["id"]

    def test_mapped_tasks_have_runs_of_their_own(self, tenable):
        config = tenable.add_scan()
        for index in (0, 1):
            execute(run(deferrable=False), map_index=index)
        assert len(config.runs) == 2

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_without_waiting_the_run_is_for_a_sensor(self, tenable, deferrable):
        config = tenable.add_scan()
        result = execute(run(wait_for_completion=False, deferrable=deferrable))
        assert result == {
            "scan": config.id,
            "schedule_uuid": config.uuid,
            "name": "Weekly",
            "run_uuid": config.runs[0].uuid,
        }
        assert execute(run(wait_for_completion=False, deferrable=deferrable)) == result
        sensor = TenableScanSensor(
            task_id="wait", scan=result, run_uuid=result["run_uuid"], deferrable=False, poke_interval=1
        )
        assert sensor.poke(context_of(sensor)).is_done is False
        tenable.advance(10)
        context = context_of(sensor)
        assert sensor.poke(context).xcom_value["status"] == "completed"
        assert result["run_uuid"] in context["ti"].pushed["tenable_scan_url"]

    def test_a_failed_run_keeps_the_retries_and_wrong_arguments_do_not(self, tenable):
        tenable.add_scan()
        tenable.order("scan_run", "end", how="aborted")
        with pytest.raises(ScanFailedError, match="was aborted by Tenable"):
            execute(run(deferrable=False))
        with pytest.raises(AirflowFailException, match="There is no scan named 'x'"):
            execute(run("name:x"))
        with pytest.raises(AirflowFailException, match="if_running is 'x'; it must be one of fail, wait, adopt"):
            execute(run(if_running="x"))

    def test_a_deferred_task_waits_for_capacity_with_airflows_own_trigger(self, tenable):
        tenable.add_scan()
        tenable.switch(active_elsewhere=25)
        task = run(deferrable=True, capacity_timeout=0)
        with pytest.raises(Exception, match="Tenable runs 25 scans already"):
            run_deferred(task, tenable)

    @pytest.mark.parametrize(("state", "stopped"), [("failed", True), ("running", False)])
    def test_a_run_is_stopped_only_if_somebody_has_ended_the_task(self, tenable, monkeypatch, state, stopped):
        config = tenable.add_scan()
        tenable.order("scan_run", "stay", how="running")
        task = run(deferrable=True)
        with pytest.raises(BaseException, match=r".*"):
            task.execute(context_of(task))
        monkeypatch.setattr("airflow_provider_tenable.operators.scan_waiting.is_ended", lambda _: state == "failed")
        task.on_kill()
        assert (config.runs[0].stopped_at is not None) is stopped

    def test_a_task_whose_time_is_over_stops_its_run(self, tenable, monkeypatch):
        config = tenable.add_scan()
        tenable.order("scan_run", "stay", how="running")
        task = run(deferrable=False, poll_interval=5)

        def timeout(_seconds):
            raise AirflowTaskTimeout

        monkeypatch.setattr("airflow_provider_tenable.operators.scan_waiting.time.sleep", timeout)
        with pytest.raises(AirflowTaskTimeout):
            execute(task)
        monkeypatch.setattr("airflow_provider_tenable.operators.scan_waiting.is_ended", lambda _: False)
        task.on_kill()
        assert config.runs[0].stopped_at

    def test_stopping_can_be_switched_off(self, tenable, monkeypatch):
        config = tenable.add_scan()
        task = run(wait_for_completion=False, stop_on_kill=False)
        execute(task)
        monkeypatch.setattr("airflow_provider_tenable.operators.scan_waiting.is_ended", lambda _: True)
        task.on_kill()
        assert config.runs[0].stopped_at is None


class TestSensor:
    def sensor(self, **arguments):
        return TenableScanSensor(
            task_id="wait",
            **{"scan": "name:Weekly", "poke_interval": 20, "timeout": 3600, "deferrable": False, **arguments},
        )

    @BOTH
    def test_it_waits_for_a_run_that_began_after_the_given_time(self, tenable, deferrable):
        config = tenable.add_scan()
        ended(tenable, config)
        since = tenable.now()
        task = self.sensor(since=since, deferrable=deferrable)
        assert task.poke(context_of(task)).is_done is False
        theirs = tenable.launch(config)
        result, _ = run_deferred(task, tenable)
        assert (result["run_uuid"], result["history_id"]) == (theirs.uuid, theirs.number)

    def test_the_trigger_has_the_time_and_the_deadline(self, tenable):
        config = tenable.add_scan()
        task = self.sensor(since="2020-01-01T00:00:00+00:00", deferrable=True)
        context = context_of(task)
        from airflow_provider_tenable._compat import TaskDeferred

        with pytest.raises(TaskDeferred) as deferred:
            task.execute(context)
        kwargs = deferred.value.trigger.serialize()[1]
        assert kwargs["since"] == datetime(2020, 1, 1, tzinfo=UTC).timestamp()
        assert kwargs["scan"] == {"id": config.id, "schedule_uuid": config.uuid, "name": "Weekly"}
        assert kwargs["deadline"] == deferred.value.kwargs["deadline"]
        assert kwargs["stops"] is False

    def test_the_data_interval_is_the_default(self, tenable):
        tenable.add_scan()
        task = self.sensor()
        at = datetime(2026, 1, 1, tzinfo=UTC)
        assert task._since({"data_interval_end": at}) == at.timestamp()
        assert task._since({"data_interval_end": None, "dag_run": SimpleNamespace(start_date=at)}) == at.timestamp()

    @pytest.mark.parametrize("since", ["yesterday", "nan", "inf", "2026-11-27T00:00:00"])
    def test_a_time_that_cannot_be_read_is_an_error(self, tenable, since):
        tenable.add_scan()
        task = self.sensor(since=since)
        with pytest.raises(AirflowFailException, match=f"since is '{since}'; it must be unix seconds"):
            task.poke(context_of(task))

    @pytest.mark.parametrize(("soft", "error"), [(True, AirflowSkipException), (False, AirflowSensorTimeout)])
    def test_its_timeout_holds_while_it_is_deferred(self, tenable, soft, error):
        tenable.add_scan()
        task = self.sensor(since=0, deferrable=True, soft_fail=soft)
        with pytest.raises(error, match=r"No run of 'name:Weekly' ended within 3600 s"):
            task.execute_complete(context_of(task), event={"message": "the deadline has passed"}, deadline=1.0)

    def test_a_run_that_ended_badly_fails_without_a_retry(self, tenable):
        config = tenable.add_scan()
        ended(tenable, config, do="end", how="aborted")
        task = self.sensor(since=0)
        with pytest.raises(AirflowFailException, match=r"ended aborted\."):
            task.poke(context_of(task))
        task = self.sensor(since=0, accept=("aborted",))
        assert task.poke(context_of(task)).xcom_value["status"] == "aborted"


class TestDelete:
    def test_deleting_twice_is_a_success(self, tenable):
        scan = execute(create())
        task = TenableDeleteScanOperator(task_id="delete", scan=scan)
        assert execute(task) == {"deleted": True}
        assert execute(task) == {"deleted": False}

    def test_a_scan_that_runs_is_deleted_only_with_stop(self, tenable):
        config = tenable.add_scan()
        tenable.launch(config, seconds=1000)
        tenable.advance(300)
        with pytest.raises(ConflictError, match="409"):
            execute(TenableDeleteScanOperator(task_id="delete", scan=config.id))
        assert execute(TenableDeleteScanOperator(task_id="delete", scan=config.id, stop=True)) == {"deleted": True}

    def test_a_scan_that_does_not_stop_is_not_waited_for_for_ever(self, tenable):
        config = tenable.add_scan()
        tenable.order("scan_run", "stay", how="publishing")
        tenable.launch(config)
        with pytest.raises(ConflictError, match="has not stopped within 0 s"):
            execute(TenableDeleteScanOperator(task_id="delete", scan=config.id, stop=True, stop_timeout=0))


class TestExport:
    @pytest.fixture(autouse=True)
    def connection(self, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_DB_PASSWORD", json.dumps({"conn_type": "generic", "password": PASSWORD}))

    @BOTH
    def test_every_format_is_exported_with_size_and_digest(self, tenable, deferrable, tmp_path):
        import hashlib

        config = tenable.add_scan("Weekly / <all>")
        made = ended(tenable, config)
        tenable.switch(scan_export_seconds=30)
        formats = ["nessus", "csv", "html", "pdf", "db"]
        task = export(
            scan=config.id, formats=formats, password_conn_id="db_password", deferrable=deferrable, path=str(tmp_path)
        )
        result, triggers = run_deferred(task, tenable)
        assert result["run_uuid"] == made.uuid
        assert [file["format"] for file in result["files"]] == formats
        for file in result["files"]:
            content = Path(file["path"].removeprefix("file://")).read_bytes()
            assert Path(file["path"]).name == f"Weekly_all_{made.uuid[:8]}.{file['format']}"
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
            assert content
        assert bool(triggers) is deferrable
        before = tenable.calls("scan_export_download")
        assert execute(task) == result
        assert tenable.calls("scan_export_download") == before

    def test_the_default_is_the_newest_completed_run_and_the_runs_own_folder(self, tenable, staging):  # noqa: F811
        config = tenable.add_scan()
        ended(tenable, config)
        newest = ended(tenable, config)
        ended(tenable, config, do="end", how="canceled")
        [file] = execute(export())["files"]
        assert file["path"].endswith(f"/dag/run/exports/export_scan/Weekly_{newest.uuid[:8]}.nessus")
        path = staging / "dag/run/exports/export_scan" / Path(file["path"]).name
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700

    def test_the_result_of_a_run_names_the_run(self, tenable):
        config = tenable.add_scan()
        result = execute(run(deferrable=False))
        ended(tenable, config)
        assert execute(export(run=result))["run_uuid"] == result["run_uuid"]
        assert execute(export(run=result["run_uuid"]))["run_uuid"] == result["run_uuid"]

    @pytest.mark.parametrize(
        "point", [ScanCrashPoint.FILE_DOWNLOADED, ScanCrashPoint.FILE_WRITTEN, ScanCrashPoint.FILE_RECORDED]
    )
    def test_a_task_that_dies_between_its_writes_ends_with_the_same_files(self, tenable, kill_at, point, staging):  # noqa: F811
        ended(tenable, tenable.add_scan())
        kill_at(point)
        with pytest.raises(Killed):
            execute(export(formats=["nessus", "csv"]))
        kill_at(None)
        gc.collect()
        files = execute(export(formats=["nessus", "csv"]))["files"]
        names = sorted(Path(file["path"]).name for file in files)
        assert sorted(path.name for path in (staging / "dag/run/exports/export_scan").iterdir()) == names

    def test_one_format_that_fails_does_not_cost_the_others(self, tenable):
        ended(tenable, tenable.add_scan())
        tenable.order("scan_file", "error", match={"format": "csv"})
        tenable.order("scan_file", "empty", match={"format": "html"})
        task = export(formats=["csv", "html", "nessus"])
        with pytest.raises(ExportFailedError) as failure:
            execute(task)
        text = str(failure.value)
        assert "2 of 3 formats of scan 'Weekly' were not exported." in text
        assert "could not prepare the file" in text
        assert "is empty" in text
        assert ".nessus" in text.partition("Exported:")[2]
        tenable.tenable.scans.files.clear()
        downloads = tenable.calls("scan_export_download")
        assert [file["format"] for file in execute(task)["files"]] == ["csv", "html", "nessus"]
        assert tenable.calls("scan_export_download") == downloads + 2

    @pytest.mark.parametrize("kind", ["pdf", "html", "db"])
    def test_what_is_too_old_is_refused_before_it_is_asked_for(self, tenable, kind):
        ended(tenable, tenable.add_scan(), do="old", seconds=61 * 86_400)
        text = r"ended 61 days ago: pdf, html and db exist for 60 days\. nessus and csv can still be exported\."
        with pytest.raises(ExportFailedError, match=text):
            execute(export(formats=[kind], password_conn_id="db_password"))
        assert tenable.calls("scan_export") == 0
        assert execute(export(formats=["nessus", "csv"]))["files"]

    def test_a_file_that_tenable_never_prepares_ends_the_wait(self, tenable):
        ended(tenable, tenable.add_scan())
        tenable.order("scan_file", "late", seconds=1e9)
        with pytest.raises(ExportFailedError, match=r"has not prepared the file .* within .*; it is loading"):
            execute(export(export_timeout=0))

    def test_a_full_disk_is_not_blamed_on_the_connection(self, tenable, staging, monkeypatch):  # noqa: F811
        class Full(io.BytesIO):
            def write(self, _data):
                raise OSError(errno.ENOSPC, "No space left on device")

        ended(tenable, tenable.add_scan())
        monkeypatch.setattr(downloads, "_growing", lambda _path: nullcontext(Full()))
        with pytest.raises(StagingError, match=r"Cannot write .*\.nessus: No space left on device"):
            execute(export())

    def test_a_size_that_differs_from_the_list_is_not_accepted(self, tenable, staging):  # noqa: F811
        ended(tenable, tenable.add_scan())
        tenable.order("scan_export_download", "truncate", keep_bytes=20, times=1)
        with pytest.raises(ExportFailedError, match=r"has 20 bytes, but its list of exports says \d+"):
            execute(export())
        assert not list((staging / "dag/run/exports").rglob("*.nessus*"))

    def test_a_file_of_other_content_is_replaced_only_if_asked_for(self, tenable, tmp_path):
        made = ended(tenable, tenable.add_scan())
        there = tmp_path / f"Weekly_{made.uuid[:8]}.nessus"
        there.write_text("other")
        with pytest.raises(ExportFailedError, match=r"exists with other content\. Remove it"):
            execute(export(path=str(tmp_path)))
        assert there.read_text() == "other"
        execute(export(path=str(tmp_path), overwrite=True))
        assert there.read_text().startswith("<?xml")

    def test_a_db_takes_the_host_that_is_meant(self, tenable):
        config = tenable.add_scan(targets="192.0.2.1,192.0.2.2")
        ended(tenable, config)
        text = r"A db export contains one host\. This run has 2: 192\.0\.2\.1, 192\.0\.2\.2\. Give the one"
        with pytest.raises(ExportFailedError, match=text):
            execute(export(formats=["db"], password_conn_id="db_password"))
        assert execute(export(formats=["db"], password_conn_id="db_password", asset="192.0.2.2"))["files"]

    def test_a_db_names_its_host_by_number_if_the_uuid_is_refused(self, tenable):
        ended(tenable, tenable.add_scan(targets="127.0.0.1"))
        tenable.switch(db_asset_by_number=True)
        assert execute(export(formats=["db"], password_conn_id="db_password"))["files"]
        assert tenable.calls("scan_export") == 2

    def test_a_db_needs_a_password(self, tenable):
        ended(tenable, tenable.add_scan())
        with pytest.raises(ExportFailedError, match="A db export is encrypted: give the password"):
            execute(export(formats=["db"]))
        with pytest.raises(AirflowFailException, match=r"There is no connection with the id 'nope'\. Create it"):
            execute(export(formats=["db"], password_conn_id="nope"))

    def test_without_a_format_the_task_is_skipped(self, tenable):
        with pytest.raises(AirflowSkipException, match="formats is empty"):
            execute(export(formats=[]))
        assert tenable.calls("scan_export") == 0

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"formats": ["doc"]}, r"\['doc'\] cannot be exported\. The formats are nessus, csv"),
            ({"filters": [{"filter": "x"}]}, "is not a filter"),
            ({"filter_type": "xor"}, "filter_type is 'xor'"),
            ({"run": {"x": 1}}, "names no run"),
            ({"run": "44346bcb-4afc-4db0-b283-2dd823fa8579"}, "Tenable lists no run"),
        ],
    )
    def test_wrong_arguments_fail_without_a_retry(self, tenable, arguments, text):
        ended(tenable, tenable.add_scan())
        with pytest.raises(AirflowFailException, match=text):
            execute(export(**arguments))

    def test_a_scan_without_a_completed_run_has_nothing_to_export(self, tenable):
        tenable.add_scan()
        with pytest.raises(AirflowFailException, match=r"Scan 'Weekly' has no completed run\. Run it first\."):
            execute(export())

    def test_filters_are_numbered_as_tenable_wants_them(self, tenable):
        ended(tenable, tenable.add_scan())
        given = [{"filter": "severity", "quality": "eq", "value": "Critical"}]
        execute(export(formats=["csv"], filters=given, filter_type="or"))
        [file] = tenable.tenable.scans.files.values()
        assert file.body == {
            "format": "csv",
            "filter.0.filter": "severity",
            "filter.0.quality": "eq",
            "filter.0.value": "Critical",
            "filter.search_type": "or",
        }


class TestRemediation:
    @BOTH
    def test_a_fix_is_proved(self, tenable, deferrable):
        result, _ = run_deferred(remediate(deferrable=deferrable), tenable)
        assert (result["fixed"], result["plugin_id"], result["target"]) == (True, 51192, "192.0.2.1")
        assert tenable.calls("remediation_create") == 1
        assert tenable.tenable.scans.scans == {}

    def test_the_scan_enables_the_one_plugin_on_the_one_host(self, tenable):
        execute(remediate(delete_after=False))
        [config] = tenable.tenable.scans.scans.values()
        assert config.remediation
        assert config.body["enabled_plugins"] == [51192]
        assert config.settings["text_targets"] == "192.0.2.1"
        assert config.body["uuid"] == TEMPLATES["advanced"][1]

    @pytest.mark.parametrize("fails", [False, True])
    def test_a_vulnerability_that_is_still_there(self, tenable, fails):
        tenable.order("scan_run", "find", plugins=[51192])
        if not fails:
            assert execute(remediate())["fixed"] is False
            return
        with pytest.raises(AirflowFailException, match=r"Plugin 51192 still reports the vulnerability on '192"):
            execute(remediate(fail_if_not_fixed=True))

    def test_a_host_that_does_not_answer_proves_nothing(self, tenable):
        tenable.order("scan_run", "no_hosts")
        with pytest.raises(ScanFailedError, match=r"'192\.0\.2\.1' did not answer the scan, which proves nothing"):
            execute(remediate())
        # The retry scans again, with the same configuration.
        assert execute(remediate())["fixed"] is True
        assert (tenable.calls("remediation_create"), tenable.calls("scan_launch")) == (1, 2)

    # A launch that was noted and not sent: see the tests of the machine, whose clock can be moved.
    @pytest.mark.parametrize(
        "point",
        [
            ScanCrashPoint.SCAN_CREATED,
            ScanCrashPoint.LAUNCHED,
            ScanCrashPoint.RUN_RECORDED,
            ScanCrashPoint.RESULT_RECORDED,
        ],
    )
    def test_a_task_that_dies_anywhere_scans_once(self, tenable, kill_at, point):  # noqa: F811
        kill_at(point)
        with pytest.raises(Killed):
            execute(remediate())
        kill_at(None)
        assert execute(remediate())["fixed"] is True
        assert (tenable.calls("remediation_create"), tenable.calls("scan_launch")) == (1, 1)

    def test_hosts_whose_names_begin_alike_have_scans_of_their_own(self, tenable):
        domain = ".".join(["a" * 60] * 4)
        for index, host in enumerate((f"{domain}.com", f"{domain}.org")):
            execute(remediate(target=host, delete_after=False), map_index=index)
        assert sorted(config.settings["text_targets"][-3:] for config in tenable.tenable.scans.scans.values()) == [
            "com",
            "org",
        ]

    def test_a_task_that_is_cleared_scans_again(self, tenable):
        execute(remediate(), max_tries=2)
        execute(remediate(), max_tries=3)
        assert tenable.calls("scan_launch") == 2

    def test_the_plugin_is_a_number(self, tenable):
        with pytest.raises(AirflowFailException, match=r"plugin_id is '1; x', which is not the number of a plugin"):
            execute(remediate(plugin_id="1; x"))


PASSWORD = "canary-password-of-a-db-7193"
SECRETS = [PASSWORD, "sandbox-secret-key-000000000001"]


def test_no_secret_is_in_results_fields_logs_or_files(tenable, staging, monkeypatch, caplog):  # noqa: F811
    """A marker secret through every operator: nothing that Airflow keeps or shows contains it, not even if Tenable's
    answers repeat it.
    """
    monkeypatch.setenv("AIRFLOW_CONN_DB_PASSWORD", json.dumps({"conn_type": "generic", "password": PASSWORD}))
    caplog.set_level(logging.DEBUG)
    tasks = [
        create(name="Weekly", targets=["192.0.2.1"]),
        run(deferrable=True),
        export(formats=["nessus", "db"], password_conn_id="db_password"),
    ]
    tasks += [remediate(deferrable=True), TenableDeleteScanOperator(task_id="delete", scan="name:Weekly")]
    shown = []
    for task in tasks:
        tenable.tenable.faults.clear()
        tenable.order("session", "repeat_secrets", status=500, times=1)
        tenable.order("scan_export", "status", status=500, body=f'{{"error": "{PASSWORD}"}}', times=1)
        for _ in range(3):
            try:
                shown.append(repr(run_deferred(task, tenable)))
                break
            except Exception as error:
                shown.append(repr(error))
        shown += [repr(vars(task)), *(repr(getattr(task, name)) for name in task.template_fields)]
    shown += [record.getMessage() for record in caplog.records]
    shown += [path.read_text(errors="replace") for path in staging.rglob("*.json")]
    assert len(list(staging.rglob("*.json"))) >= 3
    assert any(".db" in text for text in shown)
    assert [text for text in shown if any(secret in text for secret in SECRETS)] == []
