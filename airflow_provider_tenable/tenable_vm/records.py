"""What we read of Tenable's records (API docs: vulnerability and asset export chunks).

Only fields that the mapping uses are decoded. Every key may be absent or null. A record that does not fit these types
is not given up: :func:`airflow_provider_tenable.tenable_vm.lenient.salvage` reads it field by field and leaves out what
cannot be used.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Protocol

import msgspec
from msgspec import Struct

from airflow_provider_tenable.tenable_vm import times
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES

#: Beyond 64 bits nothing is a number that Tenable means, and not all that we do with numbers works there.
Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Number = Integer | float

#: The value of an undecoded field that Tenable does not return.
NULL = msgspec.Raw(b"null")


class Vector(Struct, gc=False):
    """A CVSS vector; ``raw`` is its text."""

    raw: str | None = None


class DayRange(Struct, gc=False):
    """A range of days. The last one has no upper bound, or 0."""

    lower_bound: Integer | None = None
    upper_bound: Integer | None = None


class VprDrivers(Struct):
    """What a Vulnerability Priority Rating was made of."""

    age_of_vuln: DayRange | None = None
    exploit_code_maturity: str | None = None
    cvss3_impact_score: Number | None = None
    threat_intensity_last28: str | None = None
    threat_sources_last28: list[str] | None = None
    product_coverage: str | None = None
    threat_recency: DayRange | None = None


class Vpr(Struct):
    """Tenable's Vulnerability Priority Rating."""

    score: Number | None = None
    drivers: VprDrivers | None = None


class VprV2(Struct, gc=False):
    """The second version of the rating, where Tenable serves it."""

    score: Number | None = None
    # 0 to 100.
    vpr_percentile: Number | None = None
    vpr_severity: str | None = None
    exploit_code_maturity: str | None = None
    on_cisa_kev: bool | None = None
    in_the_news_recency: str | None = None
    malware_observations_recency: str | None = None


class Xref(Struct, gc=False):
    """A cross-reference of a plugin: a catalogue, and the id in it."""

    type: str | None = None
    id: str | Integer | None = None


class Plugin(Struct):
    """The plugin of a vulnerability record. The same for every record of a plugin, so decoded once per chunk."""

    id: Integer
    name: str | None = None
    family: str | None = None
    family_id: Integer | None = None
    type: str | None = None
    synopsis: str | None = None
    description: str | None = None
    solution: str | None = None
    # A list; old data has a plain string.
    see_also: list[str] | str | None = None
    # A list; some data has them in one text.
    cve: list[str] | str | None = None
    cvss_base_score: Number | None = None
    cvss_vector: Vector | str | None = None
    cvss3_base_score: Number | None = None
    cvss3_vector: Vector | str | None = None
    cvss4_base_score: Number | None = None
    cvss4_vector: Vector | str | None = None
    # A percentage, 0 to 100.
    epss_score: Number | None = None
    vpr: Vpr | None = None
    vpr_v2: VprV2 | None = None
    risk_factor: str | None = None
    exploit_available: bool | None = None
    exploit_framework_canvas: bool | None = None
    exploit_framework_core: bool | None = None
    exploit_framework_d2_elliot: bool | None = None
    exploit_framework_exploithub: bool | None = None
    exploit_framework_metasploit: bool | None = None
    exploited_by_malware: bool | None = None
    exploited_by_nessus: bool | None = None
    in_the_news: bool | None = None
    # A list of Xref, of which few are of use: decoded only where one of these occurs.
    xrefs: msgspec.Raw = NULL
    # A text or a number counts as yes unless it says no, so these are read too.
    checks_for_default_account: bool | str | Number | None = None
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
    """A fix of a vulnerable package.

    :ivar fix_type: ``version`` for applications, else the package manager (``rpm``, ``deb``, ...).
    :ivar value: the fixed version; of a package manager a purl.
    """

    fix_type: str | None = None
    value: str | None = None


class SoftwareVuln(Struct):
    """A vulnerable package (only with ``include_software_vulns``)."""

    # A purl or a CPE.
    identifier: str | None = None
    path: str | None = None
    product: str | None = None
    version: str | None = None
    vulnerabilities: list[str] | None = None
    fixes: list[Fix] | None = None
    # Whether it is not certain that the vulnerability applies, and why.
    potential: bool | None = None
    potential_reasons: list[str] | None = None


