"""What a scan export asks for: formats, chapters, filters, and the host of a db.

.. seealso:: https://developer.tenable.com/reference/scans-export-request
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.tenable_vm.scan_runs import Host, Results, Run

FORMATS = ("nessus", "csv", "html", "pdf", "db")
#: Formats that Tenable makes of results of the last 60 days only.
YOUNG = frozenset({"html", "pdf", "db"})
OLDEST_DAYS = 60
DEFAULT_CHAPTERS = "vuln_hosts_summary;vuln_by_host;compliance_exec;compliance"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_STEM = 100


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What is exported of a run, in each of the formats.

    :ivar filters: ``[{"filter", "quality", "value"}]``, as Tenable names them (``GET /filters/scans/reports``).
    :ivar filter_type: ``and`` or ``or``.
    :ivar asset: name, uuid or number of the host in a db.
    """

    formats: Sequence[str]
    chapters: str = DEFAULT_CHAPTERS
    filters: Sequence[Mapping[str, str]] = ()
    filter_type: str = "and"
    asset: str | None = None

    def check(self) -> None:
        """:raises ConfigurationError: a format is unknown, or there is none."""
        unknown = [each for each in self.formats if each not in FORMATS]
        if unknown or not self.formats:
            raise ConfigurationError(
                f"{safe(repr(unknown or self.formats), 100)} cannot be exported. The formats are {', '.join(FORMATS)}."
            )
        if self.filter_type not in ("and", "or"):
            raise ConfigurationError(f"filter_type is {safe(repr(self.filter_type), 40)}; it must be 'and' or 'or'.")
        for given in self.filters:
            if not isinstance(given, Mapping) or set(given) != {"filter", "quality", "value"}:
                raise ConfigurationError(
                    f"{safe(repr(given), 200)} is not a filter. A filter is an object with filter, quality and value."
                )

    def body(self, kind: str) -> dict[str, Any]:
        """The body of the request for one format, without a db's asset and password."""
        body: dict[str, Any] = {"format": kind}
        if kind in ("html", "pdf"):
            body["chapters"] = self.chapters
        for number, given in enumerate(self.filters):
            body.update({f"filter.{number}.{name}": str(value) for name, value in given.items()})
        if self.filters:
            body["filter.search_type"] = self.filter_type
        return body


def check_age(kind: str, run: Run, now: float) -> None:
    """:raises ConfigurationError: Tenable does not make this format of results that are so old."""
    ended = run.ended or run.started
    if kind not in YOUNG or ended is None or now - ended <= OLDEST_DAYS * 86_400:
        return
    raise ConfigurationError(
        f"Run {run.uuid} ended {(now - ended) / 86_400:.0f} days ago: pdf, html and db exist for {OLDEST_DAYS} days. "
        "nessus and csv can still be exported."
    )


def host_of(results: Results, asset: str | None) -> Host:
    """The host of a db export: the given one, the only one, or that of a cloud audit (127.0.0.1).

    :raises ConfigurationError: there is no such host, or it is not clear which one is meant.
    """
    hosts = results.hosts
    if asset is not None:
        found = [host for host in hosts if asset in (host.name, host.uuid, str(host.host_id))]
    else:
        found = hosts if len(hosts) == 1 else [host for host in hosts if host.name == "127.0.0.1"]
    if len(found) == 1:
        return found[0]
    names = safe(", ".join(host.name for host in hosts[:20]), 500) or "none"
    raise ConfigurationError(
        f"A db export contains one host. This run has {len(hosts)}: {names}. Give the one you need as `asset`."
    )


def file_name(scan_name: str, run_uuid: str, kind: str) -> str:
    """The name of an exported file: the scan's name in safe characters, the beginning of the run's uuid, the format."""
    stem = _UNSAFE.sub("_", scan_name)[:_LONGEST_STEM].strip("._") or "scan"
    return f"{stem}_{run_uuid[:8]}.{kind}"
