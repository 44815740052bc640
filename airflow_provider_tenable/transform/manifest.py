"""The input of a transform task, and the manifest that it writes: ``findings/shard-*.json``."""

from __future__ import annotations

from typing import NotRequired, TypedDict

#: Why a record is rejected whose asset was missing for too long.
GIVEN_UP = "asset_missing_given_up"


class ShardTask(TypedDict):
    """One entry of the XCom of ``plan_shards``: every ``count``-th chunk from ``index`` on.

    ``parked`` marks the shard that tries parked records again; ``given_up``, in a replay, the one that tries those
    again that a run has given up.
    """

    index: int
    count: int
    parked: NotRequired[bool]
    given_up: NotRequired[bool]


class ShardCounts(TypedDict):
    """The results for the records of a shard.

    ``refused``: ``account/region`` -> records that were skipped because it refuses findings.
    ``skipped``: reason -> records. ``unserved``: account -> reason -> records, which are among the skipped. So are
    those of ``waiting`` (reason -> records), which are kept until their asset's account, Region and instance are known.
    ``missing_assets``: the number of assets that parked records belong to.
    ``pool_parts``: names of the parts of the pool of waiting records that the shard has read. ``contested``: findings
    of instances with several assets, which are set aside (:mod:`airflow_provider_tenable.transform.duplicates`).
    ``audits``, of compliance records only: account -> audit file -> result -> findings.
    ``resolves``: in the manifest that chooses among them, the names of the parts that it has read.
    """

    read: int
    skipped: dict[str, int]
    skipped_accounts: list[str]
    # Shards of older releases lack these two.
    unserved: NotRequired[dict[str, dict[str, int]]]
    not_ec2: NotRequired[int]
    refused: NotRequired[dict[str, int]]
    parked: int
    missing_assets: NotRequired[int]
    waiting: NotRequired[dict[str, int]]
    findings: int
    from_pool: bool
    pool_parts: list[str]
    contested: NotRequired[int]
    resolves: NotRequired[list[str]]
    audits: NotRequired[dict[str, dict[str, dict[str, int]]]]


class PartEntry(TypedDict):
    """A staged part of findings; ``bytes`` before compression."""

    name: str
    lines: int
    bytes: int


class DestinationEntry(TypedDict):
    """The findings of one account and hub Region, and how to reach it; ``external_id`` where there is one."""

    account: str
    region: str
    aws_conn_id: str | None
    role_name: str | None
    external_id: NotRequired[str]
    parts: list[PartEntry]


class ShardManifest(ShardCounts):
    """The manifest; ``severities`` is account -> severity -> findings."""

    shard: int
    parked_part: str | None
    waiting_parts: NotRequired[list[str]]
    rejected_part: str | None
    contested_part: NotRequired[str | None]
    severities: dict[str, dict[str, int]]
    destinations: list[DestinationEntry]


class ShardResult(TypedDict):
    """The XCom of a transform task."""

    shard: int
    read: int
    findings: int
    parked: int
    skipped: dict[str, int]


__all__ = ["DestinationEntry", "PartEntry", "ShardCounts", "ShardManifest", "ShardResult", "ShardTask"]
