"""What a hub really holds of ours, as rows of the finding index: from the documents of GetFindings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.asff.product_fields import PREFIX
from airflow_provider_tenable.asff.record_fields import SEVERITY_LABELS
from airflow_provider_tenable.asff.was_plugin import GENERATOR
from airflow_provider_tenable.state import parts
from airflow_provider_tenable.tenable_vm import times

if TYPE_CHECKING:
    import pyarrow as pa

#: In ``ProductFields`` of every finding that this package maps, whatever its product and its id scheme are. Findings of
#: the old tool, of other tools that use the account's default product, and of other vendors have no such field.
OURS = f"{PREFIX}asset_uuid"
_NEW = "NEW"


class _Label(msgspec.Struct):
    Label: str = ""


class _Status(msgspec.Struct):
    Status: str = _NEW


class _Provider(msgspec.Struct):
    Severity: _Label = msgspec.field(default_factory=_Label)


class _Document(msgspec.Struct):
    """What is looked at of a document. The rest may be anything."""

    Id: str
    RecordState: str
    UpdatedAt: str
    AwsAccountId: str
    ProductFields: dict[str, str] = {}
    FindingProviderFields: _Provider = msgspec.field(default_factory=_Provider)
    GeneratorId: str = ""
    FirstObservedAt: str = ""
    CreatedAt: str = ""
    # What belongs to the customer.
    Severity: _Label = msgspec.field(default_factory=_Label)
    Workflow: _Status = msgspec.field(default_factory=_Status)
    Note: Any = None
    UserDefinedFields: dict[str, str] = {}
    VerificationState: str | None = None


def schema() -> pa.Schema:
    """The columns of the finding index, and ``changed``: whether the customer has changed something."""
    import pyarrow as pa

    index = parts.schema()
    return index.append(pa.field("changed", pa.bool_()))


def hub_rows(documents: Iterable[object], account: str) -> tuple[pa.Table, int, int]:
    """Rows of the documents that are ours, in any order; how many are not ours; and how many cannot be read.

    ``content`` is unknown, ``as_of`` the beginning of time: any row that is made from a receipt counts more.

    :param documents: as GetFindings returns them.
    :param account: whose hub it is. An administrator's hub also returns findings of its members.
    """
    import pyarrow as pa

    found: list[tuple[Any, ...]] = []
    others = unreadable = 0
    for each in documents:
        try:
            document = msgspec.convert(each, _Document)
            if OURS not in document.ProductFields or document.AwsAccountId != account:
                others += 1
                continue
            found.append(_row(document))
        except (msgspec.ValidationError, ValueError):
            unreadable += 1
    columns = list(zip(*found, strict=True)) if found else [()] * len(schema())
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema(), strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema()), others, unreadable


def _row(document: _Document) -> tuple[Any, ...]:
    """:raises ValueError: the document has no time that can be read."""
    resource, place = row.split_id(document.Id)
    updated = times.parse(document.UpdatedAt)
    if updated is None:
        raise ValueError("no UpdatedAt")
    observed = times.parse(document.FirstObservedAt) or times.parse(document.CreatedAt) or updated
    label = document.FindingProviderFields.Severity.Label or document.Severity.Label
    generator = document.GeneratorId.removeprefix(GENERATOR)
    return (
        row.key_of(document.Id),
        resource,
        place,
        row.asset_key(document.ProductFields[OURS]),
        row.plugin_number(int(generator)) if generator.isascii() and generator.isdigit() and len(generator) < 20 else 0,
        document.RecordState == "ARCHIVED",
        SEVERITY_LABELS.index(label) if label in SEVERITY_LABELS else 0,
        row.UNKNOWN_CONTENT,
        times.milliseconds(updated),
        0,
        0,
        times.milliseconds(observed),
        _is_changed(document, label),
    )


def _is_changed(document: _Document, label: str) -> bool:
    return bool(
        document.Workflow.Status != _NEW
        or document.Note
        or document.UserDefinedFields
        or document.VerificationState not in (None, "UNKNOWN")
        or (document.Severity.Label and document.Severity.Label != label)
    )


__all__ = ["OURS", "hub_rows", "schema"]
