"""Records what Security Hub acknowledged for one destination, so that a retry resumes after it.

The receipts of a destination are one JSON-lines file, always written atomically: a line with the number of calls, then
one line per part with the results for its findings. A part's name contains a digest of its content, so a receipt can
only refer to the findings that were sent. A rejected finding is on disk before the receipt that counts it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.redaction import scrub
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import FORMAT, content_of, newer_format, write_whole
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import write_lines


class _Lines:
    """A compact set of line numbers: every number below a mark, plus the few acknowledged out of order. A million
    numbers take hardly any memory.
    """

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._below = 0
        self._beyond: set[int] = set()
        for number in numbers:
            self.add(number)

    def __contains__(self, number: int) -> bool:
        return number < self._below or number in self._beyond

    def __len__(self) -> int:
        return self._below + len(self._beyond)

    def add(self, number: int) -> None:
        if number != self._below:
            if number > self._below:
                self._beyond.add(number)
            return
        self._below += 1
        while self._below in self._beyond:
            self._beyond.remove(self._below)
            self._below += 1

    def add_range(self, first: int, last: int) -> None:
        """Add the numbers from first to last, none of which is in the set yet."""
        if first != self._below:
            self._beyond.update(range(first, last + 1))
            return
        self._below = last + 1
        while self._below in self._beyond:
            self._beyond.remove(self._below)
            self._below += 1

    def ranges(self) -> list[list[int]]:
        """First and last of each range of consecutive numbers."""
        # The numbers beyond do not start directly after the mark: there is a gap.
        return ([[0, self._below - 1]] if self._below else []) + _ranges(self._beyond)


class _Range(msgspec.Struct, array_like=True, frozen=True):
    """The first and last of consecutive line numbers. There may be thousands of ranges. The garbage collector does not
    track a struct of integers; as many lists would make it traverse everything that Airflow has loaded.
    """

    first: int
    last: int


class _Head(msgspec.Struct):
    calls: int
    rejected_parts: int
    format: int = FORMAT


class _Entry(msgspec.Struct):
    part: str
    lines: list[_Range]
    accepted: int
    rejected: dict[str, int]
    refused: list[_Range] = []


_ENTRY = msgspec.json.Decoder(_Entry)


def _numbers(ranges: list[_Range]) -> Iterator[int]:
    return chain.from_iterable(range(each.first, each.last + 1) for each in ranges)


@dataclass
class _PartReceipt:
    """The lines of a part that do not have to be sent any more, and their results."""

    done: _Lines = field(default_factory=_Lines)
    refused: _Lines = field(default_factory=_Lines)
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


class Receipts:
    """The receipts of one account and Region, for the current parts of the run.

    :param parts: names of the findings' parts; receipts of other parts are dropped.
    :ivar calls: calls that received a response.
    """

    def __init__(self, run: RunFolder, account: str, region: str, parts: Iterable[str]) -> None:
        self.run = run
        self.account = account
        self.region = region
        self.path = run.receipts(account, region)
        self.calls = 0
        self._rejected_parts = 0
        self._receipts = {part: _PartReceipt() for part in parts}
        self._unwritten: list[bytes] = []
        self._load()

    def _load(self) -> None:
        try:
            first, *rest = content_of(self.path).splitlines()
            head = msgspec.json.decode(first, type=_Head)
            self.calls, self._rejected_parts = head.calls, head.rejected_parts
            if head.format > FORMAT:
                raise newer_format(self.path, head.format)
            for entry in map(_ENTRY.decode, rest):
                if entry.part in self._receipts:
                    done, refused = _Lines(_numbers(entry.lines)), _Lines(_numbers(entry.refused))
                    if len(done) != entry.accepted + sum(entry.rejected.values()):
                        raise ValueError(f"the counts of {entry.part} do not add up")
                    self._receipts[entry.part] = _PartReceipt(done, refused, entry.accepted, Counter(entry.rejected))
        except FileNotFoundError:
            return
        except (msgspec.DecodeError, ValueError) as error:
            raise StagingError(
                f"The receipts {self.path} are damaged ({safe(error)}). Remove the file and clear the import: "
                "sending findings again does not change anything."
            ) from error

    @property
    def rejected_names(self) -> list[str]:
        """The names of the parts in ``rejected/`` that belong to these receipts."""
        return [self._rejected_name(number) for number in range(self._rejected_parts)]

    def _rejected_name(self, number: int) -> str:
        return f"part-{self.account}-{self.region}-{number:05d}.jsonl.gz"

    @property
    def accepted(self) -> int:
        """Findings that Security Hub acknowledged."""
        return sum(receipt.accepted for receipt in self._receipts.values())

    @property
    def rejected(self) -> Counter[str]:
        """Findings that Security Hub permanently rejected, by code."""
        return sum((receipt.rejected for receipt in self._receipts.values()), Counter())

    def is_done(self, part: str, line: int) -> bool:
        """Whether a line of a part does not have to be sent any more."""
        return line in self._receipts[part].done

    def done_ranges(self, part: str) -> list[list[int]]:
        """First and last of each run of lines that need no sending any more."""
        return self._receipts[part].done.ranges()

    def accepted_ranges(self, part: str) -> list[list[int]]:
        """First and last of each run of lines that were acknowledged.

        Empty where it is not on record which of the lines those are: release 0.1.0 counted what was refused.
        """
        receipt = self._receipts[part]
        if len(receipt.refused) != receipt.rejected.total():
            return []
        if not receipt.rejected:
            return receipt.done.ranges()
        lines = (line for first, last in receipt.done.ranges() for line in range(first, last + 1))
        return _ranges(line for line in lines if line not in receipt.refused)

    def accept(self, part: str, line: int) -> None:
        """Record that a finding was acknowledged."""
        self._receipts[part].done.add(line)
        self._receipts[part].accepted += 1

    def accept_all(self, part: str, first: int, last: int) -> None:
        """Record that the findings of adjacent lines were acknowledged."""
        receipt = self._receipts[part]
        receipt.done.add_range(first, last)
        receipt.accepted += last - first + 1

    def reject(self, part: str, line: int, *, finding_id: str, code: str, message: str, finding: bytes) -> None:
        """Record that a finding was permanently rejected."""
        self._receipts[part].done.add(line)
        self._receipts[part].refused.add(line)
        self._receipts[part].rejected[code] += 1
        entry = {
            "id": finding_id,
            "account": self.account,
            "region": self.region,
            "code": code,
            # Security Hub's own text, which may contain invalid Unicode, and may quote the request with its
            # credentials.
            "message": scrub(message[:4000])[:2000].encode("utf-8", "replace").decode(),
            "finding": msgspec.Raw(finding),
            # A finding in a part that another transform has written since is a different one: its rejection no longer
            # counts.
            "part": part,
            "line": line,
        }
        self._unwritten.append(msgspec.json.encode(entry))

    def reopen(self) -> None:
        """Forget all receipts, so that everything is sent again; new rejections replace the old ones."""
        self._receipts = {part: _PartReceipt() for part in self._receipts}
        self._rejected_parts = 0

    def flush(self) -> None:
        """Write rejected findings, then the receipts. If the process dies between the two, the next flush writes the
        same part again.
        """
        if self._unwritten:
            write_lines(
                self.run.rejected, self._rejected_name(self._rejected_parts).removesuffix(".jsonl.gz"), self._unwritten
            )
            reached(CrashPoint.REJECTED_PART_WRITTEN)
            self._rejected_parts += 1
            self._unwritten = []
        lines: list[dict[str, Any]] = [{"calls": self.calls, "rejected_parts": self._rejected_parts, "format": FORMAT}]
        for part, receipt in sorted(self._receipts.items()):
            refused = {"refused": receipt.refused.ranges()} if receipt.rejected else {}
            lines.append(
                {
                    "part": part,
                    "lines": receipt.done.ranges(),
                    "accepted": receipt.accepted,
                    "rejected": dict(sorted(receipt.rejected.items())),
                    **refused,
                }
            )
        write_whole(self.path, b"\n".join(msgspec.json.encode(line) for line in lines) + b"\n")
        reached(CrashPoint.RECEIPTS_WRITTEN)

    def counts(self) -> dict[str, Any]:
        """The counts for the ledger."""
        return {"accepted": self.accepted, "rejected": dict(sorted(self.rejected.items())), "calls": self.calls}


def _ranges(numbers: Iterable[int]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges
