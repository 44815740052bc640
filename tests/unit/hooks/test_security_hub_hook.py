"""The Security Hub hook against the AWS sandbox, over real sockets: what it asks, of whom, and what it makes of each
answer.
"""

from __future__ import annotations

import inspect
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import httpx
import pytest
import uvicorn
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import ClientError, NoCredentialsError, UnauthorizedSSOTokenError
from botocore.loaders import JSONFileLoader

from airflow_provider_tenable.exceptions import (
    ConfigurationError,
    DestinationRefusedError,
    HubOffError,
    TemporaryError,
)
from airflow_provider_tenable.hooks.security_hub import SecurityHubHook
from airflow_provider_tenable.run.plan import _identify
from sandbox.aws.app import build_aws_app
from sandbox.aws.hub_operations import write_token

ACCOUNT, OTHER = "111122223333", "222233334444"
KEY = ("AKIASANDBOXHUB000001", "sandbox-aws-secret-000000000000000000001")
ROLE = "TenableSecurityHubImport"
TENABLE = "tenable/vulnerability-management"
REGIONS = ["us-east-1", "eu-west-1", "eu-central-2"]


class Aws:
    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url)

    def control(self, path: str, body: Any = None) -> Any:
        answer = self.http.get(f"/_sandbox/{path}") if body is None else self.http.post(f"/_sandbox/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fault(self, **fault: Any) -> None:
        self.control("faults", fault)

    def places(self, operation: str) -> dict[str, int]:
        return {
            key.split()[1]: count
            for key, count in self.control("stats")["places"].items()
            if key.startswith(f"{operation} ")
        }


@pytest.fixture(scope="module")
def running() -> Iterator[Aws]:
    app = build_aws_app(accounts=[ACCOUNT, OTHER], regions=REGIONS)
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    aws = Aws(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    yield aws
    aws.http.close()
    server.should_exit = True
    thread.join()


@pytest.fixture
def aws(running: Aws) -> Aws:
    running.http.post("/_sandbox/reset")
    return running


@pytest.fixture
def connect(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Any:
    def connect(
        *, key: tuple[str, ...] = KEY, region: str | None = "us-east-1", conn: str = "hub", **extra: Any
    ) -> None:
        fields: dict[str, Any] = {
            "endpoint_url": aws.url,
            "region_name": region,
            "service_config": {"sts": {"endpoint_url": aws.url}},
            **extra,
        }
        if len(key) > 2:
            fields["aws_session_token"] = key[2]
        value = {
            "conn_type": "aws",
            "login": key[0],
            "password": key[1],
            "extra": {name: each for name, each in fields.items() if each is not None},
        }
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn.upper()}", json.dumps(value))

    return connect


def hook(account: str = OTHER, region: str = "eu-west-1", role: str | None = ROLE, **kwargs: Any) -> SecurityHubHook:
    return SecurityHubHook(aws_conn_id="hub", region_name=region, role_name=role, account=account, **kwargs)


def finding(number: int = 1, account: str = OTHER, region: str = "eu-west-1") -> bytes:
    return json.dumps(
        {
            "SchemaVersion": "2018-10-08",
            "Id": f"{region}/{account}/i-0a1b2c3d4e5f60718/{number}",
            "ProductArn": f"arn:aws:securityhub:{region}::product/{TENABLE}",
            "GeneratorId": "1",
            "AwsAccountId": account,
            "CreatedAt": "2024-02-01T08:30:00.000Z",
            "UpdatedAt": "2024-03-01T08:30:00.000Z",
            "Title": "t",
            "Description": "d",
            "FindingProviderFields": {
                "Severity": {"Label": "LOW", "Original": "low"},
                "Types": ["Software and Configuration Checks/Vulnerabilities"],
            },
            "Resources": [{"Type": "Other", "Id": "x"}],
        }
    ).encode()


def chained(aws: Aws, **role: Any) -> None:
    """A role of the connection, which may assume the member role."""
    aws.control(
        "roles",
        {"arn": f"arn:aws:iam::{ACCOUNT}:role/Central", "may_assume": [f"arn:aws:iam::{OTHER}:role/{ROLE}"], **role},
    )
    aws.control(
        "identities",
        {
            "access_key_id": KEY[0],
            "secret_access_key": KEY[1],
            "account": ACCOUNT,
            "arn": f"arn:aws:iam::{ACCOUNT}:user/importer",
            "may_assume": [f"arn:aws:iam::{ACCOUNT}:role/Central"],
        },
    )


# (a) What the connection's own role is assumed with stays there.


def test_member_role_gets_nothing_of_the_connections_role_but_its_external_id(aws: Aws, connect: Any) -> None:
    chained(aws, external_id="ours-1", max_session_seconds=43_200)
    aws.control(
        "roles", {"arn": f"arn:aws:iam::{OTHER}:role/{ROLE}", "external_id": "ours-1", "max_session_seconds": 43_200}
    )
    only_sts = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}],
    }
    kwargs = {
        "ExternalId": "ours-1",
        "DurationSeconds": 43_200,
        "Policy": json.dumps(only_sts),
        "RoleSessionName": "theirs",
    }
    connect(role_arn=f"arn:aws:iam::{ACCOUNT}:role/Central", assume_role_kwargs=kwargs)
    with closing_hook() as member:
        assert member.preflight(TENABLE, enable_product=False) is False
        assert member.import_batch([finding()])["SuccessCount"] == 1
    arns = [each["arn"] for each in aws.control("identities")["identities"] if ":assumed-role/" in each["arn"]]
    assert f"arn:aws:sts::{OTHER}:assumed-role/{ROLE}/airflow-provider-tenable" in arns


