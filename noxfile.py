"""The sessions of this repository, and the environment that each of them runs in. `make help` lists them under shorter
names.

    make setup                                              # .venv, to work in
    .venv-nox/bin/nox --list
    .venv-nox/bin/nox -s "unit(3.0.6)" "system(2.11.2)"     # single versions of Airflow
    .venv-nox/bin/nox -s faults -- -k crash                 # what follows -- goes to pytest

pytest gets its session's own arguments too, unless what follows -- names a path below tests/: those run alone.

Every Airflow that MWAA runs, as MWAA pins it, has the environment `.venv-<version>`, the newest one `.venv`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "scripts"))

from environments import NEWEST, OLDEST, airflow_versions, environment, uv  # noqa: E402
from import_closure import without_airflow  # noqa: E402
from matrix import CELLS, ROOMS_WITHOUT_AIRFLOW, SAME_ON_EVERY_AIRFLOW, WITHOUT_AIRFLOW, report_of  # noqa: E402

#: What else the tests need of MWAA's image: the connection form of Airflow 2.11 to 3.1 belongs to the FAB provider,
#: which Airflow 2.11 installs itself.
FURTHER = {"3.0.6": ("apache-airflow-providers-fab",)}

nox.options.default_venv_backend = "none"
nox.options.sessions = ["setup"]
# Container images often set it. Without bytecode, each of the many processes of a test run compiles all of Airflow: 4
# seconds instead of 1 for a start, and 2.5 times the CPU of the integration tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# numpy starts a thread per core for linear algebra, of which there is none here; each of them spins for a while.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

#: How many processes share the unit tests, which wait for nothing. Each collects all of them, and what passes between
#: them costs as much as a tenth of the tests: where other stages use the second core, one is better.
_UNIT_WORKERS = os.environ.get("UNIT_WORKERS", "2")
#: A file system in memory, and the free space from which on it is used: several times what the tests take.
_MEMORY = Path("/dev/shm")  # noqa: S108 (each run makes a folder of its own there)
_ROOM_BYTES = 4 << 30
#: Two workers. Tests of one `xdist_group` share what their module makes once, and go to the same one.
_TWO_WITH_GROUPS = ("-n", "2", "--dist", "loadgroup")

each_cell = nox.parametrize("cell", list(CELLS), ids=list(CELLS))
both_lines = nox.parametrize("version", [NEWEST, OLDEST], ids=[NEWEST, OLDEST])


def _with_airflow(name: str, version: str, extras: str, *further: str, python: str | None = None) -> str:
    """An environment with Airflow as its constraints pin it, and the package as it is here."""
    constraints = f"constraints/{airflow_versions()[version]}"
    return environment(
        name, "-c", constraints, f"apache-airflow=={version}", *further, "-e", f".[{extras}]", python=python
    )


def _develop() -> str:
    """The environment to work in. The linters run on the newest release only; MWAA's constraints hold old ones."""
    return _with_airflow(".venv", NEWEST, "test,lint")


def _cell(cell: str) -> str:
    if cell == NEWEST:
        return _develop()
    version, python, _ = CELLS[cell]
    return _with_airflow(f".venv-{cell}", version, "test", *FURTHER.get(cell, ()), python=python)


def _tools(group: str) -> str:
    """Tools for the repository itself: one environment per group of [dependency-groups], without Airflow."""
    return environment(f".venv-{group}", "--group", group)


def _pytest(session: nox.Session, python: str, *arguments: str) -> None:
    """Run pytest with these arguments and those after --; where those name paths below tests, without the former."""
    chosen = session.posargs if any(map(_below_tests, session.posargs)) else (*arguments, *session.posargs)
    # A report for `scripts/matrix.py`, which makes a table of them.
    report = report_of(*session.name.rstrip(")").split("("))
    # The environments of Airflow 3.2 and 3.3 on MWAA hold an anyio whose pytest plugin uses what pytest 9 deprecates,
    # and warnings are errors. No test uses the plugin.
    plugins = ("-p", "no:anyio")
    # Seconds after which a test fails: it hangs. What a test waits for has limits of its own, up to 600 seconds.
    limit = "--timeout=900"
    with _temporary_files(session) as environment_of_tests:
        command = (python, "-m", "pytest", f"--junitxml={report}", *plugins, limit, *chosen)
        session.run(*command, env=environment_of_tests, external=True)


