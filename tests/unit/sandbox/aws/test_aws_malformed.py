"""Whatever JSON is sent as a finding, it is either refused with a reason or stored."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.aws.asff.findings import complaint
from sandbox.aws.products import parse_product_arn
from sandbox.aws.store import FindingStore

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for path in [path] if path] + [found for key, item in items for found in places(item, (*path, key))]


def put(document: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(data=st.data())
def test_mutated_finding_is_refused_or_stored(make_finding: Callable[..., dict[str, Any]], data: st.DataObject) -> None:
    finding = make_finding()
    put(finding, data.draw(st.sampled_from(places(finding))), data.draw(JSON))
    refused = complaint(finding, 3_000)
    if refused is not None:
        assert refused.startswith("Finding does not adhere to Amazon Finding Format. data")
        return
    product = parse_product_arn(finding["ProductArn"])
    if product is not None:
        assert FindingStore().put("111122223333", "us-east-1", finding, product) == "created"


@given(JSON)
def test_no_random_document_is_a_finding(document: Any) -> None:
    assert complaint(document, 100)
