"""Files for contributors: make targets, hooks, pinned tools, workflow permissions, issue forms, the release check.

`make workflows` validates these files against GitHub's schemas. These tests cover what the schemas cannot.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
try:
    import check_release
finally:
    sys.path.remove(str(ROOT / "scripts"))

MAKEFILE = (ROOT / "Makefile").read_text()
[_PHONY] = re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)$", MAKEFILE, re.M)
TARGETS = set(_PHONY.replace("\\\n", " ").split())
HELP = dict(re.findall(r"^([a-z-]+):.*## (.+)$", MAKEFILE, re.M))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOW_FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS: dict[str, dict[str, Any]] = {path.stem: yaml.safe_load(path.read_text()) for path in WORKFLOW_FILES}
JOBS = [(f"{name}.{job}", body) for name, workflow in WORKFLOWS.items() for job, body in workflow["jobs"].items()]
ACTION = re.compile(r"uses: ([\w/.-]+)@([0-9a-f]{40}) # (v[\d.]+)$", re.M)


def test_make_help_describes_every_target() -> None:
    assert set(HELP) == TARGETS
    assert all(len(line) <= 90 for line in HELP.values())


def test_make_without_a_target_only_shows_the_help() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    # `make test` hands its own settings to everything that it starts.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run([make], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    shown = dict(re.findall(r"^  make ([a-z-]+) +(.+)$", done.stdout, re.M))
    assert shown == HELP
    assert len(done.stdout.splitlines()) == len(HELP)
    assert done.stderr == ""


PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", ".ci/run", ".github/pull_request_template.md")
COMMAND = re.compile(r"(?:^ *|`|run: )make (?:[A-Z]+=\S+ |--\S+ )*([a-z][a-z -]*)", re.M)


@pytest.mark.parametrize("page", [*PAGES, *(str(path.relative_to(ROOT)) for path in WORKFLOW_FILES)])
def test_make_commands_in_texts_name_existing_targets(page: str) -> None:
    assert {word for words in COMMAND.findall((ROOT / page).read_text()) for word in words.split()} <= TARGETS


def test_dependency_groups_are_pinned_and_have_an_environment_each() -> None:
    groups = PROJECT["dependency-groups"]
    assert set(groups) == {"aws", "docs", "mutation", "tools", "sbom"}
    assert [
        line for lines in groups.values() for line in lines if not re.fullmatch(r"[\w.-]+(\[[\w,]+\])?==[\w.]+", line)
    ] == []
    noxfile = (ROOT / "noxfile.py").read_text()
    # mutmut runs the package's own tests: it goes into an environment that has Airflow.
    assert {*re.findall(r'_tools\("(\w+)"\)', noxfile), "mutation"} == set(groups)
    assert '"--group", "mutation"' in noxfile


def test_hooks_use_the_pinned_environments() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {hook["entry"].split("/")[0].split()[0] for hook in hooks} == {".venv", ".venv-tools", "make"}
    pins = (ROOT / "constraints" / "airflow-3.3.2.txt").read_text()
    for name in ("ruff", "mypy"):
        assert any(hook["entry"].startswith(f".venv/bin/{name}") for hook in hooks)
        assert re.search(rf"^{name}==", pins, re.M)


def test_each_action_is_pinned_to_one_commit() -> None:
    found: dict[str, set[tuple[str, str]]] = {}
    for path in WORKFLOW_FILES:
        text = path.read_text()
        for name, commit, version in ACTION.findall(text):
            found.setdefault(name, set()).add((commit, version))
        assert len(ACTION.findall(text)) == len(re.findall(r"\buses: (?!\./)", text)), path.name
    assert {name: len(pins) for name, pins in found.items()} == dict.fromkeys(found, 1)


def test_only_release_jobs_have_write_permissions() -> None:
    assert [name for name, workflow in WORKFLOWS.items() if workflow["permissions"] != {}] == []
    writing = {name: {key for key, value in body["permissions"].items() if value == "write"} for name, body in JOBS}
    assert {name: keys for name, keys in writing.items() if keys} == {
        "release.attest": {"id-token", "attestations"},
        "release.publish": {"id-token"},
        "release.github-release": {"contents"},
    }


def test_jobs_with_write_permissions_do_not_run_code_of_the_repository() -> None:
    for name, body in JOBS:
        if "write" in body["permissions"].values():
            steps = body["steps"]
            assert not any("checkout" in step.get("uses", "") for step in steps), name
            assert [step["run"].split()[0] for step in steps if "run" in step] in ([], ["gh"]), name


def test_release_publishes_only_after_ci_and_attestation() -> None:
    jobs = WORKFLOWS["release"]["jobs"]
    order = ["test", "build", "attest", "publish", "github-release"]
    assert list(jobs) == order
    assert [jobs[name].get("needs") for name in order] == [None, *order[:-1]]
    assert jobs["test"]["uses"] == "./.github/workflows/ci.yml"
    assert jobs["publish"]["environment"] == "pypi"
    assert not any("secrets." in path.read_text() for path in WORKFLOW_FILES)


def test_release_does_not_wait_for_itself() -> None:
    """CI runs within a release, where `github.workflow` is the release's name. GitHub compares groups without case."""
    groups = {name: workflow["concurrency"]["group"].lower() for name, workflow in WORKFLOWS.items()}
    within_release = groups["ci"].replace("${{ github.workflow }}", WORKFLOWS["release"]["name"].lower())
    assert within_release != groups["release"]
    assert len(set(groups.values())) == len(groups)