def closing_hook(**kwargs: Any) -> Any:
    return closing(hook(**kwargs))


# (b) External ids.


@pytest.mark.parametrize("where", ["destination", "assume_role_kwargs", "external_id"])
def test_external_id_reaches_the_member_role_without_a_role_in_the_connection(
    aws: Aws, connect: Any, where: str
) -> None:
    aws.control("roles", {"arn": f"arn:aws:iam::{OTHER}:role/{ROLE}", "external_id": "ours/2"})
    extra = (
        {"assume_role_kwargs": {"ExternalId": "ours/2"}}
        if where == "assume_role_kwargs"
        else {"external_id": "ours/2"}
        if where == "external_id"
        else {}
    )
    connect(**extra)
    kwargs = {"external_id": "ours/2"} if where == "destination" else {}
    assert hook(**kwargs).identify().account == OTHER


def test_external_id_of_the_destination_goes_before_that_of_the_connection(aws: Aws, connect: Any) -> None:
    aws.control("roles", {"arn": f"arn:aws:iam::{OTHER}:role/{ROLE}", "external_id": "ours/2"})
    connect(external_id="another")
    assert hook(external_id="ours/2").identify().account == OTHER


@pytest.mark.parametrize("external_id", [None, "wrong"])
def test_missing_external_id_is_an_error_that_names_it(aws: Aws, connect: Any, external_id: str | None) -> None:
    aws.control("roles", {"arn": f"arn:aws:iam::{OTHER}:role/{ROLE}", "external_id": "ours/2"})
    connect()
    with pytest.raises(
        ConfigurationError, match=r"Cannot assume the role \(account 222233334444, .*AccessDenied.*its external id"
    ):
        hook(external_id=external_id).identify()


# (c) STS is asked in the destination's Region.


def test_sts_is_asked_in_the_hubs_region_so_that_its_sessions_are_valid_there(aws: Aws, connect: Any) -> None:
    connect(region="us-east-1")
    with closing_hook(region="eu-central-2") as member:
        member.preflight(TENABLE, enable_product=False)
        assert member.import_batch([finding(region="eu-central-2")])["SuccessCount"] == 1
    # Once, whatever is asked before the import.
    assert aws.places("AssumeRole") == {f"{ACCOUNT}/eu-central-2": 1}
    assert set(aws.places("GetCallerIdentity")) == {f"{OTHER}/eu-central-2"}


