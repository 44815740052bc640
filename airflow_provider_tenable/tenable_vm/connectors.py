"""Tenable's AWS connectors: what they import, and how their last import ended.

Source: API reference (``GET /settings/connectors``), and its examples in ``tests/data``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.aws import ACCOUNT
from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.tenable_vm.calls import Caller
from airflow_provider_tenable.tenable_vm.json_fields import number, object_in, objects, objects_in, text
from airflow_provider_tenable.tenable_vm.retry import REPEATS
from airflow_provider_tenable.tenable_vm.times import parse

if TYPE_CHECKING:
    from tenable.io import TenableIO

_NEEDS = "the role Administrator"
#: Types of connectors for AWS: with keys, with a role, and with Frictionless Assessment.
KEYED = "aws"
AWS_TYPES = frozenset({KEYED, "aws_keyless", "aws_fa"})
_PAGE, _MOST_PAGES = 1_000, 20
_SECONDS = {"minutes": 60, "hours": 3_600, "days": 86_400}
_ERROR_CODE = re.compile(r"\bAWS_[A-Z0-9_]{3,60}\b", re.ASCII)
_ACCOUNT_OF_ARN = re.compile(rf"arn:[a-z-]+:[a-z]+:[a-z0-9-]*:({ACCOUNT.pattern}):", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Connector:
    """An AWS connector, without its keys.

    :ivar kind: ``aws`` (with keys), ``aws_keyless`` or ``aws_fa``.
    :ivar status: Tenable's word, such as Scheduled, Completed or Saved; empty if Tenable gives none.
    :ivar message: what Tenable says about its last import; one bounded line.
    :ivar expired: whether Tenable says that its credentials have expired.
    :ivar accounts: the AWS accounts that its settings name, directly or in an ARN.
    :ivar discovers: whether it finds further accounts of the AWS organization by itself.
    :ivar interval: seconds between two imports; None if it has no schedule.
    :ivar last_sync: unix seconds of its last successful import; None if there was none.
    """

    name: str
    kind: str
    status: str = ""
    message: str = ""
    expired: bool = False
    accounts: frozenset[str] = frozenset()
    discovers: bool = False
    interval: int | None = None
    last_sync: float | None = None

    @property
    def error_code(self) -> str | None:
        """Tenable's code for the error of its last import, such as ``AWS_INVALID_TRUST``."""
        found = _ERROR_CODE.search(self.message) or _ERROR_CODE.search(self.status)
        return found[0] if found else None

    @property
    def names_all_accounts(self) -> bool:
        """Whether it imports no accounts but those that its settings name. The account of a key is not named."""
        return self.kind != KEYED and not self.discovers


class ConnectorsApi:
    """Calls about connectors on one pyTenable client. Parameters as in :class:`~.scanners.ScannersApi`."""

    def __init__(self, client: TenableIO, *, name: str, repeats: int = REPEATS) -> None:
        self._client = client
        self._caller = Caller(client, name=name, needs=_NEEDS, repeats=repeats)

    def aws(self) -> list[Connector]:
        """All connectors for AWS (``GET /settings/connectors``).

        :raises TenablePermissionError: the API user is not an administrator.
        """
        found: list[Connector] = []
        for page in range(_MOST_PAGES):
            answer = self._caller.json(
                "list the connectors",
                self._client.get,
                "settings/connectors",
                params={"limit": _PAGE, "offset": page * _PAGE},
            )
            listed = objects_in(answer, "connectors", "the connectors")
            found += [connector_of(entry) for entry in listed if text(entry.get("type")) in AWS_TYPES]
            pages = object_in(answer, "the connectors").get("pagination")
            total = number(pages.get("total")) if isinstance(pages, dict) else None
            # The documented example has a total below the number of connectors in it.
            if len(listed) < _PAGE or (page + 1) * _PAGE >= (total or 0):
                return found
        raise TemporaryError(f"Tenable lists more than {_PAGE * _MOST_PAGES:,} connectors.")


def connector_of(entry: dict[str, Any]) -> Connector:
    """A connector of Tenable's list."""
    params, schedule = (_object(entry.get(name)) for name in ("params", "schedule"))
    last_sync = entry.get("last_sync_time")
    moment = parse(last_sync) if isinstance(last_sync, str) else None
    return Connector(
        name=text(entry.get("name"), 100) or "(no name)",
        kind=str(entry["type"]),
        status=text(entry.get("status"), 60),
        message=text(entry.get("status_message"), 200),
        expired=entry.get("expired") is True,
        accounts=frozenset(_accounts_in(params)),
        discovers=params.get("auto_discovery") is True,
        interval=_interval(schedule),
        last_sync=moment.timestamp() if moment else None,
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _accounts_in(params: dict[str, Any]) -> set[str]:
    accounts: list[Any] = []
    arns = _trails(params)
    for entry in [*objects(params.get("sub_accounts")), _object(params.get("account"))]:
        accounts.append(entry.get("account_id"))
        arns += [entry.get("role_arn"), *_trails(entry)]
    found = {account for account in accounts if isinstance(account, str) and ACCOUNT.fullmatch(account)}
    return found | {match[1] for arn in arns if isinstance(arn, str) and (match := _ACCOUNT_OF_ARN.match(arn))}


def _trails(entry: dict[str, Any]) -> list[Any]:
    return [trail.get("arn") for trail in objects(entry.get("trails"))]


def _interval(schedule: dict[str, Any]) -> int | None:
    unit, value = schedule.get("units"), number(schedule.get("value"))
    seconds = _SECONDS.get(unit) if isinstance(unit, str) else None
    # A schedule of more than a year is not one, and would make any age of an import acceptable.
    return seconds * value if seconds and value and seconds * value <= 366 * 86_400 else None
