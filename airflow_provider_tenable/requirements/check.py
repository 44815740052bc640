"""Runs all checks. None of them stops another one."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_tenable import config
from airflow_provider_tenable.assets.index import known_assets
from airflow_provider_tenable.assets.parquet import read_table
from airflow_provider_tenable.exceptions import TenableProviderError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.requirements.lines import Line, in_order, line_of, unchecked
from airflow_provider_tenable.requirements.of_airflow import check_airflow
from airflow_provider_tenable.requirements.of_audits import check_audits
from airflow_provider_tenable.requirements.of_aws import Places, accounts_of, check_destinations, check_places
from airflow_provider_tenable.requirements.of_connector import check_connectors
from airflow_provider_tenable.requirements.of_staging import check_staging
from airflow_provider_tenable.requirements.of_tenable import check_tenable
from airflow_provider_tenable.run import places
from airflow_provider_tenable.run.asset_locations import Location, count_locations
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.tenable_vm.api_user import ApiUser

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.tenable import TenableHook

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What is checked.

    :ivar wanted: the checks.
    :ivar of_dag: the DAG that imports; its asset index names the accounts, and its records say where it has imported.
    :ivar dag_id: the DAG that checks, in whose folder a marker is left; None outside of a DAG.
    :ivar destinations: as the param of the same name.
    :ivar earlier_marker: what the last run of the task has written to the staging area.
    :ivar max_active_runs: that of the importing DAG, if it is the DAG that checks.
    """

    wanted: frozenset[str]
    staging: str
    of_dag: str
    destinations: Any
    product: str
    region_routing: str = "fixed"
    dag_id: str | None = None
    pool: str = "default_pool"
    max_places: int = 50
    max_sync_age_hours: float = 48.0
    earlier_marker: Any = None
    max_active_runs: int | None = None


@dataclass
class Known:
    """What the importing DAG's own files say.

    :ivar locations: where the assets of its index are, with their numbers.
    :ivar deleted: the number of deleted assets in the index.
    """

    locations: Mapping[Location, int] = field(default_factory=Counter)
    deleted: int = 0

    @property
    def accounts(self) -> set[str]:
        return {str(location.owner_id) for location in self.locations if not location.skip_reason}


def check_all(scope: Scope, hook: TenableHook) -> tuple[list[Line], dict[str, Any]]:
    """All lines, in the order of the catalogue, and the marker that was left in the staging area, if any."""
    staging, marker = _staging(scope)
    lines = [*_services(scope, hook), *staging, *_airflow(scope)]
    return in_order(lines, scope.wanted), marker


def _staging(scope: Scope) -> tuple[list[Line], dict[str, Any]]:
    if not _any(scope, "staging"):
        return [], {}
    from airflow_provider_tenable.staging.location import open_path

    try:
        folder = open_path(scope.staging)
        return check_staging(
            folder / scope.dag_id if scope.dag_id else folder,
            marker=scope.dag_id is not None,
            earlier=scope.earlier_marker,
        )
    except Exception as error:  # noqa: BLE001 - the other groups are checked too.
        others = ("staging.shared", "staging.space", "staging.permissions")
        return [
            line_of("staging.write", "", error),
            *unchecked(others, "", "Not checked: the staging area cannot be opened.", "See staging.write."),
        ], {}


def _airflow(scope: Scope) -> Iterator[Line]:
    if _any(scope, "airflow"):
        yield from check_airflow(
            pool=scope.pool,
            of_dag=scope.of_dag,
            max_active_runs=scope.max_active_runs,
            in_task=scope.dag_id is not None,
        )


def _services(scope: Scope, hook: TenableHook) -> Iterator[Line]:
    """The lines of Tenable, its connectors, and AWS, which need each other's results."""
    with closing(hook):
        # Lambdas, because the connection is looked up when the property is read.
        user = _attempt(lambda: hook.api_user.me())  # noqa: PLW0108
        known = Known() if isinstance(user, Exception) else _known(scope, hook)
        if _any(scope, "tenable", "scanner"):
            yield from check_tenable(hook, user, known.deleted)
        if _any(scope, "audit"):
            yield from check_audits(hook, user, scope.staging, most=scope.max_places)
        if not _any(scope, "aws", "connector"):
            return
        destinations, lines = check_destinations(scope.destinations, scope.region_routing)
        if _any(scope, "connector"):
            yield from check_connectors(
                user if isinstance(user, Exception) else _attempt(lambda: hook.connectors.aws()),  # noqa: PLW0108
                accounts=accounts_of(destinations, known.locations),
                seen=known.accounts,
                now=(user.server_time if isinstance(user, ApiUser) else None) or time.time(),
                max_sync_age_hours=scope.max_sync_age_hours,
            )
    if not _any(scope, "aws"):
        return
    yield from lines
    found = Places(destinations, scope.region_routing, known.locations)
    yield from found.lines()
    accepted, refused = _imported(scope)
    yield from check_places(
        found.targets,
        product=scope.product,
        resolves=config.get("resolve_unplaced_instances"),
        accepted=accepted,
        refused=refused,
        most=scope.max_places,
    )


def _known(scope: Scope, hook: TenableHook) -> Known:
    """What the asset index of the importing DAG says. Without an index, or with a damaged one: nothing."""
    try:
        parts = known_assets(_run(scope), source=hook.api.identity())
        deleted = sum(
            sum(moment is not None for moment in read_table(part, ("deleted_at",)).column("deleted_at").to_pylist())
            for part in parts
        )
        return Known(count_locations(parts), deleted)
    except (TenableProviderError, OSError) as error:
        log.warning("The asset index of %s is not used: %s", safe(scope.of_dag), safe(error))
        return Known()


def _imported(scope: Scope) -> tuple[dict[str, int], dict[str, str]]:
    """Where the importing DAG has imported, and where it was refused."""
    try:
        run = _run(scope)
        accepted = {}
        for place in places.accepted_before(run):
            noted = read_json(run.reached_places / f"{place.replace('/', '-')}.json", advice="")
            at = noted.get("at") if isinstance(noted, dict) else None
            accepted[place] = at if type(at) is int else 0
        return accepted, {place: entry["why"] for place, entry in places.owed(run).items()}
    except (TenableProviderError, OSError) as error:
        log.warning("The records of %s about its imports are not used: %s", safe(scope.of_dag), safe(error))
        return {}, {}


def _run(scope: Scope) -> RunFolder:
    return RunFolder(scope.staging, scope.of_dag, "requirements")


def _attempt(call: Callable[[], T]) -> T | Exception:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - it becomes a line.
        return error


def _any(scope: Scope, *groups: str) -> bool:
    return any(check.partition(".")[0] in groups for check in scope.wanted)
