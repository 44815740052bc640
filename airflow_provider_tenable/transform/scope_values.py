"""Reads a scope: the params of a DAG, or those of one destination."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import LONGEST_MESSAGE, quoted
from airflow_provider_tenable.transform.scope import IMPORT, SKIP, Scope

_Item = TypeVar("_Item", int, str)

#: As in ``run/scope_params.py``.
MOST_VALUES, LONGEST_NAME, MOST_CATEGORIES = 1_000, 200, 50
_ID = re.compile(r"\s*([1-9]\d{0,9})\s*", re.ASCII)
_NAME = re.compile(r"[^{}\x00-\x1f\x7f]*")
_SOURCE = re.compile(r"\s*([A-Z][A-Z_]{0,39})\s*")
_UUID = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def parse_scope(params: Mapping[str, Any]) -> Scope:
    """The scope that params ask for: those of a backfill, of a trigger by another DAG or of ``dag.test`` may bypass the
    form.

    :raises ConfigurationError: a value is invalid. The message names the param, its value and the values allowed.
    """
    exploited, least = params.get("known_exploited_only", False), params.get("min_vpr")
    potential = params.get("potential_packages", IMPORT)
    if not isinstance(exploited, bool):
        raise _wrong("known_exploited_only", exploited, "true or false")
    if least is not None and (not isinstance(least, (int, float)) or isinstance(least, bool) or not 0.1 <= least <= 10):
        raise _wrong("min_vpr", least, "a number from 0.1 to 10, or empty")
    if potential not in (IMPORT, SKIP):
        raise _wrong("potential_packages", potential, "one of import, skip")
    ids, families = "ids of plugins, such as 19506", f"names of plugin families of at most {LONGEST_NAME} characters"
    return Scope(
        plugin_ids=_list("plugin_ids", params, _id, ids),
        exclude_plugin_ids=_list("exclude_plugin_ids", params, _id, ids),
        plugin_families=_list("plugin_families", params, _text, families),
        exclude_plugin_families=_list("exclude_plugin_families", params, _text, families),
        known_exploited_only=exploited,
        min_vpr=least,
        asset_tags=_tags(params.get("asset_tags", {})),
        sources=_list("sources", params, _source, "sources in capital letters, such as AGENT"),
        network_ids=_list("network_ids", params, _network, "uuids of networks"),
        potential_packages=potential,
    )


def _id(item: Any) -> int | None:
    found = _ID.fullmatch(str(item)) if isinstance(item, (int, str)) and not isinstance(item, bool) else None
    return int(found[1]) if found else None


def _text(item: Any) -> str | None:
    is_text = isinstance(item, str) and len(item) <= LONGEST_NAME and _NAME.fullmatch(item)
    return item.strip() if is_text else None


def _source(item: Any) -> str | None:
    found = _SOURCE.fullmatch(item) if isinstance(item, str) else None
    return found[1] if found else None


def _network(item: Any) -> str | None:
    is_id = isinstance(item, str) and _UUID.fullmatch(item.strip())
    return item.strip().lower() if is_id else None


def _tags(value: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping) or len(value) > MOST_CATEGORIES:
        raise _wrong("asset_tags", value, f"an object of at most {MOST_CATEGORIES} categories")
    found = {}
    for category, values in sorted(value.items(), key=str):
        texts = values if isinstance(values, (list, tuple)) and len(values) <= MOST_VALUES else ()
        # Blanks belong to a tag.
        if not texts or any(not text or _text(text) is None for text in (category, *texts)):
            raise _wrong("asset_tags", {category: values}, "an object of category -> list of values, without braces")
        found[category] = tuple(sorted(set(texts)))
    return found


def _list(name: str, params: Mapping[str, Any], read: Callable[[Any], _Item | None], what: str) -> tuple[_Item, ...]:
    """The values of a list in their natural order, each once, without blank lines.

    :param read: a value; None if it is invalid.
    """
    value = params.get(name)
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


__all__ = ["parse_scope"]
