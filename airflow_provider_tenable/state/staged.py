"""The rows of staged findings as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.asff.product_fields import PREFIX
from airflow_provider_tenable.asff.record_fields import SEVERITY_LABELS
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.security_hub.batches import identify
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.staging.rows import read_rows, read_rows_and_ids
from airflow_provider_tenable.tenable_vm import times

if TYPE_CHECKING:
    import numpy as np

    from airflow_provider_tenable.staging.layout import RunFolder

#: The columns of a row (:data:`airflow_provider_tenable.asff.row.LAYOUT`), and for which moment Tenable said so (unix
#: milliseconds; 0 for that of the run's export).
FIELDS = [
    ("key", "S16"),
    ("content", "<u8"),
    ("asset", "S16"),
    ("plugin", "<i8"),
    ("flags", "u1"),
    ("updated_at", "<i8"),
    ("first_observed", "<i8"),
    ("as_of", "<i8"),
]
SIZE = row.LAYOUT.size + 8


class _Severity(msgspec.Struct, rename="pascal"):
    label: str = ""


class _ProviderFields(msgspec.Struct, rename="pascal"):
    severity: _Severity = msgspec.field(default_factory=_Severity)


class _Finding(msgspec.Struct, rename="pascal"):
    """What a row can be made of where only the line is there."""

    id: str
    updated_at: str = ""
    created_at: str = ""
    first_observed_at: str = ""
    generator_id: str = ""
    record_state: str = "ACTIVE"
    finding_provider_fields: _ProviderFields = msgspec.field(default_factory=_ProviderFields)
    product_fields: dict[str, str] = {}


_decode = msgspec.json.Decoder(_Finding).decode


def staged_rows(run: RunFolder, account: str, region: str, part: str, count: int) -> np.ndarray[Any, Any]:
    """The rows of the findings in a part, in the order of its lines.

    Where they are missing or damaged, or an older release has staged the part, they are made of the lines. Their
    content is unknown then, so these findings count as changed.

    :param count: how many findings the part has.
    :raises StagingError: the part itself is missing or damaged.
    """
    data = read_rows(run.rows(account, region, part), count=count, size=SIZE)
    return _as_array(_made_of_lines(run, account, region, part, count) if data is None else data)


def staged_rows_and_ids(
    run: RunFolder, account: str, region: str, part: str, count: int
) -> tuple[np.ndarray[Any, Any], Iterator[str]]:
    """Like :func:`staged_rows`, and the id of each finding. Where the ids do not stand beside the rows, they are read
    from the lines, once they are asked for.
    """
    found = read_rows_and_ids(run.rows(account, region, part), count=count, size=SIZE)
    data, ids = found or (_made_of_lines(run, account, region, part, count), None)
    if ids is not None:
        return _as_array(data), (each.decode() for each in ids)
    return _as_array(data), map(identify, read_lines(run.destination(account, region) / part))


def _as_array(data: bytes) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.frombuffer(data, dtype=np.dtype(FIELDS))


def _made_of_lines(run: RunFolder, account: str, region: str, part: str, count: int) -> bytes:
    path = run.destination(account, region) / part
    data = b"".join(_rows_of(read_lines(path)))
    if len(data) != count * SIZE:
        raise StagingError(
            f"The staged part {path} has {len(data) // SIZE} findings, its manifest says {count}. Clear the run's "
            "tasks from the transform on."
        )
    return data


def _rows_of(lines: Iterator[bytes]) -> Iterator[bytes]:
    for line in lines:
        yield row_of_line(line) + bytes(8)


def row_of_line(line: bytes) -> bytes:
    """The row of a finding of which only the line is there: its content is unknown."""
    finding = _decode(line)
    label = finding.finding_provider_fields.severity.label
    archived = finding.record_state == "ARCHIVED"
    because = finding.product_fields.get(f"{PREFIX}archived_because", "")
    is_accepted = finding.product_fields.get(f"{PREFIX}severity_modification") == "ACCEPTED"
    generator = finding.generator_id
    return row.LAYOUT.pack(
        row.key_of(finding.id),
        row.UNKNOWN_CONTENT,
        row.asset_key(finding.product_fields.get(f"{PREFIX}asset_uuid", "")),
        row.plugin_number(int(generator)) if generator.isascii() and generator.isdigit() else 0,
        row.flags(
            SEVERITY_LABELS.index(label) if label in SEVERITY_LABELS else 0,
            archived=archived,
            fixed=archived and finding.product_fields.get(f"{PREFIX}state") == "FIXED",
            # Whether it is to be suppressed, the run's settings say.
            because=because if archived else row.RISK_ACCEPTED if is_accepted else "",
        ),
        _milliseconds(finding.updated_at),
        _milliseconds(finding.first_observed_at or finding.created_at),
    )


def _milliseconds(text: str) -> int:
    moment = times.parse(text)
    return times.milliseconds(moment) if moment else 0
