"""One scope of a container: the critical findings of two accounts, every six hours in a real deployment."""

from __future__ import annotations

from airflow_provider_tenable.dags import tenable_to_security_hub

dag = tenable_to_security_hub(
    "example_tenable_production",
    # timedelta(hours=6), or cron text such as "0 */6 * * *".
    schedule=None,
    params={
        "severities": ["critical"],
        "destinations": [
            {"aws_conn_id": "aws_default", "accounts": ["111122223333", "222233334444"], "role_name": "TenableImport"}
        ],
    },
    tags=["tenable", "production"],
)
