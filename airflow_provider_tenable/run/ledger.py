"""The ledger of a run: the results of all exported records. If it does not add up, the run fails.

exported + unparked = sum(skipped) + parked + findings
findings            = accepted + sum(rejected) + unchanged + superseded + never_imported
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any, NotRequired, TypedDict

from airflow_provider_tenable.exceptions import LedgerError, RejectedFindingsError, StagingError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_ID, LONGEST_MESSAGE, safe
from airflow_provider_tenable.guards.identifiers import invalid_target, is_part_name, is_place, is_pool_part, shown
from airflow_provider_tenable.run import places
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.security_hub.assignment import Target
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.security_hub.refusals import refusal_of_place
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.state.archive import outcome_of, read_archived
from airflow_provider_tenable.state.decisions import read_head
from airflow_provider_tenable.state.gone import read_gone
from airflow_provider_tenable.state.verdicts import SENT
from airflow_provider_tenable.transform import duplicates
from airflow_provider_tenable.transform.manifest import GIVEN_UP, ShardManifest
from airflow_provider_tenable.transform.routing import DESTINATION_REFUSED

log = logging.getLogger(__name__)

#: Number of rejected findings that is tolerated whatever max_rejected_ratio is, unless that is 0.
TOLERATED = 10

#: Reasons for a broken or lost record, as opposed to one that was left out on purpose: like rejected findings, they
#: count for ``max_rejected_ratio``.
BROKEN = frozenset({"unreadable_record", "unmappable_record", GIVEN_UP})


_ADVICE_ON_GIVEN_UP = (
    f" {GIVEN_UP} means that no export contained the asset for [tenable] parked_days: give the API user 'Can View' on "
    "these assets, or leave the records on record, and replay them with tenable_replay_rejected once Tenable exports "
    "the assets."
)


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
    full: NotRequired[bool]
    # What was archived, or was to be, because Tenable does not report it any more.
    gone: NotRequired[GoneCounts]
    severities: dict[str, dict[str, int]]
    destinations: dict[str, DestinationCounts]
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


class Delivery(TypedDict):
    """The staged findings of one account and hub Region, of all shards: names of the parts, and findings in each."""

    account: str
    region: str
    aws_conn_id: str | None
    role_name: str | None
    external_id: str | None
    findings: int
    parts: list[str]
    lines: list[int]


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


def shard_manifests(run: RunFolder) -> list[ShardManifest]:
    """The manifests of all transform tasks, and of the selection among findings with the same id.

    :raises StagingError: one is missing, or names an invalid destination or file.
    """
    planned = read_json(run.shards)
    if planned is None:
        raise StagingError(
            f"{run.shards} is missing: the transform was not planned. Clear the run's tasks from plan_shards on."
        )
    manifests = []
    for index in range(planned["count"]):
        manifest = read_json(run.shard_manifest(index))
        if manifest is None:
            raise StagingError(
                f"{run.shard_manifest(index)} is missing: shard {index} was not transformed. Clear its task."
            )
        if fault := _fault_of(manifest):
            raise StagingError(
                f"{run.shard_manifest(index)} was changed after it was written: {fault}. Nothing was read from it. "
                f"Clear the task of shard {index}."
            )
        manifests.append(manifest)
    chosen = duplicates.resolved(run, manifests)
    return [*manifests, chosen] if chosen else manifests


def _fault_of(manifest: ShardManifest) -> str | None:
    """The value in a manifest that must not become part of a path, an ARN or a connection look-up, in words; None if
    all of them are valid.
    """
    if (place := next((place for place in manifest.get("refused", {}) if not is_place(place)), None)) is not None:
        return f"{shown(place)} is not an account and Region"
    if (name := next((name for name in manifest.get("pool_parts", []) if not is_pool_part(name)), None)) is not None:
        return f"{shown(name)} is not the name of a part of the pool of waiting records"
    parts = [manifest["rejected_part"], manifest["parked_part"], manifest.get("contested_part")]
    parts += manifest.get("waiting_parts", [])
    for entry in manifest["destinations"]:
        if fault := invalid_target(
            account=entry["account"],
            region=entry["region"],
            aws_conn_id=entry["aws_conn_id"],
            role_name=entry["role_name"],
            external_id=entry.get("external_id"),
        ):
            return fault
        parts += [part["name"] for part in entry["parts"]]
    return next(
        (
            f"{shown(name)} is not the name of a staged part"
            for name in parts
            if name is not None and not is_part_name(name)
        ),
        None,
    )


def destinations_of(manifests: list[ShardManifest]) -> list[Delivery]:
    """One entry per account and hub Region, sorted, with the parts of all manifests."""
    found: dict[tuple[str, str], Delivery] = {}
    for manifest in manifests:
        for entry in manifest["destinations"]:
            key = (entry["account"], entry["region"])
            empty: Delivery = {
                "account": entry["account"],
                "region": entry["region"],
                "aws_conn_id": entry["aws_conn_id"],
                "role_name": entry["role_name"],
                "external_id": entry.get("external_id"),
                "findings": 0,
                "parts": [],
                "lines": [],
            }
            target = found.setdefault(key, empty)
            target["findings"] += sum(part["lines"] for part in entry["parts"])
            target["parts"] += [part["name"] for part in entry["parts"]]
            target["lines"] += [part["lines"] for part in entry["parts"]]
    return [found[key] for key in sorted(found)]


def targets_of(manifests: list[ShardManifest]) -> list[Target]:
    """The same as :func:`destinations_of`, as targets of import tasks."""
    return [
        Target(
            destination["account"],
            destination["region"],
            destination["aws_conn_id"],
            destination["role_name"],
            list(zip(destination["parts"], destination["lines"], strict=True)),
            destination["external_id"],
        )
        for destination in destinations_of(manifests)
    ]


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
    rejected: Counter[str] = Counter()
    unserved = unserved_by_account(manifests)
    refusals = _Refusals(run, plan, manifests)
    for entry in destinations_of(manifests):
        delivered = Receipts(run, entry["account"], entry["region"], entry["parts"]).counts()
        compared = _compared(run, entry)
        needless = compared.get("unchanged", 0) + compared.get("superseded", 0) + compared.get("never_imported", 0)
        left = entry["findings"] - delivered["accepted"] - sum(delivered["rejected"].values()) - needless
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
        "full": bool(plan.get("hubs", {}).get("full", False)),
        "severities": {account: dict(sorted(counts.items())) for account, counts in sorted(severities.items())},
        "destinations": destinations,
        "watermark": {"before": plan["window"]["watermark"]},
        "complete": False,
    }
    if (gone := _gone(run)) is not None:
        ledger["gone"] = gone
    return ledger


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


def _compared(run: RunFolder, entry: Delivery) -> _Compared:
    """What was not sent, and why the rest was; nothing where an older release imports, or nothing was compared yet."""
    parts = list(zip(entry["parts"], entry["lines"], strict=True))
    head = read_head(run.compared(entry["account"], entry["region"]), parts)
    if head is None:
        return {}
    sent = {verdict.key: count for verdict in SENT if (count := head.counts.get(verdict.key, 0))}
    return {
        "unchanged": head.not_sent["unchanged"],
        "superseded": head.not_sent["superseded"],
        "never_imported": head.not_sent["never_imported"],
        "sent": sent,
    }


def _gone(run: RunFolder) -> GoneCounts | None:
    """What was archived of that of which the run saw nothing; None where the run archives nothing."""
    planned = read_json(run.archiving)
    if planned is None:
        return None
    archived: Counter[str] = Counter()
    not_archived: Counter[str] = Counter()
    left: Counter[str] = Counter()
    stopped = {}
    missing = 0
    for name in planned["destinations"]:
        folder = run.gone(*name.split("/"))
        if (gone := read_gone(folder)) is None:
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
        "left_destinations": planned["left"],
        "why_not": planned["why_not"],
    }


def unserved_by_account(manifests: list[ShardManifest]) -> dict[str, dict[str, int]]:
    """Skipped records of AWS accounts without a destination: account -> reason -> records."""
    found: dict[str, Counter[str]] = {}
    for manifest in manifests:
        # A shard that an older release transformed does not have it.
        for account, reasons in manifest.get("unserved", {}).items():
            found.setdefault(account, Counter()).update(reasons)
    return {account: dict(sorted(reasons.items())) for account, reasons in sorted(found.items())}


def check_sums(ledger: Ledger) -> None:
    """:raises LedgerError: a total does not add up; the message contains both sides."""
    wrong = []
    total_in, total_out = (
        ledger["exported"] + ledger["unparked"],
        sum(ledger["skipped"].values()) + ledger["parked"] + ledger["findings"],
    )
    if total_in != total_out or ledger["read"] != total_in:
        wrong.append(
            f"exported {ledger['exported']} + unparked {ledger['unparked']} = {total_in}, of which {ledger['read']} "
            f"were read and {total_out} accounted for"
        )
    counted = {name: (each["findings"], *_accounted_for(each)) for name, each in ledger["destinations"].items()}
    for name, (findings, delivered, needless) in {
        "all": (ledger["findings"], *_accounted_for(ledger)),
        **counted,
    }.items():
        if delivered + needless != findings and not ledger["dry_run"]:
            rest = f" and {needless} that need no sending" if needless else ""
            wrong.append(f"{name}: {findings} findings, but {delivered} accepted or rejected{rest}")
    if sum(entry["findings"] for entry in ledger["destinations"].values()) != ledger["findings"]:
        wrong.append("the findings of the destinations are not those of the run")
    if wrong:
        raise LedgerError(
            f"The ledger does not add up: {'; '.join(wrong)}. The watermark stays. Clear the failed tasks, or the run."
        )


def _accounted_for(counts: DestinationCounts | Ledger) -> tuple[int, int]:
    """Findings that were accepted or rejected, and that need no sending."""
    return counts["accepted"] + sum(counts["rejected"].values()), not_sent(counts)


def not_sent(counts: DestinationCounts | Ledger) -> int:
    """Findings that need no sending: Security Hub CSPM has them, a later run knows better, or they never were there."""
    return counts.get("unchanged", 0) + counts.get("superseded", 0) + counts.get("never_imported", 0)


def check_rejected(ledger: Ledger, run: RunFolder, max_ratio: float) -> None:
    """Check the number of rejected findings.

    Up to :data:`TOLERATED` are accepted whatever their share, so that a finding that is always rejected does not stop a
    DAG with small runs; with a ratio of 0 none are.

    :raises RejectedFindingsError: too many were rejected; the message has the most frequent reasons, each with an
        example.
    """
    broken = {reason: count for reason, count in ledger["skipped"].items() if reason in BROKEN}
    reasons = Counter({**ledger["rejected"], **broken})
    rejected, of = reasons.total(), ledger["findings"] + sum(broken.values())
    if not rejected:
        return
    # Divided, since 0.29 * 100 is less than 29.
    if rejected / of <= max_ratio or (max_ratio > 0 and rejected <= TOLERATED):
        # Alarms look for "findings were rejected" (deploy/cloudformation/alarms.yaml), as in the error below.
        counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(5))
        log.warning(
            "%d of %d findings were rejected, as max_rejected_ratio %g (or a count of up to %d) allows: %s. The "
            "report shows where they are.",
            rejected,
            of,
            max_ratio,
            TOLERATED,
            shown(counts),
        )
        return
    examples = {}
    for line in rejected_lines(run):
        if line["code"] not in examples:
            examples[line["code"]] = (
                f"{safe(line['id'] or 'no id', LONGEST_ID)}: {safe(line['message'], LONGEST_MESSAGE)}"
            )
    top = "; ".join(
        f"{count} x {safe(reason, LONGEST_CODE)} (such as {examples.get(reason, 'none on record')})"
        for reason, count in reasons.most_common(5)
    )
    raise RejectedFindingsError(
        f"{rejected} of {of} findings were rejected, more than max_rejected_ratio {max_ratio:g} allows: {top}. The "
        f"watermark stays. All of them are in {run.rejected}. Fix the cause and run again, or raise max_rejected_ratio "
        f"to leave them on record.{_ADVICE_ON_GIVEN_UP if GIVEN_UP in reasons else ''}"
    )


def rejected_lines(run: RunFolder) -> Iterator[dict[str, Any]]:
    """All rejections of the run: ``{"id", "account", "region", "code", "message", "finding"}``, first the records that
    could not be mapped.

    Rejections of an earlier attempt of a cleared run that do not occur in the current one do not count.

    :raises StagingError: a part is missing or damaged.
    """
    import msgspec

    manifests = shard_manifests(run)
    for manifest in manifests:
        if manifest["rejected_part"]:
            yield from map(msgspec.json.decode, read_lines(run.rejected / manifest["rejected_part"]))
    for entry in destinations_of(manifests):
        for name in Receipts(run, entry["account"], entry["region"], entry["parts"]).rejected_names:
            for line in map(msgspec.json.decode, read_lines(run.rejected / name)):
                if line["part"] in entry["parts"]:
                    yield line
