"""The ledger of a run: the results of all exported records. If it does not add up, the run fails.

exported + unparked = sum(skipped) + parked + findings
findings            = accepted + sum(rejected) + unchanged + superseded + never_imported
"""

from __future__ import annotations

from collections import Counter
from typing import NotRequired, TypedDict

from airflow_provider_tenable.run import places
from airflow_provider_tenable.run.accepted_risks import AcceptedCounts, accepted_counts
from airflow_provider_tenable.run.ages import ActiveEntry
from airflow_provider_tenable.run.manifests import Delivery, destinations_of, shard_manifests, unserved_by_account
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.run.resolving import ResolvedCounts, read_resolved
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.security_hub.refusals import refusal_of_place
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.archive import outcome_of, read_archived
from airflow_provider_tenable.state.compare import REMAPPED, REOPENED
from airflow_provider_tenable.state.decisions import read_head
from airflow_provider_tenable.state.gone import read_gone
from airflow_provider_tenable.state.verdicts import SENT
from airflow_provider_tenable.transform.manifest import ShardManifest
from airflow_provider_tenable.transform.routing import DESTINATION_REFUSED

#: In ``left_destinations`` of the ledger: what was to be archived there is not on record any more.
LIST_DAMAGED = "list_damaged"


class DestinationCounts(TypedDict):
    """The results for the findings of one account and hub Region; ``rejected``: code -> findings.

    ``unchanged``, ``superseded`` and ``never_imported`` were not sent
    (:class:`~airflow_provider_tenable.state.verdicts.Verdict`); ``sent``: why the others were, or would be by a run
    that is not dry -> findings.
    """

    findings: int
    accepted: int
    rejected: dict[str, int]
    calls: int
    unchanged: NotRequired[int]
    superseded: NotRequired[int]
    never_imported: NotRequired[int]
    sent: NotRequired[dict[str, int]]


class _Compared(TypedDict, total=False):
    unchanged: int
    superseded: int
    never_imported: int
    sent: dict[str, int]


class RefusedEntry(TypedDict):
    """An account and hub Region that permanently refused its findings.

    ``records``: the number left out. ``reached``: whether it had accepted findings of this or an earlier run.
    """

    records: int
    why: str
    reached: bool


class LedgerWindow(TypedDict):
    """The run's window, unix seconds."""

    since: int
    until: int
    kind: str


class WatermarkEntry(TypedDict):
    """The watermark before and after the run; the last two entries exist once the run is complete."""

    before: int | None
    after: NotRequired[int | None]
    why: NotRequired[str]


class GoneCounts(TypedDict):
    """What became of active findings of which a full run saw nothing.

    ``archived``: reason -> findings; ``missing``: those that the hub did not have any more; ``not_archived``: code ->
    findings; ``stopped``: ``account/region`` -> findings that were too many to be archived; ``left``: why others stay
    active -> findings; ``left_destinations``: ``account/region`` that was not looked at -> why; ``why_not``: why the
    run archives nothing at all.
    """

    archived: dict[str, int]
    missing: int
    not_archived: dict[str, int]
    stopped: dict[str, int]
    left: dict[str, int]
    left_destinations: dict[str, str]
    why_not: str


class Repeated(TypedDict):
    """What becomes of the rejections of one run. Their sum is what the run has in ``rejected/`` that counts.

    ``again``: findings that are sent again. ``newer``: of a finding that is sent again in a newer version, from this or
    another of the runs. ``mapped``: records whose assets were missing, which are mapped now. ``left``: records that
    could not be mapped, and findings without a destination; these stay where they are.
    """

    again: int
    newer: int
    mapped: int
    left: int


class Ledger(TypedDict):
    """``ledger.json``. ``refused`` and ``destinations`` by ``account/region``; ``severities``: account -> severity ->
    findings.
    """

    window: LedgerWindow
    dry_run: bool
    exported: int
    unparked: int
    read: int
    skipped: dict[str, int]
    unserved: dict[str, dict[str, int]]
    refused: NotRequired[dict[str, RefusedEntry]]
    parked: int
    # Skipped records that wait until their asset is known, by reason. They are part of `skipped`.
    waiting: NotRequired[dict[str, int]]
    not_ec2: int
    findings: int
    accepted: int
    rejected: dict[str, int]
    unchanged: NotRequired[int]
    superseded: NotRequired[int]
    never_imported: NotRequired[int]
    sent: NotRequired[dict[str, int]]
    # Of those that were sent: reason -> findings that were active in the hub and are archived; those that are active
    # again; and those that an earlier release has mapped in another way.
    archived: NotRequired[dict[str, int]]
    reopened: NotRequired[int]
    remapped: NotRequired[int]
    full: NotRequired[bool]
    # Of a run that sets the workflow of findings whose risk is accepted.
    accepted_risks: NotRequired[AcceptedCounts]
    # What was archived, or was to be, because Tenable does not report it any more.
    gone: NotRequired[GoneCounts]
    # What all hubs hold after the run; where it is complete and known.
    active: NotRequired[ActiveEntry]
    severities: dict[str, dict[str, int]]
    # Of compliance records: account -> audit file -> result -> findings.
    audits: NotRequired[dict[str, dict[str, dict[str, int]]]]
    destinations: dict[str, DestinationCounts]
    # Assets without an account or Region, where EC2 was asked for them.
    resolved: NotRequired[ResolvedCounts]
    # Of a replay: run id -> what became of the rejections of that run.
    replayed: NotRequired[dict[str, Repeated]]
    watermark: WatermarkEntry
    complete: bool


