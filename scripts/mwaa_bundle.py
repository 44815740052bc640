"""Build what Amazon MWAA wants for one Airflow version: ``dist/mwaa-<version>/``.

    python scripts/mwaa_bundle.py --airflow 3.0.6 [--form offline | plain] [--check]

=====================  ===================================================================================================
``plugins.zip``        wheels, which MWAA unpacks into /usr/local/airflow/plugins: the provider and, in the form ``offline``,
                       every dependency that MWAA's image does not have
``requirements.txt``   installs from there alone (``offline``), or the provider from there and the rest from the index (``plain``)
``startup.sh``         the startup script
``dags/``              the DAG
``MANIFEST.json``      what is inside: versions, sizes, SHA-256
=====================  ===================================================================================================

What is in MWAA's image is taken to be Airflow with the Amazon provider, as MWAA's constraints pin them (``constraints/``). ``--check`` makes such an
environment, then installs exactly these files into it without an index, and looks whether Airflow finds the provider and parses the DAG.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = "/usr/local/airflow/plugins"
PYTHON = "3.12"
#: MWAA's workers run Amazon Linux 2023 on x86-64.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_5_x86_64", "manylinux1_x86_64")
IMAGE = ("apache-airflow=={airflow}", "apache-airflow-providers-amazon[aiobotocore]")
NAME = "airflow-provider-tenable"
#: The longest that MWAA lets an installation take.
INSTALL_SECONDS = 540


class BundleError(Exception):
    """The bundle cannot be built, or does not work; the text says why."""


def uv() -> str:
    """The uv that is there: in the environment of this Python, in .venv, or on the path."""
    for place in (str(Path(sys.executable).parent / "uv"), str(ROOT / ".venv" / "bin" / "uv"), shutil.which("uv")):
        if place and os.access(place, os.X_OK):
            return place
    raise BundleError("uv was not found. Run make setup, or see https://docs.astral.sh/uv/.")


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a command; what it printed. :raises BundleError: it failed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env, cwd=ROOT, check=False)
    if done.returncode:
        raise BundleError(f"{' '.join(map(str, command))} failed:\n{(done.stderr + done.stdout)[-4000:]}")
    return done.stdout


def interpreter() -> str:
    """A Python of MWAA's version."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for place in (sys.executable, shutil.which(f"python{PYTHON}"), *sorted(pyenv.glob(f"{PYTHON}.*/bin/python"))):
        if place:
            asked = subprocess.run([place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=False)
            if asked.stdout.strip() == PYTHON:
                return str(place)
    return PYTHON


def build_wheel(folder: Path) -> Path:
    """The provider's wheel. By way of the source distribution: a folder `build/` of an earlier time would otherwise slip into it."""
    run(uv(), "build", "--quiet", "--python", interpreter(), "--out-dir", folder, ROOT)
    [wheel] = folder.glob("airflow_provider_tenable-*.whl")
    return wheel


def resolve(airflow: str, constraints: Path, *further: str) -> dict[str, str]:
    """Name -> version of Airflow with the Amazon provider, and what else is asked for, under MWAA's constraints."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.in"
        wanted.write_text("\n".join([*(each.format(airflow=airflow) for each in IMAGE), *further]) + "\n")
        text = run(
            uv(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--constraint", constraints, "--python-version", PYTHON,
            "--python-platform", "x86_64-manylinux_2_28", wanted,
        )  # fmt: skip
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?(?:==| @ )(\S+)", text, re.M)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def download(requirements: dict[str, str], folder: Path) -> None:
    """The wheels of these versions, for MWAA's platform."""
    if not requirements:
        return
    command = [interpreter(), "-m", "pip"]
    if subprocess.run([*command, "--version"], capture_output=True, check=False).returncode:
        raise BundleError(f"{interpreter()} has no pip, which fetches the wheels.")
    platforms = [part for platform in PLATFORMS for part in ("--platform", platform)]
    pins = [f"{name}=={version}" for name, version in sorted(requirements.items())]
    run(*command, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp", *platforms,
        "--dest", folder, *pins)  # fmt: skip


def requirements_text(form: str, version: str, further: dict[str, str]) -> str:
    """The requirements file.

    MWAA adds its own constraints, unless it finds one of pip's two options for constraints anywhere in the text, be it in a comment.
    So neither may stand in here.
    """
    lines = [f"--find-links {PLUGINS}"]
    if form == "offline":
        lines.append("--no-index")
    lines += [f"{NAME}[s3]=={version}", *(f"{name}=={pin}" for name, pin in sorted(further.items()))]
    return "\n".join(lines) + "\n"


def pack(wheels: list[Path], target: Path) -> None:
    """A zip file that depends on nothing but its content."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for wheel in sorted(wheels, key=lambda path: path.name):
            entry = zipfile.ZipInfo(wheel.name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, wheel.read_bytes())


def build(airflow: str, form: str, target: Path) -> None:
    """Build the bundle into a folder, which is made anew."""
    constraints = ROOT / "constraints" / f"mwaa-{airflow}.txt"
    if not constraints.exists():
        known = sorted(path.stem.removeprefix("mwaa-") for path in constraints.parent.glob("mwaa-*.txt"))
        raise BundleError(f"There are no constraints for Airflow {airflow}; there are for {', '.join(known)}.")
    shutil.rmtree(target, ignore_errors=True)
    (target / "dags").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build_wheel(folder)
        version = wheel.name.split("-")[1]
        image = resolve(airflow, constraints)
        whole = resolve(airflow, constraints, f"{NAME}[s3] @ {wheel.as_uri()}")
        further = {package: pin for package, pin in whole.items() if package != NAME and image.get(package) != pin}
        moved = sorted(set(further) & set(image))
        if moved:
            raise BundleError(f"These packages would have another version than in MWAA's image: {', '.join(moved)}.")
        if form == "offline":
            download(further, folder)
        wheels = sorted(folder.glob("*.whl"))
        pack(wheels, target / "plugins.zip")
        manifest = {
            "airflow": airflow,
            "form": form,
            "python": PYTHON,
            "provider": version,
            "wheels": {each.name: {"bytes": each.stat().st_size, "sha256": hashlib.sha256(each.read_bytes()).hexdigest()} for each in wheels},
        }
    (target / "requirements.txt").write_text(requirements_text(form, version, further))
    shutil.copy(ROOT / "deploy" / "mwaa" / "startup.sh", target / "startup.sh")
    for file in sorted((ROOT / "dags").glob("*.py")):
        shutil.copy(file, target / "dags" / file.name)
    (target / "MANIFEST.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def offline_environment(home: Path) -> dict[str, str]:
    """Environment variables under which pip reaches no index, whatever this machine has configured."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "AIRFLOW", "TIO_", "AWS_"))}
    nowhere = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), nowhere)
    return {**env, **proxies, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "HOME": str(home), "AIRFLOW_HOME": str(home / "airflow")}


