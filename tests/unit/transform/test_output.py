"""The writer of findings: what it writes is what it was given, and the manifest says where. However many destinations
there are, and however they take turns, it holds no more than it may.
"""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable.staging import parts
from airflow_provider_tenable.staging.files import names, read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.staging.rows import read_rows, read_rows_and_ids, write_rows
from airflow_provider_tenable.transform import output
from airflow_provider_tenable.transform.output import FindingsWriter

VIA: Any = SimpleNamespace(aws_conn_id=None, role_name=None, external_id=None)


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "run")


def accounts(count: int) -> list[str]:
    return [f"{number:012d}" for number in range(count)]


def write(writer: FindingsWriter, account: str, line: bytes) -> None:
    writer.write(account, "eu-west-1", line, "high", VIA)


def close(writer: FindingsWriter) -> dict[str, Any]:
    return writer.close({"read": 0, "findings": writer.findings})


def held(writer: FindingsWriter) -> int:
    return sum(part.held_bytes for part in writer._open.values())


def test_thousands_of_destinations_with_few_findings_hold_only_these(run):
    writer = FindingsWriter(run, 0)
    for turn in range(3):
        for account in accounts(2000):
            write(writer, account, b'{"Id":"%d"}' % turn)
    assert held(writer) == writer._open_bytes == 6000 * len(b'{"Id":"0"}\n')
    manifest = close(writer)
    assert [sum(part["lines"] for part in each["parts"]) for each in manifest["destinations"]] == [3] * 2000


def numbers_in(run: RunFolder, manifest: dict[str, Any]) -> dict[str, list[int]]:
    """The ids of the findings by account, in order."""
    return {
        entry["account"]: [
            int(json.loads(line)["Id"])
            for part in entry["parts"]
            for line in read_lines(run.destination(entry["account"], "eu-west-1") / part["name"])
        ]
        for entry in manifest["destinations"]
    }


@pytest.mark.parametrize("compressible", [True, False])
def test_what_is_held_is_counted_and_bounded_and_no_finding_is_lost(run, monkeypatch, compressible):
    """What does not fit is compressed before any part is closed, so that there are no more parts than necessary."""
    monkeypatch.setattr(output, "OPEN_BYTES", 400_000)
    monkeypatch.setattr(parts, "FRAME_BYTES", 50_000)
    writer, sent, most, generator = FindingsWriter(run, 0), {}, 0, random.Random(7)
    for number in range(3000):
        # Some have many findings, most have few.
        account = accounts(40)[number % 40 if number % 3 else number % 2]
        text = "x" * (number % 900) if compressible else generator.randbytes(number % 450).hex()
        write(writer, account, b'{"Id":"%d","Text":"%b"}' % (number, text.encode()))
        sent.setdefault(account, []).append(number)
        most = max(most, held(writer))
        assert writer._open_bytes == held(writer)
    # The bound is only passed by one line.
    assert 300_000 < most < 400_000 + 1_000
    manifest = close(writer)
    assert writer._open_bytes == 0
    assert numbers_in(run, manifest) == sent
    number_of_parts = sum(len(entry["parts"]) for entry in manifest["destinations"])
    assert (number_of_parts == 40) is compressible


A, B = "111111111111", "222222222222"
COUNTS: Any = {"read": 3, "findings": 2, "skipped": {"severity_not_chosen": 1}}


def lines_of(folder: Any, name: str) -> list[Any]:
    return [json.loads(line) for line in read_lines(folder / name)]


def test_an_empty_shard_has_a_manifest_and_no_parts(run):
    manifest = FindingsWriter(run, 3).close(COUNTS)
    assert manifest == {
        **COUNTS,
        "shard": 3,
        "parked_part": None,
        "waiting_parts": [],
        "rejected_part": None,
        "contested_part": None,
        "severities": {},
        "destinations": [],
    }
    assert read_json(run.shard_manifest(3)) == manifest
    assert names(run.findings) == ["shard-0003.json"]


