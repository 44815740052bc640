"""Faults to order: each server has a list of them, which it consults before every call.

A fault is JSON:

    {"on": "<operation>", "do": "<verb>", "times": 1, "skip": 0, "match": {}, ...arguments of the verb}

`times` is how many matching calls it affects (null: all of them), `skip` how many it lets pass first, `match`
equality on facts of the request (which ones depends on the operation); `"kind": "vulns"` is short for a match on kind.
Faults are tried in the order in which they were placed; only the first one that matches is applied.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a verb, in addition to those that every fault has."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()

    @classmethod
    def of(cls, *required: str, optional: tuple[str, ...] = ()) -> "Arguments":
        return cls(frozenset(required), frozenset(optional))


COMMON_VERBS: Mapping[str, Arguments] = {
    # Answer with this status; the call is not carried out.
    "status": Arguments.of("status", optional=("headers", "body")),
    # Carry the call out, then answer with this status nevertheless, as a gateway does after its own timeout.
    "late_status": Arguments.of("status", optional=("headers", "body")),
    # Close the connection with a TCP reset and no answer; the call is not carried out.
    "reset": Arguments.of(),
    # Carry the call out, then close the connection without an answer.
    "lose_answer": Arguments.of(),
    # Carry the call out, answer with the first bytes only; declare_full: with the Content-Length of the complete body.
    "truncate": Arguments.of("keep_bytes", optional=("declare_full",)),
    # Carry the call out, wait, answer.
    "slow": Arguments.of("seconds"),
    # Carry the call out, answer in pieces with a pause before each.
    "drip": Arguments.of("bytes", "seconds"),
    # Answer 200 with this text as it is; the call is not carried out.
    "body": Arguments.of("body", optional=("headers",)),
    # Answer with this status and the caller's own secrets (`sandbox/repeating.py`); the call is not carried out.
    "repeat_secrets": Arguments.of("status", optional=("form", "place")),
}

_EVERY_FAULT = frozenset({"on", "do", "times", "skip", "match", "kind"})
_NUMBERS = ("status", "keep_bytes", "seconds", "bytes")


@dataclass(slots=True)
class Fault:
    """One ordered fault. `times` (None: for ever) and `skip` count down as calls come in."""

    on: str
    do: str
    times: int | None = 1
    skip: int = 0
    match: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        """An argument of the verb."""
        return self.arguments.get(name, default)

    def matches(self, operation: str, facts: Mapping[str, Any]) -> bool:
        return self.on == operation and all(
            name in facts and facts[name] == value for name, value in self.match.items()
        )

    def as_json(self) -> dict[str, Any]:
        """The fault as it would be ordered now, with what is left of `times` and `skip`."""
        return {
            "on": self.on,
            "do": self.do,
            "times": self.times,
            "skip": self.skip,
            "match": self.match,
            **self.arguments,
        }


class FaultBook:
    """The faults ordered from one server.

    :param operations: the server's operations, each with the verbs that may strike it:
        `{"session": COMMON_VERBS, "BatchImportFindings": {**COMMON_VERBS, "fail_findings": Arguments.of("code")}}`
    """

    def __init__(self, operations: Mapping[str, Mapping[str, Arguments]]) -> None:
        self._operations = operations
        self._pending: list[Fault] = []

    @property
    def pending(self) -> list[Fault]:
        """What is still to strike, in order."""
        return list(self._pending)

    def order(self, fault: Mapping[str, Any]) -> Fault:
        """Put a fault at the end of the book; ValueError says what is wrong with it."""
        ordered = self._validated(fault)
        self._pending.append(ordered)
        return ordered

    def clear(self) -> None:
        """Forget all faults."""
        self._pending.clear()

    def take(self, operation: str, facts: Mapping[str, Any] | None = None) -> Fault | None:
        """The fault that strikes this call, if any; it is counted as used."""
        for index, fault in enumerate(self._pending):
            if not fault.matches(operation, facts or {}):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    del self._pending[index]
            return fault
        return None

    def _validated(self, fault: Mapping[str, Any]) -> Fault:
        if not isinstance(fault, Mapping):
            # One kind of error for whatever is wrong.
            raise ValueError(f"A fault is a JSON object, not {fault!r}.")
        on, do = str(fault.get("on")), str(fault.get("do"))
        if on not in self._operations:
            raise ValueError(f"Unknown operation {on!r}; there are: {', '.join(sorted(self._operations))}.")
        verbs = self._operations[on]
        if do not in verbs:
            raise ValueError(f"Unknown verb {do!r} for {on}; there are: {', '.join(sorted(verbs))}.")
        arguments = {name: value for name, value in fault.items() if name not in _EVERY_FAULT}
        if missing := verbs[do].required - arguments.keys():
            raise ValueError(f"The verb {do!r} needs {', '.join(sorted(missing))}.")
        if unknown := arguments.keys() - verbs[do].required - verbs[do].optional:
            raise ValueError(f"The verb {do!r} takes no {', '.join(sorted(unknown))}.")
        for name in _NUMBERS:
            if name in arguments and not (_is_number(arguments[name]) and arguments[name] >= 0):
                raise ValueError(f"{name} must be a number of at least 0, not {arguments[name]!r}.")
        return Fault(on, do, _times(fault), _skip(fault), _match(fault), arguments)


def _times(fault: Mapping[str, Any]) -> int | None:
    times = fault.get("times", 1)
    if times is not None and not (isinstance(times, int) and not isinstance(times, bool) and times >= 1):
        raise ValueError(f"times must be an integer of at least 1, or null for ever, not {times!r}.")
    return times


def _skip(fault: Mapping[str, Any]) -> int:
    skip = fault.get("skip", 0)
    if not isinstance(skip, int) or isinstance(skip, bool) or skip < 0:
        raise ValueError(f"skip must be an integer of at least 0, not {skip!r}.")
    return skip


def _match(fault: Mapping[str, Any]) -> dict[str, Any]:
    match = fault.get("match", {})
    if not isinstance(match, Mapping):
        raise ValueError(f"match must be an object of facts, not {match!r}.")
    return {**match, "kind": fault["kind"]} if "kind" in fault else dict(match)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
