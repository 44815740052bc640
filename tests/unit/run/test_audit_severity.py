"""The table by which results of audits have their severity: what people change of it, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_tenable.asff.compliance import SEVERITY, AuditOptions
from airflow_provider_tenable.asff.mapper import AsffComplianceMapper
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run.audit_severity import severity_of
from tests.unit.asff.test_compliance import ACCOUNT, PRODUCT, record

OPTION = "AIRFLOW__TENABLE__AUDIT_SEVERITY"


def test_what_is_not_changed_stays() -> None:
    assert severity_of(None) == severity_of({}) == dict(SEVERITY)
    assert severity_of({"failed": "HIGH"}) == {**SEVERITY, "failed": "HIGH"}


def test_the_option_counts_where_the_operator_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPTION, '{"warning": "MEDIUM"}')
    assert severity_of(None)["warning"] == "MEDIUM"
    assert severity_of({})["warning"] == "LOW"


def test_a_finding_has_the_severity_of_the_table() -> None:
    for table in ({}, {"failed": "CRITICAL"}):
        options = AuditOptions(severity=severity_of(table))
        mapper = AsffComplianceMapper(options, "tenable/vulnerability-management")
        line, _, _ = mapper.compliance(record(status="FAILED"), ACCOUNT, PRODUCT)
        found = json.loads(line)["FindingProviderFields"]["Severity"]["Label"]
        assert found == ("CRITICAL" if table else "MEDIUM")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"FAIL": "HIGH"}, "The argument severity has .*FAIL.* It maps "),
        ({"failed": "high"}, "The argument severity has .*high.* to one of "),
        ([], "The argument severity is .*must be an object of failed"),
    ],
    ids=str,
)
def test_another_table_is_refused(given: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        severity_of(given)


@pytest.mark.parametrize(
    ("option", "problem"), [("[", "which is not JSON"), ("[]", "must be an object"), ("7", "must be")]
)
def test_another_option_is_refused(monkeypatch: pytest.MonkeyPatch, option: str, problem: str) -> None:
    monkeypatch.setenv(OPTION, option)
    with pytest.raises(ConfigurationError, match=rf"Option \[tenable\] audit_severity is .*{problem}"):
        severity_of(None)
