"""The part of a compliance finding that comes from the check: the same for all assets that were audited with it, so
built once and kept as bytes.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from airflow_provider_tenable.asff import limits, product_fields, row
from airflow_provider_tenable.tenable_vm.compliance import (
    AWS_AUDIT_PLUGIN,
    Compliance,
    Reference,
    audit_name_of,
    check_of,
)
from airflow_provider_tenable.tenable_vm.lenient import salvage_items
from airflow_provider_tenable.tenable_vm.records import NULL

#: Service model: Compliance.RelatedRequirements; the length of each is ours.
RELATED_REQUIREMENTS = 32
REQUIREMENT = 64
STANDARD = 256
#: A hostile record may have any number of references.
_MOST_REFERENCES = 1_000

_TYPE = "Software and Configuration Checks/Industry and Regulatory Standards"
_AWS_BENCHMARK, _HOST_BENCHMARKS = "CIS AWS Foundations Benchmark", "CIS Host Hardening Benchmarks"
#: "1.10 Ensure IAM password policy prevents password reuse": the number of the check.
_NUMBER = re.compile(r"\d{1,4}(?:\.\d{1,4}){0,9}(?=\s)", re.ASCII)
_references = msgspec.json.Decoder(list[Reference] | None)


class CheckParts(Struct):
    """What a check gives to each of its findings; the fields of type bytes are encoded pieces of their lines.

    :ivar id_end: the end of the id: check and audit file.
    :ivar compliance: entries of ``Compliance`` but for the status.
    :ivar number: stands for the audit file in the row of a finding: :func:`audit_number`.
    :ivar material: a digest of all this.
    """

    id_end: bytes
    generator: bytes
    text_fields: bytes
    link_fields: bytes
    types: tuple[str, ...]
    compliance: bytes
    product_fields: bytes
    number: int
    material: bytes


def key_of(record: Compliance) -> tuple[Any, ...]:
    """Everything that :func:`check_parts` reads: records with equal keys share their parts."""
    see_also = record.see_also
    return (
        record.audit_file,
        record.compliance_full_id,
        record.check_id,
        record.check_name,
        record.check_info,
        record.expected_value,
        bytes(record.reference),
        tuple(see_also) if isinstance(see_also, list) else see_also,
        record.solution,
        record.plugin_id,
        record.plugin_name,
        record.description,
        record.synopsis,
        record.compliance_benchmark_name,
        record.compliance_benchmark_version,
        record.compliance_control_id,
        record.profile_name,
    )


def check_parts(record: Compliance) -> CheckParts:
    """Build a check's part of its findings. The record has a check and an audit file."""
    check, audit = check_of(record), (record.audit_file or "").strip()
    name = limits.prose(record.check_name, limits.TITLE)
    title = name or limits.text(f"Check {check} of {audit}", limits.TITLE) or "Compliance check"
    description = next(
        (
            text
            for value in (record.check_info, record.synopsis, record.description)
            if (text := limits.advice(value, limits.DESCRIPTION))
        ),
        title,
    )
    number = found[0] if (found := _NUMBER.match(name or "")) else ""
    of_check = number or (record.compliance_control_id or "").strip() or check
    generator = limits.text(f"tenable-audit/{audit}/{of_check}", limits.GENERATOR_ID) or "tenable-audit"
    see_also = [record.see_also] if isinstance(record.see_also, str) else record.see_also or []
    urls = [address for item in see_also for line in item.split() if (address := limits.url(line))]
    page = urls[0] if urls else _page(record.plugin_id)
    recommendation = {"Text": limits.advice(record.solution, limits.RECOMMENDATION_TEXT), "Url": page}
    recommendation = {key: value for key, value in recommendation.items() if value}
    links: dict[str, Any] = {"SourceUrl": page} if page else {}
    if recommendation:
        links["Remediation"] = {"Recommendation": recommendation}
    parts = {
        "id_end": f"{quote(check, safe='')}/{quote(audit, safe='')}".encode(),
        "generator": b',"GeneratorId":' + msgspec.json.encode(generator),
        "text_fields": msgspec.json.encode({"Title": title, "Description": description})[1:-1]
        + b',"FindingProviderFields":',
        "link_fields": msgspec.json.encode(links)[1:-1],
        "compliance": _compliance(record, audit, number),
        "product_fields": product_fields.piece(
            {
                "audit_file": audit,
                "check_id": check,
                "benchmark": record.compliance_benchmark_name,
                "benchmark_version": record.compliance_benchmark_version,
                "profile": record.profile_name,
                "expected_value": record.expected_value,
                "plugin_id": None if record.plugin_id is None else str(record.plugin_id),
                "plugin_name": record.plugin_name,
            }
        ),
    }
    types = (_type(record, audit),)
    return CheckParts(
        **parts, types=types, number=audit_number(audit), material=row.digest(*parts.values(), types[0].encode())
    )


def audit_number(audit_file: str) -> int:
    """A number for an audit file, as the row of a finding holds it: its upper half stands for the audit, its lower half
    for the version of it.
    """
    audit = int.from_bytes(row.digest(audit_name_of(audit_file).encode("utf-8", "replace"))[:4], "little") >> 1
    version = int.from_bytes(row.digest(audit_file.strip().encode("utf-8", "replace"))[:4], "little")
    return audit << 32 | version


def _compliance(record: Compliance, audit: str, number: str) -> bytes:
    requirements = sorted(
        {
            text
            for reference in _references_of(record.reference)
            if reference.control
            and (text := limits.text(f"{reference.framework or ''} {reference.control}".strip(), REQUIREMENT))
        }
    )
    benchmark = f"{record.compliance_benchmark_name or ''} {record.compliance_benchmark_version or ''}".strip()
    standard = limits.text(benchmark if record.compliance_benchmark_name else audit, STANDARD)
    fields: dict[str, Any] = {
        "RelatedRequirements": requirements[:RELATED_REQUIREMENTS],
        "SecurityControlId": number,
        "AssociatedStandards": [{"StandardsId": standard}] if standard else [],
    }
    fields = {name: value for name, value in fields.items() if value}
    return b"," + msgspec.json.encode(fields)[1:-1] if fields else b""


def _references_of(raw: msgspec.Raw) -> list[Reference]:
    if raw is NULL:
        return []
    try:
        found = _references.decode(raw) or []
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            found = salvage_items(bytes(raw), Reference)
        except (ValueError, RecursionError):
            found = []
    return found[:_MOST_REFERENCES]


def _type(record: Compliance, audit: str) -> str:
    if "CIS" not in audit.upper() and "CIS" not in (record.compliance_benchmark_name or "").upper():
        return _TYPE
    return f"{_TYPE}/{_AWS_BENCHMARK if record.plugin_id == AWS_AUDIT_PLUGIN else _HOST_BENCHMARKS}"


def _page(plugin: int | None) -> str | None:
    return f"https://www.tenable.com/plugins/nessus/{plugin}" if plugin is not None and 0 < plugin < 10**9 else None
