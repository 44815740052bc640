"""An AWS audit's part of a scan: from the template ``cloud_audit``, Regions and patterns of audit files to the settings
and audits of the request.

Regions, audit files and their variables change with Tenable's releases, so they are read from the template whenever a
scan is configured. Tenable does not apply the template's defaults to API calls, so they are sent.

.. seealso:: https://developer.tenable.com/docs/create-cloud-infrastructure-audit-scan
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from airflow_provider_tenable.aws import partition_of
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.identifiers import shown
from airflow_provider_tenable.tenable_vm.json_fields import objects, text

CLOUD_AUDIT, CATEGORY = "cloud_audit", "Amazon AWS"
ALL = "all"
_REGION_TYPE = "aws_ui_region_type"
_VERSION = re.compile(r"_v(\d{1,9}(?:\.\d{1,9})*)")
_NUMBER = re.compile(r"^\d+_")
#: An account id in an ARN: defaults of Tenable contain those of an example.
_ARN = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]*:[a-z0-9-]*:(\d{12}):")
_LONGEST_LIST = 1_000


@dataclass(frozen=True)
class AuditFile:
    """An audit file that Tenable offers. :ivar variables: name -> default."""

    id: str
    name: str
    variables: Mapping[str, str | None]

    @property
    def title(self) -> str:
        """The id as people know it: without the plugin's number and the ending."""
        return _NUMBER.sub("", self.id).removesuffix(".audit")

    @property
    def family(self) -> str:
        """The id without its version."""
        return _VERSION.sub("_v*", self.id, count=1)

    @property
    def version(self) -> tuple[int, ...]:
        """For the newest one."""
        found = _VERSION.search(self.id)
        return tuple(map(int, found[1].split("."))) if found else ()

    def matches(self, pattern: str) -> bool:
        """Whether a pattern of the shell means this file."""
        return any(fnmatchcase(each, pattern) for each in (self.id, self.title, f"{self.title}.audit", self.name))


@dataclass(frozen=True)
class AuditTemplate:
    """What the template offers for AWS.

    :ivar groups: the value of the setting ``aws_ui_region_type`` -> Region -> the setting of that Region.
    """

    groups: Mapping[str, Mapping[str, str]]
    audits: Sequence[AuditFile]

    @classmethod
    def parse(cls, details: Mapping[str, Any]) -> AuditTemplate:
        """From ``GET /editor/scan/templates/{uuid}``.

        :raises ConfigurationError: it has no Regions, or no audit files for AWS.
        """
        groups = {
            text(option.get("name")): {
                text(box.get("name")): text(box.get("id"))
                for box in objects(option.get("inputs"))
                if box.get("name") and box.get("id")
            }
            for field in _inputs(details.get("settings"))
            if field.get("id") == _REGION_TYPE
            for option in objects(field.get("options"))
        }
        compliance = details.get("compliance")
        audits = [
            AuditFile(
                text(audit.get("id"), 300),
                text(audit.get("name"), 300),
                {text(field.get("id")): _default(field) for field in objects(audit.get("inputs")) if field.get("id")},
            )
            for kind in objects(compliance.get("data") if isinstance(compliance, dict) else None)
            if kind.get("name") == CATEGORY
            for audit in objects(kind.get("audits"))
            if audit.get("type") == "feed" and audit.get("id")
        ]
        if not any(groups.values()) or not audits:
            missing = "audit files for AWS" if any(groups.values()) else "Regions of AWS"
            raise ConfigurationError(
                f"Tenable's template {CLOUD_AUDIT} has no {missing} where this version of airflow-provider-tenable "
                "looks for them. Does the API user's licence contain cloud audits? Otherwise report this as an issue."
            )
        return cls(groups, audits)

    def regions(self, wanted: Sequence[str] | str, partition: str) -> list[str]:
        """The Regions to audit, in the template's order.

        :param wanted: names, or ``all`` of the partition.
        :raises ConfigurationError: the template has not all of them, or they are of another partition than the keys.
        """
        known = [region for group in self.groups.values() for region in group if partition_of(region) == partition]
        names = known if wanted in (ALL, [ALL]) else [wanted] if isinstance(wanted, str) else list(wanted)
        if not names:
            raise ConfigurationError(f"No Regions are given. The template knows, of {partition}: {_list(known)}.")
        for region in names:
            if not isinstance(region, str) or region not in {name for group in self.groups.values() for name in group}:
                raise ConfigurationError(f"The template knows no Region {shown(region)}. It has: {_list(known)}.")
            if region not in known:
                raise ConfigurationError(
                    f"Region {region} is in partition {partition_of(region)}, and the keys are of {partition}. Each "
                    "partition needs a user and a scan of its own."
                )
        return [region for region in known if region in names]

    def settings(self, regions: Sequence[str]) -> dict[str, str]:
        """The settings of a scan for Regions of one group."""
        [(name, group)] = [(name, group) for name, group in self.groups.items() if set(regions) <= group.keys()][:1]
        return {
            _REGION_TYPE: name,
            **{setting: "yes" if region in regions else "no" for region, setting in group.items()},
            "aws_use_https": "yes",
            "aws_verify_ssl": "yes",
        }

    def files(self, patterns: Iterable[str], *, latest: bool) -> list[AuditFile]:
        """The audit files that patterns mean.

        :param latest: of each, the newest version only.
        :raises ConfigurationError: a pattern matches nothing.
        """
        found: dict[str, AuditFile] = {}
        for pattern in patterns:
            matching = [audit for audit in self.audits if isinstance(pattern, str) and audit.matches(pattern)]
            if not matching:
                titles = _list(audit.title for audit in self.audits)
                raise ConfigurationError(f"Audit {shown(pattern)} matches none of the template's: {titles}.")
            if latest:
                matching = list(
                    {audit.family: audit for audit in sorted(matching, key=lambda each: each.version)}.values()
                )
            found.update({audit.id: audit for audit in matching})
        return sorted(found.values(), key=lambda audit: audit.id)


