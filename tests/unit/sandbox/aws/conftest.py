"""A running AWS side of the sandbox, with real boto3 clients that talk to it over sockets."""

import copy
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import httpx
import pytest
import uvicorn
from botocore.config import Config

from sandbox.aws.app import build_aws_app

ACCOUNT, OTHER = "111122223333", "222233334444"
CENTRAL_KEY = ("AKIASANDBOXHUB000001", "sandbox-aws-secret-000000000000000000001")
ROLE = f"arn:aws:iam::{OTHER}:role/TenableSecurityHubImport"
PRODUCT = "arn:aws:securityhub:us-east-1::product/tenable/vulnerability-management"


class Sandbox:
    """The server under test, and how to talk to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url)
        self._session = boto3.Session()
        self._clients: list[Any] = []

    def client(
        self,
        service: str = "securityhub",
        *,
        key: tuple[str, ...] = CENTRAL_KEY,
        region: str = "us-east-1",
        **config: Any,
    ) -> Any:
        """A boto3 client; `key` is access key, secret and perhaps session token. It does not retry by default."""
        client = self._session.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
            aws_session_token=key[2] if len(key) > 2 else None,
            config=Config(**{"retries": {"total_max_attempts": 1}, **config}),
        )
        self._clients.append(client)
        return client

    def close_clients(self) -> None:
        """Close the connections of all clients so far."""
        while self._clients:
            self._clients.pop().close()

    def control(self, path: str, body: Any = None) -> Any:
        """POST a body to a control endpoint, or GET it; the answer must be 200."""
        path = f"/_sandbox/{path}"
        answer = self.http.get(path) if body is None else self.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def assume(self, role: str = ROLE, **arguments: Any) -> tuple[str, str, str]:
        """A key of a role session."""
        credentials = self.client("sts").assume_role(RoleArn=role, RoleSessionName="test", **arguments)["Credentials"]
        return credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]

    def send(self, *findings: dict[str, Any]) -> Any:
        """BatchImportFindings as the central caller, without botocore's own checks."""
        return self.client(parameter_validation=False).batch_import_findings(Findings=list(findings))

    def stored(self, finding_id: str) -> Any:
        """The one stored finding of an id."""
        (found,) = self.http.get("/_sandbox/findings", params={"id": finding_id}).json()["findings"]
        return found


@pytest.fixture(scope="session")
def running() -> Iterator[Sandbox]:
    app = build_aws_app(accounts=[ACCOUNT, OTHER], regions=["us-east-1", "eu-west-1"])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    sandbox = Sandbox(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    yield sandbox
    sandbox.http.close()
    server.should_exit = True
    thread.join()


@pytest.fixture
def sandbox(running: Sandbox) -> Iterator[Sandbox]:
    """The server as at its start."""
    running.http.post("/_sandbox/reset")
    yield running
    running.close_clients()


_GOOD: dict[str, Any] = {
    "SchemaVersion": "2018-10-08",
    "Id": f"us-east-1/{ACCOUNT}/i-0a1b2c3d4e5f60718/156032/tcp/443",
    "ProductArn": PRODUCT,
    "GeneratorId": "156032",
    "AwsAccountId": ACCOUNT,
    "CreatedAt": "2024-02-01T08:30:00.000Z",
    "UpdatedAt": "2024-03-01T08:30:00.000Z",
    "FirstObservedAt": "2024-02-01T08:30:00.000Z",
    "LastObservedAt": "2024-03-01T08:30:00+00:00",
    "Title": "Apache Log4j Unsupported Version Detection",
    "Description": "The remote host runs a version of Apache Log4j that is no longer supported, and “exploitable”.",
    "FindingProviderFields": {
        "Severity": {"Label": "CRITICAL", "Original": "critical"},
        "Types": ["Software and Configuration Checks/Vulnerabilities/CVE"],
        "Criticality": 70,
    },
    "SourceUrl": "https://www.tenable.com/plugins/nessus/156032",
    "Remediation": {
        "Recommendation": {"Text": "Upgrade to a supported version.", "Url": "https://logging.apache.org/"}
    },
    "ProductFields": {"tenable/vulnerability-management/port": "443", "tenable/vulnerability-management/vpr": "9.6"},
    "RecordState": "ACTIVE",
    "Resources": [
        {
            "Type": "AwsEc2Instance",
            "Id": f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/i-0a1b2c3d4e5f60718",
            "Partition": "aws",
            "Region": "us-east-1",
            "Tags": {"Name": "web-1"},
            "Details": {
                "AwsEc2Instance": {
                    "Type": "m5.large",
                    "ImageId": "ami-0abcdef1234567890",
                    "IpV4Addresses": ["10.0.0.4", "54.12.3.4"],
                    "IpV6Addresses": ["2001:db8::1"],
                    "VpcId": "vpc-0a1b2c3d",
                    "SubnetId": "subnet-0a1b2c3d",
                    "LaunchedAt": "2024-01-01T00:00:00Z",
                }
            },
        }
    ],
    "Vulnerabilities": [
        {
            "Id": "CVE-2021-44228",
            "Cvss": [{"Version": "3.1", "BaseScore": 10, "BaseVector": "AV:N/AC:L/PR:N/UI:N", "Source": "NVD"}],
            "Vendor": {"Name": "Tenable", "Url": "https://www.tenable.com/cve/CVE-2021-44228"},
            "VulnerablePackages": [{"Name": "log4j", "Version": "1.2.17"}],
            "ReferenceUrls": ["https://nvd.nist.gov/vuln/detail/CVE-2021-44228"],
            "EpssScore": 0.976,
            "ExploitAvailable": "YES",
            "FixAvailable": "YES",
        }
    ],
}


@pytest.fixture
def make_finding() -> Callable[..., dict[str, Any]]:
    """Makes a finding that Security Hub accepts, with some members replaced; None removes one."""

    def make(**changes: Any) -> dict[str, Any]:
        finding = copy.deepcopy(_GOOD)
        for name, value in changes.items():
            if value is None:
                del finding[name]
            else:
                finding[name] = value
        return finding

    return make
