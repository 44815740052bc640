"""Taking over from the old tools, in a hub with the sandbox's rules: nothing is lost, doubled, or touched besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.security_hub.archived_document import timestamp_of
from airflow_provider_tenable.security_hub.customer_decisions import UnreadableDecisionError, decisions_of
from airflow_provider_tenable.security_hub.old_tool_ids import (
    Vulnerability,
    is_about,
    of_old_id,
    of_our_id,
    sechubingest_arns,
)
from airflow_provider_tenable.security_hub.take_over import NOT_CARRIED, StillWritingError
from airflow_provider_tenable.security_hub.take_over_matching import CONFLICT, NOT_IN_TENABLE, TAKEN_OVER, UNMATCHED
from tests.unit.security_hub.old_estate import V1, V1_OWNED, Hub, copy_of, instance, old_id, our_id, run
from tests.unit.security_hub.test_archiving import ACCOUNT, PLANNED_MS, PRODUCT, REASON, REGION

SUPPRESSED = {"Workflow": {"Status": "SUPPRESSED"}, "Note": {"Text": "accepted", "UpdatedBy": "jo"}}
#: What customers decide, in turn; the first is nothing.
DECISIONS: list[dict[str, Any]] = [
    {},
    SUPPRESSED,
    {"Workflow": {"Status": "RESOLVED"}},
    {"Severity": {"Label": "LOW"}},
    {"UserDefinedFields": {"ticket": "T-1"}, "VerificationState": "FALSE_POSITIVE"},
    {"Severity": {"Normalized": 55}, "Types": ["Unusual Behaviors"], "Confidence": 40, "Criticality": 7},
    {"RelatedFindings": [{"ProductArn": PRODUCT, "Id": "x"}], "Workflow": {"Status": "NOTIFIED"}},
]
FOREIGN = f"arn:aws:securityhub:{REGION}::product/qualys/qualys-vm"


def shown(hub: Hub, finding_id: str) -> dict[str, Any]:
    return decisions_of(hub.held[PRODUCT, finding_id])


def estate(size: int) -> Hub:
    """Both tools' findings, one for several ports; each tenth is fixed in Tenable, each eleventh elsewhere."""
    hub = Hub()
    for number in range(size):
        hub.put(
            old_id(number),
            (PRODUCT, V1, V1_OWNED)[number % 3],
            by_customer=DECISIONS[number % len(DECISIONS)],
            RecordState="ARCHIVED" if number % 5 == 3 else "ACTIVE",
        )
        if number % 10 and number % 11:
            for port in range(1 + number % 3):
                hub.put(our_id(number, port=port))
        if number % 7 == 0:
            hub.put(old_id(number), FOREIGN, by_customer=SUPPRESSED)
    return hub


def is_gone(key: Vulnerability) -> bool:
    return int(key.instance[2:], 16) % 10 == 0


def check(hub: Hub, before: Hub, size: int) -> None:
    """0 decisions lost, 0 doubles active, nothing else touched."""
    wanted = {of_old_id(each): decisions_of(old) for (arn, each), old in before.held.items() if arn != FOREIGN}
    for arn, each in hub.held:
        if arn == PRODUCT and (key := of_our_id(each, ACCOUNT)):
            assert shown(hub, each) == wanted[key], each
    left = {old_id(n) for n in range(size) if n % 10 and not n % 11 and n % 5 != 3}
    assert {each for each in hub.active(PRODUCT, V1, V1_OWNED) if of_old_id(each)} == left
    assert hub.active(PRODUCT) - left == before.active(PRODUCT) - {old_id(n) for n in range(size)}
    assert hub.held.keys() == before.held.keys(), "nothing is deleted, and nothing is new"
    for key, finding in hub.held.items():
        if key[0] == FOREIGN:
            assert finding == before.held[key]
        if of_old_id(key[1]) and key[0] != FOREIGN:
            assert finding["Workflow"] == before.held[key]["Workflow"]


def test_5000_findings_of_the_old_tools(tmp_path: Path) -> None:
    hub = estate(5000)
    before = hub.copy()
    result = run(hub, tmp_path, gone=is_gone)
    check(hub, before, 5000)
    assert result.counts == {TAKEN_OVER: 4091, NOT_IN_TENABLE: 500, UNMATCHED: 409}
    again = len(hub.calls)
    second = run(hub, tmp_path / "2", gone=is_gone)
    assert second.counts == {UNMATCHED: 409}
    assert "update" not in hub.calls[again:]
    assert "import" not in hub.calls[again:]


