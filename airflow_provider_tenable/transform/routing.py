"""Routing of findings: the destination of an account, and the Region whose hub receives its findings."""

from __future__ import annotations

from collections.abc import Collection

from airflow_provider_tenable.aws import partition_of
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.transform.destinations import FIXED, Destination

NOT_CONFIGURED = "account_not_configured"
NOT_REACHABLE = "account_not_reachable_without_role"
OTHER_PARTITION = "other_partition"
ACCOUNT_EXCLUDED = "account_excluded"
REGION_EXCLUDED = "region_excluded"
DESTINATION_REFUSED = "destination_refused"
#: A Region of each partition: what decides between destinations is the partition alone.
_ANY_REGION = {"aws": "us-east-1", "aws-us-gov": "us-gov-west-1", "aws-cn": "cn-north-1"}
#: Reasons chosen by the user: records skipped for them do not count as unserved.
CHOSEN = (ACCOUNT_EXCLUDED, REGION_EXCLUDED)


class Router:
    """Finds the destination of an account.

    :param routing: ``fixed`` or ``resource``.
    :param refused: the accounts and hub Regions (``account/region``) that refuse findings for good.
    """

    def __init__(self, destinations: list[Destination], routing: str, refused: Collection[str] = frozenset()) -> None:
        self.destinations = destinations
        self.routing = routing
        self.refused = refused

    def route(self, account: str, resource_region: str) -> tuple[Destination, str] | str:
        """The destination and its hub's Region, or the reason why no destination matches."""
        matching = [candidate for candidate in self.destinations if candidate.matches(account)]
        if not matching:
            return NOT_CONFIGURED
        matching = [candidate for candidate in matching if account not in candidate.exclude_accounts]
        if not matching:
            return ACCOUNT_EXCLUDED
        matching = [candidate for candidate in matching if candidate.takes_region(resource_region, self.routing)]
        if not matching:
            return REGION_EXCLUDED
        destination = next(
            (candidate for candidate in matching if candidate.takes_partition_of(resource_region, self.routing)), None
        )
        if destination is None:
            return OTHER_PARTITION
        if not destination.role_name and account != destination.caller_account:
            return NOT_REACHABLE
        region = destination.hub_region(resource_region, self.routing)
        if not region:
            return NOT_CONFIGURED
        return DESTINATION_REFUSED if f"{account}/{region}" in self.refused else (destination, region)

    def route_account(self, account: str, regions: Collection[str], partition: str) -> tuple[Destination, str] | str:
        """The same for what concerns a whole account, which has no Region: the hub of the destination's or the
        connection's Region, else that of the first of ``regions`` that the destinations take.

        :param partition: of the account; empty: unknown.
        """
        inside = next((region for region in regions if partition_of(region) == partition), _ANY_REGION.get(partition))
        found = Router(self.destinations, FIXED, self.refused).route(account, inside or "")
        if not isinstance(found, str) or found == DESTINATION_REFUSED or self.routing == FIXED:
            return found
        routes = [self.route(account, region) for region in regions]
        # Where the only hubs refuse, what they are owed is to be on record.
        refused = DESTINATION_REFUSED if DESTINATION_REFUSED in routes else found
        return next((route for route in routes if not isinstance(route, str)), refused)

    def place(self, account: str, resource_region: str) -> str | None:
        """The account and hub Region that findings of a resource belong to, whether it refuses them or not; None where
        there is none.
        """
        route = Router(self.destinations, self.routing).route(account, resource_region)
        return None if isinstance(route, str) else f"{account}/{route[1]}"

    def home(self) -> tuple[str, str]:
        """Account and hub Region for assets without an AWS account: those of the first destination."""
        first = self.destinations[0]
        account = first.accounts[0] if first.accounts and first.role_name else first.caller_account
        region = first.region or first.connection_region
        if not region:
            raise ConfigurationError(
                "What is in no AWS account (a web application; with non_ec2_assets=other, any other asset) needs a hub "
                "Region: put region into the first destination, or into its connection."
            )
        return account, region


__all__ = [
    "ACCOUNT_EXCLUDED",
    "CHOSEN",
    "DESTINATION_REFUSED",
    "NOT_CONFIGURED",
    "NOT_REACHABLE",
    "OTHER_PARTITION",
    "REGION_EXCLUDED",
    "Destination",
    "Router",
]
