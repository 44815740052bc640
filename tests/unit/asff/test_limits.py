"""Texts are cut to their limits, last of all, on a character boundary, and blanks are nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.security_hub import batches

PUBLISHED = {
    "ID": 512,
    "TITLE": 256,
    "DESCRIPTION": 1024,
    "GENERATOR_ID": 512,
    "SEVERITY_ORIGINAL": 64,
    "PRODUCT_FIELD_VALUE": 2048,
    "RECOMMENDATION_TEXT": 512,
    "RESOURCE_ID": 512,
    "RESOURCE_REGION": 16,
    "RESOURCE_TAGS": 50,
    "RESOURCE_TAG_KEY": 128,
    "RESOURCE_TAG_VALUE": 256,
    "EC2_TYPE": 16,
    "EC2_IMAGE_ID": 64,
    "EC2_VPC_ID": 32,
    "EC2_SUBNET_ID": 32,
    "EC2_ADDRESSES": 10,
    "OTHER_VALUE": 1023,
    "VULNERABILITY_ID": 32,
    "VENDOR_SEVERITY": 32,
    "FINDING_BYTES": 240_000,
}


@pytest.mark.parametrize(("name", "value"), PUBLISHED.items())
def test_limit_is_the_published_one(name, value):
    assert getattr(limits, name) == value


def test_limits_of_our_own_keep_a_finding_small():
    assert (limits.REFERENCE_URLS, limits.PACKAGES, limits.PACKAGE_TEXT) == (20, 20, 512)


@pytest.mark.parametrize("control", ["\x00", "\x08", "\x0b", "\x1f", "\x7f", "\x80", "\x9f"])
def test_each_control_character_is_dropped_even_where_it_is_the_only_one(control):
    assert limits.text(f"a{control}b", 10) == limits.text(f"a\n{control}b", 10).replace("\n", "") == "ab"
    assert limits.text(f"é{control}b", 10) == "éb"


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("&lt;", "<"),
        ("&#62;", ">"),
        ("&#x3e;", ">"),
        ("&#0000000000000062;", ">"),
        ("&notit;", "&notit;"),
        ("&lt", "&lt"),
    ],
)
def test_complete_entities_alone_are_decoded(text, decoded):
    assert limits.prose(text, 30) == decoded


@pytest.mark.parametrize("nothing", ["n/a", "N/A", "None.", " none ", "n&#47;a", "", None])
def test_placeholder_is_no_advice(nothing):
    assert limits.advice(nothing, 30) is None
    assert limits.advice("None of them &lt; 2.", 30) == "None of them < 2."


def test_batch_holds_as_many_findings_as_a_call_may():
    assert batches.BATCH_FINDINGS == 100


def test_batch_leaves_room_below_six_megabytes():
    assert 5_000_000 <= batches.BATCH_BYTES <= 6_000_000 - 100_000


@pytest.mark.parametrize("value", [None, "", " ", "\n\t ", "\x00\x01", "\u00a0\u2003", "\x85"])
def test_blank_text_is_nothing(value):
    assert limits.text(value, 10) is None
    assert limits.prose(value, 10) is None


def test_text_at_the_limit_stays_and_one_over_is_cut_with_an_ellipsis():
    assert limits.text("x" * 10, 10) == "x" * 10
    assert limits.text("x" * 11, 10) == "x" * 9 + "…"
    assert limits.text("é" * 11, 10) == "é" * 9 + "…"


def utf16(value: str) -> int:
    return len(value.encode("utf-16-le")) // 2


@pytest.mark.parametrize(
    ("value", "limit", "expected"),
    [
        ("🙂" * 5, 10, "🙂" * 5),
        ("🙂" * 6, 10, "🙂" * 4 + "…"),
        ("🙂" * 6, 11, "🙂" * 5 + "…"),
        ("x" + "🙂" * 5, 10, "x🙂🙂🙂🙂…"),
        ("x" * 9 + "🙂", 10, "x" * 9 + "…"),
        ("x" * 8 + "🙂", 10, "x" * 8 + "🙂"),
        ("\x00" * 50 + "🙂" * 5, 10, "🙂" * 5),
        ("🙂" * 100_000, 3, "🙂…"),
        ("🙂🙂", 1, "…"),
        ("a 🙂b", 4, "a…"),
    ],
)
def test_characters_beyond_the_basic_plane_count_twice_and_are_never_halved(value, limit, expected):
    """AWS does not say what a character is: neither code points nor UTF-16 units may pass the limit."""
    assert limits.text(value, limit) == expected
    assert utf16(expected) <= limit
    assert limits.prose(value, limit) == expected


def test_address_is_measured_in_utf16_units_too():
    start = "https://example.com/"
    assert limits.url(start + "🙂" * ((2048 - len(start)) // 2)) is not None
    assert limits.url(start + "🙂" * ((2048 - len(start)) // 2 + 1)) is None


def test_no_blank_stands_before_the_ellipsis():
    assert limits.text("abc      xyz", 6) == "abc…"


def test_control_characters_are_dropped_but_tab_and_newline_stay():
    everything = "".join(map(chr, range(0x100)))
    kept = limits.text(f"a{everything}b", 1000)
    assert kept is not None
    assert {char for char in kept if ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0} == {"\t", "\n"}
    assert limits.text("a\x00b\x1b[0mc\x7f", 10) == "ab[0mc"


@pytest.mark.parametrize("filler", ["\x00", " ", "\n"])
def test_text_behind_a_long_run_of_nothing_is_found(filler):
    assert limits.text(filler * 100_000 + "here", 10) == "here"


def test_cut_text_shows_it_where_dropped_characters_fill_what_was_looked_at():
    assert limits.text("ab" + "\x00" * 100_000 + "cdefghijkl", 10) == "abcdefghi…"
    assert limits.text("ab" + " " * 100_000 + "c", 10) == "ab…"
    # What comes before the blanks fits exactly: more follows, so it is truncated too.
    assert limits.text("x" * 10 + " " * 100_000 + "c", 10) == "x" * 9 + "…"


def test_lone_surrogates_do_not_fail_the_truncation():
    assert limits.text("x" + "\ud800" * 20, 10) == "x…"


def test_megabytes_are_cut():
    assert limits.text("é" * 1_000_000, 2048) == "é" * 2047 + "…"
    assert limits.prose("&amp;" * 1_000_000, 256) == "&" * 255 + "…"


def test_entities_are_decoded_before_the_cut():
    assert limits.prose("&lt;script&gt;", 8) == "<script>"
    assert limits.prose("x" * 9 + "&amp;", 10) == "x" * 9 + "&"
    assert limits.prose("&lt;" * 11, 10) == "<" * 9 + "…"


def test_entity_is_decoded_once_only():
    assert limits.prose("&amp;lt;", 10) == "&lt;"


@pytest.mark.parametrize("value", ["&#0;", "&#xD800;", "&#x110000;", "&#1;", "&nosuch;", "&", "&;", "&#;", "&#x;"])
def test_odd_entities_give_text_that_utf8_can_carry(value):
    decoded = limits.prose(f"a{value}b", 100)
    assert decoded is not None
    assert decoded.encode().startswith(b"a")


def test_entity_of_thousands_of_digits_costs_nothing():
    value = "before &#" + "9" * 5000 + "; after"
    assert limits.prose(value, 20) == value[:19] + "…"


@given(st.text(), st.integers(1, 64))
@settings(max_examples=200, deadline=None)
def test_text_fits_and_is_idempotent(value, limit):
    cut = limits.text(value, limit)
    if cut is None:
        return
    assert 1 <= utf16(cut) <= limit
    assert cut == cut.strip() != ""
    assert limits.text(cut, limit) == cut
    cut.encode()


PIECES = ["word", " ", "\n", "\x00", "\x85", "\x7f", "é", "\U0001f600", "\ud800"]


@given(st.lists(st.tuples(st.sampled_from(PIECES), st.integers(1, 200)), max_size=8), st.integers(1, 64))
@example([(" ", 65), ("word", 100)], 64)
@example([("word", 1), (" ", 200), ("word", 100)], 64)
@settings(max_examples=300, deadline=None)
def test_cleaning_only_what_is_kept_gives_the_same_text(pieces, limit):
    value = "".join(piece * times for piece, times in pieces)
    whole = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "", value).strip()
    if limits.length(whole) > limit:
        whole = limits.beginning(whole, limit - 1).rstrip() + "…"
    assert limits.text(value, limit) == (whole or None)


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=80), st.integers(1, 64)
)
@settings(max_examples=200, deadline=None)
def test_cut_text_is_a_prefix_of_whole_characters(value, limit):
    cut = limits.text(value, limit)
    assert cut is not None
    if utf16(value.strip()) <= limit:
        assert cut == value.strip()
    else:
        assert cut[-1] == "…"
        assert value.strip().startswith(cut[:-1])


GOOD_URLS = [
    "https://www.tenable.com/plugins/nessus/1",
    "http://www.nessus.org/u?55aa8f57",
    "https://example.com",
    "https://example.com:8443/a",
    "HTTPS://Example.COM/Path?q=1#frag",
    "https://a-b.c-d.co.uk/%20/ü",
]
BAD_URLS = [
    None,
    5,
    ["https://example.com"],
    "",
    "h",
    "https://",
    "http://...",
    "ftp://example.com/",
    "javascript:alert(1)",
    "example.com/a",
    "https://a b.com/",
    "https://example.com/a b",
    "https://example.com/\x00",
    "https://localhost/x",
    "https://intranet",
    "http://10.0.0.1/",
    "http://192.168.1.1:8080/x",
    "http://[::1]/",
    "https://user:password@example.com/",
    "https://example.com?x=1",
    "https://-example.com/",
    "https://example.com:99999999/",
    "https://exa_mple.com/",
]


@pytest.mark.parametrize("value", GOOD_URLS)
def test_public_address_is_kept_as_it_is(value):
    assert limits.url(value) == value
    assert limits.url(f" {value}\n") == value


@pytest.mark.parametrize("value", BAD_URLS)
def test_what_security_hub_would_refuse_as_an_address_is_none(value):
    assert limits.url(value) is None


def test_address_at_the_limit_is_kept_and_one_over_is_never_halved():
    start = "https://example.com/"
    assert limits.url(start + "x" * (2048 - len(start))) is not None
    assert limits.url(start + "x" * (2049 - len(start))) is None


def test_hostile_host_name_takes_no_time_to_refuse():
    assert limits.url("https://" + "a-" * 1000 + "/") is None
    assert limits.url("https://" + "a." * 1000 + "/") is None
