"""Whatever a compliance record holds, it becomes a finding within ASFF's limits, or is refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.exceptions import UnmappableError
from airflow_provider_tenable.tenable_vm.compliance import Compliance
from airflow_provider_tenable.tenable_vm.decode import decode_chunk
from tests.unit.asff.asff_limits import problems
from tests.unit.asff.test_compliance import ACCOUNT, CHUNK, HOST, MAPPER, PRODUCT

FIRST: dict[str, Any] = json.loads(CHUNK)[0]
TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["", " ", "\x00\x1b[31m", "é" * 5_000, "../../x", "{{ conn.x }}", "a/b%2F", "💥" * 600, "-1"]),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*Compliance.__struct_fields__, "another"]), JSON, max_size=6), st.booleans())
@example({"see_also": None, "solution": None, "plugin_id": None}, False)
def test_any_record(changed: dict[str, Any], of_host: bool) -> None:
    found, unreadable = decode_chunk(json.dumps([{**FIRST, **changed}]).encode(), Compliance)
    assert len(found) + len(unreadable) == 1
    for record in found:
        try:
            line, packed, severity = MAPPER.compliance(record, HOST if of_host else ACCOUNT, PRODUCT)
        except UnmappableError:
            continue
        assert problems(line) == []
        key, content, *_ = row.LAYOUT.unpack(packed)
        assert key == row.key_of(json.loads(line)["Id"])
        assert content != row.UNKNOWN_CONTENT
        assert severity in range(5)


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "FAILED"},
        {"state": "FIXED"},
        {"actual_value": "another"},
        {"expected_value": "another"},
        {"solution": "another"},
        {"check_name": "another"},
        {"reference": [{"framework": "800-53", "control": "AC-3"}]},
        {"compliance_benchmark_version": "9"},
    ],
    ids=str,
)
def test_a_change_that_somebody_must_see_is_material(changed: dict[str, Any]) -> None:
    def content(fields: dict[str, Any]) -> int:
        ((record,), _) = decode_chunk(json.dumps([fields]).encode(), Compliance)
        return int(row.LAYOUT.unpack(MAPPER.compliance(record, ACCOUNT, PRODUCT)[1])[1])

    assert content(FIRST) == content({**FIRST, "last_seen": "2024-01-05T15:54:59.000Z"})
    assert content({**FIRST, **changed}) != content(FIRST)
