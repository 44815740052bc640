"""Tenable's severities. In a file of their own because a DAG file, which names them in its params, loads no decoder."""

from __future__ import annotations

#: By ``severity_id``, 0 to 4.
SEVERITIES = ("info", "low", "medium", "high", "critical")
#: Where the severity of a finding comes from, the default first: from Tenable, after recast, or from a score.
TENABLE, VPR, CVSS3 = SEVERITY_SOURCES = ("tenable", "vpr", "cvss3")

__all__ = ["CVSS3", "SEVERITIES", "SEVERITY_SOURCES", "TENABLE", "VPR"]
