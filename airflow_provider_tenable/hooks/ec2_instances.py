"""EC2 in one account and Region, as far as instances are to be found by their ids or addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Self

from botocore.config import Config
from botocore.exceptions import ClientError

from airflow_provider_tenable.assets.placement import Answer, Place
from airflow_provider_tenable.assets.unnamed_hosts import Interface, Sighting
from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.hooks.aws_session import ONE_ATTEMPT, AwsSessionHook
from airflow_provider_tenable.hooks.security_hub import Access
from airflow_provider_tenable.security_hub.responses import code_of

#: EC2's maximum number of values of a filter, and of results on a page (API reference: DescribeInstances).
MOST_VALUES, _PAGE_INSTANCES = 200, 1000
#: A filter names at most 200 instances, so that more pages are not what was asked for.
_MOST_PAGES = 50
#: EC2's code for a missing permission (EC2 API reference: error codes).
_DENIED = "UnauthorizedOperation"


class Ec2InstancesHook(AwsSessionHook):
    """Find instances with DescribeInstances.

    All features of an AWS connection are supported (roles, ``endpoint_url``, ``service_config``, ``botocore`` config).

    :param aws_conn_id: AWS connection; None for the worker's own credentials.
    :param region_name: the Region that is asked.
    :param role_name: a role to assume in ``account`` with the connection's credentials.
    :param account: the account that is asked.
    :param external_id: the ``sts:ExternalId`` that the role's trust policy requires.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["client_type"] = "ec2"
        super().__init__(*args, **kwargs)

    @classmethod
    def reaching(cls, access: Access, place: Place) -> Self:
        """The hook of an account and Region, with its connection looked up: in the thread of the task."""
        hook = cls(
            aws_conn_id=access.aws_conn_id,
            region_name=place.region,
            role_name=access.role_name,
            account=place.account,
            external_id=access.external_id,
        )
        _ = hook.conn_config
        return hook

    @cached_property
    def client(self) -> Any:
        """A client with one attempt per call: the hook itself retries."""
        config = self.config.merge(Config(retries=ONE_ATTEMPT, connect_timeout=10, read_timeout=30))
        return self.get_client_type(region_name=self.region_name, config=config)

    def close(self) -> None:
        """Close the connections of the client."""
        if "client" in self.__dict__:
            self.client.close()

    def find(self, instances: Sequence[str], place: Place) -> Iterator[Answer]:
        """What EC2 says of instances. Unknown ones are left out.

        The ids are a filter: as ``InstanceIds``, a single unknown one would fail the call for all.

        :param instances: at most :data:`MOST_VALUES` ids.
        :raises ConfigurationError: EC2 refuses, for good; the message says what to do.
        :raises TemporaryError: EC2 has not answered after several attempts.
        """
        for answer, _ in self._described("instance-id", instances, place):
            yield answer

    def find_hosts(self, name: str, values: Sequence[str], place: Place) -> Iterator[Sighting]:
        """What EC2 says of the instances that a filter names, with their network interfaces.

        :param name: a filter of DescribeInstances.
        :param values: at most :data:`MOST_VALUES` of its values.
        :raises ConfigurationError, TemporaryError: as :meth:`find`.
        """
        for answer, instance in self._described(name, values, place):
            yield Sighting(answer, tuple(map(_interface, instance.get("NetworkInterfaces", []))))

    def _described(self, name: str, values: Sequence[str], place: Place) -> Iterator[tuple[Answer, dict[str, Any]]]:
        token: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            page = self._page(name, list(values), token)
            for reservation in page["Reservations"]:
                for instance in reservation.get("Instances", []):
                    answer = Answer(
                        instance=instance.get("InstanceId", ""),
                        place=place,
                        owner=reservation.get("OwnerId", ""),
                        zone=instance.get("Placement", {}).get("AvailabilityZone", ""),
                        state=instance.get("State", {}).get("Name", ""),
                    )
                    yield answer, instance
            if not page.get("NextToken"):
                return
            token = {"NextToken": page["NextToken"]}
        raise TemporaryError(f"EC2 answers in more than {_MOST_PAGES} pages for {len(values)} instances in {place}.")

    def _explained(self, what: str, error: ClientError) -> ConfigurationError | TemporaryError:
        if code_of(error) != _DENIED:
            return super()._explained(what, error)
        # Without AWS's text, which consists of an encoded message.
        return ConfigurationError(
            f"{self._cannot(what)}: not allowed. Allow ec2:DescribeInstances to these credentials "
            "(deploy/iam/describe-instances.json), or set [tenable] resolve_unplaced_instances = False."
        )

    def _page(self, name: str, values: list[str], token: dict[str, str]) -> dict[str, Any]:
        asked = {"Filters": [{"Name": name, "Values": values}], "MaxResults": _PAGE_INSTANCES, **token}
        return self._patiently(
            lambda: self._once("find instances", lambda: self.client.describe_instances(**asked), "Reservations")
        )


def _interface(found: dict[str, Any]) -> Interface:
    addresses = (each.get("PrivateIpAddress", "") for each in found.get("PrivateIpAddresses", []))
    return Interface(found.get("MacAddress", "").lower(), frozenset(filter(None, addresses)), found.get("VpcId", ""))


__all__ = ["MOST_VALUES", "Ec2InstancesHook"]
