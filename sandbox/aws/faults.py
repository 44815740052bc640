"""The faults that can be ordered from the AWS side: those of every server, and some that strike single findings.

    {"on": "BatchImportFindings", "do": "fail_findings", "code": "InternalFailure", "ids_containing": "/tcp/443"}
    {"on": "BatchImportFindings", "do": "fail_findings", "code": "InternalFailure", "share": 0.01, "times": null}
    {"on": "BatchImportFindings", "do": "poison_call", "ids_containing": "/tcp/443", "times": null}
    {"on": "BatchImportFindings", "do": "expire_credentials"}
    {"on": "DescribeHub", "do": "foreign", "form": "html", "status": 302}

`foreign` is the answer of something between the caller and AWS, such as a proxy's login page; its forms are in
`FOREIGN`. A `message` may be added to the first three, to `poison_call` also `code` (InvalidInputException) and `http`
(400).

Facts to match on: `account` and `region` of the caller. `times` and `skip` count calls; of `fail_findings` and
`poison_call` only calls with a finding that they strike.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.aws.errors import AwsError
from sandbox.faults import COMMON_VERBS, Arguments, Fault, FaultBook

# Bodies that are not AWS's. Tidy HTML is XML too, so that a reader of STS's answers can take it apart without noticing.
FOREIGN = {
    "html": (
        "text/html",
        "<!DOCTYPE html><html><head><title>Sign in</title></head><body><br>Who are you?</body></html>",
    ),
    "tidy_html": ("text/html", "<html><body>Sign in</body></html>"),
    "empty": ("text/plain", ""),
    "other_json": ("application/json", '{"status": "ok"}'),
    "list": ("application/json", "[]"),
    "null": ("application/json", "null"),
}

_EXPIRE = {
    # Answer with a body that is not AWS's; the call is not carried out.
    "foreign": Arguments.of("form", "status"),
    "expire_credentials": Arguments(),
    # Refuse the call with this code and a message that repeats the caller's secret key and session token.
    "repeat_secrets": Arguments.of("status", optional=("form", "code")),
}
_FINDING_VERBS = {
    "fail_findings": Arguments.of("code", optional=("message", "share", "ids_containing")),
    "poison_call": Arguments.of("ids_containing", optional=("code", "http", "message")),
}


class HubFaultBook(FaultBook):
    """The AWS side's book of faults. Those that strike findings are asked for with the batch at hand.

    :param operations: the names of the server's operations
    """

    def __init__(self, operations: Sequence[str]) -> None:
        verbs = {name: {**COMMON_VERBS, **_EXPIRE} for name in operations}
        verbs["BatchImportFindings"] = {**verbs["BatchImportFindings"], **_FINDING_VERBS}
        super().__init__(verbs)
        self._on_findings: list[Fault] = []

    @property
    def pending(self) -> list[Fault]:
        return [*super().pending, *self._on_findings]

    def clear(self) -> None:
        super().clear()
        self._on_findings.clear()

    def order(self, fault: Mapping[str, Any]) -> Fault:
        ordered = super().order(fault)
        if ordered.do == "foreign" and ordered.get("form") not in FOREIGN:
            self._pending.remove(ordered)
            raise ValueError(f"Unknown form {ordered.get('form')!r}; there are: {', '.join(FOREIGN)}.")
        if ordered.do in _FINDING_VERBS:
            try:
                _check_arguments(ordered)
            finally:
                self._pending.remove(ordered)
            self._on_findings.append(ordered)
        return ordered

    def poison(self, ids: Sequence[str], facts: Mapping[str, Any]) -> AwsError | None:
        """The error with which a batch of these ids is refused completely, if one of them is poison."""
        for fault in self._striking("poison_call", ids, facts):
            code, status = str(fault.get("code", "InvalidInputException")), int(fault.get("http", 400))
            return AwsError(
                code,
                status,
                str(fault.get("message", f"Ordered fault: the batch holds an id with {fault.get('ids_containing')!r}")),
            )
        return None

    def failures(self, ids: Sequence[str], facts: Mapping[str, Any]) -> dict[int, tuple[str, str]]:
        """Which findings of a batch are to fail: position to (ErrorCode, ErrorMessage)."""
        failing: dict[int, tuple[str, str]] = {}
        for fault in self._striking("fail_findings", ids, facts):
            answer = (str(fault.get("code")), str(fault.get("message", "Ordered fault")))
            for index, finding_id in enumerate(ids):
                if _strikes(fault, finding_id):
                    failing.setdefault(index, answer)
        return failing

    def _striking(self, verb: str, ids: Sequence[str], facts: Mapping[str, Any]) -> list[Fault]:
        striking = []
        for fault in list(self._on_findings):
            if fault.do != verb or not fault.matches("BatchImportFindings", facts):
                continue
            if not any(_strikes(fault, finding_id) for finding_id in ids):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self._on_findings.remove(fault)
            striking.append(fault)
        return striking


def _strikes(fault: Fault, finding_id: str) -> bool:
    """By a part of the id, by a share of all ids (always the same ones), or every finding."""
    part, share = fault.get("ids_containing"), fault.get("share")
    if part is not None and part not in finding_id:
        return False
    return share is None or zlib.crc32(finding_id.encode()) < share * 2**32


def _check_arguments(fault: Fault) -> None:
    share, part, http = fault.get("share"), fault.get("ids_containing"), fault.get("http")
    if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1):
        raise ValueError(f"share must be a number from 0 to 1, not {share!r}.")
    if part is not None and not isinstance(part, str):
        raise ValueError(f"ids_containing must be a string, not {part!r}.")
    if http is not None and (isinstance(http, bool) or not isinstance(http, int) or not 400 <= http <= 599):
        raise ValueError(f"http must be a status from 400 to 599, not {http!r}.")
