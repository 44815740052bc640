"""The title of a finding where ``[tenable] title_format`` says more than the plugin's name."""

from __future__ import annotations

import re

import msgspec

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.asff.plugin import PluginParts
from airflow_provider_tenable.asff.resource import Resource

#: The plugin's name; the asset's name; the EC2 instance, otherwise Tenable's asset id; account and Region of the
#: resource.
TITLE, ASSET_NAME, RESOURCE, ACCOUNT, REGION = FIELDS = ("title", "asset_name", "resource", "account", "region")
#: What a field without a value shows.
_NO_VALUE = "-"
#: Of a format without its fields, and of a value: together they leave room for a title.
LONGEST_FORMAT, LONGEST_VALUE = 60, 40
_OPENING = b'"Title":'
_FIELD = re.compile(r"\{([^{}]*)\}")


def check_title_format(text: str) -> None:
    """:raises ValueError: a format has an unknown field, or lacks the title; the text says what to do."""
    fields, rest = _FIELD.findall(text), _FIELD.sub("", text)
    if not set(fields) <= set(FIELDS) or set("{}") & set(rest):
        raise ValueError(f"its fields are {', '.join(f'{{{name}}}' for name in FIELDS)}, and it has no other braces")
    if TITLE not in fields or len(set(fields)) < len(fields):
        raise ValueError(f"it must contain {{{TITLE}}}, and no field twice")
    if len(rest) > LONGEST_FORMAT or not rest.isprintable():
        raise ValueError(f"beside its fields it may have up to {LONGEST_FORMAT} printable characters")


def title_of(plugin: PluginParts, resource: Resource, title_format: str) -> str:
    """The title by a format that was checked. Where it is too long, the plugin's name is truncated, not the rest."""
    values = {
        ASSET_NAME: resource.product_fields.get("asset_name"),
        RESOURCE: resource.resource,
        ACCOUNT: resource.account,
        REGION: resource.region,
    }
    before, after = (
        _FIELD.sub(lambda found: limits.text(values[found[1]], LONGEST_VALUE) or _NO_VALUE, piece)
        for piece in title_format.split(f"{{{TITLE}}}")
    )
    room = limits.TITLE - limits.length(before) - limits.length(after)
    title = limits.text(plugin.title, room) or plugin.title
    return f"{before}{title}{after}".strip()


def text_fields(plugin: PluginParts, resource: Resource, title_format: str) -> bytes:
    """``text_fields`` of a plugin with another title."""
    own = len(msgspec.json.encode(plugin.title))
    title = msgspec.json.encode(title_of(plugin, resource, title_format))
    return _OPENING + title + plugin.text_fields[len(_OPENING) + own :]
