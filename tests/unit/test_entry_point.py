"""The image's entry point as a process: Compose's commands, and those of Airflow's Helm chart and executors."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.compose import DOCKER, ROOT, SCRIPT

#: What stands for Airflow's command: says how it was started, and waits for SIGTERM where it is a component.
AIRFLOW = """#!{python}
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
print(json.dumps({{"pid": os.getpid(), "arguments": sys.argv[1:]}}), flush=True)
time.sleep(60 if os.environ.get("STAY") else 0)
"""
#: What Airflow's entry point does with a command (docker-stack/entrypoint of its docs): bash and python as they are,
#: all else is airflow's.
ENTRY_POINT = """#!/usr/bin/env bash
case "$1" in
    bash | python) exec "$@" ;;
    airflow) exec "$@" ;;
    *) exec airflow "$@" ;;
esac
"""
#: `args` of chart 1.18's values.yaml, with Airflow 3, and of the pods that the chart and the Kubernetes executor make.
CHART = {
    "scheduler": (["bash", "-c", "exec airflow scheduler"], ["scheduler"]),
    "apiServer": (["bash", "-c", "exec airflow api-server"], ["api-server"]),
    "webserver": (["bash", "-c", "exec airflow webserver"], ["webserver"]),
    "triggerer": (["bash", "-c", "exec airflow triggerer"], ["triggerer"]),
    "dagProcessor": (["bash", "-c", "exec airflow dag-processor"], ["dag-processor"]),
    "workers": (["bash", "-c", "exec \\\nairflow celery worker"], ["celery", "worker"]),
    "migrateDatabaseJob": (["bash", "-c", "exec \\\nairflow db migrate"], ["db", "migrate"]),
    "createUserJob": (
        [
            "bash",
            "-c",
            'exec \\\nairflow users create "$@"',
            "--",
            "-r",
            "Admin",
            "-u",
            "admin",
            "-e",
            "a@example.com",
            "-f",
            "A",
            "-l",
            "B",
            "-p",
            "a b",
        ],
        ["users", "create", "-r", "Admin", "-u", "admin", "-e", "a@example.com", "-f", "A", "-l", "B", "-p", "a b"],
    ),
    "waitForMigrations": (
        ["airflow", "db", "check-migrations", "--migration-wait-timeout=60"],
        ["db", "check-migrations", "--migration-wait-timeout=60"],
    ),
    "cleanup": (
        ["bash", "-c", "exec airflow kubernetes cleanup-pods --namespace=airflow"],
        ["kubernetes", "cleanup-pods", "--namespace=airflow"],
    ),
    "executor of Airflow 2": (
        ["airflow", "tasks", "run", "dag", "task", "run_id", "--local"],
        ["tasks", "run", "dag", "task", "run_id", "--local"],
    ),
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose `airflow` tells how it was started, and no entry point of Airflow's."""
    programs = tmp_path / "bin"
    programs.mkdir()
    airflow = programs / "airflow"
    airflow.write_text(AIRFLOW.format(python=sys.executable))
    airflow.chmod(0o755)
    python = programs / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW_ENTRY_POINT": str(tmp_path / "none"),
        "HOME": str(tmp_path),
    }


