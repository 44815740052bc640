"""What serves a host: its own name precedes, then the longest domain that it is below."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.transform.load_balancers import LoadBalancers

LABELS = st.sampled_from(["a", "b", "shop", "com"])
HOSTS = st.lists(LABELS, min_size=1, max_size=5).map(".".join)
NAMES = st.tuples(st.sampled_from(["", "*."]), HOSTS).map("".join)


def arn(number: int) -> str:
    return f"arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/app/n{number}/0123456789abcdef"


def test_exact_names_precede_wildcards_and_of_those_the_longest_counts() -> None:
    names = ("www.shop.example.com", "*.shop.example.com", "*.example.com", "plain.org")
    served = LoadBalancers({name: arn(number) for number, name in enumerate(names)})

    def of(host: str) -> int | None:
        found = served.of(host)
        return None if found is None else next(number for number in range(4) if found.text == arn(number))

    assert [of(host) for host in ("www.shop.example.com", "a.shop.example.com", "a.b.shop.example.com")] == [0, 1, 1]
    assert [of(host) for host in ("shop.example.com", "x.example.com", "plain.org")] == [2, 2, 3]
    # A domain is not below itself, and a part of a label is not a domain.
    assert [of(host) for host in ("example.com", "notexample.com", "www.plain.org", "", "com", "*.example.com")] == [
        None,
        None,
        None,
        None,
        None,
        2,
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(NAMES, max_size=8, unique=True), HOSTS)
def test_against_a_rule_in_other_words(names: list[str], host: str) -> None:
    served = LoadBalancers({name: arn(number) for number, name in enumerate(names)})
    fitting = [name for name in names if name == host or (name.startswith("*.") and host.endswith(name[1:]))]
    best = max(fitting, key=lambda name: (name == host, len(name)), default=None)
    found = served.of(host)
    assert (found.text if found else None) == (arn(names.index(best)) if best is not None else None)


def test_places_and_what_is_no_arn() -> None:
    assert LoadBalancers({"a": arn(1), "b": arn(2)}).places() == {("111122223333", "eu-west-1")}
    assert len(LoadBalancers({})) == 0
    with pytest.raises(ValueError, match=r"^www\.example\.com$"):
        LoadBalancers({"www.example.com": "arn:aws:elasticloadbalancing:eu-west-1::x"})
