"""What Airflow knows of the provider once it is installed, and what its DAG file costs to parse."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent.parent
DAG_FILE = ROOT / "dags" / "tenable_to_security_hub.py"


def _python(code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_airflow_discovers_provider_connection_type_and_options() -> None:
    found = json.loads(
        _python(
            "import json\n"
            "from airflow.providers_manager import ProvidersManager\n"
            "manager = ProvidersManager()\n"
            "hook = manager.hooks['tenable']\n"
            "print(json.dumps({'version': manager.providers['airflow-provider-tenable'].version, 'hook': "
            "hook.hook_class_name, 'name': hook.hook_name, 'options': "
            "sorted(dict(manager.provider_configs)['airflow-provider-tenable']['tenable']['options']), 'links': [each "
            "for each in manager.extra_links_class_names if 'tenable' in each]}))"
        ).splitlines()[-1]
    )
    assert found["version"]
    assert found["hook"] == "airflow_provider_tenable.hooks.tenable.TenableHook"
    assert found["name"] == "Tenable Vulnerability Management"
    assert {"staging_path", "schedule_hours", "dag_params"} <= set(found["options"])
    assert sorted(found["links"]) == [
        "airflow_provider_tenable.links.nessus_ec2.NessusInstanceLink",
        "airflow_provider_tenable.links.security_hub.SecurityHubFindingsLink",
        "airflow_provider_tenable.links.tenable.TenableScanLink",
        "airflow_provider_tenable.links.tenable.TenableScannersLink",
    ]


def test_dag_files_parse_without_an_import_error() -> None:
    # As Airflow parses them: an import of a file does not show what only a DAG's validation refuses.
    code = (
        "import json\n"
        "try:\n    from airflow.dag_processing.dagbag import DagBag\n"
        "except ImportError:\n    from airflow.models.dagbag import DagBag\n"
        f"bag = DagBag(dag_folder={str(ROOT / 'dags')!r})\n"
        "print(json.dumps([sorted(bag.dags), bag.import_errors]))"
    )
    dags, errors = json.loads(_python(code).splitlines()[-1])
    assert errors == {}
    assert dags == sorted(path.stem for path in (ROOT / "dags").glob("*.py"))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ('{"severity": ["high"]}', "which is not a param of this DAG"),
        ("[1]", "must be a JSON object"),
        ("{", "is not JSON"),
        ('{"batch_size": 101}', "dag_params contains an invalid batch_size: 101 is greater than the maximum of 100."),
    ],
)
def test_wrong_dag_params_option_is_told_where_the_dag_is_parsed(
    params: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__DAG_PARAMS", params)
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        runpy.run_path(str(DAG_FILE))


def test_schedule_and_defaults_follow_the_options() -> None:
    code = (
        f"import runpy; dag = runpy.run_path({str(DAG_FILE)!r})['dag']\n"
        "print(dag.timetable._delta if hasattr(dag.timetable, '_delta') else dag.timetable.delta, dag.catchup, "
        "dag.max_active_runs, dag.params['severities'])"
    )
    out = _python(
        code, AIRFLOW__TENABLE__SCHEDULE_HOURS="6", AIRFLOW__TENABLE__DAG_PARAMS='{"severities": ["critical"]}'
    ).splitlines()[-1]
    assert out == "6:00:00 False 1 ['critical']"
