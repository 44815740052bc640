"""In which accounts and Regions Security Hub is on, and what is subscribed there."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from sandbox.aws.products import AWS_SERVICES, TENABLE, catalogue, subscription_arn
from sandbox.aws.store import now
from sandbox.clock import SandboxClock

STATES = ("subscribed", "enabled", "off", "not_opted_in")
#: Since when the hubs are on that are on at the start.
_LONG_AGO = "2024-01-01T00:00:00.000Z"


@dataclass(slots=True)
class Hub:
    """Security Hub in one account and Region. `products` are the keys (`company/product`) that may send findings."""

    account: str
    region: str
    subscribed_at: str
    products: list[str] = field(default_factory=list)
    effective_from: dict[str, float] = field(default_factory=dict)
    """Product to the moment (`time.monotonic`) from which it may send; those that are not in it may at once."""

    def may_send(self, product: str) -> bool:
        return product in self.products and time.monotonic() >= self.effective_from.get(product, 0.0)

    def subscriptions(self, extra: int = 0) -> list[str]:
        """The ARNs of the product subscriptions.

        :param extra: how many made-up ones come first
        """
        made_up = [f"sandbox-vendor/scanner-{number:04}" for number in range(1, extra + 1)]
        return [subscription_arn(self.account, self.region, key) for key in (*made_up, *self.products)]


class HubBook:
    """The hubs of all accounts and Regions; where none was turned on, the hub is off.

    :param state: how each of the accounts and Regions begins, one of `STATES`
    :param clock: Security Hub's, by which hubs that are turned on later say since when
    """

    def __init__(
        self, accounts: Iterable[str], regions: Iterable[str], state: str, clock: SandboxClock | None = None
    ) -> None:
        self._clock = clock
        self._start = [(account, region, state) for account in accounts for region in regions]
        self._hubs: dict[tuple[str, str], Hub] = {}
        self._not_opted_in: set[tuple[str, str]] = set()
        self.reset()

    def reset(self) -> None:
        self._hubs.clear()
        self._not_opted_in.clear()
        for account, region, state in self._start:
            self.set(account, region, state)
        for hub in self._hubs.values():
            hub.subscribed_at = _LONG_AGO

    def get(self, account: str, region: str) -> Hub | None:
        """The hub, or None where it is off."""
        return self._hubs.get((account, region))

    def is_opted_in(self, account: str, region: str) -> bool:
        """Whether the account has enabled the Region; where it has not, its credentials are unknown there."""
        return (account, region) not in self._not_opted_in

    def enable(self, account: str, region: str) -> Hub:
        """Turn a hub on. AWS's own services are subscribed at once."""
        hub = Hub(account, region, now(self._clock), [product.key for product in AWS_SERVICES])
        self._hubs[account, region] = hub
        return hub

    def disable(self, account: str, region: str) -> None:
        """Turn a hub off; its subscriptions go with it."""
        self._hubs.pop((account, region), None)

    def set(self, account: str, region: str, state: str) -> None:
        """Put a hub into one of `STATES`; ValueError for anything else.

        `subscribed` adds Tenable's product, where it exists.
        """
        if state not in STATES:
            raise ValueError(f"Unknown state {state!r} of a hub; there are: {', '.join(STATES)}.")
        self._not_opted_in.discard((account, region))
        if state in ("off", "not_opted_in"):
            self.disable(account, region)
            if state == "not_opted_in":
                self._not_opted_in.add((account, region))
            return
        hub = self.enable(account, region)
        if state == "subscribed" and TENABLE in catalogue(region):
            hub.products.append(TENABLE.key)

    def as_json(self) -> list[dict[str, object]]:
        return [
            {"account": hub.account, "region": hub.region, "products": hub.products}
            for _, hub in sorted(self._hubs.items())
        ]