@contextmanager
def _temporary_files(session: nox.Session) -> Iterator[dict[str, str]]:
    """Environment variables that put the tests' temporary files into memory, if there is room. The tests flush
    thousands of small files to disk, which takes nearly half of their system time. The files of a failed run are kept.
    """
    if "TMPDIR" in os.environ or not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ROOM_BYTES:
        yield {}
        return
    folder = tempfile.mkdtemp(prefix="airflow-provider-tenable-", dir=_MEMORY)
    # PostgreSQL refuses to run as root; the user that it runs as instead must be able to reach its folder in there.
    os.chmod(folder, 0o711)  # noqa: S103
    try:
        yield {"TMPDIR": folder}
    except BaseException:
        session.warn(f"The tests' temporary files are in {folder}; remove it when you no longer need them.")
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _below_tests(argument: str) -> bool:
    path = Path(os.path.normpath(ROOT / argument.partition("::")[0]))
    return not argument.startswith("-") and ROOT / "tests" in path.parents


# --- environments ---


@nox.session
def setup(session: nox.Session) -> None:
    """Install Airflow and the package into .venv."""
    _develop()


@nox.session(name="setup-old")
def setup_old(session: nox.Session) -> None:
    """The same for the oldest Airflow in scope, into an environment of its own."""
    _cell(OLDEST)


# --- tests ---


@nox.session
@each_cell
def smoke(session: nox.Session, cell: str) -> None:
    """Every module imports, Airflow discovers the provider, the DAG parses."""
    session.run(_cell(cell), "scripts/smoke.py", external=True)


@nox.session
@each_cell
def unit(session: nox.Session, cell: str) -> None:
    """Unit tests; those that cannot depend on Airflow run with the newest one only."""
    _unit(session, cell, () if cell == NEWEST else {*WITHOUT_AIRFLOW, *without_airflow()})


@nox.session(name="unit-old")
def unit_old(session: nox.Session) -> None:
    """Those unit tests on the oldest Airflow whose part of the package may import Airflow."""
    _unit(session, OLDEST, {*WITHOUT_AIRFLOW, *without_airflow(), *ROOMS_WITHOUT_AIRFLOW})


def _unit(session: nox.Session, cell: str, left_out: Iterable[str]) -> None:
    without = (f"--ignore=tests/unit/{name}" for name in sorted(left_out))
    _pytest(session, _cell(cell), "-n", _UNIT_WORKERS, "tests/unit", *without)


@nox.session
@each_cell
def integration(session: nox.Session, cell: str) -> None:
    """The operators and the complete job against the sandbox, without a scheduler."""
    _pytest(session, _cell(cell), *_TWO_WITH_GROUPS, "tests/integration")


@nox.session(name="integration-old")
def integration_old(session: nox.Session) -> None:
    """Those integration tests on the oldest Airflow that depend on it more than by the exceptions it raises."""
    without = [f"--ignore=tests/integration/{name}" for name in SAME_ON_EVERY_AIRFLOW]
    _pytest(session, _cell(OLDEST), *_TWO_WITH_GROUPS, "tests/integration", *without)


@nox.session
@each_cell
def system(session: nox.Session, cell: str) -> None:
    """The complete DAG under a real scheduler and triggerer, a scan with its own scanner, a worker that is stopped;
    with the newest Airflow also `make demo`.
    """
    demo = ("tests/system/test_demo.py",) if cell == NEWEST else ()
    # First: it has an Airflow of its own, and the others share one that runs until the end.
    files = (
        "tests/system/test_scan_and_import.py",
        "tests/system/test_scheduler.py",
        "tests/system/test_stopped_worker.py",
    )
    _pytest(session, _cell(cell), *files, *demo)