def test_a_dry_run_counts_the_same_and_changes_nothing(tmp_path: Path) -> None:
    hub = estate(120)
    before = hub.copy()
    dry = run(hub, tmp_path, gone=is_gone, dry_run=True)
    assert hub.held == before.held
    assert set(hub.calls) == {"read"}
    real = run(hub, tmp_path, gone=is_gone)
    assert (dry.counts, dry.updates, dry.decisions) == (real.counts, real.updates, real.decisions)


class KilledError(BaseException):
    pass


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_call_and_run_again_ends_alike(tmp_path: Path, moment: str) -> None:
    size = 70
    untouched = estate(size)
    run(whole := estate(size), tmp_path / "whole", gone=is_gone)
    for number in range(1, len(whole.calls) + 1):
        hub = estate(size)

        def kill(call: int, name: str, at: int = number) -> None:
            if call == at:
                raise KilledError

        setattr(hub, moment, kill)
        with pytest.raises(KilledError):
            run(hub, tmp_path / str(number), gone=is_gone)
        run(hub, tmp_path / str(number), gone=is_gone)
        check(hub, untouched, size)


def test_a_decision_of_the_customer_on_ours_is_not_overwritten_and_both_stay(tmp_path: Path) -> None:
    hub = Hub()
    hub.put(old_id(1), by_customer=SUPPRESSED)
    hub.put(our_id(1), by_customer={"Workflow": {"Status": "NOTIFIED"}})
    hub.put(our_id(1, port=80))
    before = copy_of(hub.held)
    result = run(hub, tmp_path)
    assert result.counts == {CONFLICT: 1}
    assert result.examples[CONFLICT] == [(old_id(1), "Workflow")]
    assert hub.held == before


def test_both_old_tools_with_different_decisions_are_a_conflict(tmp_path: Path) -> None:
    hub = Hub()
    hub.put(old_id(1), V1, by_customer={"Workflow": {"Status": "RESOLVED"}})
    hub.put(old_id(1), PRODUCT, by_customer=SUPPRESSED)
    hub.put(our_id(1))
    assert run(hub, tmp_path).counts == {CONFLICT: 2}
    assert shown(hub, our_id(1)) == {}
    assert hub.active(V1) == {old_id(1)}


def test_what_the_customer_takes_back_later_stays_so(tmp_path: Path) -> None:
    hub = Hub()
    hub.put(old_id(1), by_customer=SUPPRESSED, RecordState="ARCHIVED")
    hub.put(our_id(1))
    run(hub, tmp_path / "1")
    assert shown(hub, our_id(1)) == SUPPRESSED
    hub._work_on((PRODUCT, our_id(1)), {"Workflow": {"Status": "NEW"}})
    run(hub, tmp_path / "2")
    assert hub.held[PRODUCT, our_id(1)]["Workflow"]["Status"] == "NEW"


def test_with_the_ids_of_tvm2aws_its_findings_are_ours(tmp_path: Path) -> None:
    hub = Hub()
    hub.put(old_id(1), PRODUCT)
    hub.put(old_id(1), V1, by_customer=SUPPRESSED)
    assert run(hub, tmp_path, same_ids=True).counts == {TAKEN_OVER: 1}
    assert shown(hub, old_id(1)) == SUPPRESSED
    assert hub.active(PRODUCT, V1) == {old_id(1)}
    assert hub.active(PRODUCT) == {old_id(1)}


@pytest.mark.parametrize(("age_ms", "refused"), [(86_399_999, True), (86_400_000, False)])
def test_it_is_refused_while_the_old_tool_still_writes(tmp_path: Path, age_ms: int, refused: bool) -> None:
    hub = Hub()
    hub.put(old_id(1), UpdatedAt=timestamp_of(PLANNED_MS - age_ms))
    hub.put(our_id(1))
    if refused:
        with pytest.raises(StillWritingError, match=r"24\.0 hours ago.*Nothing was changed.*Switch it off"):
            run(hub, tmp_path)
        assert set(hub.calls) == {"read"}
    assert run(hub, tmp_path, force=refused).counts == {TAKEN_OVER: 1}


def test_what_was_taken_over_says_so(tmp_path: Path) -> None:
    hub = Hub()
    hub.put(old_id(1))
    hub.put(our_id(1))
    hub.put(old_id(2))
    run(hub, tmp_path, gone=lambda key: True)
    reasons = {key[1]: each["ProductFields"].get(REASON) for key, each in hub.held.items()}
    assert reasons == {old_id(1): TAKEN_OVER, our_id(1): None, old_id(2): NOT_IN_TENABLE}


