"""Who may call: signatures are really checked, roles are assumed, and temporary credentials end."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

CENTRAL_KEY = ("AKIASANDBOXHUB000001", "sandbox-aws-secret-000000000000000000001")
ROLE = "arn:aws:iam::222233334444:role/TenableSecurityHubImport"


def refusal(call: Any, **arguments: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    answer = raised.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def signed(sandbox: Any, *, service: str = "securityhub", body: bytes = b'{"Findings":[]}') -> AWSRequest:
    request = AWSRequest("POST", f"{sandbox.url}/findings/import", data=body)
    SigV4Auth(Credentials(*CENTRAL_KEY), service, "us-east-1").add_auth(request)
    return request


def post(sandbox: Any, request: AWSRequest, body: bytes | None = None) -> Any:
    prepared = request.prepare()
    return sandbox.http.post(
        prepared.url, content=prepared.body if body is None else body, headers=dict(prepared.headers)
    )


def test_caller_identity_is_told(sandbox: Any) -> None:
    identity = sandbox.client("sts").get_caller_identity()
    assert identity["Account"] == "111122223333"
    assert identity["Arn"] == "arn:aws:iam::111122223333:user/tenable-importer"


def test_each_account_has_a_key_of_its_own(sandbox: Any) -> None:
    key = ("AKIASANDBOX222233334444", "sandbox-aws-secret-222233334444")
    assert sandbox.client("sts", key=key).get_caller_identity()["Account"] == "222233334444"


def test_unknown_key_is_refused(sandbox: Any) -> None:
    code, status, _ = refusal(sandbox.client(key=("AKIANOBODY0000000000", "secret")).describe_hub)
    assert (code, status) == ("UnrecognizedClientException", 403)
    code, status, _ = refusal(sandbox.client("sts", key=("AKIANOBODY0000000000", "secret")).get_caller_identity)
    assert (code, status) == ("InvalidClientTokenId", 403)


def test_wrong_secret_is_refused(sandbox: Any) -> None:
    code, status, _ = refusal(sandbox.client(key=(CENTRAL_KEY[0], "wrong")).describe_hub)
    assert (code, status) == ("InvalidSignatureException", 403)
    code, status, _ = refusal(sandbox.client("sts", key=(CENTRAL_KEY[0], "wrong")).get_caller_identity)
    assert (code, status) == ("SignatureDoesNotMatch", 403)


def test_body_that_was_changed_after_signing_is_refused(sandbox: Any) -> None:
    answer = post(sandbox, signed(sandbox), b'{"Findings":{}}')
    assert answer.status_code == 403
    assert answer.headers["x-amzn-ErrorType"] == "InvalidSignatureException"


def test_signature_for_another_service_is_refused(sandbox: Any) -> None:
    answer = post(sandbox, signed(sandbox, service="guardduty"))
    assert answer.status_code == 403
    assert "correct service" in answer.json()["message"]


def test_unsigned_call_is_refused(sandbox: Any) -> None:
    answer = sandbox.http.post("/findings/import", json={"Findings": []})
    assert (answer.status_code, answer.headers["x-amzn-ErrorType"]) == (403, "MissingAuthenticationTokenException")


def test_stale_signature_is_refused(sandbox: Any) -> None:
    answer = post(sandbox, signed(sandbox))
    assert answer.status_code == 400
    sandbox.control("options", {"max_clock_skew_seconds": 0})
    answer = post(sandbox, signed(sandbox))
    assert answer.status_code == 403
    assert "Signature expired" in answer.json()["message"]


def test_path_with_escapes_is_verified(sandbox: Any) -> None:
    arn = "arn:aws:securityhub:us-east-1:111122223333:product-subscription/a b/ü"
    code, _, _ = refusal(sandbox.client().disable_import_findings_for_product, ProductSubscriptionArn=arn)
    assert code == "ResourceNotFoundException"


def test_query_with_escapes_is_verified(sandbox: Any) -> None:
    arn = "arn:aws:securityhub:us-east-1:111122223333:hub/default"
    assert sandbox.client().describe_hub(HubArn=arn)["HubArn"] == arn


def test_role_is_assumed_in_another_account(sandbox: Any) -> None:
    key = sandbox.assume(ROLE)
    identity = sandbox.client("sts", key=key).get_caller_identity()
    assert identity["Account"] == "222233334444"
    assert identity["Arn"] == "arn:aws:sts::222233334444:assumed-role/TenableSecurityHubImport/test"
    assert "222233334444" in sandbox.client(key=key).describe_hub()["HubArn"]


def test_role_may_have_a_path_of_any_printable_characters(sandbox: Any) -> None:
    role = "arn:aws:iam::111122223333:role/{{a}}|<b>&/[c]:d/TenableSecurityHubImport"
    sandbox.control("roles", {"arn": role})
    key, secret = "AKIASANDBOXHUB000001", "sandbox-aws-secret-000000000000000000001"
    user = {
        "access_key_id": key,
        "secret_access_key": secret,
        "account": "111122223333",
        "arn": "arn:aws:iam::111122223333:user/tenable-importer",
    }
    sandbox.control("identities", {**user, "may_assume": ["arn:aws:iam::111122223333:role/*"]})
    identity = sandbox.client("sts", key=sandbox.assume(role)).get_caller_identity()
    assert identity["Arn"] == "arn:aws:sts::111122223333:assumed-role/TenableSecurityHubImport/test"
    code, _, _ = refusal(sandbox.client("sts").assume_role, RoleArn=f"{role}{{", RoleSessionName="test")
    assert code == "ValidationError"


@pytest.mark.parametrize("role", [f"{ROLE}Admin", "arn:aws:iam::999999999999:role/TenableSecurityHubImport"])
def test_role_that_does_not_exist_is_denied(sandbox: Any, role: str) -> None:
    code, status, message = refusal(sandbox.client("sts").assume_role, RoleArn=role, RoleSessionName="test")
    assert (code, status) == ("AccessDenied", 403)
    assert message == (
        "User: arn:aws:iam::111122223333:user/tenable-importer is not authorized to perform: sts:AssumeRole on "
        f"resource: {role}"
    )


def test_role_that_the_caller_may_not_assume_is_denied(sandbox: Any) -> None:
    key = ("AKIASANDBOX111122223333", "sandbox-aws-secret-111122223333")
    code, _, _ = refusal(sandbox.client("sts", key=key).assume_role, RoleArn=ROLE, RoleSessionName="test")
    assert code == "AccessDenied"


def test_external_id_is_demanded(sandbox: Any) -> None:
    sandbox.control("roles", {"arn": ROLE, "external_id": "tenable-1"})
    sts = sandbox.client("sts")
    assert refusal(sts.assume_role, RoleArn=ROLE, RoleSessionName="test")[0] == "AccessDenied"
    assert refusal(sts.assume_role, RoleArn=ROLE, RoleSessionName="test", ExternalId="other")[0] == "AccessDenied"
    assert sts.assume_role(RoleArn=ROLE, RoleSessionName="test", ExternalId="tenable-1")["Credentials"]


@pytest.mark.parametrize("seconds", [899, 43_201, 3_601])
def test_session_duration_is_bounded(sandbox: Any, seconds: int) -> None:
    call = sandbox.client("sts", parameter_validation=False).assume_role
    code, status, _ = refusal(call, RoleArn=ROLE, RoleSessionName="test", DurationSeconds=seconds)
    assert (code, status) == ("ValidationError", 400)


def test_role_with_a_longer_maximum_lasts_longer(sandbox: Any) -> None:
    sandbox.control("roles", {"arn": ROLE, "max_session_seconds": 43_200})
    answer = sandbox.client("sts").assume_role(RoleArn=ROLE, RoleSessionName="test", DurationSeconds=43_200)
    lasts = answer["Credentials"]["Expiration"] - datetime.now(UTC)
    assert timedelta(hours=11, minutes=59) < lasts <= timedelta(hours=12, seconds=1)


@pytest.mark.parametrize(
    "arguments", [{"RoleSessionName": "a b"}, {"RoleSessionName": "x"}, {"RoleArn": "TenableRole1234567890"}]
)
def test_malformed_request_for_a_role_is_refused(sandbox: Any, arguments: dict[str, str]) -> None:
    call = sandbox.client("sts", parameter_validation=False).assume_role
    code, status, _ = refusal(call, **{"RoleArn": ROLE, "RoleSessionName": "test", **arguments})
    assert (code, status) == ("ValidationError", 400)


def test_session_really_expires_when_its_answer_said(sandbox: Any) -> None:
    sandbox.control("options", {"session_seconds": 0.2})
    answer = sandbox.client("sts").assume_role(RoleArn=ROLE, RoleSessionName="test")["Credentials"]
    key = (answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])
    hub = sandbox.client(key=key)
    assert hub.describe_hub()
    time.sleep(max(0.0, (answer["Expiration"] - datetime.now(UTC)).total_seconds()) + 0.05)
    code, status, _ = refusal(hub.describe_hub)
    assert (code, status) == ("ExpiredTokenException", 403)
    assert refusal(sandbox.client("sts", key=key).get_caller_identity)[0] == "ExpiredToken"


def test_session_key_without_its_token_is_refused(sandbox: Any) -> None:
    access_key, secret, _ = sandbox.assume()
    code, _, _ = refusal(sandbox.client(key=(access_key, secret)).describe_hub)
    assert code == "UnrecognizedClientException"


def test_added_identity_can_call_and_its_denials_hold(sandbox: Any) -> None:
    sandbox.control(
        "identities",
        {
            "access_key_id": "AKIAREADER0000000000",
            "secret_access_key": "s",
            "account": "111122223333",
            "arn": "arn:aws:iam::111122223333:user/reader",
            "deny": ["securityhub:Describe*"],
        },
    )
    hub = sandbox.client(key=("AKIAREADER0000000000", "s"))
    assert hub.list_enabled_products_for_import()["ProductSubscriptions"]
    assert refusal(hub.describe_hub) == (
        "AccessDeniedException",
        403,
        "User: arn:aws:iam::111122223333:user/reader is not authorized to perform: securityhub:DescribeHub "
        "on resource: arn:aws:securityhub:us-east-1:111122223333:hub/default",
    )


def test_identities_are_listed_without_secrets(sandbox: Any) -> None:
    listed = sandbox.http.get("/_sandbox/identities").text
    assert CENTRAL_KEY[0] in listed
    assert CENTRAL_KEY[1] not in listed


def test_unknown_sts_operation_is_refused(sandbox: Any) -> None:
    assert refusal(sandbox.client("sts").get_session_token)[0] == "InvalidAction"


def test_account_that_is_closed_refuses_its_role_and_its_keys_until_it_is_reopened(sandbox: Any) -> None:
    key = ("AKIASANDBOX222233334444", "sandbox-aws-secret-222233334444")
    sandbox.control("account", {"account": "222233334444", "state": "closed"})
    code, status, text = refusal(sandbox.client("sts").assume_role, RoleArn=ROLE, RoleSessionName="test")
    assert (code, status) == ("AccessDenied", 403)
    assert "is not authorized to perform: sts:AssumeRole" in text
    assert refusal(sandbox.client("sts", key=key).get_caller_identity)[0] == "InvalidClientTokenId"
    sandbox.control("account", {"account": "222233334444", "state": "open"})
    assert sandbox.assume()
    sandbox.control("roles/remove", {"arn": ROLE})
    assert refusal(sandbox.client("sts").assume_role, RoleArn=ROLE, RoleSessionName="test")[0] == "AccessDenied"


def test_region_that_an_account_has_not_enabled_does_not_know_its_credentials(sandbox: Any) -> None:
    place = {"account": "222233334444", "region": "us-east-1"}
    sandbox.control("hub", {**place, "state": "not_opted_in"})
    client = sandbox.client(key=sandbox.assume())
    assert refusal(client.describe_hub)[:2] == ("UnrecognizedClientException", 403)
    sandbox.control("hub", {**place, "state": "subscribed"})
    assert client.describe_hub()["HubArn"]
