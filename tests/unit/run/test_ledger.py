"""The ledger adds up, or the run fails."""

from __future__ import annotations

import copy
import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.exceptions import LedgerError, RejectedFindingsError, StagingError
from airflow_provider_tenable.run import places
from airflow_provider_tenable.run.ledger import build_ledger, sums_of
from airflow_provider_tenable.run.ledger_checks import check_rejected, check_sums, rejected_lines
from airflow_provider_tenable.run.manifests import destinations_of, shard_manifests, targets_of
from airflow_provider_tenable.security_hub.assignment import Target
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import write_lines
from airflow_provider_tenable.state.archive import Archived, ArchivedFile
from airflow_provider_tenable.state.compare import DECISION
from airflow_provider_tenable.state.decisions import write_decisions
from airflow_provider_tenable.state.gone import Gone, write_gone
from airflow_provider_tenable.state.verdicts import Verdict

A, B, REGION = "111111111111", "222222222222", "eu-west-1"
PLAN = {
    "window": {"kind": "incremental", "since": 1, "until": 1_790_000_000, "bounded": False, "watermark": None},
    "settings": {"dry_run": False},
}


def manifest(shard, *, read, skipped=None, parked=0, destinations=(), from_pool=False, severities=None):
    entries = [
        {
            "account": account,
            "region": region,
            "aws_conn_id": "aws_default",
            "role_name": None,
            "parts": [{"name": name, "lines": lines, "bytes": 1} for name, lines in parts],
        }
        for account, region, parts in destinations
    ]
    return {
        "shard": shard,
        "read": read,
        "skipped": skipped or {},
        "skipped_accounts": [],
        "parked": parked,
        "findings": sum(lines for _, _, parts in destinations for _, lines in parts),
        "from_pool": from_pool,
        "pool_parts": [],
        "parked_part": None,
        "rejected_part": None,
        "severities": severities or {},
        "destinations": entries,
    }


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "run")


def put(run, *manifests):
    write_json(run.shards, {"count": len(manifests)})
    for each in manifests:
        write_json(run.shard_manifest(each["shard"]), each)


def receipt(run, account, region, parts, *, accepted, rejected=()):
    receipts = Receipts(run, account, region, parts)
    line = 0
    for line in range(accepted):
        receipts.accept(parts[0], line)
    for number, code in enumerate(rejected, line + 1):
        receipts.reject(parts[0], number, finding_id=f"id-{number}", code=code, message=f"why {code}", finding=b"{}")
    receipts.calls = 3
    receipts.flush()


def two_shards(run):
    put(
        run,
        manifest(
            0,
            read=20,
            skipped={"severity_not_chosen": 4},
            parked=1,
            destinations=[(A, REGION, [("a0", 10), ("a1", 2)]), (B, "us-east-1", [("b0", 3)])],
            severities={A: {"high": 12}, B: {"critical": 3}},
        ),
        manifest(
            1,
            read=9,
            skipped={"severity_not_chosen": 1, "unreadable_record": 1},
            destinations=[(A, REGION, [("a2", 7)])],
            severities={A: {"high": 6, "critical": 1}},
        ),
        manifest(
            2, read=2, parked=1, destinations=[(A, REGION, [("a3", 1)])], from_pool=True, severities={A: {"high": 1}}
        ),
    )
    receipt(run, A, REGION, ["a0", "a1", "a2", "a3"], accepted=19, rejected=["InvalidInput"])
    receipt(run, B, "us-east-1", ["b0"], accepted=3)


def test_a_ledger_counts_what_is_on_record(run):
    two_shards(run)
    ledger = build_ledger(run, PLAN, exported=29)
    assert ledger == {
        "window": {"since": 1, "until": 1_790_000_000, "kind": "incremental"},
        "dry_run": False,
        "exported": 29,
        "unparked": 2,
        "read": 31,
        "skipped": {"severity_not_chosen": 5, "unreadable_record": 1},
        "unserved": {},
        "refused": {},
        "parked": 2,
        "waiting": {},
        "not_ec2": 0,
        "findings": 23,
        "accepted": 22,
        "rejected": {"InvalidInput": 1},
        "unchanged": 0,
        "superseded": 0,
        "never_imported": 0,
        "sent": {},
        "archived": {},
        "reopened": 0,
        "remapped": 0,
        "full": False,
        "severities": {A: {"critical": 1, "high": 19}, B: {"critical": 3}},
        "destinations": {
            f"{A}/{REGION}": {"findings": 20, "accepted": 19, "rejected": {"InvalidInput": 1}, "calls": 3},
            f"{B}/us-east-1": {"findings": 3, "accepted": 3, "rejected": {}, "calls": 3},
        },
        "watermark": {"before": None},
        "complete": False,
    }
    check_sums(ledger)


