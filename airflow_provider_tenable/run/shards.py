"""Decides how many mapped tasks a transform is split into."""

from __future__ import annotations

from airflow_provider_tenable import config
from airflow_provider_tenable._compat import conf
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.transform.manifest import ShardTask


def plan_transform(parts: int, *, records: int, parked: bool = False) -> list[ShardTask]:
    """One task for each group of chunks, and one for parked records.

    :param parts: number of chunks that the export has staged.
    :param records: number of records in them.
    :param parked: whether there are parked records.
    :return: ``{"index", "count"}`` of each task, at most one more than ``[tenable] transform_shards``, and no more than
        there is work for (``[tenable] shard_records``); the last one has ``parked`` if it is for parked records.
    :raises ConfigurationError: ``[core] max_map_length`` is too small.
    """
    # With more than that, Airflow would fail the task that planned them.
    largest = conf.getint("core", "max_map_length")
    if largest < 1 + parked:
        raise ConfigurationError(
            f"[core] max_map_length is {largest}; the transform needs at least {1 + parked} mapped tasks. Raise it, "
            "and clear the task."
        )
    worthwhile = -(-records // config.get("shard_records"))
    count = max(1, min(config.get("transform_shards"), worthwhile, parts, largest - parked))
    shards: list[ShardTask] = [{"index": index, "count": count} for index in range(count)]
    return [*shards, {"index": count, "count": 1, "parked": True}] if parked else shards
