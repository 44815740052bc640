"""EC2, IAM, SSM, Secrets Manager and STS on this machine: a real moto server, what it does not refuse, and a bridge
that starts scanners from the user data that was really sent.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sandbox.standalone.children import Child, free_port
from tests.sandbox_driver import Sandbox
from tests.scanner_machine import Machine

REGION = "eu-west-1"
PRODUCT_CODE = "8fn69npzmbzcs4blc4583jd0y"
#: The newest of the two images that the server has of the product.
IMAGE = "ami-0aaa1111bbb22224"
_KEYS = {"aws_access_key_id": "AKIASCANNER000000001", "aws_secret_access_key": "canary-scanner-aws-secret-41f0c2aa"}


class AwsServices(Child):
    """``moto_server`` with the checks that it leaves out by default.

    :param folder: for its log and its list of images.
    """

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self._clients: dict[str, Any] = {}
        self.url = f"http://127.0.0.1:{port}"
        images = folder / "images.json"
        images.write_text(json.dumps([_image(IMAGE, "2025-09-01"), _image("ami-0aaa1111bbb22223", "2025-03-01")]))
        env = {
            **os.environ,
            "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
            "MOTO_ENABLE_AMI_VALIDATION": "true",
            "MOTO_ENABLE_KEYPAIR_VALIDATION": "true",
            "MOTO_AMIS_PATH": str(images),
        }
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        super().__init__(command, log=folder / "moto.log", env=env)
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if not self.alive() or time.monotonic() > deadline:
                raise RuntimeError(f"moto did not start:\n{self.tail()}")
            time.sleep(0.1)

    def connection(self) -> dict[str, Any]:
        """The Airflow connection to it."""
        extra = {
            "region_name": REGION,
            "endpoint_url": self.url,
            "config_kwargs": {"retries": {"total_max_attempts": 1}},
        }
        return {
            "conn_type": "aws",
            "login": _KEYS["aws_access_key_id"],
            "password": _KEYS["aws_secret_access_key"],
            "extra": extra,
        }

    @contextmanager
    def client(self, service: str) -> Any:
        """A client to look into it. Making one takes longer than most calls, so it is kept."""
        import boto3

        if service not in self._clients:
            self._clients[service] = boto3.client(service, region_name=REGION, endpoint_url=self.url, **_KEYS)
        yield self._clients[service]

    def stop(self, patience: float = 15.0) -> None:
        """End it, and close our own connections to it."""
        for client in self._clients.values():
            client.close()
        super().stop(patience)

    def instances(self, name: str, *, alive: bool = True) -> list[dict[str, Any]]:
        """The instances with a scanner's tag."""
        with self.client("ec2") as ec2:
            answer = ec2.describe_instances(Filters=[{"Name": "tag:tenable:scanner", "Values": [name]}])
        found = [each for reservation in answer["Reservations"] for each in reservation["Instances"]]
        return [each for each in found if not alive or each["State"]["Name"] not in ("terminated", "shutting-down")]

    def user_data(self, instance_id: str) -> str:
        """What an instance was launched with."""
        with self.client("ec2") as ec2:
            answer = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
        return base64.b64decode(answer["UserData"]["Value"]).decode()

    def boot(self, instance_id: str, sandbox: Sandbox, folder: Path, **order: Any) -> bool:
        """Start a machine: run its user data, with the key that the store really holds, and let Tenable see the result.

        :param order: further parts of the sandbox's order, such as ``online_after``.
        :return: whether it could link itself.
        """
        script = self.user_data(instance_id)
        settings = dict(re.findall(r"^([A-Z_]+)=(.*)$", script, re.M))
        machine = Machine(folder)
        with self.client("ssm") as ssm:
            [name] = shlex.split(settings["SECRET_NAME"])
            key = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        machine.answers("aws ssm get-parameter", f"0|{key}")
        if machine.run(script).returncode != 0:
            return False
        [link] = machine.ran("nessuscli managed link")
        arguments = re.fullmatch(r"nessuscli managed link --key=(\w+) .*--name=(.+)", link)
        assert arguments
        body = {"name": arguments[2], "key": arguments[1], **order}
        return bool(sandbox.tenable("scanners", body)["linked"])

    @contextmanager
    def starting(self, sandbox: Sandbox, folder: Path) -> Iterator[list[str]]:
        """Meanwhile, start each machine that is launched. Yields a list that gets the names of their scanners."""
        known, started, over = {each["InstanceId"] for each in self.all_instances()}, [], threading.Event()
        failures: list[BaseException] = []

        def start() -> None:
            while not over.wait(0.3):
                for each in self.all_instances():
                    if each["InstanceId"] not in known:
                        known.add(each["InstanceId"])
                        assert self.boot(each["InstanceId"], sandbox, folder / each["InstanceId"])
                        started.extend(tag["Value"] for tag in each["Tags"] if tag["Key"] == "tenable:scanner")

        def run() -> None:
            try:
                start()
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield started
        finally:
            over.set()
            thread.join()
        assert failures == []

    def all_instances(self) -> list[dict[str, Any]]:
        """Every instance with the tag of a scanner, whatever its state."""
        with self.client("ec2") as ec2:
            answer = ec2.describe_instances(Filters=[{"Name": "tag-key", "Values": ["tenable:scanner"]}])
        return [each for reservation in answer["Reservations"] for each in reservation["Instances"]]


def respond(hook: Any, service: str, operation: str, parsed: dict[str, Any]) -> None:
    """Have AWS answer an operation that moto does not know."""
    handler = lambda **_: (SimpleNamespace(status_code=200), parsed)  # noqa: E731
    hook.client(service).meta.events.register(f"before-call.{service}.{operation}", handler)


def refuse(
    hook: Any, service: str, operation: str, code: str, message: str, *, status: int = 400, times: int = 1
) -> None:
    """Have AWS refuse the next calls of an operation, where moto does not."""
    left = [times]

    def answer(**_: Any) -> Any:
        if not left[0]:
            return None
        left[0] -= 1
        parsed = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return SimpleNamespace(status_code=status), parsed

    hook.client(service).meta.events.register(f"before-call.{service}.{operation}", answer)


def _image(ami: str, day: str) -> dict[str, Any]:
    return {
        "ami_id": ami,
        "name": f"Nessus of {day} (BYOL)",
        "description": "Nessus BYOL",
        "owner_id": "aws-marketplace",
        "image_location": "aws-marketplace/Nessus",
        "public": True,
        "virtualization_type": "hvm",
        "architecture": "x86_64",
        "state": "available",
        "platform": None,
        "image_type": "machine",
        "hypervisor": "xen",
        "root_device_name": "/dev/xvda",
        "root_device_type": "ebs",
        "sriov": "simple",
        "creation_date": f"{day}T00:00:00.000Z",
        "product_codes": [PRODUCT_CODE],
    }
