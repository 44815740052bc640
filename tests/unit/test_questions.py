"""docs/questions.md and the index of docs/troubleshooting.md: figures, hosts, examples and tasks are the code's."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable._compat import DAG
from airflow_provider_tenable.run.conf import check_conf
from airflow_provider_tenable.run.form import import_params
from airflow_provider_tenable.run.ledger import GoneCounts, Ledger
from airflow_provider_tenable.transform.destinations import parse_destinations
from tests.docs_examples import blocks

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "questions.md"
TEXT = PAGE.read_text()
SENDERS = [code for code in blocks(PAGE, "python") if "def to_security_team(" in code]


def _sender(word: str) -> Any:
    [code] = [code for code in SENDERS if word in code]
    namespace: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), namespace)
    return namespace["to_security_team"]


def test_times_of_five_million_findings_follow_from_the_page_on_scaling() -> None:
    findings, scaling = 5_000_000, (ROOT / "docs" / "scaling.md").read_text()
    rows = dict(re.findall(r"^\| (.+?) +\| ([\d.]+ (?:min|s|GB)) +\|$", TEXT, re.M))
    [a_second] = re.findall(r"accepts ([\d,]+) findings a second per account and Region", scaling)
    seconds = findings / int(a_second.replace(",", ""))
    assert rows["import into one account and Region"] == f"{seconds / 60:.0f} min"
    assert rows["into 10, evenly filled"] == f"{seconds / 600:.1f} min"
    assert rows["into 100, evenly filled"] == f"{seconds / 100:.0f} s"
    assert "allow 2 KB of staging space per finding" in " ".join(scaling.split())
    assert rows["staging at 2 KB a finding"] == f"{findings * 2 // 10**6} GB"


def test_every_service_that_the_package_calls_is_among_the_hosts() -> None:
    section = TEXT.split("## What leaves my network?")[1].split("## ")[0]
    code = "".join(path.read_text() for path in (ROOT / "airflow_provider_tenable").rglob("*.py"))
    services = set(re.findall(r"(?:client|call)\(\s*\"([a-z0-9]+)\"", code)) | {"securityhub", "s3"}
    assert {"sts", "ec2", "iam"} <= services
    assert [name for name in sorted(services) if not re.search(rf"`{name}[.`]", section)] == []
    assert "cloud.tenable.com" in section


def test_fields_of_the_ledger_that_the_page_names_exist() -> None:
    for path in re.findall(r"jq '\.(\w+)' ledger", TEXT):
        assert path in Ledger.__annotations__
    assert "`gone.archived`" in TEXT
    assert "archived" in GoneCounts.__annotations__


def test_runs_that_the_page_triggers_have_params_that_the_dag_accepts() -> None:
    confs = [json.loads(words[words.index("--conf") + 1]) for words in map(shlex.split, blocks(PAGE, "bash"))]
    assert len(confs) == 2
    for conf in confs:
        params = {name: param.resolve(conf.get(name, param.value)) for name, param in import_params().items()}
        check_conf({"dag_run": types.SimpleNamespace(conf=conf, dag_id="x"), "params": params}, params)
        assert params["dry_run"] is True
        assert parse_destinations(params["destinations"])


def test_mail_example_sends_a_text_that_stays_text(monkeypatch: pytest.MonkeyPatch) -> None:
    smtp = pytest.importorskip("airflow.providers.smtp.hooks.smtp")
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(smtp.SmtpHook, "__enter__", lambda self: self)
    monkeypatch.setattr(smtp.SmtpHook, "__exit__", lambda *_: None)
    monkeypatch.setattr(smtp.SmtpHook, "send_email_smtp", lambda self, **arguments: sent.append(arguments))
    _sender("SmtpHook")("3 findings rejected", "a <b>finding</b>")
    assert sent == [
        {
            "to": "security@example.com",
            "subject": "3 findings rejected",
            "html_content": "<pre>a &lt;b&gt;finding&lt;/b&gt;</pre>",
        }
    ]


def test_slack_example_posts_to_the_path_in_the_connections_password(monkeypatch: pytest.MonkeyPatch) -> None:
    http = pytest.importorskip("airflow.providers.http.hooks.http")
    sent: list[dict[str, Any]] = []
    uri = {"conn_type": "http", "host": "https://hooks.slack.com", "password": "services/T0/B0/secret"}
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_WEBHOOK", json.dumps(uri))
    monkeypatch.setattr(http.HttpHook, "run", lambda self, **arguments: sent.append({**arguments, "how": self.method}))
    _sender("HttpHook")("subject", "x" * 5_000)
    [message] = sent
    assert (message["endpoint"], message["how"]) == ("services/T0/B0/secret", "POST")
    # Slack refuses longer texts.
    assert len(message["json"]["text"]) < 4_000


def test_sns_example_is_that_of_the_page_on_operators() -> None:
    [code] = [code for code in SENDERS if "SnsHook" in code]
    assert code.strip() in (ROOT / "docs" / "operators.md").read_text()


def test_example_of_several_containers_makes_dags_of_their_own() -> None:
    [code] = [code for code in blocks(PAGE, "python") if "tenable_replay_rejected(" in code]
    module = types.ModuleType("containers")
    sys.modules["containers"] = module
    exec(compile(code, str(PAGE), "exec"), module.__dict__)
    dags = {name: value for name, value in vars(module).items() if isinstance(value, DAG)}
    assert sorted(dags) == ["tenable_apac", "tenable_apac_replay", "tenable_emea", "tenable_emea_replay"]
    assert dags["tenable_emea_replay"].params["dag_id"] == "tenable_emea"


#: Tasks that only decide or mark something: they have no errors of their own.
_SILENT = {"with_scanner", "choose", "deletes"}


@pytest.mark.parametrize("path", sorted((ROOT / "dags").glob("*.py")), ids=lambda path: path.stem)
def test_every_task_is_in_the_index_of_the_troubleshooting_page(path: Path) -> None:
    index = (ROOT / "docs" / "troubleshooting.md").read_text().split("## By task")[1].split("## By message")[0]
    rows = [row.split(" | ") for row in index.splitlines() if row.startswith("| ")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    [dag] = {id(found): found for found in runpy.run_path(str(path)).values() if isinstance(found, DAG)}.values()
    tasks = {task_id.rpartition(".")[2] for task_id in dag.task_ids}
    assert tasks - named - _SILENT == set()
