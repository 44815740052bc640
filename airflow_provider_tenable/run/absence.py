"""What a run knows of assets whose findings it saw nothing of: why each such finding is archived, or stays active
because the run could not know.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from airflow_provider_tenable.asff import row as finding_row
from airflow_provider_tenable.asff.identity import ID_SCHEMES, id_head
from airflow_provider_tenable.assets.account import skip_reason
from airflow_provider_tenable.assets.index import staged_assets
from airflow_provider_tenable.assets.outside_ec2 import IS_TYPED, SKIP, aws_resource_of
from airflow_provider_tenable.assets.parquet import read_table
from airflow_provider_tenable.assets.table import AssetTable
from airflow_provider_tenable.aws import region_of
from airflow_provider_tenable.run.manifests import shard_manifests
from airflow_provider_tenable.run.plan_file import RunPlan, kind_of_plan
from airflow_provider_tenable.staging.files import read_whole
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import digest_of, read_lines
from airflow_provider_tenable.state.gone import BY_ABSENCE, DELETED, MOVED, NOT_REPORTED, OUT_OF_SCOPE, TERMINATED
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.tenable_vm.kinds import COMPLIANCE, WAS
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES, TENABLE
from airflow_provider_tenable.transform.duplicates import Instances
from airflow_provider_tenable.transform.scope import Scope
from airflow_provider_tenable.transform.shard import UNMAPPABLE, UNREADABLE
from airflow_provider_tenable.transform.waiting_assets import read_list
from airflow_provider_tenable.transform.waiting_records import WAITING_STEM, list_pool

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

#: Why findings of which the run saw nothing stay active: records of their asset wait or cannot be read; Tenable has the
#: asset, but not (yet) its account, Region or instance.
WAITING, UNSETTLED_ASSET = "asset_has_waiting_records", "asset_not_settled"
#: Another asset of the instance may still have the finding: only a full run knows.
SHARED = "instance_has_another_asset"
_ASSET, _UUID = re.compile(r'"asset"\s*:\s*\{'), re.compile(r'"uuid"\s*:\s*"([^"]{1,100})"')
_ASSET_UUID = re.compile(r'"asset_uuid"\s*:\s*"([^"]{1,100})"')
#: Characters of an asset's object within which its uuid is looked for.
_ASSET_LENGTH = 20_000
#: Bytes of a key that stand for the resource.
_RESOURCE_BYTES = 4


class _AssetRef(msgspec.Struct):
    uuid: str = ""


class _Record(msgspec.Struct):
    """A compliance record has ``asset_uuid``, and an ``asset`` without a uuid."""

    asset: _AssetRef | None = None
    asset_uuid: str | None = None

    @property
    def asset_id(self) -> str:
        return self.asset_uuid or (self.asset.uuid if self.asset else "")


class _Plugin(msgspec.Struct):
    id: int = 0


class _OfPlugin(_Record):
    plugin: _Plugin = msgspec.field(default_factory=_Plugin)


class _Waiting(msgspec.Struct):
    """What is asked of a parked record: ``asset`` where that is on record, else what the record itself says."""

    record: msgspec.Raw
    asset: str = ""


class _Rejected(msgspec.Struct):
    code: str
    record: msgspec.Raw = msgspec.Raw(b"null")


class Absence:
    """Reasons for the absence of findings, for one run.

    :param home: account and Region of assets outside EC2, where they become findings.
    :param is_full: whether the run exported everything. If not, only what Tenable says of an asset counts, and not that
        a finding is absent.
    :ivar blind: why absence means nothing in this run; empty where it does mean something.
    """

    def __init__(self, run: RunFolder, plan: RunPlan, home: tuple[str, str] | None, *, is_full: bool) -> None:
        settings = plan["settings"]
        by_score = settings.get("severity_source", TENABLE) != TENABLE
        # A severity of a score does not say whether the finding was exported: that goes by Tenable's.
        exported = SEVERITIES if by_score else settings["severities"]
        self._severities = frozenset(map(SEVERITIES.index, exported))
        #: Of the account and Region that is judged.
        self._scopes: tuple[Scope, ...] = ()
        self._home = home
        self._is_typed = settings.get("non_ec2_assets", SKIP) in IS_TYPED
        self._names: Counter[str] | None = None
        self._table = AssetTable(staged_assets(str(run.export("assets"))))
        self._instances = Instances(self._table)
        self._is_full = is_full
        self._is_of_audits = kind_of_plan(plan) == COMPLIANCE.name
        self._is_of_applications = kind_of_plan(plan) == WAS.name
        self._waiting, self.blind = waiting_assets(run) if is_full else (frozenset(), "")

    def close(self) -> None:
        """Remove the temporary files."""
        self._instances.close()
        self._table.close()

    def judge(self, active: pa.Table, absent: Array, scopes: tuple[Scope, ...] = ()) -> tuple[pa.Table, Counter[str]]:
        """The rows to be archived, with their reasons in a column ``reason``, and why others are left alone.

        :param active: active rows of the index, all of each resource.
        :param absent: of which of them the run saw nothing.
        :param scopes: what the findings must be in.
        """
        import pyarrow as pa

        self._scopes = scopes

        rows = active.filter(absent)
        protected = self._protected(active) if rows.num_rows else frozenset()
        keys, assets = rows["key"].to_pylist(), rows["asset"].to_pylist()
        severities, plugins = rows["severity"].to_pylist(), rows["plugin"].to_pylist()
        chosen: list[int] = []
        reasons: list[str] = []
        left: Counter[str] = Counter()
        memo: dict[tuple[bytes, bytes], tuple[str, str]] = {}
        for number, (key, asset, severity, plugin) in enumerate(zip(keys, assets, severities, plugins, strict=True)):
            resource = key[:_RESOURCE_BYTES]
            if resource in protected:
                left[WAITING] += 1
                continue
            known = memo.get((asset, resource)) or memo.setdefault((asset, resource), self._of_asset(asset, resource))
            reason, why_left = known
            if not self._is_full and (not reason or reason in BY_ABSENCE):
                left[why_left] += bool(why_left)
                continue
            if why_left:
                left[why_left] += 1
                continue
            if not reason:
                left_out = any(scope.leaves_out_plugin(plugin) for scope in scopes)
                reason = OUT_OF_SCOPE if left_out or severity not in self._severities else NOT_REPORTED
            chosen.append(number)
            reasons.append(reason)
        rows = rows.take(pa.array(chosen, pa.int64()))
        left = +left
        return rows.append_column("reason", pa.array(reasons, pa.string())), left

    def _protected(self, active: pa.Table) -> frozenset[bytes]:
        """What the keys of the resources begin with whose findings stay. Several assets may share an instance: what
        protects one of them protects the instance.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self._waiting:
            return frozenset()
        waiting = pa.array(sorted(self._waiting), active.schema.field("asset").type)
        keys = active.filter(pc.is_in(active["asset"], value_set=waiting))["key"].to_pylist()
        return frozenset(key[:_RESOURCE_BYTES] for key in keys)

    def _of_asset(self, asset: bytes, resource: bytes) -> tuple[str, str]:
        """(reason, why its findings are left alone) of an asset; both are empty where it says nothing about them."""
        found = self._table.get(str(UUID(bytes=asset)))
        if found is None:
            return "", ""
        if found.gone:
            if not self._is_full and self._is_shared(found):
                return "", SHARED
            return DELETED if found.deleted_at else TERMINATED, ""
        if self._is_of_applications:
            # Which resource it is now, its records say (run/moved_applications.py).
            return "", ""
        heads = self._heads_of(found)
        if self._is_of_audits and skip_reason(found) is not None:
            # An AWS account has no instance. Records of a host that is not settled wait, which protects it.
            return "", ""
        if heads is None:
            return "", UNSETTLED_ASSET
        if resource not in heads:
            return MOVED, ""
        return OUT_OF_SCOPE if self._tags_leave_out(found) else "", ""

    def _tags_leave_out(self, asset: AssetRow) -> bool:
        asking = [scope for scope in self._scopes if scope.asset_tags]
        tags = msgspec.json.decode(asset.tags, type=dict[str, list[str]]) if asking else {}
        return any(scope.leaves_out_tags(tags) for scope in asking)

    def _is_shared(self, asset: AssetRow) -> bool:
        """Whether another asset is, or may be, on the same instance or the same AWS resource."""
        if asset.instance_id in self._instances.shared():
            return True
        arn = aws_resource_of(asset) if self._is_typed and skip_reason(asset) is not None else None
        if arn is None:
            return False
        if self._names is None:
            others = (aws_resource_of(row) for row in self._table.rows() if row.resource_name)
            self._names = Counter(other.text for other in others if other)
        return self._names[arn.text] > 1

    def _heads_of(self, asset: AssetRow) -> set[bytes] | None:
        """What the keys of its findings begin with, by id scheme; None where its resource is not known."""
        if skip_reason(asset) is None:
            account, region = asset.owner_id or "", region_of(asset.region, asset.availability_zone) or ""
            resource = asset.instance_id or ""
        elif self._is_typed and (arn := aws_resource_of(asset)):
            account, region, resource = arn.account, arn.region, arn.name
        elif self._home is not None:
            (account, region), resource = self._home, asset.id
        else:
            return None
        return {
            finding_row.resource_key(id_head(scheme, region=region, account=account, resource=resource))
            for scheme in ID_SCHEMES
        }


