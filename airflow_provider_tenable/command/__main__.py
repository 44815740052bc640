"""``python -m airflow_provider_tenable.command``: as ``tenable-to-security-hub``."""

from __future__ import annotations

from airflow_provider_tenable.command.main import main

raise SystemExit(main())
