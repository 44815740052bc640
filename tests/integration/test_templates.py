"""Whoever may trigger a DAG reads no Connection and no Variable by it: no text of a run is rendered as a template, in
whatever param it comes.

Airflow runs the DAG files itself. The text holds three templates, of which each gives a secret in a form that Airflow's
masking of secrets does not know.
"""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS
from airflow_provider_tenable.run.ledger_checks import rejected_lines
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.transform.destinations import parse_destinations
from sandbox.standalone.airflow import connections
from tests.faults.canary import forms_of, holds_secret
from tests.integration.dag_runs import ROOT, AirflowProcess, DagRuns, Outcome
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

FILES = sorted((ROOT / "dags").glob("*.py"))
#: Without a space, since IAM allows all of its characters in the path of a role, and without a slash, as the name of a
#: folder.
TEMPLATE = "{{conn.tenable_default.password|reverse}}{{conn.canary.password|reverse}}{{var.value.canary|upper}}"
PASSWORD, VARIABLE = "canary-password-51d0c7", "canary-variable-9be2a4"
ROLE = f"{TEMPLATE}/TenableSecurityHubImport"


@dataclass
class Airflow:
    """An Airflow with canaries in it, connected to the sandbox."""

    runs: DagRuns
    sandbox: Sandbox
    staging: Path

    @property
    def evaluated(self) -> list[bytes]:
        """What the templates would have become."""
        return forms_of(self.sandbox.process.facts["secret_key"][::-1], PASSWORD[::-1], VARIABLE.upper())

    def leaks(self, **outcomes: Outcome) -> list[str]:
        """Where an evaluated template stands: in logs, the database (XComs, rendered fields, names of mapped tasks,
        ...) or staged files. With the DAG.
        """
        evaluated = self.evaluated
        files = [path for folder in (self.staging, self.runs.home) for path in folder.rglob("*") if path.is_file()]
        found = [str(path) for path in files if holds_secret(path.read_bytes(), evaluated)]
        found += [f"{dag_id}: {place}" for dag_id, place, value in self.runs.cells() if holds_secret(value, evaluated)]
        return found + [
            f"{name}: output" for name, each in outcomes.items() if holds_secret(each.output.encode(), evaluated)
        ]

    def account(self, *, role: str, **more: Any) -> dict[str, Any]:
        """Params of a run into one account and Region."""
        place = {"accounts": [self.sandbox.accounts[0]], "region": self.sandbox.process.facts["regions"][0]}
        return {
            "destinations": [{"aws_conn_id": "aws_default", "role_name": role, **place}],
            "severities": ["critical"],
            **more,
        }


@pytest.fixture
def airflow(sandbox: Sandbox, airflow_process: AirflowProcess, tmp_path: Path) -> Airflow:
    sandbox.tenable("options", {"prepare_seconds": 0})
    settings = {
        "AIRFLOW_VAR_CANARY": VARIABLE,
        "AIRFLOW_CONN_CANARY": json.dumps({"conn_type": "generic", "login": "canary", "password": PASSWORD}),
        "AIRFLOW__TENABLE__TRANSFORM_SHARDS": "1",
        "AIRFLOW__TENABLE__POLL_INTERVAL_SECONDS": "1",
        # Deferred after each batch.
        "AIRFLOW__TENABLE__IMPORT_MINUTES": "0.00001",
        # The same findings are sent again and again.
        "AIRFLOW__TENABLE__REFRESH_DAYS": "0",
    }
    runs = DagRuns(tmp_path, airflow_process, [*FILES, ROOT / "tests" / "integration" / "rendering.py"], settings)
    return Airflow(runs, sandbox, tmp_path / "staging")


