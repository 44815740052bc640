"""What mypy, and so a user's editor, knows of the hook. `make lint` checks this file; nothing runs it."""

from __future__ import annotations

from typing import assert_type

from airflow_provider_tenable.export.state_machine import ExportRun
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.tenable_vm.client import TenableApi
from airflow_provider_tenable.tenable_vm.jobs import ExportClient, Job, JobStatus


def hook_has_types(hook: TenableHook, operator: TenableExportOperator) -> None:
    assert_type(hook.api, TenableApi)
    assert_type(operator.hook.api, TenableApi)
    assert_type(hook.api.who_am_i(), str)
    assert_type(hook.api.server_time(), float | None)
    assert_type(hook.api.start("assets", {}), str)
    assert_type(hook.api.status("assets", ""), JobStatus)
    assert_type(hook.api.jobs("assets"), list[Job])
    assert_type(hook.api.chunk("assets", "", 1), bytes)
    assert_type(hook.export_chunk("assets", "", 1), bytes)


def client_is_what_the_export_needs(hook: TenableHook, run: ExportRun) -> None:
    client: ExportClient = hook.api
    run.client = client
