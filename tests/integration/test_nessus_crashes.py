"""A scanner's tasks killed after each of their calls, and run again: one instance, one scanner, no secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.hooks.nessus_ec2 import NessusEc2Hook
from airflow_provider_tenable.operators.nessus_link import TenableStoreLinkingKeyOperator
from airflow_provider_tenable.tenable_vm.scanners import ScannersApi
from sandbox.tenable.scanners import LINKING_KEY
from tests.aws_services import AwsServices
from tests.integration.conftest import connect
from tests.integration.scanner_tasks import AWS, context, create, new_name, prerequisites, sensor, terminate
from tests.sandbox_driver import Sandbox

_READS = ("get_", "list_", "describe_")


class Killed(BaseException):
    """The worker's process has ended."""


class Killer:
    """Kills after the n-th call that changes something, at AWS or at Tenable. Before a call is after the one before.

    :ivar calls: the calls that were made since it was set.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number, self.calls = 0, 0
        aws_call, delete = NessusEc2Hook.call, ScannersApi.delete

        def call(hook: Any, service: str, operation: str, **arguments: Any) -> Any:
            if operation.startswith(_READS):
                return aws_call(hook, service, operation, **arguments)
            return self._around(lambda: aws_call(hook, service, operation, **arguments))

        monkeypatch.setattr(NessusEc2Hook, "call", call)
        monkeypatch.setattr(ScannersApi, "delete", lambda api, number: self._around(lambda: delete(api, number)))

    def _around(self, act: Callable[[], Any]) -> Any:
        self.calls += 1
        result = act()
        if self.calls == self.number:
            raise Killed
        return result

    def everywhere(self) -> Iterator[None]:
        """Each place in turn, until one is not reached any more."""
        for self.number in range(1, 40):
            self.calls = 0
            yield
            if self.calls < self.number:
                assert self.number > 1, "the control: there was a call to be killed at"
                return
        raise AssertionError("this never ends")

    def run(self, make: Callable[[], Any], given: Callable[[], dict[str, Any]] = context) -> Any:
        """Run a task that may be killed, then once more as its next try."""
        try:
            return make().execute(given())
        except Killed:
            self.calls, number, self.number = 0, self.number, 0
            try:
                return make().execute({**given(), **context(try_number=2)})
            finally:
                self.number, self.calls = number, number


@pytest.fixture
def aws(aws_services: AwsServices, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AwsServices:
    connect(monkeypatch, "nessus_aws", aws_services.connection())
    return aws_services


@pytest.fixture
def killer(aws: AwsServices, monkeypatch: pytest.MonkeyPatch) -> Killer:
    return Killer(monkeypatch)


def test_prerequisites_killed_anywhere_are_complete_after_the_next_try(aws: AwsServices, killer: Killer) -> None:
    for _ in killer.everywhere():
        name = new_name()
        asked: dict[str, Any] = {"ingress": [{"port": 8834, "cidr": "10.0.0.0/8"}]}
        result = killer.run(lambda: prerequisites(name, **asked))  # noqa: B023
        assert result["differences"] == []
        killer.number, number = 0, killer.number
        again = prerequisites(name, **asked).execute(context())
        assert (again["created"], again["differences"]) == ([], [])
        killer.number = number


def test_launch_killed_anywhere_leaves_one_instance(aws: AwsServices, killer: Killer) -> None:
    for _ in killer.everywhere():
        name = new_name()
        result = killer.run(lambda: create(name))  # noqa: B023
        [instance] = aws.instances(name, alive=False)
        assert result["instance_id"] == instance["InstanceId"]


def test_removal_killed_anywhere_leaves_nothing(aws: AwsServices, sandbox: Sandbox, killer: Killer) -> None:
    for _ in killer.everywhere():
        name, number, killer.number = new_name(), killer.number, 0
        scanner = create(name, prerequisites=prerequisites(name).execute(context())).execute(context())
        sandbox.tenable("scanners", {"name": name})
        killer.number, killer.calls = number, 0
        assert killer.run(lambda: terminate(scanner=scanner))["left"] == []  # noqa: B023
        assert aws.instances(name) == []
        scanners = sandbox.client.get(f"{sandbox.process.tenable}/scanners", headers=_keys(sandbox)).json()["scanners"]
        assert name not in [entry["name"] for entry in scanners]
        role = f"nessus-{name.replace(' ', '-')}"
        with aws.client("iam") as iam:
            assert role not in [each["RoleName"] for each in iam.list_roles()["Roles"]]


def _keys(sandbox: Sandbox) -> dict[str, str]:
    facts = sandbox.process.facts
    return {"X-ApiKeys": f"accessKey={facts['access_key']};secretKey={facts['secret_key']}"}


def test_secrets_are_nowhere_but_in_their_store(
    aws: AwsServices, sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: Any, monkeypatch: Any
) -> None:
    """The linking key, and the keys of both connections, through every task of a scanner's life."""
    caplog.set_level(logging.DEBUG)
    name = new_name()
    tasks: list[Any] = [
        prerequisites(name),
        TenableStoreLinkingKeyOperator(task_id="store", name=name, **AWS),
    ]
    results = [task.execute(context()) for task in tasks]
    tasks.append(create(name, prerequisites=results[0]))
    results.append(tasks[-1].execute(context()))
    scanner = {**results[-1], "launched_at": None}
    assert aws.boot(scanner["instance_id"], sandbox, tmp_path / "machine")
    tasks.append(sensor(scanner=scanner))
    results.append(tasks[-1].execute(context()))
    # What machines could not link with: read back with another value than Tenable's.
    store = TenableStoreLinkingKeyOperator(task_id="store", name=name, **AWS)
    before = capsys.readouterr()
    with aws.client("ssm") as ssm:
        where = f"/tenable/linking-key/{name.replace(' ', '-')}"
        ssm.put_parameter(Name=where, Type="SecureString", Value="0ld" * 20, Overwrite=True)
    # Ours, not a task's: botocore logs what it sends, and Airflow 2 logs to stdout.
    caplog.clear()
    capsys.readouterr()
    results.append(store.execute(context()))
    logged = caplog.text
    tasks += [store, terminate(scanner=scanner)]
    results.append(tasks[-1].execute(context()))
    secrets = [
        LINKING_KEY,
        "0ld" * 20,
        aws.connection()["password"],
        sandbox.process.facts["secret_key"],
    ]
    output = capsys.readouterr()
    rendered = [[getattr(task, field) for field in task.template_fields] for task in tasks]
    shown = {
        "results": json.dumps(results),
        "log": logged + caplog.text + before.out + before.err + output.out + output.err,
        "fields": str(rendered) + "".join(str(vars(task)) + repr(task.hook) for task in tasks),
        "user data": aws.user_data(scanner["instance_id"]),
    }
    assert "GetParameter" in shown["log"], "the control: botocore logs its requests and responses"
    assert [(place, secret) for place, text in shown.items() for secret in secrets if secret in text] == []
