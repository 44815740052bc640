"""`[tenable] plugin_output` over the complete job: what Tenable is asked for, what is staged, what stands in Security
Hub.

And who can open what a run stages.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.staging.files import read_json
from tests.faults.canary import holds_secret
from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

OUTPUT = "tenable/vulnerability-management/output"
#: What the sandbox's plugin for default community names prints, and what an ordinary one does.
COMMUNITY, ORDINARY = b"replies to the following default community string", b"Installed version"


def holding(folder: Path, text: bytes) -> set[str]:
    """The top folders of the run in which a staged file holds a text, packed ones unpacked."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).parts[0] for path in files if holds_secret(path.read_bytes(), [text])}


def outputs(sandbox: Sandbox) -> dict[str, str]:
    return {
        each["GeneratorId"]: each["ProductFields"][OUTPUT]
        for each in sandbox.documents().values()
        if OUTPUT in each["ProductFields"]
    }


def test_findings_have_an_excerpt_except_of_what_prints_credentials(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    run = Run(defaults=defaults)
    run.execute()
    root = Path(run.folder.root.path)
    assert len(outputs(sandbox)) > 20
    assert not any(COMMUNITY.decode() in text for text in outputs(sandbox).values())
    # The chunks are as Tenable served them.
    assert holding(root, COMMUNITY) == {"vulnerabilities"}
    assert holding(root, ORDINARY) == {"vulnerabilities", "findings", "parked"}
    assert "include_plugin_output" not in read_json(run.folder.export("vulnerabilities") / "export.json")["body"]
    assert delivered(sandbox.documents()) == expected(sandbox.tenable("truth"), accounts=sandbox.accounts)


def test_with_none_tenable_is_not_asked_for_output_and_none_is_staged(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__PLUGIN_OUTPUT", "none")
    run = Run(defaults=defaults)
    run.execute()
    assert read_json(run.folder.export("vulnerabilities") / "export.json")["body"]["include_plugin_output"] is False
    assert "include_plugin_output" not in read_json(run.folder.export("assets") / "export.json")["body"]
    assert outputs(sandbox) == {}
    assert holding(Path(run.folder.root.path), COMMUNITY) == holding(Path(run.folder.root.path), ORDINARY) == set()
    assert delivered(sandbox.documents()) == expected(sandbox.tenable("truth"), accounts=sandbox.accounts)


def test_a_run_exported_before_the_switch_is_carried_on_without_another_export_and_without_output(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Run(defaults=defaults, run_id="cleared")
    from airflow_provider_tenable.run import plan as pipeline

    plan = pipeline.plan_run(first.context)
    exported = first.export("vulnerabilities", plan["vulnerability_filters"])
    monkeypatch.setenv("AIRFLOW__TENABLE__PLUGIN_OUTPUT", "none")
    again = Run(defaults=defaults, run_id="cleared")
    again.execute()
    assert read_json(again.folder.export("vulnerabilities") / "export.json")["uuid"] == exported["uuid"]
    assert holding(Path(again.folder.root.path), ORDINARY) == {"vulnerabilities"}
    assert outputs(sandbox) == {}


def test_an_update_without_output_takes_the_excerpt_out_of_the_hub(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Run(defaults=defaults).execute()
    shown = outputs(sandbox)
    assert len(shown) > 20
    monkeypatch.setenv("AIRFLOW__TENABLE__PLUGIN_OUTPUT", "none")
    variables.watermark = None
    update = Run(defaults=defaults)
    update.execute()
    # No time of Tenable's has moved: the comparison with what was sent finds the difference.
    assert outputs(sandbox) == {}
    assert update.ledger["sent"]["updated"] >= len(shown)
    sandbox.advance(2 * 86400)
    later = Run(defaults=defaults)
    later.execute()
    # What is new in the meantime has none either.
    assert later.ledger["sent"]["created"] > 0
    assert outputs(sandbox) == {}


def test_everything_that_a_run_stages_is_for_its_own_user(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], tmp_path: Path
) -> None:
    before = os.umask(0o000)
    try:
        sandbox.tenable(
            "change",
            {
                "do": "inject",
                "record": {"asset": {"uuid": "nobody-knows"}, "plugin": {"id": 1}, "severity_id": 4, "state": "OPEN"},
            },
        )
        sandbox.tenable("change", {"do": "inject", "record": {"asset": None}})
        Run(defaults=defaults, params={"max_rejected_ratio": 1}).execute()
    finally:
        os.umask(before)
    staged = tmp_path / "staging"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (staged, *staged.rglob("*"))}
    kinds = {path.relative_to(staged).parts[1] for path in modes if len(path.relative_to(staged).parts) > 1}
    assert {"parked", "asset_index"} < kinds
    assert any(path.parent.name == "rejected" for path in modes)
    assert {str(path): oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}
