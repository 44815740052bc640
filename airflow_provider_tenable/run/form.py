"""The DAGs' params as Airflow's trigger form shows them, with the deployment's own defaults.

DAG files import this module while Airflow parses them, so it must not import anything heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_tenable import config
from airflow_provider_tenable._compat import AirflowException, Param
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.run.aws_audit import AWS_AUDIT
from airflow_provider_tenable.run.compliance_params import COMPLIANCE
from airflow_provider_tenable.run.params import AUDIT, IMPORT, REPLAY, TAKE_OVER, RunParam
from airflow_provider_tenable.run.scan import SCAN
from airflow_provider_tenable.run.scanner import SCANNER
from airflow_provider_tenable.run.was_params import WAS

#: The version of JSON Schema that the params keep to. Airflow checks the schema of each param of a DAG many times for
#: each task whenever it serialises the DAG. The metaschema of a later version makes that several times slower.
_DRAFT = "http://json-schema.org/draft-07/schema#"


def import_params(own: Mapping[str, Any] | None = None, *, aws_conn_id: str | None = "aws_default") -> dict[str, Param]:
    """The params of ``tenable_to_security_hub``, with the defaults of ``[tenable] dag_params``.

    :param own: defaults of one DAG, which override those of the option.
    :param aws_conn_id: the connection of the default destination.
    :raises ConfigurationError: the option, or ``own``, contains an unknown name or an invalid value. Airflow shows the
        message among its DAG import errors.
    """
    table = dict(_of_connection(IMPORT, aws_conn_id))
    table["severity_source"] = replace(IMPORT["severity_source"], default=config.get("severity_source"))
    return _with_defaults(_form(table), config.dag_params(), own)


def compliance_params(
    own: Mapping[str, Any] | None = None, *, aws_conn_id: str | None = "aws_default"
) -> dict[str, Param]:
    """The params of ``tenable_compliance_to_security_hub``. Of ``[tenable] dag_params`` it takes what it has too.

    The arguments are those of :func:`import_params`.
    """
    params = _form(_of_connection(COMPLIANCE, aws_conn_id))
    shared = {name: value for name, value in config.dag_params().items() if name in params}
    return _with_defaults(params, shared, own)


def was_params(own: Mapping[str, Any] | None = None, *, aws_conn_id: str | None = "aws_default") -> dict[str, Param]:
    """The params of ``tenable_was_to_security_hub``. Of ``[tenable] dag_params`` it takes what it has too.

    The arguments are those of :func:`import_params`.
    """
    table = dict(_of_connection(WAS, aws_conn_id))
    table["severity_source"] = replace(WAS["severity_source"], default=config.get("severity_source"))
    params = _form(table)
    shared = {name: value for name, value in config.dag_params().items() if name in params}
    return _with_defaults(params, shared, own)


def _with_defaults(
    params: dict[str, Param], of_option: Mapping[str, Any], own: Mapping[str, Any] | None
) -> dict[str, Param]:
    for what, defaults in (
        ("Option [tenable] dag_params", of_option),
        ("The argument params of the DAG file", own or {}),
    ):
        for name, default in defaults.items():
            if name not in params:
                raise ConfigurationError(
                    f"{what} contains {quoted(name, 80)}, which is not a param of this DAG. Its params are "
                    f"{sorted(params)}."
                )
            params[name] = Param(default, description=params[name].description, **params[name].schema)
            try:
                params[name].resolve()
            except AirflowException as error:
                # Airflow itself would only report that a DAG with such params must not have a schedule.
                raise ConfigurationError(
                    f"{what} contains an invalid {name}: {safe(str(error).splitlines()[0])}."
                ) from error
    return params


def _of_connection(table: Mapping[str, RunParam], aws_conn_id: str | None) -> Mapping[str, RunParam]:
    """The params whose default destination has a DAG's own connection."""
    usual = IMPORT["destinations"]
    default = [{**each, "aws_conn_id": aws_conn_id} for each in usual.default]
    return {**table, "destinations": replace(usual, default=default)}


def scanner_params() -> dict[str, Param]:
    """The params of ``tenable_scanner_ec2``, with the image of ``[tenable] nessus_product_code``."""
    image = SCANNER["image"]
    code = config.get("nessus_product_code")
    return _form({**SCANNER, "image": replace(image, default=f"product_code:{code}")})


def replay_params(of_dag: str = "tenable_to_security_hub") -> dict[str, Param]:
    """The params of ``tenable_replay_rejected``.

    :param of_dag: the DAG whose rejected findings are sent again.
    """
    return _form({**REPLAY, "dag_id": replace(REPLAY["dag_id"], default=of_dag)})


def audit_params(of_dag: str = "tenable_to_security_hub") -> dict[str, Param]:
    """The params of ``tenable_audit_security_hub``.

    :param of_dag: the DAG whose hubs are audited.
    """
    return _form({**AUDIT, "dag_id": replace(AUDIT["dag_id"], default=of_dag)})


def take_over_params(of_dag: str = "tenable_to_security_hub") -> dict[str, Param]:
    """The params of ``tenable_take_over``.

    :param of_dag: the DAG whose findings take the place of those of the old tools.
    """
    return _form({**TAKE_OVER, "dag_id": replace(TAKE_OVER["dag_id"], default=of_dag)})


def scan_params() -> dict[str, Param]:
    """The params of ``tenable_scan``."""
    return _form(SCAN)


def aws_audit_params(own: Mapping[str, Any] | None = None) -> dict[str, Param]:
    """The params of ``tenable_aws_audit``.

    :param own: defaults of one DAG.
    :raises ConfigurationError: ``own`` contains an unknown name or an invalid value.
    """
    return _with_defaults(_form(AWS_AUDIT), {}, own)


def _form(table: Mapping[str, RunParam]) -> dict[str, Param]:
    return {
        name: Param(
            param.default,
            title=param.title,
            description=param.help.replace("`", ""),
            **{"$schema": _DRAFT, **param.schema},
        )
        for name, param in table.items()
    }


__all__ = [
    "audit_params",
    "aws_audit_params",
    "compliance_params",
    "import_params",
    "replay_params",
    "scan_params",
    "scanner_params",
    "take_over_params",
    "was_params",
]
