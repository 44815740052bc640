"""The report: golden tables for each way a run can end."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_tenable.exceptions import IncompleteRunError
from airflow_provider_tenable.export.state import ExportState, Part
from airflow_provider_tenable.run import report as report_module
from airflow_provider_tenable.run.ledger import build_ledger
from airflow_provider_tenable.run.places import note_owed
from airflow_provider_tenable.run.report import report_of, report_run
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder

A, B, REGION = "111111111111", "222222222222", "eu-west-1"


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "run")


def plan(run, *, dry_run=False, since=1, watermark=None):
    value = {
        "window": {
            "kind": "incremental",
            "since": since,
            "until": 1_795_392_000,
            "bounded": False,
            "watermark": watermark,
        },
        "settings": {"dry_run": dry_run},
    }
    write_json(run.plan, value)
    return value


def exported(run, kind, records, *, complete=True):
    parts = {str(number): Part(f"p{number}", count, 10) for number, count in enumerate(records)}
    write_json(run.export(kind) / "export.json", ExportState(kind, {}, 0.0, complete=complete, parts=parts).to_json())


def transformed(run):
    parts = [{"name": "a", "lines": 1_500, "bytes": 1}]
    write_json(run.shards, {"count": 2})
    write_json(
        run.shard_manifest(0),
        {
            "read": 2_000,
            "skipped": {"no_ec2_instance": 480, "severity_not_chosen": 15},
            "parked": 5,
            "findings": 1_500,
            "from_pool": False,
            "rejected_part": None,
            "parked_part": None,
            "severities": {A: {"high": 1_400, "critical": 100}},
            "destinations": [{"account": A, "region": REGION, "aws_conn_id": "c", "role_name": None, "parts": parts}],
        },
    )
    write_json(
        run.shard_manifest(1),
        {
            "read": 2,
            "skipped": {},
            "parked": 0,
            "findings": 2,
            "from_pool": True,
            "rejected_part": None,
            "parked_part": None,
            "severities": {B: {"info": 1, "low": 1}},
            "destinations": [
                {
                    "account": B,
                    "region": REGION,
                    "aws_conn_id": "c",
                    "role_name": None,
                    "parts": [{"name": "b", "lines": 2, "bytes": 1}],
                }
            ],
        },
    )


def sent(run, account, part, *, accepted, rejected=0, calls=1):
    receipts = Receipts(run, account, REGION, [part])
    for line in range(accepted):
        receipts.accept(part, line)
    for line in range(accepted, accepted + rejected):
        receipts.reject(part, line, finding_id="i", code="InvalidInput", message="m", finding=b"{}")
    receipts.calls = calls
    receipts.flush()


def lines(text):
    """The table's rows as (label, value); its frame is checked on the way."""
    title, top, *rows, bottom = text.split("\n")
    assert top == bottom
    assert {len(row) for row in rows} == {len(top)}
    assert title.startswith("Tenable to Security Hub CSPM. ")
    return title, [
        tuple(cell.rstrip() if number == 0 else cell.strip() for number, cell in enumerate(row[2:-2].split(" | ")))
        for row in rows
    ]


def test_a_complete_run(run):
    value = plan(run, watermark=1_795_305_600, since=1_795_302_000)
    exported(run, "vulnerabilities", [1_500, 500])
    transformed(run)
    sent(run, A, "a", accepted=1_499, rejected=1, calls=1_015)
    sent(run, B, "b", accepted=2)
    ledger = build_ledger(run, value, exported=2_000)
    ledger["watermark"] = {"before": 1_795_305_600, "after": 1_795_392_000, "why": "moves to 2026-11-23T00:00:00Z"}
    write_json(run.ledger, {**ledger, "complete": True})
    title, rows = lines(report_of(run))
    assert title == "Tenable to Security Hub CSPM. Complete: every record is accounted for."
    assert rows == [
        ("Window", "incremental: 2026-11-21T23:00:00Z (1795302000) to 2026-11-23T00:00:00Z (1795392000)"),
        ("Exported records", "2,000"),
        ("Parked before, retried", "2"),
        ("  skipped: no_ec2_instance", "480"),
        ("  skipped: severity_not_chosen", "15"),
        ("  parked: asset missing so far", "5"),
        ("Findings", "1,502"),
        (f"  {A} critical", "100"),
        (f"  {A} high", "1,400"),
        (f"  {B} low", "1"),
        (f"  {B} info", "1"),
        (f"  to {A}/{REGION}", "1,499 of 1,500 in 1,015 calls"),
        (f"  to {B}/{REGION}", "2 of 2 in 1 call"),
        ("Accepted by Security Hub", "1,501"),
        ("Rejected", "1"),
        ("  rejected: InvalidInput", "1"),
        ("Watermark before", "2026-11-22T00:00:00Z (1795305600)"),
        ("Watermark after", "2026-11-23T00:00:00Z (1795392000) (moves to 2026-11-23T00:00:00Z)"),
    ]


