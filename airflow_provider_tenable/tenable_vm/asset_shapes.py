"""Recognises asset records that were not requested as we request them.

Tenable's list of jobs shows the filters of an export, but neither its version nor its further options. So an export of
another tool can look like ours. Its records show the difference (API docs: asset export v1 and v2, chunks):

* Version 1 is flat: ``aws_ec2_instance_id``, ``ipv4s`` and ``created_at`` are attributes of the asset. Version 2 has
  ``cloud.aws``, ``network`` and ``timestamps``.
* ``resource_tags`` (the tags of the AWS resource) exist only if they were requested. Assets without tags lack them too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Attributes of every record of version 1 that version 2 has within another attribute.
_FLAT = frozenset({"aws_ec2_instance_id", "ipv4s", "fqdns", "created_at", "updated_at"})
_NESTED = frozenset({"cloud", "network", "timestamps", "scan"})


def foreign_shape(records: Sequence[Mapping[str, Any]], body: Mapping[str, Any]) -> str | None:
    """Why records cannot come from our own request, in words; None if they can.

    :param records: the first records of a chunk.
    :param body: the body of our request.
    """
    if records and _FLAT & records[0].keys() and not _NESTED & records[0].keys():
        return "its records have the format of version 1"
    if body.get("include_resource_tags"):
        instances = [record for record in records if _is_instance(record)]
        # Usually at least one of many instances has a tag. If really none has, exporting again costs little.
        if instances and not any("resource_tags" in record for record in instances):
            return "its records lack the tags of AWS resources"
    return None


def _is_instance(record: Mapping[str, Any]) -> bool:
    cloud = record.get("cloud")
    aws = cloud.get("aws") if isinstance(cloud, dict) else None
    return isinstance(aws, dict) and bool(aws.get("ec2_instance_id"))


__all__ = ["foreign_shape"]
