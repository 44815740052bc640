"""README and docs: links lead somewhere, options and params are all there, messages are real, examples run."""

from __future__ import annotations

import ast
import importlib
import json
import re
import runpy
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS
from airflow_provider_tenable.config import OPTIONS, dag_params
from airflow_provider_tenable.provider_info import get_provider_info
from airflow_provider_tenable.run.ages import HubsEntry
from airflow_provider_tenable.run.aws_audit import AWS_AUDIT
from airflow_provider_tenable.run.compliance_params import COMPLIANCE
from airflow_provider_tenable.run.first_run import is_held_back
from airflow_provider_tenable.run.ledger import GoneCounts, Ledger
from airflow_provider_tenable.run.params import AUDIT, IMPORT, REPLAY, TAKE_OVER, rows
from airflow_provider_tenable.run.scan import SCAN
from airflow_provider_tenable.run.scanner import SCANNER
from airflow_provider_tenable.run.status import Status
from airflow_provider_tenable.run.was_params import WAS
from airflow_provider_tenable.staging.layout import RunFolder
from tests.docs_examples import blocks, executable

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted(DOCS.glob("*.md"))]
_OPERATORS_PAGE = (DOCS / "operators.md").read_text()
DAGS = sorted((ROOT / "dags").glob("*.py"))


def without_code(text: str) -> str:
    return re.sub(r"^( *)```.*?^\1```", "", text, flags=re.M | re.S)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", without_code(path.read_text()), re.M):
        text = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
        found.add(text.strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name}: {target}"
        assert ROOT in path.parents
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{page.name}: {target}"


def test_every_picture_is_shown() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    assert [
        image.name for image in sorted((ROOT / "docs" / "images").iterdir()) if f"(images/{image.name})" not in pages
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_that_are_named_exist(page: Path) -> None:
    for name in re.findall(r"`((?:scripts|deploy|dags|constraints|sandbox|tests)/[\w./-]+\w)`", page.read_text()):
        assert (ROOT / name).exists() or name == "deploy/docker/.env", f"{page.name}: {name}"


@pytest.mark.parametrize(
    "name",
    [
        "standalone",
        "docker",
        "celery-kubernetes",
        "mwaa",
        "connections",
        "params",
        "operators",
        "scans",
        "scanners",
        "operating",
        "troubleshooting",
        "coming-from-tvm2aws",
    ],
)
def test_there_is_a_page_for(name: str) -> None:
    assert len((DOCS / f"{name}.md").read_text()) > 1000


def test_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\(docs/([\w-]+)\.md\)", (ROOT / "README.md").read_text()))
    assert linked == {page.stem for page in DOCS.glob("*.md")}


@pytest.mark.parametrize("layer", ["hooks", "operators", "sensors"])
def test_every_class_is_in_the_table_of_operators(layer: str) -> None:
    listed = re.findall(r"^\| (`.*?`) \| `airflow_provider_tenable\.([\w.]+)` \|", _OPERATORS_PAGE, re.M)
    described = {(module, name) for names, module in listed for name in re.findall(r"`(\w+)`", names)}
    assert _classes(layer) <= described


def _classes(layer: str) -> set[tuple[str, str]]:
    """Module -> class, of the hooks, operators and sensors that provider_info names."""
    suffix = layer.removesuffix("s").title()
    return {
        (module.removeprefix("airflow_provider_tenable."), name)
        for entry in get_provider_info()[layer]
        for module in entry["python-modules"]
        for name, found in vars(importlib.import_module(module)).items()
        if name.endswith(suffix) and found.__module__ == module
    }


def table(page: Path, heading: str) -> dict[str, list[str]]:
    """First cell, without its backticks -> the other cells of the first table below a heading."""
    section = page.read_text().split(f"## {heading}\n", 1)[1]
    rows = re.findall(r"^\| `([^`]+)` \|(.*)\|$", re.split(r"^## ", section, flags=re.M)[0].split("\n###")[0], re.M)
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in rows}


def test_every_option_is_documented_with_its_default() -> None:
    rows = table(DOCS / "params.md", "Options")
    assert set(rows) == set(OPTIONS)
    for name, option in OPTIONS.items():
        if option.default:
            assert rows[name][0] == f"`{option.default}`", name


