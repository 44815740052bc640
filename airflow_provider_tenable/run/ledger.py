"""The ledger of a run: where every exported record ended. It adds up, or the run fails.

exported + unparked = sum(skipped) + parked + findings
findings            = accepted + sum(rejected)
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

from airflow_provider_tenable.exceptions import LedgerError, RejectedFindingsError, StagingError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_ID, LONGEST_MESSAGE, safe
from airflow_provider_tenable.guards.identifiers import invalid_target, is_part_name, shown
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines

log = logging.getLogger(__name__)

#: Reasons that stand for a broken record, not for a choice: they count for ``max_rejected_ratio``, as what Security Hub rejected does.
BROKEN = frozenset({"unreadable_record", "unmappable_record"})


def shard_manifests(run: RunFolder) -> list[dict[str, Any]]:
    """The manifests of all transform tasks. :raises StagingError: one is missing, or names what cannot be a place for findings."""
    planned = read_json(run.shards)
    if planned is None:
        raise StagingError(f"{run.shards} is not there: the transform was not planned. Clear the run's tasks from plan_shards on.")
    manifests = []
    for index in range(planned["count"]):
        manifest = read_json(run.shard_manifest(index))
        if manifest is None:
            raise StagingError(f"{run.shard_manifest(index)} is not there: shard {index} was not transformed. Clear its task.")
        if fault := _fault_of(manifest):
            raise StagingError(
                f"{run.shard_manifest(index)} was changed after it was written: {fault}. Nothing was read from it. Clear the task of shard {index}."
            )
        manifests.append(manifest)
    return manifests


def _fault_of(manifest: dict[str, Any]) -> str | None:
    """What in a manifest cannot become part of a path, an ARN or a connection look-up, in words."""
    parts = [manifest["rejected_part"], manifest["parked_part"]]
    for entry in manifest["destinations"]:
        if fault := invalid_target(**{name: entry[name] for name in ("account", "region", "aws_conn_id", "role_name")}):
            return fault
        parts += [part["name"] for part in entry["parts"]]
    return next((f"{shown(name)} is not the name of a staged part" for name in parts if name is not None and not is_part_name(name)), None)


def destinations_of(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry per account and hub Region: ``account, region, aws_conn_id, role_name, findings``, and of its parts the names and ``lines``."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for manifest in manifests:
        for entry in manifest["destinations"]:
            key = (entry["account"], entry["region"])
            target = found.setdefault(key, {**entry, "findings": 0, "parts": [], "lines": []})
            target["findings"] += sum(part["lines"] for part in entry["parts"])
            target["parts"] += [part["name"] for part in entry["parts"]]
            target["lines"] += [part["lines"] for part in entry["parts"]]
    return [found[key] for key in sorted(found)]


def build_ledger(run: RunFolder, plan: dict[str, Any], *, exported: int) -> dict[str, Any]:
    """Count what is on record.

    :param exported: records that the vulnerability export staged.
    """
    manifests = shard_manifests(run)
    skipped: Counter[str] = Counter()
    severities: dict[str, Counter[str]] = {}
    for manifest in manifests:
        skipped.update(manifest["skipped"])
        for account, counts in manifest["severities"].items():
            severities.setdefault(account, Counter()).update(counts)
    destinations: dict[str, Any] = {}
    rejected: Counter[str] = Counter()
    for entry in destinations_of(manifests):
        counts = Receipts(run, entry["account"], entry["region"], entry["parts"]).counts()
        destinations[f"{entry['account']}/{entry['region']}"] = {"findings": entry["findings"], **counts}
        rejected.update(counts["rejected"])
    return {
        "window": {name: plan["window"][name] for name in ("since", "until", "kind")},
        "dry_run": plan["settings"]["dry_run"],
        "exported": exported,
        "unparked": sum(manifest["read"] for manifest in manifests if manifest["from_pool"]),
        "read": sum(manifest["read"] for manifest in manifests),
        "skipped": dict(sorted(skipped.items())),
        "unserved": unserved_by_account(manifests),
        "parked": sum(manifest["parked"] for manifest in manifests),
        # Of the findings, those of assets that are not EC2 instances.
        "not_ec2": sum(manifest.get("not_ec2", 0) for manifest in manifests),
        "findings": sum(manifest["findings"] for manifest in manifests),
        "accepted": sum(entry["accepted"] for entry in destinations.values()),
        "rejected": dict(sorted(rejected.items())),
        "severities": {account: dict(sorted(counts.items())) for account, counts in sorted(severities.items())},
        "destinations": destinations,
        "watermark": {"before": plan["window"]["watermark"]},
        "complete": False,
    }


def unserved_by_account(manifests: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Records of AWS accounts that found no destination: account -> reason -> records. They are among the skipped ones."""
    found: dict[str, Counter[str]] = {}
    for manifest in manifests:
        # A shard that an older release transformed does not have it.
        for account, reasons in manifest.get("unserved", {}).items():
            found.setdefault(account, Counter()).update(reasons)
    return {account: dict(sorted(reasons.items())) for account, reasons in sorted(found.items())}


