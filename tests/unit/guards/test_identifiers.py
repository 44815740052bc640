"""Names of roles and connections: as IAM and Airflow define them, and nothing that could be read as a template where
Airflow's rule allows none.
"""

from __future__ import annotations

import re

import botocore.session
import pytest
from airflow.models.connection import CONN_ID_MAX_LEN, sanitize_conn_id

from airflow_provider_tenable.guards.identifiers import (
    invalid_target,
    is_connection_id,
    is_part_name,
    is_role_name,
    shown,
)

PRINTABLE = [chr(code) for code in range(0x20, 0x7F)]
GOOD = {"account": "111122223333", "region": "eu-west-1", "aws_conn_id": "aws_default", "role_name": "team/Import"}


def _iam(shape: str) -> tuple[re.Pattern[str], int]:
    """IAM's own pattern and longest length, from the model that botocore has of its API."""
    rules = botocore.session.get_session().get_service_model("iam").shape_for(shape).metadata
    return re.compile(rules["pattern"], re.ASCII), rules["max"]


@pytest.mark.parametrize("character", PRINTABLE)
def test_a_character_may_stand_in_a_roles_name_or_path_where_iam_allows_it(character):
    name, _ = _iam("roleNameType")
    path, _ = _iam("pathType")
    # A slash is where the path ends.
    assert is_role_name(f"a{character}b") == (character == "/" or bool(name.fullmatch(f"a{character}b")))
    assert is_role_name(f"a{character}b/Role") == bool(path.fullmatch(f"/a{character}b/"))


def test_a_roles_name_and_path_are_as_long_as_iam_allows():
    (_, longest), (_, longest_path) = _iam("roleNameType"), _iam("pathType")
    assert is_role_name("r" * longest)
    assert not is_role_name("r" * (longest + 1))
    path = "p" * (longest_path - 2) + "/"
    assert is_role_name(path + "r" * longest)
    assert not is_role_name("p" + path + "r")


@pytest.mark.parametrize(
    "value",
    ["", "/", "/team/Role", "team//Role", "team/", "Role\n", "Rôle", "te am/Role", "team/Ro{le", None, 7, ["Role"]],
)
def test_what_is_not_a_role_is_refused(value):
    assert not is_role_name(value)


@pytest.mark.parametrize("character", PRINTABLE)
def test_a_character_may_stand_in_a_connection_id_where_airflow_allows_it(character):
    conn_id = f"a{character}b"
    assert is_connection_id(conn_id) == (sanitize_conn_id(conn_id) == conn_id)


def test_a_connection_id_is_as_long_as_airflow_allows_and_holds_no_template():
    assert is_connection_id("c" * CONN_ID_MAX_LEN)
    assert not is_connection_id("c" * (CONN_ID_MAX_LEN + 1))
    assert not any(is_connection_id(value) for value in ("", " ", "a\n", "{{1}}", "{%x%}", "{#x#}", None, 7))


@pytest.mark.parametrize("name", ["part-0001-00000-0123456789abcdef.jsonl.zst", "part-shard-0000.jsonl.gz", "a0"])
def test_names_of_parts(name):
    assert is_part_name(name)


@pytest.mark.parametrize(
    "name", ["", "..", ".hidden", "a/b", "/etc/passwd", "a\\b", "a b", "a\n", "{{1}}", "p" * 300, None, 7]
)
def test_what_would_leave_its_folder_is_not_the_name_of_a_part(name):
    assert not is_part_name(name)


def test_a_target_is_invalid_by_the_first_of_its_names_that_is():
    assert invalid_target(**GOOD) is None
    assert invalid_target(**{**GOOD, "aws_conn_id": None, "role_name": None}) is None
    for name, value, words in [
        ("account", "../../1", "'../../1' is not an AWS account id"),
        ("account", None, "None is not an AWS account id"),
        ("region", "eu-west-1/../x", "is not an AWS Region"),
        ("region", 1, "1 is not an AWS Region"),
        ("aws_conn_id", "{{ conn.x }}", "'{{ conn.x }}' is not a connection id"),
        ("aws_conn_id", "", "'' is not a connection id"),
        ("role_name", "{{ conn.x }}", "'{{ conn.x }}' is not the name of an IAM role"),
        ("role_name", "", "'' is not the name of an IAM role"),
    ]:
        fault = invalid_target(**{**GOOD, name: value})
        assert fault is not None
        assert fault.endswith(words)


def test_what_is_shown_is_quoted_and_cut():
    assert shown("a\nb") == r"'a\nb'"
    assert shown(33333333333) == "33333333333"
    assert len(shown("x" * 1_000_000)) <= 120
    assert len(shown([{"a": "x" * 1_000_000}] * 1_000)) < 1_500
