"""Which AWS resource serves a web application, by its host name: what the param ``was_load_balancers`` says."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_tenable.guards.arns import Arn, arn_of

#: What a name of many hosts begins with.
WILDCARD = "*."


class LoadBalancers:
    """A map of host names to AWS resources.

    :param arns: host name in lower case, or ``*.`` and a domain, which stands for every host below it -> ARN.
    :raises ValueError: one of them names no resource; the text is its host name.
    """

    def __init__(self, arns: Mapping[str, str]) -> None:
        self._by_name: dict[str, Arn] = {}
        for name, text in arns.items():
            arn = arn_of(text)
            if arn is None:
                raise ValueError(name)
            self._by_name[name] = arn

    def __len__(self) -> int:
        return len(self._by_name)

    def of(self, host: str) -> Arn | None:
        """What serves a host: by its own name, else by that of the longest domain that it is below."""
        found = self._by_name.get(host)
        rest = host
        while found is None and self._by_name and "." in rest:
            rest = rest.partition(".")[2]
            found = self._by_name.get(WILDCARD + rest)
        return found

    def places(self) -> set[tuple[str, str]]:
        """Accounts and Regions of the resources."""
        return {(arn.account, arn.region) for arn in self._by_name.values()}


__all__ = ["WILDCARD", "LoadBalancers"]
