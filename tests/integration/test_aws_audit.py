"""The user of an AWS audit and the rotation of its keys: real operators, a real moto server, the sandbox's Tenable."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable._compat import AirflowFailException
from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.hooks.aws_audit import AuditUserHook
from airflow_provider_tenable.hooks.nessus_ec2 import NessusEc2Hook
from airflow_provider_tenable.scan import audit_key
from airflow_provider_tenable.tenable_vm.credentials import CredentialsApi
from tests.aws_services import AwsServices
from tests.integration.audit_tasks import (
    ACCOUNT,
    ISSUED,
    audit_user,
    held,
    keys_of,
    new_user,
    rotate,
    use,
    watch,
    works,
)
from tests.integration.conftest import connect
from tests.sandbox_driver import Sandbox

POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}


@pytest.fixture
def aws(aws_services: AwsServices, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AwsServices:
    connect(monkeypatch, "audit_aws", aws_services.connection())
    watch(monkeypatch)
    return aws_services


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nothing here waits for IAM; what would, says for how long."""
    slept: list[float] = []
    monkeypatch.setattr("airflow_provider_tenable.operators.aws_audit.time.sleep", slept.append)
    return slept


def context(run_id: str = "r", **fields: Any) -> dict[str, Any]:
    names = {"dag_id": "d", "run_id": run_id, "task_id": "t", "map_index": -1, "max_tries": 2, **fields}
    return {"ti": SimpleNamespace(**names), "dag_run": SimpleNamespace(dag_id="d", run_id=run_id)}


def prepared() -> str:
    user = new_user()
    audit_user(user).execute(context())
    return user


