"""The operators and the trigger over real sockets: deferral, resumption, the published examples, the connection's test
button.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable._compat import AirflowTaskTimeout, TaskDeferred
from airflow_provider_tenable.exceptions import ExportFailedError
from airflow_provider_tenable.export.store import staged_parts
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.tenable_vm.client import TenableApi
from airflow_provider_tenable.triggers.tenable import TenableExportTrigger
from tests.integration.conftest import connect
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

DATA = Path(__file__).parent.parent / "data"
FILTERS = {"state": ["OPEN", "REOPENED", "FIXED"], "severity": ["high", "critical"], "indexed_at": 1}


def _operator(**arguments: Any) -> TenableExportOperator:
    return TenableExportOperator(**{"task_id": "export", "filters": FILTERS, "poll_interval": 0.1, **arguments})


def _names(result: dict[str, Any]) -> list[bytes]:
    return [part.read_bytes() for part in staged_parts(result["folder"], result["export"])]


def _deferred(sandbox: Sandbox, operator: TenableExportOperator, run: Run) -> TaskDeferred:
    """Begin an export that is deferred for certain: it takes far longer than a look at it, however busy the machine
    is.
    """
    sandbox.tenable("options", {"prepare_seconds": 300})
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(run.context)
    return deferred.value


class TestDeferral:
    def test_defers_with_its_job_and_ends_as_without_deferral(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited = _operator(deferrable=False).execute(Run(run_id="waited").context)

        run = Run(run_id="deferred")
        operator = _operator(deferrable=True)
        deferred = _deferred(sandbox, operator, run)
        assert deferred.method_name == "execute_complete"
        trigger = deferred.trigger
        sandbox.tenable("jobs", {"do": "finish"})
        assert isinstance(trigger, TenableExportTrigger)
        assert trigger.poll_interval >= 10
        event = self._fire(trigger, monkeypatch)
        assert event == {"job_uuid": trigger.job_uuid, "status": "FINISHED"}
        # A new process, a new operator: nothing of execute() is left but what was staged.
        result = _operator(deferrable=True).execute_complete(run.context, event)
        assert result["uuid"] == trigger.job_uuid
        assert {name: result[name] for name in ("records", "export")} == {
            name: waited[name] for name in ("records", "export")
        }
        assert _names(result) == _names(waited)

    def test_job_that_is_ready_at_the_first_look_is_not_deferred(self, sandbox: Sandbox) -> None:
        sandbox.tenable("options", {"prepare_seconds": 0})
        assert _operator(deferrable=True).execute(Run().context)["records"] > 0

    def test_waits_deferred_for_a_free_export_slot(self, sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
        """Tenable runs at most ten exports of a container. The task holds no worker slot meanwhile, and says why."""
        sandbox.tenable("options", {"max_running": 0, "retry_after": 0, "prepare_seconds": 0})
        run = Run()
        event: Any = None
        for _ in range(3):
            operator = _operator(deferrable=True, poll_interval=30)
            with pytest.raises(TaskDeferred) as deferred:
                operator.execute_complete(run.context, event) if event else operator.execute(run.context)
            assert deferred.value.method_name == "execute_complete"
            assert not isinstance(deferred.value.trigger, TenableExportTrigger)
            # What Airflow's own trigger says once its time has come.
            event = datetime.now(UTC)
        assert "Waiting for a free export slot to start the vulnerabilities export" in caplog.text
        sandbox.tenable("options", {"max_running": 10})
        assert _operator(deferrable=True, poll_interval=30).execute_complete(run.context, event)["records"] > 0
        assert sandbox.jobs() == {"created": 1, "running": 0, "cancelled": 0}

    def test_event_is_only_a_wake_up_call(self, sandbox: Sandbox) -> None:
        run = Run()
        _deferred(sandbox, _operator(deferrable=True), run)
        # Nothing is ready, whatever the event says: the task looks for itself and defers again.
        with pytest.raises(TaskDeferred):
            _operator(deferrable=True).execute_complete(run.context, {"status": "FINISHED"})
        with pytest.raises(TaskDeferred):
            _operator(deferrable=True).execute_complete(run.context, None)

    def test_trigger_tells_of_keys_that_stopped_working(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deferred = _deferred(sandbox, _operator(deferrable=True), Run())
        connect(
            monkeypatch,
            "tenable_default",
            {
                "conn_type": "tenable",
                "host": sandbox.process.tenable,
                "login": "revoked-key",
                "password": "revoked-secret",
            },
        )
        event = self._fire(deferred.trigger, monkeypatch)
        assert "401" in event["message"]
        assert "revoked" not in json.dumps(event)

    @staticmethod
    def _fire(trigger: TenableExportTrigger, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        # A trigger as the triggerer gets it: from its serialised form.
        path, arguments = trigger.serialize()
        assert path == "airflow_provider_tenable.triggers.tenable.TenableExportTrigger"
        copy = TenableExportTrigger(**json.loads(json.dumps(arguments)))
        real_sleep = asyncio.sleep
        monkeypatch.setattr("asyncio.sleep", lambda seconds: real_sleep(min(seconds, 0.2)))

        async def first_event() -> dict[str, Any]:
            events = copy.run()
            try:
                return dict((await anext(events)).payload)
            finally:
                await events.aclose()

        return asyncio.run(first_event())


class TestExport:
    def test_as_many_chunks_are_downloaded_at_the_same_time_as_the_option_says(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Both chunks are there when the export is polled first.
        sandbox.tenable("options", {"prepare_seconds": 0})
        together, chunk = threading.Barrier(2), TenableApi.chunk

        def waits_for_the_other(self: TenableApi, *arguments: Any) -> Any:
            together.wait(20)
            return chunk(self, *arguments)

        one_by_one = _operator(deferrable=False, chunk_size=50).execute(Run(run_id="one by one").context)
        monkeypatch.setenv("AIRFLOW__TENABLE__CHUNK_DOWNLOADS", "2")
        monkeypatch.setattr(TenableApi, "chunk", waits_for_the_other)
        both = _operator(deferrable=False, chunk_size=50).execute(Run(run_id="both").context)
        assert both["parts"] == one_by_one["parts"] == 2
        assert _names(both) == _names(one_by_one)

    def test_retry_goes_on_with_the_same_job(self, sandbox: Sandbox) -> None:
        run = Run()
        deferred = _deferred(sandbox, _operator(deferrable=True), run)
        sandbox.tenable("jobs", {"do": "finish"})
        result = _operator(deferrable=False).execute(run.context)
        assert result["uuid"] == deferred.trigger.job_uuid
        assert sandbox.tenable("stats")["calls"]["vulns_export"] == 1

    @pytest.mark.parametrize(
        ("state", "is_cancelled"),
        [
            # A person has marked or cleared it, or the run is out of time.
            ("failed", True),
            ("success", True),
            ("restarting", True),
            ("skipped", True),
            # The worker stops; or the scheduler has not heard of it, and has given it to another worker.
            ("running", False),
            ("up_for_retry", False),
            ("queued", False),
            # Nobody knows.
            (None, False),
        ],
    )
    def test_a_stopped_task_cancels_its_job_only_if_it_was_ended(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, state: str | None, is_cancelled: bool
    ) -> None:
        def state_of(task_instance: Any) -> str:
            if state is None:
                raise ConnectionError("no API server")
            return state

        monkeypatch.setattr("airflow_provider_tenable._compat._state_of", state_of)
        operator = _operator(deferrable=True)
        _deferred(sandbox, operator, Run())
        operator.on_kill()
        assert [job["status"] == "CANCELLED" for job in sandbox.tenable("stats")["exports"]] == [is_cancelled]

    def test_five_evictions_change_nothing(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow_provider_tenable._compat._state_of", lambda task_instance: "running")
        run = Run()
        for _ in range(5):
            operator = _operator(deferrable=True)
            _deferred(sandbox, operator, run)
            operator.on_kill()
        sandbox.tenable("jobs", {"do": "finish"})
        result = _operator(deferrable=False).execute(run.context)
        assert sandbox.tenable("stats")["calls"]["vulns_export"] == 1
        assert "cancel" not in sandbox.tenable("stats")["calls"]
        assert result["records"] == sum(
            1 for each in sandbox.tenable("truth")["vulnerabilities"] if each["severity_id"] >= 3
        )

    def test_time_limit_of_the_task_cancels_its_job_whatever_its_state(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As Airflow does it: the timeout is raised where the task is, then `on_kill` is called."""
        monkeypatch.setattr("airflow_provider_tenable._compat._state_of", lambda task_instance: "running")

        def timeout(seconds: float) -> None:
            raise AirflowTaskTimeout("Timeout")

        sandbox.tenable("options", {"prepare_seconds": 300})
        operator = _operator(deferrable=False)
        monkeypatch.setattr("airflow_provider_tenable.operators.tenable.time.sleep", timeout)
        with pytest.raises(AirflowTaskTimeout):
            operator.execute(Run().context)
        operator.on_kill()
        assert [job["status"] for job in sandbox.tenable("stats")["exports"]] == ["CANCELLED"]

    def test_a_task_that_was_ended_while_it_worked_asks_for_nothing_again(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On Airflow 3 the process lives on after `on_kill`, until it is killed for good 5 seconds later."""
        monkeypatch.setattr("airflow_provider_tenable._compat._state_of", lambda task_instance: "failed")
        sandbox.tenable("options", {"prepare_seconds": 300})
        operator = _operator(deferrable=False)
        monkeypatch.setattr("airflow_provider_tenable.operators.tenable.time.sleep", lambda _: operator.on_kill())
        with pytest.raises(ExportFailedError, match="was ended during its export"):
            operator.execute(Run().context)
        assert [job["status"] for job in sandbox.tenable("stats")["exports"]] == ["CANCELLED"]

    def test_a_question_that_is_not_answered_in_time_cancels_nothing(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The signal may have interrupted the very code that holds the lock of Airflow's connection."""
        lock = threading.Lock()

        def state_of(task_instance: Any) -> str:
            with lock:
                return "failed"

        monkeypatch.setattr("airflow_provider_tenable._compat._state_of", state_of)
        operator = _operator(deferrable=True)
        _deferred(sandbox, operator, Run())
        with lock:
            # A call that waited for the lock would never return.
            operator.on_kill()
        assert [job["status"] == "CANCELLED" for job in sandbox.tenable("stats")["exports"]] == [False]

    def test_finished_export_without_a_chunk_that_failed_is_started_again(self, sandbox: Sandbox) -> None:
        sandbox.tenable("faults", {"on": "job", "do": "fail_chunks", "chunks": [1], "kind": "vulns"})
        result = _operator(deferrable=False, chunk_size=50).execute(Run().context)
        truth = sandbox.tenable("truth")["vulnerabilities"]
        assert result["records"] == sum(1 for each in truth if each["severity_id"] >= 3)
        assert sandbox.tenable("stats")["calls"]["vulns_export"] == 2

    def test_truncated_chunk_is_fetched_again(self, sandbox: Sandbox) -> None:
        sandbox.tenable("faults", {"on": "vulns_chunk", "do": "truncate", "keep_bytes": 5000, "times": 2})
        result = _operator(deferrable=False).execute(Run().context)
        assert result["records"] == sum(
            1 for each in sandbox.tenable("truth")["vulnerabilities"] if each["severity_id"] >= 3
        )

    def test_every_field_whose_default_is_doubtful_is_stated(self, sandbox: Sandbox) -> None:
        _operator(deferrable=False).execute(Run().context)
        job = sandbox.tenable("stats")["exports"][0]
        assert job["filters"]["indexed_at"] == 1
        body = _operator()._body()
        assert {"num_assets", "include_unlicensed", "filters"} <= set(body)
        assert body["include_unlicensed"] is True


def test_published_examples_end_where_they_should(sandbox: Sandbox, variables: Variables) -> None:
    """The on-prem host, the webapp, the half-filled cloud asset and the EC2 instance of Tenable's documentation."""
    assets = json.loads((DATA / "assets_v2_chunk_official_example.json").read_bytes())
    on_prem, half_filled, ec2 = (asset["id"] for asset in assets)
    half = {
        **assets[2],
        "id": "00000000-0000-4000-8000-000000000001",
        "cloud": {"aws": {"ec2_instance_id": "i-15a52aebc53722bf2", "region": "us-east-1"}},
    }
    for asset in [*assets, half]:
        sandbox.tenable("change", {"do": "inject", "asset": asset})
    records = json.loads((DATA / "vulns_chunk_official_example.json").read_bytes())
    for asset_id in (on_prem, half_filled, ec2, half["id"]):
        for record in records:
            sandbox.tenable(
                "change", {"do": "inject", "record": {**record, "asset": {**record["asset"], "uuid": asset_id}}}
            )
    account = ec2_account = assets[2]["cloud"]["aws"]["owner_id"]
    sandbox.aws("hub", {"account": account, "region": "us-east-1", "state": "subscribed"})
    sandbox.aws(
        "identities",
        {
            "access_key_id": "AKIAEXAMPLE000000001",
            "secret_access_key": "an-example-secret-of-tests",
            "account": account,
            "arn": f"arn:aws:iam::{account}:user/x",
        },
    )

    destination = {"aws_conn_id": "aws_example", "accounts": [ec2_account]}
    extra = {"region_name": "us-east-1", "endpoint_url": sandbox.process.aws}
    with pytest.MonkeyPatch.context() as patch:
        connect(
            patch,
            "aws_example",
            {
                "conn_type": "aws",
                "login": "AKIAEXAMPLE000000001",
                "password": "an-example-secret-of-tests",
                "extra": extra,
            },
        )
        # All but the examples are left out on purpose.
        patch.setenv("AIRFLOW__TENABLE__MAX_UNSERVED_RATIO", "1")
        run = Run(params={"destinations": [destination], "severities": ["info", "low", "medium", "high", "critical"]})
        before = Run(params={"severities": ["info", "low", "medium", "high", "critical"], "dry_run": True})
        run.execute()
        before.execute()
    held = sandbox.documents()
    assert set(held) == {
        f"us-east-1/{account}/i-15a52aebc53722bf2/156641/tcp/445",
        f"us-east-1/{account}/i-15a52aebc53722bf2/50344/tcp/443",
    }
    assert {finding["Severity"]["Label"] for finding in held.values()} == {"HIGH", "INFORMATIONAL"}
    # Two records each: the on-prem host and the web application are no instance, the half-filled asset has no account.
    manifest_skips = run.ledger["skipped"]
    own = sandbox.tenable("truth")["vulnerabilities"]
    no_instance = sum(1 for each in own if each["asset_kind"] in ("on_prem", "azure", "gcp", "webapp"))
    no_account = sum(1 for each in own if each["asset_kind"] in ("no_owner", "canonical_owner"))
    assert manifest_skips["no_ec2_instance"] == no_instance + 4
    assert manifest_skips["no_aws_account"] == no_account + 2


class TestConnectionButton:
    def test_says_who_the_keys_belong_to(self, sandbox: Sandbox) -> None:
        ok, message = TenableHook().test_connection()
        assert ok
        assert "may export" in message

    @pytest.mark.parametrize(
        ("fields", "parts"),
        [
            ({"login": "wrong-access-key"}, ("401", "API keys")),
            ({"host": "http://127.0.0.1:9"}, ("not reachable", "Check the URL")),
            ({"host": "ftp://somewhere"}, ("not a valid URL",)),
            ({"password": ""}, ("no secret key",)),
            ({"extra": {"timeout": "soon"}}, ("timeout", "1 to 3600")),
            ({"extra": {"proxies": "http://user:canary-proxy-password@proxy:1"}}, ("proxies", "JSON object")),
        ],
    )
    def test_says_what_is_wrong(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], parts: tuple[str, ...]
    ) -> None:
        monkeypatch.setattr(time, "sleep", lambda _: None)
        facts = sandbox.process.facts
        base = {
            "conn_type": "tenable",
            "host": sandbox.process.tenable,
            "login": facts["access_key"],
            "password": facts["secret_key"],
        }
        connect(monkeypatch, "tenable_default", {**base, **fields})
        ok, message = TenableHook().test_connection()
        assert not ok
        for part in parts:
            assert part in message
        assert "canary" not in message
        assert facts["secret_key"] not in message

    def test_says_that_the_user_may_not_export(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        facts = sandbox.process.facts
        keys = {"login": f"noexport-{facts['access_key']}", "password": facts["secret_key"]}
        connect(monkeypatch, "tenable_default", {"conn_type": "tenable", "host": sandbox.process.tenable, **keys})
        ok, message = TenableHook().test_connection()
        assert not ok, message
        assert "403" in message

    def test_missing_connection(self, sandbox: Sandbox) -> None:
        ok, message = TenableHook("nowhere_to_be_found").test_connection()
        assert not ok
        assert "nowhere_to_be_found" in message
