"""``python -m airflow_provider_tenable.command``: as ``tenable-to-security-hub``."""

from __future__ import annotations

from airflow_provider_tenable.command.main import main

if __name__ == "__main__":
    raise SystemExit(main())