@pytest.fixture(params=["in Airflow's image", "elsewhere"])
def around(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    if request.param == "elsewhere":
        return environment
    entry_point = tmp_path / "entrypoint"
    entry_point.write_text(ENTRY_POINT)
    entry_point.chmod(0o755)
    return {**environment, "AIRFLOW_ENTRY_POINT": str(entry_point)}


def started(arguments: list[str], env: dict[str, str], script: Path = SCRIPT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([script, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("component", list(CHART))
def test_commands_of_the_helm_chart_start_airflow(component: str, around: dict[str, str]) -> None:
    arguments, expected = CHART[component]
    done = started(arguments, around)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["arguments"] == expected


def test_executor_of_airflow_3_starts_its_workload(around: dict[str, str]) -> None:
    workload = {"ti": {"id": "a b", "text": 'quotes " and $HOME'}}
    done = started(
        ["python", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", "--json-string", json.dumps(workload)],
        around,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["--json-string", json.dumps(workload)]


@pytest.mark.parametrize(
    "arguments",
    [["bash", "-c", "exec airflow scheduler"], ["scheduler"], ["triggerer"], ["worker"], ["airflow", "scheduler"]],
)
def test_component_is_the_process_itself_and_gets_the_signal(arguments: list[str], around: dict[str, str]) -> None:
    with subprocess.Popen(
        [SCRIPT, *arguments], env={**around, "STAY": "1"}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["pid"] == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 7


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["scheduler"], ["scheduler"]),
        (["scheduler", "--num-runs", "5"], ["scheduler", "--num-runs", "5"]),
        (["api-server", "--proxy-headers"], ["api-server", "--proxy-headers"]),
        (["dag-processor", "--bundle-name", "dags-folder"], ["dag-processor", "--bundle-name", "dags-folder"]),
        (["triggerer"], ["triggerer"]),
    ],
)
def test_commands_of_compose_start_the_same(arguments: list[str], expected: list[str], around: dict[str, str]) -> None:
    assert json.loads(started(arguments, around).stdout)["arguments"] == expected


def test_worker_has_its_name_and_further_arguments(around: dict[str, str]) -> None:
    done = started(["worker", "--queues", "tenable"], {**around, "WORKER_NAME": "worker-1"})
    assert json.loads(done.stdout)["arguments"] == [
        "celery",
        "worker",
        "--celery-hostname",
        "celery@worker-1",
        "--queues",
        "tenable",
    ]


def test_all_else_is_airflows_in_its_image_and_refused_elsewhere(environment: dict[str, str], tmp_path: Path) -> None:
    refused = started(["info"], environment)
    assert refused.returncode == 64
    assert "api-server" in refused.stderr
    entry_point = tmp_path / "entrypoint"
    entry_point.write_text(ENTRY_POINT)
    entry_point.chmod(0o755)
    done = started(["info"], {**environment, "AIRFLOW_ENTRY_POINT": str(entry_point)})
    assert json.loads(done.stdout)["arguments"] == ["info"]


def test_nothing_asked_for_shows_what_can_be(around: dict[str, str]) -> None:
    done = started([], around)
    assert done.returncode == 64
    for line in (
        "init | api-server",
        "once [--conf JSON]",
        "import [OPTIONS",
        "check COMPONENT",
        "bash | python | airflow",
    ):
        assert line in done.stderr


def test_real_airflow_starts_by_the_charts_command(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = started(["bash", "-c", "exec airflow version"], {**env, "AIRFLOW_ENTRY_POINT": "/nonexistent"})
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d+\.\d+\.\d+", done.stdout.split()[-1])


def test_import_is_the_command_and_gets_its_options(around: dict[str, str]) -> None:
    refused = started(["import", "--dry-run", "--home", "/nonexistent/home"], {**around, "PYTHONPATH": str(ROOT)})
    assert refused.returncode == 2
    assert "There are no keys for Tenable: --tio-access-key (TIO_ACCESS_KEY)" in refused.stderr


def test_values_of_the_docs_for_the_chart_are_real() -> None:
    from airflow_provider_tenable.config import OPTIONS

    page = (ROOT / "docs" / "celery-kubernetes.md").read_text()
    [text] = re.findall(r"```yaml\n(executor: .*?)```", page, re.S)
    values = yaml.safe_load(text)
    [version] = re.findall(r"^ARG AIRFLOW_VERSION=(\S+)$", (DOCKER / "Dockerfile").read_text(), re.M)
    assert values["airflowVersion"] == values["defaultAirflowTag"] == version
    # With `images.airflow` alone the executor's pods would run Airflow's own image, without the provider.
    assert "images" not in values
    assert f"IMAGE={values['defaultAirflowRepository']}:{version}\n" in page
    assert f"--build-arg AIRFLOW_VERSION={version} --tag $IMAGE ." in page
    assert set(values["config"]["tenable"]) <= set(OPTIONS)
    assert all(json.loads(each["value"])["conn_type"] == "aws" for each in values["env"])
    # The entry point takes the chart's commands as they are.
    assert "args" not in text
    assert "command" not in text.replace("commands", "")


def test_pods_of_the_values_have_room_for_the_measured_peaks() -> None:
    from benchmarks.pods import peaks, request

    [text] = re.findall(r"```yaml\n(executor: .*?)```", (ROOT / "docs" / "celery-kubernetes.md").read_text(), re.S)
    resources = yaml.safe_load(text)["workers"]["resources"]
    asked, limit = resources["requests"]["memory"], resources["limits"]["memory"]
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    needed = request(max(peaks(results).values()) + results["memory"]["figures"]["bare_mb"])
    assert asked.endswith("Mi")
    assert needed <= int(asked.removesuffix("Mi")) <= 2 * needed
    assert limit.endswith("Gi")
    assert int(asked.removesuffix("Mi")) < 1024 * int(limit.removesuffix("Gi"))
    # A limit of CPU would only slow the transform down.
    assert set(resources["limits"]) == {"memory"}


class Stages:
    """The Dockerfile's stages: what each copies and runs, its base's included."""

    def __init__(self) -> None:
        self.bases: dict[str, str] = {}
        self.steps: dict[str, list[str]] = {}
        name = ""
        for line in (DOCKER / "Dockerfile").read_text().splitlines():
            if found := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
                name = found[2]
                self.bases[name], self.steps[name] = found[1], []
            elif name and line and not line.startswith("#"):
                self.steps[name].append(line)

    def steps_of(self, stage: str) -> list[str]:
        return [*(self.steps_of(self.bases[stage]) if self.bases[stage] in self.bases else []), *self.steps[stage]]

    def build(self, stage: str, target: Path) -> Path:
        """Copy what COPY copies, below a folder that stands for the image's root."""
        for step in self.steps_of(stage):
            if found := re.fullmatch(r"COPY --chown=airflow:0 (.+) (\S+)", step):
                place = target / found[2].lstrip("/")
                for source in found[1].split():
                    origin = ROOT / source
                    if origin.is_dir():
                        # Docker copies what a folder holds, not the folder.
                        shutil.copytree(origin, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
                    else:
                        place.mkdir(parents=True, exist_ok=True)
                        shutil.copy(origin, place)
        return target


def test_production_image_is_the_default_and_has_no_sandbox(tmp_path: Path, environment: dict[str, str]) -> None:
    stages = Stages()
    assert list(stages.steps) == ["provider", "sandbox", "airflow"]
    root = stages.build("airflow", tmp_path / "root")
    names = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert "opt/airflow/dags/tenable_to_security_hub.py" in names
    assert [name for name in names if "sandbox" in name] == []
    assert sorted(name for name in names if name.startswith("opt/provider/scripts/")) == [
        f"opt/provider/scripts/{name}"
        for name in (
            "airflow_api.py",
            "answers.py",
            "component.sh",
            "image_install.sh",
            "run_once.py",
            "staging_bucket.py",
        )
    ]
    assert not [step for step in stages.steps_of("airflow") if "sandbox" in step]

    done = started(["sandbox"], environment, root / "opt/provider/scripts/component.sh")
    assert done.returncode == 64
    assert "Build the target that has it: docker build --target sandbox" in done.stderr


@pytest.mark.parametrize("stage", ["airflow", "sandbox"])
def test_every_script_that_the_entry_point_names_is_in_the_image(stage: str, tmp_path: Path) -> None:
    scripts = Stages().build(stage, tmp_path / "root") / "opt/provider/scripts"
    named = set(re.findall(r"\$here/(\S+?\.py)", SCRIPT.read_text()))
    assert named - {path.name for path in scripts.iterdir()} == ({"open_sandbox.py"} if stage == "airflow" else set())
    once = subprocess.run(
        [sys.executable, scripts / "run_once.py", "--help"], capture_output=True, text=True, check=False
    )
    assert once.returncode == 0, once.stderr


def test_sandbox_of_its_image_starts(tmp_path: Path, environment: dict[str, str]) -> None:
    root = Stages().build("sandbox", tmp_path / "root")
    env = {**environment, "PYTHONPATH": str(root / "opt/provider"), "SANDBOX_HOST": "127.0.0.1"}
    command = [
        root / "opt/provider/scripts/component.sh",
        "sandbox",
        "--tenable-port",
        "0",
        "--aws-port",
        "0",
        "--estate",
        "tiny",
    ]
    with subprocess.Popen(
        command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        facts = json.loads(process.stdout.readline())
        answered = subprocess.run(
            [sys.executable, root / "opt/provider/scripts/answers.py", f"{facts['tenable']}/_sandbox/clock"],
            check=False,
        )
        assert answered.returncode == 0
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert process.returncode == 0


def test_extras_of_the_sandbox_are_installed_for_the_sandbox_alone() -> None:
    stages = Stages()
    installed = {
        stage: [
            step.split()[-1] for step in stages.steps_of(stage) if "image_install.sh" in step and step.startswith("RUN")
        ]
        for stage in stages.steps
    }
    assert installed == {"provider": ["s3"], "airflow": ["s3"], "sandbox": ["s3", "s3,sandbox"]}
