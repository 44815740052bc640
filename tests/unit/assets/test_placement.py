"""Where an instance is, by what EC2 answers: never a guess."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_tenable.assets.placement import (
    AMBIGUOUS,
    NOT_ANSWERED,
    NOT_FOUND,
    OTHER_OWNER,
    TERMINATED,
    Answer,
    Known,
    Place,
    decide,
    recalled,
    remembered,
)

I = "i-0123456789abcdef0"  # noqa: E741 - the only instance
A, B, OTHER_REGION = (
    Place("111122223333", "eu-west-1"),
    Place("222233334444", "eu-west-1"),
    Place("111122223333", "us-east-1"),
)
PLACES = (A, B, OTHER_REGION)


def answer(place, *, owner=None, zone=None, state="running"):
    return Answer(
        I, place, place.account if owner is None else owner, place.region + "a" if zone is None else zone, state
    )


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([answer(A)], A),
        ([answer(A), answer(A)], A),
        ([answer(A, zone="")], A),
        ([answer(A, zone="eu-west-1-lax-1a")], A),
        ([answer(A, state="stopped")], A),
        ([answer(A), answer(B)], AMBIGUOUS),
        ([answer(A), answer(OTHER_REGION)], AMBIGUOUS),
        ([answer(A), answer(B, state="terminated")], AMBIGUOUS),
        ([answer(A, state="terminated")], TERMINATED),
        ([answer(A, state="shutting-down")], TERMINATED),
        ([answer(A, owner=B.account)], OTHER_OWNER),
        ([answer(A, owner="")], OTHER_OWNER),
        ([answer(A, zone="us-east-1a")], OTHER_OWNER),
        ([answer(A), answer(A, owner=B.account)], OTHER_OWNER),
        # Whose instance it is says its owner's own account.
        ([answer(A, owner=B.account), answer(B)], B),
        ([], NOT_FOUND),
    ],
)
def test_one_claim_is_a_place(answers, found):
    assert decide(answers) == found
    assert decide(reversed(answers)) == found


def test_places_that_do_not_answer():
    assert decide([], silent=[B]) == NOT_ANSWERED
    assert decide([answer(A)], silent=[B]) == A
    assert decide([], earlier=A, silent=[A]) == A
    assert decide([], earlier=A, silent=[B]) == NOT_ANSWERED
    assert decide([], earlier=A) == NOT_FOUND
    assert decide([answer(B)], earlier=A) == B
    assert decide([answer(B)], earlier=A, silent=[A]) == AMBIGUOUS


answers_ = st.lists(
    st.builds(
        Answer,
        st.just(I),
        st.sampled_from(PLACES),
        st.sampled_from([A.account, B.account, "", "x"]),
        st.sampled_from(["eu-west-1a", "us-east-1b", "", "nowhere"]),
        st.sampled_from(["running", "stopped", "terminated", "shutting-down", ""]),
    )
)


@given(answers_, st.none() | st.sampled_from(PLACES), st.sets(st.sampled_from(PLACES)))
def test_no_set_of_answers_yields_a_guess(answers, earlier, silent):
    """A place was claimed by its own owner and no other, and nobody contradicted; or it stands from before, unheard."""
    found = decide(answers, earlier=earlier, silent=silent)
    assert found == decide(answers[::-1], earlier=earlier, silent=silent)
    if isinstance(found, str):
        return
    of_it = [each for each in answers if each.place == found]
    assert of_it or (earlier == found and found in silent)
    assert all(each.owner == found.account and each.zone[: len(found.region)] in ("", found.region) for each in of_it)
    assert all(each.state not in ("terminated", "shutting-down") for each in of_it)
    honest = {
        each.place
        for each in answers
        if all(
            other.owner == each.place.account and other.zone[:9] in ("", each.place.region)
            for other in answers
            if other.place == each.place
        )
    }
    assert honest <= {found}
    assert earlier not in silent or earlier in (None, found) or earlier in {each.place for each in answers}


def test_what_is_remembered_is_recalled_and_no_more():
    known = {I: Known(5, A, ""), "i-00000000": Known(6, None, NOT_FOUND), "i-00000001": Known(7, None, NOT_ANSWERED)}
    assert recalled(remembered(known)) == {I: known[I], "i-00000000": known["i-00000000"]}


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        [5, A.account, A.region],
        [True, A.account, A.region, ""],
        ["5", A.account, A.region, ""],
        [5, "12345678901", A.region, ""],
        [5, A.account, "../../x", ""],
        [5, A.account, A.region, NOT_FOUND],
        [5, A.account, "", NOT_FOUND],
        [5, "", "", "because"],
        [5, "", "", NOT_ANSWERED],
        [5, [], {}, ""],
    ],
)
def test_entry_that_nobody_can_have_written_is_asked_for_again(entry):
    assert recalled({I: entry, "../x": [5, A.account, A.region, ""]}) == {}
    assert recalled([entry]) == recalled(None) == {}


def test_places_are_believed_for_a_week_and_reasons_for_a_day():
    day = 86400
    placed, lost = Known(100 * day, A, ""), Known(100 * day, None, NOT_FOUND)
    assert [placed.is_due(moment * day) for moment in (99, 100, 106.9, 107)] == [True, False, False, True]
    assert [lost.is_due(moment * day) for moment in (99, 100, 100.9, 101)] == [True, False, False, True]
