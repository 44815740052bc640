"""Whose a staging folder is."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run import owner
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "run")


class Deployment:
    """The Variables of a metadata database."""

    def __init__(self, monkeypatch):
        self.monkeypatch, self.values = monkeypatch, {}

    def __enter__(self):
        self.monkeypatch.setattr(owner, "read_variable", self.values.get)
        self.monkeypatch.setattr(owner, "write_variable", self.values.__setitem__)
        return self

    def __exit__(self, *_):
        pass


def test_first_deployment_claims_the_folder_and_finds_it_its_own(run, monkeypatch):
    with Deployment(monkeypatch) as first:
        owner.check_owner(run)
        assert first.values == {}
        owner.claim(run)
        assert read_json(run.owner)["owner"] == first.values["dag__owner"]
        assert len(first.values["dag__owner"]) == 32
        claimed = run.owner.read_bytes()
        owner.claim(run)
        owner.check_owner(run.beside("another"))
        assert run.owner.read_bytes() == claimed


def test_another_deployment_is_refused_and_told_what_to_do(run, monkeypatch):
    with Deployment(monkeypatch):
        owner.claim(run)
    with Deployment(monkeypatch) as second:
        with pytest.raises(ConfigurationError, match=r"this one is unknown"):
            owner.check_owner(run)
        with pytest.raises(
            ConfigurationError, match=r"belongs to another deployment: .*owner\.json.*clear the run"
        ) as text:
            owner.claim(run)
        assert "[tenable] staging_path of its own" in str(text.value)
        assert second.values["dag__owner"] in str(text.value)
        # As the message says.
        run.owner.unlink()
        owner.claim(run)
        owner.check_owner(run)


def test_each_dag_of_a_deployment_has_its_own_folder(run, monkeypatch, tmp_path):
    copy = RunFolder(f"file://{tmp_path}", "copy", "run")
    with Deployment(monkeypatch) as only:
        owner.claim(run)
        owner.claim(copy)
        assert set(only.values) == {"dag__owner", "copy__owner"}


def test_variable_that_a_person_has_set_counts(run, monkeypatch):
    with Deployment(monkeypatch) as deployment:
        deployment.values["dag__owner"] = " production "
        owner.claim(run)
    assert read_json(run.owner)["owner"] == "production"


def test_run_that_is_planned_at_the_same_moment_may_set_the_variable_last(run, monkeypatch):
    with Deployment(monkeypatch) as deployment:
        monkeypatch.setattr(
            owner, "write_variable", lambda name, value: deployment.values.update({name: "the other run's"})
        )
        owner.claim(run)
        assert read_json(run.owner)["owner"] == "the other run's"


def test_deployment_that_loses_the_race_for_the_folder_is_refused(run, monkeypatch):
    real = owner.write_json

    def lose(path, value):
        real(path, value)
        real(path, {**value, "owner": "faster"})

    monkeypatch.setattr(owner, "write_json", lose)
    with Deployment(monkeypatch), pytest.raises(ConfigurationError, match="belongs to another deployment: 'faster'"):
        owner.claim(run)


def test_strange_content_is_quoted(run, monkeypatch):
    write_json(run.owner, {"owner": "a\nb" + "x" * 500, "at": 10**30})
    with Deployment(monkeypatch), pytest.raises(ConfigurationError) as failure:
        owner.claim(run)
    assert "\n" not in str(failure.value)
    assert len(str(failure.value)) < 1_200
