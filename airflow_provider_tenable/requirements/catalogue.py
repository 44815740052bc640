"""All checks: what each of them looks at, whether it is required by default, and what to do if it fails.

docs/requirements.md shows this table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted


@dataclass(frozen=True)
class Check:
    """A check.

    :ivar what: what is checked.
    :ivar remedy: what to do if it failed, or could not be carried out.
    :ivar required: whether a failure fails the task by default.
    """

    what: str
    remedy: str
    required: bool = True


#: Group and check -> the check, in the order of the table.
CHECKS: dict[str, Check] = {
    "tenable.keys": Check(
        "The connection exists, and Tenable accepts its API keys.",
        "Generate API keys for the API user in Tenable, and put them into the connection.",
    ),
    "tenable.role": Check(
        "The API user is enabled and has the role Basic or higher (on FedRAMP: Administrator, for asset exports).",
        "Let an administrator of Tenable enable the API user and give it that role.",
    ),
    "tenable.view": Check(
        "The API user has *Can View* on all assets. Tenable leaves out what a user may not view, without an error.",
        "Let an administrator of Tenable grant the API user the permission Can View on All Assets.",
    ),
    "tenable.export": Check(
        "Tenable accepts an export of vulnerabilities and one of assets. Both are of the present moment, so that they "
        "contain next to nothing, and are cancelled at once.",
        "Give the API user the role Basic or higher, or a custom role with the privilege to export.",
    ),
    "tenable.deleted_assets": Check(
        "The API user is shown deleted assets. Tenable may show them to administrators only.",
        "Give the API user the role Administrator. Without it, findings of deleted assets are archived by the next "
        "full run, as not reported any more.",
        required=False,
    ),
    "tenable.clock": Check(
        "The worker's clock and Tenable's differ by at most five minutes, which is also what AWS tolerates.",
        "Synchronise the worker's clock (NTP).",
    ),
    "scanner.online": Check(
        "A Nessus scanner is linked, on, and has plugins. Only scans of your own scanners need one.",
        "Link a scanner, or start it: docs/scanners.md. Ignore this line if agents or Tenable's cloud scanners scan.",
        required=False,
    ),
    "audit.scans": Check(
        "The scan of each audit of an AWS account that is on record exists in Tenable, and its newest run was "
        "completed, with results.",
        "Run the DAG tenable_aws_audit for this account.",
        required=False,
    ),
    "audit.assets": Check(
        "No asset in Tenable stands for several audited AWS accounts, whose results would overwrite each other.",
        "Put each account's scan on a scanner in a network of its own.",
        required=False,
    ),
    "connector.status": Check(
        "Tenable has an AWS connector, and the last import of each ended without an error. Needs an administrator.",
        "Correct the connector in Tenable under Settings, Cloud Connectors.",
        required=False,
    ),
    "connector.sync": Check(
        "Each AWS connector has imported assets within `max_sync_age_hours`, or two of its intervals if those are "
        "longer.",
        "Start an import of the connector in Tenable, and look at its status there.",
        required=False,
    ),
    "connector.accounts": Check(
        "Tenable knows the assets of each AWS account that gets findings: from a connector's settings, or because the "
        "asset index has assets of the account.",
        "Add the account to an AWS connector, or let agents on its instances reach the EC2 metadata service.",
        required=False,
    ),
    "aws.destinations": Check(
        "The destinations are valid, their connections exist, and AWS accepts the credentials of each.",
        "Correct the destinations in [tenable] dag_params, or the AWS connection that the line names.",
    ),
    "aws.accounts": Check(
        "Each AWS account of the asset index has a destination, or is left out on purpose.",
        "Add the account to a destination, or leave it out with exclude_accounts.",
        required=False,
    ),
    "aws.partition": Check(
        "The destination is in the partition of the assets (commercial, GovCloud, China).",
        "Add a destination whose connection and Region belong to that partition.",
    ),
    "aws.role": Check(
        "The credentials, or the role that is assumed with them, belong to the account of the findings.",
        "Create the role in the account (deploy/iam), let its trust policy name the caller, or correct the connection.",
    ),
    "aws.region": Check(
        "The account has enabled the Region, and Security Hub CSPM exists there.",
        "Enable the Region in the account, or leave it out with regions in the destination.",
    ),
    "aws.hub": Check(
        "Security Hub CSPM is enabled. The new AWS Security Hub alone does not accept findings of other products.",
        "Enable Security Hub CSPM in that account and Region, or route the findings elsewhere.",
    ),
    "aws.product": Check(
        "The account is subscribed to the product, or [tenable] enable_product lets the import subscribe it.",
        "Accept findings from Tenable: Vulnerability Management under Integrations in Security Hub CSPM, or set "
        "[tenable] enable_product = True.",
    ),
    "aws.get_findings": Check(
        "The credentials may read findings (GetFindings), which archiving and the audit need.",
        "Allow securityhub:GetFindings on the hub's ARN to these credentials (deploy/iam).",
    ),
    "aws.describe_instances": Check(
        "The credentials may ask EC2 for instances (DescribeInstances). Checked only with [tenable] "
        "resolve_unplaced_instances.",
        "Allow ec2:DescribeInstances to these credentials (deploy/iam/describe-instances.json), or set [tenable] "
        "resolve_unplaced_instances = False.",
        required=False,
    ),
    "aws.import": Check(
        "Security Hub CSPM has accepted findings of the DAG there. There is no way to try BatchImportFindings without "
        "sending a finding, so it is unchecked until the first import.",
        "Allow securityhub:BatchImportFindings on the product's ARN to these credentials (deploy/iam).",
    ),
    "aws.bound": Check(
        "All accounts and Regions were checked. There is a limit on their number (`max_places`) and on the time.",
        "Raise max_places, or look at the other accounts and Regions with a second task.",
        required=False,
    ),
    "staging.write": Check(
        "A file can be written to the staging area and read back.",
        "Correct [tenable] staging_path, its permissions, or the connection of the object store.",
    ),
    "staging.shared": Check(
        "A file that an earlier run wrote, on another worker if there are several, can be read by this one.",
        "Point [tenable] staging_path at an object store, or at a file system that all workers mount.",
    ),
    "staging.space": Check(
        "A local staging area has at least 1 GiB of free space.",
        "Free space, or point [tenable] staging_path elsewhere. docs/scaling.md says how much a run needs.",
    ),
    "staging.permissions": Check(
        "Other users of the machine cannot open a local staging area.",
        "Set the mode of the folder to 0700, and run all of Airflow's components as its owner.",
    ),
    "airflow.version": Check(
        "Airflow is one of the supported versions, 2.11 to 3.3.",
        "Install a supported version of Airflow: docs/standalone.md has the lines.",
    ),
    "airflow.triggerer": Check(
        "A triggerer is alive, as Airflow's health endpoint says. Exports wait in it.",
        "Start airflow triggerer.",
    ),
    "airflow.pool": Check(
        "The pool of the tasks exists and has slots. A task of Airflow 3 cannot see this.",
        "Create the pool, or give it slots: Admin, Pools.",
    ),
    "airflow.max_active_runs": Check(
        "The importing DAG has max_active_runs=1. A task of Airflow 3 can see this only of its own DAG.",
        "Set max_active_runs=1 in the DAG file: two runs at a time would export the same window twice.",
    ),
}

GROUPS = tuple(dict.fromkeys(name.partition(".")[0] for name in CHECKS))


def chosen(names: Iterable[str] | None, *, what: str, default: Collection[str]) -> frozenset[str]:
    """The checks of a list of checks and groups.

    :param what: the argument, for messages.
    :param default: the checks without a list.
    :raises ConfigurationError: a name is neither a check nor a group.
    """
    if names is None:
        return frozenset(default)
    if isinstance(names, str):
        raise ConfigurationError(f"{what} must be a list of checks, not the text {quoted(names, 80)}.")
    found: set[str] = set()
    for name in names:
        matching = {check for check in CHECKS if name in (check, check.partition(".")[0])}
        if not matching:
            raise ConfigurationError(
                f"{what} contains {quoted(name, 80)}, which is neither a check nor one of the groups "
                f"{', '.join(GROUPS)}. The checks are {', '.join(CHECKS)}."
            )
        found |= matching
    return frozenset(found)


#: Failures of these fail the task by default.
REQUIRED = frozenset(name for name, check in CHECKS.items() if check.required)
