"""The asset (a dataset on Airflow 2) that represents the findings that a DAG has imported; other DAGs can wait for it.

Its URI is ``tenable://security-hub/{dag_id}``. Airflow updates it when the task that completes a run succeeds, never
before; the event's ``extra`` describes what the run covered, and the results of its records.

Another asset, ``tenable://scan/{name}``, represents the results of a scan in Tenable: ``tenable_scan`` updates it when
a run of the scan is completed, and the import can be scheduled on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_tenable import config
from airflow_provider_tenable._compat import AirflowSkipException, Asset, asset_of
from airflow_provider_tenable.exceptions import IncompleteRunError
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable.run.ledger import Ledger

SCHEME = "tenable"
HOST = "security-hub"
AUDIT_HOST = "security-hub-audit"
SCAN_HOST = "scan"
AUDITS_HOST = "aws-audits"
#: The entries of a scan's result that an event's extra contains.
_FROM_SCAN = ("scan", "run_uuid", "status", "started_at", "ended_at", "hosts")
#: The entries of the ledger that an event's extra contains. The totals of each destination are omitted: there may be
#: thousands.
_FROM_LEDGER = (
    "window",
    "watermark",
    "full",
    "exported",
    "unparked",
    "skipped",
    "parked",
    "findings",
    "accepted",
    "rejected",
    "unchanged",
    "superseded",
    "never_imported",
    "reopened",
    "active",
)


def imported_findings(dag_id: str = "tenable_to_security_hub") -> Asset:
    """The asset of a DAG's imported findings: for the ``outlets`` of the task that completes its runs, and for the
    ``schedule`` of DAGs that wait for them.
    """
    # The DAG's id is in the path, because a host is case-insensitive and an id is not.
    return asset_of(f"{SCHEME}://{HOST}/{quote(dag_id, safe='')}")


def audited_hubs(dag_id: str = "tenable_to_security_hub") -> Asset:
    """The asset of the audit of a DAG's hubs: updated when an audit is done. The event's extra has the counts of
    :func:`~airflow_provider_tenable.run.hub_audit.finish_audit`.
    """
    return asset_of(f"{SCHEME}://{AUDIT_HOST}/{quote(dag_id, safe='')}")


def completed_scan(name: str) -> Asset:
    """The asset of a scan, by its name in Tenable: updated when a run of the scan is completed."""
    return asset_of(f"{SCHEME}://{SCAN_HOST}/{quote(name, safe='')}")


def scans_from_option() -> list[Asset]:
    """The assets of the scans in ``[tenable] import_after_scans``."""
    names = [name.strip() for name in str(config.get("import_after_scans")).split(",")]
    return [completed_scan(name) for name in names if name]


def announce_scan(context: Any, alias: Any, result: Mapping[str, Any]) -> None:
    """Have Airflow update the asset of a scan when the task succeeds. The event's extra describes the run.

    :param alias: an outlet of the task: the scan's name is known only now.
    :param result: of :class:`~airflow_provider_tenable.operators.scan_runs.TenableRunScanOperator`.
    """
    # Only numbers and texts: Airflow 2.11 and 3.0 put the extras of an alias into a set, so an object in one of them
    # would fail the task after it has succeeded (``TypeError: unhashable type: 'dict'``).
    extra = {field: result.get(field) for field in _FROM_SCAN}
    extra.update({f"severity_{name}": count for name, count in (result.get("severities") or {}).items()})
    context["outlet_events"][alias].add(completed_scan(str(result["name"])), extra=extra)


def completed_audits(dag_id: str = "tenable_aws_audit") -> Asset:
    """The asset of a DAG's AWS audits: updated at the end of each run in which at least one account was audited."""
    return asset_of(f"{SCHEME}://{AUDITS_HOST}/{quote(dag_id, safe='')}")


def announce_audits(context: Any, alias: Any, asset: Asset, results: Iterable[Any] | None) -> dict[str, Any]:
    """Have Airflow update the assets of AWS audits when the task succeeds.

    :param alias: an outlet of the task, for the assets of the scans.
    :param asset: an outlet of the task, for all audits.
    :param results: of the accounts; those that are not complete are missing, or None.
    :return: ``{"accounts": [{"account", "compliance"}]}``.
    :raises IncompleteRunError: no account was audited.
    """
    # Airflow 3 passes the result of a single account as it is, and those of several as a sequence.
    found = [results] if isinstance(results, Mapping) else [each for each in results or () if isinstance(each, Mapping)]
    if not found:
        raise IncompleteRunError("No account was audited. The tasks of each account say why.")
    for result in found:
        announce_scan(context, alias, result)
    context["outlet_events"][asset].extra = {"accounts": ",".join(str(result["account"]) for result in found)}
    return {"accounts": [{"account": each["account"], "compliance": dict(each["compliance"])} for each in found]}


def announce(context: Any, asset: Asset) -> None:
    """Add to the asset's event what the run has imported. Airflow emits the event itself when the task succeeds.

    :param context: of the task that has ``asset`` as an outlet, once the ledger is complete.
    :raises AirflowSkipException: it is a dry run, which does not import anything; a skipped task does not update an
        asset.
    """
    run = RunFolder.of(context)
    ledger: Ledger = read_json(run.ledger)
    if ledger["dry_run"]:
        raise AirflowSkipException(
            "dry_run: nothing was imported, so there is no event for DAGs that wait for an import."
        )
    context["outlet_events"][asset].extra = event_extra(run, ledger)


def event_extra(run: RunFolder, ledger: Ledger) -> dict[str, Any]:
    """The event's extra: ``{"dag_id", "run_id", "archived", "destinations", "ledger"}`` and, as in the ledger,
    ``window, watermark, full, exported, unparked, skipped, parked, findings, accepted, rejected, unchanged, superseded,
    never_imported, reopened, active``. ``archived`` has the number of findings that were archived, by reason,
    ``active`` what all hubs hold now (severities, ages, overdue), ``destinations`` is their number, ``ledger`` the
    file's URI. Size: less than a kilobyte.
    """
    # Imported here: DAG files import this module while Airflow parses them.
    from airflow_provider_tenable.run.status import archived_of

    counts = {name: value for name, value in ledger.items() if name in _FROM_LEDGER}
    return {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        **counts,
        "archived": archived_of(ledger),
        "destinations": len(ledger["destinations"]),
        "ledger": str(run.ledger),
    }


def triggering_imports(context: Any) -> list[dict[str, Any]]:
    """The extras (:func:`event_extra`) of the events that started a run of a waiting DAG, oldest first.

    :param context: of a task of that DAG. A run that was started differently, for example by hand, has none.
    """
    # By asset on Airflow 3, by URI on Airflow 2.
    triggering = context.get("triggering_asset_events") or context.get("triggering_dataset_events") or {}
    events = [event for per_asset in triggering.values() for event in per_asset if (event.extra or {}).get("ledger")]
    return [dict(event.extra) for event in sorted(events, key=lambda event: event.timestamp)]
