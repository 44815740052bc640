"""Destinations of findings: the DAG param, checked, and the connections that it names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from airflow_provider_tenable.aws import ACCOUNT, REGION, Caller, partition_of
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.identifiers import is_connection_id, is_external_id, is_role_name, shown
from airflow_provider_tenable.transform.scope import EVERYTHING, Scope
from airflow_provider_tenable.transform.scope_values import parse_scope

DEFAULT = [{"aws_conn_id": "aws_default", "accounts": "*", "role_name": None, "region": None}]
#: Where findings go without a ``region`` in the destination: to the connection's Region, or to the resource's.
FIXED, BY_RESOURCE = "fixed", "resource"

_FIELDS = frozenset(
    {"aws_conn_id", "accounts", "role_name", "region", "external_id", "exclude_accounts", "regions", "scope"}
)


class Destination(Struct):
    """One destination from the DAG param, with the attributes of its connection.

    :ivar accounts: 12-digit ids; empty: all.
    :ivar region: the hub's Region, if the destination itself names one.
    :ivar caller_account: the account of the connection's own credentials.
    :ivar connection_region: the connection's Region.
    :ivar external_id: the external id that the role's trust policy requires.
    :ivar partition: the partition of the connection's credentials; empty if unknown.
    :ivar exclude_accounts: accounts that are left out although ``accounts`` includes them.
    :ivar regions: the hub Regions that receive findings; empty: all.
    :ivar scope: what is imported there of what the DAG imports; None: all of it.
    """

    aws_conn_id: str | None
    accounts: tuple[str, ...]
    role_name: str | None = None
    region: str | None = None
    caller_account: str = ""
    connection_region: str | None = None
    external_id: str | None = None
    partition: str = ""
    exclude_accounts: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    scope: Scope | None = None

    def matches(self, account: str) -> bool:
        return not self.accounts or account in self.accounts

    def hub_region(self, resource_region: str, routing: str) -> str | None:
        """The Region whose hub receives the findings of a resource."""
        if self.region:
            return self.region
        return resource_region if routing == BY_RESOURCE else self.connection_region

    def takes_region(self, resource_region: str, routing: str) -> bool:
        """Whether the hub for a resource's findings is in one of the destination's Regions."""
        return not self.regions or self.hub_region(resource_region, routing) in self.regions

    def takes_partition_of(self, resource_region: str, routing: str) -> bool:
        """Whether the destination is in the partition of a Region's resources: credentials and hubs work only within
        their partition.
        """
        if not resource_region:
            return True
        hub = self.hub_region(resource_region, routing) or resource_region
        own = self.partition or (partition_of(self.connection_region) if self.connection_region else partition_of(hub))
        return own == partition_of(hub) == partition_of(resource_region)


def parse_destinations(value: Any) -> list[Destination]:
    """Check the DAG param ``destinations``.

    :raises ConfigurationError: an entry is invalid; the message names it and the reason.
    """
    if not isinstance(value, list) or not value:
        raise ConfigurationError(f"destinations must be a list of at least one destination such as {DEFAULT[0]}.")
    return [_parse(entry, number) for number, entry in enumerate(value)]


def _parse(entry: Any, number: int) -> Destination:
    where = f"destinations[{number}]"
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{where} must be an object such as {DEFAULT[0]}, not {type(entry).__name__}.")
    unknown = sorted(set(entry) - _FIELDS)
    if unknown:
        raise ConfigurationError(f"{where} has unknown fields {unknown}. The known fields are {sorted(_FIELDS)}.")
    conn_id = entry.get("aws_conn_id", "aws_default")
    if conn_id is not None and (not isinstance(conn_id, str) or not conn_id.strip()):
        raise ConfigurationError(
            f"{where}.aws_conn_id must be the id of an AWS connection, or null for the worker's own credentials."
        )
    if conn_id is not None and not is_connection_id(conn_id):
        raise ConfigurationError(
            f"{where}.aws_conn_id is {shown(conn_id)}. Airflow allows letters, digits and _ # ! ( ) - . : / \\ in a "
            "connection id, and at most 250 of them."
        )
    accounts, excluded = _accounts(entry, where)
    region = entry.get("region")
    if region is not None and (not isinstance(region, str) or not REGION.fullmatch(region)):
        raise ConfigurationError(f"{where}.region is {shown(region)}, which is not an AWS Region such as eu-west-1.")
    regions = _regions(entry, where)
    role = _role(entry, where)
    external_id = entry.get("external_id")
    if external_id is not None and not is_external_id(external_id):
        raise ConfigurationError(
            f"{where}.external_id is {shown(external_id)}. IAM allows letters, digits and _ + = , . @ : / - in an "
            "external id, and 2 to 1,224 of them."
        )
    if external_id is not None and role is None:
        raise ConfigurationError(f"{where}.external_id is used when a role is assumed: set role_name too.")
    return Destination(
        conn_id,
        () if accounts == "*" else tuple(accounts),
        role,
        region,
        external_id=external_id,
        exclude_accounts=tuple(excluded),
        regions=tuple(regions),
        scope=_scope(entry.get("scope"), where),
    )


def _scope(value: Any, where: str) -> Scope | None:
    if value is None:
        return None
    names = Scope.__struct_fields__
    if not isinstance(value, dict) or set(value) - set(names):
        raise ConfigurationError(
            f"{where}.scope is {shown(value)}. It must be an object with any of the params {', '.join(names)}."
        )
    try:
        scope = parse_scope(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}.scope: {error}") from None
    return None if scope == EVERYTHING else scope


def _accounts(entry: dict[str, Any], where: str) -> tuple[Any, list[Any]]:
    accounts = entry.get("accounts", "*")
    if accounts != "*" and (not isinstance(accounts, list) or not accounts):
        raise ConfigurationError(f'{where}.accounts must be "*" or a list of account ids.')
    excluded = _list(entry, "exclude_accounts", where, "account ids")
    for name, account in [
        *(("accounts", account) for account in accounts if accounts != "*"),
        *(("exclude_accounts", account) for account in excluded),
    ]:
        if not isinstance(account, str) or not ACCOUNT.fullmatch(account):
            raise ConfigurationError(
                f"{where}.{name} has {shown(account)}. An account id must be a string of 12 digits, in quotes (a "
                "number loses its leading zeros)."
            )
    return accounts, excluded


def _regions(entry: dict[str, Any], where: str) -> list[Any]:
    regions = _list(entry, "regions", where, "Regions")
    for region in regions:
        if not isinstance(region, str) or not REGION.fullmatch(region):
            raise ConfigurationError(
                f"{where}.regions has {shown(region)}, which is not an AWS Region such as eu-west-1."
            )
    if regions and entry.get("region") is not None:
        raise ConfigurationError(
            f"{where} has both region and regions. region is the only hub; regions are the Regions that findings may "
            "be routed to."
        )
    return regions


def _role(entry: dict[str, Any], where: str) -> str | None:
    role = entry.get("role_name")
    if role is not None and (not isinstance(role, str) or not role.strip() or role.startswith("arn:")):
        raise ConfigurationError(
            f"{where}.role_name is the name of a role (with its path), not an ARN: it is assumed in each finding's "
            "own account."
        )
    if role is not None and not is_role_name(role):
        raise ConfigurationError(
            f"{where}.role_name is {shown(role)}. IAM allows letters, digits and _ + = , . @ - in a role's name, at "
            "most 64 of them, after a path such as team/security/ (printable ASCII characters without spaces, no "
            "slash at the beginning)."
        )
    return role


def _list(entry: dict[str, Any], name: str, where: str, of: str) -> list[Any]:
    value = entry.get(name)
    if value is not None and not isinstance(value, list):
        raise ConfigurationError(f"{where}.{name} must be a list of {of}.")
    return value or []


def resolve(
    destinations: list[Destination], identify: Callable[[str | None, str | None], Caller], routing: str
) -> list[Destination]:
    """Identify the owner of each connection's credentials, and check that the destination can use it.

    :param identify: (connection id, Region in which STS is called, or None for the connection's own) -> the owner of
        the credentials, with the connection's Region. Called once per connection and Region.
    :raises ConfigurationError: a destination could not import anything.
    """
    known: dict[tuple[str | None, str | None], Caller] = {}
    for number, destination in enumerate(destinations):
        key = (destination.aws_conn_id, destination.region)
        if key not in known:
            known[key] = identify(*key)
        destination.caller_account, destination.connection_region, destination.partition = known[key]
        where = f"destinations[{number}] (connection {destination.aws_conn_id!r})"
        if (
            not destination.role_name
            and destination.accounts
            and destination.caller_account not in destination.accounts
        ):
            raise ConfigurationError(
                f"{where} is for accounts {list(destination.accounts)}, but its credentials belong to account "
                f"{destination.caller_account}, and Security Hub CSPM takes findings only from the account itself. "
                "Name a role_name to assume in those accounts, or use their connection."
            )
        if not destination.region and routing == FIXED and not destination.connection_region:
            raise ConfigurationError(
                f"{where} has no Region. Put region into the destination or region_name into the connection's extra, "
                "or use region_routing=resource."
            )
    return destinations
