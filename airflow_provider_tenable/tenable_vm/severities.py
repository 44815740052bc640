"""Tenable's severities. In a file of their own because a DAG file, which names them in its params, loads no decoder."""

from __future__ import annotations

#: By ``severity_id``, 0 to 4.
SEVERITIES = ("info", "low", "medium", "high", "critical")

__all__ = ["SEVERITIES"]
