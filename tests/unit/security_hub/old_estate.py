"""A Security Hub in memory, with the sandbox's rules, and findings of the old tools and of ours."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_provider_tenable.security_hub.archiving import ArchiveReceipts, FindingsArchive
from airflow_provider_tenable.security_hub.customer_updates import CustomerUpdates
from airflow_provider_tenable.security_hub.old_tool_ids import Vulnerability, sechubingest_arns
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.reader import FindingsReader
from airflow_provider_tenable.security_hub.take_over import TakenOver, check_idle, read_estate, take_over
from airflow_provider_tenable.security_hub.take_over_matching import Estate
from airflow_provider_tenable.staging.layout import RunFolder
from sandbox.aws.lifecycle import created, updated, worked_on
from sandbox.aws.old_tools import sent_by
from sandbox.aws.products import ProductArn, parse_product_arn
from tests.unit.security_hub.test_archiving import ACCOUNT, PLANNED, PLANNED_MS, PRODUCT, REASON, REGION, Time

V1_OWNED, V1 = sechubingest_arns(REGION)
Key = tuple[str, str]


def copy_of(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def instance(number: int) -> str:
    return f"i-{number:017x}"


def old_id(number: int, plugin: int = 10) -> str:
    return f"{REGION}/{instance(number)}/{plugin}"


def our_id(number: int, plugin: int = 10, port: int = 443) -> str:
    return f"{REGION}/{ACCOUNT}/{instance(number)}/{plugin}/tcp/{port}"


class Hub:
    """``calls`` counts; ``before`` and ``after`` are asked with the number and name of each call."""

    def __init__(self) -> None:
        self.held: dict[Key, dict[str, Any]] = {}
        self.changed: dict[Key, frozenset[str]] = {}
        self.calls: list[str] = []
        self._found: list[Key] = []
        self.before: Callable[[int, str], None] = lambda number, name: None
        self.after: Callable[[int, str], None] = lambda number, name: None
        self.answer: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
        self.page: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda found: found

    def put(
        self, finding_id: str, arn: str = PRODUCT, *, by_customer: Mapping[str, Any] | None = None, **own: Any
    ) -> Key:
        sent = sent_by(finding_id, arn, ACCOUNT, REGION, **own)
        key = (arn, finding_id)
        self.held[key] = created(sent, self._product(arn), REGION, sent["UpdatedAt"])
        self.changed[key] = frozenset()
        if by_customer:
            self._work_on(key, by_customer)
        return key

    @staticmethod
    def _product(arn: str) -> ProductArn:
        product = parse_product_arn(arn)
        assert product is not None
        return product

    def _work_on(self, key: Key, changes: Mapping[str, Any]) -> None:
        self.held[key], names = worked_on(self.held[key], changes, "2026-06-01T00:00:00.000Z")
        self.changed[key] |= names

    def _called(self, name: str, act: Callable[[], Any]) -> Any:
        self.calls.append(name)
        number = len(self.calls)
        self.before(number, name)
        answer = act()
        self.after(number, name)
        return answer

    def read_page(self, filters: Any, *, next_token: str | None = None, max_results: int = 100) -> Any:
        def act() -> tuple[list[dict[str, Any]], str | None]:
            wanted = {name: {each["Value"] for each in conditions} for name, conditions in filters.items()}
            keys = [
                (arn, each)
                for each in wanted.get("Id", ())
                for arn in (PRODUCT, V1, V1_OWNED)
                if (arn, each) in self.held
            ]
            if next_token is None:
                # By key: what is on a page is looked up when it is read.
                keys = keys if "Id" in wanted else list(self.held)
                self._found = [key for key in keys if all(self.held[key][name] in wanted[name] for name in wanted)]
            found, begin = self._found, int(next_token or 0)
            page, end = [self.held[key] for key in found[begin : begin + max_results]], begin + max_results
            return self.page(copy_of(page)), str(end) if end < len(found) else None

        return self._called("read", act)

    def import_batch(self, lines: Sequence[bytes]) -> dict[str, Any]:
        def act() -> dict[str, Any]:
            for sent in map(json.loads, lines):
                key = (sent["ProductArn"], sent["Id"])
                stored = self.held[key]
                if sent["UpdatedAt"] > stored["UpdatedAt"]:
                    self.held[key] = updated(
                        stored, sent, self._product(key[0]), REGION, "", changed_by_customer=self.changed[key]
                    )
            return {"FailedCount": 0, "SuccessCount": len(lines), "FailedFindings": []}

        return self._called("import", act)

    def batch_update_findings(self, identifiers: Sequence[dict[str, str]], fields: Mapping[str, Any]) -> dict[str, Any]:
        def act() -> dict[str, Any]:
            assert 0 < len(identifiers) <= 100
            for each in identifiers:
                self._work_on((each["ProductArn"], each["Id"]), fields)
            return self.answer({"ProcessedFindings": list(identifiers), "UnprocessedFindings": []})

        return self._called("update", act)

    def copy(self) -> Hub:
        """Another one that holds the same."""
        other = Hub()
        other.held = copy_of(self.held)
        other.changed = dict(self.changed)
        return other

    def active(self, *arns: str) -> set[str]:
        return {key[1] for key, each in self.held.items() if each["RecordState"] == "ACTIVE" and key[0] in arns}


def run(
    hub: Hub,
    folder: Path,
    *,
    gone: Callable[[Vulnerability], bool] = lambda key: False,
    dry_run: bool = False,
    same_ids: bool = False,
    now: int = PLANNED_MS,
    force: bool = False,
) -> TakenOver:
    """One try of a takeover."""
    time = Time()
    fast: dict[str, Any] = {"clock": time.clock, "sleep": time.sleep}
    estate = Estate(
        ACCOUNT, REGION, old_arns=[V1_OWNED, V1], our_arns=[PRODUCT], ids_like_tvm2aws=same_ids, reason_field=REASON
    )
    read_estate(FindingsReader(hub, **fast), estate, ACCOUNT, REGION, [V1_OWNED, V1, PRODUCT])
    if not force:
        check_idle(estate.last_written, now)
    archive = FindingsArchive(
        sender=hub,
        receipts=ArchiveReceipts(RunFolder(f"file://{folder}", "dag", "run"), ACCOUNT, REGION),
        bucket=TokenBucket(1e9, 1e9, **fast),
        reasons_field=REASON,
        planned_at=PLANNED,
        product_arns=[V1_OWNED, V1] if same_ids else [V1_OWNED, V1, PRODUCT],
        **fast,
    )
    return take_over(
        estate,
        is_gone=lambda key, severities: gone(key),
        updates=CustomerUpdates(hub, **fast),
        archive=archive,
        dry_run=dry_run,
    )