def complete_with(run, more_of_the_plan=(), **more_of_the_ledger):
    """The rows of a complete run without records, whose plan and ledger have more than the smallest one."""
    value = {**plan(run), **dict(more_of_the_plan)}
    write_json(run.plan, value)
    exported(run, "vulnerabilities", [])
    write_json(run.shards, {"count": 0})
    ledger = build_ledger(run, value, exported=0)
    ledger["watermark"] = {"before": None}
    write_json(run.ledger, {**ledger, "complete": True, **more_of_the_ledger})
    title, rows = lines(report_of(run))
    assert title == "Tenable to Security Hub CSPM. Complete: every record is accounted for."
    return rows


def account(number):
    return f"{number:012d}"


def test_accounts_without_a_destination_are_listed_by_their_records(run):
    few = {account(number): {"no_destination": 5} for number in range(22, 0, -1)}
    rows = complete_with(
        run, unserved={**few, account(30): {"excluded": 700, "no_destination": 400}, account(31): {"excluded": 50}}
    )
    assert [row for row in rows if "not delivered" in row[0]] == [
        (f"  not delivered: {account(30)}", "1,100: excluded, no_destination"),
        (f"  not delivered: {account(31)}", "50: excluded"),
        *((f"  not delivered: {account(number)}", "5: no_destination") for number in range(1, 19)),
        ("  not delivered: 4 more accounts", "20"),
    ]
    rows = complete_with(run, unserved=dict(list(few.items())[:20]))
    assert len([row for row in rows if "not delivered" in row[0]]) == 20


def test_accounts_and_regions_that_refused_are_listed_by_their_records_with_the_reason(run):
    few = {f"{account(number)}/{REGION}": {"records": 5, "why": "the hub is off"} for number in range(22, 0, -1)}
    most = {f"{account(30)}/{REGION}": {"records": 1_200, "why": "not\nallowed " + "x" * 300}}
    rows = complete_with(run, refused={**few, **most})
    assert [row for row in rows if "refused" in row[0]] == [
        (f"  refused: {account(30)}/{REGION}", f"1,200: not allowed {'x' * 227}…"),
        *((f"  refused: {account(number)}/{REGION}", "5: the hub is off") for number in range(1, 20)),
        ("  refused: 3 more accounts and Regions", "15"),
    ]


def test_outstanding_findings_are_listed_by_their_age(run):
    for number in range(22, 0, -1):
        since = 1 if number == 3 else 1_795_392_000 - number
        note_owed(run, f"{account(number)}/{REGION}", since=since, until=1_795_392_000, why="off", attempted=True)
    rows = [row for row in complete_with(run) if row[0].startswith("Outstanding")]
    assert rows[:3] == [
        (f"Outstanding for {account(3)}/{REGION}", "everything since the beginning"),
        (f"Outstanding for {account(22)}/{REGION}", "everything since 2026-11-22T23:59:38Z (1795391978)"),
        (f"Outstanding for {account(21)}/{REGION}", "everything since 2026-11-22T23:59:39Z (1795391979)"),
    ]
    assert len(rows) == 21
    assert rows[-1] == ("Outstanding for others", "2 more accounts and Regions")