def test_manifest_says_where_the_findings_are_how_their_hub_is_reached_and_how_severe_they_are(run):
    writer = FindingsWriter(run, 12)
    role: Any = SimpleNamespace(aws_conn_id="aws", role_name="importer", external_id="secret-handshake")
    writer.write(B, "eu-west-1", b'{"Id":1}', "low", role)
    writer.write(A, "us-east-1", b'{"Id":2}', "high", VIA)
    writer.write(B, "eu-west-1", b'{"Id":3}', "critical", role)
    writer.write(A, "eu-west-1", b'{"Id":4}', "high", VIA)
    assert writer.findings == 4
    manifest = writer.close(COUNTS)
    assert manifest["severities"] == {A: {"high": 2}, B: {"critical": 1, "low": 1}}
    assert [list(counts) for counts in manifest["severities"].values()] == [["high"], ["critical", "low"]]
    found = []
    for entry in manifest["destinations"]:
        (part,) = entry.pop("parts")
        assert part["name"].startswith("part-0012-00000-")
        lines = lines_of(run.destination(entry["account"], entry["region"]), part["name"])
        assert part == {"name": part["name"], "lines": len(lines), "bytes": 9 * len(lines)}
        found.append((entry, [line["Id"] for line in lines]))
    own = {"aws_conn_id": None, "role_name": None}
    other = {"aws_conn_id": "aws", "role_name": "importer", "external_id": "secret-handshake"}
    assert found == [
        ({"account": A, "region": "eu-west-1", **own}, [4]),
        ({"account": A, "region": "us-east-1", **own}, [2]),
        ({"account": B, "region": "eu-west-1", **other}, [1, 3]),
    ]


def test_parts_are_closed_once_they_are_full_and_a_retry_writes_the_same_ones(run, monkeypatch):
    monkeypatch.setattr(output, "FINDINGS_PER_PART", 3)

    def written(count: int) -> list[dict[str, Any]]:
        writer = FindingsWriter(run, 1)
        for number in range(count):
            write(writer, A, b'{"Id":%d}' % number)
        (entry,) = close(writer)["destinations"]
        return entry["parts"]

    found = written(7)
    assert [part["lines"] for part in found] == [3, 3, 1]
    assert [part["name"][:16] for part in found] == [f"part-0001-{number:05d}-" for number in range(3)]
    folder = run.destination(A, "eu-west-1")
    assert [line["Id"] for part in found for line in lines_of(folder, part["name"])] == list(range(7))
    assert written(7) == found
    assert len(names(folder)) == 3
    # Another content has another name: receipts of the former do not count for it.
    assert written(6)[-1] == found[1]
    assert written(8)[2]["name"] not in {part["name"] for part in found}


def test_the_part_that_holds_most_is_compressed_or_closed_if_most_of_it_is_rows(run, monkeypatch):
    monkeypatch.setattr(output, "OPEN_BYTES", 1000)
    writer = FindingsWriter(run, 0)
    write(writer, A, b"x" * 599)
    writer.write(B, "eu-west-1", b"x" * 99, "high", VIA, b"r" * 292)
    # 600 and 400 bytes: the bound is reached, and A holds more.
    assert [key[0] for key in writer._open] == [A, B]
    assert 400 < writer._open_bytes == held(writer) + 300 < 500
    writer.write(B, "eu-west-1", b"x" * 99, "high", VIA, b"r" * 492)
    assert [key[0] for key in writer._open] == [A]
    assert writer._open_bytes == held(writer) < 100
    # Not the one that was written last, but the one that holds most.
    write(writer, B, b"x" * 699)
    write(writer, A, b"x" * 299)
    assert writer._open[B, "eu-west-1"].uncompressed_bytes == 0
    assert writer._open[A, "eu-west-1"].uncompressed_bytes == 300
    assert [len(entry["parts"]) for entry in close(writer)["destinations"]] == [1, 2]


def test_rows_are_written_next_to_the_part_with_the_moment_that_they_speak_for(run):
    writer = FindingsWriter(run, 0)
    for number in (1, 2):
        writer.write(A, "eu-west-1", b"{}", "high", VIA, bytes([number] * 4), as_of=256 + number)
    # Of some findings there is no row: the lines of this part must be read.
    writer.write(B, "eu-west-1", b"{}", "high", VIA, b"rows")
    for _ in range(4):
        writer.write(B, "eu-west-1", b"{}", "high", VIA)
    first, second = ([part["name"] for part in entry["parts"]] for entry in close(writer)["destinations"])
    expected = b"".join(bytes([number] * 4) + bytes([number, 1, 0, 0, 0, 0, 0, 0]) for number in (1, 2))
    assert read_rows(run.rows(A, "eu-west-1", *first), count=2, size=12) == expected
    assert not run.rows(B, "eu-west-1", *second).exists()


def ids_of(line: bytes) -> bytes:
    return line.partition(b" ")[0]


