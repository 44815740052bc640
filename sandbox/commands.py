"""The commands for a running sandbox: what the hub holds, one finding, moving the clock."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def hub(aws: str) -> str:
    """What the hub holds, as a table: findings by account, region, state and severity."""
    summary = _ask(f"{aws}/_sandbox/summary")
    counts: Counter[tuple[str, str, str]] = Counter()
    for row in summary["by"]:
        counts[f"{row['account']}  {row['region']}", row["record_state"], row["severity"]] += row["count"]
    lines = [
        f"{'account':14}{'region':16}{'state':10}"
        + "".join(f"{severity:>15}" for severity in SEVERITIES)
        + f"{'total':>10}"
    ]
    for place, state in sorted({(place, state) for place, state, _ in counts}):
        account, _, region = place.partition("  ")
        row_counts = [counts[place, state, severity] for severity in SEVERITIES]
        cells = "".join(f"{count:>15,}" for count in row_counts)
        lines.append(f"{account:14}{region:16}{state:10}{cells}{sum(row_counts):>10,}")
    lines.append(f"{summary['total']:,} findings in all.")
    imports = summary.get("imports", {})
    if imports:
        lines.append("Imports: " + ", ".join(f"{count:,} {name}" for name, count in imports.items()) + ".")
    return "\n".join(lines)


def finding(aws: str, finding_id: str) -> str:
    """One finding in full, as JSON; SystemExit when there is none of that id."""
    found = _ask(f"{aws}/_sandbox/findings?{urlencode({'id': finding_id})}")["findings"]
    if not found:
        raise SystemExit(f"The hub holds no finding {finding_id}")
    return "\n".join(json.dumps(document, indent=2, ensure_ascii=False) for document in found)


def advance(tenable: str, duration: str) -> str:
    """Move the sandbox's clock forward, and return the new time as text."""
    now = _ask(f"{tenable}/_sandbox/clock", {"advance_seconds": seconds_of(duration)})["now"]
    return f"It is now {datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC in the sandbox."


def seconds_of(duration: str) -> float:
    """`90`, `90s`, `30m`, `12h` or `1.5d` in seconds; ValueError for anything else."""
    number, unit = (duration[:-1], duration[-1:]) if duration[-1:] in UNITS else (duration, "s")
    try:
        return float(number) * UNITS[unit]
    except ValueError as error:
        raise ValueError(f"{duration!r} is not a duration; write 90s, 30m, 12h or 1d.") from error


def _ask(url: str, body: Any = None) -> Any:
    request = Request(url, None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except HTTPError as error:
        raise SystemExit(f"{url} answered {error.code}: {error.read().decode(errors='replace')}") from error
    except URLError as error:
        raise SystemExit(f"No sandbox answers at {url} ({error.reason}). Start one with: python -m sandbox") from error
