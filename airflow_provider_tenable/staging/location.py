"""The location of the staging area, from Airflow's object storage layer and configuration.

This is the only module of the Airflow-free folders that uses Airflow, and only when it is called. All others receive a
path.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import safe

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

#: A path on this machine's file system, with or without a scheme.
_LOCAL = re.compile(r"(?P<scheme>(?:file|local):(?://)?)?(?P<path>(?![A-Za-z][A-Za-z0-9+.-]*:).*)", re.DOTALL)


def open_path(uri: str) -> ObjectStoragePath:
    """The path object of a URI, from Airflow's object storage layer (``file://``, ``s3://conn@bucket/...``).

    :raises ConfigurationError: no file system supports it, or it is relative.
    """
    from airflow_provider_tenable._compat import ObjectStoragePath

    located = _from_the_root(uri)
    try:
        path = ObjectStoragePath(located)
        # Airflow 2.11 loads the file system only when it is used.
        _ = path.fs
        return path
    except (ImportError, ValueError) as error:
        raise ConfigurationError(
            f"The staging path {uri!r} cannot be opened: {safe(error)}. s3:// needs the extra "
            "airflow-provider-tenable[s3]."
        ) from error


def _from_the_root(uri: str) -> str:
    """A local path with its ``~`` expanded. A relative one is rejected: it would depend on the working directory of
    each process.
    """
    parts = _LOCAL.match(uri)
    if parts is None:
        return uri
    path = os.path.expanduser(parts["path"])
    if not os.path.isabs(path):
        raise ConfigurationError(
            f"The staging path {uri!r} is relative, so it would be a different folder for every process. Make it "
            "absolute, such as file:///opt/airflow/tenable_staging, or begin it with ~/ for the home directory of the "
            "user that runs Airflow."
        )
    return f"{parts['scheme'] or ''}{path}"


def default_staging_uri() -> str:
    """``[tenable] staging_path``, or a folder in AIRFLOW_HOME."""
    from airflow_provider_tenable import config

    configured = str(config.get("staging_path"))
    if configured:
        return configured
    home = os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow"))
    return "file://" + os.path.join(os.path.abspath(home), "tenable_staging")
