"""Maps a web application finding of Tenable and its application to an ASFF finding.

Joined from pieces that repeat among records, as findings of vulnerabilities are (:mod:`.finding`), whose rules for
times, severities, states and limits apply; nothing else writes findings of web applications.

Ids: ``{region}/{account}/{asset}/was/{finding id}``. Tenable documents the id of a finding as "the unique identifier of
the finding" (Data Stream: properties of web application findings). What else a record says of the place (its URL, the
name of an input) differs from scan to scan. The other kinds have no id with ``was`` in this place.
"""

from __future__ import annotations

from airflow_provider_tenable.asff import identity, limits, product_fields, row
from airflow_provider_tenable.asff.finding import MappingOptions, encoded_arn
from airflow_provider_tenable.asff.fitting import RESOURCES, VULNERABILITIES, cut_to_fit
from airflow_provider_tenable.asff.identity import ID_OPENING
from airflow_provider_tenable.asff.plugin import PluginParts
from airflow_provider_tenable.asff.record_fields import (
    ID_CLOSING,
    SUPPRESS,
    encode_provider_fields,
    encode_times,
    has_accepted_risk,
    is_archived,
    modification_product_fields,
    provider_fields_memo,
    times_memo,
)
from airflow_provider_tenable.asff.resource import Resource
from airflow_provider_tenable.asff.severity import shown_severity
from airflow_provider_tenable.asff.title import text_fields
from airflow_provider_tenable.exceptions import UnmappableError
from airflow_provider_tenable.guards.uuids import is_uuid
from airflow_provider_tenable.tenable_vm.records import NULL, severity_id_of
from airflow_provider_tenable.tenable_vm.severities import TENABLE
from airflow_provider_tenable.tenable_vm.was import WasFinding, is_fixed

#: What stands between the application and the finding in an id.
WAS = "was"
#: The scheme of the application's part of the id: it always has the account.
_SCHEME = "port"
_BETWEEN = f"{WAS}/".encode()
#: Longest URL that is read.
_LONGEST_URL = 16_384


def finding_and_row(
    record: WasFinding,
    plugin: PluginParts,
    resource: Resource,
    product_arn: str,
    options: MappingOptions,
    severity: int | None = None,
) -> tuple[bytes, bytes]:
    """Map a record to the JSON of its finding, without newlines, and to its row (:mod:`.row`).

    :param severity: the result of :func:`severity_id_of`, if the caller already has it.
    :raises UnmappableError: the record cannot be mapped; the message contains the reason.
    """
    if severity is None:
        severity = severity_id_of(record)
    if severity is None:
        raise UnmappableError("it has no severity")
    own_id = (record.finding_id or "").strip().lower()
    if not is_uuid(own_id):
        raise UnmappableError("its finding_id is not a UUID" if own_id else "it has no finding_id")
    if options.severity_source != TENABLE:
        severity = shown_severity(record, plugin, severity, options.severity_source)
    key = (
        options.latest,
        record.first_found,
        record.last_found or record.last_observed,
        record.last_fixed,
        record.resurfaced_date,
        record.last_observed,
        record.indexed,
        record.indexed_at,
    )
    times = times_memo.get(key) or encode_times(key)
    if not times:
        raise UnmappableError("it has no usable time (readable and not in the future)")
    finding_id = resource.id_heads[_SCHEME] + _BETWEEN + own_id.encode()
    if len(finding_id) - len(ID_OPENING) > limits.ID:
        raise UnmappableError(identity.too_long(len(finding_id) - len(ID_OPENING)))
    label = (severity, record.severity, resource.criticality, plugin.types)
    provider_fields, label_digest = provider_fields_memo.get(label) or encode_provider_fields(label)
    archived, because, flags = _state_of(record, resource, severity, options.accepted_risks)
    modified = modification_product_fields(record)
    shows_output = options.plugin_output and plugin.shows_output
    own = product_fields.piece(
        {
            "finding_id": own_id,
            "state": record.state,
            "url": shown_url(record.url),
            "http_method": record.http_method,
            "input_type": record.input_type,
            "input_name": record.input_name,
        }
    )
    output = product_fields.piece({"output": record.output if shows_output else None})
    title = text_fields(plugin, resource, options.title_format) if options.title_format else b""
    arn, arn_digest = encoded_arn(product_arn)
    found = plugin.encoded_vulnerabilities
    line = b"".join(
        (
            finding_id,
            ID_CLOSING,
            arn,
            plugin.id_field,
            resource.account_field,
            times.encoded,
            title or plugin.text_fields,
            provider_fields,
            b',"RecordState":"ARCHIVED",' if archived else b',"RecordState":"ACTIVE",',
            plugin.link_fields,
            b',"ProductFields":{',
            # Every entry begins with a comma. The id of the finding is the first one.
            own[1:],
            plugin.encoded_product_fields,
            resource.encoded_product_fields,
            modified,
            because,
            output,
            RESOURCES,
            resource.encoded,
            VULNERABILITIES if found else b"",
            found or b"",
            b"}",
        )
    )
    if len(line) > limits.FINDING_BYTES:
        line = cut_to_fit(line, found, plugin, NULL)
        if len(line) > limits.FINDING_BYTES:
            raise UnmappableError(f"it has {len(line)} bytes; the limit is {limits.FINDING_BYTES}")
    content = row.content_of(
        b"\0".join(
            (
                plugin.material,
                resource.material,
                times.material,
                own,
                label_digest,
                arn_digest,
                modified,
                output,
                title,
                b"1" if archived else b"0",
            )
        )
    )
    return line, row.LAYOUT.pack(
        resource.keys[_SCHEME] + row.id_key(finding_id[len(ID_OPENING) :]),
        content,
        resource.asset_key,
        plugin.row_number,
        flags,
        times.updated_at,
        times.first_observed,
    )


def _state_of(record: WasFinding, resource: Resource, severity: int, accepted_risks: str) -> tuple[bool, bytes, int]:
    """Whether a finding is archived, the entry of ``ProductFields`` that says why, and the flags of its row."""
    if not resource.gone and not is_archived(record, accepted_risks):
        suppresses = accepted_risks == SUPPRESS and has_accepted_risk(record)
        return False, b"", severity | (row.BECAUSE[row.RISK_ACCEPTED] if suppresses else 0)
    fixed = is_fixed(record)
    reason = f"asset_{resource.gone}" if resource.gone else row.BECAUSE_FIXED if fixed else row.RISK_ACCEPTED
    # That the application is gone is among the fields of its resource.
    because = b"" if resource.gone else product_fields.piece({"archived_because": reason})
    return True, because, row.flags(severity, archived=True, fixed=fixed, because=reason)


def shown_url(url: str | None) -> str | None:
    """Where on the application: without a login, without what follows ``#`` and without parameters of the path. Of the
    query only the names stay. What is left out may hold sessions, tokens and data of somebody.
    """
    if not url or len(url) > _LONGEST_URL:
        return None
    place, _, query = url.strip().partition("#")[0].partition("?")
    scheme, colon, rest = place.rpartition("://") if "://" in place else ("", "", place)
    authority, slash, path = rest.partition("/")
    authority = authority.rpartition("@")[2]
    path = "/".join(part.partition(";")[0] for part in path.split("/"))
    # Where there is no name, all of it may be a value.
    names = [part.partition("=")[0] for part in query.split("&") if "=" in part]
    return f"{scheme}{colon}{authority}{slash}{path}{'?' if names else ''}{'&'.join(names)}"


__all__ = ["WAS", "finding_and_row", "shown_url"]
