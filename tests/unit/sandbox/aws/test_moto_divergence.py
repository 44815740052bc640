"""What moto accepts and Security Hub refuses. The same calls go to moto and to the strict sandbox; the table of
differences stands in docs/reliability.md.

It is a negative control: a suite whose stand-in is moto would be green with every one of these mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

pytest.importorskip("moto.securityhub", reason="the moto that this Airflow's constraints allow knows no Security Hub")

from conftest import ACCOUNT, CENTRAL_KEY, OTHER, Sandbox
from moto import mock_aws

PAGE = Path(__file__).parents[4] / "docs" / "reliability.md"
NEVER_CHECKED = Config(parameter_validation=False, retries={"total_max_attempts": 1})


class Hub:
    """One of the two stand-ins.

    :param client: makes a Security Hub client of a secret key.
    :param stored: the stored finding of an id.
    """

    def __init__(
        self, client: Callable[[str], Any], stored: Callable[[str], Any], make: Callable[..., dict[str, Any]]
    ) -> None:
        self.client, self.stored, self.make = client, stored, make

    def send(self, *findings: dict[str, Any], secret: str = CENTRAL_KEY[1]) -> str:
        """``accepted``, ``refused`` (FailedFindings), or the code of the refused call."""
        try:
            answer = self.client(secret).batch_import_findings(Findings=list(findings))
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "refused" if answer["FailedCount"] else "accepted"


def _sent(**changes: Any) -> Callable[[Hub], str]:
    return lambda hub: hub.send(hub.make(**changes))


def _older(hub: Hub) -> str:
    hub.send(hub.make(RecordState="ARCHIVED"))
    hub.send(hub.make(UpdatedAt="2024-02-02T00:00:00.000Z", RecordState="ACTIVE"))
    return "ignored" if hub.stored(hub.make()["Id"])["RecordState"] == "ARCHIVED" else "taken"


def _workflow(hub: Hub) -> str:
    hub.send(hub.make(Workflow={"Status": "SUPPRESSED"}))
    hub.send(hub.make(UpdatedAt="2024-04-01T00:00:00.000Z", Workflow={"Status": "NEW"}))
    return "kept" if hub.stored(hub.make()["Id"])["Workflow"]["Status"] == "SUPPRESSED" else "overwritten"


def _too_many(hub: Hub) -> str:
    return hub.send(*(hub.make(Id=f"us-east-1/{ACCOUNT}/i-1/{number}/tcp/443") for number in range(101)))


def _forty_calls(hub: Hub) -> str:
    client = hub.client(CENTRAL_KEY[1])
    try:
        for _ in range(45):
            client.batch_import_findings(Findings=[hub.make()])
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "accepted"


#: What is done -> (how, what the strict sandbox makes of it, what moto makes of it).
CASES: dict[str, tuple[Callable[[Hub], str], str, str]] = {
    "a finding without a title": (_sent(Title=None), "refused", "accepted"),
    "a title of 257 characters": (_sent(Title="x" * 257), "refused", "accepted"),
    "a finding of 300 KB": (
        _sent(ProductFields={f"k/{number}": "x" * 2_000 for number in range(150)}),
        "refused",
        "accepted",
    ),
    "an invalid time": (_sent(UpdatedAt="yesterday"), "refused", "accepted"),
    "an invalid severity": (
        _sent(FindingProviderFields={"Severity": {"Label": "INFO"}, "Types": ["a/b/c"]}),
        "refused",
        "accepted",
    ),
    "101 findings in a call": (_too_many, "InvalidInputException", "accepted"),
    "a product of another Region": (
        _sent(ProductArn="arn:aws:securityhub:eu-west-1::product/tenable/vulnerability-management"),
        "AccessDeniedException",
        "accepted",
    ),
    "a finding of another account": (_sent(AwsAccountId=OTHER), "AccessDeniedException", "accepted"),
    "a wrong secret key": (
        lambda hub: hub.send(hub.make(), secret="another-secret-key-of-forty-characters00"),
        "InvalidSignatureException",
        "accepted",
    ),
    "an older version of a finding": (_older, "ignored", "taken"),
    "a workflow status after the customer's": (_workflow, "kept", "overwritten"),
    "45 calls at once": (_forty_calls, "TooManyRequestsException", "accepted"),
}


@pytest.fixture
def strict(sandbox: Sandbox, make_finding: Callable[..., dict[str, Any]]) -> Hub:
    return Hub(
        lambda secret: sandbox.client(key=(CENTRAL_KEY[0], secret), parameter_validation=False),
        sandbox.stored,
        make_finding,
    )


@pytest.fixture
def moto(make_finding: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with mock_aws():

        def client(secret: str) -> Any:
            return boto3.client(
                "securityhub",
                region_name="us-east-1",
                aws_access_key_id=CENTRAL_KEY[0],
                aws_secret_access_key=secret,
                config=NEVER_CHECKED,
            )

        def stored(finding_id: str) -> Any:
            (found,) = (each for each in client(CENTRAL_KEY[1]).get_findings()["Findings"] if each["Id"] == finding_id)
            return found

        yield Hub(client, stored, make_finding)


@pytest.mark.parametrize("case", CASES)
def test_strict_sandbox_refuses_what_security_hub_refuses(strict: Hub, case: str) -> None:
    do, expected, _ = CASES[case]
    assert do(strict) == expected


@pytest.mark.parametrize("case", CASES)
def test_moto_takes_it_all(moto: Hub, case: str) -> None:
    """Where moto has become stricter, the table has to say so."""
    do, _, expected = CASES[case]
    assert do(moto) == expected


def test_the_table_in_the_docs_has_these_cases() -> None:
    rows = PAGE.read_text().split("| input |")[1].split("\n\n")[0].splitlines()[2:]
    said = [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]
    assert said == [[case, strict, moto] for case, (_, strict, moto) in CASES.items()]
