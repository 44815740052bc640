"""Which findings of the old tools Tenable does not report any more, as the last full run saw it.

That a finding of ours is missing in a hub says nothing: only a run that asked Tenable for everything can tell. Where
anything is in doubt, a finding counts as reported, and stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.asff.record_fields import SEVERITY_LABELS
from airflow_provider_tenable.assets.index import staged_assets
from airflow_provider_tenable.assets.table import AssetTable
from airflow_provider_tenable.aws import region_of
from airflow_provider_tenable.exceptions import StagingError, StorageUnavailableError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.run.absence import waiting_assets, waiting_plugins
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.run.status import Status
from airflow_provider_tenable.run.watermark import INCREMENTAL
from airflow_provider_tenable.security_hub.old_tool_ids import Vulnerability, of_old_id, of_our_id
from airflow_provider_tenable.security_hub.take_over_matching import IsGone
from airflow_provider_tenable.staging.files import names, read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import PartWriter, read_lines
from airflow_provider_tenable.state.latest import latest_rows
from airflow_provider_tenable.state.registry import IndexState
from airflow_provider_tenable.state.snapshot import LostIndexError
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES
from airflow_provider_tenable.transform.scope import has_scope

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

#: What is on record: instances, and the plugins of records whose assets Tenable has not exported.
_INSTANCES, _PLUGINS = "instances", "waiting_plugins.json"
#: Without these, a run does not see all that is open.
_OPEN = ("open", "reopened")


class _Instance(msgspec.Struct, array_like=True):
    """An asset of Tenable with an instance id: where it is, and whether something of it may be missing in the hub."""

    instance: str
    account: str
    region: str
    waits: bool
    live: bool


class _Rejected(msgspec.Struct):
    id: str


def note_reported(folder: ObjectStoragePath, run: RunFolder, plan: RunPlan, status: Status) -> str:
    """Put on record which instances Tenable has, as far as the last complete run knows.

    :param run: the last complete run.
    :return: why nothing is known; empty where it is.
    """
    if why := _why_unknown(plan, status):
        return why
    try:
        waiting, blind = waiting_assets(run)
        if blind:
            return blind
        with closing(AssetTable(staged_assets(str(run.export("assets"))))) as table:
            unseen = _write(folder, table, waiting)
        # Their instances are not known, but what was found on them is.
        unknown = [each for each in waiting_plugins(run) if each[0] in unseen]
        write_json(folder / _PLUGINS, sorted({plugin for _, plugin in unknown}))
        unseen -= {asset for asset, plugin in unknown if plugin}
    except StagingError as error:
        return f"the staged files of the run are missing or damaged ({safe(error, 200)})"
    return f"records of {len(unseen)} assets that Tenable has not exported cannot be read" if unseen else ""


def _why_unknown(plan: RunPlan, status: Status) -> str:
    if not status["full"] or plan["window"]["kind"] != INCREMENTAL:
        return "it was not a full one"
    if plan["narrowed"]:
        return "its params are narrower than the DAG's own"
    if missing := [state for state in _OPEN if state not in plan["settings"]["states"]]:
        return f"findings of state {' and '.join(missing)} are not imported"
    if has_scope(plan["settings"], plan["destinations"]):
        return "the DAG's scope leaves findings out"
    return ""


def _write(folder: ObjectStoragePath, table: AssetTable, waiting: frozenset[bytes]) -> set[bytes]:
    """:return: the assets that have waiting records and are not in the table."""
    part, unseen = PartWriter(folder, _INSTANCES), set(waiting)
    for each in table.rows():
        key = row.asset_key(each.id)
        unseen.discard(key)
        if each.instance_id and (not each.gone or key in waiting):
            region = region_of(each.region, each.availability_zone) or ""
            entry = _Instance(each.instance_id, each.owner_id or "", region, key in waiting, not each.gone)
            part.write(msgspec.json.encode(entry))
    part.close()
    return unseen


def never(vulnerability: Vulnerability, severities: frozenset[str]) -> bool:
    """Nothing is known not to be reported."""
    return False


def gone_of(
    folder: ObjectStoragePath,
    run: RunFolder,
    plan: RunPlan,
    state: IndexState,
    place: str,
    wanted: Iterable[Vulnerability],
) -> tuple[IsGone, str]:
    """Whether Tenable is known not to have a vulnerability any more, in an account and Region; and why that is not
    known at all, else an empty text.

    :param folder: of :func:`note_reported`.
    :param run: the last complete run, ``plan`` its plan, and ``state`` its finding index.
    :param place: ``account/region``. ``wanted``: all that will be asked for.
    :raises StagingError: a staged file is missing or damaged.
    """
    instances = {each.instance for each in wanted}
    if not instances:
        return never, ""
    account = place.partition("/")[0]
    if place in state.lost or place in state.emptied:
        return never, "its finding index cannot be relied on until the next full run"
    try:
        active = _active(state, place, instances)
    except LostIndexError as error:
        return never, f"its finding index cannot be relied on ({safe(error, 200)})"
    rejected = _rejected(run, place)
    if rejected is None:
        return never, "Security Hub CSPM rejected findings there whose ids cannot be read"
    waits: set[str] = set()
    homes: dict[str, set[tuple[str, str]]] = {}
    decode = msgspec.json.Decoder(_Instance).decode
    path = folder / f"{_INSTANCES}.jsonl.gz"
    try:
        for each in map(decode, read_lines(path)):
            if each.instance in instances:
                if each.waits:
                    waits.add(each.instance)
                if each.live:
                    homes.setdefault(each.instance, set()).add((each.account, each.region))
    except StorageUnavailableError:
        raise
    except (StagingError, msgspec.DecodeError) as error:
        raise StagingError(f"{path} is missing or damaged. Clear the run from plan_take_over on.") from error
    waiting = frozenset(read_json(folder / _PLUGINS) or ())
    imported = {SEVERITY_LABELS[SEVERITIES.index(name)] for name in plan["settings"]["severities"]}

    def is_gone(key: Vulnerability, severities: frozenset[str]) -> bool:
        return (
            severities <= imported
            and key.instance not in waits
            and key.plugin not in waiting
            # Where Tenable has the instance somewhere else, or does not say where, its findings are there.
            and homes.get(key.instance, set()) <= {(account, key.region)}
            and key not in active
            and key not in rejected
        )

    return is_gone, ""


def _active(state: IndexState, place: str, instances: set[str]) -> set[Vulnerability]:
    found = set()
    for table in latest_rows(state.index(place).snapshot(), ("resource", "plugin")):
        rows = zip(*(table[name].to_pylist() for name in ("resource", "plugin", "archived")), strict=True)
        for resource, plugin, archived in rows:
            region, *_, instance = resource.rstrip("/").split("/")
            if not archived and instance in instances:
                found.add(Vulnerability(region, instance, plugin))
    return found


def _rejected(run: RunFolder, place: str) -> set[Vulnerability] | None:
    """What Security Hub rejected of ours in that run; None where that cannot be told."""
    account, region = place.split("/")
    found, decode = set(), msgspec.json.Decoder(_Rejected).decode
    for name in names(run.rejected):
        if name.startswith(f"part-{account}-{region}-"):
            for line in read_lines(run.rejected / name):
                try:
                    finding_id = decode(line).id
                except msgspec.DecodeError:
                    return None
                key = of_our_id(finding_id, account) or of_old_id(finding_id)
                if key is not None:
                    found.add(key)
    return found


__all__ = ["gone_of", "never", "note_reported"]
