"""Assets between the two APIs: from an export's chunk to Parquet, and back as the rows that a set of records needs."""

from __future__ import annotations

import io
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable.asff.decoding import decode_chunk
from airflow_provider_tenable.asff.records import Asset, AwsCloud, Cloud, Network, Ratings, Score, Tag
from airflow_provider_tenable.asff.resources import COLUMNS, AssetRow
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.foreign_text import safe
from airflow_provider_tenable.staging import content_of

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath


def row_of(asset: Asset) -> AssetRow:
    """The columns of an asset that the mapping needs."""
    aws = (asset.cloud and asset.cloud.aws) or AwsCloud()
    network = asset.network or Network()
    tags: dict[str, list[str]] = {}
    for tag in asset.tags or []:
        if tag.key and tag.value:
            tags.setdefault(tag.key, []).append(tag.value)
    names = [*(network.hostnames or []), *(network.fqdns or [])]
    return AssetRow(
        id=asset.id,
        owner_id=aws.owner_id,
        region=aws.region,
        availability_zone=aws.availability_zone,
        instance_id=aws.ec2_instance_id,
        image_id=aws.ec2_instance_ami_id,
        instance_type=aws.ec2_instance_type,
        instance_name=aws.ec2_name,
        vpc_id=aws.vpc_id,
        subnet_id=aws.subnet_id,
        name=names[0] if names else None,
        addresses=_json([*(network.ipv4s or []), *(network.ipv6s or [])]),
        tags=_json(tags),
        resource_tags=_json({tag.key: tag.value for tag in asset.resource_tags or [] if tag.key and tag.value}),
        acr=_number(asset.ratings.acr.score if asset.ratings and asset.ratings.acr else None),
    )


def row_of_details(details: dict[str, Any]) -> AssetRow | None:
    """The columns of one asset looked up singly. ``GET /assets/{id}`` answers in lists (``aws_ec2_instance_id: ["i-..."]``)."""

    def first(name: str) -> str | None:
        value = details.get(name)
        value = value[0] if isinstance(value, list) and value else value
        return value if isinstance(value, str) and value else None

    def texts(*names: str) -> list[str]:
        values = [details.get(name) for name in names]
        return [item for value in values for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]

    def tags(name: str, key: str, value: str) -> list[Tag]:
        listed = details.get(name)
        listed = listed if isinstance(listed, list) else []
        pairs = [(tag.get(key), tag.get(value)) for tag in listed if isinstance(tag, dict)]
        return [Tag(*pair) for pair in pairs if all(isinstance(text, str) for text in pair)]

    asset_id = details.get("id")
    if not isinstance(asset_id, str):
        return None
    aws = AwsCloud(
        owner_id=first("aws_owner_id"),
        region=first("aws_region"),
        availability_zone=first("aws_availability_zone"),
        ec2_instance_id=first("aws_ec2_instance_id"),
        ec2_instance_ami_id=first("aws_ec2_instance_ami_id"),
        ec2_instance_type=first("aws_ec2_instance_type"),
        ec2_name=first("aws_ec2_name"),
        vpc_id=first("aws_vpc_id"),
        subnet_id=first("aws_subnet_id"),
    )
    score = details.get("acr_score")
    return row_of(
        Asset(
            id=asset_id,
            cloud=Cloud(aws),
            network=Network(ipv4s=texts("ipv4", "ipv4s"), ipv6s=texts("ipv6", "ipv6s"), fqdns=texts("fqdn", "fqdns"), hostnames=texts("hostname", "hostnames")),
            ratings=Ratings(Score(score if isinstance(score, (int, float, str)) else None)),
            tags=tags("tags", "tag_key", "tag_value") or tags("tags", "key", "value"),
            resource_tags=tags("resource_tags", "key", "value"),
        )
    )


def rows_of(data: bytes) -> list[AssetRow]:
    """The rows of a chunk of an asset export.

    :raises ValueError: the chunk is no JSON array.
    """
    # An asset without an id can be joined to nothing: the records that would need it find no asset, and are accounted for there.
    assets, _ = decode_chunk(data, Asset)
    return [row_of(asset) for asset in assets]


