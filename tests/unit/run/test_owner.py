"""Whose a staging folder is."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_tenable import _compat
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
        self.monkeypatch.setattr(owner, "write_variable", lambda name, value, text: self.values.update({name: value}))
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


def test_list_of_variables_says_what_the_id_is_for(run, monkeypatch):
    said, ids = {}, {}
    monkeypatch.setattr(owner, "read_variable", ids.get)
    monkeypatch.setattr(
        owner, "write_variable", lambda name, value, text: (ids.update({name: value}), said.update({name: text}))
    )
    owner.claim(run)
    assert said["dag__owner"].startswith("Id of this deployment, by which DAG dag recognises its own staging folder.")


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
            owner, "write_variable", lambda name, value, text: deployment.values.update({name: "the other run's"})
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


def first_runs_at_once(run, monkeypatch, deployments, barrier_at):
    """Two first runs, each in a thread, that meet at a barrier in one function of the module. :return: their errors."""
    barrier, together, real = threading.Barrier(2), [], getattr(owner, barrier_at)
    errors = {}

    def waits(*arguments):
        if len(together) < 2:
            together.append(arguments)
            barrier.wait(5)
        return real(*arguments)

    def values():
        name = threading.current_thread().name
        return deployments[int(name) if name.isdigit() else 0]

    monkeypatch.setattr(owner, "read_variable", lambda name: values().get(name))
    monkeypatch.setattr(owner, "write_variable", lambda name, value, text: values().__setitem__(name, value))
    monkeypatch.setattr(owner, barrier_at, waits)
    monkeypatch.setattr(owner, "_POLL_INTERVAL", 0.01)

    def first_run(number):
        try:
            owner.claim(run.beside(f"run-{number}"))
        except ConfigurationError as error:
            errors[number] = str(error)

    threads = [threading.Thread(target=first_run, args=(number,), name=str(number)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return errors


@pytest.mark.parametrize("barrier_at", ["create_json", "_first_claim"])
@pytest.mark.parametrize("_", range(5))
def test_first_runs_of_one_deployment_at_the_same_time_agree(run, monkeypatch, barrier_at, _):
    values = {}
    assert first_runs_at_once(run, monkeypatch, [values, values], barrier_at) == {}
    assert read_json(run.owner) == {"owner": values["dag__owner"], "at": read_json(run.owner)["at"]}
    owner.claim(run)


def test_first_runs_of_two_deployments_at_the_same_time_are_told_apart(run, monkeypatch):
    deployments = [{}, {}]
    errors = first_runs_at_once(run, monkeypatch, deployments, "create_json")
    assert len(errors) == 1
    ((refused, text),) = errors.items()
    assert "belongs to another deployment" in text
    assert read_json(run.owner)["owner"] == deployments[1 - refused]["dag__owner"] != deployments[refused]["dag__owner"]
    assert "pending" not in read_json(run.owner)


@pytest.mark.parametrize("set_before", [False, True])
def test_claim_of_a_run_that_was_killed_in_between_locks_nobody_out(run, monkeypatch, set_before):
    monkeypatch.setattr(owner, "_LONGEST_CLAIM", 0.05)
    with Deployment(monkeypatch) as deployment:

        def killed(name, value, text):
            if set_before:
                deployment.values[name] = value
            raise KeyboardInterrupt

        monkeypatch.setattr(owner, "write_variable", killed)
        with pytest.raises(KeyboardInterrupt):
            owner.claim(run)
    with deployment:
        owner.claim(run)
        assert read_json(run.owner)["owner"] == deployment.values["dag__owner"]
        # Later, another deployment is not mistaken for a run of this one.
        assert "pending" not in read_json(run.owner)
    with Deployment(monkeypatch), pytest.raises(ConfigurationError, match="belongs to another deployment"):
        owner.claim(run)


@pytest.mark.parametrize("content", [b"{", b'{"owner": 5}', b"[]", b'{"owner": "mine", "at": 1, "checksum": 5}'])
@pytest.mark.parametrize("step", [owner.claim, owner.check_owner])
def test_damaged_record_stops_everything_and_says_which_file_alone_may_be_removed(run, monkeypatch, content, step):
    with Deployment(monkeypatch) as deployment:
        owner.claim(run)
        run.owner.write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"owner\.json, which records .*is damaged") as failure:
            step(run)
        assert "remove this one file" in str(failure.value)
        assert "Keep all other files" in str(failure.value)
        # As the message says.
        run.owner.unlink()
        owner.claim(run)
        assert read_json(run.owner)["owner"] == deployment.values["dag__owner"]


@pytest.mark.parametrize("at", [10**30, "yester\nday", None, [1]])
def test_strange_content_is_quoted(run, monkeypatch, at):
    write_json(run.owner, {"owner": "a\nb" + "x" * 500, "at": at})
    with Deployment(monkeypatch), pytest.raises(ConfigurationError) as failure:
        owner.claim(run)
    assert "\n" not in str(failure.value)
    assert len(str(failure.value)) < 1_200


def test_words_about_another_deployment_are_complete(run, monkeypatch):
    write_json(run.owner, {"owner": "theirs", "at": 1_790_000_000})
    with Deployment(monkeypatch) as deployment:
        deployment.values["dag__owner"] = "ours"
        with pytest.raises(ConfigurationError) as failure:
            owner.check_owner(run)
    assert str(failure.value) == (
        f"The staging folder {run.dag_root} belongs to another deployment: 'theirs', since 2026-09-21T14:13:20Z; this "
        "one is 'ours' (Variable dag__owner). Two deployments on one staging path would continue and remove each "
        "other's runs. Nothing was exported, imported or removed. Give this deployment a [tenable] staging_path of its "
        "own. If this deployment replaces the other one, which no longer runs, or if its metadata database was reset, "
        f"remove {run.owner}. Then clear the run."
    )


@pytest.mark.parametrize(
    ("record", "shown"),
    [({}, "1970-01-01T00:00:00Z"), ({"at": 10**30}, "1000000000000000000…"), ({"at": -(10**15)}, "-1000000000000000")],
)
def test_time_of_another_deployment_may_be_missing_or_impossible(run, monkeypatch, record, shown):
    write_json(run.owner, {"owner": "theirs", **record})
    with Deployment(monkeypatch), pytest.raises(ConfigurationError) as failure:
        owner.check_owner(run)
    assert f"'theirs', since {shown}; this one is unknown (Variable dag__owner)." in str(failure.value)


def test_words_about_a_damaged_record_are_complete(run, monkeypatch):
    write_json(run.owner, {"owner": 5})
    with Deployment(monkeypatch), pytest.raises(ConfigurationError) as failure:
        owner.check_owner(run)
    assert str(failure.value) == (
        f"{run.owner}, which records the deployment that owns this staging folder, is damaged (it does not name an "
        "owner). Nothing was exported, imported or removed, because the folder may belong to another deployment. If "
        "only this deployment uses it, remove this one file: the next run writes it again from Variable dag__owner. "
        f"Keep all other files in {run.owner.parent}: they record which findings are outstanding. Then clear the run."
    )
    run.owner.write_bytes(b"{")
    with Deployment(monkeypatch), pytest.raises(ConfigurationError, match=r"is damaged \([A-Za-z].*\)\. Nothing was"):
        owner.check_owner(run)


def test_pending_record_of_another_deployment_is_left_to_it(run, monkeypatch):
    """Only the mark of this deployment's own claim is removed."""
    write_json(run.owner, {"owner": "theirs", "at": 1, "pending": True})
    with Deployment(monkeypatch) as deployment:
        deployment.values["dag__owner"] = "ours"
        with pytest.raises(ConfigurationError, match="belongs to another deployment: 'theirs'"):
            owner.claim(run)
    assert read_json(run.owner) == {"owner": "theirs", "at": 1, "pending": True}


def test_own_record_that_is_not_pending_is_not_written_again(run, monkeypatch):
    write_json(run.owner, {"owner": "ours", "at": 1})
    with Deployment(monkeypatch) as deployment:
        deployment.values["dag__owner"] = "ours"
        owner.claim(run)
    assert read_json(run.owner) == {"owner": "ours", "at": 1}


@pytest.mark.parametrize(("stored", "read"), [("abc", "abc"), (5, "5"), ("", ""), (None, None)])
def test_variables_are_airflows(monkeypatch, stored, read):
    kept, descriptions = ({} if stored is None else {"dag__owner": stored}), {}

    class Variable:
        # Airflow 2 and 3 name the default differently.
        @staticmethod
        def get(name, default, /):
            return kept.get(name, default)

        @staticmethod
        def set(name, value, description=None, /):
            kept[name] = value
            descriptions[name] = description

    monkeypatch.setattr(_compat, "Variable", Variable)
    assert owner.read_variable("dag__owner") == read
    owner.write_variable("other", "x", "what it is for")
    assert (kept["other"], descriptions["other"]) == ("x", "what it is for")
