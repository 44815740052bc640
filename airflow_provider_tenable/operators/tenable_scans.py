"""Create and delete scans in Tenable Vulnerability Management."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseOperator, fail_fast
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.hooks.tenable import TenableHook

if TYPE_CHECKING:
    from airflow_provider_tenable.scan.definition import Definition
    from airflow_provider_tenable.tenable_vm.scans import Scan


class TenableCreateScanOperator(BaseOperator):
    """Create a scan, or update the one that an earlier run of this task created.

    The scan is found again by its name among those that the API user owns. Its description names the task that manages
    it; a scan without that mark is not changed. The result (XCom) is ``{"id", "schedule_uuid", "name", "template",
    "created"}``, which :class:`~airflow_provider_tenable.operators.scan_runs.TenableRunScanOperator` accepts as
    ``scan``.

    .. seealso:: https://developer.tenable.com/reference/scans-create

    :param name: name of the scan (templated).
    :param template: name or title of the template (templated).
    :param targets: addresses, ranges, networks or host names (templated).
    :param tag_targets: uuids of asset tags whose assets are scanned (templated).
    :param settings: further settings, as the API names them; no secrets, since Airflow shows them (templated).
    :param credentials: names or uuids of managed credentials (templated).
    :param audits: ``audits`` of the request (templated).
    :param scanner: name or uuid of a scanner or scanner group, or ``AUTO-ROUTED``; without it, Tenable takes its US
        cloud scanner (templated).
    :param network: uuid of the network, for ``AUTO-ROUTED`` (templated).
    :param folder: name of the folder (templated).
    :param policy: number of a scan policy, whose settings are used (templated).
    :param schedule: ``{"starttime", "rrules", "timezone"}``, for a scan that Tenable launches (templated).
    :param description: the beginning of the scan's description (templated).
    :param if_exists: ``update``, ``keep`` or ``fail``.
    :param adopt: also update a scan that this task does not manage.
    :param dry_run: only log what would be done.
    :param tenable_conn_id: connection of type ``tenable`` (templated).
    """

    template_fields: Sequence[str] = (
        "name",
        "template",
        "targets",
        "tag_targets",
        "settings",
        "credentials",
        "audits",
        "scanner",
        "network",
        "folder",
        "policy",
        "schedule",
        "description",
        "tenable_conn_id",
    )
    template_fields_renderers = {
        "targets": "json",
        "tag_targets": "json",
        "settings": "json",
        "credentials": "json",
        "audits": "json",
        "schedule": "json",
    }
    ui_color = "#d5e8f7"
    #: The request's part here, and patterns in the operator for AWS audits.
    audits: Any

    def __init__(
        self,
        *,
        name: str,
        template: str = "basic",
        targets: list[str] | None = None,
        tag_targets: list[str] | None = None,
        settings: dict[str, Any] | None = None,
        credentials: list[str] | None = None,
        audits: dict[str, Any] | None = None,
        scanner: str | None = None,
        network: str | None = None,
        folder: str | None = None,
        policy: int | str | None = None,
        schedule: dict[str, str] | None = None,
        description: str = "",
        if_exists: str = "update",
        adopt: bool = False,
        dry_run: bool = False,
        tenable_conn_id: str = TenableHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.template = template
        self.targets = targets
        self.tag_targets = tag_targets
        self.settings = settings
        self.credentials = credentials
        self.audits = audits
        self.scanner = scanner
        self.network = network
        self.folder = folder
        self.policy = policy
        self.schedule = schedule
        self.description = description
        self.if_exists = if_exists
        self.adopt = adopt
        self._dry_run = dry_run
        self.tenable_conn_id = tenable_conn_id

    @cached_property
    def hook(self) -> TenableHook:
        """The hook of this task's connection."""
        return TenableHook(self.tenable_conn_id)

    def execute(self, context: Any) -> dict[str, Any]:
        """Create, update or keep the scan."""
        with fail_fast(), closing(self.hook):
            return self._create_or_update(context)

    def _create_or_update(self, context: Any) -> dict[str, Any]:
        from airflow_provider_tenable.scan.crash_points import ScanCrashPoint
        from airflow_provider_tenable.staging.crash_points import reached

        self._check_arguments()
        manager = f"{context['ti'].dag_id}.{context['ti'].task_id}"
        body = self._definition().body(manager)
        found = self._existing()
        if found is None and not self._dry_run:
            created = self.hook.scans.create(body)
            reached(ScanCrashPoint.SCAN_CREATED)
            self.log.info("Created scan %s (id %d).", created.label, created.id)
            return self._result(created, created=True)
        if found is None:
            self.log.info("dry_run: would create scan %s.", quoted(self.name, 100))
            return {
                "id": None,
                "schedule_uuid": None,
                "name": self.name,
                "template": self.template,
                "created": False,
            }
        return self._result(self._updated(found, body, manager), created=False)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Lineage for the OpenLineage provider: a scan's configuration is not data."""
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage([], [])

    def _check_arguments(self) -> None:
        from airflow_provider_tenable.exceptions import ConfigurationError

        if self.if_exists not in ("update", "keep", "fail"):
            raise ConfigurationError(f"if_exists is {quoted(self.if_exists, 40)}; it must be update, keep or fail.")

    def _definition(self) -> Definition:
        from airflow_provider_tenable.scan.definition import Definition

        scans = self.hook.scans
        return Definition(
            name=str(self.name),
            template_uuid=scans.template(self.template).uuid,
            description=self.description,
            targets=self.targets or (),
            tag_targets=self.tag_targets or (),
            settings=self.settings or {},
            credentials=[self.hook.credentials.credential(each) for each in self.credentials or ()],
            audits=self.audits,
            scanner_id=self._scanner_id(),
            network_uuid=self.network,
            folder_id=scans.folder(self.folder).id if self.folder else None,
            policy_id=int(self.policy) if self.policy else None,
            schedule=self.schedule,
        )

    def _scanner_id(self) -> str | None:
        return self.hook.scans.scanner_id(self.scanner) if self.scanner else None

    def _existing(self) -> Scan | None:
        """The scan of this name that the API user owns."""
        from airflow_provider_tenable.exceptions import ConfigurationError

        scans = self.hook.scans
        owner = scans.owner()
        found = [scan for scan in scans.find(self.name, folder=self.folder) if scan.owner == owner]
        if len(found) > 1:
            ids = ", ".join(str(scan.id) for scan in found)
            raise ConfigurationError(
                f"The API user owns {len(found)} scans named {quoted(self.name, 100)} (ids {ids}). Rename or delete "
                "all but one of them."
            )
        return found[0] if found else None

    def _updated(self, scan: Scan, body: dict[str, Any], manager: str) -> Scan:
        from airflow_provider_tenable.exceptions import ConfigurationError
        from airflow_provider_tenable.scan.definition import is_managed_by, is_unchanged

        if self.if_exists == "fail":
            raise ConfigurationError(f"There is a scan named {scan.label} already (id {scan.id}).")
        if self.if_exists == "keep":
            self.log.info("Scan %s exists (id %d), and is kept as it is.", scan.label, scan.id)
            return scan
        description = self.hook.scans.description(scan)
        if not is_managed_by(description, manager) and not self.adopt:
            raise ConfigurationError(
                f"Scan {scan.label} (id {scan.id}) was not created by this task, so it is not changed. Choose another "
                "name, or set adopt=True to let this task manage it, or if_exists='keep' to use it as it is."
            )
        if is_managed_by(description, manager) and is_unchanged(description, body):
            self.log.info("Scan %s (id %d) is up to date.", scan.label, scan.id)
            return scan
        if self._dry_run:
            self.log.info("dry_run: would update scan %s (id %d).", scan.label, scan.id)
            return scan
        self.log.info("Updating scan %s (id %d).", scan.label, scan.id)
        self.hook.scans.update(scan, body)
        return scan

    def _result(self, scan: Scan, *, created: bool) -> dict[str, Any]:
        return {
            "id": scan.id,
            "schedule_uuid": scan.schedule_uuid,
            "name": scan.name,
            "template": self.template,
            "created": created,
        }