def test_what_needs_no_sending_adds_up_with_the_rest(run):
    two_shards(run)
    before = build_ledger(run, PLAN, exported=29)
    name, (region, parts) = f"{A}/{REGION}", (REGION, [])
    for entry in destinations_of(shard_manifests(run)):
        if entry["account"] == A:
            parts = list(zip(entry["parts"], entry["lines"], strict=True))
    decisions = np.zeros(sum(count for _, count in parts), np.dtype(DECISION))
    decisions["verdict"] = Verdict.CREATED
    decisions["verdict"][:3] = [Verdict.UNCHANGED, Verdict.SUPERSEDED, Verdict.NEVER_IMPORTED]
    changed = {"fixed": 2, "risk_accepted": 1, "reopened": 4, "remapped": 5}
    write_decisions(run.compared(A, region), parts, decisions, records=True, changed_states=changed)
    ledger = build_ledger(run, PLAN, exported=29)
    counts = ledger["destinations"][name]
    assert (counts["unchanged"], counts["superseded"], counts["never_imported"]) == (1, 1, 1)
    assert ledger["sent"] == counts["sent"] == {"created": len(decisions) - 3}
    assert (ledger["archived"], ledger["reopened"]) == ({"fixed": 2, "risk_accepted": 1}, 4)
    assert ledger["remapped"] == 5
    assert sums_of(ledger)["never_imported"] == 1
    # All of them were accepted or rejected, so three are too many.
    with pytest.raises(LedgerError, match=r"and 3 that need no sending"):
        check_sums(ledger)
    ledger["accepted"] -= 3
    counts["accepted"] -= 3
    check_sums(ledger)
    # Decisions about other parts do not count.
    write_decisions(run.compared(A, region), [("other", 1)], decisions[:1], records=True)
    assert build_ledger(run, PLAN, exported=29) == before


def test_an_empty_run_adds_up(run):
    put(run, manifest(0, read=0))
    ledger = build_ledger(run, PLAN, exported=0)
    check_sums(ledger)
    check_rejected(ledger, run, 0)


def change(ledger, path, by):
    for name in path[:-1]:
        ledger = ledger[name]
    ledger[path[-1]] += by


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("exported",), "exported"),
        (("unparked",), "unparked"),
        (("read",), "were read"),
        (("parked",), "accounted for"),
        (("skipped", "severity_not_chosen"), "accounted for"),
        (("findings",), "findings"),
        (("accepted",), "all: 23 findings, but"),
        (("rejected", "InvalidInput"), "all: 23 findings, but"),
        (("destinations", f"{A}/{REGION}", "findings"), "the findings of the destinations are not those of the run"),
        (("destinations", f"{A}/{REGION}", "accepted"), f"{A}/{REGION}: 20 findings, but"),
        (("destinations", f"{B}/us-east-1", "accepted"), f"{B}/us-east-1: 3 findings, but"),
    ],
    ids=str,
)
@pytest.mark.parametrize("by", [1, -1])
def test_one_record_too_many_or_too_few_anywhere_fails_the_run(run, path, words, by):
    two_shards(run)
    ledger = build_ledger(run, PLAN, exported=29)
    change(ledger, path, by)
    with pytest.raises(
        LedgerError, match=r"The ledger does not add up: .* The watermark stays. Clear the failed tasks"
    ) as failure:
        check_sums(ledger)
    assert words in str(failure.value)


