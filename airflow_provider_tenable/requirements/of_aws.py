"""The checks of AWS: the destinations, and each account and Region that the assets name."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable import config
from airflow_provider_tenable.assets.placement import Place
from airflow_provider_tenable.aws import Caller, partition_of
from airflow_provider_tenable.exceptions import ConfigurationError, HubOffError
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.requirements.lines import FAILED, OK, UNCHECKED, Line, guarded, line_of, unchecked
from airflow_provider_tenable.run.asset_locations import Location
from airflow_provider_tenable.run.params import IMPORT
from airflow_provider_tenable.security_hub import advice
from airflow_provider_tenable.tenable_vm.times import utc
from airflow_provider_tenable.transform.destinations import Destination, parse_destinations, resolve
from airflow_provider_tenable.transform.routing import CHOSEN, NOT_REACHABLE, OTHER_PARTITION, Router

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.ec2_instances import Ec2InstancesHook
    from airflow_provider_tenable.hooks.security_hub import SecurityHubHook

#: Concurrent checks, and seconds after which no further account and Region is begun.
_TOGETHER, _SECONDS = 8, 120.0
#: The checks of an account and Region after its partition, in their order: each needs the ones before it.
_OF_PLACE = ("aws.role", "aws.region", "aws.hub", "aws.product", "aws.get_findings")
_OF_EC2 = "aws.describe_instances"
#: An id that no instance has: what is asked is whether the call is allowed.
_NO_INSTANCE = "i-00000000000000000"
#: Words by which an error says that it concerns the Region.
_OF_REGION = (advice.NOT_ENABLED, advice.UNKNOWN_KEY, "There is probably no such endpoint in Region")
_MOST_NAMED = 10


def check_destinations(value: Any, routing: str) -> tuple[list[Destination], list[Line]]:
    """Check the destinations one by one, so that an error of one does not hide those of others.

    :param value: the param ``destinations``.
    :return: the usable ones, and the lines of ``aws.destinations``.
    """
    check = "aws.destinations"
    try:
        entries = parse_destinations(value)
    except ConfigurationError as error:
        return [], [line_of(check, "", error)]
    usable, lines = [], []
    for entry in entries:
        name = quoted(entry.aws_conn_id, 80)

        def resolved(entry: Destination = entry) -> str:
            usable.extend(resolve([entry], _identify, routing))
            return f"The credentials belong to account {entry.caller_account}."

        lines.append(guarded(check, name, resolved))
    return usable, lines


def _identify(conn_id: str | None, region: str | None) -> Caller:
    from airflow_provider_tenable.hooks.security_hub import SecurityHubHook

    with closing(SecurityHubHook(aws_conn_id=conn_id, region_name=region)) as hook:
        caller = hook.identify()
    return caller._replace(region=SecurityHubHook(aws_conn_id=conn_id).region_of_connection()) if region else caller


def accounts_of(destinations: Sequence[Destination], locations: Mapping[Location, int]) -> set[str]:
    """The AWS accounts that get findings: those that the destinations name, and those of the assets."""
    named = {account for entry in destinations for account in entry.accounts}
    return named | set(_instances(locations, "owner_id"))


def _instances(locations: Mapping[Location, int], field: str) -> Counter[str]:
    """The number of EC2 instances by a field of their location."""
    counts = Counter[str]()
    for location, count in locations.items():
        if not location.skip_reason:
            counts[str(getattr(location, field))] += count
    return counts


class Places:
    """The accounts and hub Regions that are checked.

    :param locations: the locations of the assets in the index, with their numbers; empty without an index.
    """

    def __init__(self, destinations: Sequence[Destination], routing: str, locations: Mapping[Location, int]) -> None:
        self._router = Router(list(destinations), routing)
        self.targets: dict[str, Destination] = {}
        self._left_out: dict[str, Counter[str]] = {}
        if _instances(locations, "owner_id"):
            self._by_assets(locations)
        else:
            self._by_destinations(routing)

    def _by_assets(self, locations: Mapping[Location, int]) -> None:
        counts = Counter[str]()
        for location, count in locations.items():
            if location.skip_reason:
                continue
            account, region = str(location.owner_id), location.resource_region
            route = self._router.route(account, region)
            if isinstance(route, str):
                self._left_out.setdefault(route, Counter())[f"{account}/{region}"] += count
                continue
            place = f"{account}/{route[1]}"
            counts[place] += count
            self.targets[place] = route[0]
        # Those with the most assets first, in case not all can be checked.
        self.targets = {place: self.targets[place] for place, _ in counts.most_common()}

    def _by_destinations(self, routing: str) -> None:
        for entry in self._router.destinations:
            regions = (entry.region,) if entry.region else entry.regions or (entry.connection_region,)
            for account in entry.accounts or (entry.caller_account,):
                for region in filter(None, regions):
                    if account not in entry.exclude_accounts:
                        self.targets.setdefault(f"{account}/{region}", entry)

    def lines(self) -> Iterator[Line]:
        """The lines of ``aws.accounts``, and of partitions without a destination."""
        for place, count in self._left_out.get(OTHER_PARTITION, Counter()).items():
            detail = f"{count:,} assets are in partition {partition_of(place.partition('/')[2])}: no destination is."
            yield Line("aws.partition", place, FAILED, detail)
        unserved = Counter[str]()
        for reason, found in self._left_out.items():
            if reason not in (*CHOSEN, OTHER_PARTITION):
                for place, count in found.items():
                    unserved[place.partition("/")[0]] += count
        if not unserved:
            yield Line("aws.accounts", "", OK, f"{len({place[:12] for place in self.targets})} accounts are checked.")
            return
        some = ", ".join(f"{account} ({count:,} assets)" for account, count in unserved.most_common(_MOST_NAMED))
        more = f", and {len(unserved) - _MOST_NAMED} more" if len(unserved) > _MOST_NAMED else ""
        role = "Give the destination a role_name, and create that role in the account."
        only_role = set(self._left_out) - {*CHOSEN, OTHER_PARTITION} == {NOT_REACHABLE}
        detail = f"No destination for {len(unserved)} accounts: {some}{more}."
        yield Line("aws.accounts", "", FAILED, detail, role if only_role else "")


def check_places(
    targets: Mapping[str, Destination],
    *,
    product: str,
    resolves: bool = False,
    accepted: Mapping[str, int],
    refused: Mapping[str, str],
    most: int,
) -> Iterator[Line]:
    """The lines of each account and Region. Several are checked at a time, and none is begun after two minutes.

    :param targets: ``account/region`` -> its destination, the most important first.
    :param resolves: whether runs ask EC2 for instances.
    :param accepted: places that have accepted findings -> when first, unix seconds.
    :param refused: places that refused findings since -> why.
    :param most: how many are checked at most.
    """
    if not targets:
        yield from unchecked(
            ("aws.partition", *_OF_PLACE, "aws.import"),
            "",
            "No account and Region is known: no destination is usable, or none names a Region.",
            "Correct aws.destinations first.",
        )
        if resolves:
            yield from unchecked((_OF_EC2,), "", "No account and Region is known.", "Correct aws.destinations first.")
        return
    results: dict[str, list[Line]] = {}
    until, running = time.monotonic() + _SECONDS, set[Future[None]]()
    with ThreadPoolExecutor(max_workers=_TOGETHER, thread_name_prefix="requirements") as pool:
        for place, destination in list(targets.items())[:most]:
            if len(running) >= _TOGETHER:
                _, running = wait(running, max(until - time.monotonic(), 0), FIRST_COMPLETED)
            if time.monotonic() >= until:
                break
            lines = results[place] = [_partition(place, destination)]
            try:
                # Here, because a connection is looked up in the task's own thread.
                hook = _hook(place, destination)
                ec2 = _ec2_hook(place, destination) if resolves else None
            except Exception as error:  # noqa: BLE001 - one connection must not stop the checks of the others.
                lines += _after(place, "aws.role", line_of("aws.role", place, error))
            else:
                running.add(pool.submit(_check_place_and_ec2, lines, hook, place, product, ec2))
    for place, lines in results.items():
        yield from lines
        yield _import(place, accepted, refused)
    if left := len(targets) - len(results):
        some = ", ".join([place for place in targets if place not in results][:_MOST_NAMED])
        yield Line("aws.bound", "", UNCHECKED, f"{left} of {len(targets)} accounts and Regions not checked: {some}.")


def _hook(place: str, destination: Destination) -> SecurityHubHook:
    from airflow_provider_tenable.hooks.security_hub import SecurityHubHook

    account, region = place.split("/")
    return SecurityHubHook.reaching(destination, account, region)


def _ec2_hook(place: str, destination: Destination) -> Ec2InstancesHook:
    from airflow_provider_tenable.hooks.ec2_instances import Ec2InstancesHook

    return Ec2InstancesHook.reaching(destination, Place(*place.split("/")))


def _check_place_and_ec2(
    lines: list[Line], hook: SecurityHubHook, place: str, product: str, ec2: Ec2InstancesHook | None
) -> None:
    """:param ec2: EC2 there, where runs ask it for instances."""
    _check_place(lines, hook, place, product)
    if ec2 is None:
        return
    if not any(line.check == "aws.role" and line.state == OK for line in lines):
        lines += unchecked((_OF_EC2,), place, "Not checked, because aws.role is not ok.", "See aws.role.")
        return

    def allowed() -> str:
        list(ec2.find([_NO_INSTANCE], Place(*place.split("/"))))
        return "DescribeInstances is allowed."

    with closing(ec2):
        lines.append(guarded(_OF_EC2, place, allowed))


def _check_place(lines: list[Line], hook: SecurityHubHook, place: str, product: str) -> None:
    account, region = place.split("/")

    def role() -> Line | str:
        caller = hook.identify()
        if caller.account != account:
            return Line("aws.role", place, FAILED, f"The credentials belong to account {caller.account}.")
        return f"The credentials belong to account {account}."

    def product_line() -> Line | str:
        if hook.takes_product(product):
            return f"The account takes findings of {product}."
        if config.get("enable_product"):
            return "Not subscribed yet: the first import subscribes it ([tenable] enable_product)."
        return Line("aws.product", place, FAILED, f"The account is not subscribed to {product}.")

    def reading() -> str:
        hook.check_reading(account, region)
        return "GetFindings is allowed."

    with closing(hook):
        found = guarded("aws.role", place, role)
        if found.state != OK:
            lines += _refused(place, "aws.role", found)
            return
        lines.append(found)
        try:
            hook.check_hub()
        except HubOffError as error:
            lines.append(Line("aws.region", place, OK, "The Region answers."))
            lines += _after(place, "aws.hub", line_of("aws.hub", place, error))
            return
        except Exception as error:  # noqa: BLE001 - one check must not stop the others.
            lines += _refused(place, "aws.hub", line_of("aws.hub", place, error))
            if not lines[-1].detail.startswith("Not checked, because aws.region"):
                # The hub may be on although these credentials may not describe it.
                lines[-2:] = [guarded("aws.product", place, product_line), guarded("aws.get_findings", place, reading)]
            return
        lines.append(Line("aws.region", place, OK, "The Region answers."))
        lines.append(Line("aws.hub", place, OK, "Security Hub CSPM is on."))
        lines.append(guarded("aws.product", place, product_line))
        lines.append(guarded("aws.get_findings", place, reading))


def _refused(place: str, check: str, line: Line) -> list[Line]:
    """The lines of a place from a check on that did not succeed: the Region's failure, where the error says so."""
    if line.state == FAILED and any(words in line.detail for words in _OF_REGION):
        role = (
            [Line("aws.role", place, UNCHECKED, "The Region does not accept the credentials.", "See aws.region.")]
            if check == "aws.role"
            else []
        )
        return [*role, *_after(place, "aws.region", Line("aws.region", place, FAILED, line.detail))]
    if check == "aws.hub":
        answers = Line("aws.region", place, OK if line.state == FAILED else UNCHECKED, "The Region answers.")
        if line.state != FAILED:
            answers = Line("aws.region", place, UNCHECKED, line.detail, line.advice)
        return [answers, *_after(place, "aws.hub", line)]
    return _after(place, check, line)


