"""The params that say which vulnerabilities a DAG imports, beyond their severities and states.

DAG files import this module while Airflow parses them, so it must not import anything heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_tenable.run.run_param import RunParam

#: Most values of a list, longest text of one, and most categories of tags. Tenable documents no bounds; each is far
#: above what it has. ``transform/scope_values.py`` has the same rules for values that have not come through the form.
MOST_VALUES, LONGEST_NAME, MOST_CATEGORIES = 1_000, 200, 50
_UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# No braces: no text of a run is ever a template.
_TEXT: Mapping[str, Any] = {"type": "string", "maxLength": LONGEST_NAME, "pattern": r"^[^{}\x00-\x1f\x7f]*$"}
_FEW = {"minItems": 1, "maxItems": MOST_VALUES}
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
    "items": _TEXT,
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


def _tags_cover(asked: Any, usual: Any) -> bool:
    """Each further category leaves out more, and so does each value less."""
    wanted = usual or {}
    return all(
        category in wanted and values_of(wanted[category]) <= values_of(values)
        for category, values in (asked or {}).items()
    )


def _imports_potential(asked: Any, usual: Any) -> bool:
    return asked != "skip" or usual == "skip"


_PARAMS: Mapping[str, RunParam] = {
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
    "asset_tags": RunParam(
        default={},
        schema={
            "type": "object",
            "propertyNames": {**_TEXT, "minLength": 1},
            "additionalProperties": {"type": "array", "items": {**_TEXT, "minLength": 1}, **_FEW},
            "maxProperties": MOST_CATEGORIES,
        },
        title="Tags of assets",
        help='Tags in Tenable: `{"Environment": ["Production", "Staging"], "Owner": ["payments"]}`. An asset must have '
        "one of the values of each category.",
        covers=_tags_cover,
    ),
    "sources": RunParam(
        default=None,
        schema={**_NAMES, "items": {"type": "string", "pattern": r"^\s*([A-Z][A-Z_]{0,39}\s*)?$"}},
        title="Sources",
        help="What has found it, one per line, as Tenable names it: `AGENT`, `NESSUS`, `NNM`. Empty: all.",
        covers=_chooses_as_much,
    ),
    "network_ids": RunParam(
        default=None,
        schema={**_NAMES, "items": {"type": "string", "pattern": rf"^\s*({_UUID}\s*)?$"}},
        title="Networks",
        help="Ids of Tenable's networks, one per line. Empty: all.",
        covers=_chooses_as_much,
    ),
    "potential_packages": RunParam(
        default="import",
        schema={"type": "string", "enum": ["import", "skip"]},
        title="Potential findings",
        help="`skip`: leave out what was found only in packages of which Tenable is not certain that they are "
        "affected.",
        covers=_imports_potential,
    ),
}


#: A part of the params of ``tenable_to_security_hub``, in the order of its form, where they are a section of their own.
SCOPE: Mapping[str, RunParam] = {
    name: replace(param, schema={**param.schema, "section": "Scope"}) for name, param in _PARAMS.items()
}


__all__ = ["SCOPE", "RunParam", "values_of"]
