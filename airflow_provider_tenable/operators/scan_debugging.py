"""Switch Tenable's plugin debugging on for a run of a scan, and afterwards back to what it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseOperator, fail_fast
from airflow_provider_tenable.exceptions import ConfigurationError, TenableProviderError
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.staging.layout import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable.tenable_vm.scans import Scan

#: Tenable's settings: "yes" or "no", and how much is logged.
_ENABLED, _LEVEL = "enable_plugin_debugging", "debug_level"
_LEVELS = ("1", "2", "3", "4")


class TenableSetPluginDebuggingOperator(BaseOperator):
    """Switch the plugin debugging of a scan on or off.

    As a pair around a run, the first one remembers what it has found, also if it is killed and tried again, and the
    second one restores it, whatever has happened to the run::

        on = TenableSetPluginDebuggingOperator(task_id="debug_on", scan=scan.output)
        off = TenableSetPluginDebuggingOperator(task_id="debug_off", scan=scan.output, restore=on.output)
        on >> run >> off.as_teardown(setups=on)

    The result (XCom) is ``{"scan", "before": {setting: value}}``; ``before`` is empty if nothing was changed.

    .. seealso:: https://developer.tenable.com/reference/scans-configure

    :param scan: result of another operator, number, schedule uuid, or ``name:`` and the name (templated).
    :param enabled: whether debugging is on from now on.
    :param level: how much is logged: ``1`` basic, ``2`` advanced, ``3`` full, ``4`` unrestricted (templated).
    :param restore: result of the task that has switched it on: its ``before`` is put back, instead of ``enabled`` and
        ``level`` (templated).
    :param when: False: change nothing, for a DAG in which debugging is optional (templated).
    :param tenable_conn_id: connection of type ``tenable`` (templated).
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    """

    template_fields: Sequence[str] = ("scan", "level", "restore", "when", "tenable_conn_id", "staging_path")
    template_fields_renderers = {"scan": "json", "restore": "json"}
    ui_color = "#d5e8f7"

    def __init__(
        self,
        *,
        scan: dict[str, Any] | int | str,
        enabled: bool = True,
        level: str = "1",
        restore: dict[str, Any] | None = None,
        when: bool = True,
        tenable_conn_id: str = TenableHook.default_conn_name,
        staging_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scan = scan
        self.enabled = enabled
        self.level = level
        self.restore = restore
        self.when = when
        self.tenable_conn_id = tenable_conn_id
        self.staging_path = staging_path

    @cached_property
    def hook(self) -> TenableHook:
        """The hook of this task's connection."""
        return TenableHook(self.tenable_conn_id)

    def execute(self, context: Any) -> dict[str, Any]:
        """Change the settings, or put them back."""
        with fail_fast(), closing(self.hook):
            if not isinstance(self.when, bool):
                raise ConfigurationError(f"when is {quoted(self.when, 40)}; it must be true or false.")
            if not self.when:
                return {"scan": None, "before": {}}
            scan = self.hook.scans.scan(self.scan)
            if self.restore is not None:
                return self._put_back(scan)
            return self._change(scan, context)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Lineage for the OpenLineage provider: a scan's configuration is not data."""
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage([], [])

    def _put_back(self, scan: Scan) -> dict[str, Any]:
        before = self.restore.get("before") if isinstance(self.restore, Mapping) else None
        if not isinstance(before, Mapping) or not before.keys() <= {_ENABLED, _LEVEL}:
            raise ConfigurationError(f"restore is {quoted(self.restore, 100)}, not the result of such a task.")
        if before:
            self.hook.scans.change_settings(scan, {name: str(value) for name, value in before.items()})
            self.log.info("Plugin debugging of scan %s is as it was: %s.", scan.label, quoted(dict(before), 100))
        return {"scan": scan.id, "before": {}}

    def _change(self, scan: Scan, context: Any) -> dict[str, Any]:
        if self.level not in _LEVELS:
            raise ConfigurationError(f"level is {quoted(self.level, 40)}; it must be one of {', '.join(_LEVELS)}.")
        wanted = {_ENABLED: "yes" if self.enabled else "no", **({_LEVEL: self.level} if self.enabled else {})}
        before = self._before(scan, context)
        if self.enabled and before[_ENABLED] == "yes":
            self.log.warning("Plugin debugging of scan %s was on already, and stays on afterwards.", scan.label)
        try:
            self.hook.scans.change_settings(scan, wanted)
        except TenableProviderError:
            self._undo(scan, before)
            raise
        self.log.info("Plugin debugging of scan %s is %s.", scan.label, "on" if self.enabled else "off")
        return {"scan": scan.id, "before": before}

    def _before(self, scan: Scan, context: Any) -> dict[str, str]:
        """What was set before the first attempt: a later one finds what an earlier one has changed."""
        from airflow_provider_tenable.staging.files import read_json, write_json

        ti = context["ti"]
        path = RunFolder.of(context, self.staging_path).job(ti.task_id, ti.map_index)
        noted = read_json(path)
        cleared = int(getattr(ti, "max_tries", 0))
        if isinstance(noted, dict) and noted.get("scan") == scan.schedule_uuid and noted.get("cleared") == cleared:
            return {name: str(value) for name, value in noted["before"].items()}
        present = self.hook.scans.settings(scan)[1]
        before = {_ENABLED: "yes" if str(present.get(_ENABLED)) == "yes" else "no"}
        if present.get(_LEVEL) is not None:
            before[_LEVEL] = str(present[_LEVEL])
        write_json(path, {"scan": scan.schedule_uuid, "cleared": cleared, "before": before})
        return before

    def _undo(self, scan: Scan, before: Mapping[str, str]) -> None:
        """A setup that fails has no teardown: what it may have changed, it puts back itself."""
        try:
            self.hook.scans.change_settings(scan, before)
        except TenableProviderError as error:
            self.log.warning("It is not known whether plugin debugging of scan %s is on: %s", scan.label, error)
