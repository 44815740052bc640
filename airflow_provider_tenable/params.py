"""The params of the DAGs' trigger forms. For copies of the DAG files, of whichever version."""

from __future__ import annotations

from airflow_provider_tenable.run.form import (
    aws_audit_params,
    import_params,
    replay_params,
    scan_params,
    scanner_params,
)

__all__ = ["aws_audit_params", "import_params", "replay_params", "scan_params", "scanner_params"]