def test_records_that_wait_for_their_asset_are_part_of_the_skipped_ones(run, monkeypatch):
    monkeypatch.setattr(report_module, "sums_of", lambda ledger: {})
    rows = complete_with(
        run, skipped={"no_aws_account": 1_040, "no_ec2_instance": 3}, waiting={"no_aws_account": 1_000}
    )
    assert rows[2:5] == [
        ("  skipped: no_aws_account", "1,040"),
        ("    of these kept until the asset is known", "1,000"),
        ("  skipped: no_ec2_instance", "3"),
    ]


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, f"for {account(0)}, which"),
        (3, f"for {account(0)}, {account(1)}, {account(2)}, which"),
        (4, f"for {account(0)}, {account(1)}, {account(2)} and 1 more, which"),
        (9, f"for {account(0)}, {account(1)}, {account(2)} and 6 more, which"),
    ],
)
def test_window_that_begins_earlier_says_for_whom(run, count, words):
    rows = complete_with(run, {"recovers": [account(number) for number in range(count)]})
    assert rows[1] == ("Window begins earlier", f"{words} refused findings before")


def test_assets_are_all_or_what_changed_since(run):
    exported(run, "assets", [1_000, 500])
    every = {"assets": {"base": None, "why": "no index yet", "filters": {}}}
    assert complete_with(run, every)[1] == ("Assets", "all 1,500 exported: no index yet")
    base = {"records": 20_000, "full_from": 1_795_305_600, "changed": 3_000}
    some = {"assets": {"base": base, "why": "", "filters": {"since": 1_795_392_000}}}
    assert complete_with(run, some)[1:3] == [
        ("Assets", "1,500 exported, changed since 2026-11-23T00:00:00Z (1795392000)"),
        ("  from the asset index", "20,000 of 2026-11-22T00:00:00Z (1795305600), 3,000 changes since"),
    ]
    exported(run, "assets", [1_000], complete=False)
    assert [row for row in complete_with(run, some) if "sset" in row[0]] == []


def test_what_an_earlier_release_has_mapped_in_another_way_is_in_the_report(run, monkeypatch):
    monkeypatch.setattr(report_module, "sums_of", lambda ledger: {})
    assert ("  mapped anew by this release", "1,200") in complete_with(run, remapped=1_200)
    assert "mapped anew" not in str(complete_with(run, remapped=0))


@pytest.mark.parametrize(("dry_run", "label"), [(False, "compared"), (True, "would be")])
def test_what_was_compared_with_the_hub_is_shown_per_destination_and_in_all(run, monkeypatch, dry_run, label):
    monkeypatch.setattr(report_module, "sums_of", lambda ledger: {})
    compared = {"accepted": 3, "findings": 1_006, "calls": 1, "sent": {"new": 2, "changed": 0, "reopened": 1_000}}
    left_alone = {"unchanged": 1_000, "superseded": 1, "never_imported": 2}
    destinations = {
        f"{A}/{REGION}": {**compared, **left_alone},
        f"{B}/{REGION}": {**compared, "findings": 3, "sent": {"new": 0}},
        f"{B}/eu-central-1": {"accepted": 5, "findings": 5, "calls": 2, **left_alone},
    }
    rows = complete_with(run, destinations=destinations, dry_run=dry_run, **{**left_alone, "superseded": 0})
    assert rows[3:9] == [
        (f"  to {A}/{REGION}", "3 of 1,006 in 1 call"),
        (f"    {label}", "2 new, 1,000 reopened, 1,003 left alone"),
        # Nothing was compared there.
        (f"  to {B}/eu-central-1", "5 of 5 in 2 calls"),
        (f"  to {B}/{REGION}", "3 of 3 in 1 call"),
        ("  not sent: the hub has it", "1,000"),
        ("  not sent: fixed before it was ever sent", "2"),
    ]


def test_full_run_says_why(run):
    rows = complete_with(run, {"hubs": {"full": True, "full_why": "the index is gone"}})
    assert ("Full run", "the index is gone") in rows
    assert "Full run" not in dict(complete_with(run, {"hubs": {"full": False, "full_why": "x"}}))


