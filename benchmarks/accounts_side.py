"""Many accounts at once: one process per destination, as mapped import tasks are, each at its own quota.

    python -m benchmarks.accounts_side PORT DESTINATIONS FINDINGS_PER_DESTINATION FINDINGS_FILE      one line of JSON

Every process is ready, and the connections are open, before the clock starts, so only the import is measured.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.import_side import connect, hook, import_once, stage


def destination(number: int, port: int, lines: list[bytes], gate: Any, results: Any) -> None:
    """One import task."""
    connect(port, f"AKIABENCHMARK{number:04d}")
    with tempfile.TemporaryDirectory() as scratch:
        run, parts = stage(scratch, lines)
        sender = hook()
        sender.client.describe_hub()
        gate.wait()
        began, cpu = time.monotonic(), time.process_time()
        receipts = import_once(sender, run, parts, len(lines))
        results.put(
            {
                "seconds": time.monotonic() - began,
                "cpu": time.process_time() - cpu,
                "accepted": receipts.accepted,
                "calls": receipts.calls,
            }
        )


def main() -> None:
    """Run all destinations at the same time."""
    port, count, each, file = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    connect(port)
    # Loaded once and shared by the forked processes, as Airflow's executors do.
    hook().client.close()
    source = Path(file).read_bytes().splitlines()
    lines = [
        line.replace(b'"Id":"', b'"Id":"%d/' % copy, 1) for copy in range(-(-each // len(source))) for line in source
    ][:each]
    context = multiprocessing.get_context("fork")
    gate, results = context.Barrier(count + 1), context.Queue()
    processes = [
        context.Process(target=destination, args=(number, port, lines, gate, results)) for number in range(count)
    ]
    for process in processes:
        process.start()
    gate.wait()
    began = time.monotonic()
    done = [results.get() for _ in processes]
    wall = time.monotonic() - began
    for process in processes:
        process.join()
    accepted = sum(one["accepted"] for one in done)
    print(
        json.dumps(
            {
                "destinations": count,
                "findings": accepted,
                "wall": wall,
                "rate": accepted / wall,
                "slowest": max(one["seconds"] for one in done),
                "cpu": sum(one["cpu"] for one in done),
                "calls": sum(one["calls"] for one in done),
                "cores": os.cpu_count(),
                "peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
