"""The page as HTML: Jinja templates in ``templates/``, which escape every text."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.guards.foreign_text import safe, visible
from airflow_provider_tenable.tenable_vm.times import utc

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"
#: Texts on the page are at most this long; the export has the whole of most.
_LONGEST = 600


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        # By type and not by the templates' names: there is no text without an escape.
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, moment=_moment, safe_text=lambda value: safe(value, _LONGEST))
    return environment


def _shown(value: Any) -> Any:
    """Whatever a template shows: control characters and bidirectional overrides as escapes. Markup is our own."""
    return visible(value) if type(value) is str else value


def _number(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:,}"


def _moment(seconds: float | None) -> str:
    return utc(seconds or None)


def render(template: str, nonce: str, **content: Any) -> bytes:
    """A template as UTF-8.

    :param template: its file name.
    :param nonce: that of the response's Content-Security-Policy: without it, browsers ignore styles and scripts.
    """
    return _environment().get_template(template).render(nonce=nonce, **content).encode()


__all__ = ["render"]