def test_template_in_the_path_of_a_role_that_exists_is_taken_literally_from_the_param_to_the_hub(
    airflow: Airflow, variables: Variables
) -> None:
    sandbox, account = airflow.sandbox, airflow.sandbox.accounts[0]
    _add_role(sandbox, account)
    # What the services answer is as hostile.
    assets = [each["asset_id"] for each in sandbox.truth()["assets"]]
    sandbox.change(
        *(
            {"do": "change_asset", "asset_id": each, "set": {"name": TEMPLATE, "tags": [["Owner", TEMPLATE]]}}
            for each in assets
        )
    )
    record = {
        "asset": {"uuid": TEMPLATE},
        "plugin": {"id": TEMPLATE, "name": TEMPLATE},
        "severity": TEMPLATE,
        "state": TEMPLATE,
        "indexed": TEMPLATE,
    }
    sandbox.change({"do": "inject", "record": record})
    sandbox.hub_fault(
        {
            "on": "BatchImportFindings",
            "do": "fail_findings",
            "code": TEMPLATE,
            "message": TEMPLATE,
            "share": 0.1,
            "times": None,
        }
    )
    params = airflow.account(role=ROLE, batch_size=20, max_rejected_ratio=1)
    # A run id is part of the folders of its exports, and so of the XComs of its replay. Airflow's own ids cannot hold a
    # template.
    # Both are one deployment, although each has its own Variables.
    airflow.runs.env["AIRFLOW_VAR_TENABLE_TO_SECURITY_HUB__OWNER"] = "tests"
    variables.values["tenable_to_security_hub__owner"] = "tests"
    Run(params=params, run_id=TEMPLATE).execute()
    sandbox.fault({"on": "vulns_export", "do": "body", "body": json.dumps({"export_uuid": TEMPLATE})})

    again = {"run_id": TEMPLATE, "transform": True, "max_rejected_ratio": 1}
    # The replay first: of an older run it would send nothing.
    orders = [
        ("tenable_replay_rejected", again),
        ("tenable_to_security_hub", params),
        ("rendering", {"text": TEMPLATE}),
    ]
    replayed, first, control = airflow.runs.run(*orders, retries=0)
    _check_what_airflow_renders(control)
    for dag_id, outcome in (("tenable_to_security_hub", first), ("tenable_replay_rejected", replayed)):
        assert outcome.state == "success", outcome.errors
        [imported] = outcome.of("import_findings")
        place, _, became = imported["rendered_map_index"].partition(": ")
        assert place == f"{account}/{sandbox.process.facts['regions'][0]}"
        assert re.fullmatch(r"[\d,]+ sent, \d+ rejected", became)
        # dag.test of Airflow 2 renders a deferred task again.
        assert outcome.output.count("The worker slot is released") >= 1
        run = RunFolder(f"file://{airflow.staging}", dag_id, outcome.run_id)
        assert read_json(run.ledger)["accepted"] > 0
        assert {line["code"] for line in rejected_lines(run)} >= {TEMPLATE}
    assert TEMPLATE in json.dumps(sandbox.documents())
    literal = [
        dag_id
        for dag_id, place, value in airflow.runs.cells()
        if place.startswith("xcom.") and TEMPLATE.encode() in value
    ]
    assert {"tenable_to_security_hub", "tenable_replay_rejected"} <= set(literal)
    leaks = airflow.leaks(tenable_to_security_hub=first, tenable_replay_rejected=replayed, rendering=control)
    assert "rendering: rendered_task_instance_fields.rendered_fields" in leaks, "the control: it would have been found"
    assert [place for place in leaks if not place.startswith("rendering: ") and "dag_id=rendering" not in place] == []


def _check_what_airflow_renders(outcome: Outcome) -> None:
    """What docs/operators.md says of it, and what the DAGs rely on."""
    assert outcome.state == "success", outcome.errors
    shown = dict(line.split("SHOWN ", 1)[1].split()[:2] for line in outcome.output.splitlines() if "SHOWN " in line)
    rendered = {"expand_kwargs.field", "expand_kwargs.nested", "taskflow_expand_kwargs", "notifier"}
    if not AIRFLOW_V_3_0_PLUS:
        # dag.test takes the task that it has rendered before.
        rendered.add("resumed.field")
    literal = {
        "argument.field",
        "argument.nested",
        "template.field",
        "template.nested",
        "resumed.field",
        "taskflow",
        "taskflow_expand",
    }
    literal |= {"expand.field", "expand.nested", "expand_plain.plain", "expand_kwargs.plain"}
    assert shown == {**dict.fromkeys(literal, "literal"), **dict.fromkeys(rendered, "rendered")}
    assert [each["rendered_map_index"] for name in ("expand", "expand_plain") for each in outcome.of(name)] == [
        TEMPLATE,
        TEMPLATE,
    ]


