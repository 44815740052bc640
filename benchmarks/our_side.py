"""The provider under the same measurements as the peer; each mode is a process of its own, driven by lines on stdin.

python -m benchmarks.our_side transform|floor|staged|audits CHUNKS_DIR
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ACCOUNTS = ("111122223333", "222233334444", "333344445555")


class AssetsInMemory(dict[str, Any]):
    """Rows by asset id, in place of the table that the transform reads them from."""

    def rows(self) -> Iterator[Any]:
        """All rows."""
        return iter(self.values())


class CountingWriter:
    """A destination of the transform without a disk.

    :param kept: list that keeps the lines; None drops them, as the peer's output is.
    """

    def __init__(self, kept: list[bytes] | None = None) -> None:
        self.findings = 0
        self.bytes = 0
        self.kept = kept

    def write(
        self,
        account: str,
        region: str,
        line: bytes,
        severity: str,
        destination: Any,
        row: bytes = b"",
        as_of: int = 0,
    ) -> None:
        self.findings += 1
        self.bytes += len(line)
        if self.kept is not None:
            self.kept.append(line)

    def reject(self, reason: str, detail: str, record: bytes) -> None:
        raise RuntimeError(f"{reason}: {detail}")

    def park(self, line: bytes) -> None:
        raise RuntimeError("a record without its asset")

    def keep(self, line: bytes, asset: str, parked_at: int) -> None:
        """A record that waits for its asset's account or instance: no finding yet."""


def transform_of(writer: Any, asset_parts: list[Any], *, routing: str = "resource") -> Any:
    """A transform of all vulnerabilities, to one destination."""
    from airflow_provider_tenable.asff.finding import MappingOptions
    from airflow_provider_tenable.asff.mapper import AsffMapper
    from airflow_provider_tenable.transform.shard import Transform

    mapper = AsffMapper(MappingOptions(), "tenable/vulnerability-management")
    return Transform(mapper=mapper, **_everything(writer, asset_parts, routing))


def audits_of(writer: Any, asset_parts: list[Any], *, routing: str = "resource") -> Any:
    """A transform of all results of audits, to one destination."""
    from airflow_provider_tenable.asff.compliance import AuditOptions
    from airflow_provider_tenable.asff.mapper import AsffComplianceMapper
    from airflow_provider_tenable.transform.compliance import ComplianceTransform

    mapper = AsffComplianceMapper(AuditOptions(), "tenable/vulnerability-management")
    return ComplianceTransform(
        statuses=("passed", "failed", "warning"),
        accounts={},
        shared={},
        mapper=mapper,
        **_everything(writer, asset_parts, routing),
    )


def _everything(writer: Any, asset_parts: list[Any], routing: str) -> dict[str, Any]:
    from airflow_provider_tenable.tenable_vm.records import SEVERITIES
    from airflow_provider_tenable.transform.routing import Destination
    from airflow_provider_tenable.transform.shard import TransformSettings

    destination = Destination("aws_default", ACCOUNTS, "TenableSecurityHubImport", None, ACCOUNTS[0], "us-east-1")
    return {
        "settings": TransformSettings(
            severities=SEVERITIES,
            states=("open", "reopened", "fixed"),
            until=None,
            region_routing=routing,
            non_ec2_assets="skip",
        ),
        "destinations": [destination],
        "asset_parts": asset_parts,
        "writer": writer,
        "lookup": lambda _: None,
        "lookups": 0,
        "now": int(time.time()),
        "give_up_before": 0,
    }


def chunks_of(folder: str, kind: str) -> list[bytes]:
    """The raw chunks in a folder."""
    return [path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.name.startswith(kind)]


def blocks_of(chunk: bytes) -> Iterator[memoryview]:
    """A chunk as it comes out of its staged part."""
    from airflow_provider_tenable.staging.parts import BLOCK_BYTES

    whole = memoryview(chunk)
    return (whole[start : start + BLOCK_BYTES] for start in range(0, len(chunk), BLOCK_BYTES))


