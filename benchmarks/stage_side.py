"""One stage of the job in its own process, as in an Airflow task, and its peak memory.

python -m benchmarks.stage_side STAGE FOLDER RECORDS [PORT [DOWNLOADS]]      one line of JSON

The stages: bare, generate, generate_audits, export, transform, transform_audits, import.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.audits import GeneratedAudits
from benchmarks.connections import tenable_connection
from benchmarks.estate import Generated
from benchmarks.import_side import ACCOUNT, REGION
from benchmarks.peak import peak_mb

#: What is read of a response at a time.
PIECE_BYTES = 64 * 1024


def store_of(folder: Path, kind: str) -> Any:
    """The store of an export."""
    from airflow_provider_tenable.export.store import StagedExport
    from airflow_provider_tenable.staging.location import open_path

    return StagedExport(open_path(f"file://{folder / kind}"), kind)


def generate(folder: Path, vulnerabilities: int, port: int) -> int:
    """Stage generated chunks as the exports would, one at a time."""
    estate = Generated(vulnerabilities, accounts=(ACCOUNT,))
    _stage(folder, "assets", estate.asset_chunks())
    _stage(folder, "vulnerabilities", estate.chunks())
    return vulnerabilities


def generate_audits(folder: Path, records: int, port: int) -> int:
    """The same for results of audits of the same hosts, whose assets are staged already."""
    _stage(folder, "compliance", GeneratedAudits(Generated(records, accounts=(ACCOUNT,))).chunks())
    return records


def pieces_of(chunk: bytes) -> Iterator[bytes]:
    """The pieces in which a chunk arrives."""
    return (chunk[start : start + PIECE_BYTES] for start in range(0, len(chunk), PIECE_BYTES))


def _stage(folder: Path, kind: str, chunks: Iterator[bytes]) -> None:
    from airflow_provider_tenable.export.state import ExportState

    store = store_of(folder, kind)
    state = ExportState(kind=kind, body={}, started_at=0.0, uuid="benchmark", complete=True)
    for number, chunk in enumerate(chunks, 1):
        state.parts[str(number)] = store.put("benchmark", number, store.encode(pieces_of(chunk)))
    store.save(state)


def export(folder: Path, vulnerabilities: int, port: int, downloads: int = 1) -> int:
    """The export's state machine with the hook's session, from a server to the staging.

    :param downloads: how many chunks at the same time.
    """
    from airflow_provider_tenable.export.state_machine import ExportRun
    from airflow_provider_tenable.hooks.tenable import TenableHook

    os.environ["AIRFLOW_CONN_TENABLE_DEFAULT"] = tenable_connection(port)
    api = TenableHook().api
    store = store_of(folder / "exported", "vulnerabilities")
    run = ExportRun(kind="vulnerabilities", body={}, client=api, store=store, now=time.time, downloads=downloads)
    outcome = run.step()
    return sum(part.records for part in outcome.state.parts.values())  # type: ignore[union-attr]


def transform(folder: Path, vulnerabilities: int, port: int) -> int:
    """All chunks in one task."""
    from benchmarks.our_side import transform_of

    return _transform(folder, "vulnerabilities", transform_of)


def transform_audits(folder: Path, records: int, port: int) -> int:
    """All chunks of results of audits in one task."""
    from benchmarks.our_side import audits_of

    return _transform(folder, "compliance", audits_of)


def _transform(folder: Path, kind: str, make: Callable[..., Any]) -> int:
    from airflow_provider_tenable.export.store import staged_parts
    from airflow_provider_tenable.staging.layout import RunFolder
    from airflow_provider_tenable.transform.output import FindingsWriter

    # A DAG and a run of its own: the findings of the other kind are imported afterwards.
    writer = FindingsWriter(RunFolder(f"file://{folder}", "dag" if kind == "vulnerabilities" else kind, "run"), 0)
    job = make(writer, staged_parts(f"file://{folder / 'assets'}", "assets"), routing="fixed")
    job.transform_parts(staged_parts(f"file://{folder / kind}", kind))
    writer.close(job.counts())
    return writer.findings


def import_(folder: Path, vulnerabilities: int, port: int) -> int:
    """All findings of one account in one task, without a quota."""
    from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
    from airflow_provider_tenable.staging.files import names
    from airflow_provider_tenable.staging.layout import RunFolder
    from benchmarks.import_side import connect, hook, import_once

    connect(port)
    run = RunFolder(f"file://{folder}", "dag", "run")
    parts = names(run.destination(ACCOUNT, REGION))
    accepted: int = import_once(hook(), run, parts, vulnerabilities, bucket=TokenBucket(1e6, 1e6)).accepted
    return accepted


def main() -> None:
    """Run the stage and report its peak memory."""
    import airflow.sdk

    assert airflow.sdk
    # What a task's process has loaded before the operator's own code runs.
    from airflow.sdk import DAG, BaseOperator, ObjectStoragePath  # noqa: F401

    stage, folder, vulnerabilities, *port = sys.argv[1:]
    began, begun = time.process_time(), time.monotonic()
    work = {
        "generate": generate,
        "export": export,
        "transform": transform,
        "import": import_,
        "generate_audits": generate_audits,
        "transform_audits": transform_audits,
    }.get(stage)
    done = work(Path(folder), int(vulnerabilities), *(map(int, port) if port else (0,))) if work else 0
    result = {
        "records": done,
        "cpu": time.process_time() - began,
        "wall": time.monotonic() - begun,
        "peak_mb": peak_mb(),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
