"""One sandbox and one zygote for the suite; a DAG in its own folder for each test, searched for secrets at its end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.canary import leaks
from tests.faults.pipeline import Pipeline, Zygote, start_sandbox
from tests.faults.universe import Sandbox

#: Of these tests every n-th variant belongs to the CI version; FAULTS=full runs them all.
EVERY_NTH = {
    "test_run_killed_at_every_boundary_is_made_good_by_the_next_run": 3,
    "test_run_killed_in_the_middle_of_any_file_is_carried_on": 2,
    "test_answer_of_another_form_is_asked_for_again": 4,
    "test_answer_lost_after_an_export_was_asked_for_leaves_no_orphan": 3,
    "test_broken_job_is_never_taken_for_whole": 2,
    "test_connection_that_is_spoilt_in_a_chunk_costs_no_record": 2,
    "test_connection_that_is_spoilt_in_an_import_costs_no_finding": 2,
    "test_finding_that_fails_for_a_passing_reason_is_sent_again": 3,
    "test_finding_that_is_refused_for_good_is_on_record_and_the_others_land": 2,
    "test_passing_refusal_is_sent_again_until_it_passes": 2,
    "test_damaged_file_is_never_taken_for_a_whole_one": 3,
    "test_damaged_index_leads_to_a_full_export": 4,
    "test_any_byte_of_the_plan_that_flips_is_found": 4,
    "test_replay_that_is_killed_is_carried_on": 2,
    # Forms of an answer times operations: the steps are no divisors, so that each of both comes up.
    "test_answer_that_is_not_from_aws_is_asked_for_again_in_every_operation": 4,
    "test_answer_that_is_not_from_aws_without_end_is_a_temporary_error_in_words": 4,
    "test_status_of_tenable_means_what_the_table_says": 3,
    "test_odd_answer_is_asked_for_again": 4,
    "test_archive_killed_at_any_boundary_is_carried_on": 5,
    "test_keys_in_an_answer_of_any_status_stay_out_of_everything": 4,
    "test_call_before_the_import_is_repeated": 3,
    "test_text_of_tenable_is_quoted_on_one_line": 3,
    "test_text_of_security_hub_is_quoted_on_one_line": 2,
    "test_run_killed_at_every_boundary_is_carried_on_by_the_retry_of_its_task": 2,
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only the full version runs, and say so."""
    if os.environ.get("FAULTS") == "full" or any("::" in argument for argument in config.args):
        return
    seen: Counter[str] = Counter()
    left_out = []
    for item in items:
        name = getattr(item, "originalname", item.name)
        if name in EVERY_NTH:
            seen[name] += 1
            if seen[name] % EVERY_NTH[name] != 1:
                left_out.append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    zygote = Zygote(tmp_path_factory.mktemp("zygote") / "zygote.log")
    yield zygote
    zygote.stop()


@pytest.fixture(scope="session")
def tiny_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """6 hosts, 60 vulnerabilities, of which a quarter is high or critical."""
    with start_sandbox("tiny", tmp_path_factory.mktemp("sandbox") / "sandbox.log") as process:
        sandbox = Sandbox(process)
        yield sandbox
        sandbox.client.close()


@pytest.fixture(scope="session")
def small_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """60 hosts of all kinds, 1,500 vulnerabilities."""
    with start_sandbox("small", tmp_path_factory.mktemp("sandbox") / "sandbox.log") as process:
        sandbox = Sandbox(process)
        yield sandbox
        sandbox.client.close()


@pytest.fixture
def sandbox(tiny_sandbox: Sandbox) -> Sandbox:
    """A sandbox as at its start."""
    tiny_sandbox.reset()
    return tiny_sandbox


@pytest.fixture
def pipeline(zygote: Zygote, sandbox: Sandbox, tmp_path: Path) -> Iterator[Pipeline]:
    """A DAG that has never run. Whatever the test does to it, no secret may lie in what it leaves behind, and nothing
    is asked for that Tenable does not have.
    """
    yield Pipeline(zygote, sandbox, tmp_path / "dag")
    assert not leaks(tmp_path)
    assert sandbox.tenable("stats")["unknown_paths"] == []
