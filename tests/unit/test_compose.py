"""docker-compose.yaml: what can be said about it without a container engine."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from airflow.models import Connection

from airflow_provider_tenable.config import OPTIONS
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.hooks.tenable import arguments_of
from tests.compose import COMPOSE_FILE, DOCKER, ROOT, SCRIPT, interpolated, read_env, services, write_env

TEXT = COMPOSE_FILE.read_text()
SERVICES = services()
ONE_SHOT = {"init", "once"}
OURS = {name for name, service in SERVICES.items() if "build" in service}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The services, with an env file that the script has written."""
    target = tmp_path_factory.mktemp("env") / ".env"
    subprocess.run([sys.executable, ROOT / "scripts" / "docker_env.py", target], check=True, capture_output=True)
    assert target.stat().st_mode & 0o077 == 0
    result: dict[str, Any] = interpolated(SERVICES, read_env(target))
    return result


#: What of Compose's format the file uses, and no more: a name that is misspelt, or a value of another kind, is refused
#: as Compose would refuse it.
_TEXT, _DURATION = {"type": "string", "minLength": 1}, {"type": "string", "pattern": r"^([0-9]+(ms|s|m|h))+$"}
_TEXTS = {"type": "array", "items": _TEXT, "minItems": 1}


def _closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _map_of(value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": value}


_CONDITIONS = ["service_started", "service_healthy", "service_completed_successfully"]
_HEALTHCHECK = {
    "test": _TEXTS,
    "interval": _DURATION,
    "timeout": _DURATION,
    "retries": {"type": "integer", "minimum": 1},
    "start_period": _DURATION,
}
_SERVICE = {
    "image": _TEXT,
    "build": _closed({"context": _TEXT, "dockerfile": _TEXT, "target": _TEXT, "args": _map_of(_TEXT)}, "context"),
    "command": _TEXTS,
    # Numbers and truth values would not arrive as they are written.
    "environment": _map_of({"type": "string"}),
    "depends_on": _map_of(_closed({"condition": {"enum": _CONDITIONS}, "required": {"type": "boolean"}}, "condition")),
    "healthcheck": _closed(_HEALTHCHECK, "test"),
    "hostname": {"type": "string", "pattern": "^[a-z0-9-]+$"},
    "ports": {"type": "array", "items": {"type": "string", "pattern": r"^127\.0\.0\.1:[0-9]+:[0-9]+$"}},
    "profiles": _TEXTS,
    "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
    "stop_grace_period": _DURATION,
    "volumes": {"type": "array", "items": {"type": "string", "pattern": "^[a-z-]+:/[a-z/-]+$"}},
}
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
        "services": _map_of(_closed(_SERVICE, "image")),
        "volumes": _map_of({"type": "null"}),
    },
    "patternProperties": {"^x-": {}},
    "required": ["services"],
    "additionalProperties": False,
}