class Sums(TypedDict):
    """The ledger's totals, for XCom."""

    exported: int
    unparked: NotRequired[int]
    skipped: dict[str, int]
    parked: int
    findings: int
    accepted: int
    rejected: dict[str, int]
    unchanged: NotRequired[int]
    superseded: NotRequired[int]
    never_imported: NotRequired[int]


def sums_of(ledger: Ledger) -> Sums:
    """The part of a ledger that is put into XCom."""
    return {
        "exported": ledger["exported"],
        "unparked": ledger["unparked"],
        "skipped": ledger["skipped"],
        "parked": ledger["parked"],
        "findings": ledger["findings"],
        "accepted": ledger["accepted"],
        "rejected": ledger["rejected"],
        "unchanged": ledger.get("unchanged", 0),
        "superseded": ledger.get("superseded", 0),
        "never_imported": ledger.get("never_imported", 0),
    }


def build_ledger(run: RunFolder, plan: RunPlan, *, exported: int) -> Ledger:
    """Count what is on record.

    :param exported: records that the vulnerability export staged.
    """
    manifests = shard_manifests(run)
    skipped: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    severities: dict[str, Counter[str]] = {}
    for manifest in manifests:
        skipped.update(manifest["skipped"])
        waiting.update(manifest.get("waiting", {}))
        for account, counts in manifest["severities"].items():
            severities.setdefault(account, Counter()).update(counts)
    destinations: dict[str, DestinationCounts] = {}
    changed_states: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    unserved = unserved_by_account(manifests)
    refusals = _Refusals(run, plan, manifests)
    for entry in destinations_of(manifests):
        delivered = Receipts(run, entry["account"], entry["region"], entry["parts"]).counts()
        compared, changed = _compared(run, entry)
        changed_states.update(changed)
        left = entry["findings"] - delivered["accepted"] - sum(delivered["rejected"].values()) - not_sent(compared)
        if left and refusals.at_import(entry["account"], entry["region"], left):
            # The destination refused all of them, so they count as if the transform had left them out.
            entry["findings"] -= left
            skipped[DESTINATION_REFUSED] += left
            of_account = unserved.setdefault(entry["account"], {})
            of_account[DESTINATION_REFUSED] = of_account.get(DESTINATION_REFUSED, 0) + left
        destinations[f"{entry['account']}/{entry['region']}"] = {
            "findings": entry["findings"],
            "accepted": delivered["accepted"],
            "rejected": delivered["rejected"],
            "calls": delivered["calls"],
            **compared,
        }
        rejected.update(delivered["rejected"])
    ledger: Ledger = {
        "window": {"since": plan["window"]["since"], "until": plan["window"]["until"], "kind": plan["window"]["kind"]},
        "dry_run": plan["settings"]["dry_run"],
        "exported": exported,
        "unparked": sum(manifest["read"] for manifest in manifests if manifest["from_pool"]),
        "read": sum(manifest["read"] for manifest in manifests),
        "skipped": dict(sorted(skipped.items())),
        "unserved": dict(sorted(unserved.items())),
        "refused": refusals.found,
        "parked": sum(manifest["parked"] for manifest in manifests),
        "waiting": dict(sorted(waiting.items())),
        # Of the findings, those of assets that are not EC2 instances.
        "not_ec2": sum(manifest.get("not_ec2", 0) for manifest in manifests),
        "findings": sum(entry["findings"] for entry in destinations.values()),
        "accepted": sum(entry["accepted"] for entry in destinations.values()),
        "rejected": dict(sorted(rejected.items())),
        "unchanged": sum(entry.get("unchanged", 0) for entry in destinations.values()),
        "superseded": sum(entry.get("superseded", 0) for entry in destinations.values()),
        "never_imported": sum(entry.get("never_imported", 0) for entry in destinations.values()),
        "sent": dict(
            sorted(sum((Counter(entry.get("sent", {})) for entry in destinations.values()), Counter()).items())
        ),
        "reopened": changed_states.pop(REOPENED, 0),
        "remapped": changed_states.pop(REMAPPED, 0),
        "archived": dict(sorted(changed_states.items())),
        "full": bool(plan.get("hubs", {}).get("full", False)),
        "severities": {account: dict(sorted(counts.items())) for account, counts in sorted(severities.items())},
        "destinations": destinations,
        "watermark": {"before": plan["window"]["watermark"]},
        "complete": False,
    }
    if audits := _audits(manifests):
        ledger["audits"] = audits
    if plan.get("resolves_instances") and (resolved := read_resolved(run)) is not None:
        ledger["resolved"] = resolved
    if (accepted := accepted_counts(run, plan, destinations_of(manifests))) is not None:
        ledger["accepted_risks"] = accepted
    if (gone := _gone(run)) is not None:
        ledger["gone"] = gone
    return ledger


