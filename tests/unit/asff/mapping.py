"""Runs a record through the real mapping, from Tenable's bytes to the finding.

Every line that comes out is compared with the oracle's, and with what can be read off the record itself.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_tenable.asff.finding import MappingOptions, UnmappableError, finding_and_row
from airflow_provider_tenable.asff.plugin import PluginParts, decode_plugin, plugin_parts
from airflow_provider_tenable.asff.resource import Resource, ec2_resource
from airflow_provider_tenable.assets import table
from airflow_provider_tenable.aws import TENABLE_PRODUCT, product_arn
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.tenable_vm.decode import decode_chunk
from airflow_provider_tenable.tenable_vm.records import Vulnerability
from tests.unit.asff.oracle import expected_line
from tests.unit.assets.parts import to_parquet

DATA = Path(__file__).resolve().parents[2] / "data"
PREFIX = "tenable/vulnerability-management/"
ACCOUNT, REGION, INSTANCE = "111122223333", "eu-west-1", "i-0123456789abcdef0"
ROW = AssetRow(id="asset-1", owner_id=ACCOUNT, region=REGION, instance_id=INSTANCE)

#: A record with the fields that every real one has, in the order in which Tenable sends them.
RECORD: dict[str, Any] = {
    "asset": {"uuid": "asset-1", "hostname": "host", "ipv4": "192.0.2.1", "tracked": True},
    "output": "The remote host is affected.",
    "plugin": {
        "id": 19506,
        "name": "Title",
        "family": "Web Servers",
        "type": "remote",
        "cve": ["CVE-2024-0001", "CVE-2024-0002"],
    },
    "port": {"port": 443, "protocol": "TCP", "service": "www"},
    "scan": {"uuid": "29c0bf2a-0000-4000-8000-000000000001", "started_at": "2024-01-31T23:00:00Z"},
    "severity": "high",
    "severity_id": 3,
    "severity_default_id": 3,
    "severity_modification_type": "NONE",
    "first_found": "2024-01-01T00:00:00Z",
    "last_found": "2024-02-01T00:00:00Z",
    "state": "OPEN",
    "indexed": "2024-02-01T00:10:00Z",
    "source": "NESSUS",
    "finding_id": "12ab3af9-1adb-4057-b4d5-dcb0c36b294d",
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
    line = checked_line(one, plugin_parts(decode_plugin(bytes(one.plugin))), resource, arn, options or MappingOptions())
    _compare_with_record(json.loads(line), value, row)
    return line


def checked_line(
    record: Vulnerability, plugin: PluginParts, resource: Resource, arn: str, options: MappingOptions
) -> bytes:
    """What the package makes of a record, which must be what the oracle says, a refusal included."""
    made, expected = (_outcome(make, record, plugin, resource, arn, options) for make in (_line, expected_line))
    if isinstance(made, UnmappableError):
        assert str(made) == str(expected)
        raise made
    assert made == expected
    return made


def _line(*arguments: Any) -> bytes:
    """The line of a record's finding, without its row."""
    return finding_and_row(*arguments)[0]


def _outcome(make: Callable[..., bytes], *arguments: Any) -> bytes | UnmappableError:
    try:
        return make(*arguments)
    except UnmappableError as error:
        return error


def _compare_with_record(finding: dict[str, Any], value: Any, row: AssetRow) -> None:
    """What can be said of a finding from the raw record alone, without a line of the package."""
    if not isinstance(value, dict):
        return
    parts = finding["Id"].split("/")
    assert parts[0] == finding["Resources"][0].get("Region", parts[0])
    assert finding["AwsAccountId"] == row.owner_id
    assert str(value["plugin"]["id"]) in parts
    if len(parts) == 6:
        assert parts[1] == row.owner_id
    state, modification = value.get("state"), value.get("severity_modification_type")
    if modification in (None, "NONE") and (state is None or isinstance(state, str)):
        assert finding["RecordState"] == ("ARCHIVED" if (state or "").strip().upper() == "FIXED" else "ACTIVE")
    cves = value["plugin"].get("cve")
    if (
        isinstance(cves, list)
        and all(isinstance(cve, str) and re.fullmatch(r"CVE-[0-9-]{1,20}", cve.strip(), re.ASCII) for cve in cves)
        and len(cves) < 100
    ):
        assert [each["Id"] for each in finding.get("Vulnerabilities", [])] == list(
            dict.fromkeys(cve.strip() for cve in cves)
        )


def finding_of(value: Any, row: AssetRow = ROW, options: MappingOptions | None = None) -> dict[str, Any]:
    return json.loads(line_of(value, row, options))


def row_of_export(asset: Any) -> AssetRow:
    """An asset record, by way of the Parquet part."""
    part, _ = to_parquet(json.dumps([asset]).encode())
    return table.find([Part(part)], {asset["id"]})[asset["id"]]


def example(name: str) -> Any:
    return json.loads((DATA / name).read_text())
