"""Build what Amazon MWAA wants for one Airflow version: ``dist/mwaa-<version>/``.

    python scripts/mwaa_bundle.py --airflow 3.0.6 [--form offline | plain] [--check]
    python scripts/mwaa_bundle.py --into FOLDER [--startup] [--keep-secrets]

=====================  ===============================================================================================
``plugins.zip``        wheels, which MWAA unpacks into /usr/local/airflow/plugins: the provider and, in the form
                       ``offline``, every dependency that MWAA's image does not have
``requirements.txt``   installs from there alone (``offline``), or the provider from there and the rest from
                       the index (``plain``)
``startup.sh``         the startup script
``dags/``              the DAG
``MANIFEST.json``      what is inside: versions, sizes, SHA-256
=====================  ===============================================================================================

The content of MWAA's image is assumed to be Airflow with the Amazon provider, as MWAA's constraints pin them
(``constraints/``). ``--check`` makes such an environment, then installs exactly these files into it without an index,
and checks that Airflow finds the provider and parses the DAG.

``--into`` merges the bundle into what an environment has (``mwaa_merge.py``), and writes ``update.json``, the input of
`aws mwaa update-environment`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import mwaa_merge
from environments import NEWEST_ON_MWAA, airflow_versions, interpreter, uv
from mwaa_packages import (
    IMAGE,
    PLUGINS,
    PYTHON,
    ROOT,
    BundleError,
    build_wheel,
    download,
    resolve,
    resolve_together,
    run,
)

NAME = "airflow-provider-tenable"
#: The longest that MWAA lets an installation take.
INSTALL_SECONDS = 540


def requirements_text(form: str, version: str, further: dict[str, str]) -> str:
    """The requirements file.

    MWAA adds its own constraints, unless it finds one of pip's two options for constraints anywhere in the text, even
    in a comment. So the text must contain neither.
    """
    lines = [f"--find-links {PLUGINS}"]
    if form == "offline":
        lines.append("--no-index")
    lines += [f"{NAME}[s3]=={version}", *(f"{name}=={pin}" for name, pin in sorted(further.items()))]
    return "\n".join(lines) + "\n"


def pack(wheels: list[Path], target: Path) -> None:
    """A zip file whose bytes depend only on its content."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for wheel in sorted(wheels, key=lambda path: path.name):
            entry = zipfile.ZipInfo(wheel.name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, wheel.read_bytes())