def test_file_has_the_form_of_a_compose_file(filled: dict[str, Any]) -> None:
    whole = {**yaml.safe_load(TEXT), "services": filled}
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert [
        f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(whole)
    ] == []
    mounted = {volume.partition(":")[0] for service in filled.values() for volume in service.get("volumes", [])}
    assert mounted == set(whole["volumes"])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("worker-1", "depend_on"), {}),
        (("worker-1", "healthcheck", "interval"), 60),
        (("worker-1", "environment", "AIRFLOW__CORE__LOAD_EXAMPLES"), False),
        (("api-server", "ports"), ["8080:8080"]),
        (("once", "restart"), False),
        (("once", "depends_on", "scheduler", "condition"), "healthy"),
    ],
)
def test_schema_refuses_what_compose_would(filled: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    changed = copy.deepcopy(filled)
    place = changed
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid({"services": changed})


def test_the_set_is_complete() -> None:
    assert {
        "postgres",
        "redis",
        "staging",
        "sandbox",
        "init",
        "api-server",
        "scheduler",
        "dag-processor",
        "triggerer",
        "worker-1",
        "worker-2",
        "once",
    } == set(SERVICES)
    assert SERVICES["worker-1"]["environment"]["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_image_is_pinned_to_a_version(name: str) -> None:
    image = interpolated(SERVICES[name]["image"], {})
    assert re.fullmatch(r"[a-z0-9./-]+:v?\d+(\.\d+)+[\w.-]*(@sha256:[0-9a-f]{64})?", image), image


def test_image_is_built_from_a_pinned_airflow() -> None:
    dockerfile = (DOCKER / "Dockerfile").read_text()
    assert re.search(r"^FROM apache/airflow:\$\{AIRFLOW_VERSION\}-python3\.12 AS \w+$", dockerfile, re.M)
    version = re.search(r"^ARG AIRFLOW_VERSION=(\S+)$", dockerfile, re.M)
    assert version
    assert version[1] == read_env(DOCKER / ".env.example")["AIRFLOW_VERSION"]
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    for source in re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", dockerfile, re.M):
        for part in source.split():
            assert (ROOT / part).exists(), part
            assert f"!{part.partition('/')[0]}" in ignored


def test_sandbox_has_an_image_of_its_own() -> None:
    images = {name: interpolated(SERVICES[name]["image"], {}).partition(":")[0] for name in OURS}
    targets = {name: SERVICES[name]["build"]["target"] for name in OURS}
    assert {name for name in OURS if targets[name] == "sandbox"} == {"sandbox"}
    assert {name for name in OURS if images[name] == "airflow-provider-tenable-sandbox"} == {"sandbox"}
    assert {targets[name] for name in OURS - {"sandbox"}} == {"airflow"}
    assert {images[name] for name in OURS - {"sandbox"}} == {"airflow-provider-tenable"}
    assert {interpolated(SERVICES[name]["image"], {}).partition(":")[2] for name in OURS} == {
        read_env(DOCKER / ".env.example")["AIRFLOW_VERSION"]
    }


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_every_service_that_serves_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize("name", sorted(ONE_SHOT))
def test_one_shot_services_end(name: str) -> None:
    assert SERVICES[name]["restart"] == "no"
    assert "healthcheck" not in SERVICES[name]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_dependencies_exist_and_can_meet_their_condition(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        assert needed in SERVICES
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[needed]
        else:
            assert (how["condition"], needed) == ("service_completed_successfully", "init")
        # A service of a profile that is not chosen is not there.
        assert "profiles" not in SERVICES[needed] or how.get("required") is False


def test_dependencies_have_no_circle() -> None:
    done: set[str] = set()
    while len(done) < len(SERVICES):
        ready = {
            name
            for name, service in SERVICES.items()
            if name not in done and set(service.get("depends_on", {})) <= done
        }
        assert ready, set(SERVICES) - done
        done |= ready


def test_no_secret_stands_in_the_file() -> None:
    secret = re.compile(r"PASSWORD|SECRET|_KEY|ACCESS|login|password", re.I)
    for name, service in SERVICES.items():
        for variable, value in (service.get("environment") or {}).items():
            if secret.search(variable) and "FILE" not in variable:
                assert re.fullmatch(r"\$\{\w+(:\?[^}]*)?\}", str(value)), f"{name}: {variable}"
    for url in re.findall(r"://[^\s\"']*@", TEXT):
        assert re.search(r":\$\{\w+(:\?[^}]*)?\}@$", url) or "@tenable-staging" in url or url == "://aws_staging@", url


def test_every_secret_is_asked_for_and_none_has_a_default() -> None:
    names = set(re.findall(r"\$\{(\w+)", TEXT))
    example = read_env(DOCKER / ".env.example")
    assert names - {"RUN_CONF", "RUN_SECONDS"} <= set(example)
    assert set(example) - {"COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"} <= names
    for name, value in example.items():
        if value == "CHANGE_ME":
            assert f"${{{name}:?" in TEXT, name
            assert f"${{{name}:-" not in TEXT, name


def test_env_script_fills_in_every_secret_with_another_text(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "scripts" / "docker_env.py", tmp_path / ".env"]
    subprocess.run(command, check=True, capture_output=True)
    values = read_env(tmp_path / ".env")
    made = [values[name] for name, value in read_env(DOCKER / ".env.example").items() if value == "CHANGE_ME"]
    assert len(set(made)) == len(made) >= 8
    assert "CHANGE_ME" not in values.values()
    # It stands in URLs: letters and digits only. And it is never written over.
    assert values["POSTGRES_PASSWORD"].isalnum()
    subprocess.run(command, check=True, capture_output=True)
    assert read_env(tmp_path / ".env") == values


def test_env_file_is_ignored_by_git() -> None:
    assert ".env" in (DOCKER / ".gitignore").read_text().splitlines()


def test_connections_are_json_once_filled_in(filled: dict[str, Any]) -> None:
    environment = filled["worker-1"]["environment"]
    for name in ("AIRFLOW_CONN_TENABLE_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT", "AIRFLOW_CONN_AWS_STAGING"):
        connection = json.loads(environment[name])
        assert connection["conn_type"] in ("tenable", "aws")
        assert connection["login"]
    assert json.loads(environment["AIRFLOW__TENABLE__DAG_PARAMS"])["destinations"]
    assert json.loads(environment["AIRFLOW_CONN_TENABLE_DEFAULT"])["host"] == "http://sandbox:8741"


def _tenable_url(services_: dict[str, Any]) -> str:
    fields = json.loads(services_["worker-1"]["environment"]["AIRFLOW_CONN_TENABLE_DEFAULT"])
    return str(arguments_of(Connection(conn_id="tenable_default", **fields), "tenable_default")["url"])


def test_keys_travel_unencrypted_to_the_sandbox_alone(filled: dict[str, Any], tmp_path: Path) -> None:
    assert _tenable_url(filled) == "http://sandbox:8741"
    # As docs/docker.md says: without the line that belongs to the sandbox.
    env = {name: value for name, value in write_env(tmp_path / ".env").items() if name != "TENABLE_ALLOW_HTTP"}
    assert _tenable_url(services({**env, "TENABLE_URL": "https://cloud.tenable.com"})) == "https://cloud.tenable.com"
    with pytest.raises(ConfigurationError, match="allow_http"):
        _tenable_url(services({**env, "TENABLE_URL": "http://cloud.tenable.com"}))


def real_block() -> dict[str, str]:
    """The values for the real Tenable and AWS, which .env.example has as comments."""
    text = (DOCKER / ".env.example").read_text().split("the real ones ---", 1)[1]
    return dict(re.findall(r"^# ([A-Z_]+)=(.*)$", text, re.M))


def sandbox_block() -> dict[str, str]:
    text = (DOCKER / ".env.example").read_text().split("the sandbox ---", 1)[1].split("the real ones ---", 1)[0]
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.M))


def test_switching_to_the_real_ones_changes_every_value_of_the_sandbox() -> None:
    sandbox, real = sandbox_block(), real_block()
    assert set(sandbox) == set(real)
    assert [name for name in sandbox if sandbox[name] == real[name]] == []
    assert "sandbox" not in json.dumps(real).lower()


def test_sandbox_and_real_ones_share_no_volume() -> None:
    # Compose names volumes after the project, and the env file's name of it goes before that of the file.
    names = [block["COMPOSE_PROJECT_NAME"] for block in (sandbox_block(), real_block())]
    assert len(set(names)) == 2
    assert yaml.safe_load(TEXT)["name"] == real_block()["COMPOSE_PROJECT_NAME"]
    assert all(re.fullmatch(SCHEMA["properties"]["name"]["pattern"], name) for name in names)
    assert not any("name" in (volume or {}) for volume in yaml.safe_load(TEXT)["volumes"].values())


class Metadata(BaseHTTPRequestHandler):
    """EC2's instance metadata, version 2: a token first, then the role and its credentials."""

    def do_PUT(self) -> None:
        self._say("a-token")

    def do_GET(self) -> None:
        if self.headers.get("x-aws-ec2-metadata-token") != "a-token":
            self.send_error(401)
        elif self.path.endswith("/iam/security-credentials/"):
            self._say("airflow-instance-role")
        else:
            self._say(
                json.dumps(
                    {
                        "Code": "Success",
                        "AccessKeyId": "ASIAROLE",
                        "SecretAccessKey": "s",
                        "Token": "t",
                        "Expiration": "2099-01-01T00:00:00Z",
                    }
                )
            )

    def _say(self, text: str) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


_WHO = """
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
found = AwsBaseHook(aws_conn_id="aws_default", client_type="sts").get_session().get_credentials()
print("credentials:", found and found.method, found and found.access_key)
"""


@pytest.mark.parametrize(
    ("disabled", "expected"), [("", "iam-role ASIAROLE"), ("true", "None None")], ids=["as it comes", "switched off"]
)
def test_instance_role_serves_where_the_connection_has_no_keys(tmp_path: Path, disabled: str, expected: str) -> None:
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "docker_env.py", tmp_path / ".env"], check=True, capture_output=True
    )
    connection = {
        "AWS_CONNECTION": '{"conn_type": "aws", "extra": {"region_name": "eu-west-1"}}',
        "AWS_EC2_METADATA_DISABLED": disabled,
    }
    service = interpolated(SERVICES, {**read_env(tmp_path / ".env"), **real_block(), **connection})["worker-1"]
    variables = {
        name: value
        for name, value in service["environment"].items()
        if name.startswith("AWS_") or name == "AIRFLOW_CONN_AWS_DEFAULT"
    }
    with HTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{server.server_port}/"}
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AIRFLOW_HOME": str(tmp_path),
            "NO_PROXY": "127.0.0.1",
            **variables,
            **endpoint,
        }
        done = subprocess.run(
            [sys.executable, "-c", _WHO],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert f"credentials: {expected}" in done.stdout


def test_hosts_in_urls_are_services(filled: dict[str, Any]) -> None:
    hosts = set(
        re.findall(r"(?:https?|redis|postgresql)(?:\+\w+)?://(?:[^\s@/\"]*@)?([a-z0-9-]+):\d+", json.dumps(filled))
    )
    assert hosts <= set(SERVICES)
    assert {"sandbox", "staging", "api-server", "postgres", "redis"} <= hosts


def test_workers_share_one_staging_area_and_the_keys() -> None:
    one, two = (dict(SERVICES[name]["environment"]) for name in ("worker-1", "worker-2"))
    assert one.pop("WORKER_NAME") != two.pop("WORKER_NAME")
    assert one == two
    assert one["AIRFLOW__TENABLE__STAGING_PATH"].startswith("s3://aws_staging@")
    for name in ("scheduler", "triggerer", "dag-processor", "api-server", "init"):
        other = SERVICES[name]["environment"]
        for variable in (
            "AIRFLOW__CORE__FERNET_KEY",
            "AIRFLOW__API_AUTH__JWT_SECRET",
            "AIRFLOW__TENABLE__STAGING_PATH",
            "AIRFLOW_CONN_TENABLE_DEFAULT",
        ):
            assert other[variable] == one[variable], (name, variable)


def test_tenable_options_exist() -> None:
    for service in SERVICES.values():
        for variable in service.get("environment") or {}:
            if variable.startswith("AIRFLOW__TENABLE__"):
                assert variable.removeprefix("AIRFLOW__TENABLE__").lower() in OPTIONS


def test_sandbox_and_one_shot_hold_none_of_airflows_secrets() -> None:
    for name in ("sandbox", "once"):
        assert not any(
            variable.startswith(("AIRFLOW__", "AIRFLOW_CONN_")) for variable in SERVICES[name]["environment"]
        )


def test_only_the_ui_is_published_and_only_on_this_machine() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(ports) == {"api-server"}
    assert all(port.startswith("127.0.0.1:") for port in ports["api-server"])


def test_every_command_is_one_of_the_shared_script() -> None:
    known = set(re.findall(r"^    ([a-z-]+)\)", SCRIPT.read_text(), re.M))
    for name in OURS:
        assert SERVICES[name]["command"][0] in known, name
        test = SERVICES[name].get("healthcheck", {}).get("test")
        if test:
            assert test[1:3] == ["/opt/provider/scripts/component.sh", "check"]
            assert f"        {test[3]})" in SCRIPT.read_text()


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.sh")), ids=lambda path: path.name)
def test_shell_scripts_can_be_run(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK)
    for name in re.findall(r"\$here/(\S+?\.py)", script.read_text()):
        assert (ROOT / "scripts" / name).exists()


def test_unknown_component_is_refused_with_the_list() -> None:
    done = subprocess.run([SCRIPT, "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert "api-server" in done.stderr


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker client")
def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("the docker client has no compose plugin")
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "docker_env.py", tmp_path / ".env"], check=True, capture_output=True
    )
    command = [
        "docker",
        "compose",
        "--file",
        COMPOSE_FILE,
        "--env-file",
        tmp_path / ".env",
        "--profile",
        "once",
        "config",
        "--quiet",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