class TestUser:
    def test_group_and_user_are_created_once(self, aws: AwsServices) -> None:
        user = new_user()
        made = audit_user(user, security_audit=True, tags={"team": "security"}, path="/tenable/").execute(context())
        assert made == {
            "account": ACCOUNT,
            "partition": "aws",
            "group": f"{user}s",
            "user": user,
            "created": [f"group {user}s", f"user {user}"],
            "drift": [],
        }
        with aws.client("iam") as iam:
            attached = iam.list_attached_group_policies(GroupName=f"{user}s")["AttachedPolicies"]
            found = iam.get_user(UserName=user)["User"]
            members = iam.get_group(GroupName=f"{user}s")["Users"]
        assert {each["PolicyArn"] for each in attached} == {
            "arn:aws:iam::aws:policy/ReadOnlyAccess",
            "arn:aws:iam::aws:policy/SecurityAudit",
        }
        assert {tag["Key"]: tag["Value"] for tag in found["Tags"]} == {
            "team": "security",
            "tenable:audit-user": "true",
            "managed-by": "airflow-provider-tenable",
        }
        assert found["Path"] == "/tenable/"
        assert [member["UserName"] for member in members] == [user]
        again = audit_user(user, security_audit=True).execute(context())
        assert (again["created"], again["drift"]) == ([], [])

    def test_drift_is_reported_and_nothing_is_removed(
        self, aws: AwsServices, caplog: pytest.LogCaptureFixture, capsys: Any
    ) -> None:
        user = prepared()
        with aws.client("iam") as iam:
            iam.create_group(GroupName=f"{user}-admins")
            iam.add_user_to_group(GroupName=f"{user}-admins", UserName=user)
            iam.attach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
            iam.put_user_policy(UserName=user, PolicyName="own", PolicyDocument=json.dumps(POLICY))
            iam.attach_group_policy(GroupName=f"{user}s", PolicyArn="arn:aws:iam::aws:policy/SecurityAudit")
            iam.put_group_policy(GroupName=f"{user}s", PolicyName="more", PolicyDocument=json.dumps(POLICY))
            iam.create_login_profile(UserName=user, Password="canary-password-1")
        drift = audit_user(user).execute(context())["drift"]
        assert drift == [
            f"group {user}s also has policy arn:aws:iam::aws:policy/SecurityAudit",
            f"group {user}s also has policy more",
            f"user {user} has policy arn:aws:iam::aws:policy/AdministratorAccess of its own",
            f"user {user} has policy own of its own",
            f"user {user} has a password for the console, which Tenable does not need",
            f"user {user} is also in group {user}-admins",
        ]
        with aws.client("iam") as iam:
            assert len(iam.list_groups_for_user(UserName=user)["Groups"]) == 2
            assert iam.list_user_policies(UserName=user)["PolicyNames"] == ["own"]
        output = capsys.readouterr()
        assert "Nothing was removed" in caplog.text + output.out + output.err

    def test_what_was_taken_away_is_given_back(self, aws: AwsServices) -> None:
        user = prepared()
        with aws.client("iam") as iam:
            iam.detach_group_policy(GroupName=f"{user}s", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
            iam.remove_user_from_group(GroupName=f"{user}s", UserName=user)
        assert audit_user(user).execute(context())["created"] == []
        with aws.client("iam") as iam:
            assert len(iam.list_attached_group_policies(GroupName=f"{user}s")["AttachedPolicies"]) == 1
            assert len(iam.list_groups_for_user(UserName=user)["Groups"]) == 1

    def test_a_user_of_somebody_else_is_left_alone(self, aws: AwsServices, sandbox: Sandbox) -> None:
        user = new_user()
        with aws.client("iam") as iam:
            iam.create_user(UserName=user)
        for task in (audit_user(user), rotate(user)):
            with pytest.raises(AirflowFailException, match=r"does not carry tag tenable:audit-user=true.*Nothing was"):
                task.execute(context())
        with aws.client("iam") as iam:
            assert iam.list_groups_for_user(UserName=user)["Groups"] == []
            assert f"{user}s" not in [group["GroupName"] for group in iam.list_groups()["Groups"]]
        assert keys_of(aws, user) == {}

    def test_other_members_of_a_group_get_no_permission(self, aws: AwsServices) -> None:
        user, other = new_user(), new_user()
        with aws.client("iam") as iam:
            iam.create_group(GroupName=f"{user}s")
            iam.create_user(UserName=other)
            iam.add_user_to_group(GroupName=f"{user}s", UserName=other)
        with pytest.raises(AirflowFailException, match=rf"has other members \({other}\), who would get"):
            audit_user(user).execute(context())
        with aws.client("iam") as iam:
            assert iam.list_attached_group_policies(GroupName=f"{user}s")["AttachedPolicies"] == []
            assert user not in [each["UserName"] for each in iam.list_users()["Users"]]

    def test_a_dry_run_creates_nothing(self, aws: AwsServices, caplog: pytest.LogCaptureFixture, capsys: Any) -> None:
        user = new_user()
        caplog.set_level(logging.INFO)
        assert audit_user(user, dry_run=True).execute(context())["created"] == []
        output = capsys.readouterr()
        logged = caplog.text + output.out + output.err
        for step in (
            f"create group {user}s",
            "attach policy arn:aws:iam",
            f"create user {user}",
            f"add user {user} to",
        ):
            assert f"dry_run: would {step}" in logged
        with aws.client("iam") as iam:
            assert user not in [each["UserName"] for each in iam.list_users()["Users"]]

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ({"user": "a b", "group": "g"}, "user is 'a b'"),
            ({"user": "x" * 65, "group": "g"}, "user is 'xxx"),
            ({"group": "a/b"}, "group is 'a/b'"),
            ({"path": "tenable"}, "path is 'tenable'"),
            ({"extra_policies": ["a b"]}, "policy is 'a b'"),
            ({"account": "1"}, "not an AWS account id"),
            ({"account": "444455556666"}, f"leads to account {ACCOUNT}, expected 444455556666"),
            ({"role_name": "R"}, "Give account, too"),
            ({"role_name": "R R", "account": ACCOUNT}, "not the name of an IAM role"),
            ({"external_id": "a b"}, "not an external id"),
            ({"aws_conn_id": "nobody"}, "There is no AWS connection 'nobody'"),
        ],
    )
    def test_wrong_arguments_are_named(self, aws: AwsServices, arguments: dict[str, Any], problem: str) -> None:
        with pytest.raises(AirflowFailException, match=problem):
            audit_user(**{"user": new_user(), **arguments}).execute(context())