def test_a_dry_run_adds_up_although_nothing_was_delivered(run):
    put(run, manifest(0, read=5, destinations=[(A, REGION, [("a", 5)])]))
    plan = copy.deepcopy(PLAN)
    plan["settings"]["dry_run"] = True
    ledger = build_ledger(run, plan, exported=5)
    assert ledger["accepted"] == 0
    check_sums(ledger)
    with pytest.raises(LedgerError):
        check_sums({**ledger, "dry_run": False})
    with pytest.raises(LedgerError):
        check_sums({**ledger, "exported": 6})


def test_a_run_that_was_not_planned_into_shards_says_so(run):
    with pytest.raises(StagingError, match=r"shards\.json is missing: .* from plan_shards on"):
        shard_manifests(run)


def test_a_shard_that_was_not_transformed_is_named(run):
    put(run, manifest(0, read=0), manifest(1, read=0), manifest(2, read=0))
    run.shard_manifest(1).unlink()
    with pytest.raises(StagingError, match=r"shard-0001\.json is missing: shard 1 was not transformed. Clear its task"):
        build_ledger(run, PLAN, exported=0)


def test_manifests_of_more_shards_than_are_planned_do_not_count(run):
    put(run, manifest(0, read=1), manifest(1, read=1))
    write_json(run.shards, {"count": 1})
    assert len(shard_manifests(run)) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"role_name": "{{ conn.x }}"}, "'{{ conn.x }}' is not the name of an IAM role"),
        ({"aws_conn_id": "{{ var.value.x }}"}, "is not a connection id"),
        ({"account": "../../other-run"}, "is not an AWS account id"),
        ({"region": "../x"}, "is not an AWS Region"),
        ({"parts": [{"name": "../../etc/passwd", "lines": 1}]}, "is not the name of a staged part"),
    ],
)
def test_a_manifest_that_was_changed_is_refused_before_anything_is_made_of_its_names(run, change, words):
    good = manifest(0, read=1, destinations=[(A, REGION, [("a", 1)])])
    put(run, {**good, "destinations": [*good["destinations"], {**good["destinations"][0], **change}]})
    with pytest.raises(
        StagingError, match=r"shard-0000\.json was changed after it was written: .+ Clear the task of shard 0\."
    ) as refused:
        shard_manifests(run)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "names",
    [
        {"rejected_part": "../../other"},
        {"parked_part": "../../other"},
        {"contested_part": "../../other"},
        {"waiting_parts": ["waiting-shard-0000-00000.jsonl.gz", "../../other"]},
    ],
    ids=str,
)
def test_a_manifest_names_no_file_of_another_folder(run, names):
    put(run, {**manifest(0, read=0), **names})
    with pytest.raises(StagingError, match=r"'\.\./\.\./other' is not the name of a staged part"):
        shard_manifests(run)


@pytest.mark.parametrize("place", ["../../other", f"{A}/../..", f"{A}", f"{A}/{REGION}/x", f"1/{REGION}", ""])
def test_a_manifest_names_no_refusing_place_that_is_not_an_account_and_region(run, place):
    good = manifest(0, read=0)
    put(run, {**good, "refused": {f"{A}/{REGION}": 1}})
    assert shard_manifests(run)
    put(run, {**good, "refused": {f"{A}/{REGION}": 1, place: 1}})
    with pytest.raises(StagingError, match=r"shard-0000\.json was changed .*is not an account and Region"):
        shard_manifests(run)


@pytest.mark.parametrize("name", ["../reached/x.jsonl.gz", "/etc/x.jsonl.gz", "..", "owner.json"])
def test_a_manifest_names_no_file_outside_the_pool_as_read_from_there(run, name):
    good = manifest(0, read=0)
    put(
        run, {**good, "pool_parts": ["scheduled__2026-11-27T00:00:00+00:00--part-shard-0000-0123456789abcdef.jsonl.gz"]}
    )
    assert shard_manifests(run)
    put(run, {**good, "pool_parts": [name]})
    with pytest.raises(StagingError, match=r"is not the name of a part of the pool"):
        shard_manifests(run)