@pytest.mark.parametrize("name", ["AwsAccountId", "Region", "ProductArn", "Id"])
def test_a_finding_that_was_not_asked_for_ends_it(tmp_path: Path, name: str) -> None:
    hub = Hub()
    hub.put(old_id(1), by_customer=SUPPRESSED)
    hub.put(our_id(1))
    before = copy_of(hub.held)
    hub.page = lambda found: [{**each, name: 5} for each in found]
    with pytest.raises(TemporaryError, match=f"another {name} than"):
        run(hub, tmp_path)
    assert hub.held == before


def entry(finding_id: str, code: str) -> dict[str, Any]:
    return {
        "FindingIdentifier": {"Id": finding_id, "ProductArn": PRODUCT},
        "ErrorCode": code,
        "ErrorMessage": "no",
    }


@pytest.mark.parametrize("code", ["FindingNotFound", "InvalidInput", "ConcurrentUpdateError", "Unheard"])
def test_the_old_one_stays_where_one_of_ours_could_not_be_updated(tmp_path: Path, code: str) -> None:
    hub = Hub()
    for number in (1, 2):
        hub.put(old_id(number), by_customer=SUPPRESSED)
        hub.put(our_id(number))

    def partial(answer: dict[str, Any]) -> dict[str, Any]:
        done = [each for each in answer["ProcessedFindings"] if each["Id"] != our_id(2)]
        return {"ProcessedFindings": done, "UnprocessedFindings": [entry(our_id(2), code)]}

    hub.answer = partial
    result = run(hub, tmp_path)
    assert result.counts == {TAKEN_OVER: 1, NOT_CARRIED: 1}
    assert result.examples[NOT_CARRIED] == [(old_id(2), f"{our_id(2)}: {code}: no")]
    assert old_id(2) in hub.active(PRODUCT)
    assert old_id(1) not in hub.active(PRODUCT)
    tries = {"FindingNotFound": 1, "InvalidInput": 1, "ConcurrentUpdateError": 6, "Unheard": 2}
    assert hub.calls.count("update") == tries[code]


def test_what_the_answer_does_not_name_is_not_taken_for_done(tmp_path: Path) -> None:
    hub = Hub()
    hub.put(old_id(1), by_customer=SUPPRESSED)
    hub.put(our_id(1))
    hub.answer = lambda answer: {"ProcessedFindings": [], "UnprocessedFindings": []}
    assert run(hub, tmp_path).counts == {NOT_CARRIED: 1}
    assert old_id(1) in hub.active(PRODUCT)


@pytest.mark.parametrize("which", ["ProcessedFindings", "UnprocessedFindings"])
@pytest.mark.parametrize(
    "wrong", [None, 5, {"Id": "other", "ProductArn": PRODUCT}, {"Id": ["x"], "ProductArn": PRODUCT}]
)
def test_an_answer_about_other_findings_ends_it_before_anything_is_archived(
    tmp_path: Path, which: str, wrong: Any
) -> None:
    hub = Hub()
    hub.put(old_id(1), by_customer=SUPPRESSED)
    hub.put(our_id(1))
    bad = wrong if which == "ProcessedFindings" else {"FindingIdentifier": wrong}
    hub.answer = lambda answer: {**answer, which: [bad]}
    with pytest.raises(TemporaryError, match="not asked to update"):
        run(hub, tmp_path)
    assert old_id(1) in hub.active(PRODUCT)


@pytest.mark.parametrize(
    "hostile",
    [
        "", "/", "//", "a/b/c", f"{REGION}/{instance(1)}", f"{REGION}/{instance(1)}/", f"{REGION}/{instance(1)}/010",
        f"{REGION}/{instance(1)}/0", f"{REGION}/{instance(1)}/10/", f"{REGION}/{instance(1)}/10\n",
        f"{REGION}/{instance(1)}/\uff11\uff10", f"{REGION}/{instance(1)}/{'9' * 40}", f"{REGION}/i-XYZ/10",
        f"../{instance(1)}/10",
        f"{REGION}/{instance(1).upper()}/10", f"\x1b[31m{REGION}/{instance(1)}/10", f"{REGION}/{instance(1)}/-10",
        f"{REGION}/{instance(1)}/1e1", f" {REGION}/{instance(1)}/10",
    ],
)  # fmt: skip
def test_ids_that_no_old_tool_writes_are_left_alone(tmp_path: Path, hostile: str) -> None:
    assert of_old_id(hostile) is None
    hub = Hub()
    hub.put(hostile, V1, by_customer=SUPPRESSED)
    hub.put(our_id(1))
    before = copy_of(hub.held)
    assert run(hub, tmp_path, gone=lambda key: True).counts == {}
    assert hub.held == before


