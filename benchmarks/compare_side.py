"""Comparing staged findings with the finding index: CPU and memory, without a network.

    nice python -m benchmarks.compare_side --staged 1000000 --index 10000000

Prints one JSON line: CPU seconds, microseconds for each finding, how many are to be sent, the most memory above that of
Airflow, bytes of the index for each row, and what it takes to count the active findings by age. The index is built
first, and kept in --folder for the next call: with --only-build nothing else is done, so that the next process has none
of the memory that building takes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peak import peak_mb

NOW = 1_790_000_000_000
OF_PART = 5_000
OF_ASSET = 60


def main() -> None:
    arguments = _arguments()
    folder = Path(arguments.folder)
    built = folder / f"index-{arguments.index}"
    # Their memory does not count.
    import airflow.models
    import airflow.sdk  # noqa: F401

    before = peak_mb()
    if not built.exists():
        _build(built, arguments.index)
    from airflow_provider_tenable.staging.files import names
    from airflow_provider_tenable.staging.location import open_path
    from airflow_provider_tenable.staging.rows import packed_rows
    from airflow_provider_tenable.state.ages import active_by_age
    from airflow_provider_tenable.state.compare import compare
    from airflow_provider_tenable.state.index import FindingIndex
    from airflow_provider_tenable.state.verdicts import Moments, Verdict

    counts = [min(OF_PART, arguments.staged - begin) for begin in range(0, arguments.staged, OF_PART)]
    staged = folder / f"staged-{arguments.index}-{arguments.staged}-{arguments.changed}"
    if not staged.exists():
        staged.mkdir(parents=True)
        keys = _keys(arguments.index)[:: arguments.index // arguments.staged]
        for number, count in enumerate(counts):
            rows = _staged(keys[number * OF_PART :][:count])
            if arguments.changed:
                rows["content"][:: arguments.changed] ^= 1
            (staged / f"{number}.rows.zst").write_bytes(packed_rows(rows.tobytes(), rows.dtype.itemsize))
    if arguments.only_build:
        print("{}")
        return
    index = FindingIndex(open_path(f"file://{built}")).snapshot()
    # Loading modules takes memory, but counts as CPU of the comparison no more than it does of a job.
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401

    cpu, wall = time.process_time(), time.perf_counter()
    found = compare(
        counts,
        lambda number: _read(staged / f"{number}.rows.zst", counts[number]),
        index.merged_columns(),
        index.delta_columns(),
        Moments(planned=NOW, as_of=NOW, refresh=30 * 86_400_000),
        index.most_delta_rows(),
    ).decisions
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    sent = int((found["verdict"] == Verdict.UPDATED).sum())
    assert sent == sum(-(-count // arguments.changed) for count in counts) if arguments.changed else not sent
    assert (found["verdict"] == Verdict.UNCHANGED).sum() == arguments.staged - sent
    ages = time.process_time()
    assert active_by_age(index, now=NOW).total() == arguments.index
    ages = time.process_time() - ages
    print(
        json.dumps(
            {
                "staged": arguments.staged,
                "index": arguments.index,
                "cpu_s": round(cpu, 2),
                "wall_s": round(wall, 2),
                "sent": sent,
                "ages_cpu_s": round(ages, 2),
                "us_a_finding": round(1e6 * cpu / arguments.staged, 2),
                "mb_above_airflow": round(peak_mb() - before),
                "index_bytes_a_row": round(
                    sum((built / name).stat().st_size for name in names(index.folder) if name.startswith("findings"))
                    / arguments.index,
                    1,
                ),
            }
        )
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--staged", type=int, default=1_000_000)
    parser.add_argument("--index", type=int, default=10_000_000)
    parser.add_argument("--changed", type=int, default=0, help="of each so many findings one differs; 0: none")
    parser.add_argument("--folder", default="/tmp/tenable-compare")
    parser.add_argument("--only-build", action="store_true")
    return parser.parse_args()


def _keys(rows: int) -> Any:
    """Keys as bytes of random ids: those of an asset share their first four."""
    import numpy as np

    luck = np.random.default_rng(7)
    assets = luck.integers(0, 256, (-(-rows // OF_ASSET), 4), "u1")
    return np.concatenate([np.repeat(assets, OF_ASSET, 0)[:rows], luck.integers(0, 256, (rows, 12), "u1")], 1)


def _contents(keys: Any) -> Any:
    import numpy as np

    halves = np.ascontiguousarray(keys).view("<u8").reshape(-1, 2)
    return halves[:, 0] ^ halves[:, 1]


def _staged(keys: Any) -> Any:
    import numpy as np

    from airflow_provider_tenable.state.staged import FIELDS

    rows = np.zeros(len(keys), np.dtype(FIELDS))
    rows["key"] = np.ascontiguousarray(keys).view("S16").ravel()
    rows["content"] = _contents(keys)
    rows["plugin"], rows["flags"], rows["updated_at"] = 1, 3, NOW - 1000
    return rows


def _read(path: Path, count: int) -> Any:
    import numpy as np

    from airflow_provider_tenable.staging.location import open_path
    from airflow_provider_tenable.staging.rows import read_rows
    from airflow_provider_tenable.state.staged import FIELDS, SIZE

    data = read_rows(open_path(f"file://{path}"), count=count, size=SIZE)
    assert data is not None
    return np.frombuffer(data, np.dtype(FIELDS))


def _build(folder: Path, rows: int) -> None:
    """An index as a merge leaves it, made of parts directly."""
    from airflow_provider_tenable.staging.index_files import IndexFiles
    from airflow_provider_tenable.staging.location import open_path
    from airflow_provider_tenable.state import parts
    from airflow_provider_tenable.state.snapshot import Rows

    files = IndexFiles(open_path(f"file://{folder}"), "findings")
    written = [files.put(parts.encode(table), table.num_rows) for table in _tables(rows)]
    files.publish(Rows(rows=written))


def _tables(rows: int) -> Iterator[Any]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from airflow_provider_tenable.state import parts

    keys = _keys(rows)
    halves = keys.view(">u8").reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    luck = np.random.default_rng(1)
    for begin in range(0, rows, parts.PART_ROWS):
        numbers = order[begin : begin + parts.PART_ROWS]
        count, assets = len(numbers), numbers // OF_ASSET
        own = np.ascontiguousarray(keys[numbers])
        hosts = pc.utf8_lpad(pa.array(assets).cast(pa.string()), 17, "0")
        asset_ids = np.zeros((count, 2), "<u8")
        asset_ids[:, 0] = assets
        yield pa.table(
            {
                "key": _binary(own, count),
                "resource": pc.binary_join_element_wise("eu-west-1/111122223333/i-", hosts, "/", ""),
                "place": pc.binary_join_element_wise(pa.array(numbers % 200_000).cast(pa.string()), "tcp", "443", "/"),
                "asset": _binary(asset_ids, count),
                "plugin": numbers % 200_000,
                "archived": np.zeros(count, bool),
                "severity": np.full(count, 3, "u1"),
                "content": _contents(own),
                "updated_at": NOW - luck.integers(0, 7 * 86_400, count) * 1000,
                "as_of": np.full(count, NOW - 86_400_000),
                "sent_at": NOW - luck.integers(0, 20, count) * 86_400_000,
                "first_observed": NOW - luck.integers(0, 365 * 86_400, count) * 1000,
            },
            schema=parts.schema(),
        )


def _binary(rows: Any, count: int) -> Any:
    import pyarrow as pa

    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(rows.tobytes())])


if __name__ == "__main__":
    main()
