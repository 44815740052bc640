"""The table of retries against what runs: the real pyTenable over a socket, and the export's state machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_provider_tenable.exceptions import (
    ChunkNotReadyError,
    ConfigurationError,
    DuplicateExportError,
    TemporaryError,
)
from airflow_provider_tenable.export.state import Wait
from airflow_provider_tenable.hooks.tenable import TenableHook, new_client
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.tenable_vm import retry
from airflow_provider_tenable.tenable_vm.client import TenableApi
from airflow_provider_tenable.tenable_vm.retry import BY_STATUS, THEN, Then, rule_of
from tests.local_server import client_arguments
from tests.unit.export.test_state_machine import WHOLE, World

JOB = "1d896500-2f92-467c-aa4d-6fe8d007b127"
#: All that requests calls an answer and not a redirect.
STATUSES = [*(status for status in range(400, 432) if status != 420), 451, *range(500, 512), 599]


def api_at(server, repeats):
    return TenableApi(new_client(client_arguments(server.url), retries=repeats), name="c", repeats=repeats)


@pytest.mark.parametrize("status", STATUSES)
def test_pytenable_repeats_exactly_what_the_table_says_and_then_its_error_is_raised(server, naps, status):
    server.answer(status)
    api = api_at(server, 2)
    # As for a request that starts nothing: there 409 is no duplicate.
    expected = TemporaryError if rule_of(status).error is DuplicateExportError else rule_of(status).error
    with pytest.raises(expected) as caught:
        api.status("vulnerabilities", JOB)
    assert type(caught.value) is expected
    assert len(server.requests) == (3 if rule_of(status).repeated else 1)
    assert len(naps) == len(server.requests) - 1 + (rule_of(status).repeated)
    api._client._session.close()


def test_the_client_repeats_a_broken_answer_as_often_and_as_late_as_pytenable_one_that_never_came(server, naps):
    server.answers = [(200, {"Content-Length": "9", "Connection": "close"}, b"[")]
    api = api_at(server, retry.REPEATS)
    with pytest.raises(TemporaryError):
        api.jobs("assets")
    assert len(server.requests) == retry.REPEATS + 1
    assert naps == [retry.REPEAT_SECONDS] * retry.REPEATS
    api._client._session.close()


@pytest.mark.parametrize("error", THEN, ids=lambda error: error.__name__)
def test_the_export_does_what_the_table_says(error):
    world = World(WHOLE, WHOLE)
    raised = error("told")
    if error is ChunkNotReadyError:
        world = World(([*WHOLE, WHOLE[-1]], {1: [raised, None]}))
    elif error is DuplicateExportError:
        world.tenable.add(WHOLE, created=world.clock.now)
        world.tenable.post_errors = [raised]
    else:
        world = World([raised, *WHOLE], WHOLE)
    run, then = world.task(), THEN[error]
    if then is Then.FAIL:
        with pytest.raises(ConfigurationError):
            run.step()
        return
    assert isinstance(run.step(), Wait)
    restarts, before = run.state.restarts, run.state.uuid
    assert restarts == (1 if then is Then.START_AGAIN else 0)
    assert (before is None) == (then is Then.START_AGAIN)
    assert world.finish(run).complete
    assert len(world.tenable.posts) == (2 if then is Then.START_AGAIN else 1)


def test_the_numbers_are_those_of_the_parameters_that_users_see():
    assert TenableHook().retries == retry.REPEATS
    assert TenableExportOperator(task_id="t").max_restarts == retry.RESTARTS


def test_the_page_names_each_status_with_what_happens_and_how_often():
    page = (Path(__file__).parents[3] / "docs" / "reliability.md").read_text()
    rows = [
        row.split("|")[1:3]
        for row in page.split("### Tenable")[1].split("### Security Hub")[0].splitlines()
        if row.startswith("| ")
    ]
    words = {
        Then.FAIL: "fails at once",
        Then.START_AGAIN: f"started again, up to {retry.RESTARTS} times",
        Then.ADOPT: "adopted",
        Then.POLL_AGAIN: f"the next {retry.FAILED_POLLS} polls",
    }
    for status, rule in BY_STATUS.items():
        (what,) = [what for first, what in rows if re.search(rf"\b{status}\b", first)]
        assert words[rule.then] in what, status
        repeats = f"{retry.REPEATS} times (`Retry-After` up to {retry.LONGEST_RETRY_AFTER_SECONDS:.0f} s)"
        assert (repeats in what) == rule.repeated, status
