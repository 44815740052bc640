"""The filters and sort criteria of GetFindings (API reference: AwsSecurityFindingFilters)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.aws.asff.schema import service_model
from sandbox.aws.asff.timestamps import instant
from sandbox.aws.errors import invalid_input

Finding = Mapping[str, Any]
Predicate = Callable[[Finding], bool]
MOST_ATTRIBUTES = 10
MOST_VALUES = 20

# Where in a finding each filter looks; `[]` means any item of the list.
PATHS: Mapping[str, str] = {
    **{
        name: name
        for name in (
            "Id", "ProductArn", "AwsAccountId", "Region", "GeneratorId", "Title", "Description", "SourceUrl",
            "ProductName", "CompanyName", "RecordState", "VerificationState", "WorkflowState", "Confidence",
            "Criticality", "ProductFields", "UserDefinedFields", "FirstObservedAt", "LastObservedAt", "CreatedAt",
            "UpdatedAt",
        )
    },
    "Type": "Types.[]",
    "SeverityLabel": "Severity.Label",
    "SeverityNormalized": "Severity.Normalized",
    "WorkflowStatus": "Workflow.Status",
    "ComplianceStatus": "Compliance.Status",
    "RecommendationText": "Remediation.Recommendation.Text",
    "ResourceType": "Resources.[].Type",
    "ResourceId": "Resources.[].Id",
    "ResourcePartition": "Resources.[].Partition",
    "ResourceRegion": "Resources.[].Region",
    "ResourceTags": "Resources.[].Tags",
    "ResourceDetailsOther": "Resources.[].Details.Other",
    "NoteText": "Note.Text",
    "NoteUpdatedAt": "Note.UpdatedAt",
    "NoteUpdatedBy": "Note.UpdatedBy",
    "FindingProviderFieldsSeverityLabel": "FindingProviderFields.Severity.Label",
    "FindingProviderFieldsSeverityOriginal": "FindingProviderFields.Severity.Original",
    "FindingProviderFieldsTypes": "FindingProviderFields.Types.[]",
    "FindingProviderFieldsConfidence": "FindingProviderFields.Confidence",
    "FindingProviderFieldsCriticality": "FindingProviderFields.Criticality",
    "VulnerabilitiesExploitAvailable": "Vulnerabilities.[].ExploitAvailable",
    "VulnerabilitiesFixAvailable": "Vulnerabilities.[].FixAvailable",
}  # fmt: skip

_POSITIVE: Mapping[str, Callable[[str, str], bool]] = {
    "EQUALS": lambda found, wanted: found == wanted,
    "PREFIX": lambda found, wanted: found.startswith(wanted),
    "CONTAINS": lambda found, wanted: wanted in found,
}
# Without NOT_CONTAINS, which works only with automation rules, and CONTAINS_WORD, only with the new Security Hub (API
# model: StringFilter).
_NEGATIVE: Mapping[str, Callable[[str, str], bool]] = {
    "NOT_EQUALS": _POSITIVE["EQUALS"],
    "PREFIX_NOT_EQUALS": _POSITIVE["PREFIX"],
}
_NUMBERS: Mapping[str, Callable[[float, float], bool]] = {
    "Eq": lambda found, wanted: found == wanted,
    "Gte": lambda found, wanted: found >= wanted,
    "Lte": lambda found, wanted: found <= wanted,
    "Gt": lambda found, wanted: found > wanted,
    "Lt": lambda found, wanted: found < wanted,
}


def predicate(filters: Mapping[str, Any], now: datetime | None = None) -> Predicate:
    """What a finding must satisfy: every attribute, by one of its values and none of its negated ones.

    :param now: from which a DateRange counts back; the real time if not given
    """
    now = now or datetime.now(UTC)
    if len(filters) > MOST_ATTRIBUTES:
        raise invalid_input(
            f"Invalid parameter 'Filters'. A request can have at most {MOST_ATTRIBUTES} filter attributes"
        )
    tests = [_attribute(name, values, now) for name, values in filters.items()]
    return lambda finding: all(test(finding) for test in tests)


def sort_key(field: str) -> Callable[[Finding], tuple[bool, Any]]:
    """The key to sort findings by for a Field of SortCriteria: a filter or a path. Findings without it come last."""
    path = PATHS.get(field, field).split(".")

    def key(finding: Finding) -> tuple[bool, Any]:
        found = next(iter(_values(finding, path)), None)
        return (found is None, "" if found is None else found)

    return key


def _attribute(name: str, values: Any, now: datetime) -> Predicate:
    members = service_model().shape_for("AwsSecurityFindingFilters").members  # type: ignore[attr-defined]
    if name not in members:
        raise invalid_input(f"Invalid parameter 'Filters'. data.Filters should NOT have additional properties: {name}")
    if name not in PATHS:
        raise invalid_input(f"The sandbox does not know the filter {name}; it knows: {', '.join(sorted(PATHS))}")
    if not isinstance(values, list) or not values or not all(isinstance(value, dict) for value in values):
        raise invalid_input(f"Invalid parameter 'Filters'. data.Filters.{name} should be a list of filters")
    if len(values) > MOST_VALUES:
        raise invalid_input(
            f"Invalid parameter 'Filters'. data.Filters.{name} should NOT have more than {MOST_VALUES} items"
        )
    path = PATHS[name].split(".")
    kind = members[name].member.name
    match kind:
        case "StringFilter" | "MapFilter":
            return _text(path, values, with_key=kind == "MapFilter")
        case "DateFilter":
            return _date(path, values, now)
        case "NumberFilter":
            return _number(path, values)
    raise invalid_input(f"The sandbox does not know filters of the kind {kind}")


def _values(found: Any, path: Sequence[str]) -> Iterable[Any]:
    if not path:
        if found is not None:
            yield found
    elif path[0] == "[]":
        for item in found if isinstance(found, list) else ():
            yield from _values(item, path[1:])
    elif isinstance(found, dict):
        yield from _values(found.get(path[0]), path[1:])


def _text(path: Sequence[str], filters: Sequence[Mapping[str, Any]], *, with_key: bool) -> Predicate:
    _check_combination([str(each.get("Comparison")) for each in filters])
    wanted, unwanted = [], []
    for each in filters:
        comparison, value, key = each.get("Comparison"), each.get("Value"), each.get("Key")
        if (
            not isinstance(value, str)
            or comparison not in {*_POSITIVE, *_NEGATIVE}
            or (with_key and not isinstance(key, str))
        ):
            raise invalid_input(
                f"Invalid parameter 'Filters'. Not a filter with a Value and a known Comparison: {dict(each)}"
            )
        if comparison in _POSITIVE:
            wanted.append((_POSITIVE[comparison], value, key))
        else:
            unwanted.append((_NEGATIVE[comparison], value, key))

    def test(finding: Finding) -> bool:
        found = list(_values(finding, path))

        def hit(compare: Callable[[str, str], bool], value: str, key: str | None) -> bool:
            texts = [pairs.get(key) for pairs in found if isinstance(pairs, dict)] if with_key else found
            return any(isinstance(text, str) and compare(text, value) for text in texts)

        return (not wanted or any(hit(*each) for each in wanted)) and not any(hit(*each) for each in unwanted)

    return test


def _check_combination(comparisons: Sequence[str]) -> None:
    """AwsError for comparisons that one attribute may not have together (API model: StringFilter)."""
    kinds = set(comparisons)
    if "CONTAINS" in kinds and len(kinds) > 1:
        raise invalid_input(f"Invalid parameter 'Filters'. CONTAINS can only be combined with itself: {sorted(kinds)}")
    if "EQUALS" in kinds and kinds & {"NOT_EQUALS", "PREFIX_NOT_EQUALS"}:
        raise invalid_input(
            f"Invalid parameter 'Filters'. EQUALS cannot be combined with negated comparisons: {sorted(kinds)}"
        )


def _date(path: Sequence[str], filters: Sequence[Mapping[str, Any]], now: datetime) -> Predicate:
    spans = [_span(each, now) for each in filters]

    def test(finding: Finding) -> bool:
        moments = [instant(text) for text in _values(finding, path) if isinstance(text, str)]
        return any(start <= moment <= end for moment in moments if moment is not None for start, end in spans)

    return test


def _span(each: Mapping[str, Any], now: datetime) -> tuple[float, float]:
    """Start and end of a DateFilter in nanoseconds since 1970."""
    if "DateRange" in each:
        days = each["DateRange"].get("Value") if isinstance(each["DateRange"], dict) else None
        if not isinstance(days, int) or each["DateRange"].get("Unit") != "DAYS":
            raise invalid_input(f"Invalid parameter 'Filters'. Not a DateRange in DAYS: {dict(each)}")
        return (now - timedelta(days=days)).timestamp() * 1e9, float("inf")
    start, end = (
        instant(str(each[name])) if name in each else edge
        for name, edge in (("Start", -float("inf")), ("End", float("inf")))
    )
    if start is None or end is None or not {"Start", "End"} & each.keys():
        raise invalid_input(f"Invalid parameter 'Filters'. Not a DateFilter with Start or End: {dict(each)}")
    return start, end


def _number(path: Sequence[str], filters: Sequence[Mapping[str, Any]]) -> Predicate:
    for each in filters:
        if not each or any(name not in _NUMBERS or not isinstance(value, int | float) for name, value in each.items()):
            raise invalid_input(f"Invalid parameter 'Filters'. Not a NumberFilter: {dict(each)}")

    def test(finding: Finding) -> bool:
        found = [value for value in _values(finding, path) if isinstance(value, int | float)]
        return any(
            all(_NUMBERS[name](value, bound) for name, bound in each.items()) for value in found for each in filters
        )

    return test