def test_destinations_gather_their_parts_from_all_shards_in_order(run):
    manifests = [
        manifest(0, read=0, destinations=[(B, REGION, [("b0", 1)]), (A, REGION, [("a0", 2)])]),
        manifest(1, read=0, destinations=[(A, REGION, [("a1", 3)]), (A, "us-east-1", [("a2", 4)])]),
    ]
    found = destinations_of(manifests)
    assert [(each["account"], each["region"], each["findings"], each["parts"]) for each in found] == [
        (A, REGION, 5, ["a0", "a1"]),
        (A, "us-east-1", 4, ["a2"]),
        (B, REGION, 1, ["b0"]),
    ]
    assert found[0]["aws_conn_id"] == "aws_default"
    assert "role_name" in found[0]
    assert targets_of(manifests)[0] == Target(
        A, REGION, "aws_default", None, list(zip(found[0]["parts"], found[0]["lines"], strict=True))
    )


# Too much rejected.


def ledger_of(findings, rejected, skipped=None):
    return {"findings": findings, "rejected": rejected, "skipped": skipped or {}}


@pytest.mark.parametrize(
    ("findings", "rejected", "ratio", "fails"),
    [
        (100, 1, 0.01, False),
        # Up to ten are borne in any case.
        (100, 10, 0.01, False),
        (100, 11, 0.01, True),
        (1, 1, 0.01, False),
        (10, 10, 0.001, False),
        (11, 11, 0.5, True),
        # A ratio of 0 means none at all.
        (100_000, 1, 0, True),
        (10_000, 100, 0.01, False),
        (10_000, 101, 0.01, True),
        (100, 29, 0.29, False),
        (100, 30, 0.29, True),
        (7, 7, 1, False),
        (7, 1, 0, True),
        (7, 0, 0, False),
        (0, 0, 0, False),
        (1_000_000, 70_000, 0.07, False),
        (1_000_000, 70_001, 0.07, True),
    ],
)
def test_the_run_fails_above_the_ratio_and_not_at_it(run, findings, rejected, ratio, fails, caplog):
    put(run)
    ledger = ledger_of(findings, {"InvalidInput": rejected} if rejected else {})
    if not fails:
        check_rejected(ledger, run, ratio)
        # Tolerated is not silent: alarms read the log.
        warned = (
            f"{rejected} of {findings} findings were rejected, as max_rejected_ratio {ratio:g} (or a count of "
            f"up to 10) allows: 'InvalidInput {rejected}'."
        )
        assert [record.levelname for record in caplog.records] == (["WARNING"] if rejected else [])
        assert all(record.getMessage().startswith(warned) for record in caplog.records)
        return
    with pytest.raises(
        RejectedFindingsError,
        match=f"{rejected} of {findings} findings were rejected, more than max_rejected_ratio {ratio:g} allows",
    ):
        check_rejected(ledger, run, ratio)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10_000), st.integers(0, 100))
def test_exactly_the_ratio_is_never_too_much(hundreds, percent):
    check_rejected(ledger_of(hundreds * 100, {"x": hundreds * percent}), None, percent / 100)


def test_the_message_has_the_top_reasons_with_counts_and_an_example_each(run):
    lines = [
        {"id": f"id-{code}-{number}", "code": code, "message": f"{code} is bad ({number})"}
        for code in "abcdef"
        for number in range(2)
    ]
    lines.append({"id": None, "code": "unreadable_record", "message": "not an object"})
    put(
        run,
        {
            **manifest(0, read=12),
            "rejected_part": write_lines(run.rejected, "part-1", [json.dumps(line).encode() for line in lines]),
        },
    )
    rejected = {code: 10 - number for number, code in enumerate("abcdef")}
    with pytest.raises(RejectedFindingsError) as failure:
        check_rejected(ledger_of(100, rejected, {"unreadable_record": 50, "severity_not_chosen": 999}), run, 0.01)
    text = str(failure.value)
    assert "95 of 150 findings" in text
    assert "50 x unreadable_record (such as no id: not an object); 10 x a (such as id-a-0: a is bad (0)); 9 x b" in text
    assert " x d " in text
    assert " x e " not in text
    assert "The watermark stays" in text
    assert str(run.rejected) in text
    assert "raise max_rejected_ratio" in text


def test_broken_records_count_and_chosen_ones_do_not(run):
    put(run)
    check_rejected(
        ledger_of(100, {}, {"severity_not_chosen": 1000, "no_ec2_instance": 1000}),
        run,
        0,
    )
    for reason in ("unreadable_record", "unmappable_record"):
        with pytest.raises(RejectedFindingsError, match=f"1 of 101 findings .*1 x {reason} .such as none on record"):
            check_rejected(ledger_of(100, {}, {reason: 1}), run, 0)


