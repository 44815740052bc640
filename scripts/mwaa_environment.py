"""Print what an Amazon MWAA environment has as shell variables.

    python scripts/mwaa_environment.py FOLDER/environment.json

The file is the answer of `aws mwaa get-environment`. A variable is empty if the environment does not have it.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import mwaa_merge


def names_of(environment: dict[str, Any]) -> dict[str, str]:
    """The variables.

    :param environment: the member ``Environment`` of the answer.
    """
    role, logs = (
        str(environment["ExecutionRoleArn"]),
        (environment.get("LoggingConfiguration") or {}).get("TaskLogs") or {},
    )
    # arn:aws:logs:eu-west-1:123456789012:log-group:airflow-my-airflow-Task, with or without :* at its end.
    group = str(logs.get("CloudWatchLogGroupArn") or "").partition(":log-group:")[2].removesuffix(":*")
    return {
        "ENVIRONMENT": environment["Name"],
        "AIRFLOW": environment["AirflowVersion"],
        "BUCKET": str(environment["SourceBucketArn"]).rpartition(":")[2],
        "DAGS": str(environment["DagS3Path"]).strip("/"),
        "PLUGINS": environment.get("PluginsS3Path") or "",
        "PLUGINS_VERSION": environment.get("PluginsS3ObjectVersion") or "",
        "REQUIREMENTS": environment.get("RequirementsS3Path") or "",
        "REQUIREMENTS_VERSION": environment.get("RequirementsS3ObjectVersion") or "",
        "STARTUP": environment.get("StartupScriptS3Path") or "",
        "STARTUP_VERSION": environment.get("StartupScriptS3ObjectVersion") or "",
        "PARTITION": role.split(":")[1],
        "ACCOUNT_ID": role.split(":")[4],
        # The console creates roles under a path, which trust policies need and IAM's commands do not take.
        "EXECUTION_ROLE_ARN": role,
        "EXECUTION_ROLE": role.rpartition("/")[2],
        # Empty if the environment uses a key that AWS owns.
        "ENVIRONMENT_KEY_ARN": environment.get("KmsKey") or "",
        "TASK_LOG_GROUP": group if logs.get("Enabled") else "",
        "TASK_LOG_LEVEL": logs.get("LogLevel") or "" if logs.get("Enabled") else "",
    }


def main(path: Path) -> None:
    """Print the variables."""
    try:
        environment = mwaa_merge.read_environment(path.parent)
    except mwaa_merge.MergeError as error:
        raise SystemExit(str(error)) from error
    for name, value in names_of(environment).items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    if len(sys.argv) != 2 or Path(sys.argv[1]).name != "environment.json":
        raise SystemExit("Usage: python scripts/mwaa_environment.py FOLDER/environment.json")
    main(Path(sys.argv[1]))
