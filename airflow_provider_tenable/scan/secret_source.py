"""Where a machine reads a secret: a parameter of SSM or a secret of Secrets Manager, in its own Region.

The name becomes part of a shell script and of IAM policies, so only names that AWS allows are accepted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.identifiers import shown

#: AWS's rules for names (SSM: PutParameter; Secrets Manager: CreateSecret). Parameters need a slash in front here: with
#: it, the name appended to ``:parameter`` is the ARN.
_NAMES = {
    "parameter": re.compile(r"(?:/[A-Za-z0-9_.-]+){1,15}", re.ASCII),
    "secret": re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}", re.ASCII),
}
_LONGEST_PARAMETER = 900
_FORM = "parameter:/tenable/linking-key/NAME, or secret:NAME"


@dataclass(frozen=True)
class SecretSource:
    """A secret's place.

    :ivar kind: ``parameter`` (SSM, SecureString) or ``secret`` (Secrets Manager).
    :ivar name: its name, not its ARN.
    """

    kind: Literal["parameter", "secret"]
    name: str

    @classmethod
    def parse(cls, text: object) -> SecretSource:
        """Read ``parameter:/path/name`` or ``secret:name``.

        :raises ConfigurationError: it is neither, or AWS does not allow the name.
        """
        kind, mark, name = text.partition(":") if isinstance(text, str) else ("", "", "")
        if not mark or kind not in _NAMES:
            # A linking key in this field would be shown by the message.
            raise ConfigurationError(f"The place of a secret must be given as {_FORM}; a secret itself must not.")
        if not _NAMES[kind].fullmatch(name) or (kind == "parameter" and not is_free(name)):
            raise ConfigurationError(f"{shown(name)} cannot be the name of a {kind} in AWS. Give {_FORM}.")
        return cls("parameter" if kind == "parameter" else "secret", name)

    @property
    def action(self) -> str:
        """The IAM action that reads it."""
        return "ssm:GetParameter" if self.kind == "parameter" else "secretsmanager:GetSecretValue"

    def arn(self, *, partition: str, region: str, account: str) -> str:
        """Its ARN for a policy. Secrets Manager appends six random characters."""
        if self.kind == "parameter":
            return f"arn:{partition}:ssm:{region}:{account}:parameter{self.name}"
        return f"arn:{partition}:secretsmanager:{region}:{account}:secret:{self.name}-??????"

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def is_free(name: str) -> bool:
    """Whether a parameter's name is not reserved by AWS, and not too long."""
    return len(name) <= _LONGEST_PARAMETER and not name.lower().startswith(("/aws", "/ssm"))