def test_files_that_changed_since_the_run_completed_are_reported_by_their_new_counts(run):
    value = plan(run)
    exported(run, "vulnerabilities", [1_500, 500])
    transformed(run)
    sent(run, A, "a", accepted=1_500)
    sent(run, B, "b", accepted=2)
    ledger = {**build_ledger(run, value, exported=2_000), "watermark": {"before": None}}
    write_json(run.ledger, {**ledger, "skipped": {"no_ec2_instance": 495}, "complete": True})
    title, rows = lines(report_of(run))
    assert title == (
        "Tenable to Security Hub CSPM. NO LONGER COMPLETE: the run's files have changed since it completed."
    )
    assert ("  skipped: no_ec2_instance", "480") in rows


def test_the_smallest_complete_run_as_it_stands_in_the_log(run):
    value = plan(run)
    exported(run, "vulnerabilities", [])
    write_json(run.shards, {"count": 0})
    ledger = build_ledger(run, value, exported=0)
    ledger["watermark"] = {"before": None, "after": 1_795_392_000, "why": "moves"}
    write_json(run.ledger, {**ledger, "complete": True})
    assert report_of(run) == "\n".join(
        [
            "Tenable to Security Hub CSPM. Complete: every record is accounted for.",
            "+--------------------------+-----------------------------------------------------------------+",
            "| Window                   | incremental: the beginning to 2026-11-23T00:00:00Z (1795392000) |",
            "| Exported records         | 0                                                               |",
            "| Findings                 | 0                                                               |",
            "| Accepted by Security Hub | 0                                                               |",
            "| Rejected                 | 0                                                               |",
            "| Watermark before         | not set                                                         |",
            "| Watermark after          | 2026-11-23T00:00:00Z (1795392000) (moves)                       |",
            "+--------------------------+-----------------------------------------------------------------+",
        ]
    )


def test_a_dry_run_says_that_none_was_sent(run):
    value = plan(run, dry_run=True)
    exported(run, "vulnerabilities", [2_000])
    transformed(run)
    write_json(run.ledger, {**build_ledger(run, value, exported=2_000), "complete": True})
    rows = dict(lines(report_of(run))[1])
    assert rows["Accepted by Security Hub"] == "dry_run: none sent"
    assert rows["Findings"] == "1,502"
    assert rows["Watermark before"] == "not set"
    assert "Watermark after" not in rows
    assert lines(report_of(run))[0].startswith("Tenable to Security Hub CSPM. DRY RUN, nothing was sent. Complete")
    assert "To let it send" not in rows


def test_a_run_that_was_held_back_says_why_and_how_to_let_the_dag_send(run):
    value = {**plan(run, dry_run=True), "held_back": True}
    write_json(run.plan, value)
    exported(run, "vulnerabilities", [2_000])
    rows = dict(lines(report_of(run))[1])
    assert rows["Why a dry run"] == "a scheduled run, and this DAG has not imported anything yet"
    transformed(run)
    write_json(run.ledger, {**build_ledger(run, value, exported=2_000), "complete": True})
    title, found = lines(report_of(run))
    assert title.startswith("Tenable to Security Hub CSPM. DRY RUN, nothing was sent. Complete")
    assert found[0] == ("Why a dry run", "a scheduled run, and this DAG has not imported anything yet")
    assert found[1:3] == [
        ("To let it send", "trigger it once with dry_run off,"),
        ("", "or set [tenable] first_scheduled_run = send"),
    ]


def test_a_run_that_was_not_planned(run):
    assert report_of(run) == (
        "Tenable to Security Hub CSPM. Nothing was exported or imported.\n"
        "+-------------------------+-------------------------+\n"
        "| The run was not planned | see the log of plan_run |\n"
        "+-------------------------+-------------------------+"
    )


def test_a_run_whose_exports_are_not_whole_tells_how_far_they_got(run):
    plan(run)
    exported(run, "assets", [900, 100])
    exported(run, "vulnerabilities", [1_200], complete=False)
    title, rows = lines(report_of(run))
    assert (
        title == "Tenable to Security Hub CSPM. NOT COMPLETE: the exports were not complete; nothing was imported, the "
        "watermark stays."
    )
    assert rows[1:] == [
        ("Staged assets", "1,000 in 2 chunks (complete)"),
        ("Staged vulnerabilities", "1,200 in 1 chunks (incomplete)"),
    ]


