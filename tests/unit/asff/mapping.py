"""Runs a record through the real mapping, from Tenable's bytes to the finding."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from airflow_provider_tenable import assets
from airflow_provider_tenable.asff.decoding import decode_chunk
from airflow_provider_tenable.asff.findings import MappingOptions, finding_json
from airflow_provider_tenable.asff.identity import TENABLE_PRODUCT, product_arn
from airflow_provider_tenable.asff.plugins import decode_plugin, plugin_parts
from airflow_provider_tenable.asff.records import Vulnerability
from airflow_provider_tenable.asff.resources import AssetRow, ec2_resource

DATA = Path(__file__).resolve().parents[2] / "data"
PREFIX = "tenable/vulnerability-management/"
ACCOUNT, REGION, INSTANCE = "111122223333", "eu-west-1", "i-0123456789abcdef0"
ROW = AssetRow(id="asset-1", owner_id=ACCOUNT, region=REGION, instance_id=INSTANCE)

RECORD: dict[str, Any] = {
    "asset": {"uuid": "asset-1"},
    "plugin": {"id": 19506, "name": "Title", "cve": ["CVE-2024-0001"]},
    "port": {"port": 443, "protocol": "TCP", "service": "www"},
    "severity": "high",
    "severity_id": 3,
    "state": "OPEN",
    "first_found": "2024-01-01T00:00:00Z",
    "last_found": "2024-02-01T00:00:00Z",
    "indexed": "2024-02-01T00:10:00Z",
}


class Part(io.BytesIO):
    """A staged part in memory, with what the reader asks of a path."""

    protocol = "file"

    def read_bytes(self) -> bytes:
        return self.getvalue()


def record(**changes: Any) -> dict[str, Any]:
    """The usual record with changes; ``None`` takes a field away."""
    return {name: value for name, value in {**RECORD, **changes}.items() if value is not None}


def plugin_record(**plugin: Any) -> dict[str, Any]:
    return record(plugin={"id": 19506, "name": "Title", **plugin})


def decode(value: Any) -> Vulnerability:
    """The one record, decoded. :raises ValueError: as it would be counted."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    records, unreadable = decode_chunk(b"[" + data + b"]", Vulnerability)
    if unreadable:
        raise ValueError(unreadable[0][1])
    (one,) = records
    return one


def line_of(value: Any, row: AssetRow = ROW, options: MappingOptions | None = None, hub: str | None = None) -> bytes:
    """The finding's line for a raw record and an asset row of an EC2 instance."""
    one = decode(value)
    resource = ec2_resource(row)
    arn = product_arn(TENABLE_PRODUCT, region=hub or resource.region, account=resource.account)
    return finding_json(one, plugin_parts(decode_plugin(bytes(one.plugin))), resource, arn, options or MappingOptions())


def finding_of(value: Any, row: AssetRow = ROW, options: MappingOptions | None = None) -> dict[str, Any]:
    return json.loads(line_of(value, row, options))


def row_of_export(asset: Any) -> AssetRow:
    """An asset record, by way of the Parquet part."""
    part, _ = assets.to_parquet(json.dumps([asset]).encode())
    return assets.find([Part(part)], {asset["id"]})[asset["id"]]


def example(name: str) -> Any:
    return json.loads((DATA / name).read_text())
