"""Which run a replay repeats when it is not told, and what of it."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run import form, owner
from airflow_provider_tenable.run.given_up import read_given_up
from airflow_provider_tenable.run.ledger_checks import rejected_lines
from airflow_provider_tenable.run.replay import plan_replay
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import names, read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.state.staged import staged_rows
from airflow_provider_tenable.transform.manifest import GIVEN_UP
from airflow_provider_tenable.transform.output import FindingsWriter

DAG, ACCOUNT, REGION = "tenable_to_security_hub", "123456789012", "eu-west-1"
VIA = SimpleNamespace(aws_conn_id="aws_default", role_name=None, external_id=None)
COUNTS = {"skipped": {}, "skipped_accounts": [], "parked": 0, "from_pool": False, "pool_parts": []}


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
    variables: dict[str, str] = {}
    monkeypatch.setattr(owner, "read_variable", variables.get)
    monkeypatch.setattr(owner, "write_variable", lambda name, value, text: variables.update({name: value}))
    return f"file://{tmp_path}"


@pytest.fixture
def run_of(base):
    return lambda run_id: RunFolder(base, DAG, run_id)


def transform(run, *findings, until=1):
    """One pass of a run up to its imports: findings as (id, UpdatedAt)."""
    write_json(
        run.plan,
        {
            "window": {"until": until, "since": 0, "kind": "incremental", "watermark": None},
            "settings": {},
            "destinations": [],
        },
    )
    write_json(run.shards, {"count": 1, "exported": len(findings)})
    writer = FindingsWriter(run, 0)
    for finding_id, updated in findings:
        writer.write(ACCOUNT, REGION, finding(finding_id, updated), "high", VIA)
    writer.close({**COUNTS, "read": len(findings), "findings": len(findings)})


def finding(finding_id, updated):
    return msgspec.json.encode({"SchemaVersion": "2018-10-08", "Id": finding_id, "UpdatedAt": updated})


def receipts_of(run):
    return Receipts(run, ACCOUNT, REGION, names(run.destination(ACCOUNT, REGION)))


def refuse(run, *findings):
    """Security Hub refuses these of the run's lines, the last of which is the part's last."""
    receipts, part = receipts_of(run), names(run.destination(ACCOUNT, REGION))[-1]
    for line, (finding_id, updated) in enumerate(findings):
        receipts.reject(
            part, line, finding_id=finding_id, code="InvalidInput", message="no", finding=finding(finding_id, updated)
        )
    receipts.flush()


def refused_run(run, *, until):
    transform(run, ("a", "2026-01-01"), until=until)
    refuse(run, ("a", "2026-01-01"))


def replay(run_id=None, run_ids=None, **params):
    context = {
        "params": {"dag_id": DAG, "run_id": run_id, "run_ids": run_ids, **params},
        "dag_run": SimpleNamespace(dag_id="tenable_replay_rejected", run_id="replay"),
    }
    return plan_replay(context)["run_id"]


def staged(base):
    run = RunFolder(base, "tenable_replay_rejected", "replay")
    folder = run.destination(ACCOUNT, REGION)
    return [msgspec.json.decode(line) for name in names(folder) for line in read_lines(folder / name)]


def test_the_latest_window_is_repeated_whatever_its_run_is_called(run_of):
    refused_run(run_of("z-early"), until=1)
    refused_run(run_of("a-late"), until=3)
    refused_run(run_of("m-middle"), until=2)
    assert replay() == "a-late"
    assert replay("m-middle") == "m-middle"


def test_a_run_that_rejected_nothing_is_passed_over(run_of):
    refused_run(run_of("refused"), until=1)
    transform(run_of("clean"), ("b", "2026-01-02"), until=2)
    receipts_of(run_of("clean")).flush()
    assert replay() == "refused"


def test_a_run_whose_import_took_its_refusals_back_is_passed_over(run_of):
    refused_run(run_of("refused"), until=1)
    late = run_of("late")
    refused_run(late, until=2)
    assert replay() == "late"
    receipts = receipts_of(late)
    receipts.reopen()
    receipts.flush()
    # What was refused is still on record, and counts no more.
    assert len(names(late.rejected)) == 1
    assert replay() == "refused"


def test_a_run_whose_later_pass_wrote_its_findings_anew_and_had_them_accepted_is_passed_over(run_of):
    refused_run(run_of("refused"), until=1)
    late = run_of("late")
    refused_run(late, until=2)
    for name in names(late.destination(ACCOUNT, REGION)):
        (late.destination(ACCOUNT, REGION) / name).unlink()
    transform(late, ("a", "2026-01-01"), ("b", "2026-01-02"), until=2)
    (part,) = names(late.destination(ACCOUNT, REGION))
    receipts = receipts_of(late)
    receipts.accept_all(part, 0, 1)
    receipts.flush()
    assert len(names(late.rejected)) == 1
    assert replay() == "refused"


@pytest.mark.parametrize("damage", ["plan", "rejected", "receipts"])
def test_a_run_that_cannot_be_read_is_passed_over(run_of, damage):
    refused_run(run_of("refused"), until=1)
    late = run_of("late")
    refused_run(late, until=2)
    file = {
        "plan": late.plan,
        "rejected": late.rejected / f"part-{ACCOUNT}-{REGION}-00000.jsonl.gz",
        "receipts": late.receipts(ACCOUNT, REGION),
    }[damage]
    assert file.exists()
    file.write_bytes(b"damaged")
    assert replay() == "refused"


def test_the_folders_beside_the_runs_are_no_runs(run_of, base):
    refused_run(run_of("refused"), until=1)
    for name in RunFolder.RESERVED:
        (RunFolder(base, DAG, "any").dag_root / name / "rejected").mkdir(parents=True)
    assert replay() == "refused"


def test_only_refusals_that_were_taken_back_are_nothing_to_repeat(run_of):
    run = run_of("late")
    refused_run(run, until=1)
    receipts = receipts_of(run)
    receipts.reopen()
    receipts.flush()
    with pytest.raises(ConfigurationError, match=r"No run in .* has rejected findings"):
        replay()
    with pytest.raises(ConfigurationError, match="Run late has no findings that Security Hub CSPM rejected"):
        replay("late")


def test_the_newest_version_of_each_refused_finding_is_sent_again(run_of, base):
    run = run_of("run")
    versions = [("b", "2026-01-02"), ("a", "2026-01-01"), ("a", "2026-01-03"), ("a", "2026-01-02")]
    transform(run, *versions, ("accepted", "2026-01-09"))
    refuse(run, *versions)
    assert replay() == "run"
    assert [(each["Id"], each["UpdatedAt"]) for each in staged(base)] == [("a", "2026-01-03"), ("b", "2026-01-02")]
    # Planned again, it holds the same.
    assert replay() == "run"
    assert [(each["Id"], each["UpdatedAt"]) for each in staged(base)] == [("a", "2026-01-03"), ("b", "2026-01-02")]


def with_output(finding_id, family):
    fields = {
        f"tenable/vulnerability-management/{name}": value
        for name, value in (("plugin_family", family), ("output", "Password : x"), ("state", "OPEN"))
    }
    return msgspec.json.encode(
        {"SchemaVersion": "2018-10-08", "Id": finding_id, "UpdatedAt": "2026-01-01", "ProductFields": fields}
    )


@pytest.mark.parametrize(("option", "kept"), [("excerpt", ["web"]), ("none", [])])
def test_what_was_refused_is_sent_again_with_no_more_output_than_findings_have_today(
    run_of, base, monkeypatch, option, kept
):
    """It may be older than the option, or than the list of families whose output is credentials."""
    monkeypatch.setenv("AIRFLOW__TENABLE__PLUGIN_OUTPUT", option)
    run = run_of("run")
    transform(run, ("web", "2026-01-01"), ("unix", "2026-01-01"))
    receipts, part = receipts_of(run), names(run.destination(ACCOUNT, REGION))[-1]
    for line, (finding_id, family) in enumerate([("web", "CGI abuses"), ("unix", "Default Unix Accounts")]):
        receipts.reject(
            part,
            line,
            finding_id=finding_id,
            code="InvalidInput",
            message="no",
            finding=with_output(finding_id, family),
        )
    receipts.flush()
    replay("run")
    sent = {each["Id"]: each["ProductFields"] for each in staged(base)}
    assert sorted(sent) == ["unix", "web"]
    assert [name for name, fields in sent.items() if "tenable/vulnerability-management/output" in fields] == kept
    assert all(fields["tenable/vulnerability-management/state"] == "OPEN" for fields in sent.values())


def given_up(run, *records):
    """Records that the run gave up because their asset was missing, as (plugin, what it says)."""
    plan = read_json(run.plan)
    write_json(run.shards, {"count": 2, "exported": 0})
    writer = FindingsWriter(run, 1)
    for plugin, text in records:
        record = {"asset": {"uuid": "u"}, "plugin": {"id": plugin}, "port": {"port": 0}, "output": text}
        writer.reject(GIVEN_UP, "missing", msgspec.json.encode(record))
    writer.close({**COUNTS, "read": len(records), "findings": 0, "skipped": {GIVEN_UP: len(records)}})
    write_json(run.plan, plan)


def accounted(base):
    return read_json(RunFolder(base, "tenable_replay_rejected", "replay").shards)["replayed"]


def test_the_rejections_of_several_runs_are_sent_once_each_and_accounted_for(run_of, base):
    early, late = run_of("early"), run_of("late")
    transform(early, ("a", "2026-01-01"), ("b", "2026-01-02"), ("c", "2026-01-01"), until=1)
    refuse(early, ("a", "2026-01-01"), ("b", "2026-01-02"), ("c", "2026-01-01"))
    transform(late, ("a", "2026-01-03"), ("b", "2026-01-01"), ("c", "2026-01-01"), until=2)
    refuse(late, ("a", "2026-01-03"), ("b", "2026-01-01"), ("c", "2026-01-01"))
    # In whatever order they are given, and however often: as lines of the form.
    assert replay(run_ids=["early", " late ", "", "early"]) == "late"
    assert sorted((each["Id"], each["UpdatedAt"]) for each in staged(base)) == [
        ("a", "2026-01-03"),
        ("b", "2026-01-02"),
        ("c", "2026-01-01"),
    ]
    assert accounted(base) == {
        # Of equal versions, that of the latest run.
        "late": {"again": 2, "newer": 1, "mapped": 0, "left": 0},
        "early": {"again": 1, "newer": 2, "mapped": 0, "left": 0},
    }
    for run in (early, late):
        counts = accounted(base)[run.run_id]
        assert sum(counts.values()) == sum(1 for _ in rejected_lines(run)) == 3
    assert read_json(RunFolder(base, "tenable_replay_rejected", "replay").shards)["exported"] == 3


def test_a_finding_of_an_earlier_run_is_as_old_as_the_export_of_that_run(run_of, base):
    """Else the hub would take what Tenable said long ago for what it says now."""
    transform(run_of("early"), ("a", "2026-01-01"), until=1_000)
    refuse(run_of("early"), ("a", "2026-01-01"))
    transform(run_of("late"), ("b", "2026-01-01"), until=2_000)
    refuse(run_of("late"), ("b", "2026-01-01"))
    replay(run_ids=["early", "late"])
    run = RunFolder(base, "tenable_replay_rejected", "replay")
    (part,) = names(run.destination(ACCOUNT, REGION))
    findings = [msgspec.json.decode(line)["Id"] for line in read_lines(run.destination(ACCOUNT, REGION) / part)]
    rows = staged_rows(run, ACCOUNT, REGION, part, 2)
    assert dict(zip(findings, rows["as_of"].tolist(), strict=True)) == {"a": 1_000_000, "b": 2_000_000}


def test_a_record_that_several_runs_gave_up_is_mapped_once_in_its_latest_version(run_of, base):
    early, late = run_of("early"), run_of("late")
    for run, until in ((early, 1), (late, 2)):
        transform(run, until=until)
    given_up(early, (1, "old"), (2, "only"))
    given_up(late, (1, "new"))
    assert replay(run_ids=["early", "late"]) == "late"
    replayed = RunFolder(base, "tenable_replay_rejected", "replay")
    assert sorted(msgspec.json.decode(each.record)["output"] for each in read_given_up(replayed)) == ["new", "only"]
    assert accounted(base) == {
        "late": {"again": 0, "newer": 0, "mapped": 1, "left": 0},
        "early": {"again": 0, "newer": 1, "mapped": 1, "left": 0},
    }


def test_records_that_were_given_up_with_other_params_are_not_mapped_together(run_of):
    for run_id, severities in (("early", ["high"]), ("late", ["critical"])):
        transform(run_of(run_id), until=1)
        write_json(run_of(run_id).plan, {**read_json(run_of(run_id).plan), "settings": {"severities": severities}})
        given_up(run_of(run_id), (1, "x"))
    with pytest.raises(ConfigurationError, match=r"'late', 'early'.* have different params.*one run at a time"):
        replay(run_ids=["early", "late"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"run_ids": ["refused", "nobody", "neither"]}, r"There are no runs \['nobody', 'neither'\].*Nothing was sent"),
        (
            {"run_ids": ["refused", "foreign"]},
            "There is no run 'foreign'.*For runs of another DAG, give the param dag_id",
        ),
        ({"run_ids": ["refused", "../elsewhere"]}, "cannot be the name of a staging folder"),
        ({"run_id": "refused", "run_ids": ["refused"]}, "run_id and run_ids are both set"),
        ({"run_ids": ["refused", "again"], "transform": True}, "only one run can be mapped again at a time"),
        ({"run_ids": "refused"}, "run_ids is 'refused'; it must be a list of strings, or empty"),
        ({"run_ids": [1]}, r"run_ids is \[1\]; it must be a list of strings"),
        ({"run_ids": ["clean", "clean too"]}, r"The runs \['clean too', 'clean'\] have no findings"),
    ],
)
def test_what_cannot_be_repeated_together_is_refused_before_anything_is_staged(run_of, base, asked, said):
    refused_run(run_of("refused"), until=1)
    refused_run(run_of("again"), until=2)
    refused_run(RunFolder(base, "another_dag", "foreign"), until=3)
    for run_id in ("clean", "clean too"):
        transform(run_of(run_id), ("b", "2026-01-02"))
        receipts_of(run_of(run_id)).flush()
    with pytest.raises(ConfigurationError, match=said):
        replay(**asked)
    assert read_json(RunFolder(base, "tenable_replay_rejected", "replay").shards) is None


@pytest.mark.parametrize("difference", [{"kind": "compliance"}, {"assets": {"source": "another"}}])
def test_runs_of_other_kinds_or_sources_are_not_repeated_together(run_of, difference):
    refused_run(run_of("one"), until=1)
    refused_run(run_of("other"), until=2)
    for run_id, entries in (("one", {"assets": {"source": "this"}}), ("other", difference)):
        write_json(run_of(run_id).plan, {**read_json(run_of(run_id).plan), **entries})
    with pytest.raises(ConfigurationError, match="not imported from the same source in Tenable"):
        replay(run_ids=["one", "other"])


def test_the_form_takes_one_run_per_line():
    """Airflow's forms show such a field only for a list of strings, with nothing but null beside it."""
    param = form.replay_params()["run_ids"]
    assert param.resolve() is None
    assert param.schema["type"] == ["array", "null"]
    assert param.schema["items"] == {"type": "string"}
    assert param.resolve(["a", "b"]) == ["a", "b"]