def _after(place: str, check: str, line: Line) -> list[Line]:
    """A line that did not succeed, and those of the checks that need it."""
    later = _OF_PLACE[_OF_PLACE.index(check) + 1 :]
    return [line, *unchecked(later, place, f"Not checked, because {check} is {line.state}.", f"See {check}.")]


def _partition(place: str, destination: Destination) -> Line:
    partition = partition_of(place.partition("/")[2])
    if destination.partition in ("", partition):
        return Line("aws.partition", place, OK, f"Partition {partition}.")
    detail = f"The Region is in partition {partition}, the credentials are of {destination.partition}."
    return Line("aws.partition", place, FAILED, detail)


def _import(place: str, accepted: Mapping[str, int], refused: Mapping[str, str]) -> Line:
    if place in refused:
        return Line("aws.import", place, FAILED, f"The last run could not import there: {refused[place]}")
    if place in accepted:
        return Line("aws.import", place, OK, f"Security Hub CSPM has accepted findings since {utc(accepted[place])}.")
    detail = "No run has imported anything there yet, and BatchImportFindings cannot be tried without a finding."
    return Line("aws.import", place, UNCHECKED, detail, "Run the DAG: aws.product and aws.role are the usual causes.")


def destinations_of(params: Mapping[str, Any], given: Any) -> Any:
    """The destinations to check: those given, those of the DAG's params, or the deployment's."""
    return _first("destinations", params, given)


def routing_of(params: Mapping[str, Any], given: Any) -> str:
    """The Region routing to check, found like the destinations."""
    return str(_first("region_routing", params, given))


def _first(name: str, params: Mapping[str, Any], given: Any) -> Any:
    if given is not None:
        return given
    return params[name] if name in params else config.dag_params().get(name, IMPORT[name].default)
