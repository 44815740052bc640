"""What Tenable says about export jobs, checked field by field; test_client.py reads the same over sockets."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.tenable_vm.job_fields import job_of, jobs_of, status_of
from airflow_provider_tenable.tenable_vm.jobs import Job, JobStatus


def test_a_finished_job_with_all_that_tenable_reports():
    answer = {
        "status": " finished ",
        "chunks_available": [1, "2", 3],
        "chunks_failed": [4],
        "chunks_cancelled": ["5"],
        "chunks_available_count": 3,
        "empty_chunks_count": 1,
        "total_chunks": 5,
        "filters": {"state": ["OPEN"]},
        "num_assets_per_chunk": 50,
        "created": 1_700_000_000_000,
        "reason": "",
    }
    found = status_of(answer, "vulnerabilities export x")
    assert found == JobStatus(
        status="FINISHED",
        chunks=frozenset({1, 2, 3}),
        lost_chunks=frozenset({4, 5}),
        filters={"state": ["OPEN"]},
        chunk_size=50,
        created=1_700_000_000.0,
        total_chunks=5,
        counted_chunks=3,
    )


@pytest.mark.parametrize("answer", [None, [], "FINISHED", {}, {"status": None}, {"status": 1}])
def test_a_response_without_a_status_is_temporary(answer):
    with pytest.raises(TemporaryError, match="Tenable's response about assets export x contains no status"):
        status_of(answer, "assets export x")


@pytest.mark.parametrize("listed", [{}, {"chunks_available": None}, {"chunks_available": "1"}])
def test_a_finished_job_lists_its_chunks(listed):
    with pytest.raises(TemporaryError, match="reports assets export x as FINISHED without a list chunks_available"):
        status_of({"status": "FINISHED", **listed}, "assets export x")
    assert status_of({"status": "PROCESSING"}, "assets export x").chunks == frozenset()


@pytest.mark.parametrize("chunk", [1.5, True, -1, "1.5", "../1", "", None, "1" * 10, 1_000_000_000, "\u0661"])
@pytest.mark.parametrize("name", ["chunks_available", "chunks_failed", "chunks_cancelled"])
def test_a_chunk_that_is_not_a_number_is_not_skipped(chunk, name):
    with pytest.raises(TemporaryError, match="lists invalid chunks"):
        status_of({"status": "FINISHED", "chunks_available": [], name: [1, chunk]}, "x")


@pytest.mark.parametrize("count", [None, "5", True, -5, 1.5])
def test_a_count_that_is_not_a_number_expects_nothing(count):
    answer = {"status": "FINISHED", "chunks_available": [], "chunks_available_count": count, "total_chunks": count}
    assert status_of(answer, "x").counted_chunks == 0


@pytest.mark.parametrize("answer", [None, [], {}, {"exports": None}, {"exports": {"uuid": "1"}}])
def test_a_list_of_jobs_of_another_shape_is_empty(answer):
    assert jobs_of(answer) == []


def test_jobs_without_an_id_are_left_out():
    item = {"uuid": "1", "status": "queued", "created": 5_000, "num_assets_per_chunk": "many"}
    assert jobs_of({"exports": [item, {"status": "QUEUED"}, {"uuid": ""}, "job"]}) == [item]
    assert job_of(item) == Job(uuid="1", status="QUEUED", filters=None, chunk_size=None, created=5.0)
