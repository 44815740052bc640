"""A body without a word of a secret's forms has none of the forms; one that has a form is never passed over."""

from __future__ import annotations

import hashlib
import random

import pytest

from airflow_provider_tenable.guards import body_search, redaction
from airflow_provider_tenable.guards.body_search import SHORTEST_FORM, BodySearch
from airflow_provider_tenable.guards.encodings import literal_forms

KEY = hashlib.sha256(b"a key").hexdigest()


def text(length: int, seed: int) -> bytes:
    return bytes(random.Random(seed).choices(b'abcdefghijklmnop 0123456789{}":,', k=length))


@pytest.mark.parametrize("length", [*range(SHORTEST_FORM, 40), 63, 64, 65, 71, 72, 84, 85, 200])
def test_a_form_is_found_wherever_it_stands(length):
    # The second form is longer: the distance between the words must follow the shorter one.
    forms = (text(length, 1), text(length + 9, 2))
    search = BodySearch(forms)
    for form in forms:
        for begin in range(2 * length):
            for after in (0, 1, 7, 8, 100):
                assert search.may_contain(text(begin, 3) + form + text(after, 4))


def test_each_form_of_a_key_is_found_at_each_place_of_a_piece():
    forms = tuple(literal_forms(KEY))
    search, filling = BodySearch(forms), text(1_000, 5)
    assert len(forms) == 4
    for form in forms:
        for begin in range(len(filling)):
            assert search.may_contain(filling[:begin] + form + filling[begin:])


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 63, 64, 1_000, 65_536])
def test_a_body_without_a_word_of_any_form_contains_none(length):
    search = BodySearch(tuple(literal_forms(KEY)))
    for seed in range(20):
        assert not search.may_contain(text(length, seed))
        assert not search.may_contain(random.Random(seed).randbytes(length).hex().encode())


def test_words_with_the_hash_of_a_known_one_are_not_taken_for_it():
    search = BodySearch(tuple(literal_forms(KEY)))
    search._is_known[:] = True
    assert not search.may_contain(text(65_536, 6))
    assert search.may_contain(text(500, 7) + KEY.encode() + text(500, 8))


def test_the_words_of_many_keys_are_all_known():
    forms = {form for number in range(300) for form in literal_forms(hashlib.sha256(b"%d" % number).hexdigest())}
    search = BodySearch(tuple(forms))
    assert all(search.may_contain(text(13, 9) + form) for form in forms)
    assert not search.may_contain(text(65_536, 10))


def test_a_form_that_may_stand_between_the_words_is_an_error():
    with pytest.raises(ValueError, match="14 bytes; at least 15 are needed"):
        BodySearch((KEY.encode(), b"x" * (SHORTEST_FORM - 1)))


@pytest.mark.parametrize("secret", ["0123456789abcdef", "ééééééééééééééé/", "\\" * 16, "%2f" * 6, "\U0001f511" * 16])
def test_each_form_of_the_shortest_secret_is_long_enough(secret):
    assert len(secret) >= redaction.SHORTEST_IN_BODIES
    assert min(map(len, literal_forms(secret))) >= SHORTEST_FORM


def test_the_same_forms_are_prepared_once():
    forms = tuple(sorted(literal_forms(KEY)))
    assert body_search.search_for(forms) is body_search.search_for(tuple(sorted(literal_forms(KEY))))


def test_the_forms_are_compared_only_with_pieces_that_have_a_word_of_them(monkeypatch):
    monkeypatch.setattr(redaction, "_in_bodies", redaction._Known())
    monkeypatch.setattr(redaction, "_in_large_bodies", ())
    redaction.remember(KEY, in_bodies=True)
    compared = []
    contains = redaction._contains_form
    monkeypatch.setattr(redaction, "_contains_form", lambda data: compared.append(len(data)) or contains(data))
    pieces = [text(65_536, seed) for seed in range(20)]
    pieces[10] += KEY[:-1].encode() + text(1_000, 11)
    assert b"".join(redaction.scrub_pieces(pieces)) == b"".join(pieces)
    # The others are seams between two pieces.
    assert [size for size in compared if size >= 65_536] == [len(pieces[10])]