@pytest.mark.parametrize(
    ("own", "connection", "asked"),
    [("eu-central-2", "us-east-1", "eu-central-2"), (None, "eu-west-1", "eu-west-1"), ("eu-west-1", None, "eu-west-1")],
)
def test_the_plan_asks_who_a_connection_is_in_the_destinations_region(
    aws: Aws, connect: Any, own: str | None, connection: str | None, asked: str
) -> None:
    connect(region=connection)
    caller = _identify("hub", own)
    assert caller == (ACCOUNT, connection, "aws")
    assert aws.places("GetCallerIdentity") == {f"{ACCOUNT}/{asked}": 1}


# (d) Answers that are not AWS's.

OPERATIONS = [
    "GetCallerIdentity",
    "AssumeRole",
    "DescribeHub",
    "ListEnabledProductsForImport",
    "EnableImportFindingsForProduct",
]


#: Form and status of the answer; tests/faults/test_hub_faults.py sends them through the complete pipeline.
ANSWERS = [("html", 200), ("tidy_html", 302), ("empty", 403), ("other_json", 200), ("tidy_html", 407), ("null", 200)]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("form", "status"), ANSWERS)
def test_an_answer_that_is_not_from_aws_is_neither_yes_nor_no(
    aws: Aws, connect: Any, operation: str, form: str, status: int
) -> None:
    connect()
    aws.control("hub", {"account": OTHER, "region": "eu-west-1", "state": "enabled"})
    aws.fault(on=operation, do="foreign", form=form, status=status, times=None)
    with closing_hook() as member, pytest.raises(TemporaryError) as failure:
        member.preflight(TENABLE, enable_product=operation == "EnableImportFindingsForProduct")
    text = str(failure.value)
    assert "not from AWS" in text
    assert "proxy" in text
    assert "subscribed to product" not in text
    assert aws.control("stats")["calls"][operation] == 6


@pytest.mark.parametrize("operation", OPERATIONS)
def test_two_answers_that_are_not_from_aws_are_borne(aws: Aws, connect: Any, operation: str) -> None:
    connect()
    aws.control("hub", {"account": OTHER, "region": "eu-west-1", "state": "enabled"})
    aws.fault(on=operation, do="foreign", form="tidy_html", status=200, times=2)
    with closing_hook() as member:
        assert member.preflight(TENABLE, enable_product=True) is True


@pytest.mark.parametrize(("form", "status"), ANSWERS)
def test_an_import_takes_an_answer_that_is_not_from_aws_for_no_answer(
    aws: Aws, connect: Any, form: str, status: int
) -> None:
    from airflow_provider_tenable.security_hub.responses import explain, verdict_of

    connect()
    aws.fault(on="BatchImportFindings", do="foreign", form=form, status=status)
    with closing_hook() as member:
        with pytest.raises((TemporaryError, ClientError)) as failure:
            member.import_batch([finding()])
        if isinstance(failure.value, ClientError):
            assert verdict_of(failure.value) == "retry"
            assert "not from AWS" in explain(failure.value)
        else:
            assert "not from AWS" in str(failure.value)
        assert member.import_batch([finding()])["SuccessCount"] == 1


# (f), (g) Repeats, and credentials that are over.


@pytest.mark.parametrize("operation", OPERATIONS[2:])
@pytest.mark.parametrize(("status", "code"), [(429, "TooManyRequestsException"), (503, "ServiceUnavailable")])
def test_preflight_calls_are_repeated(aws: Aws, connect: Any, operation: str, status: int, code: str) -> None:
    connect()
    aws.control("hub", {"account": OTHER, "region": "eu-west-1", "state": "enabled"})
    aws.fault(
        on=operation, do="status", status=status, headers={"x-amzn-ErrorType": code}, body={"message": "later"}, times=5
    )
    with closing_hook() as member:
        assert member.preflight(TENABLE, enable_product=True) is True


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_connection_that_is_reset_before_the_import_is_made_again(aws: Aws, connect: Any, operation: str) -> None:
    connect()
    aws.control("hub", {"account": OTHER, "region": "eu-west-1", "state": "enabled"})
    aws.fault(on=operation, do="reset", times=3)
    with closing_hook() as member:
        assert member.preflight(TENABLE, enable_product=True) is True


