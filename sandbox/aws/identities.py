"""Who may call: long-lived access keys, roles, and the temporary credentials of role sessions."""

import math
import secrets
import string
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

HUB_KEY = ("AKIASANDBOXHUB000001", "sandbox-aws-secret-000000000000000000001")
ROLE_NAME = "TenableSecurityHubImport"
#: Regions that an account has to enable (account management guide), as far as the sandbox is used with them.
OPT_IN_REGIONS = frozenset(
    {
        "af-south-1",
        "ap-east-1",
        "ap-south-2",
        "ap-southeast-3",
        "ap-southeast-4",
        "ca-west-1",
        "eu-central-2",
        "eu-south-1",
        "eu-south-2",
        "me-central-1",
    }
)
_UNIQUE = string.ascii_uppercase + string.digits


@dataclass(frozen=True, slots=True)
class Role:
    """A role that may be assumed.

    :param external_id: the ExternalId that its trust policy demands
    :param max_session_seconds: its MaxSessionDuration; an hour, unless its owner raised it (IAM's default)
    :param deny: actions that its sessions may not use, e.g. `securityhub:*`
    """

    arn: str
    external_id: str | None = None
    max_session_seconds: int = 3_600
    deny: tuple[str, ...] = ()
    may_assume: tuple[str, ...] = ()
    unique_id: str = field(default_factory=lambda: "AROA" + _token(17))

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]

    @property
    def name(self) -> str:
        return self.arn.rpartition("/")[2]


@dataclass(slots=True)
class Credentials:
    """An access key and whom it stands for.

    With `session_token` they are temporary, and end at `expires` (unix seconds). `allow` are the actions that a session
    policy leaves them, and `issued_in` is the Region of the STS endpoint that made them.
    """

    access_key_id: str
    secret_access_key: str
    account: str
    arn: str
    user_id: str
    may_assume: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    session_token: str | None = None
    expires: float | None = None
    allow: tuple[str, ...] | None = None
    issued_in: str | None = None

    @property
    def expired(self) -> bool:
        return self.expires is not None and time.time() >= self.expires

    def denies(self, action: str) -> bool:
        if self.allow is not None and not any(fnmatchcase(action, pattern) for pattern in self.allow):
            return True
        return any(fnmatchcase(action, pattern) for pattern in self.deny)

    def is_valid_in(self, region: str) -> bool:
        """Sessions of the global STS endpoint (which signs as us-east-1) end at the Regions that an account has to
        enable (IAM user guide: STS Regions).
        """
        return not (self.issued_in == "us-east-1" and region in OPT_IN_REGIONS)


class IdentityBook:
    """All credentials and roles that the sandbox knows.

    :param accounts: each gets an access key of its own and the role `TenableSecurityHubImport`; the first one also the
        key of the central caller, which may assume the role in every account
    """

    def __init__(self, accounts: Iterable[str]) -> None:
        self._accounts = tuple(accounts)
        self._credentials: dict[str, Credentials] = {}
        self._roles: dict[str, Role] = {}
        self._closed: set[str] = set()
        self.reset()

    def reset(self) -> None:
        """Back to the keys and roles of the start."""
        self._credentials.clear()
        self._roles.clear()
        self._closed.clear()
        for account in self._accounts:
            self.add_role(Role(f"arn:aws:iam::{account}:role/{ROLE_NAME}"))
            self.add_user(
                f"AKIASANDBOX{account}",
                f"sandbox-aws-secret-{account}",
                account,
                f"arn:aws:iam::{account}:user/sandbox",
            )
        if self._accounts:
            central = f"arn:aws:iam::{self._accounts[0]}:user/tenable-importer"
            roles = tuple(f"arn:aws:iam::{account}:role/{ROLE_NAME}" for account in self._accounts)
            self.add_user(*HUB_KEY, self._accounts[0], central, may_assume=roles)

    def add_user(
        self, key: str, secret: str, account: str, arn: str, *, may_assume: Iterable[str] = (), deny: Iterable[str] = ()
    ) -> Credentials:
        """Add, or replace, long-lived credentials."""
        user = Credentials(key, secret, account, arn, "AIDA" + _token(17), tuple(may_assume), tuple(deny))
        self._credentials[key] = user
        return user

    def add_role(self, role: Role) -> Role:
        """Add, or replace, a role."""
        self._roles[role.arn] = role
        return role

    def remove_role(self, arn: str) -> None:
        """Remove a role; sessions of it that were issued before stay."""
        self._roles.pop(arn, None)

    def close_account(self, account: str, *, closed: bool) -> None:
        """Close an account, or reopen it: nobody may assume its roles, and its keys are unknown."""
        (self._closed.add if closed else self._closed.discard)(account)

    def role(self, arn: str) -> Role | None:
        """A role; None if it does not exist, or its account is closed."""
        role = self._roles.get(arn)
        return None if role is None or role.account in self._closed else role

    def find(self, access_key_id: str) -> Credentials | None:
        """The credentials of an access key; expired ones too, which differ from unknown ones."""
        found = self._credentials.get(access_key_id)
        return None if found is None or found.account in self._closed else found

    def open_session(
        self,
        role: Role,
        session_name: str,
        seconds: float,
        *,
        allow: tuple[str, ...] | None = None,
        issued_in: str | None = None,
    ) -> Credentials:
        """Issue temporary credentials of a role.

        :param allow: what a session policy leaves of the role's rights
        """
        partition = role.arn.split(":")[1]
        session = Credentials(
            "ASIA" + _token(16),
            secrets.token_urlsafe(30),
            role.account,
            f"arn:{partition}:sts::{role.account}:assumed-role/{role.name}/{session_name}",
            f"{role.unique_id}:{session_name}",
            role.may_assume,
            role.deny,
            secrets.token_urlsafe(120),
            # Full seconds, as in the answer's Expiration.
            math.ceil(time.time() + seconds),
            allow,
            issued_in,
        )
        self._credentials[session.access_key_id] = session
        return session

    def expire_sessions(self) -> int:
        """Let all temporary credentials issued so far expire now; returns how many."""
        sessions = [each for each in self._credentials.values() if each.session_token and not each.expired]
        for session in sessions:
            session.expires = 0.0
        return len(sessions)

    def as_json(self) -> dict[str, Any]:
        """What there is, without secrets."""
        return {
            "identities": [
                {"access_key_id": each.access_key_id, "arn": each.arn, "expires": each.expires}
                for each in self._credentials.values()
            ],
            "roles": [{"arn": role.arn, "external_id": role.external_id} for role in self._roles.values()],
        }

    def secrets(self) -> list[str]:
        """Every secret key and session token issued so far, for tests that search for them."""
        return [
            secret
            for each in self._credentials.values()
            for secret in (each.secret_access_key, each.session_token)
            if secret
        ]


def _token(length: int) -> str:
    return "".join(secrets.choice(_UNIQUE) for _ in range(length))
