"""The params that say which vulnerabilities a DAG imports, beyond their severities and states.

DAG files import this module while Airflow parses them, so it must not import anything heavy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import LONGEST_MESSAGE, quoted
from airflow_provider_tenable.run.run_param import RunParam

if TYPE_CHECKING:
    from airflow_provider_tenable.transform.scope import Scope

_Item = TypeVar("_Item", int, str)

#: Most values of a list, and the longest name of a family. Tenable documents no bounds; each is far above what it has.
MOST_VALUES, LONGEST_NAME = 1_000, 200
_ID = re.compile(r"\s*([1-9]\d{0,9})\s*", re.ASCII)
_NAME = re.compile(r"[^{}\x00-\x1f\x7f]*")
# The form shows one line per value, and submits lines without text as well. Without a type of the items, Airflow 3's
# form does so although numbers are allowed, too; 2.11's shows JSON.
_IDS: Mapping[str, Any] = {
    "type": ["null", "array"],
    "items": {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": 9_999_999_999},
            {"type": "string", "pattern": r"^\s*([1-9][0-9]{0,9}\s*)?$"},
        ]
    },
    "maxItems": MOST_VALUES,
}
_NAMES: Mapping[str, Any] = {
    "type": ["null", "array"],
    # No braces: no text of a run is ever a template.
    "items": {"type": "string", "maxLength": LONGEST_NAME, "pattern": r"^[^{}\x00-\x1f\x7f]*$"},
    "maxItems": MOST_VALUES,
}


def values_of(value: Any) -> frozenset[str]:
    """The values of a list, as texts, without the blank lines that a form may submit."""
    items = value if isinstance(value, (list, tuple)) else ()
    return frozenset(text for item in items if (text := str(item).strip()))


def _chooses_as_much(asked: Any, usual: Any) -> bool:
    chosen, wanted = values_of(asked), values_of(usual)
    return not chosen or (bool(wanted) and wanted <= chosen)


def _excludes_no_more(asked: Any, usual: Any) -> bool:
    return values_of(asked) <= values_of(usual)


def _not_only(asked: Any, usual: Any) -> bool:
    return not asked or bool(usual)


def _no_higher(asked: Any, usual: Any) -> bool:
    return asked is None or (usual is not None and asked <= usual)


#: A part of the params of ``tenable_to_security_hub``, in the order of its form.
SCOPE: Mapping[str, RunParam] = {
    "plugin_ids": RunParam(
        default=None,
        schema=_IDS,
        title="Plugins",
        help="Ids of the plugins to import, one per line. Empty: all.",
        more="See [below](#scope), as for the following ones.",
        covers=_chooses_as_much,
    ),
    "exclude_plugin_ids": RunParam(
        default=None,
        schema=_IDS,
        title="Plugins to leave out",
        help="Ids of plugins whose findings are not imported, one per line.",
        covers=_excludes_no_more,
    ),
    "plugin_families": RunParam(
        default=None,
        schema=_NAMES,
        title="Plugin families",
        help="Plugin families to import, one per line, as Tenable writes them: `Windows : Microsoft Bulletins`. "
        "Empty: all.",
        covers=_chooses_as_much,
    ),
    "exclude_plugin_families": RunParam(
        default=None,
        schema=_NAMES,
        title="Plugin families to leave out",
        help="Plugin families whose findings are not imported, one per line, as Tenable writes them.",
        covers=_excludes_no_more,
    ),
    "known_exploited_only": RunParam(
        default=False,
        schema={"type": "boolean"},
        title="Only known exploited vulnerabilities",
        help="Import only findings with a CVE in CISA's catalogue of known exploited vulnerabilities.",
        covers=_not_only,
    ),
    "min_vpr": RunParam(
        default=None,
        schema={"type": ["null", "number"], "minimum": 0.1, "maximum": 10},
        title="Minimum VPR",
        help="Lowest Vulnerability Priority Rating to import, 0.1 to 10. What has none is left out. Empty: all.",
        covers=_no_higher,
    ),
}


def parse_scope(params: Mapping[str, Any]) -> Scope:
    """The scope that params ask for: those of a backfill, of a trigger by another DAG or of ``dag.test`` may bypass the
    form.

    :raises ConfigurationError: a value is invalid. The message names the param, its value and the values allowed.
    """
    from airflow_provider_tenable.transform.scope import Scope

    given = {name: params.get(name, param.default) for name, param in SCOPE.items()}
    exploited, least = given["known_exploited_only"], given["min_vpr"]
    if not isinstance(exploited, bool):
        raise _wrong("known_exploited_only", exploited, "true or false")
    if least is not None and (not isinstance(least, (int, float)) or isinstance(least, bool) or not 0.1 <= least <= 10):
        raise _wrong("min_vpr", least, "a number from 0.1 to 10, or empty")
    return Scope(
        plugin_ids=_ids("plugin_ids", given),
        exclude_plugin_ids=_ids("exclude_plugin_ids", given),
        plugin_families=_names("plugin_families", given),
        exclude_plugin_families=_names("exclude_plugin_families", given),
        known_exploited_only=exploited,
        min_vpr=least,
    )


def _ids(name: str, given: Mapping[str, Any]) -> tuple[int, ...]:
    def read(item: Any) -> int | None:
        found = _ID.fullmatch(str(item)) if isinstance(item, (int, str)) and not isinstance(item, bool) else None
        return int(found[1]) if found else None

    return _list(name, given[name], read, "ids of plugins, such as 19506")


def _names(name: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    def read(item: Any) -> str | None:
        is_name = isinstance(item, str) and len(item) <= LONGEST_NAME and _NAME.fullmatch(item)
        return item.strip() if is_name else None

    return _list(name, given[name], read, f"names of plugin families of at most {LONGEST_NAME} characters")


def _list(name: str, value: Any, read: Callable[[Any], _Item | None], what: str) -> tuple[_Item, ...]:
    """The values of a list in their natural order, each once, without blank lines.

    :param read: a value; None if it is invalid.
    """
    if value is None:
        return ()
    wanted = f"a list of at most {MOST_VALUES} {what}, or empty"
    if not isinstance(value, (list, tuple)) or len(value) > MOST_VALUES:
        raise _wrong(name, value, wanted)
    found: set[_Item] = set()
    for item in value:
        if isinstance(item, str) and not item.strip():
            continue
        if (each := read(item)) is None:
            raise _wrong(name, item, wanted)
        found.add(each)
    return tuple(sorted(found))


def _wrong(name: str, value: Any, wanted: str) -> ConfigurationError:
    return ConfigurationError(f"{name} is {quoted(value, LONGEST_MESSAGE)}; it must be {wanted}.")


__all__ = ["LONGEST_NAME", "MOST_VALUES", "SCOPE", "RunParam", "parse_scope", "values_of"]
