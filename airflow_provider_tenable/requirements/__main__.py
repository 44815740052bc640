"""``python -m airflow_provider_tenable.requirements``: the checks of ``tenable_requirements`` without a DAG.

Run it where Airflow's own commands work, as the user that runs Airflow. The exit code is 1 if a required check failed,
2 if an argument is invalid.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
from collections.abc import Sequence

from airflow_provider_tenable.exceptions import TenableProviderError


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the checks, and print the table."""
    # So that Airflow 3 looks up connections in its database, as its own commands do.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    asked = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    try:
        # Airflow's own log lines would be in the middle of the JSON.
        with contextlib.redirect_stdout(sys.stderr):
            shown, code = _check(asked)
    except TenableProviderError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{shown}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_tenable.requirements",
        description="Check what importing findings of Tenable into Security Hub CSPM needs. Nothing is changed.",
    )
    parser.add_argument("--tenable-conn-id", default="tenable_default")
    parser.add_argument("--of-dag", default="tenable_to_security_hub", help="the DAG that imports")
    parser.add_argument("--destinations", help="JSON list, as the DAG's param; default: [tenable] dag_params")
    parser.add_argument("--region-routing", choices=("fixed", "resource"))
    parser.add_argument("--checks", nargs="+", metavar="CHECK", help="checks or groups to carry out; default: all")
    parser.add_argument("--required", nargs="*", metavar="CHECK", help="checks or groups that decide on the exit code")
    parser.add_argument("--max-places", type=int, default=50, help="accounts and Regions to check at most")
    parser.add_argument("--max-sync-age-hours", type=float, default=48.0)
    parser.add_argument("--json", action="store_true", help="print the lines as JSON")
    return parser


def _check(asked: argparse.Namespace) -> tuple[str, int]:
    """What is printed, and the exit code."""
    from airflow_provider_tenable import config
    from airflow_provider_tenable.exceptions import ConfigurationError
    from airflow_provider_tenable.hooks.tenable import TenableHook
    from airflow_provider_tenable.requirements.catalogue import CHECKS, REQUIRED, chosen
    from airflow_provider_tenable.requirements.check import Scope, check_all
    from airflow_provider_tenable.requirements.lines import failures, table
    from airflow_provider_tenable.requirements.of_aws import destinations_of, routing_of
    from airflow_provider_tenable.staging.location import default_staging_uri

    try:
        given = None if asked.destinations is None else json.loads(asked.destinations)
    except ValueError:
        raise ConfigurationError("--destinations is not JSON. It must be a list of destinations.") from None
    required = chosen(asked.required, what="--required", default=REQUIRED)
    lines, _ = check_all(
        Scope(
            wanted=chosen(asked.checks, what="--checks", default=CHECKS),
            staging=default_staging_uri(),
            of_dag=asked.of_dag,
            destinations=destinations_of({}, given),
            region_routing=routing_of({}, asked.region_routing),
            product=config.get("product"),
            max_places=asked.max_places,
            max_sync_age_hours=asked.max_sync_age_hours,
        ),
        TenableHook(asked.tenable_conn_id, retries=1),
    )
    shown = json.dumps([line.as_json(required) for line in lines]) if asked.json else table(lines, required)
    return shown, 1 if failures(lines, required) else 0


if __name__ == "__main__":
    sys.exit(main())
