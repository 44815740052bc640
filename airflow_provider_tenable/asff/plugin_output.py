"""Whose output may stand in a finding, and how it is taken out of what is staged.

A plugin's output is free text. Some plugins print the credentials that they found. Their output never stands in a
finding, whatever the user chose.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from airflow_provider_tenable.asff.product_fields import PREFIX
from airflow_provider_tenable.tenable_vm.records import Plugin

#: Plugin families (in lower case) whose output is credentials, with what it shows. Names as in Tenable's public lists:
#: tenable.com/plugins/nessus/families, tenable.com/plugins/nnm/families, tenable.com/plugins/families/about.
CREDENTIAL_FAMILIES = {
    # "Nessus was able to login to the remote host using the following credentials", with name and password:
    # tenable.com/plugins/nessus/families/Default Unix Accounts.
    "default unix accounts": "account names with their passwords",
    # They try lists of user names and passwords against a service:
    # tenable.com/plugins/nessus/families/Brute force attacks.
    "brute force attacks": "guessed user names and passwords",
    # Community names are passwords. Nessus 10264 and 41028 print those that the agent accepts, Nessus Network Monitor's
    # plugins those seen on the wire ("SNMP Password Community String"): tenable.com/plugins/nnm/families/SNMP.
    "snmp": "community names, which are the passwords of SNMP",
    # What Nessus Network Monitor sees pass unencrypted: tenable.com/plugins/nnm/families/Data Leakage.
    "data leakage": "passwords, card numbers and other confidential data seen on the network",
}

#: How the API, or somebody who rewrites it, says no to a question of yes or no.
_NO = frozenset({"", "0", "false", "no"})
_OUTPUT_FIELD = f"{PREFIX}output"
_FAMILY_FIELD = f"{PREFIX}plugin_family"
# The key with a text behind it, which may be cut off.
_OUTPUT = re.compile(rb'"output"\s*:\s*"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)


def shows_output(plugin: Plugin) -> bool:
    """Whether a plugin's output may stand in a finding: not if it checks for default accounts or prints credentials."""
    checks = plugin.checks_for_default_account
    if checks is not None and str(checks).strip().lower() not in _NO:
        return False
    return not _is_credential_family(plugin.family)


def _is_credential_family(family: str | None) -> bool:
    return bool(family) and " ".join(str(family).lower().split()) in CREDENTIAL_FAMILIES


def without_output(record: bytes) -> bytes:
    """A record that cannot be read as one, without its output: nobody can say which plugin it belongs to."""
    try:
        value = msgspec.json.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _OUTPUT.sub(b'"output":null', record)
    if not isinstance(value, dict) or "output" not in value:
        return record
    return msgspec.json.encode({name: item for name, item in value.items() if name != "output"})


def finding_without_output(finding: dict[str, Any], *, excerpt: bool) -> dict[str, Any]:
    """A finding as it may be sent today: one on record may be older than the choice, or than the list above.

    :param excerpt: whether findings may have an excerpt of the output at all.
    """
    fields = finding.get("ProductFields")
    if not isinstance(fields, dict) or _OUTPUT_FIELD not in fields:
        return finding
    if excerpt and not _is_credential_family(fields.get(_FAMILY_FIELD)):
        return finding
    return {**finding, "ProductFields": {name: value for name, value in fields.items() if name != _OUTPUT_FIELD}}
