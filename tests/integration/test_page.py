"""The page in Airflow's own web application: who gets what, and what it shows of DAGs as Airflow knows them.

One process answers all requests: it is Airflow's start that takes the time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("moto", reason="the store is moto's")

from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_1_PLUS
from tests.integration.dag_runs import ROOT, AirflowProcess, DagRuns, with_database
from tests.object_store import BUCKET, ObjectStore
from tests.page_samples import DAG_ID, HOSTILE, write_rejected, write_samples

pytestmark = [
    pytest.mark.xdist_group("page"),
    pytest.mark.skipif(
        AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_1_1_PLUS, reason="Airflow 3.0 and 3.1.0 have no page: see test_plugin"
    ),
]

OWN_DAG = "tenable_emea"
#: A DAG with its own staging area, on S3, and one that has nothing to do with the provider.
OTHER_DAGS = """
from airflow_provider_tenable._compat import DAG
from airflow_provider_tenable.dags import tenable_to_security_hub

own = tenable_to_security_hub("tenable_emea", staging_path={staging!r})
with DAG("unrelated", schedule=None) as unrelated:
    pass
"""
REQUESTS = {
    "nobody": (None, ""),
    "nobody, a DAG": (None, f"?dag_id={DAG_ID}"),
    "nobody, JSON": (None, f"?dag_id={DAG_ID}&format=json"),
    "admin": ("admin", ""),
    "admin, own": ("admin", f"?dag_id={OWN_DAG}"),
    "admin, unrelated": ("admin", "?dag_id=unrelated"),
    "admin, unknown": ("admin", "?dag_id=no_such_dag"),
    "admin, JSON": ("admin", f"?dag_id={DAG_ID}&format=json"),
    "admin, no table": ("admin", "?format=csv&table=secrets"),
    "of one": (OWN_DAG, ""),
    "of one, the other": (OWN_DAG, f"?dag_id={DAG_ID}"),
    "of one, the other, CSV": (OWN_DAG, f"?dag_id={DAG_ID}&format=csv&table=rejected"),
    "of one, CSV": (OWN_DAG, "?format=csv&table=runs"),
    "of none": ("unrelated", ""),
    "of none, unknown": ("unrelated", "?dag_id=no_such_dag"),
}


@dataclass(frozen=True)
class Found:
    """An answer of the web application."""

    status: int
    headers: dict[str, str]
    text: str


@pytest.fixture(scope="module")
def answers(
    tmp_path_factory: pytest.TempPathFactory, airflow_process: AirflowProcess, object_store: ObjectStore
) -> dict[str, Found]:
    folder = tmp_path_factory.mktemp("page")
    other = folder / "others.py"
    other.write_text(OTHER_DAGS.format(staging=f"s3://page_staging@{BUCKET}/page"))
    files = [
        *(
            ROOT / "dags" / f"{name}.py"
            for name in (DAG_ID, "tenable_scan", "tenable_replay_rejected", "tenable_audit_security_hub")
        ),
        other,
    ]
    settings = {
        "AIRFLOW__TENABLE__STAGING_PATH": f"file://{folder / 'staging'}",
        "AIRFLOW__API_AUTH__JWT_SECRET": "0123456789abcdef" * 4,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "PAGE_CONNECTION": object_store.connection(),
        "PAGE_ANSWERS": str(folder / "answers.json"),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "PYTHONPATH": str(ROOT),
        **({"AIRFLOW__CORE__AUTH_MANAGER": "tests.page_client.ByName"} if AIRFLOW_V_3_0_PLUS else {}),
    }
    run = write_samples(folder / "staging")
    line = {"id": "x", "account": "111122223333", "region": "eu-west-1", "code": "InvalidInput", "message": HOSTILE}
    write_rejected(run, [{**line, "finding": {"Title": HOSTILE}}], account="111122223333", region="eu-west-1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_PAGE_STAGING", object_store.connection())
        write_samples(f"s3://page_staging@{BUCKET}/page", dag_id=OWN_DAG, places=2)
    airflow = DagRuns(folder / "home", airflow_process, files, settings)
    # Not from the repository: its own metadata beside the installed package's would name the plugin twice.
    for module, text in (("airflow dags reserialize", ""), ("tests.page_client", _asked())):
        command = [sys.executable, "-m", *module.split()]
        done = subprocess.run(
            command,
            input=text,
            env={**os.environ, **airflow.env, **with_database(airflow.database)},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    found = [Found(**each) for each in json.loads((folder / "answers.json").read_text())]
    return dict(zip(REQUESTS, found, strict=True))


def _asked() -> str:
    return json.dumps([{"user": user, "path": f"/tenable/{query}"} for user, query in REQUESTS.values()])


@pytest.mark.parametrize("name", [name for name, (user, _) in REQUESTS.items() if user is None])
def test_nobody_gets_anything_without_a_log_in(answers: dict[str, Found], name: str) -> None:
    found = answers[name]
    if AIRFLOW_V_3_0_PLUS:
        assert found.status == 401
        assert "Log in to Airflow" in found.text
    else:
        assert found.status == 302
        assert found.headers["Location"].startswith("/login/?next=")
    assert "scheduled__00000" not in found.text


def test_who_may_see_all_dags_may_choose(answers: dict[str, Found]) -> None:
    found = answers["admin"]
    assert found.status == 200
    assert f'<h2 id="now-title">Now: {DAG_ID}</h2>' in found.text
    assert f'<a href="?dag_id={OWN_DAG}">{OWN_DAG}</a>' in found.text
    assert "scheduled__00000" in found.text
    # Those that import, and no others.
    assert set(re.findall(r'<a href="\?dag_id=([a-z_]+)"', found.text)) == {DAG_ID, OWN_DAG}
    # Known to Airflow, and paused from the start.
    assert "none: the DAG is paused" in found.text


def test_a_dag_with_its_own_staging_area_shows_what_is_in_there(answers: dict[str, Found]) -> None:
    found = answers["admin, own"]
    assert found.status == 200
    assert "in 2 accounts and Regions" in found.text
    assert "in 6 accounts and Regions" in answers["admin"].text


def test_a_dag_that_does_not_import_says_so(answers: dict[str, Found]) -> None:
    found = answers["admin, unrelated"]
    assert found.status == 200
    assert "does not import into Security Hub CSPM" in found.text
    assert f"?dag_id={DAG_ID}" in found.text


def test_a_dag_that_there_is_none_of(answers: dict[str, Found]) -> None:
    assert answers["admin, unknown"].status == 404
    assert answers["admin, no table"].status == 404


def test_who_may_see_one_dag_sees_that_one(answers: dict[str, Found]) -> None:
    found = answers["of one"]
    assert found.status == 200
    assert f'<h2 id="now-title">Now: {OWN_DAG}</h2>' in found.text
    assert f"?dag_id={DAG_ID}" not in found.text
    assert answers["of one, CSV"].status == 200
    assert answers["of one, CSV"].text.count("scheduled__") == 45


@pytest.mark.parametrize("name", ["of one, the other", "of one, the other, CSV", "of none, unknown"])
def test_who_may_not_see_a_dag_learns_nothing(answers: dict[str, Found], name: str) -> None:
    found = answers[name]
    assert found.status == 403
    assert "You may not see this DAG, or it does not exist." in found.text
    assert "scheduled__" not in found.text


def test_who_may_see_no_import_is_told_what_to_do(answers: dict[str, Found]) -> None:
    found = answers["of none"]
    assert found.status == 200
    assert "There is no DAG that imports into Security Hub CSPM, or you may not see it." in found.text
    assert DAG_ID + "</a>" not in found.text


@pytest.mark.parametrize("name", ["admin", "admin, JSON", "of one, the other", "of one, CSV"])
def test_answers_are_not_kept_and_not_guessed_at(answers: dict[str, Found], name: str) -> None:
    headers = {key.lower(): value for key, value in answers[name].headers.items()}
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_only_what_the_page_brings_runs(answers: dict[str, Found]) -> None:
    headers = {key.lower(): value for key, value in answers["admin"].headers.items()}
    policy: dict[str, Any] = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    nonce = policy["script-src"].removeprefix("'nonce-").removesuffix("'")
    assert len(nonce) > 20
    assert answers["admin"].text.count(f'nonce="{nonce}"') == 2
    assert f'nonce="{nonce}"' not in answers["admin, own"].text
    assert "<img src=x" not in answers["admin"].text
    assert "&lt;img src=x onerror=alert(2)&gt;" in answers["admin"].text


def test_the_export_is_a_file(answers: dict[str, Found]) -> None:
    headers = {key.lower(): value for key, value in answers["admin, JSON"].headers.items()}
    assert headers["content-disposition"] == f"attachment; filename*=UTF-8''{DAG_ID}.json"
    assert json.loads(answers["admin, JSON"].text)["dag_id"] == DAG_ID
