"""Counters, so that tests can check how a caller behaved."""

from collections import Counter
from typing import Any

COUNTS = ("calls", "received", "created", "updated", "ignored", "failed")


class Stats:
    """Counters of the AWS side.

    `calls` are the authenticated calls by operation, refused and faulted ones too; `places` the same by `operation
    account/region`.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        self.calls.clear()
        self.throttled = 0
        self.refused: Counter[str] = Counter()
        self.largest_batch = 0
        self.largest_body = 0
        self.max_in_flight = 0
        self._in_flight: Counter[str] = Counter()
        self._imports: dict[str, Counter[str]] = {}
        self.places: Counter[str] = Counter()

    def arrived(self, operation: str, place: str) -> None:
        """A call begins.

        :param place: `account/region` of the caller
        """
        self.calls[operation] += 1
        self.places[f"{operation} {place}"] += 1
        if operation == "BatchImportFindings":
            counter = self._place(place)
            counter["calls"] += 1
            self._in_flight[place] += 1
            counter["max_in_flight"] = max(counter["max_in_flight"], self._in_flight[place])
            self.max_in_flight = max(self.max_in_flight, self._in_flight.total())

    def left(self, operation: str, place: str) -> None:
        """A call ends."""
        if operation == "BatchImportFindings":
            self._in_flight[place] -= 1

    def throttle(self, operation: str, place: str) -> None:
        """A call was answered 429."""
        self.throttled += 1
        if operation == "BatchImportFindings":
            self._place(place)["throttled"] += 1

    def batch(self, place: str, findings: int, body: int) -> None:
        """A batch came in, `body` bytes long."""
        self.largest_batch = max(self.largest_batch, findings)
        self.largest_body = max(self.largest_body, body)
        self._place(place)["received"] += findings

    def outcome(self, place: str, outcome: str) -> None:
        """One finding of a batch was created, updated, ignored or failed."""
        self._place(place)[outcome] += 1

    def imports(self) -> dict[str, int]:
        """Sums over all accounts and Regions."""
        total: Counter[str] = Counter()
        for counter in self._imports.values():
            total.update(counter)
        return {name: total[name] for name in COUNTS}

    def ingestion_events(self) -> dict[str, int]:
        """By `account/region`: findings that were created or updated, each of which Security Hub counts as an event
        and reports to EventBridge. Whether an import that it ignores counts too is not documented; here it does not.
        """
        return {place: counter["created"] + counter["updated"] for place, counter in sorted(self._imports.items())}

    def as_json(self) -> dict[str, Any]:
        """What `GET /_sandbox/stats` adds to `calls`."""
        return {
            "throttled": self.throttled,
            "places": dict(sorted(self.places.items())),
            "refused": dict(self.refused),
            "largest_batch": self.largest_batch,
            "largest_body": self.largest_body,
            "max_in_flight": self.max_in_flight,
            "imports": self.imports(),
            "ingestion_events": self.ingestion_events(),
            "by": {
                place: {name: counter[name] for name in (*COUNTS, "throttled", "max_in_flight")}
                for place, counter in sorted(self._imports.items())
            },
        }

    def _place(self, place: str) -> Counter[str]:
        return self._imports.setdefault(place, Counter())
