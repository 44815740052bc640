"""What the modules of this folder need of AWS.

The hook in :mod:`airflow_provider_tenable.hooks.nessus_ec2` provides it; this folder does not import Airflow or boto3.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol

from airflow_provider_tenable.aws import Caller

#: The tag by which everything that belongs to a scanner is found again; its value is the scanner's name.
SCANNER_TAG = "tenable:scanner"


class Aws(Protocol):
    """Calls of AWS with one connection in one Region."""

    @property
    def region(self) -> str:
        """The Region of the calls."""

    def identify(self) -> Caller:
        """The owner of the credentials."""

    def call(
        self, service: str, operation: str, *, what: str, tolerate: Collection[str] = (), **arguments: Any
    ) -> dict[str, Any] | None:
        """Make a call; None for an error code that is tolerated."""


def tags_of(name: str, further: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """The tags of something that belongs to a scanner, as AWS takes them."""
    tags = {**(further or {}), SCANNER_TAG: name, "managed-by": "airflow-provider-tenable"}
    return [{"Key": str(key), "Value": str(value)} for key, value in tags.items()]


def belongs_to(name: str, tags: Iterable[Mapping[str, str]] | None) -> bool:
    """Whether tags say that something belongs to a scanner of this name."""
    return any(tag.get("Key") == SCANNER_TAG and tag.get("Value") == name for tag in tags or ())


class DryRun:
    """AWS that is only read: what would be written is noted.

    :ivar noted: the calls that were left out, in words.
    """

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self.noted: list[str] = []

    @property
    def region(self) -> str:
        """The Region of the calls."""
        return self._aws.region

    def identify(self) -> Caller:
        """The owner of the credentials."""
        return self._aws.identify()

    def call(
        self, service: str, operation: str, *, what: str, tolerate: Collection[str] = (), **arguments: Any
    ) -> dict[str, Any] | None:
        """Make a call that reads; note one that would write."""
        if operation.startswith(("get_", "list_", "describe_")):
            # What would have been created before is not there.
            missing = ("NoSuchEntity", "InvalidGroup.NotFound")
            return self._aws.call(service, operation, what=what, tolerate=(*tolerate, *missing), **arguments)
        self.noted.append(what)
        return {"GroupId": "sg-00000000"} if operation == "create_security_group" else {}
