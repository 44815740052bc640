"""What we read of Tenable's records (API docs: vulnerability and asset export chunks).

Only fields that the mapping uses are decoded. Every key may be absent or null. A record that does not fit these types is not given up:
:func:`salvage` reads it field by field and leaves out what cannot be used.
"""

from __future__ import annotations

import json
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Struct

#: Beyond 64 bits nothing is a number that Tenable means, and not all that we do with numbers works there.
Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Number = Integer | float


class Vector(Struct, gc=False):
    """A CVSS vector; ``raw`` is its text."""

    raw: str | None = None


class Vpr(Struct, gc=False):
    """Tenable's Vulnerability Priority Rating."""

    score: Number | None = None


class Plugin(Struct):
    """The plugin of a vulnerability record. The same for every record of a plugin, so decoded once per chunk."""

    id: Integer
    name: str | None = None
    family: str | None = None
    type: str | None = None
    synopsis: str | None = None
    description: str | None = None
    solution: str | None = None
    # A list; old data has a plain string.
    see_also: list[str] | str | None = None
    cve: list[str] | None = None
    cvss_base_score: Number | None = None
    cvss_vector: Vector | None = None
    cvss3_base_score: Number | None = None
    cvss3_vector: Vector | None = None
    cvss4_base_score: Number | None = None
    cvss4_vector: Vector | None = None
    # A percentage, 0 to 100.
    epss_score: Number | None = None
    vpr: Vpr | None = None
    vpr_v2: Vpr | None = None
    risk_factor: str | None = None
    exploit_available: bool | None = None
    has_patch: bool | None = None
    publication_date: str | None = None
    modification_date: str | None = None


class Port(Struct, gc=False):
    """Where on the host. ``port`` is a number, a numeric string in some data."""

    port: Integer | str | None = None
    protocol: str | None = None
    service: str | None = None


class AssetRef(Struct, gc=False):
    """The asset inside a vulnerability record: only its id is used, the rest comes from the asset export."""

    uuid: str


class Fix(Struct, gc=False):
    """How a vulnerable package is mended."""

    fix_type: str | None = None
    value: str | None = None


class SoftwareVuln(Struct):
    """A vulnerable package (served with ``include_software_vulns``)."""

    product: str | None = None
    version: str | None = None
    path: str | None = None
    vulnerabilities: list[str] | None = None
    fixes: list[Fix] | None = None


class Vulnerability(Struct):
    """A record of a vulnerability export. ``plugin`` stays undecoded, to be decoded once for all records that share it."""

    asset: AssetRef
    plugin: msgspec.Raw
    port: Port | None = None
    output: str | None = None
    severity: str | None = None
    severity_id: Integer | None = None
    severity_default_id: Integer | None = None
    severity_modification_type: str | None = None
    recast_reason: str | None = None
    first_found: str | Integer | None = None
    last_found: str | Integer | None = None
    last_fixed: str | Integer | None = None
    resurfaced_date: str | Integer | None = None
    # A text in the examples, a number in the schema.
    indexed: str | Integer | None = None
    state: str | None = None
    source: str | None = None
    finding_id: str | None = None
    software_vulns: list[SoftwareVuln] | None = None


class AwsCloud(Struct, gc=False):
    """``cloud.aws`` of an asset."""

    owner_id: str | None = None
    region: str | None = None
    availability_zone: str | None = None
    ec2_instance_id: str | None = None
    ec2_instance_ami_id: str | None = None
    ec2_instance_type: str | None = None
    ec2_name: str | None = None
    vpc_id: str | None = None
    subnet_id: str | None = None


class Cloud(Struct):
    """``cloud`` of an asset."""

    aws: AwsCloud | None = None


class Network(Struct):
    """``network`` of an asset."""

    ipv4s: list[str] | None = None
    ipv6s: list[str] | None = None
    fqdns: list[str] | None = None
    hostnames: list[str] | None = None


class Score(Struct, gc=False):
    """A rating."""

    score: Number | str | None = None


class Ratings(Struct):
    """Tenable's ratings of an asset: the Asset Criticality Rating, 1 to 10."""

    acr: Score | None = None


class Tag(Struct, gc=False):
    """A tag: Tenable's own, or one of the AWS resource."""

    key: str | None = None
    value: str | None = None