def test_our_ids() -> None:
    assert of_our_id(our_id(1), ACCOUNT) == of_old_id(old_id(1)) == Vulnerability(REGION, instance(1), 10)
    for wrong in (
        old_id(1),
        f"{our_id(1)}/x",
        our_id(1).replace(ACCOUNT, "999988887777"),
        f"{REGION}/{ACCOUNT}/x/10/tcp/1",
        f"{REGION}/{ACCOUNT}/{instance(1)}/10//1",
        f"{REGION}/{ACCOUNT}/{instance(1)}/10/tcp/",
        f"{REGION}/{ACCOUNT}/{instance(1)}/10/tcp",
    ):
        assert of_our_id(wrong, ACCOUNT) is None


def test_products_of_the_first_tool() -> None:
    product = "product/tenable/tenable-io"
    assert sechubingest_arns("eu-west-1") == (
        f"arn:aws:securityhub:eu-west-1:422820575223:{product}",
        f"arn:aws:securityhub:eu-west-1::{product}",
    )
    assert sechubingest_arns("cn-north-1")[1] == f"arn:aws-cn:securityhub:cn-north-1::{product}"


ARN = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance"


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{"Id": f"{ARN}/i-1"}], True),
        ([{"Id": f"{ARN}:i-1"}], True),
        ([{"Id": "i-1"}], True),
        ([None, {"Id": 5}, {}, {"Id": f"{ARN}/i-2"}, {"Id": f"{ARN}/i-1"}], True),
        ([{"Id": f"{ARN}/xi-1"}, {"Id": f"{ARN}/i-1/x"}, {"Id": f"{ARN}/i-1 "}], False),
        ([], False),
        (None, False),
        ({"Id": f"{ARN}/i-1"}, False),
        (f"{ARN}/i-1", False),
    ],
)
def test_resources_of_a_finding(resources: Any, expected: bool) -> None:
    assert is_about({"Resources": resources}, "i-1") is expected


def test_a_finding_without_resources_is_about_nothing() -> None:
    assert not is_about({}, "i-1")


@pytest.mark.parametrize(
    "own",
    [{"Resources": "x"}, {"Resources": [{"Id": f"arn:aws:ec2:::instance/{instance(2)}"}]}, {"UpdatedAt": "soon"},
     {"RecordState": "GONE"}, {"Workflow": {"Status": "ODD"}}, {"Note": {"Text": 5, "UpdatedBy": "x"}}, {"Note": "x"}],
)  # fmt: skip
def test_what_cannot_be_read_is_listed_and_left(tmp_path: Path, own: dict[str, Any]) -> None:
    hub = Hub()
    key = hub.put(old_id(1))
    hub.put(our_id(1))
    hub.held[key].update(own)
    before = copy_of(hub.held)
    result = run(hub, tmp_path)
    assert result.counts == {"unreadable": 1}
    assert result.examples["unreadable"] == [(old_id(1), next(iter(own)))]
    assert hub.held == before


def test_one_of_ours_that_cannot_be_read_is_not_overwritten(tmp_path: Path) -> None:
    hub = Hub()
    hub.put(old_id(1), by_customer=SUPPRESSED)
    key = hub.put(our_id(1))
    hub.held[key]["VerificationState"] = ["?"]
    assert run(hub, tmp_path).counts == {CONFLICT: 1}
    assert hub.calls.count("update") == 0


@pytest.mark.parametrize("name", ["Severity", "Types", "Confidence", "RelatedFindings", "UserDefinedFields"])
@pytest.mark.parametrize("value", [5.5, True, [5], "x", {"a": 5}])
def test_decisions_of_a_wrong_form(name: str, value: Any) -> None:
    with pytest.raises(UnreadableDecisionError, match=name):
        decisions_of({name: value, "FindingProviderFields": {}})


def test_a_decision_that_is_on_ours_already_is_not_sent_again(tmp_path: Path) -> None:
    hub = Hub()
    hub.put(old_id(1), by_customer=SUPPRESSED)
    hub.put(our_id(1), by_customer=SUPPRESSED)
    assert run(hub, tmp_path).counts == {TAKEN_OVER: 1}
    assert "update" not in hub.calls
