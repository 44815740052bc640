"""The scanner on EC2 that a run of ``tenable_scan`` creates for itself and removes at its end.

DAG files import the params while Airflow parses them, so nothing heavy is imported here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_tenable import config
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.identifiers import shown
from airflow_provider_tenable.run.params import RunParam
from airflow_provider_tenable.run.scanner import MACHINE, SCANNER, check_machine

#: Params of ``tenable_scan`` about it, in the order of the form. The image is not one of them: whoever chooses it can
#: read the linking key.
EPHEMERAL_SCANNER: Mapping[str, RunParam] = {
    "ephemeral_scanner": RunParam(
        default=False,
        schema={"type": "boolean"},
        title="Create a scanner for this run",
        help="Create a Nessus scanner on EC2, scan with it, and remove it at the end of the run. The params below "
        "describe its machine.",
    ),
    **{name: SCANNER[name] for name in MACHINE},
}
#: Characters of the scan's name that a scanner's name begins with. It may have 64, and 11 of them identify the run.
_NAME_LENGTH = 40


def plan_ephemeral_scanner(params: Mapping[str, Any], run: Any) -> dict[str, Any]:
    """The run's own scanner, after validation of its params: those of a trigger by another DAG may bypass the form.

    :param params: all params of the run.
    :param run: the DAG run.
    :return: name -> value, with ``image`` and ``scanner_name``, which is empty without such a scanner.
    :raises ConfigurationError: a value is invalid, or the run names another scanner, too.
    """
    wanted = params["ephemeral_scanner"]
    if not isinstance(wanted, bool):
        raise ConfigurationError(f"ephemeral_scanner is {shown(wanted)}; it must be true or false.")
    if wanted and params["scanner"]:
        raise ConfigurationError(
            f"The run names scanner {shown(params['scanner'])}, and asks for an ephemeral one. Leave out one of both."
        )
    return {
        **check_machine(params),
        "ephemeral_scanner": wanted,
        "image": f"product_code:{config.get('nessus_product_code')}",
        "scanner_name": scanner_name(str(params["name"]), run.dag_id, run.run_id) if wanted else "",
    }


def scanner_name(scan: str, dag_id: str, run_id: str) -> str:
    """The name of a run's own scanner: the same for each attempt of the run, and no other run has it."""
    beginning = re.sub(r"[^A-Za-z0-9._-]+", "-", scan).strip("-._")[:_NAME_LENGTH] or "scan"
    return f"{beginning}-{hashlib.sha256(f'{dag_id}/{run_id}'.encode()).hexdigest()[:10]}"
