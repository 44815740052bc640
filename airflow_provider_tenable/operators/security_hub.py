"""Import staged findings into AWS Security Hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseOperator, fail_fast, pause
from airflow_provider_tenable.links.security_hub import XCOM_KEY, SecurityHubFindingsLink, console_url
from airflow_provider_tenable.observability import metrics
from airflow_provider_tenable.staging.layout import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.security_hub import SecurityHubHook
    from airflow_provider_tenable.observability.lineage import Data
    from airflow_provider_tenable.security_hub.assignment import Assignment, Target
    from airflow_provider_tenable.security_hub.group import Choice

#: Seconds between two pieces of an import. Do not lower it: Airflow 3.2 and 3.3 lose tasks whose trigger fires within
#: its first seconds.
PAUSE_SECONDS = 30.0


class SecurityHubImportFindingsOperator(BaseOperator):
    """Import the staged findings of one account and hub Region, or of several (BatchImportFindings), at the quota's
    rate, resuming after the last receipt.

    Every finding is accepted, or rejected with Security Hub's code and message (in ``rejected/``). Throttling, outages
    and time-outs are retried for minutes; a call that is rejected completely is halved until the invalid finding is
    isolated; denied access stops the import.

    Several accounts are imported a few at a time, each with its own rate, receipts and role. If one fails, the others
    are still delivered; then the task fails and names all that failed.

    An import that takes longer than ``minutes`` writes its receipts, releases its worker slot (it is deferred) and
    continues in another piece, without using up a retry. An ``execution_timeout`` applies to all pieces together on
    Airflow 2, and to each piece on Airflow 3.

    The result (XCom) is ``{"account", "region", "findings", "accepted", "rejected", "calls"}``; for several accounts it
    contains ``destinations``, their number, instead of account and Region. If the assignment leaves the decision about
    refusals to ``settle``, ``refused`` is the number of accounts and Regions that permanently refused their findings.

    .. seealso:: https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchImportFindings.html

    :param account: the account of the findings, 12 digits (templated). Not with ``group``.
    :param region: the hub's Region (templated). Not with ``group``.
    :param group: the number of a group of accounts and Regions that ``plan_imports`` has staged.
    :param title: the name of the mapped task; default: account and Region.
    :param assignment: one entry of the result of ``plan_imports``, for ``.expand(assignment=...)``: group, title, batch
        size and dry run instead of the arguments with these names. Never templated, however it is passed.
    :param aws_conn_id: AWS connection; None for the worker's own credentials (templated).
    :param role_name: role to assume in the account with the connection's credentials (templated).
    :param external_id: the external id that the role's trust policy requires; default: the connection's own, if it has
        one.
    :param batch_size: findings per call, 1 to 100 (templated).
    :param dry_run: check the hub, but send nothing (templated).
    :param product: ``company/product`` or ``default``. Default ``[tenable] product``.
    :param enable_product: subscribe the account to the product if it is not subscribed. Default ``[tenable]
        enable_product``.
    :param in_flight: concurrent calls for each account and Region.
    :param together: concurrent accounts and Regions of a group.
    :param minutes: the duration of a piece; 0: unlimited. Default ``[tenable] import_minutes``.
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    """

    template_fields: Sequence[str] = (
        "account",
        "region",
        "aws_conn_id",
        "role_name",
        "batch_size",
        "dry_run",
        "staging_path",
    )
    ui_color = "#f7e3cf"
    operator_extra_links = (SecurityHubFindingsLink(),)
    #: What became of the findings, once the task knows.
    _result = ""
    #: What was read and written, once the task knows.
    _lineage: tuple[list[Data], list[Data]] = ([], [])

    def __init__(
        self,
        *,
        account: str | None = None,
        region: str | None = None,
        group: int | None = None,
        title: str | None = None,
        assignment: dict[str, Any] | None = None,
        aws_conn_id: str | None = "aws_default",
        role_name: str | None = None,
        batch_size: int = 100,
        dry_run: bool = False,
        product: str | None = None,
        enable_product: bool | None = None,
        in_flight: int = 4,
        together: int = 4,
        minutes: float | None = None,
        staging_path: str | None = None,
        external_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.region = region
        self.group = group
        self._title = title
        self.assignment = assignment
        self.aws_conn_id = aws_conn_id
        self.role_name = role_name
        self.batch_size = batch_size
        self.dry_run = dry_run
        self.product = product
        self.enable_product = enable_product
        self.in_flight = in_flight
        self.together = together
        self.minutes = minutes
        self.staging_path = staging_path
        self.external_id = external_id

    @cached_property
    def hook(self) -> SecurityHubHook:
        """The hook of this task's connection, account and Region."""
        from airflow_provider_tenable.hooks.security_hub import SecurityHubHook

        return SecurityHubHook(
            aws_conn_id=self.aws_conn_id,
            region_name=self.region,
            role_name=self.role_name,
            account=self.account,
            external_id=self.external_id,
        )

    @property
    def title(self) -> str:
        """Account and Region, or how many they are: for ``map_index_template``."""
        own = {"account": self.account, "region": self.region, "group": self.group, "title": self._title}
        named = {**own, **(self.assignment or {})}
        place = f"{named['account']}/{named['region']}" if named["group"] is None else f"group {named['group']}"
        return str(named["title"] or place)

    @property
    def outcome(self) -> str:
        """The title and, once the import has ended, what became of its findings: for ``map_index_template``, which
        Airflow renders before and after the execution.
        """
        return f"{self.title}: {self._result}" if self._result else self.title

    @staticmethod
    def _settles(run: RunFolder) -> bool:
        """Whether the run has a task that judges the accounts and Regions that refuse findings: a replay has none.

        Read from the plan: the XCom of ``plan_imports`` keeps its shape, since DAG files of 0.1.0 make arguments of it.
        """
        from airflow_provider_tenable.staging.files import read_json

        plan = read_json(run.plan)
        return plan is not None and "replays" not in plan

    def execute(self, context: Any) -> dict[str, Any]:
        """Check the hub, then send what has no receipt yet."""
        from airflow_provider_tenable import config
        from airflow_provider_tenable.exceptions import ConfigurationError
        from airflow_provider_tenable.run.accepted_risks import accepted_risks
        from airflow_provider_tenable.security_hub.group import GroupImport

        with fail_fast():
            assigned = self._assigned()
            if not 1 <= assigned.batch_size <= 100:
                raise ConfigurationError(
                    f"batch_size is {assigned.batch_size}; Security Hub CSPM accepts 1 to 100 findings per call."
                )
            run = RunFolder.of(context, self.staging_path)
            targets = self._targets(run, assigned)
            only = targets[0] if len(targets) == 1 else None
            if only and (link := console_url(account=only.account, region=only.region)):
                context["ti"].xcom_push(key=XCOM_KEY, value=link)
            self._lineage = ([], [])
            minutes = config.get("import_minutes") if self.minutes is None else self.minutes
            work = GroupImport(
                run,
                targets,
                open_hook=self._open_hook,
                product=self.product or config.get("product"),
                enable_product=bool(
                    config.get("enable_product") if self.enable_product is None else self.enable_product
                ),
                batch_size=assigned.batch_size,
                in_flight=self.in_flight,
                together=self.together,
                dry_run=assigned.dry_run,
                note_refusals=assigned.group is not None and self._settles(run),
                seconds=60 * minutes or None,
                choose=self._choose(run),
                on_finished=partial(self._report, run, assigned.dry_run),
                settle=accepted_risks(run, dry_run=assigned.dry_run),
            )
            done = work.run()
        counts = work.counts()
        if not done:
            # Also where all of them are: the hub may not show yet what is to be suppressed.
            accounted_for = counts["accepted"] + sum(counts["rejected"].values())
            self.log.info(
                "%s: %d of %d findings are accounted for. The worker slot is released; the import resumes in %g "
                "seconds.",
                self.title,
                accounted_for,
                work.to_send,
                PAUSE_SECONDS,
            )
            self.defer(trigger=pause(PAUSE_SECONDS), method_name="resume")
        which = {"account": only.account, "region": only.region} if only else {"destinations": len(targets)}
        refused = sum(progress.refused for progress in work.progress.values())
        self._result = _result_of(work.findings, counts, refused=refused, dry_run=assigned.dry_run)
        return {**which, "findings": work.findings, **counts, **({"refused": refused} if refused else {})}

    def resume(self, context: Any, event: Any = None) -> dict[str, Any]:
        """Resume with the next piece of the import."""
        return self.execute(context)

    @staticmethod
    def _choose(run: RunFolder) -> Callable[[Target, Callable[[], int]], Choice] | None:
        """Which findings of a target are sent: what its plan says is compared with what the hub holds."""
        from airflow_provider_tenable.run.hubs import chooser
        from airflow_provider_tenable.staging.files import read_json

        plan = read_json(run.plan)
        return None if plan is None else chooser(run, plan)

    def _assigned(self) -> Assignment:
        """The task's assignment: the given one, or one made of the operator's own arguments.

        No part of a given assignment is copied into a templated field: ``dag.test`` of Airflow 2 renders the fields of
        a deferred task again when it resumes.
        """
        from airflow_provider_tenable.security_hub.assignment import Assignment, parse_assignment

        if self.assignment is not None:
            return parse_assignment(self.assignment)
        return Assignment(
            batch_size=int(self.batch_size),
            dry_run=self.dry_run,
            group=None if self.group is None else int(self.group),
            account=self.account,
            region=self.region,
            aws_conn_id=self.aws_conn_id,
            role_name=self.role_name,
        )

    def _targets(self, run: RunFolder, assigned: Assignment) -> list[Target]:
        import msgspec

        from airflow_provider_tenable.exceptions import ConfigurationError
        from airflow_provider_tenable.security_hub.assignment import Target, fault_of, read_group

        if assigned.group is not None:
            group = read_group(run, assigned.group)
            if len(group) > 1:
                return group
            # The present manifests count: the transform may have been cleared without the tasks after it.
            return [
                msgspec.structs.replace(target, parts=staged_findings(run, target.account, target.region))
                for target in group
            ]
        if not assigned.account or not assigned.region:
            raise ConfigurationError("An import needs account and region, or the number of a group.")
        parts = staged_findings(run, assigned.account, assigned.region)
        target = Target(
            assigned.account, assigned.region, assigned.aws_conn_id, assigned.role_name, parts, self.external_id
        )
        if fault := fault_of(target):
            raise ConfigurationError(f"The import's arguments are not valid: {fault}. Nothing was imported.")
        return [target]

    def _open_hook(self, target: Target) -> SecurityHubHook:
        from airflow_provider_tenable.hooks.security_hub import SecurityHubHook

        if self.assignment is None and self.group is None:
            hook = self.hook
        else:
            return SecurityHubHook.reaching(target, target.account, target.region)
        # Looked up in the task's own thread, before others use the hook.
        _ = hook.conn_config
        return hook

    def _report(
        self,
        run: RunFolder,
        dry_run: bool,
        target: Target,
        before: dict[str, Any],
        after: dict[str, Any],
        seconds: float,
    ) -> None:
        """Report the progress of the import of one account and Region, for metrics and lineage."""
        from airflow_provider_tenable.observability.lineage import security_hub_data, staged_data
        from airflow_provider_tenable.run.places import note_acceptance

        metrics.imported(before, after, seconds, dag_id=run.dag_id, account=target.account, region=target.region)
        if after["accepted"]:
            note_acceptance(run, target.account, target.region)
        read, written = self._lineage
        read.append(staged_data(str(run.destination(target.account, target.region)), target.findings))
        if not dry_run:
            written.append(security_hub_data(target.account, target.region, after["accepted"]))

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Lineage, for the OpenLineage provider: from the staged findings to each hub, with the number of findings that
        it acknowledged.
        """
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage(*self._lineage)


def _result_of(findings: int, counts: Mapping[str, Any], *, refused: int, dry_run: bool) -> str:
    """The result of an import in a few words."""
    if dry_run:
        return f"dry run, {findings:,} findings"
    if refused:
        return f"{counts['accepted']:,} sent, refused by {refused:,}"
    return f"{counts['accepted']:,} sent, {sum(counts['rejected'].values()):,} rejected"


def staged_findings(run: RunFolder, account: str, region: str) -> list[tuple[str, int]]:
    """(name, findings) of the parts that the transform's manifests name for one account and hub Region."""
    from airflow_provider_tenable.run.manifests import shard_manifests

    return [
        (part["name"], part["lines"])
        for manifest in shard_manifests(run)
        for destination in manifest["destinations"]
        if (destination["account"], destination["region"]) == (account, region)
        for part in destination["parts"]
    ]
