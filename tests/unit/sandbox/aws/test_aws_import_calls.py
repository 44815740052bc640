"""BatchImportFindings: refusals of the entire call, and of single findings."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

ACCOUNT, OTHER = "111122223333", "222233334444"
PRODUCT = "arn:aws:securityhub:us-east-1::product/tenable/vulnerability-management"
CALLER = "arn:aws:iam::111122223333:user/tenable-importer"

MakeFinding = Callable[..., dict[str, Any]]


def refusal(call: Any, *arguments: Any, **named: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as raised:
        call(*arguments, **named)
    answer = raised.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def denied(product: str) -> tuple[str, int, str]:
    text = f"User: {CALLER} is not authorized to perform: securityhub:BatchImportFindings on resource: {product}"
    return "AccessDeniedException", 403, text


def total(sandbox: Any) -> int:
    return int(sandbox.control("summary")["total"])


def test_good_finding_is_imported_by_boto3_with_all_its_checks_on(sandbox: Any, make_finding: MakeFinding) -> None:
    answer = sandbox.client().batch_import_findings(Findings=[make_finding()])
    assert (answer["SuccessCount"], answer["FailedCount"], answer["FailedFindings"]) == (1, 0, [])
    assert total(sandbox) == 1


def test_hundred_findings_pass_and_one_more_is_refused(sandbox: Any, make_finding: MakeFinding) -> None:
    findings = [make_finding(Id=f"finding/{number}") for number in range(101)]
    assert refusal(sandbox.send, *findings)[:2] == ("InvalidInputException", 400)
    assert total(sandbox) == 0
    assert sandbox.send(*findings[:100])["SuccessCount"] == 100


def test_empty_batch_is_refused(sandbox: Any) -> None:
    assert refusal(sandbox.send)[:2] == ("InvalidInputException", 400)


def test_bad_finding_fails_alone(sandbox: Any, make_finding: MakeFinding) -> None:
    answer = sandbox.send(make_finding(Id="a"), make_finding(Id="b", Title=""), make_finding(Id="c"))
    assert (answer["SuccessCount"], answer["FailedCount"]) == (2, 1)
    (failed,) = answer["FailedFindings"]
    assert failed == {
        "Id": "b",
        "ErrorCode": "InvalidInput",
        "ErrorMessage": "Finding does not adhere to Amazon Finding Format. data.Title should NOT be shorter than 1 "
        "characters.",
    }


def test_finding_without_id_fails_alone(sandbox: Any, make_finding: MakeFinding) -> None:
    (failed,) = sandbox.send(make_finding(), make_finding(Id=None))["FailedFindings"]
    assert failed["Id"] == ""


def test_finding_over_240_kb_fails_alone(sandbox: Any, make_finding: MakeFinding) -> None:
    big = make_finding(Id="big")
    big["Vulnerabilities"] = [
        {"Id": f"CVE-2024-{n}", "ReferenceUrls": ["https://a.b/" + "x" * 900]} for n in range(260)
    ]
    answer = sandbox.send(big, make_finding())
    assert [failed["Id"] for failed in answer["FailedFindings"]] == ["big"]
    assert "maximum allowed size" in answer["FailedFindings"][0]["ErrorMessage"]


def test_body_over_6_mb_is_refused(sandbox: Any, make_finding: MakeFinding) -> None:
    findings = []
    for number in range(40):
        finding = make_finding(Id=f"finding/{number}")
        finding["Vulnerabilities"] = [
            {"Id": f"CVE-2024-{n}", "ReferenceUrls": ["https://a.b/" + "x" * 900]} for n in range(180)
        ]
        findings.append(finding)
    assert sandbox.send(*findings[:30])["FailedCount"] == 0
    assert refusal(sandbox.send, *findings)[:2] == ("RequestEntityTooLargeException", 413)


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:securityhub:::product/tenable/vulnerability-management",
        "arn:aws:securityhub:us-east-1::product/tenable",
        "arn:aws:guardduty:us-east-1::product/tenable/vulnerability-management",
        "arn:aws:securityhub:us-east-1:12:product/tenable/vulnerability-management",
        "tenable",
        "",
    ],
)
def test_malformed_product_arn_refuses_the_call(sandbox: Any, make_finding: MakeFinding, arn: str) -> None:
    expected = ("InvalidInputException", 400, f'productArn: "{arn}"')
    assert refusal(sandbox.send, make_finding(), make_finding(Id="x", ProductArn=arn)) == expected
    assert total(sandbox) == 0


def test_one_finding_of_another_account_denies_the_call(sandbox: Any, make_finding: MakeFinding) -> None:
    findings = [make_finding(), make_finding(Id="other", AwsAccountId=OTHER)]
    assert refusal(sandbox.send, *findings) == denied(PRODUCT)
    assert total(sandbox) == 0


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:securityhub:eu-west-1::product/tenable/vulnerability-management",
        "arn:aws-us-gov:securityhub:us-east-1::product/tenable/vulnerability-management",
        "arn:aws:securityhub:us-east-1::product/aquasecurity/aquasecurity",
        f"arn:aws:securityhub:us-east-1:{OTHER}:product/{OTHER}/default",
    ],
)
def test_product_of_another_region_or_not_subscribed_denies_the_call(
    sandbox: Any, make_finding: MakeFinding, arn: str
) -> None:
    assert refusal(sandbox.send, make_finding(ProductArn=arn)) == denied(arn)


def test_account_id_that_lost_its_zeros_denies_the_call(sandbox: Any, make_finding: MakeFinding) -> None:
    assert refusal(sandbox.send, make_finding(AwsAccountId=111122223333)) == denied(PRODUCT)


def test_default_product_needs_no_subscription(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("hub", {"account": ACCOUNT, "region": "us-east-1", "state": "enabled"})
    arn = f"arn:aws:securityhub:us-east-1:{ACCOUNT}:product/{ACCOUNT}/default"
    assert sandbox.send(make_finding(ProductArn=arn))["SuccessCount"] == 1
    assert refusal(sandbox.send, make_finding()) == denied(PRODUCT)


def test_tenable_does_not_exist_outside_the_aws_partition(sandbox: Any, make_finding: MakeFinding) -> None:
    region = "us-gov-west-1"
    sandbox.control("hub", {"account": ACCOUNT, "region": region, "state": "subscribed"})
    hub = sandbox.client(region=region)
    arn = f"arn:aws-us-gov:securityhub:{region}::product/tenable/vulnerability-management"
    assert refusal(hub.batch_import_findings, Findings=[make_finding(ProductArn=arn)]) == denied(arn)
    default = f"arn:aws-us-gov:securityhub:{region}:{ACCOUNT}:product/{ACCOUNT}/default"
    assert hub.batch_import_findings(Findings=[make_finding(ProductArn=default)])["SuccessCount"] == 1


def test_hub_that_is_off_refuses_the_call(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("hub", {"account": ACCOUNT, "region": "us-east-1", "state": "off"})
    expected = ("InvalidAccessException", 401, f"Account {ACCOUNT} is not subscribed to AWS Security Hub")
    assert refusal(sandbox.send, make_finding()) == expected


def test_region_without_hub_is_off(sandbox: Any, make_finding: MakeFinding) -> None:
    hub = sandbox.client(region="ap-south-1")
    arn = "arn:aws:securityhub:ap-south-1::product/tenable/vulnerability-management"
    assert refusal(hub.batch_import_findings, Findings=[make_finding(ProductArn=arn)])[0] == "InvalidAccessException"


def test_identity_that_is_denied_cannot_import(sandbox: Any, make_finding: MakeFinding) -> None:
    role = f"arn:aws:iam::{OTHER}:role/TenableSecurityHubImport"
    sandbox.control("roles", {"arn": role, "deny": ["securityhub:BatchImportFindings"]})
    hub = sandbox.client(key=sandbox.assume(role))
    code, status, message = refusal(hub.batch_import_findings, Findings=[make_finding(AwsAccountId=OTHER)])
    assert (code, status) == ("AccessDeniedException", 403)
    assert message.startswith(
        f"User: arn:aws:sts::{OTHER}:assumed-role/TenableSecurityHubImport/test is not authorized"
    )


def test_session_of_another_account_imports_there(sandbox: Any, make_finding: MakeFinding) -> None:
    hub = sandbox.client(key=sandbox.assume())
    assert hub.batch_import_findings(Findings=[make_finding(AwsAccountId=OTHER)])["SuccessCount"] == 1
    (row,) = sandbox.control("summary")["by"]
    assert (row["account"], row["region"], row["severity"], row["count"]) == (OTHER, "us-east-1", "CRITICAL", 1)


def test_same_id_twice_in_a_batch_keeps_the_newer(sandbox: Any, make_finding: MakeFinding) -> None:
    older, newer = "2024-03-01T00:00:00Z", "2024-03-02T00:00:00Z"
    sandbox.send(make_finding(UpdatedAt=newer, Title="newer"), make_finding(UpdatedAt=older, Title="older"))
    assert sandbox.stored(make_finding()["Id"])["Title"] == "newer"
    assert sandbox.control("summary")["imports"]["ignored"] == 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        '{"Findings": {}}',
        "[]",
        "null",
        '{"Other": []}',
        '{"Findings": null}',
        '{"Findings": [{"Id": "\\ud800"}]}',
        '{"Findings": [{"Id": NaN}]}',
        pytest.param('{"Findings": [' + "[" * 100_000 + "]" * 100_000 + "]}", id="nested deeply"),
    ],
)
def test_body_that_is_no_batch_is_refused(sandbox: Any, body: str) -> None:
    def replace_body(params: dict[str, Any], **_: Any) -> None:
        params["body"] = body.encode()

    client = sandbox.client(parameter_validation=False)
    client.meta.events.register("before-call.securityhub.BatchImportFindings", replace_body)
    code, status, _ = refusal(client.batch_import_findings, Findings=[])
    assert status == 400
    assert code in ("InvalidInputException", "SerializationException")


def test_unchecked_imports_are_an_option(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("options", {"validate": False})
    assert sandbox.send(make_finding(Title=""), make_finding(Id=None))["FailedCount"] == 1
    assert total(sandbox) == 1
