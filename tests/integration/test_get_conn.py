"""What `TenableHook.get_conn()` offers: pyTenable's own iterator over chunks of any size, over real sockets."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.tenable_vm import response_body
from tests.docs_examples import blocks, executable
from tests.integration.pipeline_driver import Run
from tests.sandbox_driver import Sandbox

DOCS = Path(__file__).parents[2] / "docs"
FILTERS: dict[str, Any] = {"since": 1, "state": ["open", "reopened", "fixed"]}

# pyTenable warns of its own deprecated parts as soon as pytest looks at the client's attributes.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


#: More than the limit that `small_limits` sets: a chunk of this size is larger than any other answer may be. Making
#: one of 25 MB takes the sandbox five seconds.
LARGE = 5


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_body, "LARGEST_JSON_BYTES", 4_000_000)


def _swell(sandbox: Sandbox, megabytes: int, *, gzipped: bool) -> None:
    sandbox.tenable("options", {"prepare_seconds": 0})
    sandbox.fault({"on": "vulns_chunk", "do": "swell", "bytes": megabytes * 1_000_000, "gzip": gzipped})


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gzip"])
def test_pytenables_iterator_brings_every_record_of_a_large_chunk(sandbox: Sandbox, gzipped: bool) -> None:
    small = len(sandbox.truth()["vulnerabilities"])
    with closing(TenableHook()) as hook:
        _swell(sandbox, LARGE, gzipped=gzipped)
        found = sum(1 for record in hook.get_conn().exports.vulns(num_assets=500, **FILTERS) if record["asset"])
    assert found % small == 0
    # The sandbox's records have some 6 KB each.
    assert found * 10_000 > LARGE * 1_000_000 > found * 2_000
    assert sandbox.tenable("stats")["calls"]["vulns_chunk"] == 1


@pytest.mark.usefixtures("small_limits")
def test_pytenables_threads_bring_every_record_of_a_large_chunk(sandbox: Sandbox) -> None:
    small = len(sandbox.truth()["vulnerabilities"])
    counts: list[int] = []
    with closing(TenableHook()) as hook:
        _swell(sandbox, LARGE, gzipped=True)
        export = hook.get_conn().exports.vulns(num_assets=500, **FILTERS)
        for job in export.run_threaded(lambda **arguments: counts.append(len(arguments["data"]))):
            job.result()
    assert sum(counts) % small == 0
    assert sum(counts) * 10_000 > LARGE * 1_000_000


@pytest.mark.usefixtures("small_limits")
def test_the_documented_example_counts_what_a_large_chunk_holds(sandbox: Sandbox) -> None:
    [example] = [code for code in blocks(DOCS / "operators.md", "python") if "exports.vulns(" in code]
    namespace: dict[str, Any] = {}
    exec(compile(executable(example), "docs/operators.md", "exec"), namespace)
    expected = sum(
        1 for each in sandbox.truth()["vulnerabilities"] if each["severity_id"] == 4 and each["state"] != "FIXED"
    )
    assert expected
    assert sum(namespace["criticals_by_host"]().values()) == expected
    _swell(sandbox, LARGE, gzipped=False)
    swollen = sum(namespace["criticals_by_host"]().values())
    assert swollen % expected == 0
    assert swollen * 10_000 > LARGE * 1_000_000


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gzip"])
def test_our_own_export_stages_every_record_of_a_large_chunk(sandbox: Sandbox, gzipped: bool) -> None:
    small = len(sandbox.truth()["vulnerabilities"])
    _swell(sandbox, LARGE, gzipped=gzipped)
    run = Run()
    operator = TenableExportOperator(
        task_id="export",
        filters={"state": ["OPEN", "REOPENED", "FIXED"], "since": 1},
        chunk_size=500,
        poll_interval=0.1,
        deferrable=False,
    )
    result = operator.execute(run.context)
    assert result["bytes"] >= LARGE * 1_000_000
    assert result["records"] % small == 0
    state = StagedExport(RunFolder.of(run.context).export("vulnerabilities"), "vulnerabilities").load()
    assert state
    assert state.complete


# The last one with the limits as they are.
@pytest.mark.parametrize("megabytes", [1, 25])
def test_a_caller_of_export_chunk_gets_bytes_whatever_the_size(sandbox: Sandbox, megabytes: int) -> None:
    with closing(TenableHook()) as hook:
        _swell(sandbox, megabytes, gzipped=False)
        job = hook.start_export("vulnerabilities", {"num_assets": 500, "filters": FILTERS})
        [chunk] = hook.export_status("vulnerabilities", job).chunks
        data = hook.export_chunk("vulnerabilities", job, chunk)
    assert isinstance(data, bytes)
    assert len(data) >= megabytes * 1_000_000
