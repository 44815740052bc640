"""Mutation check: do the unit tests notice when the code is changed? `make mutation`.

Two parts. *Known bad variants* are mistakes that other connectors have made (a lost chunk passed over, FailedFindings
ignored, ...); each must be caught by the test that it names. *Mutants* are made of the modules that decide about every
finding: operators, constants, conditions and returns are changed one at a time, and the module's unit tests must fail.

    python scripts/mutation.py                    both, all mutants
    python scripts/mutation.py --sample 150       both, 150 mutants chosen by --seed
    python scripts/mutation.py --only watermark   mutants of one module
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "airflow_provider_tenable"

#: Module -> the tests that must notice.
TARGETS = {
    "run.watermark": ["tests/unit/run/test_watermark.py"],
    "run.conf": ["tests/unit/run/test_run_conf.py"],
    **{f"run.{name}": [f"tests/unit/run/test_{name}.py"] for name in ("first_run", "unserved")},
    "security_hub.responses": ["tests/unit/security_hub/test_responses.py", "tests/unit/security_hub/test_importer.py"],
    **{
        f"security_hub.{name}": ["tests/unit/security_hub/test_importer.py"]
        for name in ("batches", "sender", "importer")
    },
    **{f"export.{name}": ["tests/unit/export/test_state_machine.py"] for name in ("state_machine", "reattach")},
    "export.filter_match": ["tests/unit/export/test_filter_match.py"],
    **{
        f"tenable_vm.{name}": [f"tests/unit/tenable_vm/test_{name}.py"] for name in ("bounds", "response_body", "times")
    },
    # The file of the module's own tests: what it notices, all of them together notice too.
    **{
        f"asff.{name}": [f"tests/unit/asff/test_{name}.py"]
        for name in ("identity", "limits", "plugin", "resource", "plugin_output")
    },
    **{
        f"asff.{name}": ["tests/unit/asff/test_finding.py", "tests/unit/asff/test_finding_line.py"]
        for name in ("finding", "record_fields", "fitting")
    },
    **{f"asff.{name}": ["tests/unit/asff/test_plugin.py"] for name in ("vulnerabilities", "packages")},
    "asff.memo": ["tests/unit/asff/test_finding_line.py"],
    "aws": ["tests/unit/asff/test_identity.py"],
    "assets.account": ["tests/unit/asff/test_resource.py"],
    "transform.plugin_memo": ["tests/unit/transform/test_mapper.py"],
    **{f"staging.{name}": ["tests/unit/staging/test_index_files.py"] for name in ("index_files", "keyed_rows")},
    **{f"tenable_vm.{name}": ["tests/unit/tenable_vm/test_decode.py"] for name in ("decode", "lenient")},
}


@dataclass(frozen=True)
class Variant:
    """A mistake as somebody has made it, and the test that catches it."""

    name: str
    file: str
    old: str
    new: str
    test: str


KNOWN_BAD = [
    Variant(
        "a finished job is taken for whole although chunks failed",
        "export/state_machine.py",
        "            partial = self._partial(status)\n",
        "            partial = None\n",
        "tests/faults/test_tenable_faults.py::test_broken_job_is_never_taken_for_whole[fail_chunks-[1]-vulns]",
    ),
    Variant(
        "a chunk that cannot be decoded is skipped",
        "export/state_machine.py",
        '        raise ExportNotFoundError(f"chunk {chunk} could',
        "        return Part('none', 0, 0)\n        raise ExportNotFoundError(f\"chunk {chunk} could",
        "tests/faults/test_tenable_faults.py::test_chunk_that_is_never_a_list_is_no_empty_one",
    ),
    Variant(
        "an answer that is too large ends where the bound is, as if it were complete",
        "tenable_vm/bounds.py",
        "            if self._cut:\n",
        "            if True:\n",
        "tests/unit/tenable_vm/test_bounds.py::test_an_answer_without_end_is_broken_off",
    ),
    Variant(
        "a large chunk is empty for those who did not ask for a file",
        "tenable_vm/bounds.py",
        "        return piece\n\n    def read(",
        "        return piece if self._size < 20_000_000 else b''\n\n    def read(",
        "tests/integration/test_get_conn.py::test_pytenables_iterator_brings_every_record_of_a_large_chunk[25-plain]",
    ),
    Variant(
        "FailedFindings are ignored",
        "security_hub/sender.py",
        "            entry = failed.get(item.id)\n",
        "            entry = None\n",
        "tests/faults/test_hub_faults.py::test_finding_that_is_refused_for_good_is_on_record_and_the_others_land",
    ),
    Variant(
        "the watermark moves when the run begins",
        "run/plan.py",
        "    write_json(run.plan, plan)\n",
        "    write_json(run.plan, plan)\n    watermark.write_watermark(context['dag_run'].dag_id, window.until)\n",
        "tests/faults/"
        "test_crashes.py::test_run_killed_at_every_boundary_is_carried_on_by_the_retry_of_its_task[plan_written]",
    ),
    Variant(
        "a misspelt dry_run is a real run",
        "run/conf.py",
        "    if unknown:\n",
        "    if False:\n",
        "tests/unit/run/test_run_conf.py::test_param_that_resembles_none_is_refused_with_all_that_there_are",
    ),
    Variant(
        "a scheduled run sends before anybody has looked",
        "run/first_run.py",
        '_UNATTENDED = frozenset({"scheduled", ',
        "_UNATTENDED = frozenset({",
        "tests/unit/run/"
        "test_first_run.py::test_run_that_nobody_asked_for_is_held_back_until_something_says_that_the_dag_sends[scheduled]",
    ),
    Variant(
        "a run that is held back is so in its log only",
        "run/plan.py",
        "        settings = replace(settings, dry_run=True)\n",
        "",
        "tests/integration/"
        "test_first_steps.py::test_scheduled_runs_of_a_new_deployment_send_nothing_until_a_run_was_triggered",
    ),
    Variant(
        "a run that is held back sends when it is cleared",
        "run/plan.py",
        'before=before if before and before["asked"] == asked else None',
        "before=None",
        "tests/integration/test_first_steps.py::test_run_that_was_held_back_stays_so_when_it_is_cleared[True]",
    ),
    Variant(
        "a run that leaves out most of what it is there for moves the watermark",
        "run/finish.py",
        "    check_served(ledger, run, plan)\n",
        "",
        "tests/integration/test_unserved.py::test_accounts_that_cannot_be_reached_are_named_with_their_records",
    ),
    Variant(
        "the watermark is the end of the run and not its beginning",
        "run/watermark.py",
        "    target = min(window.until, int(data_from)) if data_from is not None else window.until\n",
        "    import time\n    target = int(time.time())\n",
        "tests/faults/test_state_faults.py::test_worker_whose_clock_is_wrong_skips_nothing",
    ),
    Variant(
        "the port is not part of the id",
        "asff/identity.py",
        '/{protocol_of(protocol)}/{port_of(port)}"',
        '/{protocol_of(protocol)}"',
        "tests/unit/asff/test_identity.py::test_finding_id_is_distinct_per",
    ),
    Variant(
        "account and Region have changed places in the id",
        "asff/identity.py",
        "{region}/{account}/{_quoted(resource)}/",
        "{account}/{region}/{_quoted(resource)}/",
        "tests/unit/asff/test_identity.py::test_ids_of_findings_are_those_of_the_table",
    ),
    Variant(
        "what is fixed is active, and what is open is archived",
        "asff/finding.py",
        "if archived else",
        "if not archived else",
        "tests/unit/asff/test_finding.py::test_record_state",
    ),
    Variant(
        "the last of several CVEs is lost",
        "asff/vulnerabilities.py",
        'b"},".join(map(b"".join, entries))',
        'b"},".join(map(b"".join, list(entries)[:1]))',
        "tests/unit/asff/test_finding_line.py::test_joined_pieces_are_the_bytes_of_the_struct",
    ),
    Variant(
        "a receipt is written before the call",
        "security_hub/importer.py",
        "                            pending.add(pool.submit(self._sender.send, batch))\n",
        "                            self._record(Outcome(accepted=batch))\n                            "
        "self.receipts.flush()\n"
        "                            pending.add(pool.submit(self._sender.send, batch))\n",
        "tests/faults/test_hub_faults.py::test_throttling_without_end_fails_the_task_and_its_retry_resumes",
    ),
    Variant(
        "the cursor looks at the time of the scan",
        "run/watermark.py",
        '{"indexed_at" if self.kind == INCREMENTAL else "since": self.since}',
        '{"since": self.since}',
        "tests/faults/test_state_faults.py::test_finding_that_is_published_late_is_not_lost",
    ),
    Variant(
        "what is parked is dropped",
        "transform/waiting_records.py",
        "        write_whole(run.parked_pool / name_there, content)\n",
        "",
        "tests/unit/transform/test_waiting_records.py::test_what_one_run_parks_the_next_one_takes",
    ),
    Variant(
        "what one pass of a run has parked the next pass writes over",
        "transform/waiting_records.py",
        "-{hashlib.sha256(content).hexdigest()[:16]}{_ENDING}",
        "{_ENDING}",
        "tests/unit/transform/"
        "test_waiting_records.py::test_a_later_pass_of_a_run_writes_over_nothing_that_an_earlier_one_parked",
    ),
    Variant(
        "what was claimed is removed from the pool, read or not",
        "run/finish.py",
        'done=[name for each in settled for name in each["pool_parts"]]',
        "done=read_json(run.root / 'unparked.json') or []",
        "tests/faults/test_cleared_runs.py::test_plan_of_shards_that_is_cleared_alone_drops_no_parked_record_unread",
    ),
    Variant(
        "what an earlier pass had rejected counts for the present one",
        "run/ledger.py",
        'if line["part"] in entry["parts"]:',
        "if True:",
        "tests/unit/run/test_ledger.py::test_rejected_lines_of_an_earlier_pass_do_not_count",
    ),
    Variant(
        "an import that is refused everything keeps the refusals as settled",
        "security_hub/importer.py",
        "            self.receipts.reopen()\n",
        "",
        "tests/unit/security_hub/"
        "test_importer.py::test_what_was_in_flight_when_an_import_was_stopped_for_refusing_everything_is_sent_again_too",
    ),
    Variant(
        "a replay takes a run whose refusals were taken back",
        "run/replay.py",
        " and next(rejected_lines(run), None) is not None\n",
        "\n",
        "tests/unit/run/test_replay.py::test_a_run_whose_import_took_its_refusals_back_is_passed_over",
    ),
    Variant(
        "the role of an import is an argument of its mapped task",
        "run/plan.py",
        '"title": name_of(group),',
        '"title": name_of(group), "role_name": group[0].role_name,',
        "tests/unit/test_template_safety.py::test_plan_imports_returns_numbers_and_titles_of_checked_names",
    ),
    Variant(
        "an assignment is rendered",
        "operators/security_hub.py",
        '"dry_run",\n        "staging_path",\n    )',
        '"dry_run",\n        "staging_path",\n        "assignment",\n    )',
        "tests/unit/test_template_safety.py::test_an_assignment_is_in_no_templated_field",
    ),
    Variant(
        "what a run's params name as a role may be any text",
        "transform/routing.py",
        "    if role is not None and not is_role_name(role):\n",
        "    if False:\n",
        "tests/unit/transform/test_routing.py::test_a_malformed_destination_is_named_with_what_is_wrong",
    ),
    Variant(
        "what a manifest names is not checked again",
        "run/ledger.py",
        "        if fault := _fault_of(manifest):\n",
        "        if fault := None:\n",
        "tests/unit/run/"
        "test_ledger.py::test_a_manifest_that_was_changed_is_refused_before_anything_is_made_of_its_names",
    ),
    Variant(
        "what a group names is not checked again",
        "security_hub/assignment.py",
        "        if fault := fault_of(target):\n",
        "        if fault := None:\n",
        "tests/unit/security_hub/"
        "test_assignment.py::test_a_group_that_was_changed_is_refused_before_anything_is_made_of_its_names",
    ),
    Variant(
        "what an import is given as arguments is not checked",
        "operators/security_hub.py",
        "        if fault := fault_of(target):\n",
        "        if fault := None:\n",
        "tests/unit/operators/"
        "test_operators.py::test_arguments_are_checked_again_before_an_arn_or_a_connection_is_made_of_them",
    ),
    Variant(
        "a text is cut a byte too late",
        "asff/limits.py",
        "beginning(value, limit - 1).rstrip() + ELLIPSIS",
        "beginning(value, limit).rstrip() + ELLIPSIS",
        "tests/unit/asff/test_limits.py::test_text_at_the_limit_stays_and_one_over_is_cut_with_an_ellipsis",
    ),
    Variant(
        "a finding may be a byte too large",
        "asff/limits.py",
        "FINDING_BYTES = ",
        "FINDING_BYTES = 1 + ",
        "tests/unit/asff/test_limits.py::test_limit_is_the_published_one",
    ),
]


# --- known bad variants: in a copy of the project ---


def check_variants(names: str | None) -> int:
    """Apply each to a copy and run its test there. The number that was not caught is returned."""
    missed = 0
    for variant in KNOWN_BAD:
        if names and names not in variant.name:
            continue
        with tempfile.TemporaryDirectory(prefix="variant-") as folder:
            for part in (PACKAGE, "tests", "sandbox", "dags", "scripts"):
                shutil.copytree(ROOT / part, Path(folder) / part, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / "pyproject.toml", folder)
            file = Path(folder) / PACKAGE / variant.file
            text = file.read_text()
            if variant.old not in text:
                raise SystemExit(f"{variant.file} no longer has what '{variant.name}' changes: {variant.old!r}")
            file.write_text(text.replace(variant.old, variant.new, 1))
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", variant.test]
            ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
        caught = ended.returncode == 1 and " failed" in ended.stdout
        missed += not caught
        print(f"{'caught' if caught else 'NOT CAUGHT':10} {variant.name}: {variant.test}", flush=True)
        if not caught:
            print(ended.stdout[-1500:])
    return missed


# --- mutants: in memory, each in a forked child ---

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.Mod: ast.Mult,
}


@dataclass(frozen=True)
class Mutant:
    """One change in one module."""

    module: str
    line: int
    what: str
    source: str


def mutants(module: str) -> Iterator[Mutant]:
    """All mutants of a module."""
    source = (ROOT / PACKAGE / f"{module.replace('.', '/')}.py").read_text()
    tree = ast.parse(source)
    never_run = _annotations(tree)
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in never_run:
            continue
        for change in _changes(node):
            mutated = copy.deepcopy(tree)
            target = next(each for index, each in enumerate(ast.walk(mutated)) if index == number)
            what = change(target)
            yield Mutant(module, getattr(node, "lineno", 0), what, ast.unparse(ast.fix_missing_locations(mutated)))


def _annotations(tree: ast.AST) -> set[int]:
    """The nodes of all annotations: they are never evaluated, so that changing them changes nothing."""
    found = [
        each
        for node in ast.walk(tree)
        for each in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if each is not None
    ]
    return {id(node) for annotation in found for node in ast.walk(annotation)}


def _changes(node: ast.AST) -> Iterator[Any]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARE:
        yield lambda each: _swap(each.ops, 0, _COMPARE[type(each.ops[0])]())
    elif isinstance(node, ast.BoolOp):
        yield lambda each: _set(each, "op", ast.Or() if isinstance(each.op, ast.And) else ast.And())
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC and not _is_text(node):
        yield lambda each: _set(each, "op", _ARITHMETIC[type(each.op)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield (
            lambda each: (
                _set(each, "op", ast.UAdd())
                and _set(each, "operand", ast.Call(ast.Name("bool", ast.Load()), [each.operand], []))
            )
        )
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        yield lambda each: _set(each, "value", each.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield lambda each: _set(each, "value", not each.value)
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
        yield lambda each: _set(each, "test", ast.UnaryOp(ast.Not(), each.test))
    elif (
        isinstance(node, ast.Return)
        and node.value is not None
        and not (isinstance(node.value, ast.Constant) and node.value.value is None)
    ):
        yield lambda each: _set(each, "value", ast.Constant(None))
    elif isinstance(node, (ast.Expr, ast.AugAssign)) and not _is_talk(node):
        yield _drop
    elif isinstance(node, (ast.Break, ast.Continue)):
        yield _become_pass


def _is_text(node: ast.AST) -> bool:
    return any(
        isinstance(each, (ast.JoinedStr, ast.List, ast.Tuple))
        or (isinstance(each, ast.Constant) and isinstance(each.value, str))
        for each in ast.walk(node)
    )


def _is_talk(node: ast.AST) -> bool:
    """Docstrings, log lines and crash points: nothing that a unit test should notice."""
    value = getattr(node, "value", None)
    if isinstance(value, ast.Constant):
        return True
    if isinstance(value, ast.Call):
        function = ast.unparse(value.func)
        return function.startswith(("log.", "self._log_progress", "reached", "self.log.")) or function in (
            "gc.disable",
            "gc.enable",
        )
    return isinstance(value, (ast.Yield, ast.YieldFrom))


def _set(node: Any, field: str, value: Any) -> str:
    before = ast.unparse(node)
    setattr(node, field, value)
    return f"{before[:60]} -> {ast.unparse(ast.fix_missing_locations(node))[:60]}"


def _swap(items: list[Any], index: int, value: Any) -> str:
    before, items[index] = type(items[index]).__name__, value
    return f"{before} -> {type(value).__name__}"


def _drop(node: Any) -> str:
    before = ast.unparse(node)
    _become(node, ast.Expr(ast.Constant(None)))
    return f"{before[:60]} -> nothing"


def _become_pass(node: Any) -> str:
    before = type(node).__name__
    _become(node, ast.Pass())
    return f"{before} -> Pass"


def _become(node: Any, other: Any) -> None:
    position = {name: getattr(node, name, 0) for name in ("lineno", "col_offset", "end_lineno", "end_col_offset")}
    node.__class__ = other.__class__
    node.__dict__.clear()
    node.__dict__.update(other.__dict__, **position)


class _Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves the mutant in place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self.name, self.mutant = f"{PACKAGE}.{mutant.module}", mutant

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        return (
            importlib.util.spec_from_loader(fullname, self, origin=str(ROOT / PACKAGE))
            if fullname == self.name
            else None
        )

    def exec_module(self, module: Any) -> None:
        module.__file__ = str(ROOT / PACKAGE / f"{self.mutant.module.replace('.', '/')}.py")
        exec(compile(self.mutant.source, module.__file__, "exec"), module.__dict__)


def begin(mutant: Mutant | None, tests: list[str]) -> int:
    """Start the tests with the mutant (None: with the code as it is) in a child; its process id."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    if mutant:
        sys.meta_path.insert(0, _Loader(mutant))
    import pytest

    code = 2
    try:
        # Property tests are slow, and most mutants fall without them.
        for marked in ("not hypothesis", "hypothesis"):
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore", "-m", marked, *tests]))
            if code == pytest.ExitCode.NO_TESTS_COLLECTED:
                code = 0
            if code:
                break
    finally:
        os._exit(code)