def cpu_seconds() -> float:
    """Seconds of a CPU that the commands so far have taken: without an index to wait for, it is that long on a machine that does nothing else."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def check(target: Path) -> dict[str, object]:
    """Install the bundle's files where only MWAA's image is, without an index. What Airflow then finds is returned."""
    manifest = json.loads((target / "MANIFEST.json").read_text())
    airflow, constraints = manifest["airflow"], ROOT / "constraints" / f"mwaa-{manifest['airflow']}.txt"
    text = (target / "requirements.txt").read_text()
    for option in ("-c ", "--constraint "):
        if option in text:
            raise BundleError(f"requirements.txt has the text {option!r}: MWAA would then leave its own constraints away.")
    with tempfile.TemporaryDirectory(prefix="mwaa-check-") as name:
        folder = Path(name)
        python = folder / "venv" / "bin" / "python"
        run(uv(), "venv", "--quiet", "--seed", "-p", interpreter(), folder / "venv")
        run(uv(), "pip", "install", "--quiet", "-p", python, "--constraint", constraints, *(each.format(airflow=airflow) for each in IMAGE))
        plugins = folder / "plugins"
        with zipfile.ZipFile(target / "plugins.zip") as archive:
            archive.extractall(plugins)
        before = run(python, "-m", "pip", "list", "--format", "freeze").splitlines()
        # As MWAA does it: pip, its constraints, and the file as it is. Only the folder that it names is another one here.
        env = offline_environment(folder)
        began = cpu_seconds()
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--find-links", plugins, "--constraint", constraints,
            "--requirement", target / "requirements.txt", env=env)  # fmt: skip
        seconds = cpu_seconds() - began
        if seconds > INSTALL_SECONDS:
            raise BundleError(f"The installation took {seconds:.0f} s of a CPU; MWAA breaks it off after {INSTALL_SECONDS}.")
        after = run(python, "-m", "pip", "list", "--format", "freeze").splitlines()
        gone = sorted(set(before) - set(after))
        if gone:
            raise BundleError(f"The installation moved what MWAA's image has: {', '.join(gone)}.")
        run(python, "-m", "pip", "check", env=env)
        # From another folder: the source beside this script must not serve in place of the installed package.
        done = subprocess.run(
            [python, ROOT / "scripts" / "smoke.py", "--dags", target.resolve() / "dags"],
            cwd=folder, env={**env, "AIRFLOW_HOME": str(folder / "airflow")}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise BundleError(f"Airflow {airflow} does not work with the installed bundle:\n{(done.stderr + done.stdout)[-4000:]}")
        found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
        return {**found, "installed": len(set(after) - set(before)), "install_cpu_seconds": round(seconds)}


def main() -> int:
    """Build, and check where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--airflow", default="3.3.1", help="Airflow's version on MWAA (3.3.1)")
    parser.add_argument("--form", choices=("offline", "plain"), default="offline", help="whether the dependencies are in plugins.zip, or come from the index")
    parser.add_argument("--target", type=Path, help="folder (dist/mwaa-<version>)")
    parser.add_argument("--check", action="store_true", help="install the files into a clean environment, and see whether they work")
    options = parser.parse_args()
    target = options.target or ROOT / "dist" / f"mwaa-{options.airflow}"
    try:
        build(options.airflow, options.form, target)
        size = (target / "plugins.zip").stat().st_size / 1e6
        wheels = len(json.loads((target / "MANIFEST.json").read_text())["wheels"])
        print(f"Built {target}: {wheels} wheels, plugins.zip {size:.1f} MB.", flush=True)
        if options.check:
            if options.form != "offline":
                raise BundleError("Only the form offline can be checked without an index.")
            print(f"Installed without an index, and works: {json.dumps(check(target))}")
    except BundleError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
