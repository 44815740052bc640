"""What the process that runs the DAG tells the command: one JSON object per line, in a pipe.

The DAG's tasks tell it by Airflow's own callbacks. They run in the process of ``dag.test``, which has the pipe.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

#: The environment variable with the pipe's file descriptor.
PIPE = "TENABLE_TO_SECURITY_HUB_PIPE"


def callbacks() -> dict[str, Any]:
    """Entries of a DAG's ``default_args``; empty in a process without the pipe."""
    if not os.environ.get(PIPE):
        return {}
    return {
        "on_success_callback": _succeeded,
        "on_failure_callback": _failed,
        "on_retry_callback": _retried,
    }


def tell(**what: Any) -> None:
    """Write a line into the pipe. A command that has ended does not stop the run."""
    try:
        os.write(int(os.environ[PIPE]), json.dumps(what, default=str).encode() + b"\n")
    except (OSError, ValueError, KeyError):
        return


def _succeeded(context: Any) -> None:
    tell(**_named(context), outcome="success", text=_text(context))


def _failed(context: Any) -> None:
    tell(**_named(context), outcome="failed", text=_error(context))


def _retried(context: Any) -> None:
    tell(**_named(context), outcome="retry", text=_error(context))


def _named(context: Any) -> dict[str, Any]:
    instance = context["ti"]
    start = instance.start_date
    name = instance.task_id
    return {
        "task": name,
        "place": getattr(instance, "rendered_map_index", None) or "",
        "seconds": round(time.time() - start.timestamp(), 1) if start else 0,
    }


def _error(context: Any) -> str:
    from airflow_provider_tenable._compat import complete_message
    from airflow_provider_tenable.guards.foreign_text import LONGEST_MESSAGE, safe

    return safe(complete_message(context.get("exception") or "see the log"), LONGEST_MESSAGE)


def _text(context: Any) -> str:
    """What a task has achieved, from the files of the run; empty for a task that is not a stage."""
    from airflow_provider_tenable.exceptions import TenableProviderError
    from airflow_provider_tenable.staging.layout import RunFolder

    describe = _STAGES.get(context["ti"].task_id)
    try:
        return "" if describe is None else describe(RunFolder.of(context))
    except (TenableProviderError, KeyError, TypeError) as error:
        return f"({type(error).__name__})"


def _window(run: Any) -> str:
    from airflow_provider_tenable.staging.files import read_json
    from airflow_provider_tenable.tenable_vm.times import utc

    plan = read_json(run.plan)
    window, hubs = plan["window"], plan.get("hubs", {})
    since = "the beginning" if window["since"] <= 1 else utc(window["since"])
    full = ", a full run" if hubs.get("full") else ""
    dry = ", dry run" if plan["settings"]["dry_run"] else ""
    return f"from {since} to {utc(window['until'])}{full}{dry}"


def _exported(kind: str) -> Any:
    def describe(run: Any) -> str:
        from airflow_provider_tenable.export.store import MANIFEST
        from airflow_provider_tenable.staging.files import read_json

        parts = read_json(run.export(kind) / MANIFEST)["parts"]
        return f"{sum(part['records'] for part in parts.values()):,} records in {len(parts):,} chunks"

    return describe


def _mapped(run: Any) -> str:
    from airflow_provider_tenable.run.manifests import shard_manifests

    manifests = shard_manifests(run)
    places = {(each["account"], each["region"]) for manifest in manifests for each in manifest["destinations"]}
    findings = sum(manifest["findings"] for manifest in manifests)
    return f"{findings:,} findings for {len(places):,} accounts and Regions"


def _settled(run: Any) -> str:
    from airflow_provider_tenable.staging.files import read_json

    ledger = read_json(run.ledger)
    if ledger["dry_run"]:
        return f"{ledger['findings']:,} findings, none sent: a dry run"
    rejected = sum(ledger["rejected"].values())
    return f"{ledger['accepted']:,} accepted, {rejected:,} rejected, {ledger.get('unchanged', 0):,} unchanged"


def _advanced(run: Any) -> str:
    from airflow_provider_tenable.staging.files import read_json

    return f"the watermark {read_json(run.ledger)['watermark']['why']}"


_STAGES = {
    "plan_run": _window,
    "export_assets": _exported("assets"),
    "export_vulnerabilities": _exported("vulnerabilities"),
    "plan_imports": _mapped,
    "settle": _settled,
    "advance_watermark": _advanced,
}

__all__ = ["PIPE", "callbacks", "tell"]
