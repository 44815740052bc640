"""Shows what Security Hub CSPM rejected in a run, wherever the run's files are: one JSON object per line.

``python -m airflow_provider_tenable.command.rejected RUN_ID``, in the environment of an Airflow, whose connections it
uses.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TextIO


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the lines. :return: 0, or 2 if the run's files cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_tenable.command.rejected", description=__doc__)
    parser.add_argument("run_id", metavar="RUN_ID", help="the run, as Airflow and the report name it")
    parser.add_argument("--dag-id", default="tenable_to_security_hub", help="its DAG; default tenable_to_security_hub")
    parser.add_argument("--staging-path", help="URI of the staging area; default [tenable] staging_path")
    parser.add_argument("--without-finding", action="store_true", help="only ids, codes and messages")
    options = parser.parse_args(arguments)
    out = sys.stdout
    # Airflow logs on stdout, for example when it opens the connection of a bucket.
    with redirect_stdout(sys.stderr):
        return _print_lines(options, out)


def _print_lines(options: argparse.Namespace, out: TextIO) -> int:
    from airflow_provider_tenable.exceptions import ConfigurationError, TenableProviderError
    from airflow_provider_tenable.guards.foreign_text import quoted
    from airflow_provider_tenable.run.results import iter_rejected
    from airflow_provider_tenable.staging.layout import RunFolder
    from airflow_provider_tenable.staging.location import default_staging_uri

    try:
        run = RunFolder(options.staging_path or default_staging_uri(), options.dag_id, options.run_id)
        if not run.plan.exists():
            raise ConfigurationError(f"There is no run {quoted(options.run_id, 250)} in {run.dag_root}.")
        for line in iter_rejected(run):
            if options.without_finding:
                line.pop("finding", None)
            # Escaped: nothing in it can paint a terminal.
            print(json.dumps(line, default=str), file=out)
    except TenableProviderError as error:
        print(str(error), file=sys.stderr)
        return 2
    except BrokenPipeError:
        # `| head` has seen enough. Python would fail once more when it closes stdout.
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
