"""Decides whose output may appear in a finding, and removes output from staged records.

A plugin's output is free text. Some plugins print the credentials that they found. Their output never appears in a
finding, whatever the user's option.
"""

from __future__ import annotations

import re
from collections.abc import Collection
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

#: How the API, or a system that rewrites its responses, writes a boolean false.
_NO = frozenset({"", "0", "false", "no"})
_OUTPUT_FIELD = f"{PREFIX}output"
_FAMILY_FIELD = f"{PREFIX}plugin_family"
# A key followed by a string, which may be truncated.
_STRING = rb'\s*:\s*"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'


def shows_output(plugin: Plugin) -> bool:
    """Whether a plugin's output may appear in a finding: not if it checks for default accounts or credentials."""
    checks = plugin.checks_for_default_account
    if checks is not None and str(checks).strip().lower() not in _NO:
        return False
    return not _is_credential_family(plugin.family)


def _is_credential_family(family: str | None) -> bool:
    return bool(family) and " ".join(str(family).lower().split()) in CREDENTIAL_FAMILIES


def without_output(record: bytes, names: Collection[str] = ("output",)) -> bytes:
    """An unreadable record without its output, because its plugin is unknown.

    :param names: the fields that hold output.
    """
    try:
        value = msgspec.json.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        for name in names:
            key = b'"%b"' % name.encode()
            record = re.sub(key + _STRING, key + b":null", record, flags=re.DOTALL)
        return record
    if not isinstance(value, dict) or not set(names) & set(value):
        return record
    return msgspec.json.encode({name: item for name, item in value.items() if name not in names})


def finding_without_output(finding: dict[str, Any], *, excerpt: bool) -> dict[str, Any]:
    """A recorded finding as it may be sent now: it may be older than the user's current option, or than the list above.

    :param excerpt: whether findings may have an excerpt of the output at all.
    """
    fields = finding.get("ProductFields")
    if not isinstance(fields, dict) or _OUTPUT_FIELD not in fields:
        return finding
    if excerpt and not _is_credential_family(fields.get(_FAMILY_FIELD)):
        return finding
    return {**finding, "ProductFields": {name: value for name, value in fields.items() if name != _OUTPUT_FIELD}}
