"""The run's folder: what one stage writes and the next one reads.

Layout below ``{staging}/{dag_id}/{run_id}/`` (``RunFolder``)::

    run.json                                 the run's plan: window, settings, destinations, parts of the asset index
    shards.json                              the number of tasks of the transform
    resolved.json  resolved_assets.parquet   assets whose account and Region EC2 has named, and why others have none
    fewer_assets.json                        present if the exports have too few assets: a cleared run exports again
    imports/group-*.json                     the destinations of each import task, with connections and roles
    assets/  vulnerabilities/                export.json (state, then manifest) and part-* files
    findings/shard-*.json                    manifest of one transform task
    findings/{account}/{region}/part-*.jsonl.zst
    rows/{account}/{region}/part-*.rows.zst  what is compared of the findings in the part of that name
    compared/{account}/{region}/             which findings are sent, and why
    rejected/part-*.jsonl.gz                 records that could not be mapped, and findings that were rejected
    rejected_before/                         the same from earlier attempts, if the run was cleared
    receipts/{account}/{region}.jsonl        what Security Hub acknowledged
    archiving.json                           the accounts and Regions in which the run archives what is gone
    gone/{account}/{region}/                 what is archived there, why, and what became of it
    archived/{account}/{region}/*.jsonl.gz   the receipts of that
    hub_audit/{account}/{region}/            what an audit has read from a hub, and how it differs from the index
    take_over/{account}/{region}/            what a takeover has read from a hub, what it changed, and what it left
    refusals/{account}/{region}.json         why an account and Region refused its findings for good
    ledger.json                              the counts, which must add up
    jobs/{task}.json  jobs/{task}/{n}.json   what a task has started elsewhere: a run of a scan, its exports
    exports/{task}/                          files that a task has downloaded, unless it has a path of its own

Next to the runs: ``parked/`` (records that wait for their assets, and lists of these assets), ``asset_index/``,
``finding_index/`` (what the hubs hold) and ``deployment/`` (what is known of the DAG, across its runs).

Next to the folders of the DAGs: ``audits/`` (which AWS account an audit's results belong to,
:mod:`airflow_provider_tenable.scan.audited_accounts`).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.staging.files import is_local
from airflow_provider_tenable.staging.location import default_staging_uri, open_path
from airflow_provider_tenable.staging.private_files import keep_private

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath


#: Longer task ids are shortened: with a suffix they would not fit into a file's name.
LONGEST_TASK = 150


class _Below:
    """A path below one of a :class:`RunFolder`, joined when it is first asked for: a task uses few of them.

    :param of: the attribute of the folder that it is below.
    :param names: of its parts.
    """

    def __init__(self, of: str, *names: str) -> None:
        self._of, self._names, self._own = of, names, ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._own = name

    def __get__(self, folder: RunFolder, owner: type | None = None) -> ObjectStoragePath:
        path: ObjectStoragePath = getattr(folder, self._of).joinpath(*self._names)
        # The folder's own attribute comes before this one from now on.
        folder.__dict__[self._own] = path
        return path


class RunFolder:
    """The paths of one run.

    :param base: URI of the staging area.
    :param dag_id: the DAG's id.
    :param run_id: the run's id.
    """

    PARKED = "parked"
    ASSET_INDEX = "asset_index"
    FINDING_INDEX = "finding_index"
    DEPLOYMENT = "deployment"
    AUDITS = "audits"
    RESOLVED_ASSETS = "resolved_assets.parquet"
    #: Folders next to those of the runs, and of the DAGs.
    RESERVED = frozenset({PARKED, ASSET_INDEX, FINDING_INDEX, DEPLOYMENT, AUDITS})

    plan = _Below("root", "run.json")
    shards = _Below("root", "shards.json")
    ledger = _Below("root", "ledger.json")
    archiving = _Below("root", "archiving.json")
    fewer_assets = _Below("root", "fewer_assets.json")
    resolved = _Below("root", "resolved.json")
    resolved_assets = _Below("root", RESOLVED_ASSETS)
    findings = _Below("root", "findings")
    contested = _Below("findings", "contested")
    rejected = _Below("root", "rejected")
    rejected_before = _Below("root", "rejected_before")
    parked = _Below("root", PARKED)
    parked_pool = _Below("dag_root", PARKED)
    asset_index = _Below("dag_root", ASSET_INDEX)
    finding_index = _Below("dag_root", FINDING_INDEX)
    sends = _Below("dag_root", DEPLOYMENT, "sends.json")
    owner = _Below("dag_root", DEPLOYMENT, "owner.json")
    checks = _Below("dag_root", DEPLOYMENT, "checks.json")
    status = _Below("dag_root", DEPLOYMENT, "status.json")
    history = _Below("dag_root", DEPLOYMENT, "history.json")
    suppresses = _Below("dag_root", DEPLOYMENT, "suppresses.json")
    full_export = _Below("dag_root", DEPLOYMENT, "assets.json")
    resolved_instances = _Below("dag_root", DEPLOYMENT, "instances.json")
    reached_places = _Below("dag_root", DEPLOYMENT, "reached")
    owed_places = _Below("dag_root", DEPLOYMENT, "owed")

    def __init__(self, base: str, dag_id: str, run_id: str) -> None:
        for name in (dag_id, run_id):
            if name in ("", ".", "..", *self.RESERVED) or "/" in name or "\0" in name:
                raise ConfigurationError(f"{name!r} cannot be the name of a staging folder. Use another run_id.")
        self._base = base
        self.dag_root = open_path(base) / dag_id
        self.root = self.dag_root / run_id
        self.dag_id = dag_id
        self.run_id = run_id

    @classmethod
    def of(cls, context: Any, staging_path: str | None = None) -> RunFolder:
        """The folder of a task's run. On a local disk, the DAG's folder is closed to other users.

        :param staging_path: URI of the staging area; default: that of the DAG (:func:`staging_uri_of`).
        """
        dag_run = context["dag_run"]
        run = cls(staging_path or staging_uri_of(context), dag_run.dag_id, dag_run.run_id)
        if is_local(run.dag_root):
            keep_private(run.dag_root.path)
        return run

    def beside(self, run_id: str) -> RunFolder:
        """The folder of another run of the same DAG."""
        return RunFolder(self._base, self.dag_root.name, run_id)

    def of_dag(self, dag_id: str, run_id: str) -> RunFolder:
        """The folder of a run of another DAG, in the same staging area."""
        return RunFolder(self._base, dag_id, run_id)

    def export(self, kind: str) -> ObjectStoragePath:
        """The folder of an export: ``assets``, ``vulnerabilities``."""
        return self.root / kind

    def destination(self, account: str, region: str) -> ObjectStoragePath:
        """The folder of the findings of one account and region."""
        return self.findings.joinpath(account, region)

    def rows(self, account: str, region: str, part: str) -> ObjectStoragePath:
        """The rows of the findings in a part."""
        return self.root.joinpath("rows", account, region, f"{part.removesuffix('.jsonl.zst')}.rows.zst")

    def compared(self, account: str, region: str) -> ObjectStoragePath:
        """The folder of what was decided about the findings of one account and region."""
        return self.root.joinpath("compared", account, region)

    def receipts(self, account: str, region: str) -> ObjectStoragePath:
        """The receipts of one account and region."""
        return self.root.joinpath("receipts", account, f"{region}.jsonl")

    def archive_receipts(self, account: str, region: str) -> ObjectStoragePath:
        """The folder with the receipts of what is archived in one account and region."""
        return self.root.joinpath("archived", account, region)

    def gone(self, account: str, region: str) -> ObjectStoragePath:
        """The folder of what is archived in one account and region because it is gone."""
        return self.root.joinpath("gone", account, region)

    def hub_audit(self, account: str, region: str) -> ObjectStoragePath:
        """The folder of what an audit has read from the hub of one account and region, and found."""
        return self.root.joinpath("hub_audit", account, region)

    def take_over(self, account: str, region: str) -> ObjectStoragePath:
        """The folder of what a takeover has read from the hub of one account and region, and what became of it."""
        return self.root.joinpath("take_over", account, region)

    def refusal(self, account: str, region: str) -> ObjectStoragePath:
        """Why one account and region refused its findings."""
        return self.root.joinpath("refusals", account, f"{region}.json")

    def job(self, task_id: str, map_index: int = -1) -> ObjectStoragePath:
        """What a task has started elsewhere and must find again. :param map_index: -1 for a task that is not mapped."""
        name = _name_of(task_id)
        return self.root.joinpath("jobs", (f"{name}.json" if map_index < 0 else f"{name}/{map_index}.json"))

    def downloads(self, task_id: str, map_index: int = -1) -> ObjectStoragePath:
        """The folder of the files that a task downloads."""
        folder = self.root / "exports" / _name_of(task_id)
        return folder if map_index < 0 else folder / str(map_index)

    def import_group(self, number: int) -> ObjectStoragePath:
        """The destinations of an import task."""
        return self.root.joinpath("imports", f"group-{number:05d}.json")

    def archive_group(self, number: int) -> ObjectStoragePath:
        """The destinations of an archiving task."""
        return self.root.joinpath("archives", f"group-{number:05d}.json")

    def shard_manifest(self, index: int) -> ObjectStoragePath:
        """The manifest of a transform task."""
        return self.findings / f"shard-{index:04d}.json"


def staging_uri_of(context: Any) -> str:
    """The URI of a DAG's staging area: ``staging_path`` in the DAG's ``default_args``, or the option of that name.

    :param context: of one of the DAG's tasks.
    """
    own = (getattr(context.get("dag"), "default_args", None) or {}).get("staging_path")
    return str(own) if own else default_staging_uri()


def _name_of(task_id: str) -> str:
    """The name of a task's file or folder. Airflow allows dots, and more characters than a file's name may have."""
    if len(task_id) <= LONGEST_TASK and task_id.strip("."):
        return task_id
    return f"{task_id[:LONGEST_TASK].strip('.')}-{hashlib.sha256(task_id.encode()).hexdigest()[:16]}"
