"""The benchmark's results get into the docs as they were measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import benchmarks.__main__
from airflow_provider_tenable.hooks.security_hub import SecurityHubHook
from airflow_provider_tenable.transform import shard
from benchmarks import downloads, hub_state, our_side
from benchmarks.__main__ import suites_of
from benchmarks.audits import EXAMPLE, GeneratedAudits
from benchmarks.deployments import seconds
from benchmarks.estate import MODEL_HOSTS, PER_HOST, Generated
from benchmarks.freshness import SCHEDULES, quantile, said
from benchmarks.hub_state import medians
from benchmarks.import_side import ACCOUNT, REGION, connect
from benchmarks.measure import ROOT
from benchmarks.render import PAGES, duration, render
from benchmarks.scheduled import seconds_of, without
from benchmarks.size import rows_of as rows_of_days
from benchmarks.suites import once, our, server
from benchmarks.workers import rows_of as rows_of_workers
from benchmarks.worse import TOLERATED, Kind, changes, committed
from benchmarks.worse import rows as rows_of

JOB = {
    "0 ms, quota off": {
        "ours": {"stages_us": {"export": 20, "transform": 30, "import": 25}, "staged_bytes_per_finding": 400}
    }
}
RESULTS = {
    "machine": {"python": "3.12.1", "system": "Linux", "cores": 2, "load": [0.25, 0, 0]},
    "transform": {"rows": [["who", "us"], ["ours", "9.5"]], "figures": {}},
    "job": {"rows": [["who"], ["ours"]], "figures": JOB},
}


def test_tables_stand_between_their_markers_and_what_was_not_measured_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- bench transform -->\nold\n<!-- end -->\nbetween\n<!-- bench memory -->\nkept\n<!-- end "
        "-->\n<!-- bench scaling -->\n<!-- end -->\nafter\n"
    )
    assert render(RESULTS, (page,)) == ["memory"]
    text = page.read_text()
    assert "| ours | 9.5 |" in text
    assert "old" not in text
    assert "<!-- bench memory -->\nkept\n<!-- end -->" in text
    assert re.search(r"import into one destination *\| 17 min *\| 2\.8 h *\| 28 h", text)
    assert re.search(r"CPU of transform \(30 us\), over all shards *\| 30 s *\| 5\.0 min *\| 50 min", text)
    assert re.search(r"400 bytes a finding\) / at 2 KB *\| 0\.4 / 2 GB *\| 4\.0 / 20 GB *\| 40\.0 / 200 GB", text)
    # Again gives the same.
    render(RESULTS, (page,))
    assert page.read_text() == text


BEFORE = {
    "plugins repeat": {"ours": 25.0, "peer": 200.0, "times_peer": 8.0, "bytes_per_finding": {"ours": 400, "peer": 90}},
    "days": [{"day": "quiet", "findings": 1_000, "sent": 0, "cpu": 1.0, "wall": 9.0, "peak_mb": 300.0}],
    "share": 0.97,
}


def worse(before: object, after: object) -> dict[str, float]:
    """What is flagged, with how many times as bad it is."""
    return {change.name: round(change.factor, 2) for change in changes(before, after) if change.is_worse}


def test_nothing_is_worse_than_itself_and_sizes_and_wall_clocks_are_not_compared() -> None:
    found = changes(BEFORE, BEFORE)
    assert {change.factor for change in found} == {1.0}
    assert {change.name: change.kind for change in found} == {
        "plugins repeat/ours": Kind.TIME,
        "plugins repeat/times_peer": Kind.RATIO,
        "plugins repeat/bytes_per_finding/ours": Kind.COUNT,
        "days/0/sent": Kind.COUNT,
        "days/0/cpu": Kind.TIME,
        "days/0/peak_mb": Kind.MEMORY,
        "share": Kind.RATIO,
    }


def test_what_became_worse_is_said_worst_first_and_noise_is_not() -> None:
    after = {
        "plugins repeat": {"ours": 31.0, "peer": 200.0, "times_peer": 6.5, "bytes_per_finding": {"ours": 410}},
        "days": [{"day": "quiet", "findings": 2_000, "sent": 3, "cpu": 1.2, "wall": 90.0, "peak_mb": 340.0}],
        "share": 0.80,
        "another": {"cpu": 5.0},
    }
    assert worse(BEFORE, after) == {
        "days/0/sent": float("inf"),
        "plugins repeat/times_peer": 1.23,
        "share": 1.21,
        "plugins repeat/bytes_per_finding/ours": 1.02,
    }
    assert [change.is_worse for change in changes(BEFORE, after)] == [True] * 4 + [False] * 3
    assert worse(after, BEFORE) == {}
    (head, first, *_) = rows_of(changes(BEFORE, after))
    assert head == ("case", "kind", "committed", "now", "times as bad", "")
    assert first == ("days/0/sent", "count", "0", "3", "inf", "WORSE (over 1.02)")


def test_a_slow_machine_makes_nothing_worse_and_a_fast_one_hides_nothing() -> None:
    def on(machine: float, ours: float = 1.0) -> dict[str, object]:
        times = {"ours": 25.0 * machine * ours, "peer": 200.0 * machine}
        return {"plugins repeat": {**BEFORE["plugins repeat"], **times}, "days": [{"cpu": 1.0 * machine * ours}]}  # type: ignore[dict-item]

    assert worse(on(1.0), on(3.0)) == {}
    assert worse(on(1.0), on(0.5, ours=1.5)) == {"plugins repeat/ours": 1.5, "days/0/cpu": 1.5}


def test_cpu_without_a_peer_is_shown_and_not_judged() -> None:
    (change,) = changes({"index": {"cpu_s": 1.0}}, {"index": {"cpu_s": 9.0}})
    assert (change.kind, change.factor, change.is_worse) == (Kind.ALONE, 9.0, False)


def test_new_results_are_compared_with_the_committed_ones_and_not_with_those_of_an_hour_ago(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.com")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    file = tmp_path / "results.json"
    assert committed(file) == {}
    file.write_text('{"job": 1}')
    assert committed(file) == {"job": 1}
    git("init")
    git("add", "results.json")
    git("commit", "-m", "results")
    file.write_text('{"job": 2}')
    assert committed(file) == {"job": 1}


def test_every_suite_has_figures_that_are_compared() -> None:
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    for name in suites_of(quick=False):
        assert changes(results[name]["figures"], results[name]["figures"]), f"nothing of {name} is compared"


def test_the_tables_of_the_docs_are_those_of_the_committed_results(tmp_path: Path) -> None:
    file = ROOT / "benchmarks" / "results.json"
    assert file.exists(), "run `make bench`, then `make bench BENCH=--render`, and commit both"
    pages = tuple(tmp_path / page.name for page in PAGES)
    for page, copy in zip(PAGES, pages, strict=True):
        copy.write_text(page.read_text())
    render(json.loads(file.read_text()), pages)
    for page, copy in zip(PAGES, pages, strict=True):
        assert copy.read_text() == page.read_text(), f"run `make bench BENCH=--render`: {page.name} is older"


def test_what_is_spread_is_divided_by_the_cores_and_the_import_waits_for_the_quota() -> None:
    stages = {name: {"cpu": cpu} for name, cpu in (("plan", 1), ("export", 10), ("transform", 80), ("import", 40))}
    day = {"findings": 1_000_000, "sent": 500_000, "stages": stages}
    assert seconds(day, 4, 2_000_000, accounts=1000) == {"plan": 2, "export": 20, "transform": 40, "import": 20}
    assert seconds(day, 4, 2_000_000, accounts=10)["import"] == 100
    assert seconds(day, 4, 2_000_000, accounts=10)["transform"] == 40


def test_workers_are_compared_with_the_first_number_of_them() -> None:
    stage = {"tasks": 8, "seconds": 30.0, "busy": 30.0}
    faster = {"tasks": 8, "seconds": 20.0, "busy": 36.0}
    measured = {
        "1": {"run": 90.0, "transform": stage, "import": stage},
        "2": {"run": 70.0, "transform": faster, "import": faster},
    }
    assert rows_of_workers(measured)[1:] == [
        ("1", "90 s", "30 s (1.0 times)", "30 s (1.0 times)", "1.0", "1.0"),
        ("2", "70 s", "20 s (1.5 times)", "20 s (1.5 times)", "1.8", "1.8"),
    ]


def test_days_lived_through_several_times_are_one_day() -> None:
    lives = [[{"day": "first", "sent": 3, "cpu": cpu, "import_cpu": 1.0, "peak_mb": 5}] for cpu in (1.0, 9.0, 2.0)]
    assert medians(lives) == [{"day": "first", "sent": 3, "cpu": 2.0, "import_cpu": 1.0, "peak_mb": 5}]
    lives[1][0]["sent"] = 4
    with pytest.raises(RuntimeError, match="was not the same"):
        medians(lives)


def test_what_lies_between_tasks_is_counted_once() -> None:
    assert without([], 0, 5) == 5
    # Two at the same time, one within another, and one that ends after what is asked for.
    assert without([(1, 3), (2, 4), (2.5, 3), (6, 9)], 0, 8) == 1 + 2
    assert without([(7, 9), (0, 2)], 0, 10) == 5 + 1
    assert without([(8, 9)], 0, 5) == 5
    assert seconds_of("2026-11-29T00:00:01.5Z") - seconds_of("2026-11-29T00:00:00+00:00") == 1.5


def test_every_suite_has_its_place_in_the_docs() -> None:
    marked = {name for page in PAGES for name in re.findall(r"<!-- bench (\w+) -->", page.read_text())}
    assert marked == {*suites_of(quick=True), "machine", "scaling", "first_run", "small_run", "pods", "deployments"}
    for page in PAGES:
        assert page.read_text().count("<!-- bench ") == page.read_text().count("<!-- end -->")


def test_the_job_of_the_benchmark_runs_to_its_end(tmp_path: Path) -> None:
    with server("cheap_hub", "--latency-ms", 0) as hub, server("cheap_tenable", 1000) as tenable:
        measured = once(our("job_side", tenable, hub, "off"), {"BENCHMARK_SCRATCH": str(tmp_path)})
    # What is fixed is not imported by a first run.
    assert 500 < measured["findings"] < 1000
    assert set(measured["stages"]) == {"plan", "export", "transform", "import", "settle"}


def test_the_days_of_the_benchmark_are_what_their_names_say(tmp_path: Path) -> None:
    with server("cheap_hub", "--latency-ms", 0) as hub, server("cheap_tenable", 1000) as tenable:
        days = once(our("days_side", tenable, hub), {"BENCHMARK_SCRATCH": str(tmp_path)})["days"]
    first, quiet, changed, full, eighth = days
    assert [day["full"] for day in days] == [True, False, False, True, False]
    assert first["sent"] > 500
    assert (quiet["sent"], quiet["calls"], full["sent"], eighth["sent"], eighth["calls"]) == (0, 0, 0, 0, 0)
    assert 0 < changed["sent"] <= 10
    assert quiet["findings"] >= first["findings"]


def test_a_run_at_size_has_a_process_for_each_task(tmp_path: Path) -> None:
    with server("cheap_hub") as hub, server("cheap_tenable", 2000, 2) as tenable:
        days = once(our("size_side", tenable, hub, 2, "unlimited", 2), {"BENCHMARK_SCRATCH": str(tmp_path)})["days"]
    first, quiet = days
    assert [(day["full"], day["destinations"]) for day in days] == [(True, 2), (False, 2)]
    assert first["sent"] > 1000
    assert (quiet["sent"], quiet["calls"]) == (0, 0)
    for day in days:
        stages = day["stages"]
        assert [stages[name]["tasks"] for name in ("plan", "export", "import", "settle")] == [3, 2, 2, 3]
        assert all(stage["cpu"] > 0 and stage["peak_mb"] > 50 and stage["xcom_bytes"] for stage in stages.values())
        assert day["files"] > day["largest_folder"] > 0
        assert day["index_bytes"] > 0
    assert [row[:3] for row in rows_of_days(days)[-2:]] == [
        ("all scanned again", "settle", "3"),
        ("all scanned again", "all", "12"),
    ]


def test_the_index_of_the_benchmark_is_compared_whole(tmp_path: Path) -> None:
    arguments = ("--index", 20_000, "--staged", 5_000, "--folder", tmp_path)
    assert once(our("compare_side", *arguments))["sent"] == 0
    assert once(our("compare_side", *arguments, "--changed", 100))["sent"] == 50


def test_the_page_says_from_which_factor_on_a_figure_is_flagged() -> None:
    page = (ROOT / "docs" / "performance.md").read_text().replace("\n", " ")
    said = "factor of {0} (counts and bytes), {1} (memory, ratios) or {2} (CPU, in relation to what the peer took"
    assert TOLERATED[Kind.MEMORY] == TOLERATED[Kind.RATIO]
    assert said.format(TOLERATED[Kind.COUNT], TOLERATED[Kind.RATIO], TOLERATED[Kind.TIME]) in page


def test_no_change_of_the_committed_results_needed_a_second_run() -> None:
    """As docs/performance.md says."""
    measured = json.loads((ROOT / "benchmarks" / "results.json").read_text())["freshness"]["figures"]["schedules"]
    assert set(measured) == {name for name, *_ in SCHEDULES}
    for schedule in measured.values():
        assert (schedule["late"], schedule["never"]) == (0, 0)
        assert schedule["changes"] > 200


def test_waits_are_told_as_people_say_them_and_quantiles_are_those_of_all_values() -> None:
    assert [said(seconds) for seconds in (0, 59.9, 61, 3599, 3600, 80_450.9)] == [
        "0 min 00 s",
        "0 min 59 s",
        "1 min 01 s",
        "59 min 59 s",
        "1 h 00 min",
        "22 h 20 min",
    ]
    values = [float(each) for each in range(101)]
    assert (quantile(values, 0.5), quantile(values, 0.95)) == (50.0, 95.0)


def test_durations_are_said_as_people_say_them() -> None:
    assert [duration(seconds) for seconds in (10, 99, 100, 1000, 5999, 6000, 100_000)] == [
        "10 s",
        "99 s",
        "1.7 min",
        "17 min",
        "100 min",
        "1.7 h",
        "28 h",
    ]


def test_the_benchmarks_hub_passes_the_check_before_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the runs under measurement wait for a retry until somebody stops them."""
    for name in ("AIRFLOW_CONN_AWS_DEFAULT", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.setenv(name, "")
    with server("cheap_hub") as port:
        connect(int(port))
        hook = SecurityHubHook(aws_conn_id="aws_default", region_name=REGION, account=ACCOUNT)
        assert hook.preflight("default", enable_product=False) is False


def test_results_of_audits_are_of_the_samples_size_and_become_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estate = Generated(200)
    estate.write(tmp_path, kinds=("assets",))
    (chunk,) = GeneratedAudits(estate).chunks()
    (tmp_path / "compliance-0.json").write_bytes(chunk)
    made, example = json.loads(chunk), json.loads(EXAMPLE.read_text())[0]
    assert len(made) == 200
    assert made[0].keys() == example.keys()
    size = len(json.dumps(example))
    assert all(abs(len(json.dumps(record)) - size) < 30 for record in made)
    monkeypatch.setattr(shard, "read_blocks", shard.read_blocks)
    lines: list[bytes] = []
    # All hosts of the estate but those outside AWS.
    our_side.in_memory(str(tmp_path), "compliance", our_side.audits_of)(lines)
    assert 50 <= len(lines) <= 200
    findings = [json.loads(line) for line in lines]
    assert len({finding["Id"] for finding in findings}) == len(findings)
    assert {finding["Compliance"]["Status"] for finding in findings} == {"PASSED", "FAILED", "WARNING"}


def test_every_side_of_the_transform_maps_the_same_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Generated(MODEL_HOSTS * PER_HOST).write(tmp_path)
    found = {}
    for side in (our_side.transform, our_side.floor, our_side.staged):
        with monkeypatch.context() as patch, closing(side(str(tmp_path))) as measuring:  # type: ignore[type-var]
            # Two of the sides replace how parts are read.
            patch.setattr(shard, "read_blocks", shard.read_blocks)
            found[side.__name__] = next(measuring)["findings"]
    assert found["transform"] > PER_HOST
    assert len(set(found.values())) == 1


def test_peak_memory_of_a_process_does_not_include_that_of_the_one_that_started_it() -> None:
    code = (
        "from benchmarks.peak import peak_mb; before = peak_mb(); held = bytearray(100 << 20); print(before, peak_mb())"
    )
    held = bytearray(300 << 20)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert len(held) == 300 << 20
    before, after = map(float, done.stdout.split())
    assert 5 < before < 60
    assert 95 < after - before < 110


def test_the_memory_of_building_an_index_does_not_count_as_that_of_comparing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def measure(command: list[object]) -> dict[str, float]:
        asked.append([str(part) for part in command])
        figures = ("sent", "us_a_finding", "cpu_s", "mb_above_airflow", "index_bytes_a_row", "ages_cpu_s")
        return dict.fromkeys(figures, 1.0)

    monkeypatch.setattr(hub_state, "once", measure)
    hub_state.index([(50, 50)])
    assert [command[-1] == "--only-build" for command in asked] == [True, False, True, False]
    assert [command[:-1] for command in asked[::2]] == asked[1::2]


def test_measured_processes_may_keep_what_they_compile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(benchmarks.__main__, "PEER_PYTHON", Path(sys.executable))
    program = "import json, sys; print(json.dumps({'keeps': not sys.dont_write_bytecode}))"
    measure = {"one": lambda: ([("who",)], once([sys.executable, "-c", program]))}
    monkeypatch.setattr(benchmarks.__main__, "suites_of", lambda *, quick: measure)
    results = tmp_path / "results.json"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "one", "--json", str(results)])
    assert benchmarks.__main__.main() == 0
    assert json.loads(results.read_text())["one"]["figures"] == {"keeps": True}


def test_an_export_is_measured_by_how_many_chunks_are_downloaded_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downloads, "SECONDS", 0.0)
    rows, figures = downloads.downloads(10_000, (1, 2))
    assert [row[0] for row in rows[1:]] == ["1", "2"]
    assert {found["records"] for found in figures["downloads"].values()} == {10_000}
