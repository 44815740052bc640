"""AWS audits from their scan to their assets, and plugin debugging: against the sandbox's Tenable over sockets."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable._compat import AirflowFailException
from airflow_provider_tenable.exceptions import ScanFailedError, TemporaryError
from airflow_provider_tenable.operators import aws_audit_scan
from airflow_provider_tenable.operators.aws_audit_scan import TenableAwsAuditScanOperator
from airflow_provider_tenable.operators.scan_debugging import TenableSetPluginDebuggingOperator
from airflow_provider_tenable.operators.scan_runs import TenableRunScanOperator
from airflow_provider_tenable.scan.audited_accounts import read_all
from airflow_provider_tenable.scan.crash_points import ScanCrashPoint
from tests.scan_tasks import Killed, context_of
from tests.tenable_thread import TenableThread

pytestmark = pytest.mark.usefixtures("staging", "quick")

ACCOUNT, OTHER = "111122223333", "444455556666"
L1 = "72426_CIS_Amazon_Web_Services_Foundations_v10.0.0_L1.audit"


def credential(tenable: TenableThread, account: str = ACCOUNT, **fields: Any) -> dict[str, Any]:
    """A managed credential, and what the rotation says of it."""
    name = f"AWS {account} audit"
    made = {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        "name": name,
        "type": "Amazon AWS",
        "settings": {"access_key_id": "AKIA", "secret_key": "canary"},
        "description": f"AWS account {account}, user TenableAuditor, key ...ABCD, since 2026-11-26T10:00:00Z. "
        "Managed by Airflow [0123456789ab]",
        **fields,
    }
    tenable.tenable.credentials[made["uuid"]] = made
    return {"account": account, "partition": "aws", "credential_uuid": made["uuid"], "key_suffix": "ABCD"}


def audit(given: Any, **arguments: Any) -> TenableAwsAuditScanOperator:
    usual = {"name": "AWS audit", "regions": ["eu-west-1"], "audits": ["CIS_Amazon_Web_Services_Foundations_*_L1"]}
    return TenableAwsAuditScanOperator(task_id="audit_scan", credential=given, **{**usual, **arguments})


def run(scan: Any, **arguments: Any) -> TenableRunScanOperator:
    return TenableRunScanOperator(task_id="run_scan", scan=scan, deferrable=False, **arguments)


def execute(task: Any, **options: Any) -> Any:
    return task.execute(context_of(task, **options))


def only_scan(tenable: TenableThread) -> Any:
    [config] = tenable.tenable.scans.scans.values()
    return config


class TestAuditScan:
    def test_a_scan_is_made_of_template_regions_and_audits(self, tenable: TenableThread, staging: Path) -> None:
        given = credential(tenable)
        made = execute(audit(given, scanner="AUTO-ROUTED"))
        config = only_scan(tenable)
        assert made == {
            "id": config.id,
            "schedule_uuid": config.uuid,
            "name": "AWS audit",
            "template": "cloud_audit",
            "created": True,
            "account": ACCOUNT,
            "partition": "aws",
            "regions": ["eu-west-1"],
            "audits": [L1],
        }
        assert config.body["credentials"] == {
            "add": {"Cloud Services": {"Amazon AWS": [{"id": given["credential_uuid"]}]}}
        }
        assert config.body["audits"] == {"feed": {"add": [{"id": L1, "variables": {"INACTIVE_ACCOUNT_DAYS": "45"}}]}}
        assert config.settings["enable_plugin_debugging"] == "no"
        assert (config.settings["aws_eu_west_1"], config.settings["aws_us_east_1"]) == ("yes", "no")
        assert config.settings["scanner_id"] == "AUTO-ROUTED"
        assert "text_targets" not in config.settings
        recorded = json.loads((staging / "audits" / f"{config.uuid}.json").read_text())
        assert (recorded["account"], recorded["audits"], recorded["assets"]) == (ACCOUNT, [L1], [])
        # Again: nothing to do. Another Region: updated, in the same scan.
        assert execute(audit(given, scanner="AUTO-ROUTED"))["created"] is False
        assert tenable.calls("scan_update") == 0
        assert execute(audit(given, regions="all"))["id"] == config.id
        assert tenable.calls("scan_update") == 1

    def test_scanner_and_variables_are_those_that_are_given(self, tenable: TenableThread) -> None:
        entry = tenable.tenable.scanners.listed()[1]
        execute(audit(credential(tenable), scanner=entry["name"], variables={"*_L1": {"INACTIVE_ACCOUNT_DAYS": 30}}))
        config = only_scan(tenable)
        assert config.settings["scanner_id"] == entry["uuid"]
        assert config.body["audits"]["feed"]["add"][0]["variables"] == {"INACTIVE_ACCOUNT_DAYS": "30"}

    def test_a_run_adds_the_asset_and_a_collision_is_warned_about(
        self, tenable: TenableThread, staging: Path, caplog: Any, capsys: Any
    ) -> None:
        tenable.switch(shares_audit_asset=True)
        first, second = (
            execute(audit(credential(tenable, account), name=f"AWS audit {account}")) for account in (ACCOUNT, OTHER)
        )
        result = execute(run(first))
        assert result["compliance"] == {"failed": 5, "warning": 2, "passed": 40}
        [(asset, audited)] = read_all(f"file://{staging}").by_asset.items()
        assert (audited.account, audited.assets) == (ACCOUNT, (asset,))
        capsys.readouterr()
        execute(run(second), map_index=1)
        output = capsys.readouterr()
        assert f"Audits of 2 accounts share asset {asset}" in caplog.text + output.out + output.err
        assert read_all(f"file://{staging}").by_asset == {}
        # Each on an asset of its own.
        tenable.switch(shares_audit_asset=False)
        third = execute(audit(credential(tenable, "777788889999"), name="third"))
        execute(run(third), map_index=2)
        [found] = read_all(f"file://{staging}").by_asset.values()
        assert found.account == "777788889999"

    def test_another_scan_leaves_no_file(self, tenable: TenableThread, staging: Path) -> None:
        tenable.add_scan()
        execute(run("name:Weekly"))
        assert not (staging / "audits").exists()

    def test_killed_between_the_scan_and_its_record(self, tenable: TenableThread, staging: Path, kill_at: Any) -> None:
        kill_at(ScanCrashPoint.SCAN_CREATED)
        given = credential(tenable)
        with pytest.raises(Killed):
            execute(audit(given))
        assert not (staging / "audits").exists()
        kill_at(None)
        made = execute(audit(given))
        assert made["created"] is False
        assert (staging / "audits" / f"{only_scan(tenable).uuid}.json").exists()

    def test_killed_between_the_run_and_its_result_records_the_asset_once(
        self, tenable: TenableThread, staging: Path, kill_at: Any
    ) -> None:
        made = execute(audit(credential(tenable)))
        kill_at(ScanCrashPoint.RESULT_RECORDED)
        with pytest.raises(Killed):
            execute(run(made))
        kill_at(None)
        execute(run(made))
        assert tenable.calls("scan_launch") == 1
        assert len(read_all(f"file://{staging}").by_asset) == 1

    def test_a_scan_of_another_account_is_not_changed(self, tenable: TenableThread) -> None:
        execute(audit(credential(tenable)))
        before = dict(only_scan(tenable).body)
        with pytest.raises(AirflowFailException, match=f"audits account {ACCOUNT} .* not {OTHER}"):
            execute(audit(credential(tenable, OTHER)))
        assert only_scan(tenable).body == before

    def test_a_target_only_where_tenable_asks_for_one(self, tenable: TenableThread) -> None:
        tenable.switch(audits_need_targets=True)
        execute(audit(credential(tenable)))
        assert only_scan(tenable).settings["text_targets"] == "127.0.0.1"
        assert tenable.calls("scan_create") == 2

    def test_custom_audit_files_are_uploaded(self, tenable: TenableThread, tmp_path: Path) -> None:
        path = tmp_path / "own-rules.audit"
        path.write_text("<check_type:Amazon_AWS>")
        made = execute(audit(credential(tenable), audits=[], custom_audits=[f"file://{path}"]))
        assert made["audits"] == ["own-rules.audit"]
        assert only_scan(tenable).body["audits"]["custom"]["add"][0]["file"] == "own-rules.audit"
        assert b"<check_type:Amazon_AWS>" in tenable.tenable.scans.uploads["own-rules.audit"]
        path.write_text("")
        with pytest.raises(AirflowFailException, match="has 0 bytes"):
            execute(audit(credential(tenable), custom_audits=[f"file://{path}"]))
        for bad in (f"file://{tmp_path}/none.audit", f"file://{tmp_path}/x.txt", "file:///{{x}}.audit"):
            with pytest.raises(AirflowFailException, match=r"Cannot read|cannot be the path of an audit file"):
                execute(audit(credential(tenable), custom_audits=[bad]))

    def test_a_credential_by_name_says_its_account_or_the_task_does(self, tenable: TenableThread) -> None:
        credential(tenable)
        assert execute(audit(f"AWS {ACCOUNT} audit", regions=["us-gov-east-1"]))["partition"] == "aws-us-gov"
        credential(tenable, OTHER, description="by hand")
        with pytest.raises(AirflowFailException, match=r"not known whose key .* Give account"):
            execute(audit(f"AWS {OTHER} audit", name="other"))
        assert execute(audit(f"AWS {OTHER} audit", name="other", account=OTHER))["account"] == OTHER

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ({"account": OTHER}, f"has a key of account {ACCOUNT}, and account is {OTHER}"),
            ({"regions": ["eu-west-1", "cn-north-1"]}, "in partition aws-cn, and the keys are of aws"),
            ({"audits": ["CIS_*_L9"]}, "matches none of the template's"),
            ({"audits": None}, "No audit file is given"),
            ({"credentials": ["x"]}, "credentials has no meaning"),
            ({"template": "advanced"}, "an AWS audit has 'cloud_audit'"),
            ({"given": {}}, "names no managed credential"),
            ({"given": "ssh"}, "is of type 'SSH', not 'Amazon AWS'"),
            ({"given": "nobody"}, "sees no managed credential 'nobody'"),
        ],
    )
    def test_wrong_arguments_change_nothing(
        self, tenable: TenableThread, arguments: dict[str, Any], problem: str
    ) -> None:
        given: Any = credential(tenable)
        tenable.tenable.credentials["s"] = {
            "uuid": "a3820211-a59c-4fdd-b6f9-65583f61bf61",
            "name": "ssh",
            "type": "SSH",
            "settings": {},
        }
        with pytest.raises(AirflowFailException, match=problem):
            execute(audit(arguments.pop("given", given), **arguments))
        assert tenable.tenable.scans.scans == {}

    def test_a_dry_run_makes_nothing(self, tenable: TenableThread, staging: Path, tmp_path: Path) -> None:
        path = tmp_path / "own.audit"
        path.write_text("x")
        made = execute(audit(credential(tenable), dry_run=True, custom_audits=[str(path)]))
        assert (made["schedule_uuid"], made["account"]) == (None, ACCOUNT)
        assert (tenable.tenable.scans.scans, tenable.tenable.scans.uploads) == ({}, {})
        assert not (staging / "audits").exists()

    def test_wrong_keys_and_a_missing_route(self, tenable: TenableThread, staging: Path) -> None:
        made = execute(audit(credential(tenable)))
        tenable.order("scan_run", "wrong_keys")
        result = execute(run(made))
        assert (result["hosts"], result["compliance"]) == (0, {"failed": 0, "warning": 0, "passed": 0})
        assert read_all(f"file://{staging}").by_asset == {}
        tenable.order("scan_run", "end", how="aborted", notes=["No matching scanner route"])
        with pytest.raises(ScanFailedError, match=r"No matching scanner route.* give the scan a dedicated scanner"):
            execute(run(made), max_tries=5)


def debug(scan: Any, **arguments: Any) -> TenableSetPluginDebuggingOperator:
    return TenableSetPluginDebuggingOperator(**{"task_id": "debug_on", "scan": scan, **arguments})


class TestDebugging:
    def test_it_is_switched_on_and_put_back_and_all_else_stays(self, tenable: TenableThread) -> None:
        made = execute(audit(credential(tenable)))
        before = json.loads(json.dumps(only_scan(tenable).body))
        on = execute(debug(made, level="3"))
        assert on == {"scan": made["id"], "before": {"enable_plugin_debugging": "no"}}
        settings = only_scan(tenable).settings
        assert (settings["enable_plugin_debugging"], settings["debug_level"]) == ("yes", "3")
        assert only_scan(tenable).body["credentials"] == before["credentials"]
        execute(debug(made, task_id="debug_off", restore=on))
        settings.pop("debug_level", None)
        after = only_scan(tenable).body
        assert after["settings"].pop("debug_level") == "3", "Tenable has no value that means none"
        assert after == before

    def test_the_level_that_was_set_is_put_back(self, tenable: TenableThread) -> None:
        tenable.add_scan(enable_plugin_debugging="no", debug_level="2")
        on = execute(debug("name:Weekly", level="4"))
        execute(debug("name:Weekly", restore=on))
        assert only_scan(tenable).settings["debug_level"] == "2"
        assert only_scan(tenable).settings["enable_plugin_debugging"] == "no"

    def test_a_retry_remembers_what_the_first_attempt_has_found(self, tenable: TenableThread) -> None:
        tenable.add_scan()
        first = execute(debug("name:Weekly"))
        assert execute(debug("name:Weekly")) == first
        # Cleared: what there is now counts.
        assert execute(debug("name:Weekly"), max_tries=5)["before"]["enable_plugin_debugging"] == "yes"

    def test_an_answer_that_is_lost_leaves_it_as_it_was(self, tenable: TenableThread) -> None:
        tenable.add_scan()
        tenable.tenable.faults.order({"on": "scan_update", "do": "late_status", "status": 500, "times": 1})
        with pytest.raises(TemporaryError):
            execute(debug("name:Weekly"))
        assert only_scan(tenable).settings["enable_plugin_debugging"] == "no"
        on = execute(debug("name:Weekly"))
        assert on["before"]["enable_plugin_debugging"] == "no"
        execute(debug("name:Weekly", restore=on))
        assert only_scan(tenable).settings["enable_plugin_debugging"] == "no"

    def test_it_is_optional(self, tenable: TenableThread) -> None:
        tenable.add_scan()
        off = execute(debug("name:Weekly", when=False))
        execute(debug("name:Weekly", restore=off))
        assert tenable.calls("scan_update") == 0
        assert "enable_plugin_debugging" not in only_scan(tenable).settings

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ({"level": "5"}, "level is '5'"),
            ({"when": "yes"}, "when is 'yes'"),
            ({"restore": {"before": {"name": "x"}}}, "not the result of such a task"),
            ({"restore": {}}, "not the result of such a task"),
            ({"scan": "name:Monthly"}, "no scan named 'Monthly'"),
        ],
    )
    def test_wrong_arguments_change_nothing(
        self, tenable: TenableThread, arguments: dict[str, Any], problem: str
    ) -> None:
        tenable.add_scan()
        with pytest.raises(AirflowFailException, match=problem):
            execute(debug(**{"scan": "name:Weekly", **arguments}))
        assert tenable.calls("scan_update") == 0


def test_audit_files_are_bounded(monkeypatch: pytest.MonkeyPatch, tenable: TenableThread, tmp_path: Path) -> None:
    monkeypatch.setattr(aws_audit_scan, "LONGEST_AUDIT_FILE", 3)
    path = tmp_path / "own.audit"
    path.write_text("xxxx")
    with pytest.raises(AirflowFailException, match="has 4 bytes; it must have 1 to 3"):
        execute(audit(credential(tenable), custom_audits=[str(path)]))
    assert tenable.tenable.scans.uploads == {}
