"""What Airflow reads about this package through the ``apache_airflow_provider`` entry point."""

from __future__ import annotations

from typing import Any

from airflow_provider_tenable import __version__
from airflow_provider_tenable.config import provider_config

_PACKAGE = "airflow_provider_tenable"

#: The connection form. Airflow 3.2 and later read it from here; 2.11 to 3.1 ask the hook, which reads the same table.
#: The port is shown because the test button of Airflow 3.3.1 and 3.3.2 rejects every connection without one
#: (apache/airflow#73298).
UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["schema", "extra"],
    "relabeling": {"host": "URL", "login": "Access key", "password": "Secret key"},
    "placeholders": {
        "host": "https://cloud.tenable.com (FedRAMP: https://fedcloud.tenable.com)",
        "port": "443",
        "login": "access key of the API user",
        "password": "secret key of the API user",
    },
}
CONN_FIELDS: dict[str, Any] = {
    "verify": {
        "label": "Verify TLS",
        "description": "true, false, or the path of a CA bundle on the workers",
        "schema": {"type": ["string", "null"], "default": "true"},
    },
    "proxies": {
        "label": "Proxies",
        "description": 'JSON object of proxy URLs by scheme, such as {"https": "http://proxy.example.com:3128"}',
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Timeout",
        "description": "seconds without a response after which a request fails (default 120)",
        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 3600},
    },
    "allow_http": {
        "label": "Allow plain HTTP",
        "description": "true: an http:// URL may name another machine, and the keys are sent to it unencrypted "
        "(default false)",
        "schema": {"type": ["string", "null"]},
    },
}


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, valid against ``airflow/provider_info.schema.json``."""
    modules = {
        layer: [f"{_PACKAGE}.{layer}.{service}" for service in services]
        for layer, services in {
            "hooks": ["tenable", "security_hub", "nessus_ec2", "aws_audit"],
            "operators": [
                "tenable",
                "asff",
                "compliance",
                "was",
                "security_hub",
                "security_hub_archive",
                "security_hub_audit",
                "security_hub_take_over",
                "nessus_ec2",
                "nessus_prerequisites",
                "nessus_terminate",
                "nessus_link",
                "tenable_scans",
                "scan_runs",
                "scan_exports",
                "scan_debugging",
                "aws_audit",
                "aws_audit_scan",
                "remediation_scans",
                "accept_rules",
                "requirements",
            ],
            "sensors": ["tenable_exports", "tenable_scanners", "tenable_scans"],
            "triggers": ["tenable", "nessus_ec2", "tenable_scan_events", "tenable_scanners", "tenable_scans"],
        }.items()
    }
    asset_uris = [
        {
            "schemes": ["tenable"],
            "handler": f"{_PACKAGE}.lineage.sanitize_tenable_uri",
            "to_openlineage_converter": f"{_PACKAGE}.lineage.convert_asset_to_openlineage",
        }
    ]
    return {
        "package-name": "airflow-provider-tenable",
        "name": "Tenable",
        "description": "Imports the findings of Tenable Vulnerability Management into AWS Security Hub CSPM.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "Tenable Vulnerability Management",
                "external-doc-url": "https://developer.tenable.com/",
                "tags": ["service"],
            }
        ],
        **{
            layer: [{"integration-name": "Tenable Vulnerability Management", "python-modules": names}]
            for layer, names in modules.items()
        },
        "connection-types": [
            {
                "connection-type": "tenable",
                "hook-name": "Tenable Vulnerability Management",
                "hook-class-name": f"{_PACKAGE}.hooks.tenable.TenableHook",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": CONN_FIELDS,
            }
        ],
        "extra-links": [
            f"{_PACKAGE}.links.security_hub.SecurityHubFindingsLink",
            f"{_PACKAGE}.links.nessus_ec2.NessusInstanceLink",
            f"{_PACKAGE}.links.tenable.TenableScanLink",
            f"{_PACKAGE}.links.tenable.TenableScannersLink",
        ],
        "notifications": [
            f"{_PACKAGE}.notifications.owners.OwnerDigestNotifier",
            f"{_PACKAGE}.notifications.rejected.RejectedFindingsNotifier",
            f"{_PACKAGE}.notifications.refused.RefusedDestinationsNotifier",
        ],
        "asset-uris": asset_uris,
        # The same, as Airflow 2 asks for it.
        "dataset-uris": asset_uris,
        "config": provider_config(),
    }
