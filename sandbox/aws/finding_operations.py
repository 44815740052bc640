"""Reading findings and working on them: GetFindings and BatchUpdateFindings (API reference, Security Hub CSPM)."""

import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.responses import JSONResponse, Response

from sandbox.aws.asff.findings import format_complaint
from sandbox.aws.asff.schema import shape_check
from sandbox.aws.errors import invalid_input
from sandbox.aws.filters import predicate, sort_key
from sandbox.aws.hub_operations import page_size, read_token, write_token
from sandbox.aws.sigv4 import Caller
from sandbox.aws.store import Shelf, Stored, decode
from sandbox.aws.world import World, check_allowed

# Findings that BatchUpdateFindings takes at a time (API model).
MOST_IDENTIFIERS = 100


def get_findings(caller: Caller, body: Mapping[str, Any], world: World) -> Response:
    """The findings that pass the filters, a page at a time, oldest import first unless sorted."""
    check_allowed(caller, "securityhub:GetFindings")
    world.hub_of(caller)
    _check_shape("GetFindingsRequest", body)
    filters, criteria = body.get("Filters") or {}, body.get("SortCriteria") or []
    size = page_size(body.get("MaxResults"))
    about = hashlib.sha256(msgspec.json.encode([filters, criteria])).hexdigest()[:16]
    start = read_token(body.get("NextToken"), about)
    shelves = _shelves(caller, world)
    # A hub of a million findings is not copied for each page.
    first, *others = (_candidates(shelf, filters) for shelf in shelves)
    rows = list(itertools.chain(first, *others)) if others else first
    rows = _sorted(rows, criteria) if criteria else rows
    visible_until = time.monotonic() - world.options.visibility_seconds
    passes = predicate(filters, datetime.fromtimestamp(world.clock.now(), UTC))

    def is_found(row: Stored) -> bool:
        document = row.as_seen(visible_until)
        return document is not None and passes(decode(document))

    page, following = _page(rows, is_found, start, size)
    documents = [document for row in page if (document := row.as_seen(visible_until)) is not None]
    token = b',"NextToken":"%s"' % write_token(following, about).encode() if following is not None else b""
    # The stored documents are JSON already: put together, not encoded again.
    return Response(b'{"Findings":[%s]%s}' % (b",".join(documents), token), media_type="application/json")


def _shelves(caller: Caller, world: World) -> list[Shelf]:
    """What a caller reads: the findings of its account and Region; where findings are aggregated, those of all others
    too (API model: GetFindings, from the home Region; administrator accounts see their members').
    """
    own = world.findings.shelf(caller.account, caller.region)
    if world.options.aggregator != f"{caller.account}/{caller.region}":
        return [own]
    return [own, *(shelf for shelf in world.findings.shelves() if shelf is not own)]


def _candidates(shelf: Shelf, filters: Mapping[str, Any]) -> list[Stored]:
    """All rows, or only those of the ids, if the filters name complete ids."""
    by_id = filters.get("Id")
    if not isinstance(by_id, list) or not all(
        isinstance(each, dict) and each.get("Comparison") == "EQUALS" for each in by_id
    ):
        return shelf.rows
    ids = dict.fromkeys(str(each.get("Value")) for each in by_id)
    return [row for finding_id in ids for row in shelf.by_id.get(finding_id, ())]


def _sorted(rows: Iterable[Stored], criteria: list[Any]) -> list[Stored]:
    decoded = [(row, row.finding()) for row in rows]
    for criterion in reversed(criteria):
        if not isinstance(criterion, dict) or criterion.get("SortOrder", "asc") not in ("asc", "desc"):
            raise invalid_input("Invalid parameter 'SortCriteria'.")
        key, descending = sort_key(str(criterion.get("Field"))), criterion.get("SortOrder") == "desc"
        try:
            decoded.sort(key=lambda pair: key(pair[1]), reverse=descending)
        except TypeError:
            raise invalid_input(f"Invalid parameter 'SortCriteria'. Cannot sort by {criterion.get('Field')}") from None
    return [row for row, _ in decoded]


def _page(
    rows: list[Stored], passes: Callable[[Stored], bool], start: int, size: int
) -> tuple[list[Stored], int | None]:
    """At most `size` rows from a position on, and the position of the next row that passes."""
    page: list[Stored] = []
    for position in range(start, len(rows)):
        if passes(rows[position]):
            if len(page) == size:
                return page, position
            page.append(rows[position])
    return page, None


def batch_update_findings(caller: Caller, body: Mapping[str, Any], world: World) -> Response:
    """Change the customer's fields of some findings."""
    check_allowed(caller, "securityhub:BatchUpdateFindings")
    world.hub_of(caller)
    _check_update(body)
    if len(body["FindingIdentifiers"]) > MOST_IDENTIFIERS:
        raise invalid_input(
            "Invalid parameter 'FindingIdentifiers'. data.FindingIdentifiers should NOT have more than "
            f"{MOST_IDENTIFIERS} items"
        )
    processed, unprocessed = [], []
    seen: set[tuple[str, str]] = set()
    changes = {name: value for name, value in body.items() if name != "FindingIdentifiers"}
    for identifier in body["FindingIdentifiers"]:
        key = (identifier["Id"], identifier["ProductArn"])
        stored = world.findings.find(caller.account, caller.region, *key)
        if key in seen:
            unprocessed.append(
                {
                    "FindingIdentifier": identifier,
                    "ErrorCode": "DuplicatedFindingIdentifier",
                    "ErrorMessage": "The request includes the finding more than once",
                }
            )
            continue
        seen.add(key)
        if stored is None:
            unprocessed.append(
                {"FindingIdentifier": identifier, "ErrorCode": "FindingNotFound", "ErrorMessage": "Finding Not Found"}
            )
        else:
            world.findings.work_on(stored, changes)
            processed.append(identifier)
    return JSONResponse({"ProcessedFindings": processed, "UnprocessedFindings": unprocessed})


def work_on_finding(world: World, account: str, region: str, finding_id: str, changes: Mapping[str, Any]) -> int:
    """BatchUpdateFindings without a caller, for `POST /_sandbox/customer`; returns how many findings have the id.

    A Note may be without UpdatedBy.
    """
    rows = world.findings.shelf(account, region).by_id.get(finding_id, [])
    changes = dict(changes)
    if isinstance(changes.get("Note"), dict):
        changes["Note"] = {"UpdatedBy": "sandbox-customer", **changes["Note"]}
    _check_update(
        {**changes, "FindingIdentifiers": list(_identifiers(rows)) or [{"Id": finding_id, "ProductArn": "-" * 12}]}
    )
    for row in rows:
        world.findings.work_on(row, changes)
    return len(rows)


def _identifiers(rows: Iterable[Stored]) -> Iterator[dict[str, str]]:
    for row in rows:
        yield {"Id": row.id, "ProductArn": row.product_arn}


def _check_update(body: Mapping[str, Any]) -> None:
    _check_shape("BatchUpdateFindingsRequest", body)


def _check_shape(name: str, body: Mapping[str, Any]) -> None:
    errors: list[str] = []
    shape_check(name)(dict(body), "data", errors)
    if errors:
        raise invalid_input(format_complaint(errors))
