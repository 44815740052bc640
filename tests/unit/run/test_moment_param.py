"""The pattern of ``since`` and ``until`` in the trigger form agrees with what the run reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from airflow_provider_tenable._compat import AirflowException
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run.form import import_params
from airflow_provider_tenable.run.params import IMPORT
from airflow_provider_tenable.run.watermark import parse_moment

_VALIDATOR = Draft7Validator(IMPORT["since"].schema)


def _changed(text: str, at: int, new: str) -> str:
    return text[: at % len(text)] + new + text[at % len(text) + 1 :]


_two = st.integers(0, 60).map("{:02}".format)
_date = st.one_of(
    st.dates().map(str),
    st.dates().map(lambda day: day.strftime("%Y%m%d")),
    st.builds("{:04}-W{}-{}".format, st.integers(1970, 9999), _two, st.integers(0, 8)),
    st.builds("{:04}W{}{}".format, st.integers(1970, 9999), _two, st.integers(0, 8)),
    st.builds("{:04}-W{}".format, st.integers(1970, 9999), _two),
)
_fraction = st.one_of(st.just(""), st.from_regex(r"[.,][0-9]{1,9}", fullmatch=True))
_clock = st.one_of(
    _two,
    st.builds("{}:{}".format, _two, _two),
    st.builds("{}{}".format, _two, _two),
    st.builds("{}:{}:{}{}".format, _two, _two, _two, _fraction),
    st.builds("{}{}{}{}".format, _two, _two, _two, _fraction),
)
_offset = st.one_of(st.just(""), st.sampled_from("Zz"), st.builds("{}{}".format, st.sampled_from("+-"), _clock))
_near = st.builds("{}{}{}{}".format, _date, st.characters(), _clock, _offset)
_text = st.one_of(
    _date,
    _near,
    st.text(),
    st.from_regex(r"\s*[0-9]{1,13}(\.[0-9]+)?\s*", fullmatch=True),
    # One character of something that is nearly right is lost, or another one.
    st.builds(_changed, _near, st.integers(0), st.text(max_size=1)),
)


def _reads(value: Any) -> bool:
    try:
        parse_moment(value, "since")
    except ConfigurationError:
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(_text)
@example("2026-11-23\n10:00")
@example("\u0661\u0662")
@example("\u2003 2026-11-23 \x1f")
@example("2026-11-23T10:00:00+01:00:30.5")
@example("20261123T100000,5Z")
def test_the_form_takes_every_text_that_a_run_reads(text: str) -> None:
    if _reads(text):
        assert _VALIDATOR.is_valid(text)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.none()))
@example(0)
@example(1_790_000_000.5)
def test_the_form_takes_every_number_that_a_run_reads(value: object) -> None:
    if _reads(value):
        assert _VALIDATOR.is_valid(value)


@pytest.mark.parametrize(
    "text",
    [
        "19700110000000Z",
        "yesterday",
        "now",
        "-1",
        "1e9",
        "1_000",
        "23.11.2026",
        "11/23/2026",
        "2026-11",
        "2026-11-23T00:00:00 UTC",
        "2026-11-23T",
        "2026-11-23 noon",
        "{{ ds }}",
        "1790000000; 1",
        "2026-11-23T00:00:00Z until today",
        -1,
        True,
        [],
        {},
    ],
)
def test_the_form_refuses_what_no_run_reads(text: object) -> None:
    assert not _reads(text)
    for name in ("since", "until"):
        with pytest.raises(AirflowException, match=r"does not match|less than the minimum|is not valid under any"):
            import_params()[name].resolve(text)


def test_a_long_text_from_outside_does_not_keep_the_api_server_busy() -> None:
    """Each of them takes minutes where a pattern can match its blanks or digits in two ways."""
    digits = "1" * 1_000_000
    for text in (digits, f"2026-11-23T{digits}", f"2026-11-23T10:10:10.{digits}x", " " * 1_000_000 + "x"):
        assert not _VALIDATOR.is_valid(text)
