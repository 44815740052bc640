"""The part of a web application finding that comes from its plugin: built by :mod:`.plugin` from the fields that a
plugin of Tenable Web App Scanning has in common with one of Nessus, and from those that it has alone.
"""

from __future__ import annotations

import msgspec

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.asff.plugin import PluginParts, plugin_parts
from airflow_provider_tenable.asff.threat import FRAMEWORKS, KNOWN_EXPLOITED
from airflow_provider_tenable.tenable_vm.lenient import salvage, salvage_items
from airflow_provider_tenable.tenable_vm.records import NULL, Plugin
from airflow_provider_tenable.tenable_vm.was import Texts, WasPlugin, WasXref

#: What ``GeneratorId`` begins with: other kinds of plugins may have the same numbers.
GENERATOR = "tenable-was/"
#: Attributes of a plugin -> entries of ``ProductFields``.
CATALOGUES = ("owasp_2010", "owasp_2013", "owasp_2017", "owasp_2021", "owasp_api_2019", "wasc")
#: Weaknesses (CWE) whose evidence is a secret or somebody's data: the output of such a plugin quotes it. Credentials
#: and keys that are weak, guessed, hard-coded, unprotected, or sent in clear (255 to 261, 312, 319, 321, 359, 521 to
#: 523, 549, 598, 640, 798, 1391, 1392), and files and source code that lie open (530, 538 to 541, 552, 615).
SECRETS = frozenset(
    map(
        str,
        (255, 256, 257, 258, 259, 260, 261, 312, 319, 321, 359, 521, 522, 523, 530, 538, 540, 541, 549, 552, 598, 615,
         640, 798, 1391, 1392),
    )
)  # fmt: skip
#: A hostile plugin may have any number of entries.
_MOST_ENTRIES = 200
#: Fields that both kinds of plugins have under the same names.
_SAME = tuple(name for name in Plugin.__struct_fields__ if name in WasPlugin.__struct_fields__ and name != "xrefs")
#: What Tenable writes of exploits, where it does not say so otherwise.
_EASE = {"exploits are available": True, "no known exploits are available": False}
_decoder = msgspec.json.Decoder(WasPlugin)


def decode_was_plugin(data: bytes) -> WasPlugin:
    """Read a plugin, field by field where it does not fit its types. :raises ValueError: it has no usable id."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return salvage(data, WasPlugin)


def was_plugin_parts(plugin: WasPlugin) -> PluginParts:
    """Build a plugin's part of its findings."""
    cwe = _numbers(plugin.cwe)
    return plugin_parts(
        _as_plugin(plugin),
        page=f"https://www.tenable.com/plugins/was/{plugin.id}",
        generator_id=f"{GENERATOR}{plugin.id}",
        more={
            **{name: ", ".join(_sorted(getattr(plugin, name))) for name in CATALOGUES},
            "cwe": ", ".join(cwe),
            "plugin_id": str(plugin.id),
        },
        hides_output=not SECRETS.isdisjoint(cwe),
    )


def _as_plugin(plugin: WasPlugin) -> Plugin:
    """The fields that both kinds of plugins have, under the names of the other kind."""
    found = {name: getattr(plugin, name) for name in _SAME}
    # Every plugin lists all frameworks; those with an exploit have ids.
    frameworks = {each.type for each in plugin.exploit_frameworks or [] if each.type and each.ids}
    found |= {f"exploit_framework_{name}": True for name in FRAMEWORKS if name in frameworks}
    if plugin.exploit_available is None:
        found["exploit_available"] = _EASE.get((plugin.exploitability_ease or "").strip().rstrip(".").lower())
    if plugin.has_patch is None and plugin.patch_publication_date:
        found["has_patch"] = True
    return Plugin(
        **found,
        cvss_base_score=plugin.cvss2_base_score,
        cvss_vector=plugin.cvss2_vector,
        xrefs=_xrefs(bytes(plugin.xrefs)),
    )


def _xrefs(raw: bytes) -> msgspec.Raw:
    """The cross-references as the other kind of plugin has them, each id by itself, where one of them is of use."""
    if KNOWN_EXPLOITED.encode() not in raw:
        return NULL
    try:
        found = salvage_items(raw, WasXref)
    except (ValueError, RecursionError):
        return NULL
    return msgspec.Raw(
        msgspec.json.encode(
            [
                {"type": xref.type, "id": each}
                for xref in found[:_MOST_ENTRIES]
                for each in (xref.id if isinstance(xref.id, list) and xref.id else [xref.id])
                if not isinstance(each, list)
            ]
        )
    )


def _sorted(values: Texts) -> list[str]:
    """Texts in alphabetical order: Tenable does not promise any."""
    texts = [values] if isinstance(values, str) else map(str, (values or ())[:_MOST_ENTRIES])
    return sorted({text for value in texts if (text := limits.text(value, limits.OTHER_VALUE))})


def _numbers(values: Texts) -> list[str]:
    """The numbers of a catalogue, which Tenable writes as texts, in their order."""
    found = {text.upper().removeprefix("CWE-").strip() for text in _sorted(values)}
    return sorted((text for text in found if text), key=lambda text: (len(text), text))


__all__ = ["CATALOGUES", "GENERATOR", "SECRETS", "decode_was_plugin", "was_plugin_parts"]
