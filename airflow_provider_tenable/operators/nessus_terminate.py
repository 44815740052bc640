"""Remove a Nessus scanner on EC2: from Tenable first, then from AWS."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import AirflowSkipException, conf, fail_fast, pause
from airflow_provider_tenable.exceptions import AwsRefusedError, ConfigurationError, ConflictError, TemporaryError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.operators.nessus_aws import AWS_FIELDS, NessusAwsTask, key_source

if TYPE_CHECKING:
    from airflow_provider_tenable.scan.instances import Instance

#: Seconds between two looks at a scanner that still scans, or at an instance that is being terminated.
PAUSE_SECONDS = 30.0
#: Seconds that an instance may take to be terminated.
TERMINATION_SECONDS = 600.0


class NessusTerminateScannerOperator(NessusAwsTask):
    """Unlink a scanner from Tenable, then terminate its instance and remove what it had in AWS.

    In this order, because a scanner that is terminated first stays in Tenable's list, off, and may count against the
    licence. Every step can be repeated: what is gone is not an error. An instance, role or security group is only
    removed if it carries the scanner's tag. The result (XCom) is ``{"deleted", "terminated", "left"}``.

    :param scanner: the result of :class:`~airflow_provider_tenable.operators.nessus_ec2.NessusCreateScannerOperator`
        or of :class:`~airflow_provider_tenable.sensors.tenable_scanners.TenableScannerSensor` (templated).
    :param name: the scanner's name, instead; its instance is found by its tag (templated).
    :param uuid: the scanner's uuid in Tenable, if its name is not unique (templated).
    :param instance_id: the instance, if it is not to be looked for (templated).
    :param delete_scanner: unlink the scanner from Tenable.
    :param terminate: terminate the instance.
    :param wait_for_scans: seconds to wait for scans that it runs; 0: fail if it runs any.
    :param force: do not ask for scans that it runs.
    :param cleanup: what else to remove: ``parameter``, ``security_group``, ``key_pair``, ``instance_profile``
        (templated).
    :param optional: skip the task if neither scanner nor name is given, instead of failing.
    :param linking_key: where the linking key is stored, as of the task that created the scanner (templated).
    :param deferrable: wait in the triggerer, without a worker slot. Default ``[operators] default_deferrable``.
    :param tenable_conn_id: connection of type ``tenable`` (templated).
    """

    template_fields: Sequence[str] = (
        "scanner",
        "name",
        "uuid",
        "instance_id",
        "cleanup",
        "linking_key",
        "tenable_conn_id",
        *AWS_FIELDS,
    )
    template_fields_renderers = {"scanner": "json"}

    def __init__(
        self,
        *,
        scanner: dict[str, Any] | None = None,
        name: str | None = None,
        uuid: str | None = None,
        instance_id: str | None = None,
        delete_scanner: bool = True,
        terminate: bool = True,
        wait_for_scans: float = 3600,
        force: bool = False,
        cleanup: Sequence[str] = ("parameter", "security_group", "key_pair", "instance_profile"),
        optional: bool = False,
        linking_key: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        tenable_conn_id: str = TenableHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scanner = scanner
        self.name = name
        self.uuid = uuid
        self.instance_id = instance_id
        self.delete_scanner = delete_scanner
        self.terminate = terminate
        self.wait_for_scans = wait_for_scans
        self.force = force
        self.cleanup = cleanup
        self.optional = optional
        self.linking_key = linking_key
        self.deferrable = deferrable
        self.tenable_conn_id = tenable_conn_id

    @cached_property
    def tenable_hook(self) -> TenableHook:
        """The hook of this task's Tenable connection."""
        return TenableHook(self.tenable_conn_id)

    def execute(self, context: Any) -> dict[str, Any]:
        """Unlink, terminate, clean up."""
        return self._remove(time.time() + self.wait_for_scans)

    def execute_complete(self, context: Any, event: Any = None, deadline: float | None = None) -> dict[str, Any]:
        """Continue after a pause."""
        return self._remove(time.time() + self.wait_for_scans if deadline is None else deadline)

    def _remove(self, deadline: float) -> dict[str, Any]:
        from airflow_provider_tenable.scan import removal

        with fail_fast(), closing(self.hook) as hook, closing(self.tenable_hook):
            name = self._name()
            kinds = removal.check_kinds(self.cleanup)
            source = key_source(self.linking_key, name)
            hook.identify()
            # Before anything is removed: what cannot be told apart is left alone.
            instance = self._instance(name) if self.terminate else None
            deleted = self._delete_from_tenable(name, deadline) if self.delete_scanner else False
            terminated = self._terminate(instance) if instance else False
            left = removal.remove(hook, name, kinds, secret=source)
            for what in left:
                self.log.warning("Not removed: %s. It is in use, or does not carry the scanner's tag.", what)
            return {"deleted": deleted, "terminated": terminated, "left": left}

    def _name(self) -> str:
        from airflow_provider_tenable.scan.bootstrap import check_name

        reference = self.scanner if isinstance(self.scanner, dict) else {}
        name = self.name or reference.get("name")
        if not name and self.optional:
            raise AirflowSkipException("There is no scanner to remove.")
        if not name:
            raise ConfigurationError(
                f"Task {self.task_id} does not know which scanner to remove: give scanner or name. If it is the result "
                "of another task, that task has not run, or its XCom was deleted."
            )
        return check_name(name)

    def _instance(self, name: str) -> Instance | None:
        from airflow_provider_tenable.scan import instances

        reference = self.scanner if isinstance(self.scanner, dict) else {}
        given = self.instance_id or reference.get("instance_id")
        if not given:
            return instances.find(self.hook, name)
        instance = instances.describe(self.hook, given)
        if instance is None or instance.state == "terminated":
            return None
        if not instance.belongs_to(name):
            raise AwsRefusedError(
                f"Instance {instance.id} does not carry tag tenable:scanner={name}, so it is not terminated. Correct "
                "instance_id or name."
            )
        return instance

    def _delete_from_tenable(self, name: str, deadline: float) -> bool:
        reference = self.scanner if isinstance(self.scanner, dict) else {}
        uuid = self.uuid or reference.get("uuid")
        found = self.tenable_hook.find_scanner(None if uuid else name, uuid=uuid)
        if found is None:
            self.log.info("Tenable has no scanner %s (any more).", name)
            return False
        while not self.force:
            running = self.tenable_hook.scanners.running_scans(found.id)
            if not running:
                break
            names = safe(", ".join(running[:5]), 300)
            if time.time() >= deadline:
                raise ConflictError(
                    f"Scanner {name} still runs {len(running)} scans ({names}), so nothing was removed. Wait for them "
                    "(wait_for_scans), or set force=True, which aborts them."
                )
            self.log.info("Scanner %s runs %d scans (%s): waiting.", name, len(running), names)
            if self.deferrable:
                self.defer(trigger=pause(PAUSE_SECONDS), method_name="execute_complete", kwargs={"deadline": deadline})
            time.sleep(min(PAUSE_SECONDS, max(0.0, deadline - time.time())))
        deleted = self.tenable_hook.scanners.delete(found.id)
        self.log.info("Deleted scanner %s (%s) from Tenable.", name, found.uuid)
        return deleted

    def _terminate(self, instance: Instance) -> bool:
        from airflow_provider_tenable.scan import instances

        instances.terminate(self.hook, instance.id)
        self.log.info("Terminating instance %s.", instance.id)
        deadline = time.time() + TERMINATION_SECONDS
        while (now := instances.describe(self.hook, instance.id)) is not None and now.state != "terminated":
            if time.time() >= deadline:
                raise TemporaryError(f"Instance {instance.id} is still {now.state}: a retry waits again.")
            time.sleep(PAUSE_SECONDS / 2)
        return True
