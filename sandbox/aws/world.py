"""Everything that the AWS side knows and remembers."""

from dataclasses import dataclass

from sandbox.aws.ec2 import InstanceBook
from sandbox.aws.errors import access_denied, not_subscribed
from sandbox.aws.faults import HubFaultBook
from sandbox.aws.hubs import Hub, HubBook
from sandbox.aws.identities import IdentityBook
from sandbox.aws.options import Options
from sandbox.aws.products import partition_of
from sandbox.aws.retention import expire
from sandbox.aws.sigv4 import Caller
from sandbox.aws.stats import Stats
from sandbox.aws.store import FindingStore
from sandbox.aws.throttle import Quotas
from sandbox.clock import SandboxClock


@dataclass(slots=True)
class World:
    """The state of the server, made and reset as one."""

    identities: IdentityBook
    hubs: HubBook
    findings: FindingStore
    faults: HubFaultBook
    quotas: Quotas
    stats: Stats
    options: Options
    clock: SandboxClock
    instances: InstanceBook

    def reset(self) -> None:
        """As at the start. Faults and counted calls are cleared by the shared control endpoint."""
        self.identities.reset()
        self.hubs.reset()
        self.findings.clear()
        self.instances.instances.clear()
        self.quotas.reset()
        self.stats.reset()
        self.set_options(Options())
        self.clock.reset()

    def set_options(self, options: Options) -> None:
        """Replace the options."""
        self.options = options
        self.findings.lags = options.visibility_seconds > 0

    def advance(self, seconds: float) -> int:
        """Move Security Hub's clock forward, and delete expired findings; returns their number."""
        now = self.clock.advance(seconds)
        if not self.options.retention:
            return 0
        return expire(self.findings, now, by_processed_at=self.options.retention_by_processed_at)

    def hub_of(self, caller: Caller) -> Hub:
        """The hub of the caller's account in the Region of the call; AwsError where it is off."""
        hub = self.hubs.get(caller.account, caller.region)
        if hub is None:
            raise not_subscribed(caller.account)
        return hub


def hub_arn(caller: Caller) -> str:
    """The ARN of the caller's hub."""
    return f"arn:{partition_of(caller.region)}:securityhub:{caller.region}:{caller.account}:hub/default"


def check_allowed(caller: Caller, action: str, resource: str | None = None) -> None:
    """AwsError AccessDenied when the caller's identity denies the action.

    :param resource: the ARN that the message names; the hub's if not given
    """
    if caller.credentials.denies(action):
        raise access_denied(caller.arn, action, resource or hub_arn(caller))
