"""The provider's own settings: section ``[tenable]`` of Airflow's configuration.

One table is used both by Airflow, which shows the options and their defaults through ``provider_info``, and by
:func:`get`. Each option can be set as ``AIRFLOW__TENABLE__<OPTION>``.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from airflow_provider_tenable.guards.foreign_text import quoted, safe

SECTION = "tenable"

#: Values of ``severity_source``, the default first.
SEVERITY_SOURCES = ("tenable", "vpr", "cvss3")
#: Values of ``plugin_output``.
EXCERPT, NO_OUTPUT = "excerpt", "none"


@dataclass(frozen=True)
class Option:
    """One option: its type as Airflow names it, its default as text (Airflow requires text), and its meaning."""

    type: str
    default: str
    description: str
    example: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    #: What 0 means, if it is allowed although it is below the minimum.
    zero: str = ""
    #: The values allowed for a string; empty: any.
    choices: tuple[str, ...] = ()


#: Bounds far above any sensible value. Beyond them date arithmetic overflows, so a typo would crash a task or the
#: parsing of the DAG file.
_YEAR_HOURS, _CENTURY_DAYS = 8784, 36600

OPTIONS: dict[str, Option] = {
    "staging_path": Option(
        "string",
        "",
        "Where runs keep their files: any URI that Airflow's ObjectStoragePath can open. All workers must see the same "
        "files. A local path begins with / or ~. Empty: the folder tenable_staging in AIRFLOW_HOME, which works on a "
        "single machine only.",
        example="s3://aws_default@my-bucket/tenable",
    ),
    "schedule_hours": Option(
        "float",
        "24",
        "Hours between two scheduled runs of tenable_to_security_hub (the old tool's --run-every), 0.25 to 8784. 0: "
        "no schedule, the DAG runs only when it is triggered.",
        minimum=0.25,
        maximum=_YEAR_HOURS,
        zero="no schedule",
    ),
    "schedule": Option(
        "string",
        "",
        "Cron expression by which tenable_to_security_hub runs, instead of schedule_hours.",
        example="0 2 * * *",
    ),
    "schedule_timezone": Option(
        "string",
        "",
        "Time zone of schedule. Empty: [core] default_timezone.",
        example="Europe/Berlin",
    ),
    "import_after_scans": Option(
        "string",
        "",
        "Names of scans in Tenable, separated by commas: tenable_to_security_hub also runs whenever tenable_scan has "
        "completed one of them. Empty: only by schedule_hours.",
        example="Weekly: DMZ, Nightly",
    ),
    "first_scheduled_run": Option(
        "string",
        "dry",
        "dry: scheduled runs are dry runs until a triggered run is complete, or the watermark is set. "
        "send: scheduled runs send from the first one on.",
    ),
    # No braces in a default: Airflow formats it as a template, and does not start with one it cannot format.
    "dag_params": Option(
        "string",
        "",
        "JSON object that overrides defaults of the params of tenable_to_security_hub, for scheduled runs and in the "
        "trigger form.",
        example='{"severities": ["medium", "high", "critical"], "destinations": [{"aws_conn_id": "aws_default", '
        '"accounts": "*", '
        '"role_name": "TenableSecurityHubImport", "region": null}]}',
    ),
    "lag_seconds": Option(
        "integer",
        "3600",
        "How far before the watermark an incremental run begins, to include what Tenable publishes late.",
        minimum=0,
        maximum=3600 * _YEAR_HOURS,
    ),
    "full_run_days": Option(
        "float",
        "7",
        "Days after which a run of tenable_to_security_hub is a full one: it exports everything, and sends what "
        "differs from what the hubs hold. 0: only by the param full, when the DAG's scope has changed, without a "
        "watermark, and without a finding index.",
        minimum=0.04,
        maximum=_CENTURY_DAYS,
        zero="only by hand",
    ),
    "refresh_days": Option(
        "float",
        "30",
        "Days after which a finding that did not change is sent again, so that Security Hub CSPM does not delete it: "
        "it keeps active findings for 90 days after their last update.",
        minimum=0,
        maximum=40,
    ),
    "max_archived_ratio": Option(
        "float",
        "0.1",
        "If a full run sees nothing of more than this share of the active findings of an account and Region (and of "
        "more than 50), it archives none of them, and the task check_archived fails. 0: not a single one. 1: never.",
        minimum=0,
        maximum=1,
    ),
    "service_levels": Option(
        "string",
        "15, 30, 90, 180",
        "Days within which critical, high, medium and low findings are to be fixed, counted from when they were first "
        "observed. The report, the metrics and the status file say how many are older. 0: no service level.",
        example="7, 30, 90, 0",
    ),
    "transform_shards": Option(
        "integer",
        "8",
        "Maximum number of mapped tasks of the transform (never more than [core] max_map_length).",
        minimum=1,
    ),
    "shard_records": Option(
        "integer",
        "50000",
        "Records per mapped task of the transform, which has at most transform_shards of them: Airflow takes longer to "
        "start a task than the task takes to transform fewer records.",
        minimum=1,
    ),
    "import_tasks": Option(
        "integer",
        "128",
        "Maximum number of mapped tasks of the import (never more than [core] max_map_length). If a run has findings "
        "for more accounts and Regions than that, one task handles several of them.",
        minimum=1,
    ),
    "import_minutes": Option(
        "float",
        "60",
        "Minutes after which an import releases its worker slot. It resumes half a minute later after its last "
        "receipt, without using up a retry. 0: it never releases the slot.",
        minimum=0,
        maximum=60 * _YEAR_HOURS,
    ),
    "num_assets": Option(
        "integer",
        "100",
        "Assets per chunk of a vulnerability export (50 to 5000). Fewer means less memory.",
        minimum=50,
        maximum=5000,
    ),
    "asset_chunk_size": Option(
        "integer", "1000", "Assets per chunk of an asset export (100 to 1000).", minimum=100, maximum=1000
    ),
    # No more than the connections that requests keeps open to a host, which is also what Tenable's own navi uses.
    "chunk_downloads": Option(
        "integer",
        "1",
        "Chunks of an export that are downloaded at the same time (1 to 10). More shorten the exports of large "
        "containers. Each takes about 10 MB of memory, and a request of the rate that Tenable allows the API user.",
        minimum=1,
        maximum=10,
    ),
    "asset_index_hours": Option(
        "float",
        "24",
        "Hours for which a full export of the assets is used; during that time, runs export only the assets that "
        "changed. 0: every run exports all assets.",
        minimum=0,
        maximum=_YEAR_HOURS,
    ),
    "resolve_unplaced_instances": Option(
        "boolean",
        "False",
        "Whether runs ask EC2, through the destinations' roles, for the account and Region of instances of which "
        "Tenable knows only the instance id, or MAC and private addresses. Needs ec2:DescribeInstances.",
    ),
    "poll_interval_seconds": Option(
        "float",
        "30",
        "Seconds between two polls of a running export, at most. At least 10 if the task is deferred.",
        minimum=1,
        maximum=86400,
    ),
    "first_poll_seconds": Option(
        "float",
        "1",
        "Seconds until an export that was just requested is polled. Each later wait is half of the export's age, up to "
        "poll_interval_seconds. While it is below 10, the task waits in its worker slot; then it is deferred. As high "
        "as poll_interval_seconds: exports are polled evenly, and their tasks are deferred at once.",
        minimum=1,
        maximum=86400,
    ),
    "export_timeout_hours": Option(
        "float",
        "12",
        "Hours after which a running export is cancelled and its task fails. Tenable keeps chunks for 24 hours.",
        minimum=0.01,
        maximum=_YEAR_HOURS,
    ),
    "scan_poll_interval_seconds": Option(
        "float",
        "60",
        "Seconds between two polls of a running scan. At least 10 if the task is deferred.",
        minimum=1,
        maximum=86400,
    ),
    "scan_timeout_hours": Option(
        "float",
        "12",
        "Hours after which a task that waits for a running scan fails, and stops the run that it launched.",
        minimum=0.01,
        maximum=_YEAR_HOURS,
    ),
    "scan_export_timeout_minutes": Option(
        "float",
        "30",
        "Minutes after which the export of a scan's results fails if Tenable has not prepared the file.",
        minimum=0.1,
        maximum=60 * _YEAR_HOURS,
    ),
    "asset_lookups": Option(
        "integer", "100", "Assets missing from the export that one transform task may look up individually.", minimum=0
    ),
    "parked_days": Option(
        "float",
        "7",
        "Days for which a record whose asset is missing, or whose asset's account, Region or instance is not known "
        "yet, is kept for later runs.",
        minimum=0,
        maximum=_CENTURY_DAYS,
    ),
    "retention_days": Option(
        "float",
        "7",
        "Days after which the staged files of a successful run are removed.",
        minimum=0,
        maximum=_CENTURY_DAYS,
    ),
    "rejected_retention_days": Option(
        "float",
        "30",
        "Days for which the rejected findings of a successful run are kept, so that they can be examined and "
        "replayed. A value below retention_days has no effect.",
        minimum=0,
        maximum=_CENTURY_DAYS,
    ),
    "failed_retention_days": Option(
        "float",
        "30",
        "Days after which the staged files of an incomplete run are removed. Until then the run can be cleared and "
        "resumes with its staged files.",
        minimum=1,
        maximum=_CENTURY_DAYS,
    ),
    "max_unserved_ratio": Option(
        "float",
        "0.5",
        "Maximum share of the records of AWS assets that may have no destination. Above it, or if no asset has an AWS "
        "account, the run fails and the watermark does not move. Assets outside AWS do not count. 1: never fail.",
        minimum=0,
        maximum=1,
    ),
    "max_shrink_ratio": Option(
        "float",
        "0.1",
        "If a full asset export has more than this share fewer assets than the last one (and more than 10 fewer), or "
        "none with an AWS account any more, the run fails before anything is imported. 0: not a single asset fewer. "
        "1: never.",
        minimum=0,
        maximum=1,
    ),
    "max_parked_ratio": Option(
        "float",
        "0.5",
        "Maximum share of exported records whose asset Tenable does not export. Above it, the run fails before it "
        "sends anything, unless there are no more than 10 such assets. 1: never fail.",
        minimum=0,
        maximum=1,
    ),
    "id_scheme": Option(
        "string",
        "port",
        "port: one finding per port. tvm2aws: the ids of Tenable's tvm2aws, one finding per instance and plugin.",
    ),
    "product": Option(
        "string",
        "tenable/vulnerability-management",
        "The Security Hub CSPM product: company/product, or 'default' for the account's own default product (required "
        "in GovCloud and China, and chosen there automatically).",
    ),
    "plugin_output": Option(
        "string",
        EXCERPT,
        "How much plugin output findings contain. excerpt: the first 2048 characters, except from plugins that check "
        "for default accounts or passwords. none: nothing, and Tenable is asked to omit the output from the export.",
        choices=(EXCERPT, NO_OUTPUT),
    ),
    "severity_source": Option(
        "string",
        SEVERITY_SOURCES[0],
        "Default of the param severity_source. tenable: findings have Tenable's severity, after recast. vpr, cvss3: "
        "that of the band in which this score lies, from 0.1 low, from 4 medium, from 7 high, from 9 critical. A run "
        "after a change is a full one.",
        choices=SEVERITY_SOURCES,
    ),
    "title_format": Option(
        "string",
        "",
        "Titles of findings: text with the fields title (the plugin's name), asset_name, resource, account and region, "
        "each in braces. Empty: the plugin's name. A run after a change is a full one.",
        example="{title} on {asset_name}",
    ),
    "owners": Option(
        "string",
        "",
        "JSON object: where the owner of a finding comes from. resource_tags: keys of tags of the AWS resource. "
        "tag_categories: categories of Tenable's tags. accounts: AWS account to owner. default: the owner of what is "
        "left. The first of these that names one counts. Empty: findings have no owner. A run after a change is a full "
        "one.",
        example='{"resource_tags": ["owner", "Owner"], "tag_categories": ["Owner"], '
        '"accounts": {"111122223333": "Payments"}}',
    ),
    "audit_schedule_hours": Option(
        "float",
        "0",
        "Hours between two scheduled runs of tenable_aws_audit, 0.25 to 8784. 0: no schedule. Scheduled runs audit the "
        "accounts that the DAG file names.",
        minimum=0.25,
        maximum=_YEAR_HOURS,
        zero="no schedule",
        example="168",
    ),
    "audit_severity": Option(
        "string",
        "",
        "JSON object: the severity in Security Hub CSPM (CRITICAL, HIGH, MEDIUM, LOW, INFORMATIONAL) of results of "
        "audits that are failed, warning, passed or not_available. Empty, or for those left out: MEDIUM, LOW, "
        "INFORMATIONAL and INFORMATIONAL.",
        example='{"failed": "HIGH"}',
    ),
    "scanner_timeout_minutes": Option(
        "float",
        "45",
        "Minutes that TenableScannerSensor waits for a scanner to be linked, on and ready. A new scanner compiles its "
        "plugins first.",
        minimum=1,
        maximum=60 * _YEAR_HOURS,
    ),
    "nessus_product_code": Option(
        "string",
        "8fn69npzmbzcs4blc4583jd0y",
        "Product code in AWS Marketplace of the image that tenable_scanner_ec2 starts by default (Nessus, BYOL).",
    ),
    "ui": Option(
        "boolean",
        "True",
        "Whether Airflow's navigation has the page Tenable (Airflow 2.11: under Browse; not on 3.0 and 3.1.0). Read "
        "when the web server starts.",
    ),
    "enable_product": Option(
        "boolean", "False", "Whether an import may subscribe an account to the product if it is not subscribed yet."
    ),
}


def provider_config() -> dict[str, Any]:
    """The ``config`` part of ``get_provider_info()``."""
    options = {
        name: {
            "description": option.description,
            "version_added": "0.1.0",
            "type": option.type,
            "example": option.example,
            "default": option.default,
        }
        for name, option in OPTIONS.items()
    }
    return {SECTION: {"description": "Settings of the Tenable provider.", "options": options}}


def dag_params() -> dict[str, Any]:
    """``[tenable] dag_params`` as an object.

    :raises ConfigurationError: the option is not a JSON object.
    """
    from airflow_provider_tenable.exceptions import ConfigurationError

    try:
        value = json.loads(get("dag_params") or "{}")
    except ValueError as error:
        raise ConfigurationError(f"Option [{SECTION}] dag_params is not JSON: {safe(error)}.") from error
    if not isinstance(value, dict):
        raise ConfigurationError(
            f"Option [{SECTION}] dag_params must be a JSON object such as {OPTIONS['dag_params'].example}."
        )
    return value


def get(name: str) -> Any:
    """An option's value, converted to the option's type.

    :raises ConfigurationError: the value has the wrong type, is out of bounds, or is not one of the choices.
    """
    from airflow_provider_tenable._compat import conf
    from airflow_provider_tenable.exceptions import ConfigurationError

    option = OPTIONS[name]
    text = str(conf.get(SECTION, name, fallback=option.default)).strip()
    convert: Any = {"string": str, "integer": int, "float": float, "boolean": _boolean}[option.type]
    try:
        value = convert(text)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(text)
    except ValueError as error:
        raise ConfigurationError(
            f"Option [{SECTION}] {name} is {quoted(text, 80)}, which is not of type {option.type}. "
            f"Correct AIRFLOW__{SECTION.upper()}__{name.upper()} or the option in airflow.cfg."
        ) from error
    if option.zero and value == 0:
        return value
    if option.minimum is not None and value < option.minimum:
        or_zero = f", or 0 for {option.zero}" if option.zero else ""
        raise ConfigurationError(
            f"Option [{SECTION}] {name} is {text[:40]}; the minimum is {option.minimum:.12g}{or_zero}."
        )
    if option.choices and value not in option.choices:
        raise ConfigurationError(
            f"Option [{SECTION}] {name} is {text[:40]!r}; it must be one of {', '.join(option.choices)}."
        )
    if option.maximum is not None and value > option.maximum:
        raise ConfigurationError(f"Option [{SECTION}] {name} is {text[:40]}; the maximum is {option.maximum:.12g}.")
    return value


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "t": True, "1": True, "yes": True, "false": False, "f": False, "0": False, "no": False}[
            text.lower()
        ]
    except KeyError:
        raise ValueError(text) from None
