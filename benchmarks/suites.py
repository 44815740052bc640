"""The measurements of `make bench`, each giving rows for a table and figures for the JSON file."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.audits import GeneratedAudits
from benchmarks.estate import Generated
from benchmarks.measure import (
    PEER_PYTHON,
    PEER_SCRIPT,
    ROOT,
    Measurement,
    interleaved,
    many,
    median,
    ours,
    peer,
)
from benchmarks.our_side import in_memory

ACCOUNT = "111122223333"
Rows = list[tuple[str, ...]]
#: Those whose memory is measured.
STAGES = ("export", "transform", "transform_audits", "import")


@contextlib.contextmanager
def server(module: str, *arguments: Any) -> Iterator[str]:
    """One of our servers in its own process; yields its port."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def once(command: list[Any], env: dict[str, str] | None = None) -> Measurement:
    """Run a program that measures once."""
    quiet = {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR", "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **quiet, **(env or {})},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    answer: Measurement = json.loads(done.stdout.splitlines()[-1])
    return answer


def our(module: str, *arguments: Any) -> list[Any]:
    """The command that runs a measuring module."""
    return [sys.executable, "-W", "ignore", "-m", f"benchmarks.{module}", *arguments]


def transform(rounds: int, records: int = 25_000) -> tuple[Rows, Any]:
    """1. Findings per CPU second, from raw chunks to serialised findings."""
    rows: Rows = [("records", "who", "findings per CPU s", "us of CPU per finding", "times the peer", "bar")]
    figures: dict[str, Any] = {}
    for plugins in (1, 20):
        with tempfile.TemporaryDirectory() as scratch:
            estate = Generated(records, plugins=plugins)
            estate.write(Path(scratch))
            children = {
                "ours": ours("our_side", "transform", scratch),
                "peer": peer("transform", scratch),
                "floor": ours("our_side", "floor", scratch),
                "ours, staged to staged": ours("our_side", "staged", scratch),
            }
            with many(children):
                results = interleaved(children, rounds)
        seconds = {name: median(found, "cpu") / found[0]["findings"] for name, found in results.items()}
        kind = "plugins repeat" if plugins == 1 else "20 times as many plugins"
        figures[kind] = {
            **seconds,
            "times_peer": seconds["peer"] / seconds["ours"],
            "times_floor": seconds["ours"] / seconds["floor"],
            "bytes_per_finding": {
                name: results[name][0]["bytes"] / results[name][0]["findings"] for name in ("ours", "peer")
            },
        }
        for name, value in seconds.items():
            bar = ">= 10 times the peer" if name == "ours" else ""
            rows.append((kind, name, f"{1 / value:,.0f}", f"{1e6 * value:.1f}", f"{seconds['peer'] / value:.1f}", bar))
    row, figures["results of audits"] = audits(rounds, records)
    return [*rows, row], figures


def audits(rounds: int, records: int) -> tuple[tuple[str, ...], Any]:
    """The row of results of audits, which the peer does not know."""
    with tempfile.TemporaryDirectory() as scratch:
        estate = Generated(records)
        estate.write(Path(scratch), kinds=("assets",))
        for number, chunk in enumerate(GeneratedAudits(estate).chunks()):
            (Path(scratch) / f"compliance-{number:06d}.json").write_bytes(chunk)
        with many({"ours": ours("our_side", "audits", scratch)}) as children:
            found = interleaved(children, rounds)["ours"]
    each = median(found, "cpu") / found[0]["findings"]
    figures = {"ours": each, "bytes_per_finding": found[0]["bytes"] / found[0]["findings"]}
    return ("results of audits", "ours", f"{1 / each:,.0f}", f"{1e6 * each:.1f}", "", ""), figures


def importing(rounds: int, findings: int = 5_000) -> tuple[Rows, Any]:
    """2. CPU of a call of 100 findings."""
    rows: Rows = [("who", "ms of CPU per call", "us of CPU per finding", "findings/s alone", "bar")]
    figures = {}
    with tempfile.TemporaryDirectory() as scratch, server("cheap_hub") as port:
        file = findings_file(Path(scratch), findings)
        children = {
            "ours": ours("import_side", "ours", port, file),
            "boto3's default": ours("import_side", "boto3", port, file),
        }
        with many(children):
            results = interleaved(children, rounds)
    for name, found in results.items():
        cpu = median(found, "cpu")
        figures[name] = {
            "ms_per_call": 1e3 * cpu / found[0]["calls"],
            "us_per_finding": 1e6 * cpu / found[0]["findings"],
        }
        bar = "<= 3 ms per call" if name == "ours" else ""
        rate = found[0]["findings"] / median(found, "wall")
        rows.append(
            (name, f"{figures[name]['ms_per_call']:.2f}", f"{figures[name]['us_per_finding']:.1f}", f"{rate:,.0f}", bar)
        )
    return rows, figures


