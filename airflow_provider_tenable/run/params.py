"""The params of both DAGs, each defined once.

The trigger form (:mod:`airflow_provider_tenable.run.form`), the checks below and the tables in docs/params.md are
generated from these entries. DAG files import this module while Airflow parses them, so it must not import anything
heavy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.assets.outside_ec2 import CHOICES as NON_EC2_ASSETS
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import LONGEST_MESSAGE, quoted
from airflow_provider_tenable.run.run_param import RunParam
from airflow_provider_tenable.run.scope_params import SCOPE
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES, SEVERITY_SOURCES, TENABLE

if TYPE_CHECKING:
    from airflow_provider_tenable.transform.scope import Scope

STATES = ("open", "reopened", "fixed")


def _choice(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


def _choices(values: Iterable[str]) -> dict[str, Any]:
    # `examples` makes the form offer the values.
    return {"type": "array", "items": _choice(*values), "examples": list(values), "minItems": 1}


def _all_of(asked: Any, usual: Any) -> bool:
    return set(usual) <= set(asked)


def _same(asked: Any, usual: Any) -> bool:
    return bool(asked == usual)


def _same_places(asked: Any, usual: Any) -> bool:
    """Whether the destinations begin with the usual ones. The first match counts, so entries added at the end do not
    change where those findings go.
    """
    from airflow_provider_tenable.transform.destinations import parse_destinations

    try:
        wanted = parse_destinations(usual)
    except ConfigurationError:
        # The DAG's own destinations are invalid, so what they would cover is unknown.
        return False
    return parse_destinations(asked)[: len(wanted)] == wanted


_CLOCK = r"\d{2}(:?\d{2}(:?\d{2}([.,]\d+)?)?)?"
#: A moment as text, in the form and in a run (run/watermark.py): nothing, unix seconds, or a date of ISO 8601 with or
#: without a time. Impossible dates match too; the run refuses them. As for Python, any character may stand between date
#: and time. Blanks have one place each: otherwise a long text of blanks takes quadratic time.
MOMENT_PATTERN = (
    r"^\s*((\d{1,12}(\.\d+)?"
    rf"|\d{{4}}-?(\d{{2}}-?\d{{2}}|W\d{{2}}(-?\d)?)([\s\S]{_CLOCK}(Z|[+-]{_CLOCK})?)?)\s*)?$"
)
# `anyOf` instead of a list of types: for a list, Airflow 2.11's form shows a number field, which rejects dates, and
# 3.3's form a text area of six lines.
_MOMENT: Mapping[str, Any] = {
    "anyOf": [
        {"type": "null"},
        {"type": "string", "pattern": MOMENT_PATTERN},
        {"type": "number", "minimum": 0},
    ]
}
_RATIO: Mapping[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
_BOOLEAN: Mapping[str, Any] = {"type": "boolean"}

#: Params of ``tenable_to_security_hub``, in the order of its form.
IMPORT: Mapping[str, RunParam] = {
    "dry_run": RunParam(
        default=False,
        schema=_BOOLEAN,
        title="Dry run",
        help="Export, map and check the hubs, but send nothing. The watermark does not move.",
        more="`advance_watermark` is skipped, so DAGs that wait for an import do not start.",
    ),
    "severities": RunParam(
        default=["high", "critical"],
        schema=_choices(SEVERITIES),
        title="Severities",
        help="Severities to import, after recast: `info`, `low`, `medium`, `high`, `critical`. "
        "If a run omits one of the DAG's own defaults, the watermark does not move.",
        covers=_all_of,
    ),
    "states": RunParam(
        default=list(STATES),
        schema=_choices(STATES),
        title="States",
        help="States to import: `open`, `reopened`, `fixed`. Fixed findings are archived in Security Hub CSPM; "
        "without `fixed` they remain active there.",
        covers=_all_of,
    ),
    "since": RunParam(
        default=None,
        schema=_MOMENT,
        title="Since",
        help="Start of the window: unix seconds (`1790000000`) or ISO 8601 (`2026-11-23T00:00:00Z`). Empty: continue "
        "from the watermark; in a backfill without `until`, the run's data interval. All runs of a backfill have the "
        "same `since` and `until`. For several days, set both in one run: a backfill of N days exports about "
        "(N + 1) / 2 times as much.",
        more="A date without an offset is in UTC.",
    ),
    "until": RunParam(
        default=None,
        schema=_MOMENT,
        title="Until",
        help="End of the window, exclusive: unix seconds or ISO 8601. Empty: now; in a backfill without `since`, the "
        "end of its data interval.",
    ),
    "full": RunParam(
        default=False,
        schema=_BOOLEAN,
        title="Full run",
        help="Export everything, not only what changed since the watermark. Only what differs from what the hubs hold "
        "is sent.",
        more="Runs are full by themselves too, see [state.md](state.md#full-runs). Not with `since`, `until` or a "
        "backfill.",
    ),
    "batch_size": RunParam(
        default=100,
        schema={"type": "integer", "minimum": 1, "maximum": 100},
        title="Batch size",
        help="Findings per call of BatchImportFindings, 1 to 100.",
    ),
    "destinations": RunParam(
        default=[{"aws_conn_id": "aws_default", "accounts": "*", "role_name": None, "region": None}],
        schema={"type": "array", "items": {"type": "object"}, "minItems": 1},
        title="Destinations",
        help="The AWS connection for each account. The first entry that matches a finding's account is used. "
        "With `role_name`, the import assumes the role of that name in the finding's own account. "
        "`region` is the hub's Region; without it, the Region routing decides.",
        more="See [below](#destinations).",
        shown="caller's account",
        covers=_same_places,
    ),
    "region_routing": RunParam(
        default="fixed",
        schema=_choice("fixed", "resource"),
        title="Region routing",
        help="`fixed`: findings go to the Region of the destination or of its connection. `resource`: each finding "
        "goes to the hub in its instance's own Region.",
        covers=_same,
    ),
    "accepted_risks": RunParam(
        default="archive",
        schema=_choice("archive", "import", "suppress"),
        title="Accepted risks",
        help="`archive`: findings whose risk was accepted in Tenable are archived. `import`: they stay active. "
        "`suppress`: they stay active, with the workflow status SUPPRESSED.",
        more="`suppress` needs another permission, see [operating.md](operating.md#suppress-accepted-risks).",
        covers=_same,
    ),
    "severity_source": RunParam(
        default=TENABLE,
        schema=_choice(*SEVERITY_SOURCES),
        title="Severities of findings",
        help="`tenable`: findings have Tenable's severity, after recast. `vpr`, `cvss3`: that of the band in which "
        "this score lies. `severities` goes by Tenable's in any case.",
        more="The default is that of `[tenable] severity_source`. See [mapping.md](mapping.md#severity-by-a-score).",
        covers=_same,
    ),
    "non_ec2_assets": RunParam(
        default="skip",
        schema=_choice(*NON_EC2_ASSETS),
        title="Assets that are not EC2 instances",
        help="`skip`: count them, but do not import them. `other`: import them as resources of type `Other` under the "
        "first destination's account. `typed`: import AWS resources whose ARN the asset names, as resources of their "
        "own type in their own account, and skip the others. `typed_or_other`: import the others as with `other`.",
        more="See [mapping.md](mapping.md#aws-resources-other-than-instances).",
        # `other` is not a superset: an instance whose account Tenable does not know yet becomes a resource `Other`, and
        # would not be imported as an EC2 instance later.
        covers=_same,
    ),
    **SCOPE,
    "max_rejected_ratio": RunParam(
        default=0.01,
        schema=_RATIO,
        title="Maximum share of rejected findings",
        help="Above this share the run fails and the watermark does not move. Up to 10 rejected findings never fail a "
        "run, unless this is 0. Rejected findings are always stored with their reasons.",
    ),
    "max_refused_destinations": RunParam(
        default=None,
        schema={"type": ["null", "integer"], "minimum": 0},
        title="Most accounts and Regions that may refuse",
        help="How many accounts and Regions may refuse their findings for good (closed account, missing role, Region "
        "not enabled, hub off) before the run fails and the watermark stays. Empty: those that no run has reached yet; "
        "one that accepted findings before fails the run.",
        more="Their findings are delivered once they accept them: see [below](#accounts-and-regions-that-refuse).",
    ),
    "accept_fewer_assets": RunParam(
        default=False,
        schema=_BOOLEAN,
        title="Accept fewer assets",
        help="Accept that Tenable exports far fewer assets than before, because they are gone on purpose. Otherwise a "
        "run fails if a full asset export has more than `[tenable] max_shrink_ratio` fewer assets than the last one, "
        "or none with an AWS account any more.",
    ),
    "max_archived_ratio": RunParam(
        default=None,
        schema={"type": ["null", "number"], "minimum": 0, "maximum": 1},
        title="Maximum share of archived findings",
        help="Up to which share of the active findings of an account and Region a full run archives those of which "
        "Tenable says nothing any more. Empty: `[tenable] max_archived_ratio`. `1` confirms that they are gone.",
        more="See [state.md](state.md#the-brake).",
    ),
}

#: Params of ``tenable_replay_rejected``.
REPLAY: Mapping[str, RunParam] = {
    "run_id": RunParam(
        default=None,
        schema={"type": ["null", "string"]},
        title="Run",
        help="Run whose rejected findings are sent again. Empty: the latest run that has any.",
    ),
    "run_ids": RunParam(
        default=None,
        # With another type beside the list, the form would not show one line per run.
        # In this order: Airflow 2 fills in what a link gives only for types that it knows by their spelling.
        schema={"type": ["array", "null"], "items": {"type": "string"}},
        title="Several runs",
        help="Ids of several runs, one per line, instead of Run. Of a finding that several of them have, the newest "
        "version is sent.",
        more="Not with `transform`. The ledger says under `replayed` what became of each run's rejections.",
    ),
    "dag_id": RunParam(
        default="tenable_to_security_hub", schema={"type": "string"}, title="DAG", help="The DAG of the run or runs."
    ),
    "transform": RunParam(
        default=False,
        schema=_BOOLEAN,
        title="Transform again",
        help="Map the run's staged chunks again and send all findings, not only the rejected ones.",
    ),
    "max_rejected_ratio": RunParam(
        default=0.0,
        schema=_RATIO,
        title="Maximum share of rejected findings",
        help="If more than this share of the findings is rejected again, the replay fails.",
    ),
}

#: Params of ``tenable_audit_security_hub``.
AUDIT: Mapping[str, RunParam] = {
    "dag_id": RunParam(
        default="tenable_to_security_hub",
        schema={"type": "string"},
        title="DAG",
        help="The DAG whose hubs are audited.",
    ),
    "sample": RunParam(
        default=1.0,
        schema={"type": "number", "minimum": 0.0625, "maximum": 1},
        title="Share of the instances",
        help="Which share of the EC2 instances is looked at, in sixteenths: by the beginning of their ids, another "
        "part each day. `1`: everything.",
    ),
    "repair": RunParam(
        default=False,
        schema=_BOOLEAN,
        title="Repair",
        help="Let the finding index say what the hubs hold. The next full run then sends what is missing or stale, and "
        "archives what Tenable does not report.",
    ),
    "rebuild": RunParam(
        default=False,
        schema=_BOOLEAN,
        title="Rebuild the index",
        help="Make a finding index that was lost again from what the hubs hold, so that full runs archive what "
        "Tenable does not report any more. Everything is sent once more.",
    ),
}

#: Params of ``tenable_take_over``.
TAKE_OVER: Mapping[str, RunParam] = {
    "dag_id": RunParam(
        default="tenable_to_security_hub",
        schema={"type": "string"},
        title="DAG",
        help="The DAG whose findings take the place of those of the old tools.",
    ),
    "dry_run": RunParam(
        default=True,
        schema=_BOOLEAN,
        title="Dry run",
        help="Read the hubs and log what would happen, and change nothing.",
    ),
    "old_tool_is_off": RunParam(
        default=False,
        schema=_BOOLEAN,
        title="The old tool is off",
        help="Go on although an old tool has written findings within a day. Confirm this only if it does not run any "
        "more: it would make active again what is archived here.",
    ),
}

DEFAULTS: dict[str, Any] = {name: param.default for name, param in IMPORT.items()}


@dataclass(frozen=True)
class Settings:
    """A run's params after validation. ``destinations``, ``since`` and ``until`` have their own parsers.

    :ivar scope: of :data:`~airflow_provider_tenable.run.scope_params.SCOPE`.
    """

    batch_size: int
    severities: tuple[str, ...]
    states: tuple[str, ...]
    region_routing: str
    accepted_risks: str
    severity_source: str
    non_ec2_assets: str
    max_rejected_ratio: float
    max_refused_destinations: int | None
    accept_fewer_assets: bool
    max_archived_ratio: float | None
    dry_run: bool
    scope: Scope


def parse_settings(params: Mapping[str, Any]) -> Settings:
    """Validate the params again: those of a backfill, of a trigger by another DAG or of ``dag.test`` may bypass the
    form.

    :raises ConfigurationError: a value is invalid. The message names the param, its value and the values allowed.
    """
    from airflow_provider_tenable.transform.scope_values import parse_scope

    names = [name for name in Settings.__dataclass_fields__ if name != "scope"]
    return Settings(**{name: checked(name, params, IMPORT) for name in names}, scope=parse_scope(params))


def checked(name: str, params: Mapping[str, Any], table: Mapping[str, RunParam]) -> Any:
    """One param's validated value, or its default if it is absent.

    :param table: the DAG's params, :data:`IMPORT` or :data:`REPLAY`.
    :raises ConfigurationError: the value is invalid. The message names the param, its value and the values allowed.
    """
    param = table[name]
    value = params.get(name, param.default)
    check, wanted = _rule(param.schema)
    if not check(value):
        raise ConfigurationError(f"{name} is {quoted(value, LONGEST_MESSAGE)}; it must be {wanted}.")
    if param.schema["type"] == "array":
        return tuple(known for known in param.schema["items"]["enum"] if known in value)
    return value


def departures(
    asked: Mapping[str, Any], defaults: Mapping[str, Any], table: Mapping[str, RunParam] = IMPORT
) -> list[str]:
    """The params with which a run may deliver less than the DAG's own defaults would, or deliver it differently. Such a
    run must not move the watermark.

    :param asked: the run's params.
    :param defaults: the defaults in the DAG itself.
    :param table: the DAG's params.
    """
    return [
        name
        for name, param in table.items()
        if param.covers is not None
        and not param.covers(asked.get(name, param.default), defaults.get(name, param.default))
    ]


def _rule(schema: Mapping[str, Any]) -> tuple[Callable[[Any], bool], str]:
    """What a schema requires: as a predicate, and in words for the message."""
    if schema["type"] == "array":
        known = schema["items"]["enum"]
        return (
            lambda value: isinstance(value, (list, tuple)) and bool(value) and set(map(str, value)) <= set(known)
        ), f"a list of at least one of {', '.join(known)}"
    if "enum" in schema:
        return lambda value: value in schema["enum"], f"one of {', '.join(schema['enum'])}"
    if schema["type"] == "boolean":
        return lambda value: isinstance(value, bool), "true or false"
    if schema["type"] == ["null", "integer"]:
        least = schema["minimum"]
        return (
            lambda value: value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= least),
            f"a whole number from {least:g} on, or empty",
        )
    if schema["type"] == ["null", "number"]:
        least, most = schema["minimum"], schema["maximum"]
        return (
            lambda value: (
                value is None
                or (isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most)
            ),
            f"a number from {least:g} to {most:g}, or empty",
        )
    if "array" in schema["type"] and "null" in schema["type"]:
        return (
            lambda value: (
                value is None or (isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value))
            ),
            "a list of strings, or empty",
        )
    if "string" in schema["type"]:
        optional = "null" in schema["type"]
        return lambda value: isinstance(value, str) or (optional and value is None), "a string"
    integer, least, most = schema["type"] == "integer", schema["minimum"], schema["maximum"]
    types = int if integer else (int, float)
    return (
        lambda value: isinstance(value, types) and not isinstance(value, bool) and least <= value <= most
    ), f"{'a whole number' if integer else 'a number'} from {least:g} to {most:g}"


def rows(table: Mapping[str, RunParam]) -> list[str]:
    """A table of docs/params.md, as its lines."""
    lines = ["| param | default | meaning |", "| --- | --- | --- |"]
    for name, param in table.items():
        text = param.default if isinstance(param.default, str) else json.dumps(param.default)
        shown = param.shown or ("empty" if param.default is None else f"`{text}`")
        lines.append(f"| `{name}` | {shown} | {f'{param.help} {param.more}'.strip()} |")
    return lines


__all__ = [
    "AUDIT",
    "DEFAULTS",
    "IMPORT",
    "MOMENT_PATTERN",
    "REPLAY",
    "STATES",
    "TAKE_OVER",
    "RunParam",
    "Settings",
    "checked",
    "departures",
    "parse_settings",
    "rows",
]