@dataclass
class Audits:
    """The part ``audits`` of the request.

    :ivar warnings: defaults that are hardly right for the account, in words.
    """

    body: dict[str, Any]
    warnings: list[str]


def audits_of(
    files: Sequence[AuditFile], variables: Mapping[str, Mapping[str, Any]], uploaded: Sequence[str], account: str
) -> Audits:
    """The audit files with all their variables.

    :param variables: pattern -> variable -> value, over the template's defaults.
    :param uploaded: names of custom audit files in Tenable.
    :param account: the audited one.
    :raises ConfigurationError: a variable is unknown or has no value, or there is no audit file at all.
    """
    if not files and not uploaded:
        raise ConfigurationError("No audit file is given. Give audits (patterns) or custom_audits (paths).")
    for pattern, values in variables.items():
        meant = [file for file in files if file.matches(pattern)]
        if not meant:
            raise ConfigurationError(f"variables are given for {shown(pattern)}, which matches no audit file here.")
        if not isinstance(values, Mapping):
            raise ConfigurationError(f"variables for {shown(pattern)} are {shown(values)}, not an object.")
        known = {name for file in meant for name in file.variables}
        if unknown := sorted(map(str, values.keys() - known)):
            raise ConfigurationError(
                f"{_list(file.title for file in meant)} has no variable {shown(unknown[0])}. It has: {_list(known)}."
            )
    feed, warnings = [], []
    for file in files:
        given = {
            name: str(value)
            for pattern, values in variables.items()
            if file.matches(pattern)
            for name, value in values.items()
            if name in file.variables
        }
        values = {name: given.get(name, default) for name, default in file.variables.items()}
        if missing := [name for name, value in values.items() if value is None]:
            raise ConfigurationError(f"Audit {file.title} needs a value for {_list(missing)}: give it in variables.")
        warnings += _doubtful(file, {name: str(values[name]) for name in values.keys() - given.keys()}, account)
        feed.append({"id": file.id, "variables": values})
    body: dict[str, Any] = {"feed": {"add": feed}} if feed else {}
    if uploaded:
        custom = [
            {"type": "custom", "category": CATEGORY, "file": name, "variables": {"file": name}} for name in uploaded
        ]
        body["custom"] = {"add": custom}
    return Audits(body, warnings)


def _doubtful(file: AuditFile, defaults: Mapping[str, str], account: str) -> list[str]:
    found = []
    for name, value in sorted(defaults.items()):
        foreign = _ARN.search(value)
        if (foreign and foreign[1] != account) or value == name:
            found.append(
                f"Audit {safe(file.title, 120)} uses Tenable's example {safe(name, 80)}={safe(value, 120)}, which is "
                "not of this account: its checks will fail. Give your own value in variables."
            )
    return found


def _inputs(value: Any) -> list[dict[str, Any]]:
    """All fields of a form, at whatever depth."""
    found: list[dict[str, Any]] = []
    rest = [value]
    while rest:
        each = rest.pop()
        if isinstance(each, dict):
            if isinstance(each.get("id"), str):
                found.append(each)
            rest += each.values()
        elif isinstance(each, list):
            rest += each
    return found


def _default(field: Mapping[str, Any]) -> str | None:
    default = field.get("default")
    return None if default is None else text(default, 2_000)


def _list(names: Iterable[str]) -> str:
    return safe(", ".join(sorted(names)), _LONGEST_LIST) or "none"
