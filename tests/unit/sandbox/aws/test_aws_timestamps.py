"""Timestamps are read as moments, in the forms that Security Hub documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.aws.asff.timestamps import instant

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1.5),
        ("1970-01-01T00:00:00.000000001Z", 1e-9),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1970-01-01T02:00:00+0200", 0),
        ("1969-12-31T22:30:00-01:30", 0),
        ("2016-12-31T23:59:60Z", 1483228800),
        ("1969-12-31T23:59:59.5Z", -0.5),
    ],
)
def test_moment_is_read(text: str, seconds: float) -> None:
    assert instant(text) == round(seconds * SECOND)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zzz",
        "2024-01-01",
        "2024-01-01 00:00:00Z",
        "2024-01-01T00:00:00",
        "2024-01-01t00:00:00Z",
        "2024-01-01T00:00:00z",
        "2024-02-30T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z",
        "2024-01-01T12:59:60Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00.1234567890Z",
        "2024-01-01T00:00:00+18:01",
        "2024-01-01T00:00:00+01:60",
        "2024-01-01T00:00:00+01",
        "2024-01-01T00:00Z",
        "1709290800",
        "2024-01-01T00:00:00Z\n",
        "\uff12024-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
    ],
)
def test_other_forms_are_refused(text: str) -> None:
    assert instant(text) is None


@given(st.datetimes(), st.datetimes())
def test_order_of_moments_is_kept(one: object, other: object) -> None:
    first, second = instant(f"{one.isoformat()}Z"), instant(f"{other.isoformat()}Z")  # type: ignore[attr-defined]
    assert first is not None
    assert second is not None
    assert (one < other) == (first < second)  # type: ignore[operator]
