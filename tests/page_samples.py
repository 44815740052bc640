"""A staging area of many runs and accounts, as the tasks of runs leave it, for the tests of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_provider_tenable.staging.files import read_json, write_json, write_whole
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import write_lines

DAG_ID = "tenable_to_security_hub"
#: 2026-11-27T00:00:00Z, the end of the latest run.
NOW = 1_795_737_600
DAY = 86_400
#: What a person who means harm would write into a text that ends on the page.
HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>{{ 7 * 7 }}\x1b[31m\u202e"""
SEVERITIES = ("critical", "high", "medium", "low", "info")


def counts(**change: Any) -> dict[str, Any]:
    """The counts of a run that add up."""
    return {
        "exported": 1_200,
        "unparked": 10,
        "skipped": {"no_ec2_instance": 150, "account_not_configured": 40},
        "parked": 20,
        "findings": 1_000,
        "accepted": 300,
        "rejected": {"InvalidInput": 2},
        "sent": {"created": 120, "updated": 100, "archived": 70, "refreshed": 12},
        "unchanged": 690,
        "superseded": 5,
        "never_imported": 3,
        "reopened": 4,
        "archived": {"fixed": 70, "not_reported": 12},
        "not_archived": {},
        **change,
    }


def history_entry(number: int, **change: Any) -> dict[str, Any]:
    """A complete run, ``number`` days before the latest one."""
    at = NOW - number * DAY
    return {
        "run_id": f"scheduled__{number:05d}",
        "at": at,
        "complete": True,
        "dry_run": False,
        "title": "Complete: every record is accounted for",
        "kind": "incremental",
        "full": number % 7 == 0,
        "watermark": at - 600,
        "counts": counts(sent={"created": 40 + number % 9 * 20, "updated": 60 + number % 5 * 10, "archived": 70}),
        **change,
    }


def active(number: int = 0) -> dict[str, Any]:
    """Active findings of a hub."""
    return {
        "by_severity": {"critical": 3 + number % 7, "high": 40 + number % 31, "medium": 90, "low": 30},
        "median_days": 12,
        "oldest_days": 200 + number,
        "overdue": {"critical": 1, "high": 4},
    }


def place(number: int) -> str:
    """An account and Region."""
    return f"{111122223333 + number:012d}/{('eu-west-1', 'us-east-1')[number % 2]}"


def write_samples(
    staging: Path | str, *, runs: int = 45, places: int = 6, dag_id: str = DAG_ID, status: dict[str, Any] | None = None
) -> RunFolder:
    """Write the status and the history.

    :param staging: folder or URI of the staging area.

    :return: the folder of the latest run.
    """
    entries = [history_entry(number) for number in reversed(range(runs))]
    folder = RunFolder(staging if isinstance(staging, str) else f"file://{staging}", dag_id, entries[-1]["run_id"])
    hubs = {
        "total": {
            "by_severity": {name: count * places for name, count in active()["by_severity"].items()},
            "median_days": 12,
            "oldest_days": 200,
            "overdue": {"critical": places, "high": 4 * places},
        },
        "places": {place(number): active(number) for number in range(places)},
        "unknown": [],
    }
    write_json(folder.history, {"version": 1, "runs": entries[-1_000:]})
    write_json(
        folder.status,
        {
            "version": 1,
            "dag_id": dag_id,
            "run_id": folder.run_id,
            "at": NOW,
            "watermark": NOW - 600,
            "window": {"kind": "incremental", "since": NOW - DAY, "until": NOW, "bounded": False, "watermark": None},
            "full": False,
            "counts": counts(),
            "stopped": {},
            "refused": {},
            "unserved": {"222233334444": {"account_not_configured": 40}},
            "unserved_accounts": 1,
            "rejected_at": str(folder.rejected),
            "hubs": hubs,
            **(status or {}),
        },
    )
    return folder


def write_rejected(run: RunFolder, lines: list[dict[str, Any]], *, account: str, region: str, shard: int = 0) -> None:
    """What an import writes of findings that were rejected: its receipts, the part, and the run's ledger.

    :param shard: the transform task whose findings they are; one more for each account and Region.
    """
    import msgspec

    part = f"part-{shard:04d}-00000.jsonl.zst"
    write_json(
        run.shard_manifest(shard),
        {
            "shard": shard,
            "read": len(lines),
            "from_pool": False,
            "skipped": {},
            "skipped_accounts": [],
            "findings": len(lines),
            "pool_parts": [],
            "parked": 0,
            "parked_part": None,
            "rejected_part": None,
            "severities": {},
            "unserved": {},
            "destinations": [
                {
                    "account": account,
                    "region": region,
                    "aws_conn_id": "aws_default",
                    "role_name": None,
                    "parts": [{"name": part, "lines": len(lines), "bytes": 1}],
                }
            ],
        },
    )
    write_json(run.shards, {"count": shard + 1})
    name = f"part-{account}-{region}-00000.jsonl.gz"
    write_lines(run.rejected, name.removesuffix(".jsonl.gz"), [msgspec.json.encode({"part": part, **x}) for x in lines])
    head = {"calls": 1, "rejected_parts": 1}
    entry = {"part": part, "lines": [[0, len(lines) - 1]], "accepted": 0, "rejected": {"InvalidInput": len(lines)}}
    write_whole(run.receipts(account, region), b"\n".join(map(msgspec.json.encode, (head, entry))))
    destinations = (read_json(run.ledger) or {"destinations": {}})["destinations"]
    destinations[f"{account}/{region}"] = {"rejected": {"InvalidInput": len(lines)}}
    write_json(run.ledger, {"destinations": destinations})