def test_ids_stand_beside_the_rows_and_count_in_memory(run):
    writer = FindingsWriter(run, 0, ids_of)
    for number in (1, 2):
        writer.write(A, "eu-west-1", b"id-%d more" % number, "high", VIA, b"row%d" % number)
    # 11 bytes of lines, 12 of each row, 5 of each id.
    assert writer._open_bytes == held(writer) + 2 * 12 + 2 * 5
    # Where one of them cannot be told, there is none: the lines of the part have them all.
    for line in (b"id-3 more", b" more"):
        writer.write(B, "eu-west-1", line, "high", VIA, b"rows")
    first, second = ([part["name"] for part in entry["parts"]] for entry in close(writer)["destinations"])
    rows = b"".join(b"row%d" % number + bytes(8) for number in (1, 2))
    path = run.rows(A, "eu-west-1", *first)
    assert read_rows_and_ids(path, count=2, size=12) == (rows, [b"id-1", b"id-2"])
    assert read_rows(path, count=2, size=12) == rows
    assert read_rows_and_ids(run.rows(B, "eu-west-1", *second), count=2, size=12) == ((b"rows" + bytes(8)) * 2, None)


@pytest.mark.parametrize("ids", [b"one\n", b"one\ntwo\nthree\n", b"one\ntwo", b"one\n\n", b"\ntwo\n"])
def test_ids_that_are_not_as_many_as_the_rows_make_the_file_unusable(run, ids):
    path = run.rows(A, "eu-west-1", "part.jsonl.zst")
    write_rows(path, b"rowsrows", 4, ids)
    assert read_rows_and_ids(path, count=2, size=4) is None
    assert read_rows(path, count=2, size=4) is None


def test_a_row_speaks_for_the_export_of_the_run_unless_it_says_otherwise(run):
    writer = FindingsWriter(run, 0)
    writer.write(A, "eu-west-1", b"{}", "high", VIA, b"rows")
    (entry,) = close(writer)["destinations"]
    assert read_rows(run.rows(A, "eu-west-1", entry["parts"][0]["name"]), count=1, size=12) == b"rows" + bytes(8)


def test_rejected_records_are_stored_with_the_reason_and_are_readable(run):
    writer = FindingsWriter(run, 5)
    writer.reject("unmappable_record", "d" * 2001, b'{"a": "\xc3\xa9"}')
    writer.reject("unreadable_record", "why", b"\xff" + b"<" * 100_000, as_of=17)
    writer.reject("unreadable_record", "deep", b"[" * 100_000)
    manifest = close(writer)
    assert manifest["rejected_part"] == "part-shard-0005.jsonl.gz"
    common = {"id": None, "account": None, "region": None, "finding": None}
    assert lines_of(run.rejected, manifest["rejected_part"]) == [
        {**common, "code": "unmappable_record", "message": "d" * 2000, "record": {"a": "\u00e9"}},
        {**common, "code": "unreadable_record", "message": "why", "record": "\ufffd" + "<" * 99_999, "as_of": 17},
        {**common, "code": "unreadable_record", "message": "deep", "record": "[" * 100_000},
    ]


def test_parked_and_contested_records_have_parts_of_their_own(run):
    writer = FindingsWriter(run, 4)
    for line in (b'{"parked":1}', b'{"parked":2}'):
        writer.park(line)
    for line in (b'{"contested":1}', b'{"contested":2}'):
        writer.contest(line)
    manifest = close(writer)
    assert manifest["parked_part"] == "part-shard-0004.jsonl.zst"
    assert lines_of(run.parked, manifest["parked_part"]) == [{"parked": 1}, {"parked": 2}]
    assert manifest["contested_part"].startswith("part-shard-0004-")
    assert lines_of(run.contested, manifest["contested_part"]) == [{"contested": 1}, {"contested": 2}]
    # What the selection among duplicates depends on has another name when it is another.
    other = FindingsWriter(run, 4)
    other.contest(b'{"contested":1}')
    assert close(other)["contested_part"] != manifest["contested_part"]


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (3, [3]), (7, [3, 3, 1])])
def test_records_that_are_kept_are_written_in_parts_that_fit_into_memory(run, monkeypatch, count, sizes):
    monkeypatch.setattr(output, "KEPT_PER_PART", 3)
    writer = FindingsWriter(run, 2)
    for number in range(count):
        writer.keep(b'{"kept":%d}' % number, "asset", number)
    found = close(writer)["waiting_parts"]
    assert found == [f"waiting-shard-0002-{number:05d}.jsonl.zst" for number in range(len(sizes))]
    read = [lines_of(run.parked, name) for name in found]
    assert [len(lines) for lines in read] == sizes
    assert [line["kept"] for lines in read for line in lines] == list(range(count))
