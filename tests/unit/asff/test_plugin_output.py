"""Plugin output: an excerpt where it is wanted, and none of it where it is credentials."""

from __future__ import annotations

import json

import pytest

from airflow_provider_tenable.asff.finding import MappingOptions
from airflow_provider_tenable.asff.plugin_output import CREDENTIAL_FAMILIES, finding_without_output, without_output
from tests.unit.asff.mapping import PREFIX, finding_of, line_of, record

SECRET = "Password : hunter2"
OUTPUT = f"{PREFIX}output"
QUIET = MappingOptions(plugin_output=False)


def with_plugin(**plugin):
    return record(finding_id="f", output=SECRET, plugin={"id": 1, "name": "n", **plugin})


def test_an_ordinary_plugins_output_stands_in_the_finding():
    for plugin in ({}, {"family": "CGI abuses"}, {"family": None}, {"checks_for_default_account": False}):
        assert finding_of(with_plugin(**plugin))["ProductFields"][OUTPUT] == SECRET


@pytest.mark.parametrize(
    "change", [{}, {"finding_id": None}, {"plugin": {"id": 1, "family": "SNMP"}}, {"output": None}]
)
def test_without_the_option_there_is_none_and_all_else_is_the_same(change):
    value = {**with_plugin(), **change}
    whole, quiet = finding_of(value), finding_of(value, options=QUIET)
    assert SECRET.encode() not in line_of(value, options=QUIET)
    whole["ProductFields"].pop(OUTPUT, None)
    assert whole == quiet


@pytest.mark.parametrize(
    "family",
    [
        "Default Unix Accounts",
        "Brute force attacks",
        "SNMP",
        "Data Leakage",
        " default  unix ACCOUNTS ",
        "BRUTE FORCE ATTACKS",
    ],
)
@pytest.mark.parametrize("scheme", ["port", "tvm2aws"])
@pytest.mark.parametrize("finding_id", ["f", None])
def test_output_of_families_that_print_credentials_never_stands_in_a_finding(family, scheme, finding_id):
    value = {**with_plugin(family=family), "finding_id": finding_id}
    finding = finding_of(value, options=MappingOptions(id_scheme=scheme))
    assert OUTPUT not in finding["ProductFields"]
    assert SECRET not in json.dumps(finding)


def test_the_families_are_written_as_they_are_compared():
    assert all(family == " ".join(family.lower().split()) and shown for family, shown in CREDENTIAL_FAMILIES.items())


# A value that says yes in any form, and one that cannot be understood, count as yes.
@pytest.mark.parametrize("checks", [True, "true", "True", "yes", 1, 1.5, "1", "perhaps"])
def test_output_of_plugins_that_check_for_default_accounts_never_stands_in_a_finding(checks):
    assert OUTPUT not in finding_of(with_plugin(checks_for_default_account=checks))["ProductFields"]


@pytest.mark.parametrize("checks", [False, None, "false", "FALSE", "no", "", 0, "0", [], {}])
def test_a_plugin_that_does_not_check_for_them_shows_its_output(checks):
    assert OUTPUT in finding_of(with_plugin(checks_for_default_account=checks))["ProductFields"]


@pytest.mark.parametrize(
    ("kept", "left"),
    [
        (b'{"output":"x","a":1}', b'{"a":1}'),
        (b'{"a":1}', b'{"a":1}'),
        (b'["output"]', b'["output"]'),
        (b'"output"', b'"output"'),
        (b'{"a":NaN,"output" :\n"x \\" y","b":2}', b'{"a":NaN,"output":null,"b":2}'),
        (b'{"a":NaN,"output":"x\\', b'{"a":NaN,"output":null'),
        (b'{"a":"\xff \\"output\\": \\"no key\\""}', b'{"a":"\xff \\"output\\": \\"no key\\""}'),
        (b'{"a":"\xff","output":"\n\xfe","b":"output"}', b'{"a":"\xff","output":null,"b":"output"}'),
    ],
)
def test_an_unreadable_record_loses_its_output_and_nothing_else(kept, left):
    assert without_output(kept) == left


def test_a_record_nested_deeper_than_a_parser_goes_loses_its_output_too():
    deep = b'{"output":"x","a":%b%b}' % (b"[" * 5000, b"]" * 5000)
    assert without_output(deep) == deep.replace(b'"x"', b"null")


def test_a_finding_on_record_keeps_all_but_its_output():
    finding = {"Id": "1", "ProductFields": {OUTPUT: "x", f"{PREFIX}plugin_family": "Web"}}
    assert finding_without_output(finding, excerpt=True) is finding
    assert finding_without_output(finding, excerpt=False) == {
        "Id": "1",
        "ProductFields": {f"{PREFIX}plugin_family": "Web"},
    }
    credentials = {"Id": "1", "ProductFields": {OUTPUT: "x", f"{PREFIX}plugin_family": "Brute force attacks"}}
    assert OUTPUT not in finding_without_output(credentials, excerpt=True)["ProductFields"]
    for other in ({}, {"ProductFields": None}, {"ProductFields": {}}):
        assert finding_without_output(other, excerpt=False) == other
