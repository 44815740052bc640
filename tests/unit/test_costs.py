"""What things cost, in counts that no busy machine can change: calls, bytes, modules, reads, peak memory within a
factor.
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from airflow_provider_tenable.assets.table import AssetTable
from airflow_provider_tenable.security_hub.importer import FindingsImport
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import write_whole
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.staging.parts import read_blocks, read_lines, write_lines
from airflow_provider_tenable.staging.zstd import pack
from airflow_provider_tenable.tenable_vm import decode
from airflow_provider_tenable.tenable_vm.decode import count_blocks, decode_blocks, decode_chunk
from airflow_provider_tenable.tenable_vm.records import Vulnerability
from tests.unit.assets.parts import to_parquet

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ["pandas", "pyarrow", "numpy", "tenable", "boto3", "botocore", "msgspec", "requests", "openlineage"]


def loaded_by(code: str) -> set[str]:
    program = f"import runpy, sys\n{code}\nprint([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(json.loads(done.stdout.splitlines()[-1].replace("'", '"')))


def test_parsing_the_dag_files_loads_no_heavy_module_that_airflow_does_not_load_itself():
    airflow_alone = loaded_by(
        "from airflow_provider_tenable._compat import dag, task, BaseOperator, BaseHook, BaseTrigger, Param, "
        "ObjectStoragePath, DeltaDataIntervalTimetable, asset_alias"
    )
    files = sorted(str(path) for path in (ROOT / "dags").glob("*.py"))
    assert len(files) > 3
    assert loaded_by(f"for file in {files}: runpy.run_path(file)") <= airflow_alone


def line(number: int, size: int = 3000) -> bytes:
    head = b'{"SchemaVersion":"2018-10-08","Id":"id-%d","Text":"' % number
    return head + b"x" * (size - len(head) - 2) + b'"}'


class Hub:
    def __init__(self) -> None:
        self.calls: list[list[bytes]] = []

    def import_batch(self, lines: list[bytes]) -> dict[str, object]:
        self.calls.append(lines)
        return {"FailedCount": 0, "SuccessCount": len(lines), "FailedFindings": []}


def run_import(tmp_path: Path, lines: list[bytes], hub: Hub) -> Receipts:
    run = RunFolder(f"file://{tmp_path}", "dag", "run")
    name = write_lines(run.destination("111122223333", "us-east-1"), "part", lines)
    receipts = Receipts(run, "111122223333", "us-east-1", [name])
    parts = [(name, read_lines(run.destination("111122223333", "us-east-1") / name))]
    FindingsImport(sender=hub, receipts=receipts, bucket=TokenBucket(1e6, 1e6)).run(parts, len(lines))
    return receipts


@pytest.mark.parametrize(("findings", "calls"), [(0, 0), (1, 1), (100, 1), (101, 2), (2_050, 21)])
def test_an_import_makes_no_more_calls_than_it_must_and_sends_the_staged_bytes(tmp_path, findings, calls):
    hub, lines = Hub(), [line(number) for number in range(findings)]
    receipts = run_import(tmp_path, lines, hub)
    assert (len(hub.calls), receipts.calls, receipts.accepted) == (calls, calls, findings)
    assert sorted(each for call in hub.calls for each in call) == sorted(lines)


def test_receipts_of_a_whole_part_take_bytes_that_do_not_grow_with_it(tmp_path):
    sizes = []
    for findings in (200, 2_000):
        receipts = run_import(tmp_path / str(findings), [line(number) for number in range(findings)], Hub())
        sizes.append(len(receipts.path.read_bytes()))
    assert sizes[1] - sizes[0] < 20


def record(number: int) -> bytes:
    plugin = {
        "id": number % 7,
        "name": "a plugin",
        "description": '}, { \\ " ] ' * 50,
        "xrefs": [{"type": "CVE"}, {"type": "CVE"}],
    }
    return json.dumps(
        {
            "asset": {"uuid": f"asset-{number % 20}"},
            "plugin": plugin,
            "output": "}, {" * (number % 5),
            "severity_id": 3,
            "finding_id": str(number),
        }
    ).encode()


@pytest.fixture(scope="module")
def chunk() -> bytes:
    return b"[" + b", ".join(record(number) for number in range(2_000)) + b"]"


@pytest.mark.parametrize("block", [1_000, 70_001, 10**9])
@pytest.mark.parametrize("piece", [3_000, 200_000, 10**9])
def test_a_chunk_decoded_in_pieces_gives_the_same_records(chunk, monkeypatch, block, piece):
    monkeypatch.setattr(decode, "PIECE_BYTES", piece)
    data = chunk[: chunk.index(b'"finding_id": "400"')]
    data = data[: data.rindex(b', {"asset"')] + b"]"
    whole, _ = decode_chunk(data, Vulnerability)
    pieces = list(decode_blocks((data[at : at + block] for at in range(0, len(data), block)), Vulnerability))
    assert [each for decoded, _ in pieces for each in decoded] == whole
    assert len(whole) == 400
    assert not any(unreadable for _, unreadable in pieces)


def test_pieces_with_records_that_cannot_be_read_lose_none(monkeypatch):
    monkeypatch.setattr(decode, "PIECE_BYTES", 2_000)
    good = [record(number) for number in range(200)]
    mixed = [part for each in good for part in (each, b'{"asset": 5, "plugin": {"id": 1}}')]
    data = b" [ " + b" ,\n".join(mixed) + b" ] "
    pieces = list(decode_blocks((data[at : at + 500] for at in range(0, len(data), 500)), Vulnerability))
    assert len(pieces) > 50
    assert [each.finding_id for decoded, _ in pieces for each in decoded] == [str(number) for number in range(200)]
    assert sum(len(unreadable) for _, unreadable in pieces) == 200


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b" [ ] ", b'[{"asset":{"uuid":"a"},"plugin":{"id":1}}]'])
def test_a_small_chunk_is_as_before(data):
    assert [(list(found), lost) for found, lost in decode_blocks([data], Vulnerability)] == [
        decode_chunk(data, Vulnerability)
    ]


@pytest.mark.parametrize("data", [b'{"a": 1}', b'[{"asset"', b"[1, 2"])
def test_a_chunk_that_is_no_array_is_refused_in_pieces_too(data):
    with pytest.raises(ValueError, match=r"."):
        list(decode_blocks([data], Vulnerability))


STRANGE = {
    "nothing strange": b"",
    "a number that is none": b'{"asset":{"uuid":"s"},"plugin":{"id":1},"severity_id":NaN}, ',
    "something deep": b'{"asset":{"uuid":"s"},"plugin":{"id":1,"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}}, ",
    "bytes that are no text": b'{"asset":{"uuid":"s"},"plugin":{"id":1},"output":"\xff"}, ',
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
@pytest.mark.parametrize("compressed", [pack, gzip.compress])
def test_memory_for_reading_a_chunk_does_not_grow_with_the_chunk(tmp_path, chunk, compressed, strange):
    path = open_path(f"file://{tmp_path}") / "part"
    peaks = []
    for times in (1, 5):
        write_whole(path, compressed(b"[" + strange + b", ".join([chunk[1:-1]] * times) + b"]"))
        count = 0
        tracemalloc.start()
        for decoded, unreadable in decode_blocks(read_blocks(path), Vulnerability):
            count += len(decoded) + len(unreadable)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == 2_000 * times + bool(strange)
    assert peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < 3_000_000 < 5 * len(chunk)


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
def test_memory_for_counting_records_does_not_grow_much_with_the_chunk(chunk, strange):
    data = b"[" + strange + b", ".join([chunk[1:-1]] * 5) + b"]"
    pieces = (data[start : start + 65_536] for start in range(0, len(data), 65_536))
    tracemalloc.start()
    assert count_blocks(pieces) == 10_000 + bool(strange)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(data) / 2


@pytest.mark.parametrize("piece", [500, 700])
def test_a_chunk_with_nothing_strange_in_it_is_never_searched_for_brackets(chunk, monkeypatch, piece):
    """Which takes twenty times as long as decoding it. Each record has places that look like its end."""
    monkeypatch.setattr(decode, "PIECE_BYTES", piece)
    wrong = []
    closed_at = decode._closed_at
    monkeypatch.setattr(decode, "_closed_at", lambda *arguments: closed_at(*arguments) or wrong.append(arguments))

    def brackets(data):
        raise AssertionError("searched for brackets")

    monkeypatch.setattr(decode, "_split_at_brackets", brackets)
    count = sum(
        len(decoded)
        for decoded, _ in decode_blocks((chunk[at : at + 500] for at in range(0, len(chunk), 500)), Vulnerability)
    )
    assert count == 2_000
    assert wrong, "the control: none of these places was tried"


class Part(io.BytesIO):
    protocol = "file"
    reads = 0

    def read_bytes(self) -> bytes:
        Part.reads += 1
        return self.getvalue()


def test_asset_parts_are_read_once_however_many_assets_are_asked_for():
    parts = [
        Part(to_parquet(json.dumps([{"id": f"{part}-{number}"} for number in range(50)]).encode())[0])
        for part in range(4)
    ]
    Part.reads = 0
    table = AssetTable(parts)
    found = [table.get(f"{part}-{number}") for part in range(5) for number in range(60)]
    table.close()
    assert Part.reads == 4
    assert sum(row is not None for row in found) == 200
