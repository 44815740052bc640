"""How long a hundred million findings take in deployments of several sizes, from the stages of the run at size."""

from __future__ import annotations

from typing import Any

Rows = list[tuple[str, ...]]

FINDINGS, ACCOUNTS = 100_000_000, 100
#: Findings that BatchImportFindings takes in a second, per account and Region.
_QUOTA = 1000
#: Stages that are spread over tasks: shards of the transform, and accounts and Regions of the import.
_SPREAD = ("transform", "import")
_MWAA_WORKERS = 10
#: Each deployment and its cores. Classes of Amazon MWAA have 1 to 16 vCPUs a worker:
#: https://docs.aws.amazon.com/mwaa/latest/userguide/environment-class.html
DEPLOYMENTS = (
    ("one worker of 2 cores", 2),
    ("Celery, 4 workers of 2 cores", 8),
    ("Celery, 16 workers of 2 cores", 32),
    *(
        (f"Amazon MWAA, {_MWAA_WORKERS} workers of {name}", _MWAA_WORKERS * cores)
        for name, cores in (("mw1.small", 1), ("mw1.medium", 2), ("mw1.large", 4), ("mw1.xlarge", 8))
    ),
)


def seconds(day: dict[str, Any], cores: int, findings: int = FINDINGS, accounts: int = ACCOUNTS) -> dict[str, float]:
    """Stage -> seconds that it takes. A stage that is not spread runs on one core, and the import waits for the quota.

    :param day: a day of the run at size, whose cost per finding is that of any size.
    :param accounts: the accounts and Regions, with equally many findings.
    """
    found = {}
    for name, stage in day["stages"].items():
        cpu = findings * stage["cpu"] / day["findings"]
        found[name] = cpu / cores if name in _SPREAD else cpu
    sent = findings * day["sent"] / day["findings"]
    found["import"] = max(found["import"], sent / accounts / _QUOTA)
    return found


def deployments(days: list[dict[str, Any]]) -> list[tuple[str, int, list[dict[str, float]]]]:
    """Each deployment, its cores, and the seconds of each day's stages."""
    return [(name, cores, [seconds(day, cores) for day in days]) for name, cores in DEPLOYMENTS]


__all__ = ["ACCOUNTS", "DEPLOYMENTS", "FINDINGS", "deployments", "seconds"]