class TestRotation:
    def test_tenable_gets_a_key_and_the_next_one(self, aws: AwsServices, sandbox: Sandbox) -> None:
        user = prepared()
        first = rotate(user).execute(context("one"))
        assert works(aws, sandbox, user)
        credential = held(sandbox, f"audit {user}")
        assert credential is not None
        assert first == {
            "account": ACCOUNT,
            "partition": "aws",
            "user": user,
            "credential": f"audit {user}",
            "credential_uuid": credential["uuid"],
            "key_suffix": credential["settings"]["access_key_id"][-4:],
            "rotated": True,
            "old_key": "none",
        }
        assert credential["description"].startswith(
            f"AWS account {ACCOUNT}, user {user}, key ...{first['key_suffix']}, since 20"
        )
        second = rotate(user).execute(context("two"))
        assert (second["credential_uuid"], second["old_key"]) == (credential["uuid"], "active")
        assert works(aws, sandbox, user)
        assert sorted(keys_of(aws, user).values()) == ["Active", "Active"]
        # Everything has been used, as by audits: the key before the last is known to be superseded.
        for key in keys_of(aws, user):
            use(aws, key)
        third = rotate(user).execute(context("three"))
        assert works(aws, sandbox, user)
        assert {key[-4:] for key in keys_of(aws, user)} == {second["key_suffix"], third["key_suffix"]}

    @pytest.mark.parametrize(("keep", "old"), [("deactivate", "inactive"), ("delete", "deleted")])
    def test_the_old_key_is_treated_as_wanted(self, aws: AwsServices, sandbox: Sandbox, keep: str, old: str) -> None:
        user = prepared()
        for number in range(3):
            rotated = rotate(user, keep_old=keep).execute(context(f"{number}"))
            assert works(aws, sandbox, user)
            assert rotated["old_key"] == (old if number else "none")
        assert sorted(keys_of(aws, user).values()) == (["Active", "Inactive"] if old == "inactive" else ["Active"])

    def test_the_default_name_has_the_account(self, aws: AwsServices, sandbox: Sandbox) -> None:
        user = prepared()
        assert rotate(user, credential=None).execute(context())["credential"] == f"AWS {ACCOUNT} audit"

    def test_a_young_key_is_kept(self, aws: AwsServices, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        user = prepared()
        first = rotate(user, max_age_days=30).execute(context("one"))
        kept = rotate(user, max_age_days=30).execute(context("two"))
        assert (kept["rotated"], kept["key_suffix"]) == (False, first["key_suffix"])
        assert len(keys_of(aws, user)) == 1
        real = audit_key.rotate

        def later(*args: Any, **kwargs: Any) -> Any:
            return real(*args, **kwargs, now=lambda: datetime.now(UTC) + timedelta(days=31))

        monkeypatch.setattr(audit_key, "rotate", later)
        assert rotate(user, max_age_days=30).execute(context("three"))["rotated"] is True
        # One that somebody has deactivated is of no use, however young.
        with aws.client("iam") as iam:
            for key in keys_of(aws, user):
                iam.update_access_key(UserName=user, AccessKeyId=key, Status="Inactive")
        monkeypatch.setattr(audit_key, "rotate", real)
        assert rotate(user, max_age_days=30).execute(context("four"))["rotated"] is True
        assert works(aws, sandbox, user)

    def test_a_retry_does_not_rotate_again_but_a_cleared_task_does(self, aws: AwsServices, sandbox: Sandbox) -> None:
        user = prepared()
        first = rotate(user).execute(context())
        assert rotate(user).execute(context()) == first
        assert len(keys_of(aws, user)) == 1
        assert rotate(user).execute(context(max_tries=5))["key_suffix"] != first["key_suffix"]

    def test_a_role_in_another_account(self, aws: AwsServices, sandbox: Sandbox) -> None:
        user, account = new_user(), "222233334444"
        target = {"account": account, "role_name": "TenableAuditAdmin", "external_id": "x-1"}
        assert audit_user(user, **target).execute(context())["account"] == account
        rotated = rotate(user, **target).execute(context())
        assert (rotated["account"], rotated["rotated"]) == (account, True)
        credential = held(sandbox, f"audit {user}")
        assert credential is not None
        assert f"AWS account {account}" in credential["description"]
        with aws.client("iam") as iam:
            assert user not in [each["UserName"] for each in iam.list_users()["Users"]]

    def test_two_keys_in_use_are_named_and_nothing_is_changed(self, aws: AwsServices, sandbox: Sandbox) -> None:
        user = prepared()
        with aws.client("iam") as iam:
            keys = [iam.create_access_key(UserName=user)["AccessKey"]["AccessKeyId"] for _ in range(2)]
        for key in keys:
            use(aws, key)
        with pytest.raises(AirflowFailException, match=r"has two active keys in use \(\.\.\.\w{4}, \.\.\.\w{4}\)"):
            rotate(user).execute(context())
        assert keys_of(aws, user) == dict.fromkeys(keys, "Active")
        assert held(sandbox, f"audit {user}") is None
        # One that was switched off makes room.
        with aws.client("iam") as iam:
            iam.update_access_key(UserName=user, AccessKeyId=keys[0], Status="Inactive")
        rotate(user).execute(context())
        assert keys[0] not in keys_of(aws, user)
        assert works(aws, sandbox, user)

    def test_a_credential_of_others_is_not_replaced(self, aws: AwsServices, sandbox: Sandbox) -> None:
        user, other = prepared(), prepared()
        rotate(other).execute(context())
        with pytest.raises(AirflowFailException, match=f"has a key of user {other} in account {ACCOUNT}, not of user"):
            rotate(user, credential=f"audit {other}").execute(context())
        facts = sandbox.process.facts
        body = {
            "name": f"audit {user}",
            "type": "Amazon AWS",
            "settings": {"access_key_id": "AKIAHANDMADE", "secret_key": "handmade"},
        }
        keys = {"X-ApiKeys": f"accessKey={facts['access_key']};secretKey={facts['secret_key']}"}
        assert sandbox.client.post(f"{sandbox.process.tenable}/credentials", json=body, headers=keys).is_success
        with pytest.raises(AirflowFailException, match="was not written by this package"):
            rotate(user).execute(context())
        assert keys_of(aws, user) == {}
        assert rotate(user, adopt=True).execute(context())["rotated"] is True
        assert works(aws, sandbox, user)

    def test_a_user_that_is_not_there(self, aws: AwsServices) -> None:
        with pytest.raises(AirflowFailException, match="Create it with TenableAuditUserOperator"):
            rotate(new_user()).execute(context())
        with pytest.raises(AirflowFailException, match="keep_old is 'for_ever'"):
            rotate(new_user(), keep_old="for_ever").execute(context())

    def test_a_key_that_iam_does_not_know_yet_is_waited_for(
        self, aws: AwsServices, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, naps: list[float]
    ) -> None:
        user, real, unknown = prepared(), AuditUserHook.whose_key, [2]

        def whose(hook: AuditUserHook, key: str, secret: str) -> Any:
            unknown[0] -= 1
            return None if unknown[0] >= 0 else real(hook, key, secret)

        monkeypatch.setattr(AuditUserHook, "whose_key", whose)
        assert rotate(user).execute(context())["rotated"] is True
        assert naps == [3.0, 3.0]
        unknown[0] = 1_000
        with pytest.raises(TemporaryError, match=r"not usable for 60 s .* Tenable still has the key that it had"):
            rotate(user).execute(context("two"))
        assert works(aws, sandbox, user)
        unknown[0] = 0
        rotate(user).execute(context("three"))
        assert works(aws, sandbox, user)
        assert len(keys_of(aws, user)) == 2

    def test_a_key_of_another_account_is_deleted(
        self, aws: AwsServices, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        user = prepared()
        monkeypatch.setattr(
            AuditUserHook, "whose_key", lambda *_: SimpleNamespace(account="444455556666", partition="aws")
        )
        with pytest.raises(AirflowFailException, match=f"belongs to account 444455556666, expected {ACCOUNT}"):
            rotate(user).execute(context())
        assert keys_of(aws, user) == {}
        assert held(sandbox, f"audit {user}") is None

    @pytest.mark.parametrize("operation", ["credential_create", "credential_update"])
    @pytest.mark.parametrize("fault", [{"do": "status", "status": 500}, {"do": "late_status", "status": 504}])
    def test_an_answer_of_tenable_that_is_lost(
        self, aws: AwsServices, sandbox: Sandbox, operation: str, fault: dict[str, Any]
    ) -> None:
        user = prepared()
        if operation == "credential_update":
            rotate(user).execute(context("before"))
        sandbox.fault({"on": operation, "times": 1 if operation == "credential_create" else 9, **fault})
        with pytest.raises(TemporaryError):
            rotate(user).execute(context())
        assert operation == "credential_create" or works(aws, sandbox, user), "Tenable has one valid key"
        sandbox.clear_faults()
        rotate(user).execute(context())
        assert works(aws, sandbox, user)
        assert len(keys_of(aws, user)) <= 2
        rotate(user).execute(context("after"))
        assert works(aws, sandbox, user)

    def test_a_key_that_another_run_has_removed_meanwhile(
        self, aws: AwsServices, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        user, put = prepared(), CredentialsApi.put
        rotate(user, keep_old="delete").execute(context("before"))

        def steal(api: Any, **arguments: Any) -> str:
            uuid = put(api, **arguments)
            with aws.client("iam") as iam:
                iam.delete_access_key(UserName=user, AccessKeyId=arguments["settings"]["access_key_id"])
            return uuid

        monkeypatch.setattr(CredentialsApi, "put", steal)
        with pytest.raises(TemporaryError, match="The old key is still active"):
            rotate(user, keep_old="delete").execute(context())
        monkeypatch.setattr(CredentialsApi, "put", put)
        assert list(keys_of(aws, user).values()) == ["Active"]
        rotate(user, keep_old="delete").execute(context())
        assert works(aws, sandbox, user)


class Killed(BaseException):
    """The worker's process has ended."""


class Killer:
    """Kills after the n-th call that changes something, at AWS or at Tenable, or that uses the new key."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number, self.calls = 0, 0
        aws_call, put, whose_key = NessusEc2Hook.call, CredentialsApi.put, AuditUserHook.whose_key

        def call(hook: Any, service: str, operation: str, **arguments: Any) -> Any:
            if operation.startswith(("get_", "list_")):
                return aws_call(hook, service, operation, **arguments)
            return self._around(lambda: aws_call(hook, service, operation, **arguments))

        monkeypatch.setattr(NessusEc2Hook, "call", call)
        monkeypatch.setattr(CredentialsApi, "put", lambda api, **fields: self._around(lambda: put(api, **fields)))
        monkeypatch.setattr(AuditUserHook, "whose_key", lambda hook, *key: self._around(lambda: whose_key(hook, *key)))

    def _around(self, act: Callable[[], Any]) -> Any:
        self.calls += 1
        result = act()
        if self.calls == self.number:
            raise Killed
        return result

    def everywhere(self) -> Iterator[int]:
        """Each place in turn, until one is not reached any more."""
        for number in range(1, 20):
            yield number
            if self.calls < number:
                assert number > 3, "the control: there were calls to be killed at"
                return
        raise AssertionError("this never ends")

    def kill(self, number: int, act: Callable[[], Any]) -> bool:
        """Whether the act was killed."""
        self.number, self.calls = number, 0
        try:
            act()
        except Killed:
            return True
        finally:
            self.number = 0
        return False


@pytest.mark.parametrize(("before", "keep"), [(0, "until_next"), (1, "delete"), (2, "until_next"), (2, "deactivate")])
def test_a_rotation_killed_anywhere_leaves_tenable_with_one_valid_key(
    aws: AwsServices, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, before: int, keep: str
) -> None:
    killer = Killer(monkeypatch)
    for number in killer.everywhere():
        user = prepared()
        for run in range(before):
            rotate(user, keep_old=keep).execute(context(f"before {run}"))
        killed = killer.kill(number, lambda: rotate(user, keep_old=keep).execute(context()))  # noqa: B023
        calls = killer.calls
        assert works(aws, sandbox, user) or not before, "Tenable has one valid key"
        assert len(keys_of(aws, user)) <= 2
        # As its next attempt, and then the next run.
        rotated = rotate(user, keep_old=keep).execute(context())
        assert works(aws, sandbox, user)
        [named] = [key for key in keys_of(aws, user) if key[-4:] == rotated["key_suffix"]]
        for key in keys_of(aws, user):
            use(aws, key)
        if keep != "until_next" and before:
            assert {status for key, status in keys_of(aws, user).items() if key != named} <= {"Inactive"}
        rotate(user, keep_old=keep).execute(context("next")) if before or not killed else None
        assert works(aws, sandbox, user)
        killer.calls = calls


def test_no_key_is_anywhere_but_in_tenable(
    aws: AwsServices, sandbox: Sandbox, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    user = new_user()
    tasks: list[Any] = [audit_user(user), rotate(user), rotate(user, keep_old="delete")]
    results = [task.execute(context(f"{number}")) for number, task in enumerate(tasks)]
    sandbox.fault({"on": "credential_update", "do": "status", "status": 400, "times": 1})
    tasks.append(rotate(user))
    with pytest.raises(AirflowFailException) as refused:
        tasks[-1].execute(context("refused"))
    output = capsys.readouterr()
    credential = held(sandbox, f"audit {user}")
    assert credential is not None
    secrets = [
        *ISSUED.values(),
        aws.connection()["password"],
        sandbox.process.facts["secret_key"],
    ]
    assert credential["settings"]["secret_key"] in secrets, "the control: these are the keys"
    shown = {
        "results": json.dumps(results),
        "error": f"{refused.value}{refused.value.__cause__!r}",
        "log": caplog.text + output.out + output.err,
        "fields": "".join(
            f"{vars(task)}{task.hook!r}{[getattr(task, field) for field in task.template_fields]}" for task in tasks
        ),
    }
    assert "CreateAccessKey" in shown["log"], "the control: botocore logs its requests and responses"
    assert [(place, secret) for place, text in shown.items() for secret in secrets if secret in text] == []