def rejects(run, stem, *numbers):
    return write_lines(
        run.rejected,
        stem,
        [json.dumps({"id": None, "code": "unreadable_record", "message": str(number)}).encode() for number in numbers],
    )


def test_rejected_lines_are_those_of_the_manifests_and_of_the_receipts(run):
    put(run)
    assert list(rejected_lines(run)) == []
    put(
        run,
        {**manifest(0, read=2), "rejected_part": rejects(run, "part-shard-0000", 1, 2)},
        manifest(1, read=5, destinations=[(A, REGION, [("a0", 5)])]),
    )
    receipt(run, A, REGION, ["a0"], accepted=2, rejected=["x", "y"])
    assert [(line["id"], line["message"]) for line in rejected_lines(run)] == [
        (None, "1"),
        (None, "2"),
        ("id-2", "why x"),
        ("id-3", "why y"),
    ]


def test_rejected_lines_of_an_earlier_pass_do_not_count(run):
    """A shard that rejects nothing any more; findings that another transform has written anew; a refusal that was taken
    back.
    """
    rejects(run, "part-shard-0000", 1)
    rejects(run, "part-shard-0007", 1)
    receipt(run, A, REGION, ["old"], accepted=1, rejected=["x"])
    put(run, manifest(0, read=5, destinations=[(A, REGION, [("new", 5)])]))
    assert list(rejected_lines(run)) == []
    receipt(run, A, REGION, ["new"], accepted=4, rejected=["y"])
    assert [line["code"] for line in rejected_lines(run)] == ["y"]
    receipts = Receipts(run, A, REGION, ["new"])
    receipts.reopen()
    receipts.flush()
    assert list(rejected_lines(run)) == []


def test_rejected_part_that_is_gone_is_no_empty_one(run):
    put(run, {**manifest(0, read=2), "rejected_part": "part-shard-0000.jsonl.gz"})
    with pytest.raises(StagingError, match="part-shard-0000"):
        list(rejected_lines(run))


def test_findings_that_a_place_refused_at_the_import_are_left_out_and_counted_with_their_reason(run):
    from airflow_provider_tenable.security_hub.refusals import note_refusal

    two_shards(run)
    before = build_ledger(run, PLAN, exported=29)
    place, findings = f"{B}/us-east-1", before["destinations"][f"{B}/us-east-1"]["findings"]
    # All were accepted: a refusal of an earlier attempt does not count.
    note_refusal(run, B, "us-east-1", "hub off")
    assert build_ledger(run, PLAN, exported=29) == before
    run.receipts(B, "us-east-1").unlink()
    ledger = build_ledger(run, PLAN, exported=29)
    assert ledger["refused"] == {place: {"records": findings, "why": "hub off", "reached": False}}
    assert ledger["skipped"]["destination_refused"] == findings
    assert ledger["unserved"] == {B: {"destination_refused": findings}}
    assert ledger["findings"] == before["findings"] - findings
    assert ledger["destinations"][place]["findings"] == 0
    check_sums(ledger)


@pytest.mark.parametrize("ratio", [0, 0.1])
def test_records_that_were_given_up_stop_no_run_and_the_message_says_what_to_do(run, caplog, ratio):
    put(run)
    check_rejected(ledger_of(29, {}, {"asset_missing_given_up": 11}), run, ratio)
    assert "11 of 40 findings were rejected before they were sent: their assets are missing" in caplog.text
    assert "give the API user 'Can View' on these assets" in caplog.text
    assert "tenable_replay_rejected" in caplog.text
    # Nor do they bring those that do over the limit, and they hide none.
    with pytest.raises(RejectedFindingsError, match=r"11 of 51 findings were rejected"):
        check_rejected(ledger_of(40, {"x": 11}, {"asset_missing_given_up": 11}), run, ratio)


