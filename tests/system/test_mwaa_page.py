"""The commands of docs/mwaa.md, as they stand there: the AWS CLI against moto and a stand-in for MWAA. `make
mwaa-page`.

moto and the AWS CLI are in an environment of their own, which `make` fills.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from sandbox.standalone.children import Child, free_port
from tests.conftest import ROOT
from tests.docs_examples import blocks
from tests.mwaa_service import Mwaa

TOOLS = ROOT / ".venv-aws" / "bin"

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not (TOOLS / "aws").exists(), reason="`make mwaa-page` installs the AWS CLI and moto"),
]

PAGE = ROOT / "docs" / "mwaa.md"
ACCOUNT = "123456789012"
BUCKET = "my-mwaa-bucket"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/service-role/AmazonMWAA-my-airflow-a1b2c3"
#: What `make mwaa` needs of a checkout.
CHECKOUT = (
    "airflow_provider_tenable",
    "constraints",
    "dags",
    "deploy",
    "scripts",
    "Makefile",
    "LICENSE",
    "README.md",
    "noxfile.py",
    "pyproject.toml",
    "setup.py",
)


class Aws:
    """moto's server, and clients of it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self, service: str) -> Any:
        return boto3.client(
            service, endpoint_url=self.url, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y"
        )

    def has_version(self, bucket: str, key: str, version: str) -> bool:
        with suppress(ClientError):
            self.client("s3").head_object(Bucket=bucket, Key=key, **({"VersionId": version} if version else {}))
            return True
        return False

    def text(self, key: str, version: str) -> str:
        return str(self.client("s3").get_object(Bucket=BUCKET, Key=key, VersionId=version)["Body"].read().decode())


def listening(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Aws]:
    port = free_port()
    with Child([str(TOOLS / "moto_server"), "-H", "127.0.0.1", "-p", str(port)], log=tmp_path / "moto.log") as server:
        deadline = time.monotonic() + 60
        while not listening(port):
            assert server.alive(), server.tail()
            assert time.monotonic() < deadline, server.tail()
            time.sleep(0.1)
        yield Aws(f"http://127.0.0.1:{port}")


@pytest.fixture
def mwaa(aws: Aws) -> Iterator[Mwaa]:
    with Mwaa(aws.has_version) as service:
        yield service


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy, since the commands write into it."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in CHECKOUT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    for environment in (".venv", ".venv-nox"):
        (folder / environment).symlink_to(ROOT / environment)
    return folder


def section(heading: str) -> str:
    """The commands of a section, down to the next heading of its level."""
    level = heading.partition(" ")[0]
    [text] = re.findall(rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{len(level)}}} |\Z)", PAGE.read_text(), re.M | re.S)
    return "\n".join(re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S))


def run(script: str, checkout: Path, aws: Aws, mwaa: Mwaa) -> str:
    """Run commands in one shell. Any that fails ends them."""
    env = {
        "PATH": f"{TOOLS}{os.pathsep}{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": os.environ["HOME"],
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
        "NO_PROXY": "127.0.0.1",
        **{
            name: value
            for name, value in os.environ.items()
            if name.startswith(("PIP_", "UV_", "HTTPS_", "https_", "PYENV", "SSL_", "REQUESTS_"))
        },
        **mwaa.settings,
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=checkout,
        env=env,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def put(aws: Aws, key: str, data: bytes) -> str:
    return str(aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=data)["VersionId"])


THEIR_REQUIREMENTS = "# Of the finance team\nslack-sdk  # in use\n"
THEIR_OPTIONS = {"core.parallelism": "64", "smtp.smtp_password": "it's secret"}


