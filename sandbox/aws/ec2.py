"""Amazon EC2: DescribeInstances (EC2 API reference; query protocol of EC2, XML answers), as far as instances are to be
found by filters.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4
from xml.sax.saxutils import escape

from starlette.responses import Response

from sandbox.aws.errors import AwsError
from sandbox.aws.sigv4 import Caller

API_VERSION = "2016-11-15"
NAMESPACE = f"http://ec2.amazonaws.com/doc/{API_VERSION}/"
OPERATIONS = ("DescribeInstances",)
_MOST_VALUES, _LEAST_RESULTS, _MOST_RESULTS = 200, 5, 1000
_FIELDS = ("account", "region", "instance", "mac", "addresses", "vpc", "state", "owner")


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance with one network interface, in the account and Region that answer for it."""

    account: str
    region: str
    instance: str
    mac: str = "02:00:00:00:00:01"
    addresses: tuple[str, ...] = ()
    vpc: str = "vpc-00000001"
    state: str = "running"
    owner: str = ""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Instance":
        """An instance from the body of a control call; ValueError says what is wrong."""
        if unknown := body.keys() - set(_FIELDS):
            raise ValueError(f"Unknown: {', '.join(sorted(unknown))}; an instance has {', '.join(_FIELDS)}.")
        return cls(**{**body, "addresses": tuple(body.get("addresses", ()))})

    def values(self, name: str) -> tuple[str, ...]:
        """What a filter compares; AwsError for one that there is not."""
        known: dict[str, tuple[str, ...]] = {
            "instance-id": (self.instance,),
            "network-interface.mac-address": (self.mac,),
            "network-interface.addresses.private-ip-address": self.addresses,
            "vpc-id": (self.vpc,),
        }
        if name not in known:
            raise AwsError("InvalidParameterValue", 400, f"The filter '{name}' is invalid")
        return known[name]


@dataclass(slots=True)
class InstanceBook:
    """All instances."""

    instances: list[Instance] = field(default_factory=list)

    def launch(self, bodies: Any) -> int:
        """Add instances; ValueError says what is wrong."""
        listed = bodies if isinstance(bodies, list) else [bodies]
        if not all(isinstance(body, dict) for body in listed):
            raise ValueError("An instance is a JSON object.")
        self.instances += [Instance.of(body) for body in listed]
        return len(self.instances)


def describe_instances(caller: Caller, form: Mapping[str, str], book: InstanceBook) -> Response:
    """The caller's instances in the Region of the call that pass all filters, a page of them."""
    if form.get("Version") != API_VERSION:
        raise AwsError("InvalidAction", 400, f"There is no such version: {form.get('Version')}")
    if caller.credentials.denies("ec2:DescribeInstances"):
        raise AwsError("UnauthorizedOperation", 403, "You are not authorized to perform this operation.")
    filters = _filters(form)
    found = [
        each
        for each in book.instances
        if (each.account, each.region) == (caller.account, caller.region)
        and all(set(each.values(name)) & set(values) for name, values in filters)
    ]
    size, start = _number(form.get("MaxResults", "1000")), _number(form.get("NextToken", "0"))
    if not _LEAST_RESULTS <= size <= _MOST_RESULTS:
        raise AwsError("InvalidParameterValue", 400, f"Value ({size}) for parameter MaxResults is invalid.")
    page = "".join(map(_reservation, found[start : start + size]))
    more = f"<nextToken>{start + size}</nextToken>" if len(found) > start + size else ""
    return _answer(f"<reservationSet>{page}</reservationSet>{more}")


def _filters(form: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    filters = []
    for number in range(1, 51):
        name = form.get(f"Filter.{number}.Name")
        if name is None:
            break
        pattern = re.compile(rf"Filter\.{number}\.Value\.\d+")
        values = [value for key, value in form.items() if pattern.fullmatch(key)]
        if not values or len(values) > _MOST_VALUES:
            raise AwsError("FilterLimitExceeded", 400, f"The maximum number of filter values is {_MOST_VALUES}")
        filters.append((name, values))
    return filters


def _number(text: str) -> int:
    if not text.isdecimal():
        raise AwsError("InvalidParameterValue", 400, "A number is wanted.")
    return int(text)


def _reservation(each: Instance) -> str:
    addresses = "".join(
        f"<item><privateIpAddress>{escape(address)}</privateIpAddress></item>" for address in each.addresses
    )
    interface = (
        f"<item><macAddress>{escape(each.mac)}</macAddress><vpcId>{escape(each.vpc)}</vpcId>"
        f"<privateIpAddressesSet>{addresses}</privateIpAddressesSet></item>"
    )
    return (
        f"<item><ownerId>{escape(each.owner or each.account)}</ownerId><instancesSet><item>"
        f"<instanceId>{escape(each.instance)}</instanceId>"
        f"<instanceState><name>{escape(each.state)}</name></instanceState>"
        f"<placement><availabilityZone>{escape(each.region)}a</availabilityZone></placement>"
        f"<networkInterfaceSet>{interface}</networkInterfaceSet></item></instancesSet></item>"
    )


def _answer(content: str) -> Response:
    request_id = str(uuid4())
    body = (
        f'<DescribeInstancesResponse xmlns="{NAMESPACE}"><requestId>{request_id}</requestId>{content}'
        "</DescribeInstancesResponse>"
    )
    return Response(body, 200, {"x-amzn-RequestId": request_id}, "text/xml")


def ec2_xml(error: AwsError) -> Response:
    """An error, as EC2 answers it."""
    request_id = str(uuid4())
    body = (
        f"<Response><Errors><Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
        f"</Errors><RequestID>{request_id}</RequestID></Response>"
    )
    return Response(body, error.status, {"x-amzn-RequestId": request_id}, "text/xml")
