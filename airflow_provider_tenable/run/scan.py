"""The steps of ``tenable_scan`` that no operator does: its params, its report, and the removal of old files.

DAG files import this module while Airflow parses them, so it must not import anything heavy.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_tenable.exceptions import ConfigurationError, IncompleteRunError
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.run.conf import check_conf
from airflow_provider_tenable.run.ephemeral_scanner import EPHEMERAL_SCANNER, plan_ephemeral_scanner
from airflow_provider_tenable.run.old_runs import remove_runs
from airflow_provider_tenable.run.params import RunParam
from airflow_provider_tenable.staging.files import names
from airflow_provider_tenable.staging.layout import RunFolder

log = logging.getLogger(__name__)

_FORMATS = ("nessus", "csv", "html", "pdf")
#: One per line of the form. It also submits lines without text, which are ignored.
_TEXTS: Mapping[str, Any] = {"type": "array", "items": {"type": "string"}}
_OPTIONAL: Mapping[str, Any] = {"type": ["null", "string"]}

#: Params of ``tenable_scan``, in the order of its form.
SCAN: Mapping[str, RunParam] = {
    "name": RunParam(
        default="Airflow",
        schema={"type": "string", "minLength": 1, "maxLength": 200},
        title="Name",
        help="Name of the scan in Tenable. A run with the name of a scan that this DAG has created uses it again.",
    ),
    "template": RunParam(
        default="basic",
        schema={"type": "string", "minLength": 1},
        title="Template",
        help="Name or title of the scan template, such as `basic`, `advanced`, `discovery`.",
    ),
    "targets": RunParam(
        default=[],
        schema=_TEXTS,
        title="Targets",
        help="Addresses, ranges, networks or host names, one per line.",
    ),
    "credentials": RunParam(
        default=[],
        schema={**_TEXTS, "type": ["null", "array"]},
        title="Credentials",
        help="Names of managed credentials in Tenable, one per line. Not the passwords themselves.",
    ),
    "scanner": RunParam(
        default=None,
        schema=_OPTIONAL,
        title="Scanner",
        help="Name or uuid of a scanner or scanner group, or `AUTO-ROUTED`. Empty: Tenable's US cloud scanner.",
    ),
    "formats": RunParam(
        default=["nessus"],
        schema={
            "type": "array",
            "items": {"type": "string", "enum": list(_FORMATS)},
            "examples": list(_FORMATS),
            "minItems": 1,
        },
        title="Formats",
        help="What is exported of the results: `nessus`, `csv`, `html`, `pdf`.",
    ),
    "path": RunParam(
        default=None,
        schema=_OPTIONAL,
        title="Folder of the reports",
        help="URI of the folder, such as `s3://aws_default@reports/tenable`. Empty: the run's folder in the staging "
        "area, whose files are removed after `[tenable] retention_days`.",
    ),
    "delete_after": RunParam(
        default=False,
        schema={"type": "boolean"},
        title="Delete the scan afterwards",
        help="Delete the scan, with its results in Tenable's scan view, once the results are exported. The "
        "vulnerabilities that it has found stay in Tenable.",
    ),
    **EPHEMERAL_SCANNER,
}


def plan_scan(context: Any) -> dict[str, Any]:
    """The run's params, checked: those of a trigger by another DAG may bypass the form.

    :return: name -> value; an empty text for one that is not set, since Airflow 3.0 does not accept null in an XCom.
    :raises ConfigurationError: a value is invalid, or there are no targets.
    """
    check_conf(context, SCAN)
    params = {name: _given(context["params"].get(name, param.default)) for name, param in SCAN.items()}
    for name, value in params.items():
        if name not in EPHEMERAL_SCANNER and not _is_valid(value, SCAN[name].schema):
            raise ConfigurationError(f"{name} is {quoted(value, 200)}, which the form does not accept. Correct it.")
    if not params["targets"]:
        raise ConfigurationError("The scan has no targets. Give at least one address, network or host name.")
    planned = {name: _empty(SCAN[name].schema) if value is None else value for name, value in params.items()}
    own = plan_ephemeral_scanner(params, context["dag_run"])
    return {**planned, **own, "scanner": own["scanner_name"] or planned["scanner"]}


def report_scan(context: Any, result: Mapping[str, Any] | None, exported: Mapping[str, Any] | None) -> None:
    """Log what the scan has found and where its results are, and fail if the run is not complete: this task decides the
    state of the run.

    If a person marks a run as failed, its tasks are skipped, which Airflow treats as success if none of them failed.

    :param result: of the task ``complete``; None: it has not succeeded.
    :param exported: of the task that exports the results.
    :raises IncompleteRunError: the run is not complete.
    """
    if result is None:
        raise IncompleteRunError(
            f"Run {safe(context['dag_run'].run_id)} is not complete, so it failed: its scan did not end as wanted, or "
            "its results were not exported. The task that failed says why. Clear it, and the tasks after it; if the "
            "run has an ephemeral scanner, clear with_scanner and all tasks after it, which creates another one."
        )
    severities = ", ".join(f"{count} {safe(name, 20)}" for name, count in (result.get("severities") or {}).items())
    log.info(
        "Scan %s: run %s is %s. %s hosts; %s.",
        safe(result.get("name"), 200),
        safe(result.get("run_uuid"), 80),
        safe(result.get("status"), 40),
        result.get("hosts"),
        severities or "no results",
    )
    for file in (exported or {}).get("files", []):
        log.info("%s: %s (%s bytes)", safe(file.get("format"), 20), safe(file.get("path")), file.get("bytes"))


def _given(value: Any) -> Any:
    """A value without the lines that contain no text."""
    if not isinstance(value, list):
        return value
    lines = [line.strip() if isinstance(line, str) else line for line in value]
    return [line for line in lines if line != ""]


def _empty(schema: Mapping[str, Any]) -> Any:
    return [] if "array" in schema["type"] else ""


def _is_valid(value: Any, schema: Mapping[str, Any]) -> bool:
    if value is None:
        return "null" in schema["type"]
    if "array" in schema["type"]:
        allowed = schema["items"].get("enum")
        return (
            isinstance(value, list)
            and len(value) >= schema.get("minItems", 0)
            and all(isinstance(item, str) and (allowed is None or item in allowed) for item in value)
        )
    if schema["type"] == "boolean":
        return isinstance(value, bool)
    return isinstance(value, str) and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 2_000)


def remove_old_scans(context: Any) -> list[str]:
    """Remove the staged files of this DAG's runs after ``[tenable] retention_days``; reports in another folder stay.

    :return: the ids of the runs whose files were removed.
    """
    return remove_runs(RunFolder.of(context), _last_job)


def _last_job(run: RunFolder) -> float | None:
    jobs = run.root / "jobs"
    # Those of mapped tasks are in a folder each.
    files = [jobs / step for step in names(jobs)]
    files += [folder / step for folder in files if folder.suffix != ".json" for step in names(folder)]
    return max((float(file.stat().st_mtime) for file in files if file.suffix == ".json"), default=None)
