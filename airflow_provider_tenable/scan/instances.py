"""The EC2 instance of a scanner: found again by its tag, launched at most once, looked at, terminated.

A launch is made safe to repeat twice over: the tag finds what an earlier try has launched, and the client token makes
EC2 return the same instance if both tries reach it at once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_tenable.aws import INSTANCE
from airflow_provider_tenable.exceptions import (
    AwsRefusedError,
    ConfigurationError,
    ProfileNotReadyError,
    TemporaryError,
)
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.identifiers import shown
from airflow_provider_tenable.scan.aws_calls import SCANNER_TAG, Aws, tags_of

log = logging.getLogger(__name__)

#: States of an instance that can still run, or run again.
ALIVE = ("pending", "running", "stopping", "stopped")
#: Seconds for which a new instance profile may be unknown to EC2.
PROFILE_SECONDS = 60
_PAUSE = 5.0
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Instance:
    """An instance as DescribeInstances shows it."""

    id: str
    state: str
    private_ip: str | None = None
    image: str | None = None
    #: Unix seconds.
    launched: float | None = None
    tags: tuple[tuple[str, str], ...] = ()

    def belongs_to(self, name: str) -> bool:
        """Whether its tag names this scanner."""
        return (SCANNER_TAG, name) in self.tags


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What an instance is launched with.

    :ivar further: arguments of RunInstances that replace the others.
    """

    name: str
    image: str
    user_data: str
    instance_type: str
    subnet_id: str | None = None
    security_group_ids: Sequence[str] = ()
    key_name: str | None = None
    instance_profile: str | None = None
    root_device: str = "/dev/xvda"
    volume_gb: int = 40
    metadata_tokens: str = "required"
    tags: Mapping[str, str] = field(default_factory=dict)
    further: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """The arguments of RunInstances, without the client token."""
        if not isinstance(self.volume_gb, int) or isinstance(self.volume_gb, bool) or not 8 <= self.volume_gb <= 16_384:
            raise ConfigurationError(f"volume_gb is {shown(self.volume_gb)}; it must be a number from 8 to 16384.")
        if self.metadata_tokens not in ("required", "optional"):
            raise ConfigurationError(
                f"metadata_tokens is {shown(self.metadata_tokens)}; it must be 'required' or 'optional'."
            )
        tags = tags_of(self.name, {"Name": self.name, **self.tags})
        optional = {
            "SubnetId": self.subnet_id,
            "SecurityGroupIds": list(self.security_group_ids),
            "KeyName": self.key_name,
            "IamInstanceProfile": {"Name": self.instance_profile} if self.instance_profile else None,
        }
        return {
            "ImageId": self.image,
            "InstanceType": self.instance_type,
            "UserData": self.user_data,
            "BlockDeviceMappings": [
                {
                    "DeviceName": self.root_device,
                    "Ebs": {"VolumeSize": self.volume_gb, "VolumeType": "gp3", "Encrypted": True},
                }
            ],
            "MetadataOptions": {"HttpTokens": self.metadata_tokens, "HttpEndpoint": "enabled"},
            "TagSpecifications": [
                {"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume", "network-interface")
            ],
            **{name: value for name, value in optional.items() if value},
            **self.further,
            "MinCount": 1,
            "MaxCount": 1,
        }


def find(aws: Aws, name: str) -> Instance | None:
    """The instance of a scanner that is not terminated.

    :raises ConfigurationError: there are several.
    """
    found: list[Instance] = []
    more: dict[str, str] = {}
    while True:
        answer = aws.call(
            "ec2",
            "describe_instances",
            what=f"look for instances of scanner {name}",
            Filters=[
                {"Name": f"tag:{SCANNER_TAG}", "Values": [name]},
                {"Name": "instance-state-name", "Values": list(ALIVE)},
            ],
            **more,
        )
        found += _instances(answer)
        if not (answer and answer.get("NextToken")):
            break
        more = {"NextToken": answer["NextToken"]}
    if len(found) > 1:
        ids = " and ".join(sorted(each.id for each in found))
        raise ConfigurationError(
            f"Instances {ids} both carry tag {SCANNER_TAG}={name}. Terminate one, or choose another name."
        )
    return found[0] if found else None


def describe(aws: Aws, instance_id: str) -> Instance | None:
    """An instance by its id; None if EC2 does not know it (any more)."""
    checked_id(instance_id)
    answer = aws.call(
        "ec2",
        "describe_instances",
        what=f"look at instance {instance_id}",
        tolerate=("InvalidInstanceID.NotFound",),
        InstanceIds=[instance_id],
    )
    return next(iter(_instances(answer)), None)


