"""The import under measurement, in the provider's environment; driven by lines on stdin.

python -m benchmarks.import_side ours|boto3 PORT FINDINGS_FILE
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.connections import aws_connection

ACCOUNT, REGION = "111122223333", "us-east-1"
PARTS = 2


def connect(port: int, key: str = "AKIABENCHMARK") -> None:
    """The connection `aws_default`, to the cheap hub."""
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = aws_connection(port, REGION, key)
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def hook() -> Any:
    """The hook that the operator uses."""
    from airflow_provider_tenable.hooks.security_hub import SecurityHubHook

    return SecurityHubHook(aws_conn_id="aws_default", region_name=REGION, account=ACCOUNT)


def import_once(sender: Any, run: Any, parts: list[str], total: int, **arguments: Any) -> Any:
    """The import as the operator does it, from staged parts to receipts."""
    from airflow_provider_tenable.security_hub.importer import FindingsImport
    from airflow_provider_tenable.security_hub.receipts import Receipts
    from airflow_provider_tenable.staging.parts import read_lines

    folder = run.destination(ACCOUNT, REGION)
    receipts = Receipts(run, ACCOUNT, REGION, parts)
    FindingsImport(sender=sender, receipts=receipts, **arguments).run(
        ((name, read_lines(folder / name)) for name in parts), total
    )
    return receipts


def stage(scratch: str, lines: list[bytes]) -> tuple[Any, list[str]]:
    """Stage findings in parts, as the transform does."""
    from airflow_provider_tenable.staging import layout, parts

    run = layout.RunFolder(f"file://{scratch}", "dag", "run")
    names = []
    for number in range(PARTS):
        writer = parts.PartWriter(run.destination(ACCOUNT, REGION), f"part-{number}", by_content=True, packed=True)
        for line in lines[number::PARTS]:
            writer.write(line)
        names.append(writer.close())
    return run, names


def ours(port: int, file: str) -> Iterator[dict[str, Any]]:
    """Staged parts to receipts, without a quota."""
    from airflow_provider_tenable.security_hub.rate_limit import TokenBucket

    connect(port)
    lines = Path(file).read_bytes().splitlines()
    with tempfile.TemporaryDirectory() as scratch:
        run, parts = stage(scratch, lines)
        sender = hook()
        sender.client.describe_hub()
        while True:
            run.receipts(ACCOUNT, REGION).unlink(missing_ok=True)
            began, wall = time.process_time(), time.monotonic()
            receipts = import_once(sender, run, parts, len(lines), bucket=TokenBucket(1e6, 1e6))
            yield {
                "cpu": time.process_time() - began,
                "wall": time.monotonic() - wall,
                "findings": receipts.accepted,
                "calls": receipts.calls,
            }


def boto3(port: int, file: str) -> Iterator[dict[str, Any]]:
    """boto3's default client with the same findings as objects, as it is usually called."""
    import boto3 as sdk

    client = sdk.client(
        "securityhub",
        region_name=REGION,
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="AKIABOTO",
        aws_secret_access_key="secret",
    )
    client.describe_hub()
    lines = Path(file).read_bytes().splitlines()[:1000]
    findings = [json.loads(line) for line in lines]
    while True:
        began, wall, calls = time.process_time(), time.monotonic(), 0
        for start in range(0, len(findings), 100):
            client.batch_import_findings(Findings=findings[start : start + 100])
            calls += 1
        yield {
            "cpu": time.process_time() - began,
            "wall": time.monotonic() - wall,
            "findings": len(findings),
            "calls": calls,
        }


def main() -> None:
    """Answer each line of stdin with one measurement."""
    mode, port, file = sys.argv[1:]
    measurements = {"ours": ours, "boto3": boto3}[mode](int(port), file)
    for _ in sys.stdin:
        print(json.dumps(next(measurements)), flush=True)


if __name__ == "__main__":
    main()
