"""The doors at the package's root hand on names to copies of the DAG files, of whichever version, and decide
nothing.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "airflow_provider_tenable"

#: What DAG files and docs of any release import from the root. Names may be added, never removed.
DOORS = {
    "aws_audit_steps": {
        "announce_audits",
        "check_results",
        "plan_audit",
        "remove_old_scans",
        "report_audit",
        "what_to_send",
    },
    "failing": {"fail_fast"},
    "foreign_text": {"quoted", "safe"},
    "import_event": {
        "announce",
        "announce_audits",
        "announce_scan",
        "completed_audits",
        "completed_scan",
        "event_extra",
        "imported_findings",
        "scans_from_option",
        "triggering_imports",
    },
    "lineage": {"convert_asset_to_openlineage", "sanitize_tenable_uri"},
    "params": {"aws_audit_params", "import_params", "replay_params", "scan_params", "scanner_params"},
    "parts": {"read_blocks", "read_lines", "read_part"},
    "pipeline": {
        "advance_watermark",
        "check_archived",
        "plan_archiving",
        "plan_imports",
        "plan_run",
        "plan_shards",
        "remove_old_runs",
        "settle_run",
    },
    "replay": {"plan_replay", "settle_replay"},
    "report": {"report_of", "report_run"},
    "results": {"iter_findings", "iter_rejected", "iter_vulnerabilities"},
    "run_folder": {"RunFolder"},
    "scan_steps": {"plan_scan", "remove_old_scans", "report_scan"},
    "scanner": {"plan_scanner", "report_scanner"},
}

#: What the DAG files of 0.1.0 and later import, by module.
IMPORTS = {
    "_compat": {
        "EXPONENTIAL_BACKOFF",
        "AirflowException",
        "DeltaDataIntervalTimetable",
        "Param",
        "TriggerRule",
        "any_asset_or",
        "asset_alias",
        "dag",
        "task",
    },
    "config": {"dag_params", "get"},
    "dags": {"tenable_requirements", "tenable_replay_rejected", "tenable_to_security_hub"},
    "exceptions": {"ConfigurationError"},
    "operators.asff": {"TenableToAsffOperator"},
    "operators.nessus_ec2": {"NessusAwsPrerequisitesOperator", "NessusCreateScannerOperator"},
    "operators.nessus_terminate": {"NessusTerminateScannerOperator"},
    "operators.security_hub": {"SecurityHubImportFindingsOperator"},
    "operators.security_hub_archive": {"SecurityHubArchiveFindingsOperator"},
    "operators.tenable": {"TenableExportOperator"},
    "operators.aws_audit": {"TenableAuditUserOperator", "TenableRotateAuditKeyOperator"},
    "operators.aws_audit_scan": {"TenableAwsAuditScanOperator"},
    "operators.scan_debugging": {"TenableSetPluginDebuggingOperator"},
    "operators.scan_exports": {"TenableExportScanOperator"},
    "operators.scan_runs": {"TenableRunScanOperator"},
    "operators.tenable_scans": {"TenableCreateScanOperator", "TenableDeleteScanOperator"},
    "sensors.tenable_scanners": {"TenableScannerSensor"},
}


@pytest.mark.parametrize("door", DOORS)
def test_door_hands_on_exactly_these_names_and_holds_no_logic(door: str) -> None:
    body = ast.parse((PACKAGE / f"{door}.py").read_text()).body
    docstring, *rest = body
    assert isinstance(docstring, ast.Expr)
    *imports, listed = rest
    assert all(isinstance(node, ast.ImportFrom) for node in imports)
    handed_on = {alias.asname or alias.name for node in imports for alias in node.names} - {"annotations"}
    assert ast.unparse(listed.targets[0]) == "__all__"
    assert set(ast.literal_eval(listed.value)) == handed_on == DOORS[door]


@pytest.mark.parametrize("module", IMPORTS)
def test_copy_of_an_older_dag_file_finds_what_it_imports(module: str) -> None:
    found = importlib.import_module(f"airflow_provider_tenable.{module}")
    assert {name for name in IMPORTS[module] if not hasattr(found, name)} == set()


@pytest.mark.parametrize("path", sorted((PACKAGE.parent / "dags").glob("*.py")), ids=lambda path: path.stem)
def test_dag_file_imports_from_doors_and_public_modules_alone(path: Path) -> None:
    modules = {
        node.module.removeprefix("airflow_provider_tenable").lstrip(".")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("airflow_provider_tenable")
    }
    assert modules - {""} <= DOORS.keys() | IMPORTS.keys()