def _audits(manifests: list[ShardManifest]) -> dict[str, dict[str, dict[str, int]]]:
    found: dict[str, dict[str, Counter[str]]] = {}
    for manifest in manifests:
        for account, audits in manifest.get("audits", {}).items():
            for audit, counts in audits.items():
                found.setdefault(account, {}).setdefault(audit, Counter()).update(counts)
    return {
        account: {audit: dict(sorted(counts.items())) for audit, counts in sorted(audits.items())}
        for account, audits in sorted(found.items())
    }


class _Refusals:
    """The accounts and hub Regions that refuse a run's findings.

    :ivar found: as in the ledger.
    """

    def __init__(self, run: RunFolder, plan: RunPlan, manifests: list[ShardManifest]) -> None:
        self._run = run
        self._reached = places.accepted_before(run)
        self.found: dict[str, RefusedEntry] = {}
        for manifest in manifests:
            for place, records in manifest.get("refused", {}).items():
                self._add(place, records, plan.get("refused", {}).get(place, "not on record"))

    def at_import(self, account: str, region: str, left: int) -> bool:
        """Whether the import was refused; ``left`` are the findings that are neither accepted nor rejected."""
        why = refusal_of_place(self._run, account, region)
        if why is not None:
            self._add(f"{account}/{region}", left, why)
        return why is not None

    def _add(self, place: str, records: int, why: str) -> None:
        entry = self.found.setdefault(place, {"records": 0, "why": why, "reached": place in self._reached})
        entry["records"] += records


def _compared(run: RunFolder, entry: Delivery) -> tuple[_Compared, dict[str, int]]:
    """What was not sent, and why the rest was; and whose states have changed. Nothing where an older release imports,
    or nothing was compared yet.
    """
    parts = list(zip(entry["parts"], entry["lines"], strict=True))
    head = read_head(run.compared(entry["account"], entry["region"]), parts)
    if head is None:
        return {}, {}
    sent = {verdict.key: count for verdict in SENT if (count := head.counts.get(verdict.key, 0))}
    return {
        "unchanged": head.not_sent["unchanged"],
        "superseded": head.not_sent["superseded"],
        "never_imported": head.not_sent["never_imported"],
        "sent": sent,
    }, head.changed_states


def _gone(run: RunFolder) -> GoneCounts | None:
    """What was archived of that of which the run saw nothing; None where the run archives nothing."""
    planned = read_json(run.archiving)
    if planned is None:
        return None
    archived: Counter[str] = Counter()
    not_archived: Counter[str] = Counter()
    left: Counter[str] = Counter()
    stopped = {}
    left_destinations = dict(planned["left"])
    missing = 0
    for name in planned["destinations"]:
        folder = run.gone(*name.split("/"))
        if (gone := read_gone(folder)) is None:
            left_destinations[name] = LIST_DAMAGED
            continue
        done, of_hub, refused = outcome_of(gone, read_archived(folder))
        archived.update(done)
        not_archived.update(refused)
        left.update(gone.left)
        missing += of_hub
        if gone.stopped:
            stopped[name] = sum(gone.stopped.values())
    return {
        "archived": dict(sorted(archived.items())),
        "missing": missing,
        "not_archived": dict(sorted(not_archived.items())),
        "stopped": stopped,
        "left": dict(sorted(left.items())),
        "left_destinations": left_destinations,
        "why_not": planned["why_not"],
    }


def not_sent(counts: DestinationCounts | Ledger | _Compared) -> int:
    """Findings that need no sending: Security Hub CSPM has them, a later run knows better, or they never were there."""
    return counts.get("unchanged", 0) + counts.get("superseded", 0) + counts.get("never_imported", 0)
