"""Checks of single values: each takes a value and its path, and says what is wrong in the service's words (AJV's)."""

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sandbox.aws.asff.rules import LONGEST_STRING, TYPE_NAMESPACES, Pairs, Range, Text
from sandbox.aws.asff.timestamps import PUBLISHED_PATTERN, instant

Errors = list[str]
Check = Callable[[Any, str, Errors], None]

FIELD_TOO_LARGE = f"The maximum size of an individual field should be less than {LONGEST_STRING + 1}"

_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)
_URL = re.compile(
    r"(?:https?|ftp)://(?:[^\s/?#@]+@)?[^\s/?#.@:]+(?:\.[^\s/?#.@:]+)+\.?(?::\d{1,5})?(?:[/?#]\S*)?", re.IGNORECASE
)


def under(path: str, key: str) -> str:
    """The path of a member, as AJV writes it."""
    return f"{path}.{key}" if _IDENTIFIER.fullmatch(key) else f"{path}['{key}']"


@lru_cache(maxsize=4_096)
def is_url(text: str) -> bool:
    return _URL.fullmatch(text) is not None


@lru_cache(maxsize=4_096)
def _is_ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version and "%" not in text
    except ValueError:
        return False


_FORMATS: dict[str, Callable[[str], bool]] = {
    "url": is_url,
    "ipv4": lambda text: _is_ip(text, 4),
    "ipv6": lambda text: _is_ip(text, 6),
    "finding-type": lambda text: text.partition("/")[0] in TYPE_NAMESPACES,
}


def text_check(rule: Text) -> Check:
    """A check of a string by its rule."""
    longest, shortest, values = rule.longest, rule.shortest, frozenset(rule.values)
    pattern = re.compile(rule.pattern) if rule.pattern else None
    has_format = _FORMATS[rule.format] if rule.format else None

    def check(value: Any, path: str, errors: Errors) -> None:
        if type(value) is not str:
            errors.append(f"{path} should be string")
            return
        # The service does not say what a character is: the larger of code points and UTF-16 units counts here.
        length = len(value) if value.isascii() else len(value.encode("utf-16-le", "surrogatepass")) // 2
        if length < shortest:
            errors.append(f"{path} should NOT be shorter than {shortest} characters")
        elif length > longest:
            errors.append(
                FIELD_TOO_LARGE if length > LONGEST_STRING else f"{path} should NOT be longer than {longest} characters"
            )
        elif shortest and value.isspace():
            errors.append(rf'{path} should match pattern ".*\S.*"')
        elif values and value not in values:
            errors.append(f"{path} should be equal to one of the allowed values")
        elif pattern is not None and pattern.search(value) is None:
            errors.append(f'{path} should match pattern "{rule.pattern}"')
        elif has_format is not None and not has_format(value):
            errors.append(f'{path} should match format "{rule.format}"')

    return check


def timestamp_check(value: Any, path: str, errors: Errors) -> None:
    """A timestamp, parsed as a moment in time and not only matched by its form."""
    if type(value) is not str:
        errors.append(f"{path} should be string")
    elif instant(value) is None:
        errors.append(f'{path} should match pattern "{PUBLISHED_PATTERN}"')


def range_check(rule: Range | None) -> Check:
    """A check of an integer. A float is not accepted, not even 5.0."""

    def check(value: Any, path: str, errors: Errors) -> None:
        if type(value) is not int:
            errors.append(f"{path} should be integer")
        elif rule is not None and value < rule.least:
            errors.append(f"{path} should be >= {rule.least}")
        elif rule is not None and value > rule.greatest:
            errors.append(f"{path} should be <= {rule.greatest}")

    return check


def number_check(value: Any, path: str, errors: Errors) -> None:
    """A JSON number."""
    if type(value) is not float and type(value) is not int:
        errors.append(f"{path} should be number")


def boolean_check(value: Any, path: str, errors: Errors) -> None:
    """A JSON boolean."""
    if type(value) is not bool:
        errors.append(f"{path} should be boolean")


def pairs_check(rule: Pairs) -> Check:
    """A check of a map of strings."""
    most, key_check, value_check = rule.most, text_check(rule.key), text_check(rule.value)

    def check(value: Any, path: str, errors: Errors) -> None:
        if type(value) is not dict:
            errors.append(f"{path} should be object")
            return
        if len(value) > most:
            errors.append(f"{path} should NOT have more than {most} properties")
        for key, item in value.items():
            key_check(key, f"{path} property name '{key[:160]}'", errors)
            value_check(item, f"{path}['{key}']", errors)

    return check