def _add_role(sandbox: Sandbox, account: str) -> None:
    """A role whose path is the template, and which may be assumed."""
    sandbox.aws("roles", {"arn": f"arn:aws:iam::{account}:role/{ROLE}"})
    key = connections(sandbox.process)["aws_default"]
    user = {"access_key_id": key["login"], "secret_access_key": key["password"], "account": account}
    sandbox.aws(
        "identities",
        {
            **user,
            "arn": f"arn:aws:iam::{account}:user/tenable-importer",
            "may_assume": [f"arn:aws:iam::{account}:role/*"],
        },
    )


def _hostile(value: Any) -> Iterator[tuple[str, Any]]:
    """The value with a template in place of all of it, of a list's first item and of each field, and as a further key.
    Each with the path of that part.
    """
    yield "", TEMPLATE
    if isinstance(value, list) and value:
        yield from ((f"[0]{path}", [changed, *value[1:]]) for path, changed in _hostile(value[0]))
    if isinstance(value, dict):
        yield "{key}", {**value, TEMPLATE: TEMPLATE}
        for name, item in value.items():
            yield from ((f".{name}{path}", {**value, name: changed}) for path, changed in _hostile(item))


def _orders(airflow: Airflow) -> dict[str, tuple[str, dict[str, Any]]]:
    """A run for every place of every param of every DAG."""
    usual = {"tenable_to_security_hub": airflow.account(role="TenableSecurityHubImport")}
    # What a destination may have is what this one has: a further field must be put into it.
    [entry] = usual["tenable_to_security_hub"]["destinations"]
    with_region = dict(entry)
    # A destination has one Region or several.
    entry.update(
        external_id=None, exclude_accounts=[airflow.sandbox.accounts[1]], regions=[entry["region"]], region=None
    )
    entry["scope"] = {"plugin_families": ["General"]}
    parsed = parse_destinations([entry])[0]
    assert set(entry) == {
        name for name in parsed.__struct_fields__ if name not in ("caller_account", "connection_region", "partition")
    }
    orders = {}
    for file in FILES:
        params = runpy.run_path(str(file))["dag"].params
        conf = usual.get(file.stem, {})
        for name in params:
            for path, value in _hostile(conf.get(name, params[name])):
                orders[f"{file.stem}: {name}{path}"] = (file.stem, {**conf, name: value})
        if conf:
            orders[f"{file.stem}: region alone"] = (
                file.stem,
                {**conf, "destinations": [{**with_region, "region": TEMPLATE}]},
            )
        orders[f"{file.stem}: a param that there is not"] = (file.stem, {**conf, TEMPLATE: TEMPLATE})
    return orders


def test_template_in_any_param_of_any_dag_is_refused_before_anything_is_asked_of_anyone(airflow: Airflow) -> None:
    orders = _orders(airflow)
    assert len(orders) >= 25
    outcomes = dict(zip(orders, airflow.runs.run(*orders.values(), retries=0), strict=True))
    assert {name: each.state for name, each in outcomes.items() if each.state not in ("refused", "failed")} == {}
    unclear = [
        name
        for name, each in outcomes.items()
        if "ParamValidationError" not in each.output and "AirflowFailException" not in each.output
    ]
    assert unclear == [], outcomes[unclear[0]].errors
    # Airflow itself cannot refuse all of them.
    assert sum(each.state == "failed" for each in outcomes.values()) >= 8
    assert airflow.sandbox.jobs() == {"created": 0, "running": 0, "cancelled": 0}
    assert airflow.sandbox.aws("stats")["calls"].get("AssumeRole", 0) == 0
    assert airflow.leaks(**outcomes) == []
