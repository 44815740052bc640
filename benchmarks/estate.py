"""Generated Tenable data for the benchmarks: the sandbox's records, in any number, without holding them.

The sandbox generates :data:`MODEL_HOSTS` hosts with :data:`PER_HOST` vulnerabilities each. Further hosts are copies of
these under ids of their own, which costs a replacement of bytes instead of a rendering.
"""

from __future__ import annotations

import json
import random
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from sandbox.tenable.asset_records import asset_v2
from sandbox.tenable.estate import ACCOUNTS, Estate
from sandbox.tenable.records import RecordOptions, vulnerability_texts

MODEL_HOSTS = 100
PER_HOST = 50
HOSTS_PER_CHUNK = 100
ASSETS_PER_CHUNK = 1000
#: The moment at which the generated estate was scanned; fixed, so that every run measures the same bytes.
NOW = 1_795_000_000.0

#: Days by which a scan can be later than :data:`NOW`: times in the future are not those of a scan.
LATEST_DAY = 7
_SCANNED = re.compile(rb'("(?:last_found|indexed|indexed_at)": ")[^"]{10}')
_OUTPUT = b'"output": "'
_PLUGIN_ID = re.compile(rb'("plugin": \{.{1,6000}?"id": )(\d{5,6})(, )')


def numbered_accounts(count: int) -> tuple[str, ...]:
    """So many AWS accounts; the first one is that of the suites with a single one."""
    return tuple(f"{111122223333 + number:012d}" for number in range(count))


class Generated:
    """Chunks of vulnerabilities and of their assets.

    :param vulnerabilities: how many, a multiple of :data:`PER_HOST`.
    :param accounts: the AWS accounts that the hosts are spread over.
    :param plugins: 1: the plugins repeat as the sandbox's do (some 120 in all). More: so many times as many plugins, of
        different ids.
    :param day: days after :data:`NOW` on which all hosts were scanned again; 0: not again.
    :param changed: a finding of each so many has another output since.
    """

    def __init__(
        self,
        vulnerabilities: int,
        *,
        plugins: int = 1,
        accounts: tuple[str, ...] = ACCOUNTS,
        day: int = 0,
        changed: int = 0,
    ) -> None:
        assert 0 <= day <= LATEST_DAY
        self.day = day
        self.changed = changed
        self.hosts = vulnerabilities // PER_HOST
        self.plugins = plugins
        self.accounts = accounts

    @cached_property
    def _models(self) -> list[tuple[str, str, list[bytes], bytes]]:
        estate = Estate(NOW, seed=7, hosts=MODEL_HOSTS, vulnerabilities=MODEL_HOSTS * PER_HOST, accounts=self.accounts)
        options = RecordOptions(include_software_vulns=True)
        models = []
        for host in estate.hosts.values():
            records = [text.encode() for text in vulnerability_texts(estate.vulnerabilities[host.asset_id], options)]
            # A few hosts of the sandbox have fewer: repeated on other ports, so that every host has as many.
            for number in range(PER_HOST - len(records)):
                records.append(
                    re.sub(
                        rb'"port": \{"port": "?\d+"?',
                        b'"port": {"port": %d' % (20000 + number),
                        records[number % len(records)],
                    )
                )
            if self.day:
                date = datetime.fromtimestamp(NOW + 86_400 * self.day, UTC).date().isoformat().encode()
                records = [_SCANNED.sub(rb"\g<1>" + date, record) for record in records]
            asset = json.dumps(asset_v2(host, estate.states[host.asset_id], resource_tags=True)).encode()
            models.append((host.asset_id, host.instance_id or "", records, asset))
        return models

    def ids(self, number: int) -> tuple[bytes, bytes]:
        """Asset id and instance id of one host."""
        rng = random.Random(number)
        return str(uuid.UUID(int=rng.getrandbits(128), version=4)).encode(), f"i-{rng.getrandbits(68):017x}".encode()

    def host_records(self, number: int) -> list[bytes]:
        """The records of one host."""
        asset_id, _, records, _ = self._models[number % MODEL_HOSTS]
        mine = self.ids(number)[0]
        records = [record.replace(asset_id.encode(), mine) for record in records]
        if self.plugins > 1:
            offset = 1_000_000 + number % self.plugins * 1_000_000
            records = [
                _PLUGIN_ID.sub(lambda match: match[1] + b"%d" % (int(match[2]) + offset) + match[3], record, count=1)
                for record in records
            ]
        if self.changed:
            first = -number * PER_HOST % self.changed
            for each in range(first, len(records), self.changed):
                records[each] = records[each].replace(_OUTPUT, _OUTPUT + b"Another. ", 1)
        return records

    @property
    def chunk_count(self) -> int:
        """Chunks of the vulnerability export."""
        return -(-self.hosts // HOSTS_PER_CHUNK)

    def chunk(self, number: int) -> bytes:
        """One chunk of the vulnerability export, counted from 0."""
        hosts = range(number * HOSTS_PER_CHUNK, min((number + 1) * HOSTS_PER_CHUNK, self.hosts))
        return b"[" + b", ".join(record for host in hosts for record in self.host_records(host)) + b"]"

    def chunks(self) -> Iterator[bytes]:
        """All of them, one after the other."""
        return map(self.chunk, range(self.chunk_count))

    def asset(self, number: int) -> bytes:
        """One asset of the export (v2)."""
        asset_id, instance, _, asset = self._models[number % MODEL_HOSTS]
        mine, my_instance = self.ids(number)
        asset = asset.replace(asset_id.encode(), mine)
        return asset.replace(instance.encode(), my_instance) if instance else asset

    @property
    def asset_chunk_count(self) -> int:
        """Chunks of the asset export."""
        return -(-self.hosts // ASSETS_PER_CHUNK)

    def asset_chunk(self, number: int) -> bytes:
        """One chunk of the asset export, counted from 0."""
        hosts = range(number * ASSETS_PER_CHUNK, min((number + 1) * ASSETS_PER_CHUNK, self.hosts))
        return b"[" + b", ".join(self.asset(host) for host in hosts) + b"]"

    def asset_chunks(self) -> Iterator[bytes]:
        """All of them, one after the other."""
        return map(self.asset_chunk, range(self.asset_chunk_count))

    def write(self, folder: Path, kinds: tuple[str, ...] = ("vulnerabilities", "assets")) -> None:
        """Write all chunks as files, as the transform's benchmark and the cheap Tenable read them."""
        folder.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            for number, chunk in enumerate(self.chunks() if kind == "vulnerabilities" else self.asset_chunks()):
                (folder / f"{kind}-{number:06d}.json").write_bytes(chunk)