class Asset(Struct):
    """A record of an assets v2 export."""

    id: str
    types: list[str] | None = None
    cloud: Cloud | None = None
    network: Network | None = None
    ratings: Ratings | None = None
    tags: list[Tag] | None = None
    resource_tags: list[Tag] | None = None


_T = TypeVar("_T", bound=Struct)


@cache
def _list_decoder(record: type[_T]) -> Any:
    return msgspec.json.Decoder(list[record] | None)  # type: ignore[valid-type]


@cache
def _decoder(record: type[_T]) -> Any:
    return msgspec.json.Decoder(record)


def decode_chunk(data: bytes, record: type[_T]) -> tuple[list[_T], list[tuple[bytes, str]]]:
    """Decode a chunk: the records that can be used, and (bytes, reason) of those that cannot.

    An empty body and ``null`` are no records (both are served in practice).

    :raises ValueError: the chunk is no JSON array.
    """
    if not data.strip():
        return [], []
    try:
        # The way of nearly every chunk: all records in one go.
        return _list_decoder(record).decode(data) or [], []
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        pass
    except msgspec.DecodeError as error:
        # Broken JSON, or text that is no Unicode: json takes the latter.
        try:
            _loads(data)
        except RecursionError:
            pass
        except ValueError:
            raise ValueError(str(error)) from None
    records: list[_T] = []
    unreadable: list[tuple[bytes, str]] = []
    for raw in split_chunk(data):
        try:
            try:
                records.append(_decoder(record).decode(raw))
            except (msgspec.DecodeError, UnicodeDecodeError):
                records.append(salvage(raw, record))
        except (ValueError, RecursionError) as error:
            unreadable.append((raw, str(error)))
    return records, unreadable


#: So much of a chunk is decoded at a time.
PIECE_BYTES = 300_000
# Where one record may end and the next begin, looked for in the last bytes of a piece.
_SEAM = re.compile(rb"\}\s*,\s*(?=\{)")
_SEAM_WITHIN = 12_000
_SEAMS_TRIED = 10


def decode_blocks(blocks: Iterable[bytes], record: type[_T]) -> Iterator[tuple[list[_T], list[tuple[bytes, str]]]]:
    """As :func:`decode_chunk`, a piece at a time: a chunk of hundreds of MB takes no more memory than a small one.

    :param blocks: the bytes of a chunk in order, some MB each.
    :raises ValueError: the chunk is no JSON array.
    """
    pending, enough = bytearray(), PIECE_BYTES
    for block in blocks:
        pending += block
        if len(pending) < enough:
            continue
        # Where no seam is found, or the JSON is so strange that only Python's own parser reads it, more is read, at worst the whole chunk.
        enough = 2 * len(pending)
        for end, begin in _seams(pending):
            decoded = _closed_at(pending, end, record)
            if decoded is not None:
                # A new one: records point into the old one.
                pending, enough = bytearray(b"[") + pending[begin:], PIECE_BYTES
                yield decoded
                break
    yield decode_chunk(bytes(pending), record)


def _seams(data: bytearray) -> list[tuple[int, int]]:
    """Places near the end of an array that is cut off where one record may end and the next begin, the likeliest first.

    An array that is closed at a wrong one is no JSON, so a guess is good enough here: records mostly begin with the same key.
    """
    opening = re.match(rb"\s*\[\s*(\{\s*\"[^\"]{1,100}\")", data)
    if not opening:
        return []
    seams = [(match.start() + 1, match.end()) for match in _SEAM.finditer(data, max(0, len(data) - _SEAM_WITHIN))]
    likely = [(end, begin) for end, begin in seams if data.startswith(opening[1], begin)]
    return (likely or seams)[: -_SEAMS_TRIED - 1 : -1]


