"""What others wrote is quoted as one bounded line that steers nothing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.exceptions import ConfigurationError, DuplicateExportError, TenableProviderError
from airflow_provider_tenable.guards.foreign_text import LONGEST, safe, visible
from tests.plain_ids import plain

#: Control (Cc), format (Cf: bidirectional, zero-width, tags), surrogates, private use, unassigned; line and paragraph
#: separators.
ACTING = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def acts(text: str) -> bool:
    return any(unicodedata.category(char) in ACTING for char in text)


BREAKS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
ESCAPES = ["\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\x08", "\x00", "\x7f"]
OVERRIDES = [
    "\u202a",
    "\u202b",
    "\u202c",
    "\u202d",
    "\u202e",
    "\u2066",
    "\u2067",
    "\u2068",
    "\u2069",
    "\u200e",
    "\u200f",
    "\u061c",
    "\u200b",
    "\ufeff",
    "\U000e0041",
]


@pytest.mark.parametrize("text", BREAKS, ids=plain)
def test_a_line_break_of_any_kind_becomes_a_space(text):
    assert safe(f"one{text}two") == "one two"
    assert safe(f"{text}one{text}") == "one"
    assert visible(f"one{text}two").split() == ["one", "two"]


@pytest.mark.parametrize("text", [*ESCAPES, *OVERRIDES, "\ud800", "\ue000", "\uffff"], ids=plain)
def test_what_acts_is_shown_as_an_escape(text):
    quoted = safe(f"one{text}two")
    assert not acts(quoted)
    assert quoted.startswith("one\\")
    assert visible(f"one{text}two") == quoted


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(st.text(max_size=2_000), st.binary(max_size=2_000), st.integers(), st.none(), st.lists(st.text())),
    st.integers(2, 400),
)
@example("\x1b" * 5_000, LONGEST)
@example(" " * 10_000, LONGEST)
@example("".join(map(chr, range(0x300))), 400)
def test_whatever_comes_is_one_bounded_line(value, limit):
    quoted = safe(value, limit)
    assert len(quoted) <= limit
    assert not acts(quoted)
    assert len(quoted.splitlines()) <= 1
    assert quoted == quoted.strip()
    # Lone surrogates would fail whoever writes the log file.
    quoted.encode("utf-8")
    assert safe(quoted, limit) == quoted


@pytest.mark.parametrize(
    "text",
    ["", "Finding does not adhere to the format", "käse: 5 € ≥ 3", "日本語", "a 'quoted' \\ \"text\"", "x" * LONGEST],
)
def test_plain_words_stay_as_they_are(text):
    assert safe(text) == text


def test_a_long_text_ends_with_an_ellipsis():
    assert safe("x" * (LONGEST + 1)) == "x" * (LONGEST - 1) + "…"
    assert safe("word " * 100, 12) == "word word w\u2026"
    assert safe(b"x" * 10_000_000, 10) == "x" * 9 + "…"


def test_bytes_are_read_as_utf_8():
    assert safe("käse".encode()) == "käse"
    assert safe(b"a\xff\nb") == "a\ufffd b"


@pytest.mark.parametrize("kind", [TenableProviderError, ConfigurationError, DuplicateExportError])
def test_an_error_of_ours_is_one_line_whatever_it_quotes(kind):
    text = str(kind("Tenable answers: one\ntwo \x1b[31mthree\u202efour\u2028five"))
    assert text == "Tenable answers: one two \\x1b[31mthree\\u202efour five"
    assert not acts(text)
