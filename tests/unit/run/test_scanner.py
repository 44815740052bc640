"""What a run of tenable_scanner_ec2 is asked for is checked before it creates anything."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.params import scanner_params
from airflow_provider_tenable.run.scanner import SCANNER, plan_scanner, report_scanner
from airflow_provider_tenable.scan.removal import KINDS

TEMPLATE = "{{ conn.tenable_default.password }}"


def plan(**conf: Any) -> dict[str, Any]:
    usual = {name: param.default for name, param in SCANNER.items()}
    dag_run = SimpleNamespace(dag_id="tenable_scanner_ec2", conf=conf)
    return plan_scanner({"dag_run": dag_run, "dag": SimpleNamespace(params=usual), "params": {**usual, **conf}})


def test_defaults_create_a_scanner() -> None:
    planned = plan()
    assert set(planned) == set(SCANNER)
    assert (planned["action"], planned["image"]) == ("create", "product_code:8fn69npzmbzcs4blc4583jd0y")
    assert tuple(planned["cleanup"]) == KINDS
    # Airflow 3.0 does not accept null in an XCom.
    assert None not in planned.values()


@pytest.mark.parametrize(
    "conf",
    [
        {"action": "delete"},
        {"name": "a'; reboot"},
        {"name": TEMPLATE},
        {"region": "Ireland"},
        {"region": TEMPLATE},
        {"aws_conn_id": TEMPLATE},
        {"image": TEMPLATE},
        {"image": None},
        {"instance_type": TEMPLATE},
        {"subnet_id": "subnet-x; reboot"},
        {"aws_scanner": "true"},
        {"update_os": 1},
        {"ingress": [{"port": 22, "cidr": "0.0.0.0/0"}]},
        {"ingress": [{"port": 22, "cidr": TEMPLATE}]},
        {"tags": {"a": TEMPLATE}},
        {"tags": {TEMPLATE: "a"}},
        {"tags": {"tenable:scanner": "another"}},
        {"tags": [1]},
        {"cleanup": ["vpc"]},
        {"nam": "x"},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(conf: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        plan(**conf)


def test_nothing_in_a_plan_can_look_like_a_template() -> None:
    planned = plan(
        name="scanner 1",
        region="eu-west-1",
        subnet_id="subnet-0123456789abcdef0",
        ingress=[{"port": 8834, "cidr": "10.0.0.0/8", "more": TEMPLATE}],
        tags={"team": "security / blue"},
    )
    assert TEMPLATE not in json.dumps(planned)
    assert planned["ingress"] == [{"port": 8834, "cidr": "10.0.0.0/8"}]


def test_a_deployment_can_have_another_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__NESSUS_PRODUCT_CODE", "0123456789abcdef")
    assert scanner_params()["image"].value == "product_code:0123456789abcdef"


def test_the_report_names_the_scanner_and_its_instance(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    online = {"id": 7, "uuid": "u", "name": "n", "plugin_set": "202611260605"}
    scanner = {"name": "n\nforged", "instance_id": "i-1", "region": "eu-west-1", "created": True}
    assert report_scanner(scanner, online) == {**online, "instance_id": "i-1"}
    assert "Scanner n forged is online: instance i-1 in eu-west-1 (new), plugins of 202611260605." in caplog.text
