"""The report of a run: always one table in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from airflow_provider_tenable.exceptions import IncompleteRunError, StagingError, TenableProviderError
from airflow_provider_tenable.export.store import MANIFEST
from airflow_provider_tenable.guards.foreign_text import safe, visible
from airflow_provider_tenable.run import places
from airflow_provider_tenable.run.after_report import log_after_report
from airflow_provider_tenable.run.audit_counts import RESULTS, Audits, rows_of
from airflow_provider_tenable.run.ledger import DestinationCounts, Ledger, build_ledger, sums_of
from airflow_provider_tenable.run.ledger_checks import check_sums
from airflow_provider_tenable.run.plan_file import RunPlan, WindowEntry, kind_of_plan
from airflow_provider_tenable.run.status import note_in_history
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.tenable_vm.times import utc

#: Accounts without a destination that the table names; the ledger has all of them.
_MOST_UNSERVED = 20
#: Characters of the reason for which an account and Region refuses; the log and the ledger have all of it.
_LONGEST_REASON = 240
_COMPLETE = "Complete: every record is accounted for"
_TITLE = "Tenable to Security Hub CSPM. "
_ORDER = ("critical", "high", "medium", "low", "info")
#: Why a finding is not sent, in the ledger and for people.
_NOT_SENT = {
    "unchanged": "the hub has it",
    "superseded": "a later run knows better",
    "never_imported": "fixed before it was ever sent",
}


def report_run(context: Any) -> None:
    """Log the report, and fail if the run is not complete: this task decides the state of the run.

    If a person marks a run as failed, its tasks are skipped, which Airflow treats as success if none of them failed.

    :raises IncompleteRunError: the run is not complete.
    """
    run = RunFolder.of(context)
    report, complete = _report(run)
    # A warning, where a person must do something.
    logging.getLogger("airflow.task").log(logging.INFO if complete else logging.WARNING, "%s", report)
    plan, ledger = _on_record(run)
    note_in_history(run, plan, ledger, report.partition("\n")[0].removeprefix(_TITLE), complete=complete)
    if ledger is not None:
        log_after_report(run, ledger)
    if not complete:
        raise IncompleteRunError(
            f"Run {safe(run.run_id)} is not complete, so it failed: the table above shows how far it got. The "
            "watermark stays. Clear the tasks that failed or were skipped, or wait for the next run, which covers the "
            "same window again."
        )


def _on_record(run: RunFolder) -> tuple[RunPlan | None, Ledger | None]:
    """The plan and the ledger of a run, as far as they can be read."""
    try:
        return read_json(run.plan), read_json(run.ledger)
    except StagingError:
        return None, None


def report_of(run: RunFolder) -> str:
    """The report of everything that the run has recorded so far."""
    return _report(run)[0]


def _report(run: RunFolder) -> tuple[str, bool]:
    """The report, and whether the run is complete."""
    try:
        return _report_of(run)
    except TenableProviderError as error:
        return _table([("The run's files cannot be read", str(error))], "NOT COMPLETE"), False


def _report_of(run: RunFolder) -> tuple[str, bool]:
    plan: RunPlan | None = read_json(run.plan)
    if plan is None:
        return _table(
            [("The run was not planned", "see the log of plan_run")], "Nothing was exported or imported"
        ), False
    ledger, note = _ledger(run, plan)
    complete = note == _COMPLETE
    if plan["settings"]["dry_run"]:
        note = f"DRY RUN, nothing was sent. {note}"
    if ledger is None:
        return _table([*_planned_rows(run, plan), *_export_rows(run)], note), complete
    return _table([*_planned_rows(run, plan), *_rows(ledger), *_owed_rows(run)], note), complete


def _planned_rows(run: RunFolder, plan: RunPlan) -> Iterator[tuple[str, object]]:
    yield from _held_back_rows(plan)
    yield from _window_rows(plan["window"])
    yield from _full_rows(plan)
    if recovers := plan.get("recovers"):
        yield "Window begins earlier", f"for {_list_of(recovers)}, which refused findings before"
    yield from _asset_rows(run, plan)


def _ledger(run: RunFolder, plan: RunPlan) -> tuple[Ledger | None, str]:
    ledger: Ledger | None = read_json(run.ledger)
    if ledger and ledger["complete"]:
        return _complete(run, plan, ledger)
    export = read_json(run.export(kind_of_plan(plan)) / MANIFEST)
    if not export or not export["complete"]:
        return None, "NOT COMPLETE: the exports were not complete; nothing was imported, the watermark stays"
    try:
        # Counted again: the ledger file may have been written before a task was cleared.
        return build_ledger(
            run, plan, exported=sum(part["records"] for part in export["parts"].values())
        ), "NOT COMPLETE: the watermark stays"
    except TenableProviderError as error:
        return None, f"NOT COMPLETE: {error}"


def _complete(run: RunFolder, plan: RunPlan, ledger: Ledger) -> tuple[Ledger, str]:
    """Check a complete ledger against the recorded results: a task may have been cleared and marked since."""
    try:
        counted = build_ledger(run, plan, exported=ledger["exported"])
        check_sums(counted)
    except TenableProviderError as error:
        return ledger, f"NO LONGER COMPLETE: {error}"
    if sums_of(counted) != sums_of(ledger):
        return counted, "NO LONGER COMPLETE: the run's files have changed since it completed"
    return ledger, _COMPLETE


def _held_back_rows(plan: RunPlan) -> Iterator[tuple[str, object]]:
    """Why the run was a dry run without being requested, and how to let the DAG send."""
    if plan.get("held_back"):
        yield "Why a dry run", "a scheduled run, and this DAG has not imported anything yet"
        yield "To let it send", "trigger it once with dry_run off,"
        yield "", "or set [tenable] first_scheduled_run = send"


def _window_rows(window: WindowEntry) -> Iterator[tuple[str, object]]:
    since = "the beginning" if window["since"] <= 1 else _moment(window["since"])
    yield "Window", f"{window['kind']}: {since} to {_moment(window['until'])}"


def _full_rows(plan: RunPlan) -> Iterator[tuple[str, object]]:
    """Why a run was full."""
    hubs = plan.get("hubs", {})
    if hubs.get("full"):
        yield "Full run", hubs["full_why"]


def _asset_rows(run: RunFolder, plan: RunPlan) -> Iterator[tuple[str, object]]:
    """Whether all assets were exported, or only changes for the index."""
    assets, state = plan.get("assets"), read_json(run.export("assets") / MANIFEST)
    if not assets or not state or not state["complete"]:
        return
    records, base = sum(part["records"] for part in state["parts"].values()), assets["base"]
    if base is None:
        yield "Assets", f"all {records:,} exported: {assets['why']}"
        return
    yield "Assets", f"{records:,} exported, changed since {_moment(assets['filters']['since'])}"
    yield (
        "  from the asset index",
        f"{base['records']:,} of {_moment(base['full_from'])}, {base['changed']:,} changes since",
    )


def _export_rows(run: RunFolder) -> Iterator[tuple[str, object]]:
    for kind in ("assets", "vulnerabilities", "compliance", "was"):
        state = read_json(run.export(kind) / MANIFEST)
        if state:
            records = sum(part["records"] for part in state["parts"].values())
            yield (
                f"Staged {kind}",
                f"{records:,} in {len(state['parts'])} chunks ({'complete' if state['complete'] else 'incomplete'})",
            )


def _rows(ledger: Ledger) -> Iterator[tuple[str, object]]:
    yield "Exported records", ledger["exported"]
    if ledger["unparked"]:
        yield "Parked before, retried", ledger["unparked"]
    yield from _resolved_rows(ledger)
    waiting = ledger.get("waiting", {})
    for reason, count in ledger["skipped"].items():
        yield f"  skipped: {reason}", count
        if reason in waiting:
            yield "    of these kept until the asset is known", waiting[reason]
    yield from _unserved_rows(ledger.get("unserved", {}))
    yield from _refused_rows(ledger)
    if ledger["parked"]:
        yield "  parked: asset missing so far", ledger["parked"]
    yield "Findings", ledger["findings"]
    for account, counts in ledger["severities"].items():
        for severity in _ORDER:
            if severity in counts:
                yield f"  {account} {severity}", counts[severity]
    yield from _audit_rows(ledger.get("audits", {}))
    yield from _destination_rows(ledger)
    yield "Accepted by Security Hub", "dry_run: none sent" if ledger["dry_run"] else ledger["accepted"]
    yield "Rejected", sum(ledger["rejected"].values())
    for code, count in ledger["rejected"].items():
        yield f"  rejected: {code}", count
    yield from _changed_rows(ledger)
    yield from _accepted_rows(ledger)
    yield from _gone_rows(ledger)
    yield from _active_rows(ledger)
    watermark = ledger["watermark"]
    yield "Watermark before", _moment(watermark["before"])
    if "after" in watermark:
        yield "Watermark after", f"{_moment(watermark['after'])} ({watermark['why']})"


def _resolved_rows(ledger: Ledger) -> Iterator[tuple[str, object]]:
    """Assets without an account or Region in Tenable, where EC2 was asked for them."""
    resolved = ledger.get("resolved")
    if resolved is None:
        return
    yield "Assets resolved by EC2", resolved["assets"]
    for reason, count in resolved["unresolved"].items():
        yield f"  not resolved: {reason}", count
    if "hosts" in resolved:
        yield "  hosts recognised by their addresses", resolved["hosts"]
        for reason, count in resolved["unrecognised"].items():
            yield f"  not recognised: {reason}", count
    for place, why in list(resolved["silent"].items())[:_MOST_UNSERVED]:
        yield f"  EC2 did not answer: {place}", safe(why, _LONGEST_REASON)


def _audit_rows(audits: Audits) -> Iterator[tuple[str, object]]:
    """Results by account and audit file, those with the most failed checks first."""
    rows = rows_of(audits)
    for account, audit, counts in rows[:_MOST_UNSERVED]:
        said = ", ".join(f"{counts[name]:,} {name}" for name in RESULTS if counts.get(name))
        yield f"  {account} {audit}", said
    if len(rows) > _MOST_UNSERVED:
        yield "  further audits", f"{len(rows) - _MOST_UNSERVED} in the ledger"


def _destination_rows(ledger: Ledger) -> Iterator[tuple[str, object]]:
    for name, entry in ledger["destinations"].items():
        yield (
            f"  to {name}",
            f"{entry['accepted']:,} of {entry['findings']:,} in {entry['calls']:,} "
            f"call{'s' if entry['calls'] != 1 else ''}",
        )
        if compared := _compared(entry):
            yield f"    {'would be' if ledger['dry_run'] else 'compared'}", compared
    for name, label in _NOT_SENT.items():
        if ledger.get(name):
            yield f"  not sent: {label}", ledger[name]  # type: ignore[literal-required]


def _compared(entry: DestinationCounts) -> str:
    """What was, or would be, done about the findings of an account and Region, against what its hub held."""
    counts = {**entry.get("sent", {}), "left alone": sum(int(entry.get(name, 0)) for name in _NOT_SENT)}  # type: ignore[call-overload]
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) if "sent" in entry else ""


def _changed_rows(ledger: Ledger) -> Iterator[tuple[str, object]]:
    """Findings whose records say that they are archived, or active again."""
    for reason, count in ledger.get("archived", {}).items():
        yield f"  {'would be' if ledger['dry_run'] else 'sent as'} archived: {reason}", count
    if ledger.get("reopened"):
        yield "  active again", ledger["reopened"]
    if ledger.get("remapped"):
        yield "  mapped anew by this release", ledger["remapped"]


def _accepted_rows(ledger: Ledger) -> Iterator[tuple[str, object]]:
    """Findings whose risk is accepted, or is accepted no longer, where the run sets their workflow."""
    counts = ledger.get("accepted_risks")
    if counts is None:
        return
    yield "Accepted risks: " + ("would be suppressed" if ledger["dry_run"] else "suppressed"), counts["suppressed"]
    yield "  suppressed before", counts["kept"]
    yield "  NEW again", counts["reopened"]
    for why, count in counts["left"].items():
        yield f"  left to a person: {why}", count
    for code, count in counts["not_done"].items():
        yield f"  not done: {code}", count
    for place, why in list(counts["why_not"].items())[:_MOST_UNSERVED]:
        yield f"  not done: {place}", safe(why, _LONGEST_REASON)


def _active_rows(ledger: Ledger) -> Iterator[tuple[str, object]]:
    """What all hubs hold after the run, and since when."""
    active = ledger.get("active")
    if active is None:
        return
    yield "Active in the hubs", sum(active["by_severity"].values())
    for severity in _ORDER:
        if not (count := active["by_severity"].get(severity, 0)):
            continue
        overdue = active["overdue"].get(severity)
        yield f"  active: {severity}", f"{count:,}, {overdue:,} of them overdue" if overdue else count
    if active["oldest_days"] is not None:
        yield "  age in days", f"median {active['median_days']:,}, oldest {active['oldest_days']:,}"


def _gone_rows(ledger: Ledger) -> Iterator[tuple[str, object]]:
    """What was archived because Tenable does not report it any more, and what was not."""
    gone = ledger.get("gone")
    if gone is None:
        return
    if gone["why_not"]:
        if ledger.get("full"):
            yield "Nothing archived by absence", gone["why_not"]
        return
    if not ledger.get("full") and not (gone["archived"] or gone["not_archived"] or gone["missing"]):
        return
    yield ("Would be archived" if ledger["dry_run"] else "Archived, not in Tenable any more"), _archived(ledger)
    for reason, count in gone["archived"].items():
        yield f"  archived: {reason}", count
    if gone["missing"]:
        yield "  the hub did not have them any more", gone["missing"]
    for code, count in gone["not_archived"].items():
        yield f"  {'would be' if ledger['dry_run'] else 'not archived'}: {code}", count
    for place, count in list(gone["stopped"].items())[:_MOST_UNSERVED]:
        yield f"  too many to be archived: {place}", count
    for why, count in gone["left"].items():
        yield f"  left active: {why}", count
    for place, why in list(gone["left_destinations"].items())[:_MOST_UNSERVED]:
        yield f"  not looked at: {place}", why


def _archived(ledger: Ledger) -> int:
    gone = ledger["gone"]
    return sum(gone["not_archived"].values()) if ledger["dry_run"] else sum(gone["archived"].values())


def _unserved_rows(unserved: dict[str, dict[str, int]]) -> Iterator[tuple[str, object]]:
    """The accounts with the most records without a destination."""
    by_records = sorted(unserved.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    for account, reasons in by_records[:_MOST_UNSERVED]:
        yield f"  not delivered: {account}", f"{sum(reasons.values()):,}: {', '.join(reasons)}"
    if more := by_records[_MOST_UNSERVED:]:
        yield f"  not delivered: {len(more)} more accounts", sum(sum(reasons.values()) for _, reasons in more)


def _refused_rows(ledger: Ledger) -> Iterator[tuple[str, object]]:
    """The accounts and Regions that permanently refused the most records, with the reasons."""
    by_records = sorted(ledger.get("refused", {}).items(), key=lambda item: (-item[1]["records"], item[0]))
    for place, entry in by_records[:_MOST_UNSERVED]:
        yield f"  refused: {place}", f"{entry['records']:,}: {safe(entry['why'], _LONGEST_REASON)}"
    if more := by_records[_MOST_UNSERVED:]:
        yield f"  refused: {len(more)} more accounts and Regions", sum(entry["records"] for _, entry in more)


def _owed_rows(run: RunFolder) -> Iterator[tuple[str, object]]:
    """The accounts and Regions with missing findings, which are delivered once they accept findings again."""
    owed = sorted(places.owed(run).items(), key=lambda item: (item[1]["since"], item[0]))
    for place, entry in owed[:_MOST_UNSERVED]:
        since = "the beginning" if entry["since"] <= 1 else _moment(entry["since"])
        yield f"Outstanding for {place}", f"everything since {since}"
    if more := owed[_MOST_UNSERVED:]:
        yield "Outstanding for others", f"{len(more)} more accounts and Regions"


def _list_of(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _table(rows: list[tuple[str, object]], title: str) -> str:
    # The table has lines of its own; none of its cells has.
    texts = [(_cell(label), f"{value:,}" if isinstance(value, int) else _cell(value)) for label, value in rows]
    left = max(len(label) for label, _ in texts)
    right = max(len(text) for _, text in texts)
    line = f"+-{'-' * left}-+-{'-' * right}-+"
    # Values begin beside their labels: Airflow's UI shows some 90 characters of a line, and one long value would push
    # all others out of sight.
    body = [f"| {label:<{left}} | {text:<{right}} |" for label, text in texts]
    return "\n".join([f"{_TITLE}{visible(title)}.", line, *body, line])


def _cell(value: object) -> str:
    text = str(value)
    indent = len(text) - len(text.lstrip(" "))
    return " " * indent + safe(text, 1_000)


def _moment(seconds: float | None) -> str:
    """With the number, which the Variable of the watermark takes."""
    return utc(seconds) if seconds is None else f"{utc(seconds)} ({int(seconds)})"
