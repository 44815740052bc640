"""Every reason that a ledger may have is explained, in the words of docs/mapping.md's table."""

from __future__ import annotations

import re
from pathlib import Path

from airflow_provider_tenable.transform.routing import CHOSEN as CHOSEN_BY_ROUTING
from airflow_provider_tenable.ui.reasons import CHOSEN, REASONS, explained

MAPPING = (Path(__file__).parents[3] / "docs" / "mapping.md").read_text()


def test_every_reason_of_the_documentation_is_explained() -> None:
    table = MAPPING.split("## Why a record does not become a finding")[1].split("\n\n")[2]
    assert set(re.findall(r"^\| `([a-z0-9_]+)` \|", table, re.MULTILINE)) == set(REASONS)


def test_every_reason_says_what_to_do() -> None:
    assert all(meaning and advice for meaning, advice in REASONS.values())
    assert explained("one_of_a_later_release")[1] == "look up one_of_a_later_release in mapping.md"
    assert set(CHOSEN_BY_ROUTING) <= CHOSEN <= set(REASONS)