def test_a_subscription_whose_answer_was_lost_counts_as_ours(aws: Aws, connect: Any) -> None:
    connect()
    aws.control("hub", {"account": OTHER, "region": "eu-west-1", "state": "enabled"})
    aws.fault(on="EnableImportFindingsForProduct", do="lose_answer")
    with closing_hook() as member:
        assert member.preflight(TENABLE, enable_product=True) is True


def session_of(aws: Aws, connect: Any) -> tuple[str, str, str]:
    """A key that a person would paste into the connection: temporary, of the member account."""
    connect()
    member = hook()
    frozen = member.get_session(region_name="eu-west-1").get_credentials().get_frozen_credentials()
    return frozen.access_key, frozen.secret_key, frozen.token


def central_role(aws: Aws) -> str:
    """A role of the connection, which the pasted session may assume, and which may assume the member role."""
    chained(aws)
    central = f"arn:aws:iam::{ACCOUNT}:role/Central"
    aws.control("roles", {"arn": f"arn:aws:iam::{OTHER}:role/{ROLE}", "may_assume": [central]})
    aws.control(
        "identities",
        {
            "access_key_id": KEY[0],
            "secret_access_key": KEY[1],
            "account": ACCOUNT,
            "arn": f"arn:aws:iam::{ACCOUNT}:user/importer",
            "may_assume": [central, f"arn:aws:iam::{OTHER}:role/{ROLE}"],
        },
    )
    return central


@pytest.mark.parametrize("of_connection", [False, True], ids=["keys", "role_arn"])
@pytest.mark.parametrize("step", ["identify", "preflight", "import", "assume"])
def test_pasted_credentials_that_expired_end_it_at_once_with_what_to_do(
    aws: Aws, connect: Any, step: str, of_connection: bool, naps: list[float]
) -> None:
    """With a role in the connection, its role is what they are used for first, whatever the step."""
    central = central_role(aws) if of_connection else None
    connect(key=session_of(aws, connect), role_arn=central)
    operation = {
        "identify": "GetCallerIdentity",
        "preflight": "DescribeHub",
        "import": "BatchImportFindings",
        "assume": "AssumeRole",
    }[step]
    operation = "AssumeRole" if of_connection else operation
    aws.fault(on=operation, do="expire_credentials", times=None)
    before = aws.control("stats")["calls"].get(operation, 0)
    role = "Another" if step == "assume" else None
    with closing_hook(role=role) as member:
        call = (
            partial(member.import_batch, [finding()])
            if step == "import"
            else partial(member.preflight, TENABLE, enable_product=False)
        )
        with pytest.raises(ConfigurationError, match=r"expired, and Airflow cannot renew them\. Put new ones into the"):
            call()
    assert aws.control("stats")["calls"][operation] == before + 1
    assert naps == []