def gone_assets(run: RunFolder) -> frozenset[bytes]:
    """The assets, as keys of rows, that are terminated or deleted: all that the run knows, and not only what its own
    export says, because an earlier run may have died before it archived their findings.
    """
    found: set[str] = set()
    for part in staged_assets(str(run.export("assets"))):
        table = read_table(part, ("id", "terminated_at", "deleted_at"))
        for asset, terminated, deleted in zip(*(column.to_pylist() for column in table.columns), strict=True):
            # Of two rows the later one counts.
            (found.add if terminated or deleted else found.discard)(asset)
    return frozenset(map(finding_row.asset_key, found))


def waiting_assets(run: RunFolder) -> tuple[frozenset[bytes], str]:
    """The assets of records that wait, or that could not be read or mapped; and why absence means nothing, if such a
    record does not say of which asset it is.
    """
    found: set[str] = set()
    manifests = shard_manifests(run)
    for name in list_pool(run):
        found.update(_assets_of_part(run.parked_pool, name))
    for name in _own_parts(manifests):
        # Only in the pool do the names of parts contain the digest.
        digest = digest_of(read_whole(run.parked / name)) if name.startswith(WAITING_STEM) else ""
        found.update(_assets_of_part(run.parked, name, digest))
    blind = 0
    for manifest in manifests:
        if not manifest["rejected_part"]:
            continue
        for asset in _assets_of_rejected(read_lines(run.rejected / manifest["rejected_part"])):
            found.add(asset)
            blind += not asset
    found.discard("")
    why = f"{blind} records cannot be read, and do not say of which assets they are" if blind else ""
    return frozenset(map(finding_row.asset_key, found)), why