def test_ci_runs_the_script_that_contributors_run() -> None:
    [job] = WORKFLOWS["ci"]["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step][-1] == "bash .ci/run"


def test_dependabot_ignores_constraints_and_deliberate_bounds() -> None:
    config = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())
    updates = {entry["package-ecosystem"]: entry for entry in config["updates"]}
    assert set(updates) == {"pip", "github-actions"}
    assert updates["pip"]["exclude-paths"] == ["constraints/**"]
    extras = PROJECT["project"]["optional-dependencies"].values()
    required = [*PROJECT["project"]["dependencies"], *(line for lines in extras for line in lines)]
    bounded = {re.match(r"[\w.-]+", line)[0] for line in required if "<" in line}  # type: ignore[index]
    assert {entry["dependency-name"] for entry in updates["pip"]["ignore"]} == bounded


def test_bug_form_requires_versions_and_removal_of_secrets() -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text())
    fields = {field["id"]: field for field in form["body"] if "id" in field}
    required = {name for name, field in fields.items() if field.get("validations", {}).get("required")}
    assert required >= {"what", "airflow", "provider", "pytenable", "where"}
    assert "report" in fields
    assert all(option["required"] for option in fields["removed"]["attributes"]["options"])


def test_git_ignores_build_output() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"build/", "dist/", ".venv*"} <= set(ignored)
    assert "build/docs" in MAKEFILE


INVARIANTS = re.findall(r"^\| .+ \| (.+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.M)[2:]


def test_every_invariant_names_a_test() -> None:
    assert len(INVARIANTS) > 15
    assert [named for named in INVARIANTS if not re.search(r"`(tests|scripts)/", named)] == []


@pytest.mark.parametrize(
    "path", sorted({path for named in INVARIANTS for path in re.findall(r"`([^`]*/[^`]*)`", named)})
)
def test_tests_of_the_invariants_exist(path: str) -> None:
    assert (ROOT / path).exists()
    assert not path.endswith("/") or list((ROOT / path).glob("test_*.py"))


def _project(folder: Path, version: str, changelog: str) -> Path:
    (folder / "airflow_provider_tenable").mkdir()
    (folder / "airflow_provider_tenable" / "__init__.py").write_text(f'__version__ = "{version}"\n')
    (folder / "CHANGELOG.md").write_text(changelog)
    return folder


def test_release_check_accepts_a_matching_tag(tmp_path: Path) -> None:
    project = _project(tmp_path, "1.2.0", "# Changelog\n\n## 1.2.0\n\nx\n\n## 1.1.0\n")
    assert check_release.problems("v1.2.0", project) == []


@pytest.mark.parametrize(
    ("tag", "changelog", "said"),
    [
        ("v1.2.1", "## 1.2.0\n", "The tag is v1.2.1, but the version in "),
        ("1.2.0", "## 1.2.0\n", "The tag is 1.2.0, but the version in "),
        ("v1.2.0", "## 1.1.0\n", "CHANGELOG.md starts with 1.1.0."),
        ("v1.2.0", "# Changelog\n", "CHANGELOG.md starts with no release."),
    ],
)
def test_release_check_says_what_differs(tmp_path: Path, tag: str, changelog: str, said: str) -> None:
    [found] = check_release.problems(tag, _project(tmp_path, "1.2.0", changelog))
    assert found.startswith(said)


def test_release_check_accepts_the_current_version() -> None:
    import airflow_provider_tenable

    assert check_release.problems(f"v{airflow_provider_tenable.__version__}") == []


def test_every_module_of_the_mutation_tests_exists() -> None:
    patterns = PROJECT["tool"]["mutmut"]["only_mutate"]
    assert [pattern for pattern in patterns if not list(ROOT.glob(pattern))] == []