class TenableDeleteScanOperator(BaseOperator):
    """Delete a scan with its results. A scan that does not exist any more is a success.

    The result (XCom) is ``{"deleted": bool}``.

    :param scan: result of :class:`TenableCreateScanOperator`, number, schedule uuid, or ``name:`` and the name
        (templated).
    :param stop: stop an active run first, and wait until it has stopped.
    :param stop_timeout: seconds to wait for that.
    :param tenable_conn_id: connection of type ``tenable`` (templated).
    """

    template_fields: Sequence[str] = ("scan", "tenable_conn_id")
    template_fields_renderers = {"scan": "json"}
    ui_color = "#d5e8f7"

    def __init__(
        self,
        *,
        scan: dict[str, Any] | int | str,
        stop: bool = False,
        stop_timeout: float = 600.0,
        tenable_conn_id: str = TenableHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scan = scan
        self.stop = stop
        self.stop_timeout = stop_timeout
        self.tenable_conn_id = tenable_conn_id

    @cached_property
    def hook(self) -> TenableHook:
        """The hook of this task's connection."""
        return TenableHook(self.tenable_conn_id)

    def execute(self, context: Any) -> dict[str, bool]:
        """Delete the scan."""
        from airflow_provider_tenable.exceptions import NotFoundError

        with fail_fast(), closing(self.hook):
            try:
                scan = self.hook.scans.scan(self.scan)
            except NotFoundError as error:
                self.log.info("There is nothing to delete. %s", error)
                return {"deleted": False}
            if self.stop:
                self._stop(scan)
            deleted = self.hook.scans.delete(scan.schedule_uuid)
            self.log.info("Scan %s (id %d) was %s.", scan.label, scan.id, "deleted" if deleted else "deleted before")
            return {"deleted": deleted}

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Lineage for the OpenLineage provider: a scan's configuration is not data."""
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage([], [])

    def _stop(self, scan: Scan) -> None:
        import time

        from airflow_provider_tenable.exceptions import ConflictError
        from airflow_provider_tenable.scan.status import is_active

        runs, deadline = self.hook.scan_runs, time.monotonic() + self.stop_timeout
        runs.stop(scan)
        while is_active(runs.latest_status(scan).status):
            if time.monotonic() > deadline:
                raise ConflictError(f"Scan {scan.label} has not stopped within {self.stop_timeout:.0f} s.")
            time.sleep(5)