def _own_parts(manifests: Iterable[Any]) -> list[str]:
    """The parts of waiting records in the run's own folder. A settled run has put them into the pool as well; a dry run
    has not.
    """
    return [
        name for manifest in manifests for name in (manifest["parked_part"], *manifest.get("waiting_parts", [])) if name
    ]


def _assets_of_part(folder: ObjectStoragePath, name: str, digest: str = "") -> Iterable[str]:
    listed = read_list(folder, name, digest)
    return _assets_of_parked(read_lines(folder / name)) if listed is None else listed


def waiting_plugins(run: RunFolder) -> Iterator[tuple[bytes, int]]:
    """The asset, as in a key, and the plugin of each record that waits. Its plugin is 0 if it names none."""
    decode, record = msgspec.json.Decoder(_Waiting).decode, msgspec.json.Decoder(_OfPlugin).decode
    parts = [
        *(run.parked_pool / name for name in list_pool(run)),
        *(run.parked / name for name in _own_parts(shard_manifests(run))),
    ]
    for path in parts:
        for line in read_lines(path):
            entry = decode(line)
            found = record(entry.record)
            yield finding_row.asset_key(entry.asset or found.asset_id), found.plugin.id


def _assets_of_parked(lines: Iterable[bytes]) -> Iterator[str]:
    decode, record = msgspec.json.Decoder(_Waiting).decode, msgspec.json.Decoder(_Record).decode
    for line in lines:
        entry = decode(line)
        yield entry.asset or record(entry.record).asset_id


def _assets_of_rejected(lines: Iterable[bytes]) -> Iterator[str]:
    """The asset of each record that became no finding; empty where it cannot be read."""
    decode = msgspec.json.Decoder(_Rejected).decode
    for line in lines:
        entry = decode(line)
        if entry.code in (UNREADABLE, UNMAPPABLE):
            try:
                yield msgspec.json.decode(entry.record, type=_Record).asset_id
            except msgspec.DecodeError:
                text = bytes(entry.record).decode("utf-8", "replace").replace('\\"', '"')
                # Two searches, since one pattern for both takes quadratic time for a hostile text.
                if of_audit := _ASSET_UUID.search(text):
                    yield of_audit[1]
                    continue
                begin = _ASSET.search(text)
                found = _UUID.search(text, begin.end(), begin.end() + _ASSET_LENGTH) if begin else None
                yield found[1] if found else ""


__all__ = ["Absence", "gone_assets", "waiting_assets", "waiting_plugins"]
