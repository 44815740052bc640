"""The DAGs' params as Airflow's trigger form shows them, with the deployment's own defaults.

DAG files import this module while Airflow parses them, so it must not import anything heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from airflow_provider_tenable import config
from airflow_provider_tenable._compat import AirflowException, Param
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.run.params import IMPORT, REPLAY, RunParam
from airflow_provider_tenable.run.scan import SCAN
from airflow_provider_tenable.run.scanner import SCANNER


def import_params() -> dict[str, Param]:
    """The params of ``tenable_to_security_hub``, with the defaults of ``[tenable] dag_params``.

    :raises ConfigurationError: the option contains an unknown name or an invalid value. Airflow shows the message
        among its DAG import errors.
    """
    params = _form(IMPORT)
    for name, default in config.dag_params().items():
        if name not in params:
            raise ConfigurationError(
                f"Option [tenable] dag_params contains {quoted(name, 80)}, which is not a param of this DAG. Its "
                f"params are {sorted(params)}."
            )
        params[name] = Param(default, description=params[name].description, **params[name].schema)
        try:
            params[name].resolve()
        except AirflowException as error:
            # Airflow itself would only report that a DAG with such params must not have a schedule.
            raise ConfigurationError(
                f"Option [tenable] dag_params contains an invalid {name}: {safe(str(error).splitlines()[0])}."
            ) from error
    return params


def scanner_params() -> dict[str, Param]:
    """The params of ``tenable_scanner_ec2``, with the image of ``[tenable] nessus_product_code``."""
    image = SCANNER["image"]
    code = config.get("nessus_product_code")
    return _form({**SCANNER, "image": replace(image, default=f"product_code:{code}")})


def replay_params() -> dict[str, Param]:
    """The params of ``tenable_replay_rejected``."""
    return _form(REPLAY)


def scan_params() -> dict[str, Param]:
    """The params of ``tenable_scan``."""
    return _form(SCAN)


def _form(table: Mapping[str, RunParam]) -> dict[str, Param]:
    return {
        name: Param(param.default, title=param.title, description=param.help.replace("`", ""), **param.schema)
        for name, param in table.items()
    }


__all__ = ["import_params", "replay_params", "scan_params", "scanner_params"]