def test_a_replay_fails_for_records_whose_assets_are_still_missing(run):
    put(run)
    ledger = ledger_of(29, {}, {"asset_missing_given_up": 11})
    with pytest.raises(RejectedFindingsError, match=r"11 of 40 findings were rejected") as failure:
        check_rejected(ledger, run, 0.1, is_replay=True)
    assert "give the API user 'Can View' on these assets" in str(failure.value)
    assert "tenable_replay_rejected" in str(failure.value)
    check_rejected(ledger, run, 0.5, is_replay=True)


def test_sums_for_xcom_are_those_of_the_ledger(run):
    two_shards(run)
    assert sums_of(build_ledger(run, PLAN, exported=29)) == {
        "exported": 29,
        "unparked": 2,
        "skipped": {"severity_not_chosen": 5, "unreadable_record": 1},
        "parked": 2,
        "findings": 23,
        "accepted": 22,
        "rejected": {"InvalidInput": 1},
        "unchanged": 0,
        "superseded": 0,
        "never_imported": 0,
    }


def test_waiting_records_and_findings_outside_ec2_are_added_up_over_the_shards(run):
    put(
        run,
        {**manifest(0, read=3, skipped={"no_aws_account": 3}), "waiting": {"no_aws_account": 2}, "not_ec2": 4},
        {**manifest(1, read=3, skipped={"no_aws_account": 3}), "waiting": {"no_aws_account": 1, "no_aws_region": 1}},
        {**manifest(2, read=0), "not_ec2": 5},
    )
    ledger = build_ledger(run, PLAN, exported=6)
    assert ledger["waiting"] == {"no_aws_account": 3, "no_aws_region": 1}
    assert ledger["not_ec2"] == 9
    assert ledger["skipped"] == {"no_aws_account": 6}


def test_records_that_the_transform_left_out_for_a_refusing_destination_are_named_with_the_reason(run):
    places.note_acceptance(run, A, REGION)
    refused = {f"{A}/{REGION}": 2, f"{B}/us-east-1": 1}
    put(
        run,
        {**manifest(0, read=3, skipped={"destination_refused": 3}), "refused": refused},
        {**manifest(1, read=3, skipped={"destination_refused": 3}), "refused": refused},
    )
    ledger = build_ledger(run, {**PLAN, "refused": {f"{A}/{REGION}": "hub off"}}, exported=6)
    assert ledger["refused"] == {
        f"{A}/{REGION}": {"records": 4, "why": "hub off", "reached": True},
        f"{B}/us-east-1": {"records": 2, "why": "not on record", "reached": False},
    }


def test_refusal_in_the_middle_of_an_import_leaves_out_what_was_neither_accepted_nor_rejected(run):
    from airflow_provider_tenable.security_hub.refusals import note_refusal

    put(
        run,
        {
            **manifest(
                0,
                read=12,
                skipped={"destination_refused": 2},
                destinations=[(A, REGION, [("a0", 7)]), (B, REGION, [("b0", 3)])],
            ),
            "refused": {f"{A}/{REGION}": 2},
            "unserved": {A: {"destination_refused": 2, "region_excluded": 0}},
        },
    )
    receipt(run, A, REGION, ["a0"], accepted=3, rejected=["x"])
    receipt(run, B, REGION, ["b0"], accepted=3)
    note_refusal(run, A, REGION, "hub off")
    ledger = build_ledger(run, {**PLAN, "refused": {f"{A}/{REGION}": "no role"}}, exported=12)
    assert ledger["skipped"] == {"destination_refused": 5}
    assert ledger["unserved"][A]["destination_refused"] == 5
    assert ledger["refused"] == {f"{A}/{REGION}": {"records": 5, "why": "no role", "reached": False}}
    assert ledger["destinations"] == {
        f"{A}/{REGION}": {"findings": 4, "accepted": 3, "rejected": {"x": 1}, "calls": 3},
        f"{B}/{REGION}": {"findings": 3, "accepted": 3, "rejected": {}, "calls": 3},
    }
    assert (ledger["findings"], ledger["accepted"], ledger["rejected"]) == (7, 6, {"x": 1})
    check_sums(ledger)