def their_environment(aws: Aws, mwaa: Mwaa, key: str) -> dict[str, Any]:
    """An environment as people have one: made by the console, with files, options, a bucket under a key of their
    own.
    """
    s3, iam = aws.client("s3"), aws.client("iam")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key.rpartition("/")[2]}}
    s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})
    plugins = io.BytesIO()
    with zipfile.ZipFile(plugins, "w") as archive:
        archive.writestr("their_plugin.py", "print('theirs')\n")
    put(aws, "airflow/dags/their_dag.py", b"# theirs\n")
    files = {
        "PluginsS3Path": ("airflow/plugins.zip", plugins.getvalue()),
        "RequirementsS3Path": ("airflow/requirements.txt", THEIR_REQUIREMENTS.encode()),
        "StartupScriptS3Path": ("airflow/startup.sh", b"#!/bin/sh\necho theirs\n"),
    }
    named: dict[str, Any] = {}
    for name, (path, data) in files.items():
        named |= {name: path, name.replace("Path", "ObjectVersion"): put(aws, path, data)}
        # Somebody has put another version there since, which the environment does not use.
        put(aws, path, b"not in use\n")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "airflow.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    iam.create_role(
        RoleName=ROLE_ARN.rpartition("/")[2], Path="/service-role/", AssumeRolePolicyDocument=json.dumps(trust)
    )
    aws.client("logs").create_log_group(logGroupName="airflow-my-airflow-Task")
    environment = {
        "Name": "my-airflow",
        "AirflowVersion": "3.2.1",
        "SourceBucketArn": f"arn:aws:s3:::{BUCKET}",
        "DagS3Path": "airflow/dags",
        "ExecutionRoleArn": ROLE_ARN,
        "KmsKey": key,
        "AirflowConfigurationOptions": dict(THEIR_OPTIONS),
        "LoggingConfiguration": {
            "TaskLogs": {
                "Enabled": True,
                "LogLevel": "INFO",
                "CloudWatchLogGroupArn": f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:airflow-my-airflow-Task",
            }
        },
        **named,
    }
    mwaa.environments["my-airflow"] = dict(environment)
    return environment


def statements_of(aws: Aws, role: str) -> dict[str, Any]:
    """The statements of a role's policies, attached and inline, by their Sid."""
    iam, found = aws.client("iam"), {}
    for each in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        version = iam.get_policy(PolicyArn=each["PolicyArn"])["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=each["PolicyArn"], VersionId=version)["PolicyVersion"]["Document"]
        found |= {statement["Sid"]: statement for statement in document["Statement"]}
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        found |= {statement["Sid"]: statement for statement in document["Statement"]}
    return found


def test_environment_that_runs_keeps_everything_and_gets_ours(aws: Aws, mwaa: Mwaa, checkout: Path) -> None:
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    before = their_environment(aws, mwaa, key)
    way = [
        section("### 1. Read its configuration"),
        section("### 2. Merge"),
        section("## The roles"),
        section("## The connection"),
    ]
    way += [section("### 4. Update"), section("## The first run"), section("## What CloudWatch shows")]
    said = run("\n".join(way), checkout, aws, mwaa)
    assert f"my-airflow runs Airflow 3.2.1 as {ROLE_ARN}, bucket {BUCKET}, task logs: INFO" in said

    after = mwaa.environments["my-airflow"]
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"PluginsS3ObjectVersion", "RequirementsS3ObjectVersion", "AirflowConfigurationOptions"}
    options = after["AirflowConfigurationOptions"]
    assert {name: options[name] for name in THEIR_OPTIONS} == THEIR_OPTIONS
    assert options["tenable.staging_path"] == f"s3://aws_default@{BUCKET}/tenable"
    assert json.loads(options["tenable.dag_params"]) == {"region_routing": "resource"}
    requirements = aws.text(after["RequirementsS3Path"], after["RequirementsS3ObjectVersion"])
    assert requirements.startswith(THEIR_REQUIREMENTS)
    assert "airflow-provider-tenable[s3]==" in requirements
    body = (
        aws.client("s3")
        .get_object(Bucket=BUCKET, Key=after["PluginsS3Path"], VersionId=after["PluginsS3ObjectVersion"])["Body"]
        .read()
    )
    names = zipfile.ZipFile(io.BytesIO(body)).namelist()
    assert names[0] == "their_plugin.py"
    assert any(name.startswith("airflow_provider_tenable-") for name in names)
    dags = {each["Key"] for each in aws.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="airflow/dags/")["Contents"]}
    assert {"airflow/dags/their_dag.py", "airflow/dags/tenable_to_security_hub.py"} <= dags

    statements = statements_of(aws, ROLE_ARN.rpartition("/")[2])
    assert (
        statements["UseTheKeyOfTheStagingBucket"]["Resource"]
        == statements["UseTheKeyOfTheEnvironment"]["Resource"]
        == key
    )
    assert "UseTheKeyOfTheConnections" not in statements
    parameters = aws.client("cloudformation").describe_stack_set(StackSetName="tenable-import-role")["StackSet"][
        "Parameters"
    ]
    assert {each["ParameterKey"]: each["ParameterValue"] for each in parameters}["ExecutionRoleArn"] == ROLE_ARN
    secret = aws.client("secretsmanager").get_secret_value(SecretId="airflow/connections/tenable_default")[
        "SecretString"
    ]
    assert json.loads(secret)["conn_type"] == "tenable"
    assert [call[1:3] for call in mwaa.calls] == [
        ("PATCH", "/dags/tenable_to_security_hub"),
        ("POST", "/dags/tenable_to_security_hub/dagRuns"),
    ]
    assert mwaa.calls[1][3]["conf"] == {"dry_run": False}

    # moto makes no alarms of a stack: what the template says is held by tests/unit/test_deploy.py and cfn-lint.
    [stack] = aws.client("cloudformation").describe_stacks(StackName="tenable-alarms")["Stacks"]
    given = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    assert given["TaskLogGroup"] == "airflow-my-airflow-Task"
    assert given["TopicArn"] == f"arn:aws:sns:eu-west-1:{ACCOUNT}:my-alerts"
    assert given["WatermarkHours"] == "48"


