"""The manifests of what a run has staged: what the transform tasks have read, left out and written."""

from __future__ import annotations

from collections import Counter
from typing import TypedDict

from airflow_provider_tenable.asff.identity import id_in
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.identifiers import invalid_target, is_part_name, is_place, is_pool_part, shown
from airflow_provider_tenable.security_hub.assignment import Target
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.transform import duplicates
from airflow_provider_tenable.transform.manifest import ShardManifest


class Delivery(TypedDict):
    """The staged findings of one account and hub Region, of all shards: names of the parts, and findings in each."""

    account: str
    region: str
    aws_conn_id: str | None
    role_name: str | None
    external_id: str | None
    findings: int
    parts: list[str]
    lines: list[int]


def shard_manifests(run: RunFolder) -> list[ShardManifest]:
    """The manifests of all transform tasks, and of the selection among findings with the same id.

    :raises StagingError: one is missing, or names an invalid destination or file.
    """
    planned = read_json(run.shards)
    if planned is None:
        raise StagingError(
            f"{run.shards} is missing: the transform was not planned. Clear the run's tasks from plan_shards on."
        )
    manifests = []
    for index in range(planned["count"]):
        manifest = read_json(run.shard_manifest(index))
        if manifest is None:
            raise StagingError(
                f"{run.shard_manifest(index)} is missing: shard {index} was not transformed. Clear its task."
            )
        if fault := _fault_of(manifest):
            raise StagingError(
                f"{run.shard_manifest(index)} was changed after it was written: {fault}. Nothing was read from it. "
                f"Clear the task of shard {index}."
            )
        manifests.append(manifest)
    chosen = duplicates.resolved(run, manifests, id_in)
    return [*manifests, chosen] if chosen else manifests


def _fault_of(manifest: ShardManifest) -> str | None:
    """The value in a manifest that must not become part of a path, an ARN or a connection look-up, in words; None if
    all of them are valid.
    """
    if (place := next((place for place in manifest.get("refused", {}) if not is_place(place)), None)) is not None:
        return f"{shown(place)} is not an account and Region"
    if (name := next((name for name in manifest.get("pool_parts", []) if not is_pool_part(name)), None)) is not None:
        return f"{shown(name)} is not the name of a part of the pool of waiting records"
    parts = [manifest["rejected_part"], manifest["parked_part"], manifest.get("contested_part")]
    parts += manifest.get("waiting_parts", [])
    for entry in manifest["destinations"]:
        if fault := invalid_target(
            account=entry["account"],
            region=entry["region"],
            aws_conn_id=entry["aws_conn_id"],
            role_name=entry["role_name"],
            external_id=entry.get("external_id"),
        ):
            return fault
        parts += [part["name"] for part in entry["parts"]]
    return next(
        (
            f"{shown(name)} is not the name of a staged part"
            for name in parts
            if name is not None and not is_part_name(name)
        ),
        None,
    )


def destinations_of(manifests: list[ShardManifest]) -> list[Delivery]:
    """One entry per account and hub Region, sorted, with the parts of all manifests."""
    found: dict[tuple[str, str], Delivery] = {}
    for manifest in manifests:
        for entry in manifest["destinations"]:
            key = (entry["account"], entry["region"])
            empty: Delivery = {
                "account": entry["account"],
                "region": entry["region"],
                "aws_conn_id": entry["aws_conn_id"],
                "role_name": entry["role_name"],
                "external_id": entry.get("external_id"),
                "findings": 0,
                "parts": [],
                "lines": [],
            }
            target = found.setdefault(key, empty)
            target["findings"] += sum(part["lines"] for part in entry["parts"])
            target["parts"] += [part["name"] for part in entry["parts"]]
            target["lines"] += [part["lines"] for part in entry["parts"]]
    return [found[key] for key in sorted(found)]


def targets_of(manifests: list[ShardManifest]) -> list[Target]:
    """The same as :func:`destinations_of`, as targets of import tasks."""
    return [
        Target(
            destination["account"],
            destination["region"],
            destination["aws_conn_id"],
            destination["role_name"],
            list(zip(destination["parts"], destination["lines"], strict=True)),
            destination["external_id"],
        )
        for destination in destinations_of(manifests)
    ]


def unserved_by_account(manifests: list[ShardManifest]) -> dict[str, dict[str, int]]:
    """Skipped records of AWS accounts without a destination: account -> reason -> records."""
    found: dict[str, Counter[str]] = {}
    for manifest in manifests:
        # A shard that an older release transformed does not have it.
        for account, reasons in manifest.get("unserved", {}).items():
            found.setdefault(account, Counter()).update(reasons)
    return {account: dict(sorted(reasons.items())) for account, reasons in sorted(found.items())}


__all__ = ["Delivery", "destinations_of", "shard_manifests", "targets_of", "unserved_by_account"]