class Vulnerability(Struct, kw_only=True):
    """A record of a vulnerability export. ``plugin`` and ``software_vulns`` stay undecoded, to be decoded once for all
    records that share them.

    The fields are in the order in which Tenable returns them: the decoder searches for a key after the previous one.
    """

    asset: AssetRef
    output: str | None = None
    plugin: msgspec.Raw
    port: Port | None = None
    severity: str | None = None
    severity_id: Integer | None = None
    severity_default_id: Integer | None = None
    severity_modification_type: str | None = None
    recast_reason: str | None = None
    first_found: str | Integer | None = None
    last_found: str | Integer | None = None
    last_fixed: str | Integer | None = None
    state: str | None = None
    # A text in the examples, a number in the schema.
    indexed: str | Integer | None = None
    source: str | None = None
    finding_id: str | None = None
    resurfaced_date: str | Integer | None = None
    # What other exports of Tenable name the time that stands in `indexed` here.
    indexed_at: str | Integer | None = None
    # A list of SoftwareVuln.
    software_vulns: msgspec.Raw = NULL


class NetworkedAssetRef(AssetRef, gc=False):
    """The same with the network in which Tenable keeps the asset apart from others with its addresses."""

    network_id: str | None = None


class NetworkedVulnerability(Vulnerability, kw_only=True):
    """The same for those who ask for networks."""

    asset: NetworkedAssetRef


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
    # Not documented: see asset_names.
    arn: str | None = None
    resource_id: str | None = None


class Cloud(Struct):
    """``cloud`` of an asset."""

    aws: AwsCloud | None = None


class NetworkInterface(Struct, gc=False):
    """A network interface of an asset, as scans found it."""

    mac_addresses: list[str] | None = None


class Network(Struct):
    """``network`` of an asset."""

    ipv4s: list[str] | None = None
    ipv6s: list[str] | None = None
    fqdns: list[str] | None = None
    hostnames: list[str] | None = None
    netbios_names: list[str] | None = None
    mac_addresses: list[str] | None = None
    network_interfaces: list[NetworkInterface] | None = None


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


class CustomAttribute(Struct, gc=False):
    """What users of Tenable say of an asset; ``id`` names the attribute."""

    value: str | None = None


class AssetTimestamps(Struct, gc=False):
    """``timestamps`` of an asset: when it ceased to exist."""

    deleted_at: str | None = None
    terminated_at: str | None = None


class Asset(Struct):
    """A record of an assets v2 export."""

    id: str
    types: list[str] | None = None
    operating_systems: list[str] | None = None
    agent_names: list[str] | None = None
    name: str | None = None
    cloud: Cloud | None = None
    network: Network | None = None
    ratings: Ratings | None = None
    tags: list[Tag] | None = None
    resource_tags: list[Tag] | None = None
    timestamps: AssetTimestamps | None = None
    # A list of CustomAttribute, of which few are of use: see asset_names.
    custom_attributes: msgspec.Raw = NULL


class Rated(Protocol):
    """What records of vulnerabilities and of web applications say of state and severity, in the same words."""

    state: str | None
    severity: str | None
    severity_id: Integer | None
    severity_default_id: Integer | None
    severity_modification_type: str | None
    recast_reason: str | None


def severity_id_of(record: Rated) -> int | None:
    """Tenable's severity 0 to 4, after recast. The number is preferred to the word: they can disagree."""
    if record.severity_id is not None and 0 <= record.severity_id <= 4:
        return record.severity_id
    word = (record.severity or "").strip().lower()
    return SEVERITIES.index(word) if word in SEVERITIES else None


def is_fixed(record: Rated) -> bool:
    """Whether Tenable says that the vulnerability is gone."""
    # Compared first: nearly all say it in one of three ways.
    state = record.state
    return state == "FIXED" or bool(state and state not in ("OPEN", "REOPENED") and state.strip().upper() == "FIXED")


def own_time(record: Vulnerability) -> datetime | None:
    """The time that ``since`` looks at: last_fixed of a fixed record, else last_found.

    A time after the index time, which only a scanner whose clock is ahead reports, counts as the index time.
    """
    moment = (times.parse(record.last_fixed) if is_fixed(record) else None) or times.parse(record.last_found)
    indexed = times.parse(record.indexed) or times.parse(record.indexed_at)
    return min(moment, indexed) if moment and indexed else moment