def check_sums(ledger: dict[str, Any]) -> None:
    """:raises LedgerError: a sum does not add up; the text has both sides."""
    wrong = []
    came, went = ledger["exported"] + ledger["unparked"], sum(ledger["skipped"].values()) + ledger["parked"] + ledger["findings"]
    if came != went or ledger["read"] != came:
        wrong.append(f"exported {ledger['exported']} + unparked {ledger['unparked']} = {came}, of which {ledger['read']} were read and {went} accounted for")
    for name, entry in {"all": ledger, **ledger["destinations"]}.items():
        delivered = entry["accepted"] + sum(entry["rejected"].values())
        if delivered != entry["findings"] and not ledger["dry_run"]:
            wrong.append(f"{name}: {entry['findings']} findings, but {delivered} accepted or rejected")
    if sum(entry["findings"] for entry in ledger["destinations"].values()) != ledger["findings"]:
        wrong.append("the findings of the destinations are not those of the run")
    if wrong:
        raise LedgerError(f"The ledger does not add up: {'; '.join(wrong)}. The watermark stays. Clear the failed tasks, or the run.")


def check_rejected(ledger: dict[str, Any], run: RunFolder, max_ratio: float) -> None:
    """:raises RejectedFindingsError: too many were rejected; the text has the top reasons with an example each."""
    broken = {reason: count for reason, count in ledger["skipped"].items() if reason in BROKEN}
    reasons = Counter({**ledger["rejected"], **broken})
    rejected, of = reasons.total(), ledger["findings"] + sum(broken.values())
    if not rejected:
        return
    # Divided, since 0.29 * 100 is less than 29.
    if rejected / of <= max_ratio:
        # Alarms look for "findings were rejected" (deploy/cloudformation/alarms.yaml), which the error below says too.
        counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(5))
        log.warning(
            "%d of %d findings were rejected, as max_rejected_ratio %g allows: %s. The report says where they are.", rejected, of, max_ratio, shown(counts)
        )
        return
    examples = {}
    for line in rejected_lines(run):
        if line["code"] not in examples:
            examples[line["code"]] = f"{safe(line['id'] or 'no id', LONGEST_ID)}: {safe(line['message'], LONGEST_MESSAGE)}"
    top = "; ".join(f"{count} x {safe(reason, LONGEST_CODE)} (such as {examples.get(reason, 'none on record')})" for reason, count in reasons.most_common(5))
    raise RejectedFindingsError(
        f"{rejected} of {of} findings were rejected, more than max_rejected_ratio {max_ratio:g} allows: {top}. The watermark stays. "
        f"All of them are in {run.rejected}. Mend the cause and run again, or raise max_rejected_ratio to leave them on record."
    )


def rejected_lines(run: RunFolder) -> Iterator[dict[str, Any]]:
    """All that the run has put aside: ``{"id", "account", "region", "code", "message", "finding"}``, what could not be mapped first.

    What an earlier pass of a cleared run had put aside, and the present one has not, does not count.

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