def findings_file(scratch: Path, findings: int) -> Path:
    """Findings as lines, made by the transform."""
    Generated(findings * 5 // 4 // 5000 * 5000 + 5000).write(scratch / "chunks")
    lines: list[bytes] = []
    in_memory(str(scratch / "chunks"))(lines)
    file = scratch / "findings.jsonl"
    file.write_bytes(b"\n".join(lines[:findings]))
    return file


def job(vulnerabilities: int, peer_vulnerabilities: int, rounds: int) -> tuple[Rows, Any]:
    """3. The complete job in one process, with one account."""
    rows: Rows = [
        ("hub", "who", "vulnerabilities", "findings/s", "us of CPU per finding", "share of the quota", "peak MB", "bar")
    ]
    figures: dict[str, Any] = {}
    for latency, quota in ((0, False), (100, False), (300, False), (0, True), (300, True)):
        limits = ("--rate", 10, "--burst", 30) if quota else ()
        with tempfile.TemporaryDirectory() as scratch, server("cheap_hub", "--latency-ms", latency, *limits) as hub:
            with server("cheap_tenable", vulnerabilities) as tenable:
                mine = [
                    once(our("job_side", tenable, hub, "on" if quota else "off"), {"BENCHMARK_SCRATCH": scratch})
                    for _ in range(rounds if not latency else 1)
                ]
            theirs = []
            # The peer does not respect the quota: a refused call loses its batch, and everything after it fails.
            if not quota:
                with server("cheap_tenable", peer_vulnerabilities) as tenable:
                    config = peer_config(Path(scratch), tenable)
                    theirs = [
                        once([PEER_PYTHON, "-W", "ignore", PEER_SCRIPT, "job", config], aws_env(Path(scratch), hub))
                    ]
        name = f"{latency} ms, quota {'on' if quota else 'off'}"
        figures[name] = {}
        for who, found, records in (("ours", mine, vulnerabilities), ("peer", theirs, peer_vulnerabilities)):
            if not found:
                continue
            findings = found[0]["findings"]
            cpu, wall = median(found, "cpu"), median(found, "wall")
            figures[name][who] = {
                "us_per_finding": 1e6 * cpu / findings,
                "findings_per_second": findings / wall,
                "peak_mb": median(found, "peak_mb"),
            }
            share, bar = "", "<= 60 us" if who == "ours" and (latency, quota) == (0, False) else ""
            if who == "ours":
                stages = {stage: value["cpu"] for stage, value in found[0]["stages"].items()}
                figures[name][who] |= {"stages_us": {stage: 1e6 * value / findings for stage, value in stages.items()}}
                figures[name][who]["staged_bytes_per_finding"] = found[0]["staged_bytes"] / findings
                if quota:
                    ideal = (found[0]["calls"] - 30) / 10
                    figures[name][who]["share"] = ideal / found[0]["stages"]["import"]["wall"]
                    share, bar = f"{100 * figures[name][who]['share']:.1f} %", ">= 95 %" if latency else ""
            peak = f"{median(found, 'peak_mb'):.0f}"
            rows.append(
                (name, who, f"{records:,}", f"{findings / wall:,.0f}", f"{1e6 * cpu / findings:.1f}", share, peak, bar)
            )
    return rows, figures


def peer_config(scratch: Path, tenable: str) -> Path:
    """The peer's configuration, as its TOML says it."""
    config = {
        "tvm_url": f"http://127.0.0.1:{tenable}",
        "access_key": "access",
        "secret_key": "secret",
        "severity": ["info", "low", "medium", "high", "critical"],
        "aws_profile": [{"name": "benchmark", "region": "us-east-1", "accounts": [ACCOUNT]}],
    }
    (scratch / "peer.json").write_text(json.dumps(config))
    return scratch / "peer.json"


def aws_env(scratch: Path, hub: str) -> dict[str, str]:
    """AWS settings for the peer's boto3."""
    (scratch / "aws").write_text(
        "[profile benchmark]\naws_access_key_id = AKIAPEER\naws_secret_access_key = secret\nregion = us-east-1\n"
    )
    return {
        "AWS_CONFIG_FILE": str(scratch / "aws"),
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_ENDPOINT_URL_SECURITYHUB": f"http://127.0.0.1:{hub}",
    }


def memory(sizes: list[int]) -> tuple[Rows, Any]:
    """4. Peak memory of each stage in its own process, above an interpreter that has only loaded Airflow's task SDK."""
    rows: Rows = [("stage", *(f"{size:,} records" for size in sizes), "bar")]
    bare = once(our("stage_side", "bare", "/", 0))["peak_mb"]
    figures: dict[str, Any] = {"bare_mb": bare}
    for size in sizes:
        with (
            tempfile.TemporaryDirectory() as scratch,
            server("cheap_hub") as hub,
            server("cheap_tenable", size) as tenable,
        ):
            once(our("stage_side", "generate", scratch, size))
            once(our("stage_side", "generate_audits", scratch, size))
            figures[str(size)] = {
                stage: once(our("stage_side", stage, scratch, size, tenable if stage == "export" else hub))
                for stage in STAGES
            }
            shutil.rmtree(scratch, ignore_errors=True)
            Path(scratch).mkdir()
    for stage in STAGES:
        rows.append(
            (
                stage.replace("_", " of "),
                *(f"+{figures[str(size)][stage]['peak_mb'] - bare:.0f} MB" for size in sizes),
                "< 300 MB above Airflow's own",
            )
        )
    return rows, figures


def accounts(counts: list[int], findings: int) -> tuple[Rows, Any]:
    """5. Many destinations, each at its own quota, on this machine."""
    rows: Rows = [("destinations", "findings/s", "ideal", "share", "CPU cores taken", "peak MB of a process")]
    figures = {}
    with tempfile.TemporaryDirectory() as scratch:
        file = findings_file(Path(scratch), 2_000)
        for count in counts:
            with server("cheap_hub", "--rate", 10, "--burst", 30, "--latency-ms", 100) as port:
                found = once(our("accounts_side", port, count, findings, file))
            calls = -(-findings // 100)
            ideal = count * findings / ((calls - 30) / 10)
            figures[str(count)] = {**found, "ideal": ideal}
            share = 100 * found["rate"] / ideal
            rows.append(
                (
                    str(count),
                    f"{found['rate']:,.0f}",
                    f"{ideal:,.0f}",
                    f"{share:.0f} %",
                    f"{found['cpu'] / found['wall']:.2f}",
                    f"{found['peak_mb']:.0f}",
                )
            )
    return rows, figures


def dag(rounds: int, vulnerabilities: int) -> tuple[Rows, Any]:
    """6. What parsing the DAG file loads, and what a run costs compared with the same job in one process."""
    rows: Rows = [("what", "measured", "bar")]
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        bare = Path(scratch) / "bare.py"
        bare.write_text(
            "from airflow.sdk import DAG, BaseHook, BaseOperator, ObjectStoragePath, Param, TriggerRule, Variable, "
            "dag, task\n"
            "from airflow.timetables.interval import DeltaDataIntervalTimetable\nfrom airflow.triggers.base import "
            "BaseTrigger\n"
        )
        files = {
            "imports from Airflow only": bare,
            "tenable_to_security_hub.py": ROOT / "dags" / "tenable_to_security_hub.py",
        }
        found: dict[str, list[Measurement]] = {name: [] for name in files}
        for _ in range(rounds):
            for name, file in files.items():
                found[name].append(once(our("dag_cost", "modules", file)))
    for name, measured in found.items():
        figures[name] = {
            "modules": measured[0]["modules"],
            "heavy": measured[0]["heavy"],
            "cpu": median(measured, "cpu"),
        }
        heavy = ", ".join(measured[0]["heavy"]) or "none"
        rows.append(
            (
                f"parsing: {name}",
                f"{measured[0]['modules']:,} modules, of the heavy ones {heavy}; {figures[name]['cpu']:.2f} s of CPU",
                "",
            )
        )
    more = set(measured[0]["heavy"]) - set(figures["imports from Airflow only"]["heavy"])
    rows.append(("heavy modules that Airflow does not load itself", ", ".join(sorted(more)) or "none", "none"))
    with server("cheap_hub") as hub, server("cheap_tenable", vulnerabilities) as tenable:
        whole, alone = once(our("dag_run", tenable, hub)), once(our("job_side", tenable, hub, "on"))
    figures["run"] = {**whole, "alone": alone, "vulnerabilities": vulnerabilities}
    per_task = (whole["cpu"] - alone["cpu"]) / whole["tasks"]
    rows += [
        ("tasks of a run with one shard and one destination", str(whole["tasks"]), ""),
        (
            "XComs of that run",
            f"{whole['xcoms']}, {whole['xcom_bytes']:,} bytes, the largest {whole['largest_xcom_bytes']:,}",
            "",
        ),
        (
            f"CPU of a run of {vulnerabilities:,} by `dag.test`",
            f"{whole['cpu']:.1f} s, the same job in one process {alone['cpu']:.1f} s",
            "",
        ),
        ("so Airflow's own share", f"{per_task:.2f} s of CPU a task", ""),
    ]
    return rows, figures
