"""Each check, made to fail once against the simulated services: its line, and its remedy."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from checked_estate import ACCOUNTS, REGION, ROLE, Estate  # type: ignore[import-not-found]

from airflow_provider_tenable import _compat
from airflow_provider_tenable.requirements.catalogue import CHECKS
from airflow_provider_tenable.run import places
from airflow_provider_tenable.scan.audited_accounts import Audited, record
from airflow_provider_tenable.staging.layout import RunFolder
from sandbox.aws.identities import Role
from sandbox.tenable.access import ACCESS_KEY, NO_ADMIN, NO_EXPORT, NO_VIEW, TAG_VIEW
from tests.plain_ids import plain

A, B = (f"{account}/{REGION}" for account in ACCOUNTS)
ROLE_OF_B = f"arn:aws:iam::{ACCOUNTS[1]}:role/{ROLE}"

Break = Callable[[Estate], Any]


def connectors(**changes: Any) -> Break:
    """Change the first connector."""
    return lambda estate: estate.tenable.connectors[0].update(changes)


def session(**answer: Any) -> Break:
    """Let Tenable say something else about the user."""

    def change(estate: Estate) -> None:
        from sandbox.tenable import app

        original = app._session_of
        estate.patch.setattr(app, "_session_of", lambda *of: {**original(*of), **answer})

    return change


def user(prefix: str) -> Break:
    return lambda estate: estate.connect_tenable(prefix + ACCESS_KEY)


#: Checks without a line in most tables.
SOMETIMES = {"aws.bound", "aws.describe_instances"}


def resolving(estate: Estate) -> None:
    estate.patch.setenv("AIRFLOW__TENABLE__RESOLVE_UNPLACED_INSTANCES", "True")


def denied(*actions: str) -> Break:
    return lambda estate: estate.world.identities.add_role(Role(ROLE_OF_B, deny=actions))


def other_executor(estate: Estate, earlier: Any = None) -> None:
    estate.patch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    estate.earlier = earlier


def open_folder(estate: Estate) -> None:
    folder = estate.folder / "staging" / "tenable_requirements"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    estate.patch.setattr(os, "chmod", lambda *_: None)


def read_only(estate: Estate) -> None:
    (estate.folder / "staging").write_text("a file, not a folder")


def refused_before(estate: Estate) -> None:
    run = RunFolder(f"file://{estate.folder}/staging", "tenable_to_security_hub", "run-1")
    places.note_owed(run, A, since=1, until=2, why="AccessDeniedException: no", attempted=False)


def health(answer: Any) -> Break:
    return lambda estate: estate.patch.setattr(_compat, "airflow_health", lambda *, in_task: answer)


def version(text: str) -> Break:
    return lambda estate: estate.patch.setattr(_compat, "AIRFLOW_VERSION", _compat.Version(text))


def in_database(name: str, answer: Any) -> Break:
    def change(estate: Estate) -> None:
        estate.patch.setattr(_compat, "AIRFLOW_V_3_0_PLUS", False)
        estate.patch.setattr(_compat, "slots_of_pool", lambda _: 128)
        estate.patch.setattr(_compat, "max_active_runs_of", lambda _: 1)
        estate.patch.setattr(_compat, name, lambda _: answer)

    return change


ASSET = "0b5e8a2c-6f3d-4c1e-9a7b-2d4f6a8c0e1f"


def audits(*accounts: str) -> Break:
    """Audits of these accounts are on record, with one asset between them; Tenable has none of their scans."""

    def change(estate: Estate) -> None:
        for number, account in enumerate(accounts):
            audit = Audited(
                account=account,
                partition="aws",
                regions=(REGION,),
                audits=("cis.audit",),
                credential=ASSET,
                name="audit",
                assets=(ASSET,),
            )
            record(f"file://{estate.folder}/staging", f"template-{number}{ASSET[1:]}{'0' * 20}", audit)

    return change


def clock(estate: Estate) -> None:
    from airflow_provider_tenable.requirements import of_tenable

    estate.patch.setattr(of_tenable, "time", SimpleNamespace(time=lambda: time.time() + 301))


#: What is broken -> the line: check, subject, state, a part of its detail, a part of its remedy.
FAILURES: dict[str, tuple[Break, str, str, str, str, str]] = {
    "wrong secret key": (
        lambda estate: estate.connect_tenable(secret="canary-secret-3f1b"),
        "tenable.keys",
        "tenable_default",
        "failed",
        "401",
        "Generate API keys",
    ),
    "no connection": (
        lambda estate: estate.patch.setenv("AIRFLOW_CONN_TENABLE_DEFAULT", ""),
        "tenable.keys",
        "tenable_default",
        "failed",
        "",
        "put them into the connection",
    ),
    "Tenable is down": (
        lambda estate: estate.tenable.faults.order({"on": "session", "do": "status", "status": 503, "times": None}),
        "tenable.keys",
        "tenable_default",
        "unchecked",
        "503",
        "the next run checks it again",
    ),
    "disabled user": (session(enabled=False), "tenable.role", "", "failed", "is disabled", "enable the API user"),
    "role below Basic": (session(permissions=0), "tenable.role", "", "failed", "below Basic", "give it that role"),
    "role unknown": (session(permissions="x"), "tenable.role", "", "unchecked", "does not say", "enable the API user"),
    "no view": (user(NO_VIEW), "tenable.view", "", "failed", "on no assets", "Can View on All Assets"),
    "view by tag": (user(TAG_VIEW), "tenable.view", "", "failed", "Location:Headquarters", "Can View on All Assets"),
    "no export": (user(NO_EXPORT), "tenable.export", "vulnerabilities", "failed", "403", "privilege to export"),
    "too many exports": (
        lambda estate: setattr(estate.tenable, "options", estate.tenable.options.changed({"max_running": 0})),
        "tenable.export",
        "assets",
        "unchecked",
        "429",
        "the next run checks it again",
    ),
    "not an administrator": (
        user(NO_ADMIN),
        "tenable.deleted_assets",
        "",
        "unchecked",
        "not an administrator",
        "the role Administrator",
    ),
    "wrong clock": (clock, "tenable.clock", "", "failed", "seconds ahead of Tenable's", "NTP"),
    "no scanner": (
        lambda estate: estate.tenable.scanners.machines.clear(),
        "scanner.online",
        "",
        "failed",
        "None of 0 linked",
        "Link a scanner",
    ),
    "audit whose scan is gone": (
        audits(ACCOUNTS[0]),
        "audit.scans",
        f"{ACCOUNTS[0]}: audit",
        "failed",
        "404",
        "Run the DAG tenable_aws_audit",
    ),
    "audits of two accounts that share an asset": (
        audits(*ACCOUNTS),
        "audit.assets",
        ASSET,
        "failed",
        "Audits of 2 accounts share asset",
        "network of its own",
    ),
    "no connector": (
        lambda estate: estate.tenable.connectors.clear(),
        "connector.status",
        "",
        "failed",
        "has no AWS connector",
        "Create one",
    ),
    "connectors not shown": (
        user(NO_ADMIN),
        "connector.status",
        "",
        "unchecked",
        "403",
        "Look at the connectors as an administrator",
    ),
    "trust of the connector": (
        connectors(status_message="AWS_INVALID_TRUST"),
        "connector.status",
        "AWS accounts",
        "failed",
        "AWS_INVALID_TRUST: the trust policy",
        "012615275169",
    ),
    "EC2 right of the connector": (
        connectors(status_message="Failed: AWS_MISSING_EC2_PERM."),
        "connector.status",
        "AWS accounts",
        "failed",
        "may not list EC2 instances",
        "ec2:DescribeInstances",
    ),
    "unknown code of the connector": (
        connectors(status_message="AWS_NEW_ERROR"),
        "connector.status",
        "AWS accounts",
        "failed",
        "not documented",
        "Correct the connector",
    ),
    "expired connector": (
        connectors(expired=True),
        "connector.status",
        "AWS accounts",
        "failed",
        "have expired",
        "new access key",
    ),
    "connector that has an error": (
        connectors(status="Error"),
        "connector.status",
        "AWS accounts",
        "failed",
        "Error",
        "Correct the connector",
    ),
    "old import of the connector": (
        connectors(last_sync_time="2021-07-22T14:31:27.098Z"),
        "connector.sync",
        "AWS accounts",
        "failed",
        "2021-07-22T14:31:27Z",
        "Start an import",
    ),
    "no import of the connector": (
        connectors(last_sync_time=None),
        "connector.sync",
        "AWS accounts",
        "failed",
        "never imported",
        "Start an import",
    ),
    "account without a connector": (
        connectors(params={"sub_accounts": [{"account_id": ACCOUNTS[0]}]}),
        "connector.accounts",
        "",
        "failed",
        f"No connector covers {ACCOUNTS[1]}",
        "Add the account",
    ),
    "account of a key": (
        connectors(type="aws", params={}),
        "connector.accounts",
        "",
        "unchecked",
        "one has a key",
        "Add the account",
    ),
    "no AWS connection": (
        lambda estate: estate.patch.delenv("AIRFLOW_CONN_HUB"),
        "aws.destinations",
        "'hub'",
        "failed",
        "There is no AWS connection 'hub'",
        "Correct the destinations",
    ),
    "wrong AWS key": (
        lambda estate: estate.connect_aws(("AKIAUNKNOWN000000000", "canary-aws-secret-7c41e09b52d8f6a3e1b0c9d4")),
        "aws.destinations",
        "'hub'",
        "failed",
        "InvalidClientTokenId",
        "AWS connection",
    ),
    "missing role": (
        lambda estate: estate.world.identities.remove_role(ROLE_OF_B),
        "aws.role",
        B,
        "failed",
        "AccessDenied",
        "Create the role",
    ),
    "Region not enabled": (
        lambda estate: estate.world.hubs.set(ACCOUNTS[1], REGION, "not_opted_in"),
        "aws.region",
        B,
        "failed",
        "UnrecognizedClientException",
        "Enable the Region",
    ),
    "hub off": (
        lambda estate: estate.world.hubs.disable(ACCOUNTS[1], REGION),
        "aws.hub",
        B,
        "failed",
        "not enabled",
        "Enable Security Hub CSPM",
    ),
    "only the new hub": (
        lambda estate: (
            estate.world.hubs.disable(ACCOUNTS[1], REGION),
            estate.world.set_options(estate.world.options.changed({"new_hub": True})),
        ),
        "aws.hub",
        B,
        "failed",
        "uses the new AWS Security Hub",
        "Enable Security Hub CSPM",
    ),
    "hub not described": (
        denied("securityhub:DescribeHub"),
        "aws.hub",
        B,
        "failed",
        "securityhub:DescribeHub",
        "Enable Security Hub CSPM",
    ),
    "not subscribed": (
        lambda estate: estate.world.hubs.set(ACCOUNTS[1], REGION, "enabled"),
        "aws.product",
        B,
        "failed",
        "not subscribed",
        "enable_product",
    ),
    "reading not allowed": (
        denied("securityhub:GetFindings"),
        "aws.get_findings",
        B,
        "failed",
        "securityhub:GetFindings",
        "Allow securityhub:GetFindings",
    ),
    "instances not described": (
        lambda estate: (resolving(estate), denied("ec2:DescribeInstances")(estate)),
        "aws.describe_instances",
        B,
        "failed",
        "Allow ec2:DescribeInstances",
        "deploy/iam/describe-instances.json",
    ),
    "role missing for instances": (
        lambda estate: (resolving(estate), estate.world.identities.remove_role(ROLE_OF_B)),
        "aws.describe_instances",
        B,
        "unchecked",
        "aws.role is not ok",
        "See aws.role",
    ),
    "refused import": (
        refused_before,
        "aws.import",
        A,
        "failed",
        "AccessDeniedException: no",
        "Allow securityhub:BatchImportFindings",
    ),
    "nothing imported yet": (lambda estate: None, "aws.import", B, "unchecked", "No run has imported", "Run the DAG"),
    "staging is a file": (read_only, "staging.write", "", "failed", "", "Correct [tenable] staging_path"),
    "first run of several workers": (
        other_executor,
        "staging.shared",
        "",
        "unchecked",
        "No earlier run",
        "the next run looks",
    ),
    "another disk": (
        lambda estate: other_executor(estate, {"host": "worker-1", "at": int(time.time()), "token": "x"}),
        "staging.shared",
        "",
        "failed",
        "does not see the file that worker worker-1 wrote",
        "all workers mount",
    ),
    "full disk": (
        lambda estate: estate.patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**29)),
        "staging.space",
        "",
        "failed",
        "0.5 GiB are free",
        "Free space",
    ),
    "open folder": (open_folder, "staging.permissions", "", "failed", "mode 0755", "0700"),
    "old Airflow": (version("2.10.5"), "airflow.version", "", "failed", "Airflow 2.10.5", "supported version"),
    "new Airflow": (version("3.4.0"), "airflow.version", "", "unchecked", "Airflow 3.4.0", "supported version"),
    "no triggerer": (
        health({"triggerer": {"status": None}}),
        "airflow.triggerer",
        "",
        "failed",
        "No triggerer is alive",
        "Start airflow triggerer",
    ),
    "no health": (health(None), "airflow.triggerer", "", "unchecked", "cannot be reached", "the UI shows"),
    "no pool": (
        in_database("slots_of_pool", None),
        "airflow.pool",
        "default_pool",
        "failed",
        "no such pool",
        "Create the pool",
    ),
    "pool without slots": (
        in_database("slots_of_pool", 0),
        "airflow.pool",
        "default_pool",
        "failed",
        "0 slots",
        "give it slots",
    ),
    "many runs": (
        in_database("max_active_runs_of", 16),
        "airflow.max_active_runs",
        "tenable_to_security_hub",
        "failed",
        "is 16",
        "Set max_active_runs=1",
    ),
}
#: Checks that fail in tests of their own: test_checked_places.py.
ELSEWHERE = {"aws.accounts", "aws.partition", "aws.bound"}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_has_its_line_and_its_remedy_and_stops_no_other_check(estate: Estate, name: str) -> None:
    breaks, check, subject, state, detail, remedy = FAILURES[name]
    breaks(estate)
    table = estate.check()
    assert {row["check"] for row in table} >= set(CHECKS) - SOMETIMES
    found = [row for row in table if row["check"] == check and (not subject or row["subject"] == subject)]
    assert [row["state"] for row in found] == [state], found
    assert detail in found[0]["detail"]
    assert remedy in found[0]["remedy"]
    assert all(row["remedy"] for row in table if row["state"] != "ok")
    assert "canary-secret-3f1b" not in str(table)


def test_ec2_is_tried_where_runs_ask_it_and_nowhere_else(estate: Estate) -> None:
    assert "aws.describe_instances" not in {row["check"] for row in estate.check(checks=["aws"])}
    resolving(estate)
    found = [row for row in estate.check(checks=["aws"]) if row["check"] == "aws.describe_instances"]
    assert [(row["subject"], row["state"], row["required"]) for row in found] == [(A, "ok", False), (B, "ok", False)]
    assert found[0]["detail"] == "DescribeInstances is allowed."
    [row] = [row for row in estate.check(destinations=[]) if row["check"] == "aws.describe_instances"]
    assert row["state"] == "unchecked"


def test_each_check_fails_once() -> None:
    failing = {check for _, check, _, state, _, _ in FAILURES.values() if state == "failed"}
    # Whether the user is shown deleted assets cannot be refuted, only proven.
    assert failing | ELSEWHERE == set(CHECKS) - {"tenable.deleted_assets"}


def test_everything_is_there(estate: Estate) -> None:
    # A file that another worker wrote.
    other_executor(estate)
    estate.check(checks=["staging"])
    estate.earlier = estate.xcoms["staging_marker"]
    estate.patch.setattr(socket, "gethostname", lambda: "worker-2")
    run = RunFolder(f"file://{estate.folder}/staging", "tenable_to_security_hub", "run-1")
    for account in ACCOUNTS:
        places.note_acceptance(run, account, REGION)
    in_database("slots_of_pool", 128)(estate)
    before = dict(estate.world.stats.calls)
    estate.tenable.calls.clear()
    table = estate.check(on_failure="fail")
    assert [row for row in table if row["state"] != "ok"] == []
    assert {row["check"] for row in table} == set(CHECKS) - SOMETIMES
    assert {row["subject"] for row in table if row["check"] == "aws.import"} == {A, B}
    # The user twice (whose keys, whose index), two exports that were cancelled, one list of each kind.
    wanted = {"session": 2, "vulns_export": 1, "assets_export": 1, "cancel": 2, "scanners": 1, "connectors": 1}
    assert estate.calls() == wanted
    assert {job.status(time.monotonic()) for job in estate.tenable.jobs.values()} <= {"CANCELLED", "FINISHED"}
    after = dict(estate.world.stats.calls)
    made = {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}
    assert made == {
        "GetCallerIdentity": 3,
        "AssumeRole": made["AssumeRole"],
        "DescribeHub": 2,
        "ListEnabledProductsForImport": 2,
        "GetFindings": 2,
    }
    assert made["AssumeRole"] <= 4
    assert not list(estate.world.findings)


def test_an_unknown_error_is_unchecked_without_its_text(estate: Estate) -> None:
    def fail(self: Any) -> None:
        raise RuntimeError("canary-secret-in-a-text")

    from airflow_provider_tenable.hooks.security_hub import SecurityHubHook

    estate.patch.setattr(SecurityHubHook, "takes_product", lambda *_: fail(None))
    table = estate.check()
    assert [row["state"] for row in table if row["check"] == "aws.product"] == ["unchecked", "unchecked"]
    assert "canary" not in str(table)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {"connectors": None},
        {"connectors": [None, 3, {"type": ["aws"]}, {"type": "aws", "name": {}, "params": [], "schedule": 9}]},
        {"connectors": [{"type": "aws", "name": "\x1b[31mred\n", "status_message": "<b>" * 9_000, "expired": "yes"}]},
        {
            "connectors": [
                {
                    "type": "aws_keyless",
                    "last_sync_time": "9999-99-99T00:00:00Z",
                    "schedule": {"units": "days", "value": 10**15},
                    "params": {"sub_accounts": [{"account_id": 12}, {"account_id": "../../1", "role_arn": "arn:x"}]},
                }
            ],
            "pagination": {"total": 10**30},
        },
    ],
    ids=plain,
)
def test_a_hostile_answer_about_connectors_is_a_bounded_line(estate: Estate, answer: Any) -> None:
    from airflow_provider_tenable.tenable_vm.calls import Caller

    original = Caller.json
    estate.patch.setattr(
        Caller,
        "json",
        lambda self, what, *rest, **more: answer if "connectors" in what else original(self, what, *rest, **more),
    )
    table = estate.check(checks=["connector"])
    assert table
    assert all(row["detail"].isprintable() and len(row["detail"]) <= 600 for row in table)
    assert all(row["subject"].isprintable() and len(row["subject"]) <= 100 for row in table)


@pytest.mark.parametrize(
    "granted",
    [None, {}, [None], [{"actions": "CanView"}], [{"actions": ["CanView"], "objects": [3, {"type": []}]}]],
    ids=str,
)
def test_a_hostile_answer_about_permissions_grants_nothing(estate: Estate, granted: Any) -> None:
    from sandbox.tenable import connectors as simulated

    user(NO_ADMIN)(estate)
    estate.patch.setattr(simulated, "_granted", lambda _: granted)
    [row] = estate.check(checks=["tenable.view"])
    assert row["state"] != "ok"


def test_text_of_services_cannot_forge_a_line_of_the_log(estate: Estate, caplog: pytest.LogCaptureFixture) -> None:
    connectors(name="x\nok  tenable.keys", status_message="\x1b[2Jgone")(estate)
    with caplog.at_level("INFO"):
        estate.check()
    assert "\x1b" not in caplog.text
    assert not re.search(r"^ok  tenable\.keys", caplog.text, re.M)


def test_the_page_shows_every_check_and_every_code_of_a_connector() -> None:
    from pathlib import Path

    from airflow_provider_tenable.requirements.of_connector import ERRORS

    page = (Path(__file__).parents[3] / "docs" / "requirements.md").read_text()
    rows = [
        f"| `{name}` | {check.what} | {'yes' if check.required else 'no'} | {check.remedy} |"
        for name, check in CHECKS.items()
    ]
    assert [line for line in page.split("## The checks")[1].splitlines() if line in rows] == rows
    for code, (meaning, advice) in ERRORS.items():
        assert f"| `{code}` | {meaning} | {advice}" in page
