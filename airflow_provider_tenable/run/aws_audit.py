"""The params of ``tenable_aws_audit``, and its steps between the operators.

DAG files import the params while Airflow parses them, so nothing heavy is imported here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from airflow_provider_tenable.aws import ACCOUNT, REGION
from airflow_provider_tenable.exceptions import ConfigurationError, IncompleteRunError, TenableProviderError
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.guards.identifiers import is_connection_id, is_external_id, is_role_name, shown
from airflow_provider_tenable.run.conf import check_conf
from airflow_provider_tenable.run.params import RunParam

log = logging.getLogger(__name__)

_TEXTS: Mapping[str, Any] = {"type": "array", "items": {"type": "string"}}
_OPTIONAL: Mapping[str, Any] = {"type": ["null", "string"]}
#: What an entry of ``accounts`` may contain.
_FIELDS = frozenset({"account", "aws_conn_id", "role_name", "external_id", "regions"})
#: A pattern of audit files: no braces, since operators receive it in a templated field.
_PATTERN = re.compile(r"[A-Za-z0-9 ._*?\[\]-]{1,200}", re.ASCII)
#: What an operator receives for a text that is not given: Airflow 3.0 does not accept null in an XCom.
_NONE = ""

#: Params of ``tenable_aws_audit``, in the order of its form.
AWS_AUDIT: Mapping[str, RunParam] = {
    "accounts": RunParam(
        default=[],
        schema={"type": "array", "items": {"type": "object"}},
        title="Accounts",
        help='Accounts to audit, such as `{"account": "111122223333", "aws_conn_id": "aws_default", "role_name": '
        '"TenableAuditAdmin", "regions": ["eu-west-1"]}`. Everything but `account` is optional.',
    ),
    "regions": RunParam(
        default=["all"],
        schema=_TEXTS,
        title="Regions",
        help="Regions of the accounts that name none, one per line. `all`: all that Tenable knows in the partition.",
    ),
    "audits": RunParam(
        default=["CIS_Amazon_Web_Services_Foundations_*_L1"],
        schema=_TEXTS,
        title="Audit files",
        help="Patterns of Tenable's audit files, one per line. The newest version of each is taken.",
    ),
    "scanner": RunParam(
        default=None,
        schema=_OPTIONAL,
        title="Scanner",
        help="Name or uuid of a scanner, or `AUTO-ROUTED`. Empty: Tenable's US cloud scanner.",
    ),
    "security_audit": RunParam(
        default=False,
        schema={"type": "boolean"},
        title="SecurityAudit",
        help="Also give the users the policy SecurityAudit.",
    ),
    "max_key_age_days": RunParam(
        default=30,
        schema={"type": "integer", "minimum": 0, "maximum": 3650},
        title="Age of a key",
        help="Days after which a key is replaced. `0`: in each run.",
    ),
    "debug": RunParam(
        default=False,
        schema={"type": "boolean"},
        title="Debug",
        help="Switch plugin debugging on during the run, and export its database for Tenable's support.",
    ),
    "password_conn_id": RunParam(
        default=None,
        schema=_OPTIONAL,
        title="Connection with the password",
        help="Connection whose password encrypts the database; needed to debug. Not the password itself.",
    ),
}


def plan_audit(context: Any) -> list[dict[str, Any]]:
    """The accounts of the run with everything that their tasks need: those of a trigger by another DAG or of the
    command line bypass the form.

    :raises ConfigurationError: a param is unknown, or its value is invalid.
    """
    check_conf(context, AWS_AUDIT)
    params = {name: context["params"].get(name, param.default) for name, param in AWS_AUDIT.items()}
    for name in ("security_audit", "debug"):
        if not isinstance(params[name], bool):
            raise ConfigurationError(f"{name} is {shown(params[name])}; it must be true or false.")
    age = params["max_key_age_days"]
    if isinstance(age, bool) or not isinstance(age, int) or not 0 <= age <= 3650:
        raise ConfigurationError(f"max_key_age_days is {shown(age)}; it must be a number from 0 to 3650.")
    audits = _lines("audits", params["audits"])
    if bad := [each for each in audits if not _PATTERN.fullmatch(each)]:
        raise ConfigurationError(f"audits contains {shown(bad[0])}, which cannot be the pattern of an audit file.")
    if not audits:
        raise ConfigurationError("The run has no audit files. Give at least one pattern in audits.")
    if params["debug"] and not is_connection_id(params["password_conn_id"]):
        raise ConfigurationError(
            f"password_conn_id is {shown(params['password_conn_id'])}. To debug, give the id of a connection whose "
            "password encrypts the database."
        )
    shared = {
        "audits": audits,
        "scanner": _scanner(params["scanner"]),
        "security_audit": params["security_audit"],
        "max_age_days": age,
        "debug": params["debug"],
        "formats": ["db"] if params["debug"] else [],
        "password_conn_id": params["password_conn_id"] if params["debug"] else _NONE,
    }
    accounts = [_account(entry, _lines("regions", params["regions"])) for entry in _entries(params["accounts"])]
    if twice := sorted(
        {each["account"] for each in accounts if [a["account"] for a in accounts].count(each["account"]) > 1}
    ):
        raise ConfigurationError(f"Account {twice[0]} is given twice. Give each account once, with all its Regions.")
    return [{**each, **shared} for each in accounts]


def _entries(accounts: object) -> list[Mapping[str, Any]]:
    if not isinstance(accounts, list) or not accounts or not all(isinstance(each, Mapping) for each in accounts):
        raise ConfigurationError(
            f"accounts is {shown(accounts)}; it must be a list of objects, such as "
            '[{"account": "111122223333", "aws_conn_id": "aws_default"}]. Scheduled runs take those of the DAG file.'
        )
    return accounts


def _account(entry: Mapping[str, Any], regions: list[str]) -> dict[str, Any]:
    if unknown := sorted(map(str, entry.keys() - _FIELDS)):
        raise ConfigurationError(
            f"An entry of accounts has {shown(unknown[0])}; it can have {', '.join(sorted(_FIELDS))}."
        )
    account = entry.get("account")
    if not isinstance(account, str) or not ACCOUNT.fullmatch(account):
        raise ConfigurationError(f"{shown(account)} in accounts is not an AWS account id (a text of 12 digits).")
    checks = {"aws_conn_id": is_connection_id, "role_name": is_role_name, "external_id": is_external_id}
    for name, check in checks.items():
        value = entry.get(name, "aws_default" if name == "aws_conn_id" else None)
        if value not in (None, "") and not check(value):
            raise ConfigurationError(f"{name} of account {account} is {shown(value)}, which is not valid.")
    own = _lines("regions", entry.get("regions") or regions)
    if not own or any(region != "all" and not REGION.fullmatch(region) for region in own):
        raise ConfigurationError(f"regions of account {account} are {shown(own)}; give names of Regions, or all.")
    return {
        "account": account,
        "name": f"AWS audit {account}",
        "aws_conn_id": entry.get("aws_conn_id", "aws_default") or _NONE,
        "role_name": entry.get("role_name") or _NONE,
        "external_id": entry.get("external_id") or _NONE,
        # IAM has one endpoint per partition; the Region of the calls decides on it.
        "region_name": next((region for region in own if region != "all"), _NONE),
        "regions": own,
    }


def _scanner(scanner: object) -> str:
    if scanner in (None, ""):
        return _NONE
    if not isinstance(scanner, str) or len(scanner) > 200 or set(scanner) & set("{}%"):
        raise ConfigurationError(f"scanner is {shown(scanner)}, which cannot be the name or uuid of a scanner.")
    return scanner


def _lines(name: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ConfigurationError(f"{name} is {shown(value)}; it must be a list of texts.")
    return [each.strip() for each in value if each.strip()]


def check_results(scan: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """The result of an account's audit, if there is one.

    :param scan: of the task that created the scan.
    :param result: of the task that ran it.
    :raises IncompleteRunError: the run is completed without results: Tenable does not say that it could not sign in.
    """
    counts = result.get("compliance") or {}
    if not any(counts.values()):
        raise IncompleteRunError(
            f"The audit of account {safe(scan.get('account'), 20)} is completed without the result of a single check. "
            "Usual causes: AWS does not accept the key (run again with max_key_age_days=0), the user may not read (see "
            "the log of audit_user for drift, and service control policies), or the scanner cannot reach AWS (give "
            "another one). With debug=true, the run exports what Tenable's support needs."
        )
    log.info(
        "Account %s: %s failed, %s warning, %s passed.",
        safe(scan.get("account"), 20),
        *(counts.get(name, 0) for name in ("failed", "warning", "passed")),
    )
    return {**result, "account": scan.get("account")}


def what_to_send(
    scan: Mapping[str, Any] | None,
    result: Mapping[str, Any] | None,
    exported: Mapping[str, Any] | None,
    conn_id: str | None,
    tenable_conn_id: str = "tenable_default",
) -> None:
    """Log what Tenable's support asks for, and where the file is; never its password.

    :param scan: of the task that created the scan; None, as the next two, if the task has failed.
    :param result: of the task that ran it.
    :param exported: of the task that exported the database.
    """
    if scan is None:
        log.warning("There is no scan: the tasks before this one say why. Nothing can be sent yet.")
        return
    result = result or {}
    scanner, plugins = _scanner_of(scan, result, tenable_conn_id)
    files = (exported or {}).get("files", [])
    for file in files:
        log.info("Send %s (%s bytes) to Tenable's support.", safe(file.get("path")), file.get("bytes"))
    if files:
        log.info("Send its password by another way. It is the password of connection %s.", safe(conn_id, 250))
    else:
        log.warning("No database of the run was exported: the log of export_db says why. Send the log of run_scan.")
    log.info(
        "Facts: scan %s (id %s), run %s, history id %s, began %s, ended %s (unix time), scanner %s, plugins of %s.",
        safe(scan.get("name"), 200),
        scan.get("id"),
        safe(result.get("run_uuid"), 80),
        result.get("history_id"),
        result.get("started_at"),
        result.get("ended_at"),
        scanner,
        plugins,
    )


def _scanner_of(scan: Mapping[str, Any], result: Mapping[str, Any], tenable_conn_id: str) -> tuple[str, str]:
    from airflow_provider_tenable.hooks.tenable import TenableHook

    scanner = plugins = "unknown"
    try:
        with closing(TenableHook(tenable_conn_id)) as hook:
            found = hook.scans.scan(dict(scan))
            run = hook.scan_runs.run(found, str(result.get("run_uuid")))
            scanner = hook.scan_runs.results(found, run).scanner or scanner
            # Only a Scan Manager sees the list.
            plugins = next(
                (each.plugin_set or plugins for each in hook.list_scanners() if each.name == scanner), plugins
            )
    except TenableProviderError as error:
        log.warning("Not everything about the scanner is known: %s", error)
    return safe(scanner, 100), safe(plugins, 40)


def report_audit(context: Any, planned: Any, completed: Any) -> None:
    """Log what was audited, and fail if an account is missing: this task decides the state of the run.

    :param planned: of the first task.
    :param completed: of the task that has announced the results; None: it has not succeeded.
    :raises IncompleteRunError: an account was not audited.
    """
    wanted = [each["account"] for each in planned or ()]
    done = {each["account"] for each in (completed or {}).get("accounts", [])}
    missing = [account for account in wanted if account not in done]
    for each in (completed or {}).get("accounts", []):
        log.info("Account %s: %s", each["account"], quoted(each["compliance"], 200))
    if missing or not wanted:
        raise IncompleteRunError(
            f"{len(missing)} of {len(wanted)} accounts were not audited: {safe(', '.join(missing), 500) or 'none'}. "
            "The tasks of each account say why. Clear the first one that failed, and the tasks after it."
        )
