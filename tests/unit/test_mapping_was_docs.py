"""docs/mapping.md says what the code does with web applications: fields, limits, ids, product fields, reasons."""

from __future__ import annotations

import json
import re
from typing import Any

from airflow_provider_tenable.asff import limits, was_plugin
from airflow_provider_tenable.asff.product_fields import PREFIX
from airflow_provider_tenable.run.was_params import parse_load_balancers
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from tests.docs_examples import blocks
from tests.unit.asff.test_was_finding import ASSET, FIRST, LOAD_BALANCER, mapped, record
from tests.unit.test_docs import DOCS
from tests.unit.test_mapping_docs import names, paths_of, section

OPENING = "Web applications"
FULL: dict[str, Any] = {
    "state": "FIXED",
    "severity_modification_type": "RECASTED",
    "recast_reason": "r",
    "http_method": "GET",
    "input_type": "form",
    "input_name": "q",
}


def rows(title: str) -> list[list[str]]:
    """The table of a part of the section."""
    text = section(OPENING) if title == OPENING else section(OPENING).split(f"### {title}\n", 1)[1]
    lines = [line for line in text.split("\n### ", 1)[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def documented(title: str) -> list[str]:
    return [re.findall(r"`([^`]+)`", row[0])[0] for row in rows(title)]


def findings() -> list[dict[str, Any]]:
    """With every field that the mapping can give: of an application, and of a load balancer."""
    asset = AssetRow(id=ASSET, name="Shop", tags='{"a":["b"]}', acr=5.0)
    return [mapped(record(**FULL), asset=asset)[0], mapped(record(**FULL), asset=asset, arn=LOAD_BALANCER)[0]]


def test_fields_are_those_of_vulnerabilities_and_those_of_the_table() -> None:
    emitted = set().union(*(paths_of(each) for each in findings()))
    assert emitted <= set(names("Fields")) | set(documented(OPENING))
    assert set(documented(OPENING)) <= emitted


def test_limits_are_those_of_the_code() -> None:
    assert {name: int(row[3]) for name, row in zip(documented(OPENING), rows(OPENING), strict=True) if row[3]} == {
        "Id": limits.ID,
        "GeneratorId": limits.GENERATOR_ID,
        "ProductFields": limits.PRODUCT_FIELD_VALUE,
        "Resources[0].Id": limits.RESOURCE_ID,
        "Resources[0].Region": limits.RESOURCE_REGION,
        "Resources[0].Details.Other": limits.OTHER_VALUE,
    }


def test_ids_are_those_of_the_code() -> None:
    finding = mapped(record())[0]
    parts = {"region": "eu-west-1", "account": "111122223333", "asset": ASSET, "finding id": FIRST["finding_id"]}
    for name, values in {
        "Id": parts,
        "GeneratorId": {"plugin": "112435"},
        "SourceUrl": {"id": "112435"},
        "Resources[0].Id": {"host": "www.unixtimestamp.com"},
    }.items():
        shape = re.findall(r"`([^`]*{[^`]+)`", rows(OPENING)[documented(OPENING).index(name)][2])[0]
        expected = re.sub(r"{([^}]+)}", lambda match, values=values: values[match[1]], shape)
        shown = finding["Resources"][0]["Id"] if name.startswith("Resources") else finding[name]
        assert shown.endswith(expected), name


def test_product_fields_are_those_of_the_code() -> None:
    own = set(documented("ProductFields of web applications"))
    emitted = {key.removeprefix(PREFIX) for each in findings() for key in each["ProductFields"]}
    # The host of Tenable's example is in each, and its plugin has every catalogue.
    assert own <= emitted
    assert emitted - own <= set(names("ProductFields"))
    of_asset = {"asset_uuid", "asset_name", "owner", "tags"}
    text = section(OPENING)
    assert all(f"`{name}`" in text for name in of_asset)
    assert not {"instance_type", "operating_system", "port", "protocol", "service", "source"} & emitted


def test_weaknesses_whose_output_is_hidden_are_those_of_the_code() -> None:
    (listed,) = re.findall(r"\(CWE ([\d, to\n]+)\)", section(OPENING))
    numbers: set[int] = set()
    for part in listed.split(","):
        first, _, last = part.strip().partition(" to ")
        numbers.update(range(int(first), int(last or first) + 1))
    assert {str(number) for number in numbers} == was_plugin.SECRETS


def test_the_map_of_the_page_can_be_used() -> None:
    (example,) = (json.loads(text) for text in blocks(DOCS / "web-applications.md", "json"))
    assert parse_load_balancers(example) == example