def ended(pid: int) -> bool | None:
    """Whether a child's tests have passed; None while they run."""
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) == 0 if done else None


def passing(tests: list[str]) -> float:
    """How many seconds the tests take with the code as it is. :raises SystemExit: they fail, or do not end."""
    pid, began = begin(None, tests), time.monotonic()
    while (outcome := ended(pid)) is None and time.monotonic() < began + 1_200:
        time.sleep(0.02)
    if outcome is None:
        stop(pid)
    if not outcome:
        raise SystemExit(f"These tests fail with the code as it is: {' '.join(tests)}")
    return time.monotonic() - began


def stop(pid: int) -> None:
    """End a child and what it has started."""
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def outcomes(chosen: list[Mutant], seconds: dict[str, float], workers: int) -> Iterator[tuple[Mutant, str]]:
    """Each mutant, and what became of it: ``survived``, ``killed`` or ``endless``. As many are tried at the same time
    as there are workers.

    :param seconds: by module: after how long the tests are taken for endless.
    """
    waiting = list(reversed(chosen))
    running: dict[int, tuple[Mutant, float]] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            mutant = waiting.pop()
            running[begin(mutant, TARGETS[mutant.module])] = (mutant, time.monotonic() + seconds[mutant.module])
        time.sleep(0.02)
        for pid, (mutant, deadline) in list(running.items()):
            passed = ended(pid)
            if passed is None and time.monotonic() > deadline:
                stop(pid)
                del running[pid]
                yield mutant, "endless"
            elif passed is not None:
                del running[pid]
                yield mutant, "survived" if passed else "killed"


