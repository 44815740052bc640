"""Reading documents by id: which calls are made, in which order their results come, and what ends them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_provider_tenable.exceptions import DestinationRefusedError, TemporaryError
from airflow_provider_tenable.security_hub.archive_documents import DeniedError, DocumentsById
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.reader import FILTER_VALUES, FindingsReader

ACCOUNT, REGION = "111122223333", "eu-west-1"


def document(finding_id: str, **change: Any) -> dict[str, Any]:
    return {"Id": finding_id, "AwsAccountId": ACCOUNT, "Region": REGION, **change}


class Source:
    """Has a document of every id, unless a test says otherwise."""

    def __init__(self, documents: Callable[[list[str]], list[dict[str, Any]]] | None = None) -> None:
        self.asked: list[list[str]] = []
        self.documents = documents or (lambda ids: [document(each) for each in ids])

    def read_page(
        self, filters: Any, *, next_token: str | None = None, max_results: int = 100
    ) -> tuple[list[dict[str, Any]], str | None]:
        assert set(filters) == {"AwsAccountId", "Region", "Id"}
        assert [filters["AwsAccountId"], filters["Region"]] == [
            [{"Value": ACCOUNT, "Comparison": "EQUALS"}],
            [{"Value": REGION, "Comparison": "EQUALS"}],
        ]
        ids = [each["Value"] for each in filters["Id"]]
        self.asked.append(ids)
        return self.documents(ids), None


def reader_of(source: Source) -> FindingsReader:
    time = [0.0]

    def sleep(seconds: float) -> None:
        time[0] += seconds

    clock: dict[str, Any] = {"clock": lambda: time[0], "sleep": sleep}
    return FindingsReader(source, bucket=TokenBucket(1e9, 1e9, **clock), **clock)


def by_id(source: Source) -> DocumentsById:
    return DocumentsById(reader_of(source), ACCOUNT, REGION)


def ids_of(number: int) -> list[str]:
    return [f"{each:04d}" for each in range(number)]


@pytest.mark.parametrize("number", [0, 1, 20, 21, 40, 60, 80, 130])
def test_documents_come_in_the_order_of_their_ids_a_call_at_a_time(number: int) -> None:
    source = Source()
    documents, ids = by_id(source), ids_of(number)
    assert not documents.exhausted
    found = list(documents.read(iter(ids), lambda: True))
    assert documents.exhausted
    assert [each for chunk in found for each in chunk] == ids
    assert all(chunk[each] == [document(each)] for chunk in found for each in chunk)
    assert [len(chunk) for chunk in found[:-1]] == [FILTER_VALUES] * (len(found) - 1)
    assert sorted(source.asked) == [list(chunk) for chunk in found]


def test_an_id_that_the_hub_lacks_has_no_document_and_one_that_products_share_has_several() -> None:
    both = [document("b", ProductArn="x"), document("b", ProductArn="y")]
    (found,) = by_id(Source(lambda ids: both)).read(["a", "b"], lambda: True)
    assert found == {"a": [], "b": both}


@pytest.mark.parametrize("chunks", range(5))
def test_reading_that_is_cut_short_returns_what_was_asked_for_and_says_so(chunks: int) -> None:
    source, asked = Source(), []

    def go_on() -> bool:
        asked.append(1)
        return len(asked) < chunks

    documents = by_id(source)
    found = list(documents.read(ids_of(200), go_on))
    # The first chunk is always read, so that every piece of work makes progress.
    assert len(found) == len(source.asked) == max(chunks, 1)
    assert [each for chunk in found for each in chunk] == ids_of(FILTER_VALUES * len(found))
    assert not documents.exhausted


def test_a_reading_that_is_cut_short_after_a_complete_one_is_not_complete() -> None:
    documents = by_id(Source())
    list(documents.read(ids_of(30), lambda: False))
    assert not documents.exhausted
    list(documents.read(ids_of(20), lambda: False))
    assert documents.exhausted
    list(documents.read(ids_of(30), lambda: False))
    assert not documents.exhausted


def test_three_calls_are_under_way_and_no_more_are_begun_before_somebody_takes_the_first() -> None:
    three = threading.Barrier(3, timeout=30)

    def wait_for_the_others(ids: list[str]) -> list[dict[str, Any]]:
        three.wait()
        return [document(each) for each in ids]

    source = Source(wait_for_the_others)
    documents = by_id(source).read(ids_of(180), lambda: True)
    assert list(next(documents)) == ids_of(20)
    assert len(source.asked) == 3
    assert len(list(documents)) == 8


def denied(code: str, status: int) -> Callable[[list[str]], list[dict[str, Any]]]:
    def refuse(ids: list[str]) -> list[dict[str, Any]]:
        raise ClientError(
            {"Error": {"Code": code, "Message": "no way"}, "ResponseMetadata": {"HTTPStatusCode": status}},
            "GetFindings",
        )

    return refuse


def test_a_missing_permission_is_named_and_explained() -> None:
    with pytest.raises(DeniedError) as failure:
        list(by_id(Source(denied("AccessDeniedException", 403))).read(["a"], lambda: True))
    assert failure.value.action == str(failure.value) == "securityhub:GetFindings"
    assert "no way" in failure.value.explanation


def test_a_hub_that_is_off_is_refused_and_says_what_could_not_be_done() -> None:
    with pytest.raises(DestinationRefusedError, match="Findings cannot be read"):
        list(by_id(Source(denied("InvalidAccessException", 401))).read(["a"], lambda: True))


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ({"Id": "another"}, "Id"),
        ({"Id": ["a"]}, "Id"),
        ({"AwsAccountId": "999999999999"}, "AwsAccountId"),
        ({"Region": "af-south-1"}, "Region"),
    ],
)
def test_a_document_that_nobody_asked_for_is_not_believed(answer: dict[str, Any], what: str) -> None:
    source = Source(lambda ids: [document("a", **answer)])
    with pytest.raises(TemporaryError, match=f"another {what} than it was asked for"):
        list(by_id(source).read(["a"], lambda: True))


@pytest.mark.parametrize("by_whom", ["reader", "consumer"])
def test_calls_that_are_repeated_end_with_the_reading(by_whom: str) -> None:
    """Otherwise a task that has failed would wait for them, for as long as a call may be repeated."""
    begun, ended = threading.Event(), threading.Event()

    def answers(ids: list[str]) -> list[dict[str, Any]]:
        if ids[0] == "0000":
            begun.wait(30)
            return [document(each, Region="af-south-1" if by_whom == "reader" else REGION) for each in ids]
        begun.set()
        # Until the reading has ended, then a reason to call again.
        ended.wait(30)
        return denied("InternalException", 500)(ids)

    source = Source(answers)
    reader = reader_of(source)
    stop = reader.stop

    def stopped() -> None:
        stop()
        ended.set()

    reader.stop = stopped  # type: ignore[method-assign]
    documents = DocumentsById(reader, ACCOUNT, REGION).read(ids_of(60), lambda: True)
    if by_whom == "reader":
        with pytest.raises(TemporaryError, match="another Region"):
            next(documents)
    else:
        next(documents)
        documents.close()  # type: ignore[attr-defined]
    assert ended.is_set()
    assert len(source.asked) <= 3