def test_a_run_without_any_export_has_only_its_window(run):
    plan(run)
    title, rows = lines(report_of(run))
    assert "NOT COMPLETE" in title
    assert [label for label, _ in rows] == ["Window"]


def test_a_run_whose_transform_failed_says_which_shard(run):
    plan(run)
    exported(run, "vulnerabilities", [2_000])
    transformed(run)
    run.shard_manifest(1).unlink()
    title, rows = lines(report_of(run))
    assert "NOT COMPLETE: " in title
    assert "shard 1 was not transformed" in title
    assert ("Staged vulnerabilities", "2,000 in 1 chunks (complete)") in rows


def test_a_run_whose_import_failed_counts_what_arrived_whatever_an_old_ledger_says(run):
    value = plan(run)
    exported(run, "vulnerabilities", [2_000])
    transformed(run)
    write_json(run.ledger, build_ledger(run, value, exported=2_000))
    sent(run, A, "a", accepted=700, calls=7)
    title, rows = lines(report_of(run))
    assert title == "Tenable to Security Hub CSPM. NOT COMPLETE: the watermark stays."
    assert (f"  to {A}/{REGION}", "700 of 1,500 in 7 calls") in rows
    assert (f"  to {B}/{REGION}", "0 of 2 in 0 calls") in rows
    assert ("Accepted by Security Hub", "700") in rows


def test_damaged_receipts_do_not_keep_the_report_from_being_written(run, tmp_path):
    plan(run)
    exported(run, "vulnerabilities", [2_000])
    transformed(run)
    path = tmp_path / "dag" / "run" / "receipts" / A / f"{REGION}.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"{")
    title, _ = lines(report_of(run))
    assert "NOT COMPLETE: The receipts" in title


def context_of(run, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", str(run.dag_root.parent))
    return {"dag_run": SimpleNamespace(dag_id="dag", run_id="run")}


def test_report_of_a_run_that_was_not_planned_fails(run, monkeypatch):
    with pytest.raises(IncompleteRunError, match=r"Run run is not complete, so it failed: .*The watermark stays"):
        report_run(context_of(run, monkeypatch))


def test_run_whose_files_cannot_be_read_fails_with_the_reason(run, monkeypatch):
    plan(run)
    run.plan.write_bytes(b"{")
    title, ((label, reason),) = lines(report_of(run))
    assert title == "Tenable to Security Hub CSPM. NOT COMPLETE."
    assert label == "The run's files cannot be read"
    assert reason.startswith(f"The staged file {run.plan} is damaged (")
    with pytest.raises(IncompleteRunError):
        report_run(context_of(run, monkeypatch))


def test_words_about_a_run_that_is_not_complete_are_complete(run, monkeypatch):
    plan(run)
    with pytest.raises(IncompleteRunError) as failure:
        report_run(context_of(run, monkeypatch))
    assert str(failure.value) == (
        "Run run is not complete, so it failed: the table above shows how far it got. The watermark stays. Clear the "
        "tasks that failed or were skipped, or wait for the next run, which covers the same window again."
    )


@pytest.mark.parametrize("complete", [True, False])
def test_report_fails_exactly_where_the_ledger_is_not_complete(run, monkeypatch, caplog, complete):
    caplog.set_level("INFO")
    planned = plan(run, watermark=1_700_000_000)
    exported(run, "vulnerabilities", [2_000])
    transformed(run)
    sent(run, A, "a", accepted=1_500)
    sent(run, B, "b", accepted=2)
    ledger = build_ledger(run, planned, exported=2_000)
    watermark = {"before": 1, "after": 2, "why": "moves"}
    write_json(run.ledger, {**ledger, "watermark": watermark, "complete": complete})
    try:
        report_run(context_of(run, monkeypatch))
    except IncompleteRunError:
        assert not complete
        assert "NOT COMPLETE" in caplog.text
    else:
        assert complete
        assert "Complete: every record is accounted for" in caplog.text
    assert [entry.getMessage() for entry in caplog.records if entry.name == "airflow.task"] == [report_of(run)]
