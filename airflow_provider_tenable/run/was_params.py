"""The params of the DAG that imports web application findings: those of the import of vulnerabilities that they have
too, and what serves the applications.

DAG files import this module while Airflow parses them, so it must not import anything heavy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_tenable.assets.outside_ec2 import OTHER
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.arns import arn_of
from airflow_provider_tenable.guards.foreign_text import LONGEST_MESSAGE, quoted
from airflow_provider_tenable.run.params import IMPORT, RunParam, Settings, parse_settings
from airflow_provider_tenable.run.scope_params import SCOPE

#: Most entries of the map: it becomes part of the XCom of ``plan_run``.
MOST_LOAD_BALANCERS = 1_000
# A web application is in no AWS account, so that nothing is left to choose; the scope is about hosts and their plugins.
_OF_HOSTS = frozenset({"non_ec2_assets", *SCOPE})
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
#: A host name in lower case (RFC 1123, with the underscores that DNS allows), or a wildcard for all below a domain.
_HOST = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)*{_LABEL}", re.ASCII)
_LONGEST_HOST = 253

_LOAD_BALANCERS = RunParam(
    default={},
    schema={"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": MOST_LOAD_BALANCERS},
    title="Load balancers",
    help="What serves web applications in AWS: host name -> ARN of the load balancer. "
    '`"*.shop.example.com"` stands for all hosts below it; a host\'s own name precedes, then the longest one. '
    "Findings of other applications go to the first destination's account.",
    more="See [web-applications.md](web-applications.md#load-balancers).",
    covers=lambda asked, usual: bool(asked == usual),
)

#: Params of ``tenable_was_to_security_hub``, in the order of its form.
WAS: Mapping[str, RunParam] = {
    name: param
    for usual, of_import in IMPORT.items()
    if usual not in _OF_HOSTS
    for name, param in (
        ((usual, of_import), ("was_load_balancers", _LOAD_BALANCERS))
        if usual == "destinations"
        else ((usual, of_import),)
    )
}


def parse_was_settings(params: Mapping[str, Any]) -> tuple[Settings, dict[str, str]]:
    """The settings of an import of web application findings, and what serves the applications.

    :raises ConfigurationError: a value is invalid.
    """
    shared = {name: params[name] for name in WAS if name in params and name in IMPORT}
    settings = parse_settings({**shared, "non_ec2_assets": OTHER})
    return settings, parse_load_balancers(params.get("was_load_balancers"))


def parse_load_balancers(value: Any) -> dict[str, str]:
    """The map of host names to ARNs, with host names in lower case.

    :raises ConfigurationError: a name is not that of a host, or an ARN names no resource with its account and Region.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping) or len(value) > MOST_LOAD_BALANCERS:
        raise ConfigurationError(
            f"was_load_balancers is {quoted(value, LONGEST_MESSAGE)}; it must be an object of at most "
            f"{MOST_LOAD_BALANCERS:,} entries."
        )
    found: dict[str, str] = {}
    for name, text in value.items():
        host = name.strip().lower().removesuffix(".") if isinstance(name, str) else ""
        if len(host) > _LONGEST_HOST or not _HOST.fullmatch(host):
            raise ConfigurationError(
                f"was_load_balancers has {quoted(name, 300)}, which is not a host name. Write it without scheme, port "
                'and path: "www.example.com", or "*.example.com" for all hosts below a domain.'
            )
        arn = arn_of(text.strip()) if isinstance(text, str) else None
        if arn is None:
            raise ConfigurationError(
                f"was_load_balancers has {quoted({name: text}, LONGEST_MESSAGE)}. The value must be the ARN of an AWS "
                "resource that contains its account and Region, such as "
                "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/app/shop/0123456789abcdef."
            )
        if found.setdefault(host, arn.text) != arn.text:
            raise ConfigurationError(
                f"was_load_balancers names two ARNs for the host {quoted(host, 300)}, written in different ways. "
                "Keep one of them."
            )
    return found


__all__ = ["MOST_LOAD_BALANCERS", "WAS", "parse_load_balancers", "parse_was_settings"]
