import time

import pytest

from sandbox.clock import DAY, SandboxClock, iso


def test_the_clock_begins_behind_and_moves_on() -> None:
    clock = SandboxClock(-3 * DAY)
    assert clock.now() == pytest.approx(time.time() - 3 * DAY, abs=5)
    clock.advance(DAY)
    assert clock.now() == pytest.approx(time.time() - 2 * DAY, abs=5)
    clock.reset()
    assert clock.offset == -3 * DAY


def test_the_clock_never_goes_back() -> None:
    with pytest.raises(ValueError, match="only moves forward"):
        SandboxClock().advance(-1)


@pytest.mark.parametrize(
    ("digits", "text"),
    [(0, "2023-11-14T22:13:20Z"), (3, "2023-11-14T22:13:20.123Z"), (6, "2023-11-14T22:13:20.123456Z")],
)
def test_iso_writes_as_many_digits_as_asked(digits: int, text: str) -> None:
    assert iso(1_700_000_000.123456, digits) == text
