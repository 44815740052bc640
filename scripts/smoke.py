"""What must work in any environment with the provider: every module can be imported, Airflow discovers the provider,
its DAG files parse.

    python scripts/smoke.py [--dags FOLDER]

Prints one line of JSON. Exits with 1, and says why, if something does not work. A deprecation warning that our own
code causes is an error.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import pkgutil
import runpy
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

PACKAGE = "airflow_provider_tenable"
EXPECTED_TASKS = {
    "plan_run",
    "export_assets",
    "export_vulnerabilities",
    "transform",
    "import_findings",
    "settle",
    "plan_archiving",
    "advance_watermark",
    "report",
}


def main() -> None:
    """Run the checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dags", type=Path, default=Path(__file__).resolve().parent.parent / "dags", help="folder of the DAG files"
    )
    folder = parser.parse_args().dags
    # Read and write nothing of this machine's Airflow.
    os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="smoke-"))
    os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    import airflow

    # By the module that causes the warning: the package's own, and the DAG files as `parse` runs them.
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.filterwarnings("error", category=category, module=rf"({PACKAGE}(\..*)?|<run_path>)$")
    found = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "airflow": airflow.__version__,
        "provider": importlib.metadata.version("airflow-provider-tenable"),
        "pytenable": importlib.metadata.version("pytenable"),
        "pandas": importlib.metadata.version("pandas"),
        "modules": len(import_all()),
        **discover(),
        "dags": parse(folder),
    }
    print(json.dumps(found))


def import_all() -> list[str]:
    """Import every module of the package, of the page's faces only the one that this Airflow shows; their names."""
    package = importlib.import_module(PACKAGE)
    faces = {f"{PACKAGE}.ui.{name}" for name in ("airflow2", "airflow3")}
    names = [PACKAGE, *(module.name for module in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."))]
    shown = importlib.import_module(f"{PACKAGE}.ui.plugin")._face()
    names = [name for name in names if name not in faces or name == f"{PACKAGE}.ui.{shown}"]
    for name in names:
        importlib.import_module(name)
    return names


def discover() -> dict[str, Any]:
    """What Airflow's providers manager knows of the provider."""
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    info = manager.providers.get("airflow-provider-tenable")
    if info is None:
        raise SystemExit("Airflow does not discover the provider.")
    with warnings.catch_warnings():
        # Airflow 3.2 and later look in another module within a task; this is not a task.
        warnings.simplefilter("ignore")
        hook = manager.hooks.get("tenable")
    if hook is None or hook.hook_class_name != f"{PACKAGE}.hooks.tenable.TenableHook":
        raise SystemExit(f"Airflow does not know the connection type tenable: {hook}")
    options = dict(manager.provider_configs)["airflow-provider-tenable"]["tenable"]["options"]
    links = [name for name in manager.extra_links_class_names if name.startswith(PACKAGE)]
    if not links:
        raise SystemExit("Airflow does not know the provider's links.")
    return {"connection_type": hook.connection_type, "options": len(options), "links": len(links)}


def parse(folder: Path) -> dict[str, int]:
    """The DAGs of a folder with their numbers of tasks."""
    dags: dict[str, int] = {}
    broken: list[str] = []
    for file in sorted(folder.glob("*.py")):
        try:
            names = runpy.run_path(str(file))
        except Exception as error:  # noqa: BLE001 - the other files are checked too.
            broken.append(f"{file.name}: {type(error).__name__}: {error}")
            continue
        for value in list(names.values()):
            if type(value).__name__ == "DAG":
                dags[value.dag_id] = len(value.tasks)
                missing = EXPECTED_TASKS - set(value.task_ids) if value.dag_id == "tenable_to_security_hub" else set()
                if missing:
                    raise SystemExit(f"DAG {value.dag_id} lacks the tasks {sorted(missing)}.")
    if broken:
        raise SystemExit(f"Does not parse: {'; '.join(broken)}. These do: {dags}")
    if "tenable_to_security_hub" not in dags:
        raise SystemExit(f"{folder} holds no DAG tenable_to_security_hub; it holds {sorted(dags)}.")
    return dags


if __name__ == "__main__":
    main()