@nox.session
def faults(session: nox.Session) -> None:
    """Crash and fault tests. The system test waits most of its time, so it goes first."""
    # With all combinations and the large numbers, single tests take longer than others may.
    unlimited = ("--timeout=0",) if os.environ.get("FAULTS") == "full" else ()
    chosen = (*_TWO_WITH_GROUPS, "tests/system/test_crashes.py", "tests/faults")
    _pytest(session, _develop(), *unlimited, *chosen)


@nox.session(name="known-bad")
def known_bad(session: nox.Session) -> None:
    """Make known mistakes one after the other; the test that each names must fail."""
    _pytest(session, _develop(), "--timeout=1200", "tests/known_bad")


@nox.session
def mutation(session: nox.Session) -> None:
    """Mutation tests, by mutmut; after --, names of modules."""
    python = _with_airflow(".venv-mutation", NEWEST, "test", "--group", "mutation")
    session.run(python, "scripts/mutation.py", *session.posargs, external=True)


@nox.session
def soak(session: nox.Session) -> None:
    """Many runs in a row."""
    session.run(_develop(), "scripts/soak.py", *session.posargs, external=True)


@nox.session(name="test-ui")
@both_lines
def test_ui(session: nox.Session, version: str) -> None:
    """In a real browser."""
    session.run("scripts/install_chromium.sh", external=True)
    _pytest(session, _with_airflow(f".venv-ui-{version}", version, "test,ui"), "tests/ui")


@nox.session(name="test-celery")
def test_celery(session: nox.Session) -> None:
    """The services of docker-compose.yaml as processes. Only this session needs what Celery's provider depends on."""
    python = _with_airflow(".venv-celery", NEWEST, "test,test-celery")
    session.run("scripts/test_services.sh", external=True)
    # The first test also starts the nine services.
    _pytest(session, python, "--timeout=1200", "tests/celery")


@nox.session
def bench(session: nox.Session) -> None:
    """Comparison with Tenable's own tool, which no longer starts without the two bounds."""
    environment(".venv-peer", "tenable_aws_sechub", "restfly<2", "pytenable<26")
    session.run(_develop(), "-m", "benchmarks", *session.posargs, external=True)


# --- checks of the repository ---


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, strict mypy, import-linter."""
    tools = Path(_develop()).parent
    session.run(f"{tools}/ruff", "check", ".", external=True)
    session.run(f"{tools}/ruff", "format", "--check", ".", external=True)
    session.run(f"{tools}/mypy", external=True)
    session.run(f"{tools}/lint-imports", "--no-cache", external=True)


@nox.session
def format(session: nox.Session) -> None:
    """Format the code and apply ruff's fixes."""
    tools = Path(_develop()).parent
    session.run(f"{tools}/ruff", "format", ".", external=True)
    session.run(f"{tools}/ruff", "check", "--fix", ".", external=True)


@nox.session
def workflows(session: nox.Session) -> None:
    """GitHub's files: against its schemas, and with zizmor. Both work offline: zizmor skips what needs GitHub."""
    tools = Path(_tools("tools")).parent
    forms = [str(file) for file in Path(".github/ISSUE_TEMPLATE").glob("*.yml") if file.name != "config.yml"]
    workflow_files = [str(file) for file in Path(".github/workflows").glob("*.yml")]
    for schema, files in (
        ("vendor.github-workflows", workflow_files),
        ("custom.github-workflows-require-timeout", workflow_files),
        ("vendor.dependabot", [".github/dependabot.yml"]),
        ("vendor.github-issue-config", [".github/ISSUE_TEMPLATE/config.yml"]),
        ("vendor.github-issue-forms", forms),
    ):
        session.run(f"{tools}/check-jsonschema", "--builtin-schema", schema, *files, external=True)
    session.run(f"{tools}/zizmor", "--quiet", "--offline", "--strict-collection", ".", external=True)


