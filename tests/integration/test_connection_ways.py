"""Every way of docs/connections.md to define the connection without a database ends in the same hook. The UI and the
command line: tests/ui.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.hooks.tenable import TenableHook
from sandbox.tenable.access import ACCESS_KEY, SECRET_KEY
from tests.integration.conftest import Sandbox

USER = "sandbox-@example.com"
#: Asks Tenable in a process of its own, since Airflow reads which secrets backend there is but once.
_ASK = """
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.hooks.tenable import TenableHook
import json
hook = TenableHook()
print("ANSWER " + json.dumps([hook.api.who_am_i(), hook.connection_arguments]))
"""


def _as_json(url: str) -> dict[str, str]:
    body = {"conn_type": "tenable", "host": url, "login": ACCESS_KEY, "password": SECRET_KEY, "extra": {"timeout": 60}}
    return {"AIRFLOW_CONN_TENABLE_DEFAULT": json.dumps(body)}


def _as_uri(url: str) -> dict[str, str]:
    # What stands in the path is the scheme of the URL; without it, https.
    return {
        "AIRFLOW_CONN_TENABLE_DEFAULT": f"tenable://{ACCESS_KEY}:{SECRET_KEY}@{urlsplit(url).netloc}/http?timeout=60"
    }


def _as_uri_with_whole_url(url: str) -> dict[str, str]:
    return {"AIRFLOW_CONN_TENABLE_DEFAULT": f"tenable://{ACCESS_KEY}:{SECRET_KEY}@{quote(url, safe='')}/?timeout=60"}


def _keys_of_the_old_tool(url: str) -> dict[str, str]:
    body = {"conn_type": "tenable", "host": url, "extra": {"timeout": 60}}
    return {
        "AIRFLOW_CONN_TENABLE_DEFAULT": json.dumps(body),
        "TIO_ACCESS_KEY": ACCESS_KEY,
        "TIO_SECRET_KEY": SECRET_KEY,
    }


def _arguments(url: str) -> dict[str, object]:
    return {
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "url": url,
        "timeout": 60,
        "ssl_verify": True,
        "proxies": None,
    }


@pytest.mark.parametrize("way", [_as_json, _as_uri, _as_uri_with_whole_url, _keys_of_the_old_tool])
def test_environment_gives_the_same_working_hook(way, small_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    url = small_sandbox.process.tenable
    for name, value in way(url).items():
        monkeypatch.setenv(name, value)
    hook = TenableHook()
    assert hook.connection_arguments == _arguments(url)
    assert hook.api.who_am_i() == USER
    hook.close()


@pytest.mark.parametrize("allowed", [True, "true"])
def test_plain_http_to_a_host_by_name_needs_permission(allowed: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(extra: str) -> TenableHook:
        monkeypatch.setenv(
            "AIRFLOW_CONN_TENABLE_DEFAULT", f"tenable://{ACCESS_KEY}:{SECRET_KEY}@sandbox:8741/http{extra}"
        )
        return TenableHook()

    with pytest.raises(ConfigurationError, match="'allow_http'"):
        _ = connect("").connection_arguments
    assert connect(f"?allow_http={allowed}").connection_arguments["url"] == "http://sandbox:8741"


def test_keys_of_the_connection_go_before_those_of_the_old_tool(
    small_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {"TIO_ACCESS_KEY": "another-access-key", "TIO_SECRET_KEY": "another-secret-key"}
    for name, value in {**_as_json(small_sandbox.process.tenable), **wrong}.items():
        monkeypatch.setenv(name, value)
    hook = TenableHook()
    assert hook.api.who_am_i() == USER
    hook.close()


def test_secrets_backend_gives_the_same_working_hook(small_sandbox: Sandbox, tmp_path: Path) -> None:
    url = small_sandbox.process.tenable
    file = tmp_path / "connections.json"
    file.write_text(json.dumps({"tenable_default": json.loads(_as_json(url)["AIRFLOW_CONN_TENABLE_DEFAULT"])}))
    backend = {
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(file)}),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ASK],
        env={**os.environ, **backend},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    answers = [line.removeprefix("ANSWER ") for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    assert answers, done.stderr[-2000:]
    assert json.loads(answers[0]) == [USER, _arguments(url)]
