"""Rows and findings for the tests of the finding index."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.state import parts
from airflow_provider_tenable.state.record import _binary
from airflow_provider_tenable.state.staged import FIELDS

NOW, DAY = 1_790_000_000_000, 86_400_000
ACCOUNT, REGION = "111122223333", "eu-west-1"


def finding_id(number: int) -> str:
    return f"{REGION}/{ACCOUNT}/i-{number // 3:017x}/{number}/tcp/443"


def held(number: int, **change: Any) -> dict[str, Any]:
    """A row of the index."""
    resource, place = row.split_id(finding_id(number))
    usual = {
        "key": row.key_of(finding_id(number)),
        "resource": resource,
        "place": place,
        "asset": bytes(16),
        "plugin": number,
        "archived": False,
        "severity": 3,
        "content": 100 + number,
        "updated_at": NOW - 2 * DAY,
        "as_of": NOW - DAY,
        "sent_at": NOW - DAY,
        "first_observed": NOW - 9 * DAY,
    }
    return {**usual, **change}


def table(*rows: dict[str, Any]) -> pa.Table:
    columns: dict[str, Any] = {name: [each[name] for each in rows] for name in parts.schema().names}
    for name in ("key", "asset"):
        columns[name] = _binary(np.array(columns[name], "S16"))
    return pa.table(columns, schema=parts.schema())


def staged(*rows: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Rows of staged findings: ``number`` and what is other than usual."""
    made = np.zeros(len(rows), np.dtype(FIELDS))
    for place, each in enumerate(rows):
        number, archived = each["number"], each.get("archived", False)
        usual = {
            "key": row.key_of(finding_id(number)),
            "content": 100 + number,
            "flags": row.flags(
                3, archived=archived, fixed=each.get("fixed", archived), because=each.get("because", "")
            ),
            "updated_at": NOW - DAY,
        }
        for name, value in {**usual, **each}.items():
            if name not in ("number", "archived", "fixed", "because"):
                made[name][place] = value
    return made
