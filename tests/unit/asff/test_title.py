"""``[tenable] title_format``: a title with the resource in it, which is never too long and keeps what it is for."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.asff.finding import MappingOptions
from airflow_provider_tenable.asff.plugin import decode_plugin, plugin_parts
from airflow_provider_tenable.asff.resource import ec2_resource
from airflow_provider_tenable.asff.title import FIELDS, LONGEST_FORMAT, check_title_format, title_of
from tests.unit.asff.mapping import INSTANCE, ROW, finding_of, plugin_record
from tests.unit.asff.test_row import content

EVERYTHING = "{title} on {asset_name}, {resource} ({account}/{region})"


def title(name: str, title_format: str, asset_name: str | None = "web-1") -> str:
    plugin = plugin_parts(decode_plugin(json.dumps({"id": 1, "name": name}).encode()))
    return title_of(plugin, ec2_resource(msgspec.structs.replace(ROW, name=asset_name)), title_format)


def test_default_is_the_name_of_the_plugin():
    assert MappingOptions().title_format == ""
    assert finding_of(plugin_record())["Title"] == "Title"


def test_fields():
    assert title("OpenSSL < 3", EVERYTHING) == f"OpenSSL < 3 on web-1, {INSTANCE} (111122223333/eu-west-1)"
    assert title("a", "{resource}: {title}") == f"{INSTANCE}: a"
    assert title("a", "{title} on {asset_name}", asset_name=None) == "a on -"


def test_a_finding_has_the_title_and_all_else():
    options = MappingOptions(title_format="{title} on {resource}")
    usual, other = (
        finding_of(plugin_record(name='"q" \u00e9')),
        finding_of(plugin_record(name='"q" \u00e9'), options=options),
    )
    assert other == {**usual, "Title": f'"q" \u00e9 on {INSTANCE}'}
    long = finding_of(plugin_record(name="x" * 300), options=options)["Title"]
    assert len(long) == 256
    assert long.endswith(f"x\u2026 on {INSTANCE}")


def test_what_a_name_contains_is_no_field():
    assert (
        title("{resource} {title}", "{title} on {asset_name}", asset_name="{account}")
        == "{resource} {title} on {account}"
    )


@pytest.mark.parametrize(
    "usable", ["{title}", "{title} on {resource}", EVERYTHING, "[{region}] {title}", "{title}" + "x" * LONGEST_FORMAT]
)
def test_usable_formats(usable):
    check_title_format(usable)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("", "must contain {title}"),
        ("on {resource}", "must contain {title}"),
        ("{title}{title}", "no field twice"),
        ("{title} {plugin}", "its fields are {title}, {asset_name}"),
        ("{title} {", "no other braces"),
        ("{title} {title!r}", "its fields are"),
        ("{title.__class__}", "its fields are"),
        ("{{title}}", "no other braces"),
        ("{title}" + "x" * (LONGEST_FORMAT + 1), "up to 60"),
        ("{title}\n", "printable"),
    ],
)
def test_a_format_that_cannot_be_used_says_why(wrong, words):
    with pytest.raises(ValueError, match=r"\{title}|printable") as error:
        check_title_format(wrong)
    assert words in str(error.value)


@given(
    st.text(max_size=600),
    st.text(max_size=200),
    st.permutations(FIELDS),
    st.text("x\U0001f600", max_size=LONGEST_FORMAT),
)
def test_a_title_always_fits_and_has_the_plugin_in_it(name, asset_name, fields, rest):
    made = title(name, rest + " ".join(f"{{{field}}}" for field in fields), asset_name)
    assert 0 < limits.length(made) <= limits.TITLE
    assert limits.text(made, limits.TITLE) == made


def test_the_format_is_material():
    assert len({content(), content(title_format="{title}"), content(title_format="{title} on {resource}")}) == 3