def build(airflow: str, form: str, target: Path) -> None:
    """Build the bundle into a folder, which replaces an older one."""
    constraints = ROOT / "constraints" / f"mwaa-{airflow}.txt"
    if not constraints.exists():
        raise BundleError(
            f"There are no constraints for Airflow {airflow}; there are for {', '.join(airflow_versions('mwaa-'))}. If "
            "the environment runs another version, update its Airflow first, by itself."
        )
    shutil.rmtree(target, ignore_errors=True)
    (target / "dags").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build_wheel(folder)
        version = wheel.name.split("-")[1]
        image = resolve(airflow, constraints)
        complete = resolve(airflow, constraints, f"{NAME}[s3] @ {wheel.as_uri()}")
        further = {package: pin for package, pin in complete.items() if package != NAME and image.get(package) != pin}
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
            "wheels": {
                each.name: {"bytes": each.stat().st_size, "sha256": hashlib.sha256(each.read_bytes()).hexdigest()}
                for each in wheels
            },
        }
    (target / "requirements.txt").write_text(requirements_text(form, version, further))
    shutil.copy(ROOT / "deploy" / "mwaa" / "startup.sh", target / "startup.sh")
    for file in sorted((ROOT / "dags").glob("*.py")):
        shutil.copy(file, target / "dags" / file.name)
    (target / "MANIFEST.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def offline_environment(home: Path) -> dict[str, str]:
    """Environment variables under which pip reaches no index, whatever this machine has configured."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "UV_", "AIRFLOW", "TIO_", "AWS_"))
    }
    nowhere = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), nowhere)
    return {
        **env,
        **proxies,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
        "HOME": str(home),
        "AIRFLOW_HOME": str(home / "airflow"),
    }


def cpu_seconds() -> float:
    """CPU seconds of the commands so far. Without an index to wait for, the installation takes that long on an idle
    machine.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def check(target: Path) -> dict[str, object]:
    """Install the bundle's files next to MWAA's image alone, without an index, and return what Airflow then finds."""
    manifest = json.loads((target / "MANIFEST.json").read_text())
    airflow, constraints = manifest["airflow"], ROOT / "constraints" / f"mwaa-{manifest['airflow']}.txt"
    text = (target / "requirements.txt").read_text()
    for option in ("-c ", "--constraint "):
        if option in text:
            raise BundleError(
                f"requirements.txt has the text {option!r}: MWAA would then not apply its own constraints."
            )
    with tempfile.TemporaryDirectory(prefix="mwaa-check-") as name:
        folder = Path(name)
        python = folder / "venv" / "bin" / "python"
        run(uv(), "venv", "--quiet", "--seed", "-p", interpreter(PYTHON), folder / "venv")
        run(
            uv(),
            "pip",
            "install",
            "--quiet",
            "-p",
            python,
            "--constraint",
            constraints,
            *(each.format(airflow=airflow) for each in IMAGE),
        )
        plugins = folder / "plugins"
        with zipfile.ZipFile(target / "plugins.zip") as archive:
            archive.extractall(plugins)
        before = run(python, "-m", "pip", "list", "--format", "freeze").splitlines()
        # As MWAA does it: pip, its constraints, and the unchanged file. Only the folder of the wheels is different
        # here.
        env = offline_environment(folder)
        began = cpu_seconds()
        run(
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--find-links",
            plugins,
            "--constraint",
            constraints,
            "--requirement",
            target / "requirements.txt",
            env=env,
        )
        seconds = cpu_seconds() - began
        if seconds > INSTALL_SECONDS:
            raise BundleError(f"The installation took {seconds:.0f} s of a CPU; MWAA stops it after {INSTALL_SECONDS}.")
        after = run(python, "-m", "pip", "list", "--format", "freeze").splitlines()
        gone = sorted(set(before) - set(after))
        if gone:
            raise BundleError(f"The installation changed packages of MWAA's image: {', '.join(gone)}.")
        run(python, "-m", "pip", "check", env=env)
        # From another folder: the source next to this script must not be used in place of the installed package.
        done = subprocess.run(
            [python, ROOT / "scripts" / "smoke.py", "--dags", target.resolve() / "dags"],
            cwd=folder,
            env={**env, "AIRFLOW_HOME": str(folder / "airflow")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BundleError(
                f"Airflow {airflow} does not work with the installed bundle:\n{(done.stderr + done.stdout)[-4000:]}"
            )
        found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
        return {**found, "installed": len(set(after) - set(before)), "install_cpu_seconds": round(seconds)}


def into(folder: Path, form: str, target: Path, *, startup: bool, keep_secrets: bool, resolve_first: bool) -> None:
    """Build the bundle for an existing environment, and merge it into what that has.

    :raises mwaa_merge.MergeError: the environment has something that contradicts the bundle.
    """
    environment = mwaa_merge.read_environment(folder)
    airflow = environment["AirflowVersion"]
    update = mwaa_merge.update_of(environment, startup=startup, keep_secrets=keep_secrets)
    build(airflow, form, target)
    merged = mwaa_merge.merge_files(folder, target, startup=startup)
    if resolve_first:
        resolve_together(airflow, ROOT / "constraints" / f"mwaa-{airflow}.txt", merged, target / "plugins.zip")
    # Options may hold secrets of the environment.
    descriptor = os.open(target / "update.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(update, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--airflow", help=f"Airflow's version on MWAA ({NEWEST_ON_MWAA})")
    parser.add_argument(
        "--form",
        choices=("offline", "plain"),
        default="offline",
        help="whether the dependencies are in plugins.zip, or come from the index",
    )
    parser.add_argument("--target", type=Path, help="folder (dist/mwaa-<version>)")
    parser.add_argument(
        "--check", action="store_true", help="install the files into a clean environment, and check that they work"
    )
    parser.add_argument(
        "--into",
        type=Path,
        metavar="FOLDER",
        help="merge into an environment: folder with its environment.json and its files",
    )
    parser.add_argument("--startup", action="store_true", help="with --into: merge the startup script too")
    parser.add_argument(
        "--keep-secrets", action="store_true", help="with --into: leave the options of the secrets backend alone"
    )
    parser.add_argument(
        "--no-resolve", action="store_true", help="with --into: do not check whether the requirements fit together"
    )
    options = parser.parse_args()
    if options.into and (options.airflow or options.check):
        parser.error(
            "--into takes the environment's own version of Airflow, and cannot be checked without its packages"
        )
    return options


def main() -> int:
    """Build, and check or merge if asked to."""
    options = _arguments()
    try:
        if options.into:
            target = options.target or ROOT / "dist" / f"mwaa-{mwaa_merge.read_environment(options.into)['Name']}"
            into(
                options.into,
                options.form,
                target,
                startup=options.startup,
                keep_secrets=options.keep_secrets,
                resolve_first=not options.no_resolve,
            )
        else:
            airflow = options.airflow or NEWEST_ON_MWAA
            target = options.target or ROOT / "dist" / f"mwaa-{airflow}"
            build(airflow, options.form, target)
        size = (target / "plugins.zip").stat().st_size / 1e6
        wheels = len(json.loads((target / "MANIFEST.json").read_text())["wheels"])
        print(f"Built {target}: {wheels} wheels, plugins.zip {size:.1f} MB.", flush=True)
        if options.check:
            if options.form != "offline":
                raise BundleError("Only the form offline can be checked without an index.")
            print(f"Installed without an index, and works: {json.dumps(check(target))}")
    except (BundleError, mwaa_merge.MergeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
