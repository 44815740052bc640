"""Assigns accounts and Regions to import tasks: one per task while there are enough tasks, otherwise in groups with
about equal numbers of findings.

A group is stored in a file in the run's folder, and XCom contains only its number. Thousands of destinations with the
names of their parts are too much for XCom. And the user who triggers a run chooses the names of roles and connections,
which must not reach the arguments of a mapped task: Airflow renders those of ``expand_kwargs`` as templates
(apache/airflow#33733).
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, TypedDict

from msgspec import Struct

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.identifiers import invalid_target, is_part_name, shown
from airflow_provider_tenable.staging.files import read_json, write_json

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath
    from airflow_provider_tenable.staging.layout import RunFolder


class Target(Struct, frozen=True):
    """One account and hub Region, how to reach it, and its findings.

    :ivar parts: (name, findings) of each staged part.
    :ivar external_id: the external id that the role's trust policy requires.
    """

    account: str
    region: str
    aws_conn_id: str | None
    role_name: str | None
    parts: list[tuple[str, int]]
    external_id: str | None = None

    @property
    def findings(self) -> int:
        """The number of its findings."""
        return sum(count for _, count in self.parts)

    def __str__(self) -> str:
        return f"{self.account}/{self.region}"


class Assignment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The work that ``plan_imports`` assigns to one import task.

    :ivar group: the number of its group.
    :ivar title: what the mapped task is called in the UI.
    :ivar account: with ``region``, ``aws_conn_id`` and ``role_name``: as version 0.1.0 planned an import into a
        single account and Region.
    """

    batch_size: int
    dry_run: bool
    group: int | None = None
    title: str | None = None
    account: str | None = None
    region: str | None = None
    aws_conn_id: str | None = None
    role_name: str | None = None


class AssignmentEntry(TypedDict):
    """An :class:`Assignment` as ``plan_imports`` puts it into XCom."""

    group: int
    title: str
    batch_size: int
    dry_run: bool


def parse_assignment(value: Any) -> Assignment:
    """An entry of the XCom of ``plan_imports``. :raises StagingError: it is invalid."""
    import msgspec

    try:
        return msgspec.convert(value, Assignment)
    except msgspec.ValidationError as error:
        raise StagingError(
            f"This task's entry in the XCom of plan_imports cannot be read ({safe(error)}). Clear the run's tasks "
            "from plan_imports on."
        ) from error


def fault_of(target: Target) -> str | None:
    """What is wrong with a target that was read from a file, in words; None if it is valid."""
    for name, _ in target.parts:
        if not is_part_name(name):
            return f"{shown(name)} is not the name of a staged part"
    return invalid_target(
        account=target.account,
        region=target.region,
        aws_conn_id=target.aws_conn_id,
        role_name=target.role_name,
        external_id=target.external_id,
    )


def grouped(targets: list[Target], tasks: int) -> list[list[Target]]:
    """Distribute targets over at most ``tasks`` groups.

    No group is empty, each target is in exactly one, and the same targets always give the same groups. Starting with
    the largest, each target goes to the group with the fewest findings: then no group exceeds the optimum by more than
    a third (Graham's bound).
    """
    if len(targets) <= tasks:
        return [[target] for target in targets]
    groups: list[list[Target]] = [[] for _ in range(tasks)]
    # Fewest findings, then fewest targets: small targets still cost their preflight.
    heap = [(0, 0, number) for number in range(tasks)]
    for target in sorted(targets, key=lambda target: (-target.findings, target.account, target.region)):
        findings, count, number = heap[0]
        groups[number].append(target)
        heapq.heapreplace(heap, (findings + target.findings, count + 1, number))
    return [group for group in groups if group]


def name_of(group: list[Target]) -> str:
    """The name of a group's mapped task in the UI."""
    return str(group[0]) if len(group) == 1 else f"{group[0]} and {len(group) - 1} more"


def write_group(run: RunFolder, number: int, group: list[Target], *, archives: bool = False) -> None:
    """Store a group for its task.

    :param archives: whether the task archives what is gone, instead of importing.
    """
    import msgspec

    write_json(_path_of(run, number, archives=archives), {"targets": msgspec.to_builtins(group)})


def _path_of(run: RunFolder, number: int, *, archives: bool) -> ObjectStoragePath:
    return run.archive_group(number) if archives else run.import_group(number)


def read_group(run: RunFolder, number: int, *, archives: bool = False) -> list[Target]:
    """The targets of a group. :raises StagingError: it was not planned, or was changed since."""
    import msgspec

    path = _path_of(run, number, archives=archives)
    what, done, advice = (
        ("archiving was", "archived", "Clear the run's tasks from plan_archiving on.")
        if archives
        else ("imports were", "imported", "Clear the run's tasks from plan_imports on.")
    )
    group = read_json(path)
    if group is None:
        raise StagingError(f"{path} is missing: the {what} not planned. {advice}")
    try:
        targets = msgspec.convert(group["targets"], list[Target])
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise StagingError(f"{path} cannot be read ({safe(error)}). {advice}") from error
    for target in targets:
        if fault := fault_of(target):
            raise StagingError(f"{path} was changed after it was planned: {fault}. Nothing was {done}. {advice}")
    return targets