def to_parquet(data: bytes) -> tuple[bytes, int]:
    """A chunk of an asset export as a Parquet part, and its number of rows.

    :raises ValueError: the chunk is no JSON array.
    """
    import pandas as pd

    rows = [msgspec.structs.astuple(row) for row in rows_of(data)]
    frame = pd.DataFrame.from_records(rows, columns=list(COLUMNS))
    frame["acr"] = frame["acr"].astype("float64")
    texts = [column for column in COLUMNS if column != "acr"]
    frame[texts] = frame[texts].astype("string")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False, write_page_checksum=True)
    return buffer.getvalue(), len(frame)


class AssetTable:
    """The assets of an export by their ids, in a file of this process's own: memory does not grow with the tenant.

    The parts are read once, when the first asset is asked for. Of an asset that stands in two parts, the later part counts.
    """

    def __init__(self, parts: Iterable[ObjectStoragePath]) -> None:
        self._parts = parts
        self._database: sqlite3.Connection | None = None

    def get(self, asset_id: str) -> AssetRow | None:
        """The row of an asset, None where the export lacks it."""
        found = self._table().execute("SELECT line FROM assets WHERE id = ?", (asset_id,)).fetchone()
        return None if found is None else AssetRow(*msgspec.msgpack.decode(found[0]))

    def rows(self) -> Iterator[AssetRow]:
        """All rows, by id."""
        for (line,) in self._table().execute("SELECT line FROM assets ORDER BY id"):
            yield AssetRow(*msgspec.msgpack.decode(line))

    def close(self) -> None:
        """Remove the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _table(self) -> sqlite3.Connection:
        if self._database is None:
            # An empty name: SQLite keeps the table in memory up to the size of its cache, beyond that in a temporary file that has no name and ends with us.
            # Only one thread uses it, but the garbage collector may close a forgotten one from another.
            database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            # Python 3.13 complains of a connection that is left to the garbage collector.
            finalize = weakref.finalize(self, database.close)
            try:
                self._fill(database)
            except BaseException:
                finalize()
                raise
            self._database = database
        return self._database

    def _fill(self, database: sqlite3.Connection) -> None:
        database.execute("PRAGMA cache_size = -32768")
        database.execute("CREATE TABLE assets (id TEXT PRIMARY KEY, line BLOB) WITHOUT ROWID")
        encode = msgspec.msgpack.Encoder().encode
        for part in self._parts:
            columns = read_columns(part)
            acr = [None if value is None or value != value else value for value in columns.pop("acr")]  # noqa: PLR0124 (pandas writes NaN)
            rows = zip(*columns.values(), acr, strict=True)
            database.execute("BEGIN")
            database.executemany("INSERT OR REPLACE INTO assets VALUES (?, ?)", ((row[0], encode(row)) for row in rows))
            database.execute("COMMIT")


def read_columns(part: ObjectStoragePath) -> dict[str, list[Any]]:
    """The columns of an asset part. :raises StagingError: it is missing or damaged."""
    columns: dict[str, list[Any]] = read_table(part).to_pydict()
    return columns


def read_table(part: ObjectStoragePath, columns: Sequence[str] = COLUMNS) -> pa.Table:
    """An asset part, or some columns of it, as an Arrow table. :raises StagingError: it is missing or damaged; every page has a checksum."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # A part of the asset index is found missing or damaged again when the run is planned again: all assets are exported then.
    advice = f"Clear the run's tasks from {'plan_run' if '/asset_index/' in str(part) else 'the asset export'} on."
    try:
        return pq.read_table(pa.BufferReader(content_of(part)), columns=list(columns), use_threads=False, page_checksum_verification=True)
    except FileNotFoundError as error:
        raise StagingError(f"The staged part {part} is gone. {advice}") from error
    except (pa.ArrowException, OSError) as error:
        raise StagingError(f"The staged part {part} is damaged ({safe(error)}). {advice}") from error


def find(parts: Iterable[ObjectStoragePath], wanted: set[str]) -> dict[str, AssetRow]:
    """The rows of the wanted assets."""
    with closing(AssetTable(parts)) as table:
        return {asset_id: row for asset_id in wanted if (row := table.get(asset_id))}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
