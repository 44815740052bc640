"""The walls between the rooms of the package: each contract of import-linter stops something, and none of the
Airflow-free rooms loads Airflow.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "airflow_provider_tenable"
CONTRACTS: dict[str, dict[str, Any]] = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
AIRFLOW_FREE = {
    module.removeprefix("airflow_provider_tenable.") for module in CONTRACTS["airflow-free"]["source_modules"]
}
#: Rooms and modules at the root that may know Airflow; the last line has the names that are handed on.
FACES = {
    "hooks",
    "operators",
    "requirements",
    "sensors",
    "triggers",
    "links",
    "notifications",
    "ui",
    "run",
    "observability",
    "_compat",
    "config",
    "provider_info",
    "dags",
    "aws_audit_steps",
    "example_dags",
    "command",
    "failing",
    "foreign_text",
    "import_event",
    "lineage",
    "params",
    "parts",
    "pipeline",
    "replay",
    "report",
    "results",
    "run_folder",
    "scan_steps",
    "scanner",
}

#: (contract, module, a line that it must not have). Where one contract stands for several rooms, each has a line.
CROSSINGS = [
    ("rooms", "hooks/security_hub.py", "from airflow_provider_tenable.operators import security_hub"),
    ("rooms", "export/store.py", "import airflow_provider_tenable.assets.table"),
    ("rooms", "guards/uuids.py", "from airflow_provider_tenable.exceptions import StagingError"),
    ("rooms", "staging/files.py", "from airflow_provider_tenable.tenable_vm.times import parse"),
    # A room without a layer.
    ("rooms", "cellar/__init__.py", ""),
    ("sources", "staging/zstd.py", "from airflow_provider_tenable.export import state"),
    ("sources", "staging/index_files.py", "from airflow_provider_tenable.assets.parquet import read_table"),
    ("sources", "tenable_vm/scans.py", "from airflow_provider_tenable.scan import status"),
    ("sources", "tenable_vm/records.py", "from airflow_provider_tenable.asff import limits"),
    (
        "sources",
        "tenable_vm/client.py",
        "def later():\n    from airflow_provider_tenable.transform.routing import Router",
    ),
    ("no-format", "assets/table.py", "from airflow_provider_tenable.asff import resource"),
    ("no-format", "export/chunks.py", "from airflow_provider_tenable import asff"),
    # By way of another room.
    ("no-format", "export/state.py", "from airflow_provider_tenable.operators import asff"),
    ("no-format", "transform/shard.py", "from airflow_provider_tenable.asff.finding import finding_and_row"),
    ("security-hub", "security_hub/batches.py", "from airflow_provider_tenable.tenable_vm import records"),
    ("security-hub", "security_hub/group.py", "from airflow_provider_tenable.asff.limits import problems"),
    (
        "security-hub",
        "security_hub/sender.py",
        "from airflow_provider_tenable.transform.output import FINDINGS_PER_PART",
    ),
    ("security-hub", "security_hub/receipts.py", "from tenable.errors import APIError"),
    ("format", "asff/finding.py", "def later():\n    import airflow.models"),
    ("format", "asff/plugin.py", "from botocore.exceptions import ClientError"),
    ("format", "asff/memo.py", "import boto3"),
    ("format", "asff/limits.py", "from airflow_provider_tenable.staging.files import names"),
    *(
        (
            "airflow-free",
            f"{room}/__init__.py" if (PACKAGE / room).is_dir() else f"{room}.py",
            "from airflow.models import Variable",
        )
        for room in sorted(AIRFLOW_FREE)
    ),
    ("airflow-free", "assets/index.py", "from airflow_provider_tenable import config"),
    ("airflow-free", "staging/files.py", "from airflow_provider_tenable._compat import ObjectStoragePath"),
]

_LINT = """
import json, shutil, sys
from pathlib import Path
from importlinter.cli import lint_imports

copy, original, crossings = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
found = []
for contract, module, line in crossings:
    path, before = copy / "airflow_provider_tenable" / module, None
    if path.exists():
        before = path.read_text()
    path.parent.mkdir(exist_ok=True)
    path.write_text((before or "") + "\\n" + line + "\\n")
    limit = (contract,) if contract else ()
    found.append(lint_imports(config_filename=str(copy / "pyproject.toml"), limit_to_contracts=limit, no_cache=True))
    if before is None:
        shutil.rmtree(path.parent)
    else:
        path.write_text(before)
print("\\n" + json.dumps(found), flush=True)
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and its contracts, to be spoilt."""
    pytest.importorskip(
        "importlinter", reason="import-linter comes with the extra 'lint', which old releases of Airflow do not get"
    )
    folder = tmp_path_factory.mktemp("walls")
    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(copy: Path, crossings: list[tuple[str, str, str]]) -> list[int]:
    """The exit code of import-linter for each crossing, as if the line stood in the module. One process: starting
    Python takes longer than looking.
    """
    done = subprocess.run(
        [sys.executable, "-c", _LINT, str(copy), str(ROOT), json.dumps(crossings)],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[int] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_wall_stops_what_it_is_for(copy: Path) -> None:
    found = lint(copy, CROSSINGS)
    assert [crossing for crossing, code in zip(CROSSINGS, found, strict=True) if code == 0] == []
    assert {contract for contract, *_ in CROSSINGS} == set(CONTRACTS)


def test_the_package_as_it_is_keeps_to_the_walls(copy: Path) -> None:
    harmless = [
        ("", "aws.py", ""),
        ("", "tenable_vm/kinds.py", "from airflow_provider_tenable.guards import uuids"),
        ("", "assets/table.py", "if TYPE_CHECKING:\n    from airflow_provider_tenable import _compat"),
    ]
    assert lint(copy, harmless) == [0, 0, 0]


def test_only_the_place_of_the_staging_area_is_asked_of_airflow() -> None:
    location = "airflow_provider_tenable.staging.location"
    exceptions = {
        contract: entry["ignore_imports"] for contract, entry in CONTRACTS.items() if "ignore_imports" in entry
    }
    assert exceptions == {
        "airflow-free": [
            f"{location} -> airflow_provider_tenable._compat",
            f"{location} -> airflow_provider_tenable.config",
        ]
    }


def test_every_room_is_airflow_free_or_named_as_one_that_is_not() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()} - {
        "__init__"
    }
    assert there == AIRFLOW_FREE | FACES
    assert not AIRFLOW_FREE & FACES


#: Modules of other rooms that need no Airflow, and are used without it.
MORE = [f"airflow_provider_tenable.run.{name}" for name in ("ledger", "watermark", "params")]

_IMPORT = """
import importlib, sys
banned = set(sys.argv[1].split(","))
for module in sys.argv[2:]:
    importlib.import_module(module)
    if loaded := banned & set(sys.modules):
        sys.exit(f"{module} loads {sorted(loaded)}")
"""


@pytest.mark.parametrize("rooms", [{"asff"}, AIRFLOW_FREE - {"asff"}], ids=["asff", "others"])
def test_modules_of_the_airflow_free_rooms_load_no_airflow(rooms: set[str]) -> None:
    banned = "airflow,boto3,botocore" if rooms == {"asff"} else "airflow"
    files = [
        path for room in rooms for path in [PACKAGE / f"{room}.py", *(PACKAGE / room).rglob("*.py")] if path.exists()
    ]
    modules = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files)
    assert len(modules) >= len(rooms)
    modules += [] if rooms == {"asff"} else MORE
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, banned, *modules], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
