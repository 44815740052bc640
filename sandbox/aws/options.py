"""What can be set while the sandbox runs: `POST /_sandbox/options`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the AWS side. The defaults are the real service's published behaviour.

    :param validate: check findings against ASFF; off, only for benchmarks with findings that are known to be good
    :param throttle: enforce the request quotas
    :param rate: BatchImportFindings calls per second, per account and Region
    :param burst: how many of them at once
    :param latency_ms: added to each answer of BatchImportFindings
    :param count_ignored: count a finding whose UpdatedAt is not newer as a success; what the service does is not
        documented
    :param extra_subscriptions: how many further products each hub is subscribed to, listed before all others
    :param visibility_seconds: how long GetFindings does not see a new finding, or the update of one (the service is
        eventually consistent); updates from when this is set
    :param retention: delete findings after 90 and 30 days whenever the clock is moved
    :param retention_by_processed_at: count them from the time of processing where that is later than UpdatedAt
    :param aggregator: `account/region` whose GetFindings shows the findings of all accounts and Regions
    :param session_seconds: how long credentials of AssumeRole last, in place of DurationSeconds
    :param new_hub: the new AWS Security Hub is on in every account and Region, whatever the state of Security Hub CSPM
        there
    :param subscription_seconds: how long a product that was subscribed by EnableImportFindingsForProduct is denied
        before the subscription takes effect
    :param max_clock_skew_seconds: by how much the time of a signature may differ from ours
    """

    validate: bool = True
    throttle: bool = True
    rate: float = 10.0
    burst: float = 30.0
    latency_ms: float = 0.0
    count_ignored: bool = True
    extra_subscriptions: int = 0
    visibility_seconds: float = 0.0
    session_seconds: float | None = None
    new_hub: bool = False
    subscription_seconds: float = 0.0
    max_clock_skew_seconds: float = 300.0
    retention: bool = True
    retention_by_processed_at: bool = False
    aggregator: str | None = None

    def changed(self, changes: Mapping[str, Any]) -> "Options":
        """These options with some replaced; ValueError for an unknown name or a value of the wrong kind."""
        if not isinstance(changes, Mapping):
            raise ValueError("Options are a JSON object.")
        known = {field.name: field.default for field in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"Unknown option {name!r}; there are: {', '.join(known)}.")
            if name == "aggregator":
                if value is not None and not isinstance(value, str):
                    raise ValueError(f"aggregator must be account/region or null, not {value!r}.")
                continue
            _check(name, value, known[name])
        return replace(self, **changes)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _check(name: str, value: Any, default: Any) -> None:
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, not {value!r}.")
        return
    if value is None and default is None:
        return
    whole = isinstance(default, int)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or value < 0:
        kind = "an integer" if whole else "a number"
        raise ValueError(f"{name} must be {kind} of at least 0, not {value!r}.")
    if name in ("rate", "burst") and value == 0:
        raise ValueError(f"{name} must be more than 0.")
