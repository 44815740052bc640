"""Checks of the body of an export request that both kinds of export share."""

from collections.abc import Callable, Mapping
from typing import Any

LATEST_TIME = 9_999_999_999
"""Times are epoch seconds of at most ten digits; a larger number is in milliseconds."""

Check = Callable[[str, Any], Any]
"""Takes a name and a value, returns the value as it is used, or raises `RefusedError`."""


class RefusedError(Exception):
    """The body is not valid: 400, and why."""


def object_of(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RefusedError(f"{name} must be an object, not {value!r}")
    return value


def checked(name: str, given: Mapping[str, Any], known: Mapping[str, Check]) -> dict[str, Any]:
    """The given values, each through its check; an unknown name is refused."""
    values = {}
    for key, value in given.items():
        if key not in known:
            raise RefusedError(f"Unknown {name}: {key}")
        values[key] = known[key](key, value)
    return values


def boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise RefusedError(f"{name} must be true or false, not {value!r}")
    return value


def integer(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise RefusedError(f"{name} must be an integer, not {value!r}")
    return value


def text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise RefusedError(f"{name} must be a string, not {value!r}")
    return value


def time(name: str, value: Any) -> int:
    seconds = integer(name, value)
    if not 0 <= seconds <= LATEST_TIME:
        raise RefusedError(f"{name} must be epoch seconds, not {value!r}")
    return seconds


def list_of(check: Check, *, at_most: int | None = None) -> Check:
    """A list that is not empty, with each item checked."""

    def check_list(name: str, value: Any) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise RefusedError(f"{name} must be a list with at least one item, not {value!r}")
        if at_most is not None and len(value) > at_most:
            raise RefusedError(f"{name} may hold at most {at_most} items, not {len(value)}")
        return [check(name, item) for item in value]

    return check_list


def one_of(*allowed: str, any_case: bool = True) -> Check:
    """One of some words, given back as they are listed here."""

    def check_word(name: str, value: Any) -> str:
        for word in allowed:
            if isinstance(value, str) and (value == word or (any_case and value.upper() == word.upper())):
                return word
        raise RefusedError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")

    return check_word


def number_range(*, lowest: float, highest: float) -> Check:
    """`{eq[], neq[], gt, gte, lt, lte}` of numbers."""

    def number(name: str, value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not lowest <= value <= highest:
            raise RefusedError(f"{name} must be a number from {lowest} to {highest}, not {value!r}")
        return value

    bounds = {"eq": list_of(number), "neq": list_of(number), "gt": number, "gte": number, "lt": number, "lte": number}

    def check_range(name: str, value: Any) -> dict[str, Any]:
        return checked(f"comparison of {name}", object_of(name, value), bounds)

    return check_range


def within(value: float | None, bounds: Mapping[str, Any]) -> bool:
    """Whether a number lies in a checked `number_range`; a missing number lies in none."""
    if value is None:
        return False
    return (
        value in bounds.get("eq", [value])
        and value not in bounds.get("neq", [])
        and not ("gt" in bounds and value <= bounds["gt"])
        and not ("gte" in bounds and value < bounds["gte"])
        and not ("lt" in bounds and value >= bounds["lt"])
        and not ("lte" in bounds and value > bounds["lte"])
    )


def not_simulated(name: str, value: Any) -> Any:
    """A filter that Tenable knows and the sandbox does not; ignoring it would give a wrong answer."""
    raise RefusedError(f"{name} is known to Tenable, but the sandbox does not simulate it")