@pytest.mark.parametrize("step", ["preflight", "import"])
@pytest.mark.parametrize("role", [None, ROLE], ids=["role_arn", "member"])
def test_pasted_credentials_that_expire_before_the_connections_role_is_renewed_end_it_at_once(
    aws: Aws, connect: Any, step: str, role: str | None, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    central = central_role(aws)
    connect(key=session_of(aws, connect), role_arn=central)
    with closing_hook(account=OTHER if role else ACCOUNT, role=role) as member:
        assert member.preflight(TENABLE, enable_product=False) is False
        # From here on, every session is about to end.
        monkeypatch.setattr(RefreshableCredentials, "_mandatory_refresh_timeout", 86_400)
        monkeypatch.setattr(RefreshableCredentials, "_advisory_refresh_timeout", 86_400)
        aws.fault(on="AssumeRole", do="expire_credentials", times=None)
        before = aws.control("stats")["calls"]["AssumeRole"]
        call = partial(member.import_batch, [finding()]) if step == "import" else partial(member.takes_product, TENABLE)
        with pytest.raises(ConfigurationError, match=r"expired, and Airflow cannot renew them\. Put new ones into the"):
            call()
    assert aws.control("stats")["calls"]["AssumeRole"] == before + 1
    assert naps == []


@pytest.mark.parametrize("pasted", [False, True], ids=["long_lived", "pasted"])
def test_session_of_the_connections_role_that_expired_is_renewed(aws: Aws, connect: Any, pasted: bool) -> None:
    """AWS rejects the session with which the member role is assumed, and not the keys in the connection."""
    central = central_role(aws)
    connect(key=session_of(aws, connect) if pasted else KEY, role_arn=central)
    expired = {
        "do": "status",
        "status": 403,
        "body": "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>expired</Message></Error></ErrorResponse>",
    }
    # The connection's own role is assumed in the member account or by a user, the member role in the role's account.
    aws.fault(on="AssumeRole", match={"account": ACCOUNT}, skip=0 if pasted else 1, **expired)
    with closing_hook() as member:
        assert member.preflight(TENABLE, enable_product=False) is False
        assert member.import_batch([finding()])["SuccessCount"] == 1


def test_credentials_of_a_role_that_expired_are_renewed(aws: Aws, connect: Any) -> None:
    connect()
    with closing_hook() as member:
        aws.fault(on="DescribeHub", do="expire_credentials")
        assert member.preflight(TENABLE, enable_product=False) is False
        aws.fault(on="BatchImportFindings", do="expire_credentials")
        with pytest.raises(ClientError, match="ExpiredToken"):
            member.import_batch([finding()])
        assert member.import_batch([finding()])["SuccessCount"] == 1


def test_call_that_fails_late_does_not_end_the_session_that_another_thread_has_begun(aws: Aws, connect: Any) -> None:
    connect()
    with closing_hook() as member:
        expired = member.client
        late = [True]

        def meanwhile(**_: Any) -> None:
            """Another call fails with the same session, and a new session begins."""
            if late:
                late.clear()
                with pytest.raises(ClientError, match="ExpiredToken"):
                    member.import_batch([finding()])
                assert member.import_batch([finding()])["SuccessCount"] == 1

        expired.meta.events.register("after-call.securityhub.BatchImportFindings", meanwhile)
        aws.fault(on="BatchImportFindings", do="expire_credentials")
        with pytest.raises(ClientError, match="ExpiredToken"):
            member.import_batch([finding()])
        assert member.client is not expired
        assert member.import_batch([finding()])["SuccessCount"] == 1
    assert aws.control("stats")["calls"]["AssumeRole"] == 2


def test_threads_begin_one_session(aws: Aws, connect: Any) -> None:
    connect()
    with closing_hook() as member:
        at_once = threading.Barrier(4)

        def begin(_: int) -> Any:
            at_once.wait(60)
            return member.get_session(REGIONS[0])

        with ThreadPoolExecutor(4) as threads:
            assert len({id(session) for session in threads.map(begin, range(4))}) == 1
    assert aws.control("stats")["calls"]["AssumeRole"] == 1


@pytest.mark.parametrize(
    "trouble", [NoCredentialsError(), UnauthorizedSSOTokenError()], ids=lambda each: type(each).__name__
)
def test_no_credentials_end_it_at_once(
    aws: Aws, connect: Any, monkeypatch: pytest.MonkeyPatch, trouble: Exception, naps: list[float]
) -> None:
    connect()
    member = hook(account=ACCOUNT, role=None)

    def refuse(*_: Any, **__: Any) -> None:
        raise trouble

    monkeypatch.setattr(type(member.client), "batch_import_findings", refuse)
    monkeypatch.setattr(type(member.client), "describe_hub", refuse)
    with pytest.raises(ConfigurationError, match="Put keys into the connection, or give the worker a role"):
        member.import_batch([finding()])
    with pytest.raises(ConfigurationError, match="Put keys into the connection, or give the worker a role"):
        member.preflight(TENABLE, enable_product=False)
    assert naps == []


# (i), (j), (l)


@pytest.mark.parametrize(
    ("action", "operation"),
    [
        ("securityhub:DescribeHub", "describe the hub"),
        ("securityhub:ListEnabledProductsForImport", "list the subscribed products"),
    ],
)
def test_a_call_that_the_role_may_not_make_is_named_as_the_action_to_allow(
    aws: Aws, connect: Any, action: str, operation: str
) -> None:
    aws.control("roles", {"arn": f"arn:aws:iam::{OTHER}:role/{ROLE}", "deny": [action]})
    connect()
    with (
        closing_hook() as member,
        pytest.raises(ConfigurationError, match=rf"Cannot {operation} \(account 222233334444.*Allow {action} to these"),
    ):
        member.preflight(TENABLE, enable_product=False)


def test_a_product_is_looked_for_by_its_arn_too(aws: Aws, connect: Any) -> None:
    connect()
    default = f"arn:aws:securityhub:eu-west-1:{OTHER}:product/{OTHER}/default"
    aws.control("hub", {"account": OTHER, "region": "eu-west-1", "state": "enabled"})
    with closing_hook() as member:
        assert member.preflight(default, enable_product=False) is False
        with pytest.raises(
            ConfigurationError,
            match="is not subscribed to product "
            "arn:aws:securityhub:eu-west-1::product/tenable/vulnerability-management",
        ):
            member.preflight(f"arn:aws:securityhub:eu-west-1::product/{TENABLE}", enable_product=False)


def test_a_hub_that_is_off_says_so_and_names_the_new_hub_where_only_that_is_on(aws: Aws, connect: Any) -> None:
    connect()
    aws.control("hub", {"account": OTHER, "region": "eu-west-1", "state": "off"})
    with closing_hook() as member, pytest.raises(HubOffError, match="Security Hub CSPM is not enabled") as failure:
        member.preflight(TENABLE, enable_product=False)
    assert "new AWS Security Hub" not in str(failure.value)
    aws.control("options", {"new_hub": True})
    with (
        closing_hook() as member,
        pytest.raises(HubOffError, match="uses the new AWS Security Hub in eu-west-1, which does not accept findings"),
    ):
        member.preflight(TENABLE, enable_product=False)


def test_a_hub_that_is_not_found_is_off(aws: Aws, connect: Any) -> None:
    connect()
    headers = {"x-amzn-ErrorType": "ResourceNotFoundException"}
    aws.fault(on="DescribeHub", do="status", status=404, headers=headers, body={"message": "Hub not found"})
    with closing_hook() as member, pytest.raises(HubOffError, match="Security Hub CSPM is not enabled"):
        member.preflight(TENABLE, enable_product=False)


def test_a_product_that_the_region_does_not_offer_is_refused_there_only(aws: Aws, connect: Any) -> None:
    connect()
    with closing_hook() as member, pytest.raises(DestinationRefusedError, match="does not offer this product in that"):
        member.preflight("acme/scanner", enable_product=True)
    assert aws.control("stats")["calls"]["EnableImportFindingsForProduct"] == 1


@pytest.mark.parametrize(
    "fault", [{"do": "reset"}, {"do": "foreign", "form": "html", "status": 200}, {"do": "status", "status": 403}]
)
def test_looking_for_the_new_hub_is_best_effort(aws: Aws, connect: Any, fault: dict[str, Any]) -> None:
    connect()
    aws.control("hub", {"account": OTHER, "region": "eu-west-1", "state": "off"})
    aws.control("options", {"new_hub": True})
    aws.fault(on="DescribeSecurityHubV2", **fault)
    with closing_hook() as member, pytest.raises(HubOffError, match="Security Hub CSPM is not enabled"):
        member.preflight(TENABLE, enable_product=False)


def test_subscriptions_are_read_to_the_last_page(aws: Aws, connect: Any) -> None:
    connect()
    aws.control("options", {"extra_subscriptions": 250})
    with closing_hook() as member:
        assert member.preflight(TENABLE, enable_product=False) is False
    assert aws.control("stats")["calls"]["ListEnabledProductsForImport"] == 3


def test_a_page_of_subscriptions_that_names_itself_as_the_next_one_is_an_error(aws: Aws, connect: Any) -> None:
    connect()
    aws.control("hub", {"account": OTHER, "region": "eu-west-1", "state": "enabled"})
    with closing_hook() as member:
        event, token = "after-call.securityhub.ListEnabledProductsForImport", write_token(0)
        member.client.meta.events.register(event, lambda parsed, **_: parsed.update(NextToken=token))
        with pytest.raises(TemporaryError, match="the token of the page that was requested"):
            member.preflight(TENABLE, enable_product=True)
    calls = aws.control("stats")["calls"]
    assert calls["ListEnabledProductsForImport"] == 2
    assert "EnableImportFindingsForProduct" not in calls


def test_descriptions_of_the_services_are_read_once_however_many_accounts_there_are(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect()
    read: list[str] = []
    load = JSONFileLoader().load_file
    monkeypatch.setattr(JSONFileLoader, "load_file", lambda _, path: read.append(path) or load(path))
    paths = set()
    for account in (OTHER, ACCOUNT, OTHER):
        with closing(hook(account)) as one:
            session = one.client.meta.events and one.get_session("eu-west-1")
            paths.add(tuple(session._session.get_component("data_loader").search_paths))
    assert len(read) == len(set(read))
    # boto3 adds a folder to the loader of each of its sessions.
    assert len(paths) == 1


def test_a_client_is_made_without_a_look_at_the_stack(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # It takes as much CPU as the rest, for each account and Region.
    monkeypatch.setattr(inspect, "stack", lambda *_: pytest.fail("the stack is read"))
    connect()
    with closing(hook()) as one:
        assert " Caller/SecurityHubHook " in one.client.meta.config.user_agent_extra


def test_since_when_a_hub_is_on_is_what_it_says(connect: Any, aws: Aws) -> None:
    connect()

    def enabled_at() -> int:
        with closing(hook()) as member:
            return member.enabled_at()

    assert enabled_at() == 1_704_067_200_000
    aws.control("hub", {"account": OTHER, "region": "eu-west-1", "state": "emptied"})
    assert abs(enabled_at() / 1000 - time.time()) < 60
    aws.control("hub", {"account": OTHER, "region": "eu-west-1", "state": "off"})
    assert enabled_at() == 0


def test_what_a_hub_says_of_itself_is_asked_once_and_a_refusal_is_no_answer(connect: Any, aws: Aws) -> None:
    connect()
    with closing(hook()) as member:
        aws.control("hub", {"account": OTHER, "region": "eu-west-1", "state": "off"})
        assert member.enabled_at() == 0
        aws.control("hub", {"account": OTHER, "region": "eu-west-1", "state": "subscribed"})
        before = aws.control("stats")["calls"]["DescribeHub"]
        member.check_hub()
        assert member.enabled_at() > 0
        assert member.preflight(TENABLE, enable_product=False) is False
    assert aws.control("stats")["calls"]["DescribeHub"] == before + 1


@pytest.mark.parametrize(
    "said",
    [
        None,
        5,
        "",
        "soon",
        "2999-01-01T00:00:00Z",
        "2024-01-01T00:00:00",
        "0001-01-01T00:00:00+23:00",
        ["x"],
        "x" * 9999,
    ],
)
def test_what_is_no_time_that_has_passed_does_not_count(connect: Any, aws: Aws, said: Any) -> None:
    connect()
    answer = {"HubArn": f"arn:aws:securityhub:eu-west-1:{OTHER}:hub/default", "SubscribedAt": said}
    aws.fault(on="DescribeHub", do="body", body=json.dumps(answer), times=None)
    with closing(hook()) as member:
        assert member.enabled_at() == 0