def checked_id(instance_id: object) -> str:
    """The id of an instance. :raises ConfigurationError: it is not one."""
    if not isinstance(instance_id, str) or not INSTANCE.fullmatch(instance_id):
        raise ConfigurationError(f"{shown(instance_id)} is not the id of an EC2 instance.")
    return instance_id


def client_token(*parts: object) -> str:
    """A token for RunInstances: the same for every try of one task. 64 characters, as many as EC2 allows."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def launch(aws: Aws, wanted: Launch, *, token: str, fresh_token: str) -> Instance:
    """Launch an instance.

    :param token: of this task, whatever the try.
    :param fresh_token: of this try, for when the instance of ``token`` was terminated meanwhile.
    :raises AwsRefusedError: such as for a missing subscription in AWS Marketplace.
    """
    arguments, waited = wanted.arguments(), 0.0
    what = f"launch the instance of scanner {wanted.name}"
    while True:
        try:
            answer = aws.call(
                "ec2",
                "run_instances",
                what=what,
                tolerate=("IdempotentInstanceTerminated",) if token != fresh_token else (),
                ClientToken=token,
                **arguments,
            )
        except ProfileNotReadyError:
            if waited >= PROFILE_SECONDS:
                raise TemporaryError(
                    f"Instance profile {wanted.instance_profile} was not usable for {PROFILE_SECONDS} s after it was "
                    "made. IAM is slow at times: retry."
                ) from None
            waited += _PAUSE
            time.sleep(_PAUSE)
            continue
        if answer is None:
            log.info("The instance that an earlier try has launched was terminated: launching another one.")
            token = fresh_token
            continue
        launched = _instances({"Reservations": [answer]})
        if not launched:
            raise TemporaryError(f"Cannot {what}: EC2's response names no instance.")
        return launched[0]


def is_ready(aws: Aws, instance_id: str) -> bool:
    """Whether both status checks of EC2 have passed.

    :raises AwsRefusedError: the instance is stopped, terminated or unknown, so that it will never be ready.
    """
    answer = aws.call(
        "ec2",
        "describe_instance_status",
        what=f"look at the status of instance {checked_id(instance_id)}",
        tolerate=("InvalidInstanceID.NotFound",),
        InstanceIds=[instance_id],
        IncludeAllInstances=True,
    )
    statuses = (answer or {}).get("InstanceStatuses") or []
    if not statuses:
        # Just launched: EC2 answers from several places, and not all of them know it yet.
        return False
    state = str(statuses[0].get("InstanceState", {}).get("Name", ""))
    if state in ("shutting-down", "terminated", "stopping", "stopped"):
        raise AwsRefusedError(
            f"Instance {instance_id} is {state}. The console of EC2 shows why (State transition reason). Terminate it, "
            "or start it, and run the task again."
        )
    return all(statuses[0].get(kind, {}).get("Status") == "ok" for kind in ("InstanceStatus", "SystemStatus"))


def console_lines(aws: Aws, instance_id: str, *, last: int = 30) -> list[str]:
    """The last lines on an instance's console, safe to log. EC2 shows them some minutes late."""
    answer = aws.call(
        "ec2",
        "get_console_output",
        what=f"read the console of instance {checked_id(instance_id)}",
        tolerate=("InvalidInstanceID.NotFound", "UnsupportedOperation", "IncorrectInstanceState"),
        InstanceId=instance_id,
    )
    output = (answer or {}).get("Output") or ""
    lines = [_CONTROL.sub("", line).rstrip() for line in _plain(str(output)).splitlines()]
    return [safe(line) for line in lines if line.strip()][-last:]


def terminate(aws: Aws, instance_id: str) -> bool:
    """Terminate an instance. :return: whether there was one."""
    answer = aws.call(
        "ec2",
        "terminate_instances",
        what=f"terminate instance {checked_id(instance_id)}",
        tolerate=("InvalidInstanceID.NotFound",),
        InstanceIds=[instance_id],
    )
    return answer is not None


def _plain(output: str) -> str:
    # boto3 decodes it; a stand-in server or an old botocore may not.
    try:
        return base64.b64decode(output, validate=True).decode("utf-8", "replace")
    except (ValueError, binascii.Error):
        return output


def _instances(answer: Mapping[str, Any] | None) -> list[Instance]:
    found = []
    for reservation in (answer or {}).get("Reservations", []):
        for each in reservation.get("Instances", []):
            launched = each.get("LaunchTime")
            found.append(
                Instance(
                    id=checked_id(each.get("InstanceId")),
                    state=str(each.get("State", {}).get("Name", "")),
                    private_ip=each.get("PrivateIpAddress"),
                    image=each.get("ImageId"),
                    launched=launched.timestamp() if launched is not None else None,
                    tags=tuple((str(tag.get("Key")), str(tag.get("Value"))) for tag in each.get("Tags", [])),
                )
            )
    return found
