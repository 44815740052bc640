"""Which AWS account an audit's results belong to.

Tenable's records of an AWS audit name no account: their asset is always 127.0.0.1. The tasks know it, because they have
asked STS with the keys that the audit uses. They record it in ``{staging}/audits/{schedule_uuid}.json``, next to the
folders of the DAGs, since findings of later runs and of other DAGs need it::

    {"version": 1, "account": "111122223333", "partition": "aws", "regions": ["eu-west-1"], "audits": ["72426_..."],
     "credential": uuid, "name": name of the scan, "assets": [uuids of the assets of its finished runs]}
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.aws import ACCOUNT
from airflow_provider_tenable.exceptions import ConfigurationError, DamagedFileError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.uuids import is_uuid
from airflow_provider_tenable.staging.files import names, read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.tenable_vm.scan_ids import is_schedule_uuid

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

VERSION = 1
_PARTITIONS = frozenset({"aws", "aws-cn", "aws-us-gov"})
_ADVICE = " Remove it, and run the DAG that audits the account again, which writes it anew."


@dataclass(frozen=True, kw_only=True)
class Audited:
    """An AWS audit.

    :ivar account: 12 digits, as STS has named the owner of the keys.
    :ivar partition: ``aws``, ``aws-us-gov`` or ``aws-cn``.
    :ivar audits: ids of the audit files, such as ``72426_CIS_Amazon_Web_Services_Foundations_v7.0.0_L1.audit``.
    :ivar credential: uuid of the managed credential in Tenable.
    :ivar name: of the scan.
    :ivar assets: uuids, in lower case, of the assets that its finished runs had results for.
    """

    account: str
    partition: str
    regions: tuple[str, ...]
    audits: tuple[str, ...]
    credential: str
    name: str
    assets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Collision:
    """One asset in Tenable that stands for several AWS accounts: their results overwrite each other.

    :ivar scans: schedule uuid -> audit, of at least two accounts.
    """

    asset: str
    scans: Mapping[str, Audited]

    def __str__(self) -> str:
        found = sorted((audited.account, audited.name, schedule) for schedule, audited in self.scans.items())
        scans = "; ".join(
            f"{safe(name, 100)!r} of account {account} ({schedule}.json)" for account, name, schedule in found
        )
        return (
            f"Audits of {len({account for account, _, _ in found})} accounts share asset {self.asset} in Tenable, so "
            f"that their results overwrite each other and cannot be told apart: {scans}. Put each account's scan on a "
            "scanner in a network of its own. If one of the scans does not exist any more, remove its file from "
            f"{RunFolder.AUDITS}/ in the staging area."
        )


@dataclass(frozen=True)
class AuditedAccounts:
    """All recorded audits.

    :ivar by_asset: asset uuid in lower case -> audit; assets with a collision are left out. If several scans audit one
        account on one asset, it is the first by schedule uuid.
    :ivar collisions: assets that stand for several accounts.
    """

    by_asset: Mapping[str, Audited]
    collisions: tuple[Collision, ...]


def record(staging: str, schedule_uuid: str, audited: Audited) -> None:
    """Record which account a scan audits. The assets of earlier runs are kept.

    :param staging: URI of the staging area.
    :raises ConfigurationError: the scan has audited another account before; its results in Tenable are of both.
    :raises StagingError: the file cannot be read or written.
    """
    path = _path(staging, schedule_uuid)
    before = _load(path)
    _check_account(path, before, audited.account)
    assets = tuple(dict.fromkeys([*(before.assets if before else ()), *audited.assets]))
    after = replace(audited, assets=assets)
    if after != before:
        write_json(path, {"version": VERSION, **asdict(after)})


def check_account(staging: str, schedule_uuid: str, account: str) -> None:
    """Before a scan is changed, make sure that it has not audited another account.

    :raises ConfigurationError: it has.
    """
    path = _path(staging, schedule_uuid)
    _check_account(path, _load(path), account)


def _check_account(path: ObjectStoragePath, before: Audited | None, account: str) -> None:
    if before is not None and before.account != account:
        raise ConfigurationError(
            f"Scan {safe(before.name, 100)!r} audits account {before.account} ({path}), not {account}. Results of both "
            "accounts would be mixed up in Tenable. Use a name of its own for the scan of each account."
        )


def add_assets(staging: str, schedule_uuid: str, assets: Iterable[str]) -> list[Collision]:
    """Record the assets that a finished run has results for, if the scan is a recorded audit.

    :return: those of its assets that stand for other accounts as well.
    """
    path = _path(staging, schedule_uuid)
    before = _load(path)
    if before is None:
        return []
    found = [asset.lower() for asset in assets if is_uuid(asset)]
    after = replace(before, assets=tuple(dict.fromkeys([*before.assets, *found])))
    if after != before:
        write_json(path, {"version": VERSION, **asdict(after)})
    return [each for each in read_all(staging).collisions if schedule_uuid in each.scans]


def is_recorded(staging: str, schedule_uuid: str) -> bool:
    """Whether a scan is a recorded audit."""
    return _load(_path(staging, schedule_uuid)) is not None


def read_all(staging: str) -> AuditedAccounts:
    """All recorded audits, by the assets of their results.

    :param staging: URI of the staging area.
    :raises StagingError: a file cannot be read, or is not one of these.
    """
    audits = audits_on_record(staging)
    collisions = collisions_in(audits)
    shared = {each.asset for each in collisions}
    by_asset: dict[str, Audited] = {}
    for audited in audits.values():
        for asset in audited.assets:
            if asset not in shared:
                by_asset.setdefault(asset, audited)
    return AuditedAccounts(by_asset, tuple(collisions))


def audits_on_record(staging: str) -> dict[str, Audited]:
    """Schedule uuid -> audit, in the order of the uuids.

    :raises StagingError: a file cannot be read, or is not one of these.
    """
    folder = open_path(staging) / RunFolder.AUDITS
    found: dict[str, Audited] = {}
    for name in sorted(names(folder)):
        schedule, dot, ending = name.rpartition(".")
        if dot and ending == "json" and is_schedule_uuid(schedule) and (audited := _load(folder / name)) is not None:
            found[schedule] = audited
    return found


def collisions_in(audits: Mapping[str, Audited]) -> list[Collision]:
    """The assets that stand for several accounts. :param audits: schedule uuid -> audit."""
    scans: dict[str, dict[str, Audited]] = {}
    for schedule, audited in audits.items():
        for asset in audited.assets:
            scans.setdefault(asset, {})[schedule] = audited
    return [
        Collision(asset, found) for asset, found in scans.items() if len({each.account for each in found.values()}) > 1
    ]


def _path(staging: str, schedule_uuid: str) -> ObjectStoragePath:
    if not is_schedule_uuid(schedule_uuid):
        raise ConfigurationError(f"{safe(repr(schedule_uuid), 100)} is not the schedule uuid of a scan.")
    return open_path(staging) / RunFolder.AUDITS / f"{schedule_uuid}.json"


def _load(path: ObjectStoragePath) -> Audited | None:
    """A recorded audit; None if there is no file."""
    value = read_json(path, advice=_ADVICE)
    if value is None:
        return None
    try:
        return _audited(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedFileError(
            f"The staged file {path} is not a recorded AWS audit ({safe(error)}).{_ADVICE}"
        ) from None


def _audited(value: Mapping[str, Any]) -> Audited:
    if value["version"] != VERSION:
        raise ValueError(f"version {value['version']!r}; this version of airflow-provider-tenable reads {VERSION}")
    account, partition, assets = value["account"], value["partition"], value["assets"]
    if not isinstance(account, str) or not ACCOUNT.fullmatch(account):
        raise ValueError(f"account {account!r}")
    if partition not in _PARTITIONS:
        raise ValueError(f"partition {partition!r}")
    if not isinstance(assets, list) or not all(map(is_uuid, assets)):
        raise ValueError("assets are not uuids")
    return Audited(
        account=account,
        partition=partition,
        regions=_texts(value, "regions"),
        audits=_texts(value, "audits"),
        credential=_text(value, "credential"),
        name=_text(value, "name"),
        assets=tuple(asset.lower() for asset in assets),
    )


def _text(value: Mapping[str, Any], field: str) -> str:
    if not isinstance(value[field], str):
        raise TypeError(f"{field} is not a text")
    return str(value[field])


def _texts(value: Mapping[str, Any], field: str) -> tuple[str, ...]:
    if not isinstance(value[field], list) or not all(isinstance(each, str) for each in value[field]):
        raise TypeError(f"{field} is not a list of texts")
    return tuple(value[field])
