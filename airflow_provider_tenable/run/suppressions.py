"""Findings that somebody has suppressed in the hubs, with a note that says why, as accept rules in Tenable.

A rule is made for one finding: its asset, plugin, port and protocol. Its name has a key of the finding and of the note,
by which it is found again: so the same note makes one rule, whatever dies in between, and one that has expired is made
again only once somebody has renewed the note.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Protocol

from botocore.exceptions import ClientError
from msgspec import Struct, field

from airflow_provider_tenable.asff.product_fields import PREFIX
from airflow_provider_tenable.asff.record_fields import SUPPRESS
from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.guards.uuids import is_uuid
from airflow_provider_tenable.run.last_import import LastImport
from airflow_provider_tenable.run.plan_file import kind_of_plan
from airflow_provider_tenable.security_hub.reader import Finding, FindingsReader, PageSource, equals, refused
from airflow_provider_tenable.tenable_vm.recast_rules import AcceptRule, Condition

log = logging.getLogger(__name__)

#: Why no rule is made of a suppressed finding: nobody says why it is suppressed; a run has suppressed it; its risk is
#: accepted already; it is not a vulnerability of one asset.
WITHOUT_NOTE, BY_A_RUN, ACCEPTED, NOT_OURS = "without_note", "by_a_run", "accepted_already", "not_ours"
#: What becomes of the others.
CREATED, EXISTING, EXPIRED, LATER = "created", "existing", "expired", "later"
_OUR_NOTES = "airflow-provider-tenable/"
_LONGEST_PORT = 5


class Rules(Protocol):
    """What this needs of Tenable (:class:`~airflow_provider_tenable.tenable_vm.recast_rules.RecastRulesApi`)."""

    def ours(self) -> dict[str, bool]: ...

    def accept(self, rule: AcceptRule) -> bool: ...


class Suppressed(Struct):
    """What was read of a hub.

    :ivar rules: those that its findings ask for, by their keys.
    :ivar left: why others ask for none -> findings.
    """

    rules: dict[str, AcceptRule] = field(default_factory=dict)
    left: Counter[str] = field(default_factory=Counter)


def check_direction(last: LastImport, dag_id: str) -> None:
    """:raises ConfigurationError: the DAG imports something else, or suppresses what Tenable accepts."""
    if kind_of_plan(last.plan) != "vulnerabilities":
        raise ConfigurationError(
            f"{quoted(dag_id, 80)} imports {safe(kind_of_plan(last.plan))}, and accept rules are for vulnerabilities: "
            "name a DAG of tenable_to_security_hub in import_dag_id."
        )
    if last.plan["settings"].get("accepted_risks") == SUPPRESS:
        raise ConfigurationError(
            f"{quoted(dag_id, 80)} suppresses findings whose risk is accepted in Tenable (accepted_risks is suppress), "
            "so findings that are suppressed in Security Hub CSPM cannot become accept rules too: only one of the two "
            "may decide. Set accepted_risks to archive or import and let the DAG complete a run, or remove the task "
            "with this operator."
        )


def read_suppressed(
    source: PageSource, account: str, region: str, product_arns: Collection[str], *, expires_at: float
) -> Suppressed:
    """The suppressed active findings of one hub.

    :param product_arns: of the findings that may be ours.
    :param expires_at: when the rules end, unix seconds.
    :raises DestinationRefusedError: reading is not allowed, or the hub is off.
    :raises TemporaryError: AWS cannot be reached, or something else answers in its place.
    """
    filters = {
        "ProductArn": equals(*product_arns),
        "AwsAccountId": equals(account),
        "Region": equals(region),
        "WorkflowStatus": equals("SUPPRESSED"),
        "RecordState": equals("ACTIVE"),
    }
    found = Suppressed()
    try:
        for findings, _ in FindingsReader(source).pages(filters):
            for finding in findings:
                _check_asked_for(finding, account, region)
                if isinstance(rule := rule_of(finding, expires_at=expires_at), str):
                    found.left[rule] += 1
                else:
                    found.rules[rule.key] = rule
    except ClientError as error:
        raise refused(error) from None
    return found


def _check_asked_for(finding: Finding, account: str, region: str) -> None:
    workflow = finding.get("Workflow")
    status = workflow.get("Status") if isinstance(workflow, dict) else None
    if (finding.get("AwsAccountId"), finding.get("Region"), status) != (account, region, "SUPPRESSED"):
        raise TemporaryError(
            "GetFindings returned a finding that does not pass the filters: does something else answer in place of AWS?"
        )


def rule_of(finding: Finding, *, expires_at: float) -> AcceptRule | str:
    """The rule for a suppressed finding, or why there is none."""
    fields = finding.get("ProductFields")
    fields = fields if isinstance(fields, dict) else {}
    asset, plugin = fields.get(f"{PREFIX}asset_uuid"), finding.get("GeneratorId")
    if not is_uuid(asset) or not _is_number(plugin, 15) or not isinstance(finding.get("Id"), str):
        return NOT_OURS
    note = finding.get("Note")
    text, by = (note.get("Text"), note.get("UpdatedBy")) if isinstance(note, dict) else (None, None)
    if not isinstance(text, str) or not isinstance(by, str) or not safe(text):
        return WITHOUT_NOTE
    if by.startswith(_OUR_NOTES):
        return BY_A_RUN
    if fields.get(f"{PREFIX}severity_modification") == "ACCEPTED":
        return ACCEPTED
    conditions = [Condition("asset.id", str(asset)), Condition("definition.id", str(plugin))]
    if finding["Id"].count("/") > 2:
        # Ids of the scheme tvm2aws stand for all ports of a host.
        port, protocol = fields.get(f"{PREFIX}port"), fields.get(f"{PREFIX}protocol")
        if not _is_number(port, _LONGEST_PORT) or not isinstance(protocol, str) or not protocol.isalnum():
            return NOT_OURS
        conditions += [Condition("port", str(port)), Condition("protocol", protocol)]
    name = safe(fields.get(f"{PREFIX}asset_name") or asset, 200)
    return AcceptRule(
        key=_key(finding["Id"], text, by, note.get("UpdatedAt") if isinstance(note, dict) else None),
        title=f"Security Hub CSPM: plugin {plugin} on {name}",
        description=f"Suppressed in AWS Security Hub CSPM, {finding.get('AwsAccountId')}/{finding.get('Region')}, by "
        f"{safe(by, 100)}: {safe(text, 700)}",
        comment=text,
        conditions=conditions,
        expires_at=expires_at,
    )


def _key(*parts: object) -> str:
    return hashlib.blake2b("\0".join(map(str, parts)).encode("utf-8", "replace"), digest_size=12).hexdigest()


def _is_number(value: Any, digits: int) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= digits


def make_rules(rules: Rules, wanted: Iterable[AcceptRule], *, dry_run: bool, most: int) -> Counter[str]:
    """Create the rules that do not exist.

    :param most: rules that are created at most; the others are counted as :data:`LATER`.
    :return: what became, or would become, of them -> rules.
    :raises TenableProviderError: Tenable refuses, or cannot be reached; a retry goes on.
    """
    existing = rules.ours()
    counts: Counter[str] = Counter()
    for rule in wanted:
        if rule.key in existing:
            counts[EXISTING if existing[rule.key] else EXPIRED] += 1
        elif counts[CREATED] >= most:
            counts[LATER] += 1
        else:
            is_new = dry_run or rules.accept(rule)
            counts[CREATED if is_new else EXISTING] += 1
            log.info("%s %s", "Would create" if dry_run else "Created" if is_new else "There is", safe(rule.title))
    return counts


def lines_of(counts: Counter[str], *, dry_run: bool) -> Iterator[str]:
    """What became of the suppressed findings, for people."""
    words = {
        CREATED: "accept rules would be created" if dry_run else "accept rules were created",
        EXISTING: "have a rule already",
        EXPIRED: "had a rule that has ended: renew the note for another one",
        LATER: "wait for a later run, because of max_rules",
        WITHOUT_NOTE: "have no note, and so no rule",
        BY_A_RUN: "were suppressed by a run of this provider",
        ACCEPTED: "have a risk that is accepted in Tenable already",
        NOT_OURS: "are not vulnerabilities of one asset",
    }
    for name, said in words.items():
        if counts[name]:
            yield f"{counts[name]:,} {said}"


__all__ = ["Rules", "Suppressed", "check_direction", "lines_of", "make_rules", "read_suppressed", "rule_of"]
