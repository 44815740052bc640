"""Ids of parametrised tests."""

from __future__ import annotations


def plain(value: object) -> str:
    """A value as an id without backslashes. Where pytest collects twice in a process, as mutmut does, it escapes them
    twice, and does not find the test again.
    """
    return ascii(value).replace("\\", "")[:60]
