"""The provider's own settings: section ``[tenable]`` of Airflow's configuration.

One table serves both Airflow (which shows the options and their defaults through ``provider_info``) and our own reading
of them.
Each option can be set as ``AIRFLOW__TENABLE__<OPTION>``.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from airflow_provider_tenable.guards.foreign_text import quoted, safe

SECTION = "tenable"

#: Values of ``plugin_output``.
EXCERPT, NO_OUTPUT = "excerpt", "none"


@dataclass(frozen=True)
class Option:
    """One option: its type as Airflow names it, its default as text (Airflow asks for text), and what it means."""

    type: str
    default: str
    description: str
    example: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    #: What 0 means where it is allowed although it lies below the minimum.
    zero: str = ""
    #: The values that a text may have; empty: any.
    choices: tuple[str, ...] = ()


#: Bounds that no deployment means to reach: beyond them, dates and time spans no longer exist, and a typing error would
#: end a task or the DAG file.
_YEAR_HOURS, _CENTURY_DAYS = 8784, 36600

OPTIONS: dict[str, Option] = {
    "staging_path": Option(
        "string",
        "",
        "Where runs keep their files: any URI that Airflow's ObjectStoragePath opens. Every worker must see the same "
        "place. A local path begins with / or ~. Empty: the folder tenable_staging in AIRFLOW_HOME, which is right "
        "for one machine only.",
        example="s3://aws_default@my-bucket/tenable",
    ),
    "schedule_hours": Option(
        "float",
        "24",
        "Hours between two scheduled runs of tenable_to_security_hub (the old tool's --run-every), 0.25 to 8784. 0: "
        "no schedule, the DAG runs when it is triggered.",
        minimum=0.25,
        maximum=_YEAR_HOURS,
        zero="no schedule",
    ),
    "first_scheduled_run": Option(
        "string",
        "dry",
        "dry: scheduled runs are dry runs until a run that somebody triggers was complete, or the watermark is set. "
        "send: they send from the first one on.",
    ),
    # No braces in a default: Airflow formats it as a template, and does not start with one it cannot format.
    "dag_params": Option(
        "string",
        "",
        "JSON object of other defaults for the params of tenable_to_security_hub: what scheduled runs use, and what "
        "the trigger form begins with.",
        example='{"severities": ["medium", "high", "critical"], "destinations": [{"aws_conn_id": "aws_default", '
        '"accounts": "*", '
        '"role_name": "TenableSecurityHubImport", "region": null}]}',
    ),
    "lag_seconds": Option(
        "integer",
        "3600",
        "How far before the watermark an incremental run begins. Covers what Tenable publishes late.",
        minimum=0,
        maximum=3600 * _YEAR_HOURS,
    ),
    "transform_shards": Option(
        "integer",
        "8",
        "Into how many mapped tasks the transform is split, at most (and never more than [core] max_map_length).",
        minimum=1,
    ),
    "import_tasks": Option(
        "integer",
        "128",
        "Into how many mapped tasks the import is split, at most (and never more than [core] max_map_length). Where a "
        "run has findings for more accounts and "
        "Regions, a task serves several of them.",
        minimum=1,
    ),
    "import_minutes": Option(
        "float",
        "60",
        "After so many minutes an import hands its worker slot back, and goes on half a minute later behind its "
        "receipts; no retry is used up. 0: it never does.",
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
    "asset_index_hours": Option(
        "float",
        "24",
        "Hours for which a full export of the assets serves; between, only those that changed are exported. 0: all "
        "assets are exported by every run.",
        minimum=0,
        maximum=_YEAR_HOURS,
    ),
    "poll_interval_seconds": Option(
        "float",
        "30",
        "Seconds between two looks at a running export. At least 10 where the task is deferred.",
        minimum=1,
        maximum=86400,
    ),
    "export_timeout_hours": Option(
        "float",
        "12",
        "A running export is cancelled, and its task fails, after this many hours. Chunks live for 24.",
        minimum=0.01,
        maximum=_YEAR_HOURS,
    ),
    "asset_lookups": Option(
        "integer", "100", "Assets that one transform task may look up singly when the export lacks them.", minimum=0
    ),
    "parked_days": Option(
        "float",
        "7",
        "Days for which a record without its asset is tried again before it is given up.",
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
        "Days for which the rejected findings of a successful run are kept, so that they can be looked at and "
        "replayed. Less than retention_days means that.",
        minimum=0,
        maximum=_CENTURY_DAYS,
    ),
    "failed_retention_days": Option(
        "float",
        "30",
        "Days after which the staged files of a run that did not complete are removed. Until then it can be cleared, "
        "and resumes with what it has staged.",
        minimum=1,
        maximum=_CENTURY_DAYS,
    ),
    "max_unserved_ratio": Option(
        "float",
        "0.5",
        "Above this share of records of AWS assets that find no destination, or where no asset has an AWS account, a "
        "run "
        "fails and the watermark stays. Assets that are not in AWS do not count. 1: never.",
        minimum=0,
        maximum=1,
    ),
    "id_scheme": Option(
        "string",
        "port",
        "port: one finding per port. tvm2aws: the ids of Tenable's tvm2aws, which knows one finding per instance and "
        "plugin.",
    ),
    "product": Option(
        "string",
        "tenable/vulnerability-management",
        "The Security Hub product: company/product, or 'default' for the account's own default product (needed in "
        "GovCloud and China, "
        "and chosen there by itself).",
    ),
    "plugin_output": Option(
        "string",
        EXCERPT,
        "What findings hold of a plugin's output. excerpt: its first 2048 characters, except from plugins that check "
        "for "
        "default accounts or passwords. none: nothing, and Tenable is asked to leave the output out of the export.",
        choices=(EXCERPT, NO_OUTPUT),
    ),
    "enable_product": Option(
        "boolean", "False", "Whether an import may subscribe the account to the product where it is not subscribed yet."
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
    """``[tenable] dag_params`` as an object. :raises ConfigurationError: it is none."""
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
    """Read an option as its own type.

    :raises ConfigurationError: the value is not of the option's type, out of its bounds, or not one of its choices.
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
            f"Set AIRFLOW__{SECTION.upper()}__{name.upper()} or the option in airflow.cfg."
        ) from error
    if option.zero and value == 0:
        return value
    if option.minimum is not None and value < option.minimum:
        or_zero = f", or 0 for {option.zero}" if option.zero else ""
        raise ConfigurationError(
            f"Option [{SECTION}] {name} is {text[:40]}; the least it may be is {option.minimum:.12g}{or_zero}."
        )
    if option.choices and value not in option.choices:
        raise ConfigurationError(
            f"Option [{SECTION}] {name} is {text[:40]!r}; it must be one of {', '.join(option.choices)}."
        )
    if option.maximum is not None and value > option.maximum:
        raise ConfigurationError(
            f"Option [{SECTION}] {name} is {text[:40]}; the most it may be is {option.maximum:.12g}."
        )
    return value


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "t": True, "1": True, "yes": True, "false": False, "f": False, "0": False, "no": False}[
            text.lower()
        ]
    except KeyError:
        raise ValueError(text) from None
