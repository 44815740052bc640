"""Which hubs a takeover looks at because a destination names them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable.run.take_over import _places_of_destinations

A, B = "111122223333", "444455556666"


@pytest.mark.parametrize(
    ("destination", "places"),
    [
        ({"accounts": [A, B], "region": "us-east-1"}, {f"{A}/us-east-1", f"{B}/us-east-1"}),
        ({"accounts": [A], "regions": ["us-east-1", "eu-west-1"]}, {f"{A}/us-east-1", f"{A}/eu-west-1"}),
        ({"accounts": [A], "region": "us-east-1", "regions": ["us-east-1"]}, {f"{A}/us-east-1"}),
        ({"accounts": [A], "connection_region": "eu-west-1"}, {f"{A}/eu-west-1"}),
        ({"accounts": [A]}, set()),
        ({"accounts": [], "region": "us-east-1"}, set()),
    ],
)
def test_a_hub_is_named_by_account_and_region(destination: dict[str, Any], places: set[str]) -> None:
    plan: Any = {
        "destinations": [{"aws_conn_id": "aws_default", **destination}],
        "settings": {"region_routing": "fixed"},
    }
    assert set(_places_of_destinations(plan)) == places