def test_how_a_hub_is_reached_is_that_of_the_first_shard_that_names_it(run):
    first = manifest(0, read=1, destinations=[(A, REGION, [("a0", 1)])])
    first["destinations"][0].update(aws_conn_id="hub", role_name="Role", external_id="ours")
    [target] = targets_of([first, manifest(1, read=2, destinations=[(A, REGION, [("a1", 2)])])])
    assert target == Target(A, REGION, "hub", "Role", [("a0", 1), ("a1", 2)], "ours")


def test_message_of_a_ledger_has_every_difference_with_both_sides(run):
    two_shards(run)
    ledger = build_ledger(run, PLAN, exported=29)
    ledger["exported"] += 1
    ledger["accepted"] += 1
    ledger["destinations"][f"{B}/us-east-1"]["findings"] += 5
    with pytest.raises(LedgerError) as failure:
        check_sums(ledger)
    assert str(failure.value) == (
        "The ledger does not add up: exported 30 + unparked 2 = 32, of which 31 were read and 31 accounted for; all: "
        f"23 findings, but 24 accepted or rejected; {B}/us-east-1: 8 findings, but 3 accepted or rejected; the "
        "findings of the destinations are not those of the run. The watermark stays. Clear the failed tasks, or the "
        "run."
    )


def test_message_of_too_many_rejections_is_complete(run):
    line = {"id": "id-1", "code": "x", "message": "too long"}
    part = write_lines(run.rejected, "part-1", [json.dumps(each).encode() for each in (line, {**line, "id": "id-2"})])
    put(run, {**manifest(0, read=2), "rejected_part": part})
    with pytest.raises(RejectedFindingsError) as failure:
        check_rejected(ledger_of(20, {"x": 11}, {"asset_missing_given_up": 1}), run, 0.25, is_replay=True)
    assert str(failure.value) == (
        "12 of 21 findings were rejected, more than max_rejected_ratio 0.25 allows: 11 x x (such as id-1: too long); 1 "
        "x asset_missing_given_up (such as none on record). The watermark stays. All of them are in "
        f"{run.rejected}. Fix the cause and run again, or raise max_rejected_ratio to leave them on record. "
        "asset_missing_given_up means that no export contained the asset for [tenable] parked_days: give the API user "
        "'Can View' on these assets, and replay the records with tenable_replay_rejected once Tenable exports the "
        "assets."
    )
    with pytest.raises(RejectedFindingsError) as failure:
        check_rejected(ledger_of(20, {"x": 11}), run, 0.25)
    assert str(failure.value).endswith("to leave them on record.")


def test_log_of_tolerated_rejections_has_the_five_most_frequent_reasons(run, caplog):
    put(run)
    check_rejected(ledger_of(100, {code: 10 - number for number, code in enumerate("abcdef")}), run, 0.5)
    assert [record.getMessage() for record in caplog.records] == [
        "45 of 100 findings were rejected, as max_rejected_ratio 0.5 (or a count of up to 10) allows: 'a 10, b 9, c 8, "
        "d 7, e 6'. The report shows where they are."
    ]


def test_what_was_archived_is_counted_from_its_records_and_a_damaged_list_is_named(run):
    two_shards(run)
    places = [f"{A}/{REGION}", f"{B}/{REGION}", f"{A}/us-east-1"]
    write_json(run.archiving, {"why_not": "", "destinations": places, "left": {f"{B}/us-east-1": "unreachable"}})
    done = Gone([], [("one", 5), ("two", 4)], {"not_reported": 9}, 90, left={"asset_not_settled": 2})
    write_gone(run.gone(A, REGION), done)
    files = {"one": ArchivedFile({"not_reported": 3}, 1, {"InvalidInput": 1})}
    write_json(run.gone(A, REGION) / "archived.json", msgspec.to_builtins(Archived(files, ("not_allowed", "why"))))
    write_gone(run.gone(B, REGION), Gone([], [], {}, 60, stopped={"not_reported": 55}))
    assert build_ledger(run, PLAN, exported=30)["gone"] == {
        "archived": {"not_reported": 3},
        "missing": 1,
        "not_archived": {"InvalidInput": 1, "not_allowed": 4},
        "stopped": {f"{B}/{REGION}": 55},
        "left": {"asset_not_settled": 2},
        "left_destinations": {f"{A}/us-east-1": "list_damaged", f"{B}/us-east-1": "unreachable"},
        "why_not": "",
    }