def in_memory(
    folder: str, kind: str = "vulnerabilities", make: Callable[..., Any] = transform_of
) -> Callable[[list[bytes] | None], CountingWriter]:
    """Transforms the raw chunks to lines, the way the operator does but without files."""
    from airflow_provider_tenable.tenable_vm import kinds
    from airflow_provider_tenable.transform import shard as transform

    chunks = {f"{number}": chunk for number, chunk in enumerate(chunks_of(folder, kind))}
    rows = AssetsInMemory((row.id, row) for chunk in chunks_of(folder, "assets") for row in kinds.ASSETS.rows(chunk))
    transform.read_blocks = lambda part: blocks_of(chunks[part])  # type: ignore[assignment, misc, index]

    def run(kept: list[bytes] | None = None) -> CountingWriter:
        writer = CountingWriter(kept)
        job = make(writer, [])
        job.assets = rows
        job.transform_parts(list(chunks))
        return writer

    return run


def transform(folder: str) -> Iterator[dict[str, Any]]:
    """Raw chunk bytes to serialised findings."""
    yield from _measured(in_memory(folder))


def audits(folder: str) -> Iterator[dict[str, Any]]:
    """The same of results of audits."""
    yield from _measured(in_memory(folder, "compliance", audits_of))


def _measured(run: Callable[[list[bytes] | None], CountingWriter]) -> Iterator[dict[str, Any]]:
    while True:
        began = time.process_time()
        writer = run(None)
        yield {"cpu": time.process_time() - began, "findings": writer.findings, "bytes": writer.bytes}


def floor(folder: str) -> Iterator[dict[str, Any]]:
    """The lower bound of any mapping: the typed decoding of the same bytes, and the encoding of as many bytes of
    findings.
    """
    import gc

    import msgspec

    from airflow_provider_tenable.tenable_vm.records import Vulnerability
    from tests.unit.asff.oracle import Finding

    lines: list[bytes] = []
    in_memory(folder)(lines)
    findings = msgspec.json.Decoder(list[Finding]).decode(b"[" + b",".join(lines) + b"]")
    chunks, decoder, encoder = (
        chunks_of(folder, "vulnerabilities"),
        msgspec.json.Decoder(list[Vulnerability]),
        msgspec.json.Encoder(),
    )
    gc.freeze()
    while True:
        gc.disable()
        began, size = time.process_time(), 0
        for chunk in chunks:
            decoder.decode(chunk)
        decoded = time.process_time() - began
        for finding in findings:
            size += len(encoder.encode(finding))
        cpu = time.process_time() - began
        gc.enable()
        yield {"cpu": cpu, "decode": decoded, "findings": len(findings), "bytes": size}


def staged(folder: str) -> Iterator[dict[str, Any]]:
    """The complete work of the transform task: staged chunks in, staged findings and manifest out, all on disk."""
    from airflow_provider_tenable.export import store as export_store
    from airflow_provider_tenable.export.chunks import format_of
    from airflow_provider_tenable.staging.layout import RunFolder
    from airflow_provider_tenable.staging.location import open_path
    from airflow_provider_tenable.tenable_vm.kinds import ASSETS
    from airflow_provider_tenable.transform.output import FindingsWriter
    from benchmarks.stage_side import pieces_of

    with tempfile.TemporaryDirectory() as scratch:
        base = open_path(f"file://{scratch}")
        chunk_parts, asset_parts = [], []
        store = export_store.StagedExport(base / "v", "vulnerabilities")
        for number, chunk in enumerate(chunks_of(folder, "vulnerabilities")):
            chunk_parts.append(base / "v" / store.put("00000000", number, store.encode(pieces_of(chunk))).name)
        for number, chunk in enumerate(chunks_of(folder, "assets")):
            part = base / f"assets-{number}.parquet"
            part.write_bytes(format_of(ASSETS).encode([chunk]).content)
            asset_parts.append(part)
        while True:
            writer = FindingsWriter(RunFolder(f"file://{scratch}", "dag", "run"), 0)
            began = time.process_time()
            job = transform_of(writer, asset_parts)
            job.transform_parts(chunk_parts)
            writer.close(job.counts())
            yield {"cpu": time.process_time() - began, "findings": writer.findings}


def main() -> None:
    """Answer each line of stdin with one measurement."""
    mode, folder = sys.argv[1:]
    measurements = {"transform": transform, "floor": floor, "staged": staged, "audits": audits}[mode](folder)
    for _ in sys.stdin:
        print(json.dumps(next(measurements)), flush=True)


if __name__ == "__main__":
    main()
