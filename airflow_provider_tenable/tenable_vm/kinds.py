"""The kinds of records that Tenable exports, each described once: where its API is, how it is asked for, what a record
is, and how it is staged.

A further kind is a further entry of :data:`KINDS`; the client, the export, its staging and the operator read what they
need from here.

Sources: the API documentation of the exports (``developer.tenable.com/reference``: exports-vulns-request-export,
export-assets-v2, io-exports-compliance-create, was-export-findings) and the examples in ``tests/data``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from msgspec import Struct

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow, row_of
from airflow_provider_tenable.tenable_vm.asset_shapes import foreign_shape
from airflow_provider_tenable.tenable_vm.compliance import Compliance
from airflow_provider_tenable.tenable_vm.decode import decode_chunk
from airflow_provider_tenable.tenable_vm.records import Asset, Vulnerability
from airflow_provider_tenable.tenable_vm.was import WasFinding

RecordT = TypeVar("RecordT", bound=Struct)


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True)
class FilterNames:
    """How Tenable echoes the filters of a job.

    :ivar upper_case: filters whose values are echoed in upper case.
    :ivar synonyms: two names for one filter: the other name -> the name that stands for both.
    """

    upper_case: frozenset[str]
    synonyms: Mapping[str, str]


#: The filters of all kinds; none of them means two things.
_FILTERS = FilterNames(
    frozenset({"state", "severity", "severity_modification_type"}),
    MappingProxyType({"first_seen": "first_found", "last_seen": "last_found", "plugin_ids": "plugin_id"}),
)


@dataclass(frozen=True)
class Table(Generic[RecordT]):
    """How the records of a kind become rows of a table.

    :ivar row: a row; its fields are the columns.
    :ivar row_of: the row of a record.
    """

    row: type[Struct]
    row_of: Callable[[RecordT], Struct]


@dataclass(frozen=True)
class RecordKind(Generic[RecordT]):
    """A kind of record.

    :ivar name: what the operator's ``export``, the staged folder and the XCom call it.
    :ivar start_path: where an export is asked for.
    :ivar path: the list of jobs, a job, its chunks and its end are below this.
    :ivar size_field: the field of the request that says how large a chunk is.
    :ivar echoed_size: the field in which Tenable says the same of a job.
    :ivar size: the size where neither the user nor an option says one.
    :ivar size_option: the option of ``[tenable]`` that sets the size; None: no option does.
    :ivar switches: further fields of every request. Each field whose default differs between Tenable's documentation
        and its API is stated.
    :ivar without_output: fields that are added if plugin output is not wanted. Only then, so that the body of a run
        that was planned before the option existed stays the same.
    :ivar filters: how Tenable echoes its filters.
    :ivar record: what is decoded of a record.
    :ivar table: how its records become rows, if its chunks are staged as rows; None: they are staged as Tenable
        returns them, compressed.
    :ivar moves_watermark: whether the run's watermark depends on when the data of a job is from. If so, a job whose
        start time Tenable does not report is never adopted.
    :ivar mark: a filter by a time, which leaves out nothing if that time is early enough, so that its value
        distinguishes our requests from others with the same filters; None: there is no such filter.
    :ivar product: the product of Tenable that the container must have for this kind, if it is not the one that the
        other kinds need; its API refuses what it is asked for without a licence.
    :ivar usually_some: whether a full export without any record hints at missing permissions.
    :ivar foreign_shape: why the first records of a chunk cannot come from a request with a given body, in words, or
        None; None if records do not show it.
    """

    name: str
    start_path: str
    path: str
    size_field: str
    echoed_size: str
    size: int
    record: type[RecordT]
    size_option: str | None = None
    switches: Mapping[str, bool] = field(default_factory=_nothing)
    without_output: Mapping[str, bool] = field(default_factory=_nothing)
    filters: FilterNames = _FILTERS
    table: Table[RecordT] | None = None
    moves_watermark: bool = True
    mark: str | None = None
    product: str | None = None
    usually_some: bool = False
    foreign_shape: Callable[[Sequence[Mapping[str, Any]], Mapping[str, Any]], str | None] | None = None

    def body(self, filters: Mapping[str, Any], *, size: int, plugin_output: bool = True) -> dict[str, Any]:
        """The body of the request for an export.

        :param filters: Tenable's filters.
        :param size: assets (compliance: findings) per chunk.
        """
        left_out = {} if plugin_output else self.without_output
        return {self.size_field: size, **self.switches, **left_out, "filters": dict(filters)}

    def rows(self, chunk: bytes) -> list[Struct]:
        """The rows of a chunk. A record that cannot be read has none: nothing could be joined to it.

        :raises ValueError: the chunk is not a JSON array.
        """
        assert self.table is not None
        records, _ = decode_chunk(chunk, self.record)
        return [self.table.row_of(record) for record in records]


VULNERABILITIES = RecordKind(
    name="vulnerabilities",
    start_path="vulns/export",
    path="vulns/export",
    size_field="num_assets",
    echoed_size="num_assets_per_chunk",
    size=100,
    size_option="num_assets",
    switches=MappingProxyType({"include_unlicensed": True, "include_software_vulns": True}),
    without_output=MappingProxyType({"include_plugin_output": False}),
    record=Vulnerability,
)

ASSETS = RecordKind(
    name="assets",
    # Assets v2 has a start of its own, and v1's paths for the rest.
    start_path="assets/v2/export",
    path="assets/export",
    size_field="chunk_size",
    echoed_size="num_assets_per_chunk",
    size=1_000,
    size_option="asset_chunk_size",
    switches=MappingProxyType({"include_open_ports": False, "include_resource_tags": True}),
    record=Asset,
    table=Table(AssetRow, row_of),
    moves_watermark=False,
    mark="created_at",
    usually_some=True,
    foreign_shape=foreign_shape,
)

COMPLIANCE = RecordKind(
    name="compliance",
    start_path="compliance/export",
    path="compliance/export",
    size_field="num_findings",
    echoed_size="num_findings",
    size=5_000,
    record=Compliance,
)

#: Findings of Tenable Web App Scanning. Its API has its own paths, but the rules of the vulnerability export.
WAS = RecordKind(
    name="was",
    start_path="was/v1/export/vulns",
    path="was/v1/export/vulns",
    size_field="num_assets",
    echoed_size="num_assets_per_chunk",
    # The least that Tenable accepts: an application has many findings, and a large organisation few applications.
    size=50,
    switches=MappingProxyType({"include_unlicensed": True}),
    record=WasFinding,
    product="Tenable Web App Scanning",
)

#: All kinds, by name.
KINDS: Mapping[str, RecordKind[Any]] = MappingProxyType(
    {kind.name: kind for kind in (VULNERABILITIES, ASSETS, COMPLIANCE, WAS)}
)

#: The fields in which Tenable says how large a job's chunks are. Whichever is there counts: none of them means two
#: things.
ECHOED_SIZES = tuple(dict.fromkeys(kind.echoed_size for kind in KINDS.values()))


def kind_of(name: str) -> RecordKind[Any]:
    """The kind of a name. :raises ConfigurationError: there is none."""
    kind = KINDS.get(name)
    if kind is None:
        raise ConfigurationError(f"export={quoted(name, 80)} is not one of {', '.join(KINDS)}.")
    return kind
