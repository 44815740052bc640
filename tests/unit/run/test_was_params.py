"""The params of the import of web applications, and what a plan has of them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run.kind_params import OF_KIND, settings_of
from airflow_provider_tenable.run.params import IMPORT, departures
from airflow_provider_tenable.run.scope import changes, scope_of
from airflow_provider_tenable.run.scope_params import SCOPE
from airflow_provider_tenable.run.was_params import MOST_LOAD_BALANCERS, WAS, parse_load_balancers
from tests.plain_ids import plain

ALB = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/app/shop/0123456789abcdef"
DEFAULTS: dict[str, Any] = {name: param.default for name, param in WAS.items()}


def test_the_params_are_those_of_vulnerabilities_without_what_is_about_hosts() -> None:
    assert list(IMPORT) == [name for name in IMPORT if name in WAS or name in (*SCOPE, "non_ec2_assets")]
    assert set(WAS) - set(IMPORT) == {"was_load_balancers"}
    assert list(WAS).index("was_load_balancers") == list(WAS).index("destinations") + 1
    assert OF_KIND["was"] is WAS


def test_settings_have_every_application_as_a_resource() -> None:
    settings, of_plan = settings_of({**DEFAULTS, "severities": ["info"], "was_load_balancers": {"a.b": ALB}}, "was")
    assert (settings.severities, settings.non_ec2_assets) == (("info",), "other")
    assert of_plan == {"was_load_balancers": {"a.b": ALB}}
    with pytest.raises(ConfigurationError, match="severities"):
        settings_of({**DEFAULTS, "severities": ["odd"]}, "was")


def test_names_are_compared_in_one_spelling() -> None:
    assert parse_load_balancers(None) == parse_load_balancers({}) == {}
    assert parse_load_balancers({" WWW.Example.com. ": f" {ALB} ", "*.b_c.d": ALB, "localhost": ALB}) == {
        "www.example.com": ALB,
        "*.b_c.d": ALB,
        "localhost": ALB,
    }
    # Parsing again changes nothing: the plan is read by the transform.
    assert parse_load_balancers(parse_load_balancers({"A.b.": ALB})) == {"a.b": ALB}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "must be an object"),
        ("x", "must be an object"),
        ({f"h{number}": ALB for number in range(MOST_LOAD_BALANCERS + 1)}, "at most 1,000 entries"),
        ({"https://www.example.com": ALB}, "not a host name"),
        ({"www.example.com:443": ALB}, "not a host name"),
        ({"www.example.com/x": ALB}, "not a host name"),
        ({"": ALB}, "not a host name"),
        ({"*": ALB}, "not a host name"),
        ({"*.": ALB}, "not a host name"),
        ({"a.*.com": ALB}, "not a host name"),
        ({"-a.com": ALB}, "not a host name"),
        ({"a..com": ALB}, "not a host name"),
        ({"{{ x }}": ALB}, "not a host name"),
        ({"a.com\n": ALB, "a.com": ALB + "x"}, "two ARNs"),
        ({"a" * 300: ALB}, "not a host name"),
        ({1: ALB}, "not a host name"),
        ({"a.com": None}, "must be the ARN"),
        ({"a.com": "shop"}, "must be the ARN"),
        ({"a.com": "arn:aws:elasticloadbalancing::111122223333:loadbalancer/app/shop/0"}, "account and Region"),
        ({"a.com": ALB.replace("111122223333", "1")}, "account and Region"),
        ({"a.com": ALB.replace("arn:aws:", "arn:aws-cn:")}, "account and Region"),
        ({"a.com": ALB, "A.com.": ALB + "x"}, "two ARNs"),
    ],
    ids=plain,
)  # fmt: skip
def test_what_is_wrong_is_said(value: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        parse_load_balancers(value)
    assert len(str(caught.value)) < 4_000


def test_another_map_does_not_move_the_watermark_and_is_another_scope() -> None:
    asked = {**DEFAULTS, "was_load_balancers": {"a.b": ALB}}
    assert departures(asked, DEFAULTS, WAS) == ["was_load_balancers"]
    one, other = scope_of(DEFAULTS, WAS, "was"), scope_of(asked, WAS, "was")
    assert changes(one, other) == ["was_load_balancers"]
    assert changes(other, scope_of({**asked, "was_load_balancers": {"a.b": ALB}}, WAS, "was")) == []
    # The scope of destinations is about hosts.
    narrow = [{**DEFAULTS["destinations"][0], "scope": {"min_vpr": 7}}]
    assert scope_of({**DEFAULTS, "destinations": narrow}, WAS, "was") == one