def test_new_environment_begins_from_nothing(aws: Aws, mwaa: Mwaa, checkout: Path) -> None:
    names = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text().split("## A new environment\n")[1], re.M | re.S)[0]
    aws.client("iam").create_role(RoleName="my-airflow-execution", AssumeRolePolicyDocument="{}")
    aws.client("logs").create_log_group(logGroupName="airflow-my-airflow-Task")
    [options] = [block for block in blocks(PAGE, "json") if "tenable.staging_path" in block]
    (checkout / "options.json").write_text(options)
    # The bundle is built by the other test; here any files of its names do.
    (checkout / "dist" / "mwaa-3.3.1" / "dags").mkdir(parents=True)
    for name in ("plugins.zip", "requirements.txt", "startup.sh", "dags/tenable_to_security_hub.py"):
        (checkout / "dist" / "mwaa-3.3.1" / name).write_text("")
    way = [
        names,
        section("### 2. The bucket"),
        section("## The roles"),
        section("## The connection"),
        section("### 4. The environment"),
    ]
    way += [section("## The first run"), section("## What CloudWatch shows")]
    run("\n".join(way), checkout, aws, mwaa)
    made = mwaa.environments["my-airflow"]
    assert made["ExecutionRoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/my-airflow-execution"
    assert made["AirflowConfigurationOptions"] == json.loads(options)
    assert made["LoggingConfiguration"]["TaskLogs"] == {"Enabled": True, "LogLevel": "INFO"}
    assert "KmsKey" not in made
    statements = statements_of(aws, "my-airflow-execution")
    assert not [name for name in statements if name.startswith("UseTheKey")]
    assert "KeepFilesInStaging" in statements


def test_every_command_of_the_page_is_run() -> None:
    text = "\n".join(blocks(PAGE, "bash"))
    headings = [
        "### 1. Read its configuration",
        "### 2. Merge",
        "## The roles",
        "## The connection",
        "### 4. Update",
        "## The first run",
        "## What CloudWatch shows",
    ]
    headings += ["### 2. The bucket", "### 4. The environment", "### 1. The bundle"]
    run_here = "\n".join(section(heading) for heading in headings)
    names = blocks(PAGE, "bash")
    [first_names] = [block for block in names if block.startswith("export AWS_REGION") and "mkdir" not in block]
    commands = [line for line in f"{run_here}\n{first_names}".splitlines() if line]
    assert sorted(line for line in text.splitlines() if line) == sorted(commands)
