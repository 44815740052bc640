"""``severity_source``: which score a finding's severity is of, by the bands that docs/mapping.md states."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.asff.finding import MappingOptions
from airflow_provider_tenable.tenable_vm.severities import SEVERITY_SOURCES
from tests.unit.asff.mapping import finding_of, record

LABELS = ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")


def severity_of(source: str, plugin: dict[str, Any] | None = None, **changes: Any) -> tuple[str, str]:
    value = record(plugin={"id": 1, "name": "n", **(plugin or {})}, **changes)
    finding = finding_of(value, options=MappingOptions(severity_source=source))
    severity = finding["FindingProviderFields"]["Severity"]
    return severity["Label"], severity["Original"]


@pytest.mark.parametrize(
    ("score", "severity"),
    [(0, 0), (0.0, 0), (0.1, 1), (3.9, 1), (4, 2), (6.9, 2), (7.0, 3), (8.9, 3), (9.0, 4), (10, 4)],
)
def test_bands(score, severity):
    assert severity_of("vpr", {"vpr": {"score": score}}) == (LABELS[severity], "high")
    assert severity_of("cvss3", {"cvss3_base_score": score}) == (LABELS[severity], "high")
    assert severity_of("tenable", {"vpr": {"score": score}, "cvss3_base_score": score}) == ("HIGH", "high")


@pytest.mark.parametrize("score", [None, -0.1, 10.1, 1e300, "high", [], True])
@pytest.mark.parametrize("source", SEVERITY_SOURCES)
def test_without_a_usable_score_the_severity_is_tenables(source, score):
    assert severity_of(source, {"vpr": {"score": score}, "cvss3_base_score": score}) == ("HIGH", "high")


def test_a_score_of_another_source_does_not_count():
    assert severity_of("vpr", {"cvss3_base_score": 9.8}) == ("HIGH", "high")
    assert severity_of("cvss3", {"vpr": {"score": 9.8}}) == ("HIGH", "high")


def test_the_second_version_of_vpr_counts_where_there_is_no_other():
    assert severity_of("vpr", {"vpr_v2": {"score": 9.8}})[0] == "CRITICAL"
    assert severity_of("vpr", {"vpr": {"score": 2.0}, "vpr_v2": {"score": 9.8}})[0] == "LOW"


@pytest.mark.parametrize("source", SEVERITY_SOURCES)
def test_a_severity_that_somebody_has_recast_stays(source):
    scores = {"vpr": {"score": 9.9}, "cvss3_base_score": 9.9}
    recast = {"severity": "low", "severity_id": 1, "severity_modification_type": "RECASTED"}
    assert severity_of(source, scores, **recast) == ("LOW", "low")
    accepted = {**recast, "severity_modification_type": "ACCEPTED"}
    assert severity_of(source, scores, **accepted)[0] == ("LOW" if source == "tenable" else "CRITICAL")


def test_the_row_of_a_finding_has_the_severity_that_is_shown():
    from airflow_provider_tenable.state.staged import row_of_line
    from tests.unit.asff.test_row import made

    for source, severity in (("tenable", 3), ("vpr", 2), ("cvss3", 4)):
        line, found = made({"plugin": {"cvss3_base_score": 9.8}}, severity_source=source)
        assert found[4] & row.SEVERITY == severity
        assert row.LAYOUT.unpack(row_of_line(line))[4] == found[4]


def test_only_another_band_is_material():
    from tests.unit.asff.test_row import content

    def with_score(score: float, source: str = "vpr") -> int:
        return content({"plugin": {"vpr": {"score": score}}}, severity_source=source)

    assert with_score(6.1) == with_score(6.9) != with_score(7.0)
    assert with_score(6.1) != with_score(6.1, "tenable")
