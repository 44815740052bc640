"""From the options of the command to the settings of its private Airflow: connections, options, params, conf."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_tenable.command.hidden_keys import MARK
from airflow_provider_tenable.command.options import VARIABLES, Options, params_of
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted, safe

_TENABLE, _AWS = "AIRFLOW_CONN_TENABLE_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT"
_PARAMS = "AIRFLOW__TENABLE__DAG_PARAMS"
_POLLS = "AIRFLOW__TENABLE__POLL_INTERVAL_SECONDS"
#: Of another Airflow's environment, only these settings apply to the private one: it must not write into the database
#: of the other.
_KEPT = ("AIRFLOW__TENABLE__", "AIRFLOW__SECRETS__")
_KEYS = ("TIO_ACCESS_KEY", "TIO_SECRET_KEY", "AWS_ACCESS_ID", "AWS_SECRET_KEY")
#: What the run of a command needs once only, and no default of its DAG.
_OF_ONE_RUN = ("since", "until", "full", "dry_run")


def environment(options: Options, base: Mapping[str, str]) -> dict[str, str]:
    """The environment of the process that runs the DAG.

    :param base: the environment of the command.
    :raises ConfigurationError: keys or a value are missing or invalid.
    """
    home = options.folder
    kept = {name: value for name, value in base.items() if not name.startswith("AIRFLOW__") or name.startswith(_KEPT)}
    profiles = _profiles(options)
    made = {**_tenable(options, base), **_aws(options, base, profiles)}
    # The keys are in the connections that are made of them, and there only.
    hidden = [name for name in _KEYS if (_TENABLE if name.startswith("TIO_") else _AWS) in made]
    for name in (MARK, "AIRFLOW_CONFIG", *hidden):
        kept.pop(name, None)
    return {
        **kept,
        **made,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "60",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs" / "tasks"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": options.level,
        # A person waits, and no triggerer is woken: about as often as pyTenable asks for a small export.
        _POLLS: base.get(_POLLS) or "5",
        # There is no worker slot to release.
        "AIRFLOW__TENABLE__IMPORT_MINUTES": "0",
        _PARAMS: json.dumps({**_given_params(base), **dag_params(options, profiles)}),
    }


def dag_params(options: Options, profiles: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Defaults of the DAG's params. A run with other params than its DAG's defaults would not move the watermark.

    :param profiles: account -> connection, for accounts with a profile of their own.
    """
    found: dict[str, Any] = {}
    if options.severities:
        found["severities"] = options.severities
    if options.states:
        found["states"] = options.states
    if options.batch_size:
        try:
            found["batch_size"] = int(options.batch_size)
        except ValueError:
            raise ConfigurationError(
                f"--batch-size is {quoted(options.batch_size, 40)}; it must be a number from 1 to 100."
            ) from None
    own = [{"aws_conn_id": name, "accounts": [account]} for account, name in (profiles or {}).items()]
    if options.aws_account_id or options.role_name:
        rest: dict[str, Any] = {"aws_conn_id": "aws_default", "accounts": options.aws_account_id or "*"}
        if options.role_name:
            rest["role_name"] = options.role_name
        if options.external_id:
            rest["external_id"] = options.external_id
        own.append(rest)
    if own:
        found["destinations"] = own
    if options.role_name and not options.aws_region:
        # Each finding goes to the hub of its instance's Region, unless one hub is named.
        found["region_routing"] = "resource"
    found.update({name: value for name, value in params_of(options).items() if name not in _OF_ONE_RUN})
    return found


def conf_of(options: Options) -> dict[str, Any]:
    """The conf of one run. ``since`` is not part of it: the watermark decides about it (:mod:`.child`)."""
    asked = {name: value for name, value in params_of(options).items() if name in _OF_ONE_RUN}
    return {**asked, **({"full": True} if options.full else {}), **({"dry_run": True} if options.dry_run else {})}


def _given_params(base: Mapping[str, str]) -> dict[str, Any]:
    text = base.get(_PARAMS, "").strip()
    try:
        given = json.loads(text) if text else {}
    except ValueError as error:
        raise ConfigurationError(f"{_PARAMS} is not JSON: {safe(error, 200)}.") from error
    if not isinstance(given, dict):
        raise ConfigurationError(f"{_PARAMS} must be a JSON object.")
    return given


def _tenable(options: Options, base: Mapping[str, str]) -> dict[str, str]:
    given = {"tio_access_key", "tio_secret_key", "tvm_url"} & options.given
    if base.get(_TENABLE) and not given:
        return {}
    missing = [
        f"--{field.replace('_', '-')} ({VARIABLES[field]})"
        for field in ("tio_access_key", "tio_secret_key")
        if not getattr(options, field)
    ]
    if missing:
        raise ConfigurationError(
            f"There are no keys for Tenable: {' and '.join(missing)} not given. Set them in the environment, in a file "
            f"for --config, or define the connection in {_TENABLE}."
        )
    connection = {"conn_type": "tenable", "login": options.tio_access_key, "password": options.tio_secret_key}
    return {_TENABLE: json.dumps({**connection, **({"host": options.tvm_url} if options.tvm_url else {})})}


def _profiles(options: Options) -> dict[str, str]:
    """Account -> connection of the profiles with an account (``ID=NAME``)."""
    named = [each.partition("=") for each in options.aws_profile if "=" in each]
    return {account: f"aws_{account}" for account, _, _ in named}


def _aws(options: Options, base: Mapping[str, str], profiles: Mapping[str, str]) -> dict[str, str]:
    given = {"aws_access_id", "aws_secret_key", "aws_region", "aws_profile", "aws_role_arn"} & options.given
    if bool(options.aws_access_id) != bool(options.aws_secret_key):
        raise ConfigurationError(
            "AWS keys come in pairs: give both --aws-access-id (AWS_ACCESS_ID) and --aws-secret-key (AWS_SECRET_KEY), "
            "or neither for a role, a profile, or AWS's own variables."
        )
    region = options.aws_region or base.get("AWS_DEFAULT_REGION", "")
    extra = {"region_name": region} if region else {}
    found = {}
    for entry in options.aws_profile:
        account, equals, name = entry.rpartition("=")
        if equals:
            connection = {"conn_type": "aws", "extra": {**extra, "profile_name": name}}
            found[f"AIRFLOW_CONN_{profiles[account].upper()}"] = json.dumps(connection)
        else:
            extra["profile_name"] = name
    if base.get(_AWS) and not given:
        return found
    if options.aws_role_arn:
        extra["role_arn"] = options.aws_role_arn
    connection = {"conn_type": "aws", "extra": extra}
    if options.aws_access_id:
        connection.update(login=options.aws_access_id, password=options.aws_secret_key)
    return {**found, _AWS: json.dumps(connection)}


def dag_file(home: Path) -> Path:
    """Where the private Airflow's only DAG file is."""
    return home / "dags" / "tenable_to_security_hub.py"


__all__ = ["conf_of", "dag_file", "dag_params", "environment"]
