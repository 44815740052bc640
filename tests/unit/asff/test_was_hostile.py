"""Whatever a web application record holds, it becomes a finding within ASFF's limits, or is refused with a reason."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.asff.finding import MappingOptions
from airflow_provider_tenable.asff.mapper import AsffWasMapper
from airflow_provider_tenable.exceptions import UnmappableError
from airflow_provider_tenable.guards.arns import arn_of
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.tenable_vm.decode import decode_chunk
from airflow_provider_tenable.tenable_vm.was import WasFinding, WasPlugin, host_of
from sandbox.aws.asff.findings import complaint
from tests.unit.asff.asff_limits import problems
from tests.unit.asff.test_compliance_hostile import JSON, TEXTS
from tests.unit.asff.test_was_finding import ACCOUNT, ASSET, FIRST, LOAD_BALANCER, PRODUCT, REGION

MAPPER = AsffWasMapper(MappingOptions(), "tenable/vulnerability-management")
OF_RECORD = st.dictionaries(st.sampled_from([*WasFinding.__struct_fields__, "another"]), JSON, max_size=6)
OF_PLUGIN = st.dictionaries(st.sampled_from([*WasPlugin.__struct_fields__, "another"]), JSON, max_size=6)


@settings(max_examples=120, deadline=None)
@given(OF_RECORD, OF_PLUGIN, TEXTS, st.booleans())
@example({"finding_id": "044a6c5f-3b1c-5c2d-bc76-36e0072ab19c\n"}, {}, "", False)
@example({"asset": {"fqdn": "x" * 5000}, "url": "http://[::1"}, {"cve": ["x" * 40], "cwe": 79}, "", True)
def test_any_record(changed: dict[str, Any], of_plugin: dict[str, Any], name: str, is_typed: bool) -> None:
    fields = {**FIRST, "plugin": {**FIRST["plugin"], **of_plugin}, **changed}
    found, unreadable = decode_chunk(json.dumps([fields]).encode(), WasFinding)
    assert len(found) + len(unreadable) == 1
    arn = arn_of(LOAD_BALANCER) if is_typed else None
    for record in found:
        resource = MAPPER.application(
            AssetRow(id=ASSET, name=name, tags=json.dumps({name: [name]})),
            host_of(record) or "",
            account=arn.account if arn else ACCOUNT,
            region=arn.region if arn else REGION,
            arn=arn,
        )
        try:
            line, packed = MAPPER.was(record, MAPPER.plugin(bytes(record.plugin)), resource, PRODUCT, None)
        except (UnmappableError, ValueError):
            continue
        assert problems(line) == []
        assert complaint(json.loads(line), len(line)) is None
        key, content, _, _, flags, *_ = row.LAYOUT.unpack(packed)
        assert key == row.key_of(json.loads(line)["Id"])
        assert content != row.UNKNOWN_CONTENT
        assert bool(flags & row.ARCHIVED) == (json.loads(line)["RecordState"] == "ARCHIVED")
