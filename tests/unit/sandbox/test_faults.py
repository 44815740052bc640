import pytest

from sandbox.faults import COMMON_VERBS, Arguments, FaultBook


@pytest.fixture
def book() -> FaultBook:
    return FaultBook(
        {"ask": COMMON_VERBS, "tell": {**COMMON_VERBS, "stutter": Arguments.of("words", optional=("loud",))}}
    )


def test_a_fault_strikes_once_unless_told_otherwise(book: FaultBook) -> None:
    book.order({"on": "ask", "do": "reset"})
    fault = book.take("ask")
    assert fault is not None
    assert fault.do == "reset"
    assert book.take("ask") is None


def test_times_null_strikes_for_ever(book: FaultBook) -> None:
    book.order({"on": "ask", "do": "reset", "times": None})
    assert all(book.take("ask") for _ in range(50))


def test_skip_lets_the_first_calls_pass(book: FaultBook) -> None:
    book.order({"on": "ask", "do": "reset", "skip": 2, "times": 2})
    assert [book.take("ask") is not None for _ in range(5)] == [False, False, True, True, False]


def test_match_is_equality_on_facts(book: FaultBook) -> None:
    book.order({"on": "ask", "do": "reset", "match": {"chunk_id": 3}})
    assert book.take("ask", {"chunk_id": 2}) is None
    assert book.take("ask") is None
    assert book.take("ask", {"chunk_id": 3, "uuid": "x"}) is not None


def test_kind_is_short_for_a_match_on_kind(book: FaultBook) -> None:
    book.order({"on": "ask", "do": "reset", "kind": "assets"})
    assert book.take("ask", {"kind": "vulns"}) is None
    assert book.take("ask", {"kind": "assets"}) is not None


def test_only_the_first_matching_fault_strikes_a_call(book: FaultBook) -> None:
    book.order({"on": "ask", "do": "status", "status": 500})
    book.order({"on": "ask", "do": "status", "status": 503})
    statuses = [fault.get("status") for fault in (book.take("ask"), book.take("ask")) if fault]
    assert statuses == [500, 503]


def test_faults_of_another_operation_do_not_strike(book: FaultBook) -> None:
    book.order({"on": "tell", "do": "stutter", "words": 3})
    assert book.take("ask") is None
    assert [fault.as_json() for fault in book.pending] == [
        {"on": "tell", "do": "stutter", "times": 1, "skip": 0, "match": {}, "words": 3}
    ]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"on": "shout", "do": "reset"}, "Unknown operation 'shout'"),
        ({"on": "ask", "do": "stutter"}, "Unknown verb 'stutter' for ask"),
        ({"on": "tell", "do": "stutter"}, "needs words"),
        ({"on": "tell", "do": "stutter", "words": 1, "often": 2}, "takes no often"),
        ({"on": "ask", "do": "status"}, "needs status"),
        ({"on": "ask", "do": "slow", "seconds": "long"}, "seconds must be a number"),
        ({"on": "ask", "do": "reset", "times": 0}, "times must be"),
        ({"on": "ask", "do": "reset", "skip": -1}, "skip must be"),
        ({"on": "ask", "do": "reset", "match": 3}, "match must be"),
        ("reset", "JSON object"),
    ],
)
def test_a_wrong_order_is_refused_with_the_reason(book: FaultBook, fault: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        book.order(fault)
    assert book.pending == []


def test_clear_forgets_all(book: FaultBook) -> None:
    book.order({"on": "ask", "do": "reset"})
    book.clear()
    assert book.take("ask") is None