TABLES = {
    "tenable_to_security_hub": IMPORT,
    "tenable_audit_security_hub": AUDIT,
    "tenable_take_over": TAKE_OVER,
    "tenable_compliance_to_security_hub": COMPLIANCE,
    "tenable_was_to_security_hub": WAS,
    "tenable_replay_rejected": REPLAY,
    "tenable_scan": SCAN,
    "tenable_aws_audit": AWS_AUDIT,
    "tenable_scanner_ec2": SCANNER,
}


@pytest.mark.parametrize("dag_id", TABLES)
def test_every_param_is_documented_as_its_table_says(dag_id: str) -> None:
    section = (DOCS / "params.md").read_text().split(f"## Params of `{dag_id}`\n", 1)[1]
    assert section.lstrip("\n").split("\n\n")[0].splitlines() == rows(TABLES[dag_id])


@pytest.mark.parametrize("dag_id", TABLES)
def test_every_dag_has_the_params_of_its_table(dag_id: str) -> None:
    made = runpy.run_path(str(ROOT / "dags" / f"{dag_id}.py"))["dag"].params
    params = {name: made.get_param(name) for name in made}
    assert list(params) == list(TABLES[dag_id])
    for name, stated in TABLES[dag_id].items():
        assert params[name].value == stated.default
        assert params[name].description == stated.help.replace("`", "")
        assert {**stated.schema, "title": stated.title}.items() <= params[name].schema.items()


def test_every_dag_is_documented() -> None:
    # docs/requirements.md documents the one that has no params.
    assert {path.stem for path in DAGS} == {*TABLES, "tenable_requirements"}


def test_json_examples_of_params_are_accepted() -> None:
    from airflow_provider_tenable.run.params import DEFAULTS, parse_settings
    from airflow_provider_tenable.transform.destinations import parse_destinations

    examples = [json.loads(text) for text in blocks(DOCS / "params.md", "json")]
    assert examples
    for example in examples:
        parse_settings(example)
        parse_destinations(example.get("destinations", DEFAULTS["destinations"]))
        # A misspelt param would pass both.
        assert set(example) <= set(DEFAULTS)


def _connection(value: str) -> Any:
    from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS

    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk import Connection
    else:
        from airflow.models.connection import Connection
    if value.startswith("{"):
        return (
            Connection.from_json(value, conn_id="c")
            if not AIRFLOW_V_3_0_PLUS
            else _from_dict(Connection, json.loads(value))
        )
    return Connection.from_uri(value, conn_id="c") if hasattr(Connection, "from_uri") else _from_old_uri(value)


def _from_dict(cls: Any, fields: dict[str, Any]) -> Any:
    extra = fields.pop("extra", None)
    return cls(conn_id="c", **fields, extra=json.dumps(extra) if isinstance(extra, dict) else extra)


def _from_old_uri(value: str) -> Any:
    from airflow.models.connection import Connection

    return Connection(conn_id="c", uri=value)