def check_mutants(options: argparse.Namespace) -> tuple[Counter[str], Counter[str]]:
    """Try the mutants; (killed, tried) by module. Whom the tests never end with has been noticed, and is named."""
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    # Imported once, before the children are made; the package itself is not. The tests' conftest sets Airflow up.
    import botocore.exceptions  # noqa: F401
    import hypothesis  # noqa: F401
    import msgspec  # noqa: F401
    import pytest  # noqa: F401

    import tests.conftest  # noqa: F401

    import airflow.exceptions  # noqa: F401  # isort: skip

    if len(os.listdir("/proc/self/task")) > 1:
        raise SystemExit(
            "A library has started threads: a child that is forked now may hang, and would count as killed."
        )
    chosen = [mutant for module in TARGETS if not options.only or options.only in module for mutant in mutants(module)]
    random.Random(options.seed).shuffle(chosen)
    chosen = chosen[: options.sample]
    wanted = {mutant.module: tuple(TARGETS[mutant.module]) for mutant in chosen}
    usual = {files: passing(list(files)) for files in sorted(set(wanted.values()))}
    seconds = {module: options.seconds or 20 + 6 * usual[files] for module, files in wanted.items()}
    killed: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    for number, (mutant, outcome) in enumerate(outcomes(chosen, seconds, options.workers), 1):
        tried[mutant.module] += 1
        killed[mutant.module] += outcome != "survived"
        if outcome != "killed":
            print(f"{outcome:9} {mutant.module}:{mutant.line}  {mutant.what}", flush=True)
        if number % 25 == 0:
            print(f"          {killed.total()} of {number} killed, {len(chosen) - number} to go", flush=True)
    return killed, tried


def main() -> int:
    """Run both parts; 1 if a variant was not caught, or less than 85 % of the mutants were killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="mutants of modules whose name holds this")
    parser.add_argument("--sample", type=int, help="so many mutants instead of all")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument(
        "--seconds",
        type=float,
        help="how long the tests of a mutant may take, instead of several times what they take without it",
    )
    parser.add_argument(
        "--workers", type=int, default=len(os.sched_getaffinity(0)), help="how many mutants are tried at the same time"
    )
    parser.add_argument("--part", choices=("variants", "mutants", "both"), default="both")
    parser.add_argument("--variant", help="variants whose name holds this")
    options = parser.parse_args()
    missed = check_variants(options.variant) if options.part != "mutants" else 0
    if options.part == "variants":
        return int(missed > 0)
    killed, tried = check_mutants(options)
    for module in sorted(tried):
        print(f"{module:20} {killed[module]:5} of {tried[module]:5} killed ({killed[module] / tried[module]:.0%})")
    share = killed.total() / max(tried.total(), 1)
    print(f"{'all':20} {killed.total():5} of {tried.total():5} killed ({share:.1%})")
    return int(missed > 0 or share < 0.85)


if __name__ == "__main__":
    sys.exit(main())
