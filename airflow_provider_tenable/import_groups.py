"""Which import task serves which accounts and Regions: one each while there are tasks enough, else groups of about equal numbers of findings.

A group stands in a file of the run's folder, and XCom holds only its number: thousands of destinations, with the names of their parts, are too much for XCom.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.staging import read_json, write_json

if TYPE_CHECKING:
    from airflow_provider_tenable.run_folder import RunFolder


class Target(Struct, frozen=True):
    """One account and hub Region, how to reach it, and its findings.

    :ivar parts: (name, findings) of each staged part.
    """

    account: str
    region: str
    aws_conn_id: str | None
    role_name: str | None
    parts: list[tuple[str, int]]

    @property
    def findings(self) -> int:
        """How many findings there are for it."""
        return sum(count for _, count in self.parts)

    def __str__(self) -> str:
        return f"{self.account}/{self.region}"


def target_of(entry: dict[str, Any]) -> Target:
    """A destination of :func:`~airflow_provider_tenable.ledger.destinations_of` as a target."""
    return Target(entry["account"], entry["region"], entry["aws_conn_id"], entry["role_name"], list(zip(entry["parts"], entry["lines"], strict=True)))


def grouped(targets: list[Target], tasks: int) -> list[list[Target]]:
    """Share targets out to so many tasks at most.

    None is empty, each target is in one of them, and the same targets give the same groups. The largest goes first, each to the group that has the fewest
    findings: no group has then a third more than the best division would give it (Graham's bound), or than its largest target.
    """
    if len(targets) <= tasks:
        return [[target] for target in targets]
    groups: list[list[Target]] = [[] for _ in range(tasks)]
    # Fewest findings, then fewest targets: those without many findings cost their preflight.
    heap = [(0, 0, number) for number in range(tasks)]
    for target in sorted(targets, key=lambda each: (-each.findings, each.account, each.region)):
        findings, count, number = heap[0]
        groups[number].append(target)
        heapq.heapreplace(heap, (findings + target.findings, count + 1, number))
    return [group for group in groups if group]


def name_of(group: list[Target]) -> str:
    """What the mapped task of a group is called in the UI."""
    return str(group[0]) if len(group) == 1 else f"{group[0]} and {len(group) - 1} more"


def write_group(run: RunFolder, number: int, group: list[Target]) -> None:
    """Keep a group for its task."""
    import msgspec

    write_json(run.import_group(number), {"targets": msgspec.to_builtins(group)})


def read_group(run: RunFolder, number: int) -> list[Target]:
    """The targets of a group. :raises StagingError: it was not planned."""
    import msgspec

    group = read_json(run.import_group(number))
    if group is None:
        raise StagingError(f"{run.import_group(number)} is not there: the imports were not planned. Clear the run's tasks from plan_imports on.")
    return msgspec.convert(group["targets"], list[Target])
