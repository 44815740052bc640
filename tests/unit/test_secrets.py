"""What Airflow, OpenLineage or a debugger shows of our objects holds no key, also once they have been used. The faults'
tests search what runs leave behind.
"""

from __future__ import annotations

import json
import traceback

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.observability.lineage import staged_data, tenable_data
from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.operators.tenable import TenableExportOperator

KEYS = ("canary-access-key-3f9d2c71b8e54a06", "canary-secret-key-97aa10c4e6d3428b")


@pytest.fixture(autouse=True)
def connection(monkeypatch):
    fields = {"conn_type": "tenable", "host": "http://127.0.0.1:9", "login": KEYS[0], "password": KEYS[1]}
    monkeypatch.setenv("AIRFLOW_CONN_TENABLE_DEFAULT", json.dumps(fields))


def shows_a_key(shown):
    return any(key in str(shown) for key in KEYS)


@pytest.mark.parametrize(
    "operator",
    [
        lambda: TenableExportOperator(task_id="export"),
        lambda: TenableToAsffOperator(task_id="transform", assets={}, vulnerabilities={}, plan={}),
    ],
)
def test_operator_that_has_used_its_hook_shows_no_key(operator):
    task = operator()
    hook = task.hook
    _ = hook.connection_arguments
    assert shows_a_key(hook.connection_arguments), "the control: here they are"
    assert not shows_a_key(repr(task))
    assert not shows_a_key(vars(task))
    assert not shows_a_key([getattr(task, name) for name in task.template_fields])
    assert not shows_a_key([repr(hook), repr(hook.get_conn()), repr(hook.get_conn()._session), repr(hook.api)])
    hook.close()


def test_error_of_a_request_shows_no_key_with_all_its_causes(monkeypatch):
    """Nobody listens on port 9."""
    hook = TenableHook(retries=0)
    with pytest.raises(Exception, match=r"127\.0\.0\.1") as failure:
        hook.api.status("vulnerabilities", "11111111-2222-4333-8444-555555555555")
    assert not shows_a_key("".join(traceback.format_exception(failure.value)))
    hook.close()


def test_error_of_a_connection_that_holds_its_keys_in_the_wrong_field_shows_no_key(monkeypatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_TENABLE_DEFAULT",
        json.dumps({"conn_type": "tenable", "host": "ftp://x", "login": KEYS[0], "password": KEYS[1]}),
    )
    with pytest.raises(ConfigurationError) as failure:
        _ = TenableHook().connection_arguments
    assert not shows_a_key("".join(traceback.format_exception(failure.value)))


def test_names_of_datasets_hold_nothing_of_what_stands_before_the_host():
    assert not shows_a_key(tenable_data(f"https://{KEYS[0]}:{KEYS[1]}@cloud.tenable.com", "vulnerabilities"))
    assert not shows_a_key(staged_data(f"s3://{KEYS[0]}@bucket/prefix"))