@nox.session(name="pre-commit")
def pre_commit(session: nox.Session) -> None:
    """All hooks on all files; after --, another command of pre-commit."""
    _develop()
    tools = Path(_tools("tools")).parent
    session.run(f"{tools}/pre-commit", *(session.posargs or ("run", "--all-files")), external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as a site. A full build each time: an incremental one keeps quiet about unchanged pages."""
    builder = session.posargs[0] if session.posargs else "html"
    target = "build/docs" if builder == "html" else "build/links"
    shutil.rmtree(target, ignore_errors=True)
    strict = ("--quiet", "--fail-on-warning", "--keep-going", "--nitpicky", "--fresh-env")
    tools = Path(_tools("docs")).parent
    session.run(
        f"{tools}/sphinx-build",
        *strict,
        "-d",
        "build/doctrees",
        "-c",
        "docs",
        "-b",
        builder,
        ".",
        target,
        external=True,
    )
    if builder == "html":
        session.run(_develop(), "scripts/check_site.py", target, external=True)


# --- distributions ---


@nox.session
def package(session: nox.Session) -> None:
    """What goes to a package index and to CloudFormation, by their own checkers; and the install lines of the docs."""
    shutil.rmtree("dist/package", ignore_errors=True)
    session.run(uv(), "build", "--quiet", "--out-dir", "dist/package", ".", external=True)
    built = [str(file) for ending in ("whl", "tar.gz") for file in Path("dist/package").glob(f"*.{ending}")]
    session.run(uv(), "tool", "run", "--quiet", "twine", "check", "--strict", *built, external=True)
    templates = [str(file) for file in Path("deploy/cloudformation").glob("*.yaml")]
    session.run(uv(), "tool", "run", "--quiet", "cfn-lint", *templates, external=True)
    session.run(_develop(), "scripts/install_lines.py", external=True)


@nox.session
def mwaa(session: nox.Session) -> None:
    """MWAA's bundle; after --, options of the script: --airflow VERSION, --check, --into FOLDER."""
    session.run(_develop(), "scripts/mwaa_bundle.py", *session.posargs, external=True)


@nox.session(name="mwaa-page")
def mwaa_page(session: nox.Session) -> None:
    """The commands of docs/mwaa.md against stand-ins. The AWS CLI and moto are apart, since the CLI pins botocore."""
    _tools("aws")
    _pytest(session, _develop(), "tests/system/test_mwaa_page.py")


@nox.session
def sbom(session: nox.Session) -> None:
    """Describe an environment with nothing but the built wheel, under the constraints of the newest Airflow."""
    [wheel] = Path("dist/package").glob("*.whl")
    tools = Path(_tools("sbom")).parent
    # Never reused: a wheel of the same name may have other content.
    shutil.rmtree(".venv-wheel", ignore_errors=True)
    constraints = f"constraints/{airflow_versions()[NEWEST]}"
    environment(".venv-wheel", "-c", constraints, f"apache-airflow=={NEWEST}", str(wheel))
    # cyclonedx-py does not resolve the dynamic version in pyproject.toml, and counts extras as required. It gets a copy
    # with the wheel's version and without extras.
    project = re.sub(
        r"^dynamic = .*$", f'version = "{wheel.name.split("-")[1]}"', Path("pyproject.toml").read_text(), flags=re.M
    )
    project = re.sub(r"^\[project\.optional-dependencies\]\n.*?^$", "", project, flags=re.M | re.S)
    Path("build/sbom").mkdir(parents=True, exist_ok=True)
    Path("build/sbom/pyproject.toml").write_text(project)
    Path("dist/sbom").mkdir(parents=True, exist_ok=True)
    session.run(
        f"{tools}/cyclonedx-py",
        "environment",
        "--output-reproducible",
        "--mc-type",
        "library",
        "--pyproject",
        "build/sbom/pyproject.toml",
        "--output-file",
        "dist/sbom/airflow-provider-tenable.cdx.json",
        ".venv-wheel",
        external=True,
    )
