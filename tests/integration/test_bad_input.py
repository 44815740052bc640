"""What people get wrong: each has a message that says what to do, imports nothing, and leaves the watermark."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable._compat import AirflowFailException, complete_message, fail_fast
from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from tests.integration.conftest import connect
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

_MINE = "1700000000"


@pytest.fixture
def nothing_happens(sandbox: Sandbox, variables: Variables) -> Any:
    """After the test, no finding was sent and the watermark is where it was."""
    variables.watermark = _MINE
    yield
    assert sandbox.documents() == {}
    assert sandbox.aws("stats")["calls"].get("BatchImportFindings", 0) == 0
    assert variables.writes == []


def _fails(run: Run, *parts: str) -> None:
    with pytest.raises((ConfigurationError, AirflowFailException)) as failure, fail_fast():
        run.execute()
    text = complete_message(failure.value)
    for part in parts:
        assert part in text, text
    # A retry cannot mend it, so Airflow is told not to try.
    assert isinstance(failure.value, AirflowFailException)


@pytest.mark.usefixtures("nothing_happens")
class TestParams:
    @pytest.mark.parametrize("batch_size", [0, 101, "100", None, True])
    def test_batch_size(self, defaults: dict[str, Any], batch_size: Any) -> None:
        _fails(Run(params={"batch_size": batch_size}, defaults=defaults), "batch_size", "1 to 100")

    def test_since_after_until(self, defaults: dict[str, Any]) -> None:
        params = {"since": "2026-11-02T00:00:00Z", "until": "2026-11-01T00:00:00Z"}
        _fails(Run(params=params, defaults=defaults), "window is empty", "2026-11-02T00:00:00Z", "earlier since")

    def test_since_that_is_no_time(self, defaults: dict[str, Any]) -> None:
        _fails(
            Run(params={"since": "yesterday"}, defaults=defaults), "since is 'yesterday'", "unix seconds", "ISO 8601"
        )

    @pytest.mark.parametrize(
        ("destinations", "message"),
        [
            ([], "at least one destination"),
            ("aws_default", "must be a list"),
            (["aws_default"], "destinations[0] must be an object"),
            ([{"aws_conn": "aws_default"}], "unknown fields ['aws_conn']"),
            ([{"aws_conn_id": "aws_default", "accounts": [123456789012]}], "in quotes"),
            ([{"aws_conn_id": "aws_default", "accounts": ["12345"]}], "string of 12 digits"),
            ([{"aws_conn_id": "aws_default", "region": "eu-west"}], "not an AWS Region"),
            ([{"aws_conn_id": "aws_default", "role_name": "arn:aws:iam::123456789012:role/x"}], "not an ARN"),
        ],
    )
    def test_malformed_destination(self, defaults: dict[str, Any], destinations: Any, message: str) -> None:
        _fails(Run(params={"destinations": destinations}, defaults=defaults), message)

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("severities", [], "at least one of info, low"),
            ("severities", ["severe"], "severities"),
            ("states", ["closed"], "open, reopened, fixed"),
            ("region_routing", "near", "fixed, resource"),
            ("accepted_risks", "ignore", "archive, import, suppress"),
            ("non_ec2_assets", "keep", "skip, other"),
            ("max_rejected_ratio", 2, "0 to 1"),
            ("dry_run", "yes", "true or false"),
        ],
    )
    def test_other_params(self, defaults: dict[str, Any], name: str, value: Any, message: str) -> None:
        _fails(Run(params={name: value}, defaults=defaults), name, message)


def test_unreadable_watermark(sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]) -> None:
    variables.watermark = "last Tuesday"
    _fails(
        Run(defaults=defaults),
        "last Tuesday",
        "tenable_to_security_hub__since",
        "Set the Airflow Variable",
        "delete it",
    )
    assert variables.watermark == "last Tuesday"
    assert sandbox.documents() == {}


def test_watermark_in_the_future(sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]) -> None:
    variables.watermark = "99999999999"
    _fails(Run(defaults=defaults), "lies in the future", "tenable_to_security_hub__since")
    assert variables.writes == []


@pytest.mark.usefixtures("nothing_happens")
class TestWhatARunWasAskedFor:
    """Found in the plan, before a single export is asked for."""

    @pytest.fixture(autouse=True)
    def nothing_was_exported(self, sandbox: Sandbox) -> Any:
        yield
        assert sandbox.jobs()["created"] == 0

    def test_misspelt_param(self, defaults: dict[str, Any]) -> None:
        _fails(
            Run(params={"dryrun": True}, defaults=defaults),
            "'dryrun' (did you mean 'dry_run'?)",
            "tenable_to_security_hub does not have",
        )

    def test_conf_that_airflow_ignores(self, defaults: dict[str, Any]) -> None:
        run = Run(params={"dry_run": True}, defaults=defaults)
        run.context["params"] = dict(run.context["dag"].params)
        _fails(run, "'dry_run'", "[core] dag_run_conf_overrides_params is False", "[tenable] dag_params")

    def test_watermark_that_the_environment_hides(
        self, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_VAR_TENABLE_TO_SECURITY_HUB__SINCE", "1700000000")
        _fails(Run(defaults=defaults), "AIRFLOW_VAR_TENABLE_TO_SECURITY_HUB__SINCE", "Remove it there")


@pytest.mark.usefixtures("nothing_happens")
class TestConnections:
    def test_wrong_tenable_keys(
        self, sandbox: Sandbox, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect(
            monkeypatch,
            "tenable_default",
            {
                "conn_type": "tenable",
                "host": sandbox.process.tenable,
                "login": "canary-access",
                "password": "canary-secret",
            },
        )
        run = Run(defaults=defaults)
        _fails(run, "401", "API keys", "tenable_default", "Generate a pair")
        with pytest.raises(ConfigurationError) as failure:
            run.execute()
        assert "canary" not in str(failure.value) + repr(failure.value)

    def test_no_tenable_keys(self, sandbox: Sandbox, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        connect(
            monkeypatch,
            "tenable_default",
            {"conn_type": "tenable", "host": sandbox.process.tenable, "login": "only-one"},
        )
        _fails(Run(defaults=defaults), "no secret key", "TIO_SECRET_KEY")

    def test_no_tenable_connection(self, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AIRFLOW_CONN_TENABLE_DEFAULT")
        _fails(
            Run(defaults=defaults),
            "There is no connection with the id 'tenable_default'",
            "Create it with type 'tenable'",
        )

    def test_keys_without_the_right_to_export(
        self, sandbox: Sandbox, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        facts = sandbox.process.facts
        keys = {"login": f"noexport-{facts['access_key']}", "password": facts["secret_key"]}
        connect(monkeypatch, "tenable_default", {"conn_type": "tenable", "host": sandbox.process.tenable, **keys})
        _fails(Run(defaults=defaults), "403", "right to export", "Can View")

    def test_unknown_tenable_host(self, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.sleep", lambda _: None)
        connect(
            monkeypatch,
            "tenable_default",
            {
                "conn_type": "tenable",
                "host": "http://127.0.0.1:9",
                "login": "a-key-of-tests",
                "password": "another-key",
            },
        )
        # It may be back in a minute, so the task's retries are kept.
        with pytest.raises(TemporaryError, match=r"127\.0\.0\.1:9 is not reachable .* Check the URL"):
            Run(defaults=defaults).execute()

    def test_mistyped_aws_connection(self, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        # Whatever credentials the machine has must not be used instead.
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASANDBOXHUB000001")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sandbox-aws-secret-000000000000000000001")
        entry = {**defaults["destinations"][0], "aws_conn_id": "aws_defualt"}
        _fails(
            Run(params={"destinations": [entry]}, defaults=defaults),
            "There is no AWS connection 'aws_defualt'",
            "Create it, correct",
        )

    def test_credentials_of_another_account(self, sandbox: Sandbox, defaults: dict[str, Any]) -> None:
        entry = {"aws_conn_id": "aws_default", "accounts": [sandbox.accounts[1]]}
        _fails(
            Run(params={"destinations": [entry]}, defaults=defaults),
            sandbox.accounts[0],
            sandbox.accounts[1],
            "role_name",
        )

    def test_wrong_aws_secret(
        self, sandbox: Sandbox, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        extra = {"region_name": "us-east-1", "endpoint_url": sandbox.process.aws}
        connect(
            monkeypatch,
            "aws_default",
            {"conn_type": "aws", "login": "AKIASANDBOXHUB000001", "password": "canary-aws-secret", "extra": extra},
        )
        _fails(Run(defaults=defaults), "SignatureDoesNotMatch", "secret key does not belong")


class TestHub:
    def _place(self, sandbox: Sandbox, state: str) -> None:
        for account in sandbox.accounts:
            for region in ("us-east-1", "eu-west-1"):
                sandbox.aws("hub", {"account": account, "region": region, "state": state})

    @pytest.mark.usefixtures("nothing_happens")
    def test_hub_is_off(self, sandbox: Sandbox, defaults: dict[str, Any]) -> None:
        self._place(sandbox, "off")
        _fails(Run(defaults=defaults), "not subscribed to AWS Security Hub", "Enable it there", sandbox.accounts[0])

    @pytest.mark.usefixtures("nothing_happens")
    def test_product_is_not_subscribed(self, sandbox: Sandbox, defaults: dict[str, Any]) -> None:
        self._place(sandbox, "enabled")
        _fails(Run(defaults=defaults), "not subscribed to product", "vulnerability-management", "enable_product")

    def test_product_is_subscribed_where_that_is_allowed(
        self, sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._place(sandbox, "enabled")
        monkeypatch.setenv("AIRFLOW__TENABLE__ENABLE_PRODUCT", "True")
        run = Run(defaults=defaults)
        run.execute()
        assert run.ledger["accepted"] == run.ledger["findings"] - run.ledger["never_imported"] > 300

    def test_subscription_on_the_second_page_is_found(
        self, sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
    ) -> None:
        sandbox.aws("options", {"extra_subscriptions": 120})
        run = Run(params={"severities": ["critical"]}, defaults=defaults)
        run.execute()
        assert run.ledger["accepted"] == run.ledger["findings"] - run.ledger["never_imported"] > 0

    @pytest.mark.usefixtures("nothing_happens")
    def test_default_product_needs_no_subscription_but_its_hub(
        self, sandbox: Sandbox, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._place(sandbox, "off")
        monkeypatch.setenv("AIRFLOW__TENABLE__PRODUCT", "default")
        _fails(Run(defaults=defaults), "Enable it there")

    def test_default_product(
        self, sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._place(sandbox, "enabled")
        monkeypatch.setenv("AIRFLOW__TENABLE__PRODUCT", "default")
        run = Run(params={"severities": ["critical"]}, defaults=defaults)
        run.execute()
        finding = next(iter(sandbox.documents().values()))
        account = finding["AwsAccountId"]
        assert finding["ProductArn"] == f"arn:aws:securityhub:{finding['Region']}:{account}:product/{account}/default"
        assert run.ledger["accepted"] == run.ledger["findings"] - run.ledger["never_imported"] > 0

    @pytest.mark.usefixtures("nothing_happens")
    def test_import_compares_the_callers_account_itself(self, sandbox: Sandbox, defaults: dict[str, Any]) -> None:
        run = Run(defaults=defaults)
        from airflow_provider_tenable.staging.files import write_json

        write_json(run.folder.shards, {"count": 0})
        operator = SecurityHubImportFindingsOperator(task_id="import", account=sandbox.accounts[2], region="us-east-1")
        with pytest.raises(
            AirflowFailException,
            match=f"belong to account {sandbox.accounts[2]}, but .* account {sandbox.accounts[0]}. Nothing was "
            "imported",
        ):
            operator.execute(run.context)

    @pytest.mark.usefixtures("nothing_happens")
    def test_role_that_cannot_be_assumed(self, defaults: dict[str, Any]) -> None:
        entry = {**defaults["destinations"][0], "role_name": "NoSuchRole"}
        _fails(Run(params={"destinations": [entry]}, defaults=defaults), "AccessDenied", "trust policy")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("LAG_SECONDS", "an hour", "not of type integer"),
        ("LAG_SECONDS", "-1", "the minimum is 0"),
        ("ID_SCHEME", "ip", "port, tvm2aws"),
        ("STAGING_PATH", "nosuchscheme://bucket/x", "cannot be opened"),
    ],
)
@pytest.mark.usefixtures("nothing_happens")
def test_wrong_option(
    defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch, option: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"AIRFLOW__TENABLE__{option}", value)
    with pytest.raises((ConfigurationError, AirflowFailException), match=message):
        Run(defaults=defaults).execute()
