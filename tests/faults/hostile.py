"""An export of any size, good records and hostile ones among them, through the real operators into a hub that only
counts.

Records are generated chunk by chunk, so that the generator holds no memory. A good record's number stands in its
finding's id, so that each of them can be ticked off.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.run.ledger import build_ledger
from airflow_provider_tenable.run.ledger_checks import check_sums, rejected_lines
from airflow_provider_tenable.run.manifests import destinations_of, shard_manifests
from airflow_provider_tenable.run.params import parse_settings
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.tenable_vm.jobs import Job, JobStatus

_T = TypeVar("_T")

_EXAMPLE = Path(__file__).parent.parent / "data" / "vulns_chunk_official_example.json"
ACCOUNT, REGION = "111122223333", "us-east-1"
PER_CHUNK, PER_ASSET = 2_500, 50
GOOD_PLUGIN, BAD_PLUGIN = 100_000, 500_000

Record = dict[str, Any]


def asset_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


def record(number: int, plugin: int) -> Record:
    """A good record: the n-th of all, on the asset whose turn it is."""
    made: Record = json.loads(_example())
    made["asset"]["uuid"] = asset_id(number // PER_ASSET)
    made["plugin"]["id"] = plugin
    made["plugin"]["xrefs"].append({"type": "CISA-KNOWN-EXPLOITED", "id": "2024/06/18"})
    # What the example lacks, so that every field that is read can be made hostile.
    drivers = made["plugin"]["vpr"]["drivers"]
    drivers["threat_recency"] = {"lower_bound": 7, "upper_bound": 30}
    drivers["age_of_vuln"]["upper_bound"] = 730
    made["recast_reason"], made["last_fixed"] = "reviewed", "2026-01-02T03:04:05.000Z"
    made["indexed_at"] = "2026-01-02T03:04:05.000Z"
    made["port"] = {"port": 443, "protocol": "TCP", "service": "https"}
    made["severity"], made["severity_id"], made["state"] = "high", 3, "OPEN"
    made["first_found"], made["last_found"], made["indexed"] = ("2026-01-02T03:04:05.000Z",) * 3
    return made


def _example(cache: list[str] = []) -> str:  # noqa: B006 (the file is read once)
    if not cache:
        cache.append(json.dumps(json.loads(_EXAMPLE.read_text())[0]))
    return cache[0]


# --- what can be wrong with a record: each takes a good one and gives the bytes of a bad one ---

_VALUES: list[Any] = [
    None,
    "",
    0,
    -1,
    2**70,
    1e308,
    True,
    [],
    {},
    [[]],
    "x",
    "\x00\x07\u202e\u2066",
    "\U0001f600",
    ["a", None],
    {"raw": None},
    "NaN",
    "0001-01-01T00:00:00Z",
]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in [(*path, key), *_paths(item, (*path, key))]]


def _at(made: Record, path: tuple[Any, ...]) -> Any:
    value: Any = made
    for key in path:
        value = value[key]
    return value


def without_a_key(made: Record, rng: random.Random) -> bytes:
    path = rng.choice(_paths(made))
    del _at(made, path[:-1])[path[-1]]
    return json.dumps(made).encode()


def another_value(made: Record, rng: random.Random) -> bytes:
    path = rng.choice(_paths(made))
    _at(made, path[:-1])[path[-1]] = copy.deepcopy(rng.choice(_VALUES))
    return json.dumps(made).encode()


def several_other_values(made: Record, rng: random.Random) -> bytes:
    for _ in range(rng.randint(2, 12)):
        another_value(made, rng)
    return json.dumps(made).encode()


def a_huge_text(made: Record, rng: random.Random) -> bytes:
    place, name = rng.choice(
        [
            (made, "output"),
            (made["plugin"], "description"),
            (made["plugin"], "name"),
            (made, "finding_id"),
            (made["port"], "protocol"),
        ]
    )
    place[name] = rng.choice(["x", "é", "😀", '"', "\\", "\x01", "\u202e"]) * 250_000
    return json.dumps(made, ensure_ascii=rng.random() < 0.5).encode()


def a_lone_surrogate(made: Record, rng: random.Random) -> bytes:
    made[rng.choice(["output", "finding_id", "source", "recast_reason"])] = "a\ud800b\udfff"
    return (
        json.dumps(made).encode()
        if rng.random() < 0.5
        else json.dumps(made, ensure_ascii=False).encode("utf-8", "surrogatepass")
    )


def bytes_that_are_no_unicode(made: Record, rng: random.Random) -> bytes:
    made["output"] = "MARK"
    return json.dumps(made).encode().replace(b"MARK", rng.choice([b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80"]))


def a_number_that_is_none(made: Record, rng: random.Random) -> bytes:
    made["plugin"]["cvss3_base_score"] = made["severity_id"] = float(rng.choice(["nan", "inf", "-inf"]))
    return json.dumps(made).encode()


def ten_thousand_cves(made: Record, rng: random.Random) -> bytes:
    made["plugin"]["cve"] = [f"CVE-{1999 + number % 27}-{number:05d}" for number in range(10_000)]
    return json.dumps(made).encode()


def a_strange_port(made: Record, rng: random.Random) -> bytes:
    made["port"]["port"] = rng.choice([-1, 65_536, 2**63, "443/tcp", "a" * 5_000, 3.5, [443]])
    return json.dumps(made).encode()


def a_strange_time(made: Record, rng: random.Random) -> bytes:
    for name in ("first_found", "last_found", "indexed", "last_fixed"):
        made[name] = rng.choice(
            [
                "0001-01-01T00:00:00Z",
                "9999-12-31T23:59:60Z",
                "2026-02-30T00:00:00Z",
                "0001-01-01T00:00:00+23:59",
                2**62,
                -1,
                "soon",
                None,
            ]
        )
    return json.dumps(made).encode()


def deep_nesting(made: Record, rng: random.Random) -> bytes:
    made["plugin"]["bid"] = "MARK"
    depth = rng.choice([100, 2_000, 50_000])
    return json.dumps(made).encode().replace(b'"MARK"', b"[" * depth + b"]" * depth)


def no_record(made: Record, rng: random.Random) -> bytes:
    return json.dumps(rng.choice([None, 1, "text", [], {}, [made], {"asset": made["asset"]}])).encode()


def an_unknown_asset(made: Record, rng: random.Random) -> bytes:
    made["asset"]["uuid"] = rng.choice(["gone", "", asset_id(10**9), "../../etc/passwd"])
    return json.dumps(made).encode()


MUTATIONS: list[Callable[[Record, random.Random], bytes]] = [
    without_a_key,
    another_value,
    several_other_values,
    a_lone_surrogate,
    bytes_that_are_no_unicode,
    a_number_that_is_none,
    a_strange_port,
    a_strange_time,
    no_record,
    an_unknown_asset,
]
#: Large ones: one in so many hostile records.
LARGE = [a_huge_text, ten_thousand_cves, deep_nesting]
LARGE_EVERY = 40


def hostile(number: int, rng: random.Random) -> bytes:
    """The n-th hostile record."""
    mutate = rng.choice(LARGE) if number % LARGE_EVERY == 0 else rng.choice(MUTATIONS)
    return mutate(record(number % 5_000, BAD_PLUGIN + number), rng)


class GeneratedTenable:
    """An export that is made up as it is fetched. The calls are those of ``TenableApi``."""

    def __init__(self, good: int, bad: int, seed: int) -> None:
        self.good, self.bad, self.seed = good, bad, seed
        self.chunks = -(-good // PER_CHUNK)

    def start(self, kind: str, body: Record) -> str:
        return f"{kind}-job"

    def status(self, kind: str, job_uuid: str) -> JobStatus:
        count = self.chunks if kind == "vulnerabilities" else -(-(self.good // PER_ASSET + 101) // 1_000)
        return JobStatus("FINISHED", frozenset(range(1, count + 1)))

    def jobs(self, kind: str) -> list[Job]:
        return []

    def cancel(self, kind: str, job_uuid: str) -> None:
        return

    def asset(self, asset_id: str) -> None:
        return

    def receive_chunk(self, kind: str, job_uuid: str, chunk_id: int, receive: Callable[[Iterator[bytes]], _T]) -> _T:
        return receive(iter([self.chunk(kind, chunk_id)]))

    def chunk(self, kind: str, chunk_id: int) -> bytes:
        first = (chunk_id - 1) * (PER_CHUNK if kind == "vulnerabilities" else 1_000)
        if kind == "assets":
            return json.dumps([_asset(number) for number in range(first, first + 1_000)]).encode()
        head, middle, tail = (
            json.dumps(record(0, 987_654_321)).replace(asset_id(0), "@").replace("987654321", "@").split("@")
        )
        parts = [
            f"{head}{asset_id(number // PER_ASSET)}{middle}{GOOD_PLUGIN + number % PER_ASSET}{tail}".encode()
            for number in range(first, min(first + PER_CHUNK, self.good))
        ]
        rng = random.Random(f"{self.seed}/{chunk_id}")
        for number in range((chunk_id - 1) * self.bad // self.chunks, chunk_id * self.bad // self.chunks):
            parts.insert(rng.randrange(len(parts)), hostile(number, rng))
        return b"[" + b",".join(parts) + b"]"


def _asset(number: int) -> Record:
    aws = {
        "owner_id": ACCOUNT,
        "region": REGION,
        "availability_zone": f"{REGION}a",
        "ec2_instance_id": f"i-{number:017x}",
    }
    return {"id": asset_id(number), "cloud": {"aws": aws}, "network": {"ipv4s": ["10.0.0.1"]}}


class CountingHub:
    """Takes everything, and ticks off the good ones."""

    _GOOD = re.compile(rb'"Id":"us-east-1/\d+/i-([0-9a-f]{17})/(\d+)/tcp/443"')

    def __init__(self, good: int) -> None:
        self.seen = bytearray(good)
        self.largest = 0

    def import_batch(self, lines: list[bytes]) -> Record:
        for line in lines:
            self.largest = max(self.largest, len(line))
            found = self._GOOD.search(line)
            if found and GOOD_PLUGIN <= int(found[2]) < GOOD_PLUGIN + PER_ASSET:
                self.seen[int(found[1], 16) * PER_ASSET + int(found[2]) - GOOD_PLUGIN] += 1
        return {"FailedCount": 0, "SuccessCount": len(lines), "FailedFindings": []}


def run_hostile(tasks: Any, order: Record) -> Record:
    """Export, transform and import in this process.

    :return: counts, and how long it took.
    """
    from airflow_provider_tenable.security_hub.importer import FindingsImport
    from airflow_provider_tenable.security_hub.rate_limit import TokenBucket

    context, began = tasks.context, time.monotonic()
    tenable = GeneratedTenable(order["good"], order["bad"], order["seed"])

    class Hook:
        api = tenable
        connection_arguments = {"url": "https://cloud.tenable.com"}

        def close(self) -> None:
            return

    TenableExportOperator.hook = TenableToAsffOperator.hook = Hook()
    run = RunFolder.of(context)
    settings = parse_settings({})
    destination = {
        "aws_conn_id": None,
        "accounts": [],
        "role_name": None,
        "region": None,
        "caller_account": ACCOUNT,
        "connection_region": REGION,
    }
    window = {"kind": "incremental", "since": 1, "until": int(time.time()), "bounded": False, "watermark": None}
    named = dataclasses.asdict(settings)
    plan = {
        "window": window,
        "settings": {**named, "severities": list(named["severities"]), "states": list(named["states"])},
        "destinations": [destination],
    }
    write_json(run.plan, plan)
    assets, found = (tasks.export(kind, {}) for kind in ("assets", "vulnerabilities"))
    shards = [{"index": index, "count": 4} for index in range(4)]
    write_json(run.shards, {"count": len(shards)})
    for shard in shards:
        TenableToAsffOperator(
            task_id=f"transform_{shard['index']}", shard=shard, assets=assets, vulnerabilities=found, plan=plan
        ).execute(context)
    hub = CountingHub(order["good"])
    for entry in destinations_of(shard_manifests(run)):
        receipts = Receipts(run, entry["account"], entry["region"], entry["parts"])
        folder = run.destination(entry["account"], entry["region"])
        lines = ((name, read_lines(folder / name)) for name in entry["parts"])
        FindingsImport(sender=hub, receipts=receipts, bucket=TokenBucket(rate=1e9, burst=1e9)).run(
            lines, entry["findings"]
        )
    ledger = build_ledger(run, plan, exported=found["records"])
    check_sums(ledger)
    # One at a time: a list of them all would be the largest thing in this process.
    rejected = Counter(
        "with a reason" if line["code"] and line["message"] else "without" for line in rejected_lines(run)
    )
    return {
        "exported": ledger["exported"],
        "findings": ledger["findings"],
        "accepted": ledger["accepted"],
        "parked": ledger["parked"],
        "skipped": ledger["skipped"],
        "rejected_with_reason": rejected["with a reason"],
        "rejected": rejected.total(),
        "missing": hub.seen.count(0),
        "largest": hub.largest,
        "seconds": time.monotonic() - began,
    }