def _exports(page: Path) -> list[tuple[str, str]]:
    found = []
    for block in blocks(page, "bash"):
        for word in shlex.split(block, comments=True):
            name, mark, value = word.partition("=")
            if mark and name.startswith("AIRFLOW_CONN_"):
                found.append((name, value))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_connection_in_the_docs_can_be_used(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_tenable.hooks.tenable import arguments_of

    monkeypatch.setenv("TIO_ACCESS_KEY", "the-access-key")
    monkeypatch.setenv("TIO_SECRET_KEY", "the-secret-key")
    for name, value in _exports(page):
        connection = _connection(value)
        if connection.conn_type == "tenable":
            arguments = arguments_of(connection, name)
            assert (arguments["access_key"], arguments["secret_key"]) == ("the-access-key", "the-secret-key")
            assert arguments["url"] in (
                "https://cloud.tenable.com",
                "https://fedcloud.tenable.com",
                "http://sandbox:8741",
            )
        else:
            assert connection.conn_type == "aws"
            assert isinstance(connection.extra_dejson, dict)


def test_connection_page_shows_every_way() -> None:
    values = [value for _, value in _exports(DOCS / "connections.md")]
    assert any(value.startswith("tenable://") for value in values)
    assert any("timeout" in value for value in values)
    text = (DOCS / "connections.md").read_text()
    assert all(
        word in text
        for word in (
            "airflow connections add",
            "SecretsManagerBackend",
            "TIO_ACCESS_KEY",
            "TIO_SECRET_KEY",
            "verify",
            "proxies",
            "timeout",
            "allow_http",
        )
    )


def _texts(paths: list[Path]) -> list[str]:
    """Every text in the source, with … for what is filled in."""
    found = []
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


TEXTS = _texts([*(ROOT / "airflow_provider_tenable").rglob("*.py"), *DAGS])
MESSAGES = re.findall(r"^### `(.+)`$", (DOCS / "troubleshooting.md").read_text(), re.M)


@pytest.mark.parametrize("message", MESSAGES)
def test_message_of_the_troubleshooting_page_is_one_of_the_package(message: str) -> None:
    pattern = re.compile(".*".join(re.escape(piece.strip(" ")) for piece in message.split("…")), re.S)
    assert any(pattern.search(text) for text in TEXTS), message


def test_troubleshooting_has_the_messages_that_users_can_mend() -> None:
    assert len(MESSAGES) >= 40
    assert len(set(MESSAGES)) == len(MESSAGES)


OPERATOR_EXAMPLES = [
    code
    for page in (DOCS / "operators.md", DOCS / "scanners.md", ROOT / "README.md")
    for code in blocks(page, "python")
]


def _run(code: str) -> dict[str, Any]:
    module = types.ModuleType("example")
    sys.modules["example"] = module
    exec(compile(executable(code), "docs/operators.md", "exec"), module.__dict__)
    return module.__dict__


@pytest.mark.parametrize("number", range(len(OPERATOR_EXAMPLES)))
def test_example_runs(number: int) -> None:
    _run(OPERATOR_EXAMPLES[number])


def _example(name: str) -> Any:
    return _run(next(code for code in OPERATOR_EXAMPLES if f"def {name}(" in code))[name]


def test_export_example_is_a_dag_with_a_deferrable_export() -> None:
    made = _example("critical_findings")()
    assert made.task_ids == ["export", "look"]
    export = made.get_task("export")
    assert export.deferrable
    assert export.retries == 2
    assert made.get_task("look").upstream_task_ids == {"export"}


def test_example_of_waiting_hands_the_export_on() -> None:
    made = _example("second_reader")()
    assert made.get_task("wait_for_export").deferrable
    assert made.get_task("count").upstream_task_ids == {"wait_for_export"}


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 has no asset watchers")
def test_example_of_watching_a_scan_is_a_dag_that_its_asset_starts() -> None:
    [code] = [code for code in blocks(DOCS / "scans.md", "python") if "watched_scan" in code]
    assert "tenable://scan/Nightly" in str(_run(code)["after_nightly"]().timetable.asset_condition)


def test_readmes_example_is_a_dag_with_a_deferrable_export() -> None:
    made = _example("critical_vulnerabilities")()
    assert made.get_task("export").deferrable
    assert made.get_task("look").upstream_task_ids == {"export"}


def test_readme_is_short_and_shows_every_connection_form() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.encode()) < 9000
    for _, value in _exports(ROOT / "README.md"):
        assert _connection(value).conn_type == "tenable"
    assert len(_exports(ROOT / "README.md")) == 2


def test_example_reads_what_an_export_stages(tmp_path: Path) -> None:
    from airflow_provider_tenable.export.state import ExportState
    from airflow_provider_tenable.export.store import StagedExport
    from airflow_provider_tenable.staging.location import open_path

    store = StagedExport(open_path(f"file://{tmp_path}"), "vulnerabilities")
    records = [("critical", "a"), ("high", "b"), ("critical", "c")]
    part = store.put(
        "0000", 0, store.encode([json.dumps([{"severity": s, "asset": {"hostname": h}} for s, h in records]).encode()])
    )
    store.save(ExportState("vulnerabilities", {}, 0.0, complete=True, parts={"0": part}))
    assert _example("vulnerabilities")({"folder": f"file://{tmp_path}"}) == {"a", "c"}


def test_example_reads_staged_assets_as_a_table(tmp_path: Path) -> None:
    from airflow_provider_tenable.export.store import StagedExport
    from airflow_provider_tenable.staging.location import open_path

    store = StagedExport(open_path(f"file://{tmp_path}"), "assets")
    for number, ids in enumerate((["a", "b"], ["c"])):
        store.put("0000", number, store.encode([json.dumps([{"id": each} for each in ids]).encode()]))
    assert list(_example("assets")(f"file://{tmp_path}")["id"]) == ["a", "b", "c"]