def _closed_at(data: bytearray, end: int, record: type[_T]) -> tuple[list[_T], list[tuple[bytes, str]]] | None:
    """The records of an array that is closed at a place; None where it is no whole JSON array then."""
    after, data[end] = data[end], ord("]")
    piece = memoryview(data)[: end + 1]
    try:
        return _list_decoder(record).decode(piece) or [], []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        msgspec.json.decode(piece, type=list[msgspec.Raw])
        return decode_chunk(bytes(piece), record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        piece.release()
        data[end] = after
        return None


def split_chunk(data: bytes) -> list[bytes]:
    """The records of a chunk, undecoded. :raises ValueError: the chunk is no JSON array."""
    try:
        try:
            value = msgspec.json.decode(data, type=list[msgspec.Raw] | None)
            return [bytes(raw) for raw in value or []]
        except (msgspec.DecodeError, UnicodeDecodeError):
            loaded = _loads(data)
    except RecursionError:
        return _split_deep(data)
    if not isinstance(loaded, list):
        raise ValueError("a chunk must be a JSON array")
    return [json.dumps(item).encode() for item in loaded]


def count_records(data: bytes) -> int:
    """The number of records in a chunk. :raises ValueError: the chunk is no JSON array."""
    if not data.strip():
        return 0
    try:
        return len(msgspec.json.decode(data, type=list[msgspec.Raw] | None) or [])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return len(split_chunk(data))


# A string as a whole, or what separates and nests.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},]', re.DOTALL)


def _split_deep(data: bytes) -> list[bytes]:
    """As :func:`split_chunk`, for a chunk in which something is nested deeper than a parser goes: only brackets are counted.

    :raises ValueError: the chunk is no JSON array.
    """
    items: list[bytes] = []
    depth = start = end = 0
    for token in _TOKEN.finditer(data):
        mark = token[0]
        if mark in (b"[", b"{"):
            depth += 1
            start = token.end() if depth == 1 else start
        elif depth == 1 and mark in (b",", b"]"):
            items.append(data[start : token.start()].strip())
            start = token.end()
        if mark in (b"]", b"}"):
            depth -= 1
            end = token.end() if depth == 0 else end
    if depth or not data.lstrip().startswith(b"[") or data[end:].strip() or not all(items):
        raise ValueError("a chunk must be a JSON array")
    return items


def salvage(data: bytes, record: type[_T]) -> _T:
    """Read one record field by field, leaving out what does not fit.

    :raises ValueError: a field that the record cannot be without is missing or unusable; the text names it.
    """
    value = _loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"not an object but {type(value).__name__}")
    return typing.cast(_T, _struct(_clean(value), record, ""))


def _loads(data: bytes) -> Any:
    """JSON as Python's own parser reads it, which takes text that is no Unicode (lone surrogates, bytes that are no UTF-8 become such).

    Numbers that are none, or beyond reach, become None.
    """

    def integer(digits: str) -> int | None:
        return int(digits) if len(digits) < 20 else None

    def number(digits: str) -> float | None:
        value = float(digits)
        return value if math.isfinite(value) else None

    return json.loads(data.decode("utf-8", "surrogateescape"), parse_int=integer, parse_float=number, parse_constant=lambda _: None)


def _clean(value: Any) -> Any:
    """Replace lone surrogates, which no UTF-8 can carry."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value


def _struct(value: Any, record: type[Struct], path: str) -> Struct:
    if not isinstance(value, dict):
        raise ValueError(f"{path or 'record'} is not an object")
    arguments: dict[str, Any] = {}
    for field in msgspec.structs.fields(record):
        name = f"{path}{field.name}"
        if value.get(field.encode_name) is None:
            if field.required:
                raise ValueError(f"{name} is missing")
            continue
        try:
            arguments[field.name] = _convert(value[field.encode_name], field.type, f"{name}.")
        except (ValueError, TypeError, OverflowError) as error:
            if field.required:
                raise ValueError(f"{name} cannot be used: {error}") from None
    return record(**arguments)


def _convert(value: Any, wanted: Any, path: str) -> Any:
    if wanted is msgspec.Raw:
        return msgspec.Raw(msgspec.json.encode(value))
    if isinstance(wanted, type) and issubclass(wanted, Struct):
        return _struct(value, wanted, path)
    origin, options = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is list:
        if not isinstance(value, list):
            raise ValueError("not a list")
        return [item for item in (_or_none(each, options[0], path) for each in value) if item is not None]
    if origin in (typing.Union, types.UnionType):
        for option in options:
            if option is not type(None):
                converted = _or_none(value, option, path)
                if converted is not None:
                    return converted
        raise ValueError("no type that it may have fits")
    try:
        return msgspec.convert(value, wanted, strict=False)
    except msgspec.ValidationError as error:
        # A ValueError only since msgspec 0.22.
        raise ValueError(str(error)) from None


def _or_none(value: Any, wanted: Any, path: str) -> Any:
    try:
        return _convert(value, wanted, path)
    except (ValueError, TypeError, OverflowError):
        return None