def test_example_sends_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_tenable.hooks.security_hub import SecurityHubHook

    sent: list[Any] = []
    monkeypatch.setattr(SecurityHubHook, "preflight", lambda self, product, **_: sent.append(product))
    monkeypatch.setattr(
        SecurityHubHook, "import_batch", lambda self, lines: sent.extend(lines) or {"FailedFindings": [{"Id": "x"}]}
    )
    assert _example("send")([{"Id": "x"}], account="111122223333", region="eu-west-1") == [{"Id": "x"}]
    assert sent == ["default", b'{"Id": "x"}']


def test_example_reads_findings_back_with_filters_of_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.validate import ParamValidator

    from airflow_provider_tenable.hooks.security_hub import SecurityHubHook

    used: list[dict[str, Any]] = []

    def pages(self: SecurityHubHook, filters: dict[str, Any]) -> list[list[dict[str, str]]]:
        used.append(filters)
        return [[{"Id": "one"}, {"Id": "two"}], [{"Id": "three"}]]

    monkeypatch.setattr(SecurityHubHook, "get_findings", pages)
    assert _example("suppressed")(account="111122223333", region="eu-west-1") == ["one", "two", "three"]
    shape = botocore.session.get_session().get_service_model("securityhub").operation_model("GetFindings").input_shape
    assert not ParamValidator().validate({"Filters": used[0]}, shape).has_errors()


def test_example_asks_tenable(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_tenable.hooks.tenable import TenableHook

    client = types.SimpleNamespace(scanners=types.SimpleNamespace(list=lambda: [{"name": "one"}]))
    monkeypatch.setattr(TenableHook, "get_conn", lambda self: client)
    assert _example("scanners")() == ["one"]


def _policies() -> list[str]:
    return [code for code in OPERATOR_EXAMPLES if "def task_policy(" in code]


def test_notifier_example_sends_by_sns(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.amazon.aws.hooks.sns import SnsHook

    published: list[dict[str, str]] = []
    monkeypatch.setattr(SnsHook, "publish_to_target", lambda self, **arguments: published.append(arguments))
    _run(_policies()[0])["to_security_team"]("3 findings rejected", "the text")
    assert published == [
        {
            "target_arn": "arn:aws:sns:eu-west-1:111122223333:security",
            "message": "the text",
            "subject": "3 findings rejected",
        }
    ]


def test_policy_examples_reach_the_tasks_when_airflow_reads_the_dag(tmp_path: Path) -> None:
    """Both in one file, as Airflow finds it in its home; in a process of its own, since Airflow reads it once."""
    import os
    import subprocess

    first, second = _policies()
    settings = tmp_path / "config" / "airflow_local_settings.py"
    settings.parent.mkdir()
    renamed = [first.replace("def task_policy(", "def notify("), second.replace("def task_policy(", "def pool(")]
    settings.write_text("\n\n".join([*renamed, "def task_policy(task):\n    notify(task)\n    pool(task)\n"]))
    code = (
        "import json\n"
        "try:\n    from airflow.dag_processing.dagbag import DagBag\n"
        "except ImportError:\n    from airflow.models.dagbag import DagBag\n"
        f"bag = DagBag(dag_folder={str(ROOT / 'dags' / 'tenable_to_security_hub.py')!r})\n"
        "dag = bag.dags['tenable_to_security_hub']\n"
        "calls = [dag.get_task('settle').on_success_callback, dag.get_task('settle').on_failure_callback]\n"
        "names = [[type(each).__name__ for each in (call if isinstance(call, (list, tuple)) else [call])] for call in "
        "calls]\n"
        "print(json.dumps([names, {each.task_id: each.pool for each in dag.tasks}]))"
    )
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    names, pools = json.loads(done.stdout.splitlines()[-1])
    assert names == [["RejectedFindingsNotifier"]] * 2
    assert {task for task, pool in pools.items() if pool == "security_hub"} == {"transform", "import_findings"}
    assert pools["export_assets"] == "default_pool"


def test_import_example_is_started_by_the_asset_and_looks_at_what_was_imported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from airflow_provider_tenable.run.asset_event import imported_findings

    made = _example("after_import")()
    uri = "tenable://security-hub/tenable_to_security_hub"
    condition = made.timetable.asset_condition if AIRFLOW_V_3_0_PLUS else made.timetable.dataset_condition
    assert [asset.uri for asset in condition.objects] == [uri]
    key = ("triggering_asset_events", imported_findings()) if AIRFLOW_V_3_0_PLUS else ("triggering_dataset_events", uri)
    events = [
        types.SimpleNamespace(extra={"ledger": "x", "run_id": name}, timestamp=at)
        for name, at in (("second", 2), ("first", 1))
    ]
    by_hand = types.SimpleNamespace(extra={}, timestamp=0)
    made.get_task("look").python_callable(**{key[0]: {_Key(key[1]): [*events, by_hand]}})
    assert re.findall(r'"run_id": "(\w+)"', capsys.readouterr().out) == ["first", "second"]
    made.get_task("look").python_callable()
    assert capsys.readouterr().out == ""


class _Key:
    """Stands for an asset as a key: those of 3.0 cannot be one."""

    def __init__(self, asset: Any) -> None:
        self.asset = asset


def test_template_example_maps_the_import_over_assignments() -> None:
    from airflow_provider_tenable._compat import DAG, BaseOperator

    with DAG("example", schedule=None):
        mapped = _example("import_findings")(BaseOperator(task_id="plan_imports").output)
    assert list(mapped._get_specified_expand_input().value) == ["assignment"]
    assert mapped.upstream_task_ids == {"plan_imports"}


def test_templated_fields_are_those_of_the_classes() -> None:
    from airflow_provider_tenable.operators.asff import TenableToAsffOperator
    from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
    from airflow_provider_tenable.operators.tenable import TenableExportOperator

    text = " ".join((DOCS / "operators.md").read_text().split("## Arguments")[1].split())
    for name, cls in {
        "export": TenableExportOperator,
        "transform": TenableToAsffOperator,
        "import": SecurityHubImportFindingsOperator,
    }.items():
        (fields,) = re.findall(rf"- {name}: (.*?)[;.]", text)
        assert set(re.findall(r"`(\w+)`", fields)) == set(cls.template_fields)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_shell_examples_can_be_parsed(page: Path) -> None:
    import subprocess

    for block in blocks(page, "bash"):
        done = subprocess.run(
            ["bash", "-n"],
            input=block.replace("{staging_path}", "x").replace("{run_id}", "y"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{page.name}: {block}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_aws_commands_name_operations_that_exist(page: Path) -> None:
    session = botocore.session.get_session()
    for service, command in re.findall(r"(?<![\w-])aws ([a-z0-9]+) ([a-z][a-z-]+)", " ".join(blocks(page, "bash"))):
        if service == "s3":
            assert command in ("cp", "sync")
            continue
        if (service, command) == ("cloudformation", "deploy"):
            continue  # the command line's own, made of change sets
        model = session.get_service_model("s3" if service == "s3api" else service)
        names = {re.sub(r"[^a-z]", "", name.lower()) for name in model.operation_names}
        if service == "mwaa" and command == "invoke-rest-api" and "invokerestapi" not in names:
            pytest.skip("this botocore is older than that call")
        assert command.replace("-", "") in names, f"aws {service} {command}"


def test_json_and_yaml_examples_can_be_parsed() -> None:
    import yaml

    for page in PAGES:
        for block in blocks(page, "json"):
            json.loads(block)
        for block in blocks(page, "yaml"):
            yaml.safe_load(block)


def _backend_arguments() -> list[dict[str, Any]]:
    """The arguments of the secrets backend in mwaa.md: in an example of their own, and inside the environment's
    options.
    """
    examples = [json.loads(block) for block in blocks(DOCS / "mwaa.md", "json")]
    return [
        json.loads(example["secrets.backend_kwargs"]) if "secrets.backend_kwargs" in example else example
        for example in examples
    ]


@pytest.mark.parametrize("number", range(2))
def test_mwaa_secrets_backend_gives_the_connection_and_never_the_watermark(number: int) -> None:
    from airflow.providers.amazon.aws.secrets.secrets_manager import SecretsManagerBackend

    asked: list[str] = []

    def get_secret_value(**request: str) -> dict[str, str]:
        asked.append(request["SecretId"])
        return {"SecretString": '{"conn_type": "tenable"}' if "connections" in request["SecretId"] else "5"}

    arguments = _backend_arguments()[number]
    backend = SecretsManagerBackend(**arguments)
    backend.__dict__["client"] = types.SimpleNamespace(get_secret_value=get_secret_value)
    assert "tenable" in str(backend.get_conn_value("tenable_default"))
    assert asked == ["airflow/connections/tenable_default"]
    assert backend.get_variable("tenable_to_security_hub__since") is None
    assert len(asked) == 1
    assert backend.get_variable("another") == (None if arguments["variables_prefix"] is None else "5")


def first_scheduled_run_is_dry(options: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a deployment with these options of section [tenable] sends nothing when its DAG is switched on."""
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__TENABLE__{name.upper()}", value)
    run = RunFolder(f"file://{folder}", "tenable_to_security_hub", "scheduled__1")
    return dag_params().get("dry_run", False) or is_held_back(run, run_type="scheduled", mark=None, source="a Tenable")


def test_mwaa_options_are_texts_and_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [example] = [
        example for example in map(json.loads, blocks(DOCS / "mwaa.md", "json")) if "secrets.backend" in example
    ]
    assert all(isinstance(value, str) for value in example.values())
    for name, value in example.items():
        section, _, option = name.partition(".")
        assert section != "tenable" or option in OPTIONS
        if value.startswith("{"):
            json.loads(value)
    # Its first scheduled run is a look: nothing that the page sets lets it send.
    options = {name.removeprefix("tenable."): value for name, value in example.items() if name.startswith("tenable.")}
    assert first_scheduled_run_is_dry(options, tmp_path, monkeypatch)


def test_a_first_run_by_the_standalone_page_sends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / "standalone.md").read_text()
    before, _, later = text.partition("Then let it send.")
    assert "airflow dags unpause" in before
    assert "__since" not in before
    options = dict(re.findall(r"^export AIRFLOW__TENABLE__(\w+)='?(.*?)'?$", before, re.M))
    assert first_scheduled_run_is_dry(options, tmp_path, monkeypatch)
    assert not first_scheduled_run_is_dry({**options, "first_scheduled_run": "send"}, tmp_path, monkeypatch), (
        "the control"
    )
    assert "airflow dags trigger tenable_to_security_hub\n" in later


SWITCHING_ON = [
    ROOT / "README.md",
    *(DOCS / f"{name}.md" for name in ("standalone", "docker", "mwaa", "coming-from-tvm2aws")),
]


def said_of_switching_on(page: Path) -> str:
    """What a page says of it: a quotation, with its lines joined."""
    match = re.search(r"^ *> \*\*Switching the DAG on(?:.*\n)(?: *>.*\n)+", page.read_text(), re.M)
    assert match, page.name
    return " ".join(line.strip().lstrip("> ") for line in match[0].splitlines())


def test_every_page_says_the_same_of_switching_the_dag_on() -> None:
    said = {said_of_switching_on(page) for page in SWITCHING_ON}
    assert len(said) == 1
    [text] = said
    for words in (
        "starts its scheduled run at once",
        "so does the trigger form",
        "its scheduled runs are dry runs",
        "starts a real run",
    ):
        assert words in text
    # Names as in the code; what they do, test_first_run.py, test_dags.py and tests/system/test_scheduler.py hold.
    assert (
        set(re.findall(r"`\[tenable\] (\w+) = \w+`", text)) == {"schedule_hours", "first_scheduled_run"} <= set(OPTIONS)
    )
    assert OPTIONS["first_scheduled_run"].default == "dry"


def test_no_page_has_a_deployment_send_before_somebody_has_looked() -> None:
    setting = re.compile(r"""(FIRST_SCHEDULED_RUN['"]?[ ]*[=:]|tenable\.first_scheduled_run['"` |:=]+)[ '"{]*send""")
    assert setting.search("AIRFLOW__TENABLE__FIRST_SCHEDULED_RUN: send")
    assert setting.search('"tenable.first_scheduled_run": "send"')
    files = [*PAGES, ROOT / "docker-compose.yaml", *(path for path in (ROOT / "deploy").rglob("*") if path.is_file())]
    assert [path.name for path in files if setting.search(path.read_text())] == []


def test_triggerer_of_a_team_is_started_as_the_page_says() -> None:
    from airflow.cli import cli_config

    assert "`airflow triggerer --team-name`" in (DOCS / "celery-kubernetes.md").read_text()
    # Airflow knows teams from 3.2 on.
    option = getattr(cli_config, "ARG_TRIGGERER_TEAM_NAME", None)
    assert option is None or "--team-name" in option.flags


def test_connection_page_names_the_rights_on_the_key_of_the_staging_bucket() -> None:
    policy = json.loads((ROOT / "deploy" / "iam" / "kms.json").read_text())
    (of_staging,) = (each for each in policy["Statement"] if each["Sid"] == "UseTheKeyOfTheStagingBucket")
    section = (DOCS / "connections.md").read_text().split("## Staging", 1)[1].split("\n## ", 1)[0]
    assert all(f"`{action}`" in section for action in of_staging["Action"])


def test_every_page_about_deployments_says_that_a_staging_path_belongs_to_one() -> None:
    assert "no other deployment uses" in (DOCS / "celery-kubernetes.md").read_text()
    assert "belongs to another deployment" in (DOCS / "troubleshooting.md").read_text()
    assert "__owner" in (DOCS / "mwaa.md").read_text()


#: Read by people: all pages, the texts of a deployment, and what Airflow's and PyPI's lists show.
READ_BY_PEOPLE = [
    *PAGES,
    ROOT / "CHANGELOG.md",
    ROOT / ".airflow-registry.yaml",
    ROOT / "pyproject.toml",
    *sorted((ROOT / "deploy").rglob("*.yaml")),
]
#: Parts of a text: the key of a link in Airflow's API, and a line below the report's title.
NOT_FIRST = {"Findings in Security Hub", "Accepted by Security Hub"}
_HUB = re.compile(r"(?<!the new AWS )Security Hub(?! CSPM)")


def first_mention(text: str) -> str:
    """Where a text first speaks of Security Hub, if it does not say there which one; empty if it does."""
    flat = re.sub(r"\s+#? *", " ", text)
    hub, found = flat.find("Security Hub CSPM"), _HUB.search(flat)
    return flat[found.start() - 60 : found.end()] if found and not 0 <= hub < found.start() else ""


@pytest.mark.parametrize("path", READ_BY_PEOPLE, ids=lambda path: path.name)
def test_texts_say_security_hub_cspm_first(path: Path) -> None:
    """AWS has a newer service named Security Hub, which does not accept findings of other products."""
    assert first_mention(path.read_text()) == ""


def test_first_mention_is_found() -> None:
    assert first_mention("In Security Hub. Or Security Hub CSPM.").endswith("In Security Hub")
    assert first_mention("In Security\nHub CSPM, and then in Security Hub.") == ""
    assert first_mention("Only the new AWS Security Hub is on.") == ""
    assert first_mention("TenableToSecurityHub") == ""


@pytest.mark.parametrize(
    "path",
    [*sorted((ROOT / "airflow_provider_tenable").rglob("*.py")), *DAGS],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_messages_and_forms_say_security_hub_cspm_first(path: Path) -> None:
    """The docstrings of the DAG files count too: Airflow shows them."""
    tree = ast.parse(path.read_text())
    passed: set[ast.AST] = set()
    found = []
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and path not in DAGS:
            passed.add(body[0].value)
        if node in passed:
            continue
        if isinstance(node, ast.JoinedStr):
            passed.update(node.values)
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if text not in NOT_FIRST and first_mention(text):
            found.append(first_mention(text))
    assert found == []


def test_what_an_auditor_is_told_to_read_is_in_the_files() -> None:
    section = (DOCS / "operating.md").read_text().split("## Questions of an auditor\n", 1)[1].split("\n## ", 1)[0]
    known = {"STATUS": Status.__annotations__, "LEDGER": Ledger.__annotations__}
    asked = re.findall(r"`jq '([^']+)' (STATUS|LEDGER)`", section)
    assert len(asked) >= 8
    for paths, file in asked:
        for path in paths.split(","):
            first, *rest = path.strip().removeprefix(".").split(".")
            assert first in known[file], path
            inner = {"hubs": HubsEntry.__annotations__, "gone": GoneCounts.__annotations__}.get(first, {})
            assert set(rest) <= set(inner), path
    for option in re.findall(r"\[tenable\] (\w+)|get-value tenable (\w+)", section):
        assert next(filter(None, option)) in OPTIONS
