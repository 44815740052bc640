"""The options of the command: from the command line, a file and the environment, in this order.

Names and environment variables are those of ``sechubingest.py``; the file may be the one of ``tvm2aws``.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from airflow_provider_tenable.command.hidden_keys import MARK, SECRETS
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted, safe

#: Field -> environment variable. Empty ones count as not set, as in the old tool's container image.
VARIABLES: Mapping[str, str] = {
    "tio_access_key": "TIO_ACCESS_KEY",
    "tio_secret_key": "TIO_SECRET_KEY",
    "tvm_url": "TVM_URL",
    "aws_access_id": "AWS_ACCESS_ID",
    "aws_secret_key": "AWS_SECRET_KEY",
    "aws_region": "AWS_REGION",
    "aws_account_id": "AWS_ACCOUNT_ID",
    "aws_profile": "AWS_PROFILE",
    "since": "OBSERVED_SINCE",
    "run_every": "RUN_EVERY",
    "log_level": "LOG_LEVEL",
    "home": "TENABLE_TO_SECURITY_HUB_HOME",
}
#: Names in the file of tvm2aws that differ from those of the options. ``sources`` has no counterpart: assets are
#: recognised by their AWS attributes.
_OF_TVM2AWS = {"access_key": "tio_access_key", "secret_key": "tio_secret_key", "severity": "severities", "sources": ""}
#: The old tool's names of levels.
LEVELS = {"debug": "DEBUG", "info": "INFO", "warn": "WARNING", "error": "ERROR", "crit": "CRITICAL"}
_LONGEST_RUN_EVERY = 8784.0


@dataclass
class Options:
    """What the command was asked for. Empty: not given.

    :ivar given: names of the fields that came from the command line or the file.
    """

    tio_access_key: str = field(default="", repr=False)
    tio_secret_key: str = field(default="", repr=False)
    tvm_url: str = ""
    aws_access_id: str = field(default="", repr=False)
    aws_secret_key: str = field(default="", repr=False)
    aws_region: str = ""
    aws_account_id: list[str] = field(default_factory=list)
    aws_profile: list[str] = field(default_factory=list)
    aws_role_arn: str = ""
    role_name: str = ""
    external_id: str = ""
    batch_size: str = ""
    since: str = ""
    severities: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    run_every: str = ""
    log_level: str = "info"
    home: str = ""
    param: list[str] = field(default_factory=list)
    full: bool = False
    dry_run: bool = False
    json: bool = False
    verbose: bool = False
    given: frozenset[str] = frozenset()

    @property
    def hours(self) -> float | None:
        """Hours from the start of one run to the start of the next; None: one run."""
        if not self.run_every:
            return None
        try:
            hours = float(self.run_every)
        except ValueError:
            hours = -1.0
        if not 0 < hours <= _LONGEST_RUN_EVERY:
            raise ConfigurationError(
                f"--run-every (RUN_EVERY) is {quoted(self.run_every, 40)}; it must be a number of hours, up to 8784."
            )
        return hours

    @property
    def level(self) -> str:
        """The level of the log, as Python names it."""
        name = self.log_level.lower()
        if name not in LEVELS:
            raise ConfigurationError(
                f"--log-level (LOG_LEVEL) is {quoted(self.log_level, 40)}; it must be one of {', '.join(LEVELS)}."
            )
        return LEVELS[name]

    @property
    def folder(self) -> Path:
        """Where the command keeps its Airflow, its watermark and its files."""
        return Path(self.home or "~/.tenable-to-security-hub").expanduser().absolute()


def parse(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Options:
    """Read all options.

    :raises ConfigurationError: the file, or a value, is invalid.
    :raises SystemExit: an option is unknown (2), or help was asked for (0).
    """
    environment = os.environ if environment is None else environment
    named = {name: value for name, value in vars(_parser().parse_args(arguments)).items() if value not in (None, [])}
    hidden = {name for name, variable in VARIABLES.items() if variable in environment.get(MARK, "").split(",")}
    config = named.pop("config", None)
    values: dict[str, Any] = {
        name: environment[variable] for name, variable in VARIABLES.items() if environment.get(variable)
    }
    from_file = _of_file(Path(config)) if config else {}
    values.update({name: value for name, value in from_file.items() if name not in hidden})
    values.update(named)
    lists = {each.name for each in fields(Options) if str(each.type).startswith("list")}
    for name in lists & values.keys():
        values[name] = _list_of(values[name], separators="," if name == "aws_profile" else ",:")
    given = frozenset(named) | frozenset(from_file) | hidden
    return Options(**{**values, "param": named.get("param", [])}, given=given)


def _list_of(value: Any, *, separators: str) -> list[str]:
    """A list of texts. The old tool separates severities by colons."""
    parts = [str(each) for each in value] if isinstance(value, list) else [str(value)]
    for separator in separators:
        parts = [piece for part in parts for piece in part.split(separator)]
    return [part.strip() for part in parts if part.strip()]


def _of_file(path: Path) -> dict[str, Any]:
    try:
        read = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigurationError(
            f"--config {quoted(str(path), 200)} cannot be read: {safe(error.strerror)}."
        ) from error
    except ValueError as error:
        # The message of a decoder quotes no values.
        raise ConfigurationError(f"--config {quoted(str(path), 200)} is not TOML: {safe(error, 200)}.") from error
    known = {each.name for each in fields(Options)} - {"given", "param", "json", "verbose"}
    found: dict[str, Any] = {}
    for key, value in read.items():
        name = _OF_TVM2AWS.get(key, key.replace("-", "_"))
        if name and name not in known:
            raise ConfigurationError(
                f"--config {quoted(str(path), 200)} contains {quoted(key, 80)}, which is not an option. Options: "
                f"{', '.join(sorted(known))}."
            )
        if name in ("full", "dry_run"):
            if not isinstance(value, bool):
                raise ConfigurationError(f"{key} in {quoted(str(path), 200)} must be true or false.")
            found[name] = value
        elif name and value not in ("", None):
            found[name] = value if isinstance(value, list) else str(value)
    if any(VARIABLES.get(name) in SECRETS.values() for name in found):
        _warn_of_readers(path)
    return found


def _warn_of_readers(path: Path) -> None:
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        print(f"{path} contains keys and other users can read it: chmod 600 {path}", file=sys.stderr)


def params_of(options: Options) -> dict[str, Any]:
    """What ``--param NAME=VALUE`` says: values as JSON where they are JSON, as text otherwise.

    :raises ConfigurationError: an entry has no name.
    """
    found = {}
    for entry in options.param:
        name, equals, text = entry.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"--param {quoted(entry, 80)} must be NAME=VALUE.")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tenable-to-security-hub",
        # An abbreviated key would not be taken off the command line.
        allow_abbrev=False,
        description="Import the findings of Tenable Vulnerability Management into AWS Security Hub CSPM.",
        epilog="Exit status: 0 the run is complete, 1 it failed, 2 it could not be run (the message says why), 130 or "
        "143 it was stopped by SIGINT or SIGTERM. The next run continues from the watermark.",
        argument_default=None,
    )
    tenable = parser.add_argument_group("Tenable")
    tenable.add_argument("--tio-access-key", metavar="KEY", help="access key (TIO_ACCESS_KEY; better there)")
    tenable.add_argument("--tio-secret-key", metavar="KEY", help="secret key (TIO_SECRET_KEY; better there)")
    tenable.add_argument("--tvm-url", metavar="URL", help="https://cloud.tenable.com if not given (TVM_URL)")
    aws = parser.add_argument_group("AWS")
    aws.add_argument("--aws-access-id", metavar="ID", help="access key id (AWS_ACCESS_ID); better a role or a profile")
    aws.add_argument("--aws-secret-key", metavar="KEY", help="secret access key (AWS_SECRET_KEY)")
    aws.add_argument("--aws-region", metavar="REGION", help="Region of the hub (AWS_REGION)")
    aws.add_argument(
        "--aws-account-id",
        metavar="ID",
        action="append",
        help="only findings of these accounts (AWS_ACCOUNT_ID); repeatable, or separated by commas",
    )
    aws.add_argument(
        "--aws-profile",
        metavar="[ID=]NAME",
        action="append",
        help="profile of ~/.aws (AWS_PROFILE); with an account id, repeatable, the profile for that account",
    )
    aws.add_argument("--aws-role-arn", metavar="ARN", help="role that is assumed first")
    aws.add_argument(
        "--role-name", metavar="NAME", help="role that is assumed in the account of each finding, for many accounts"
    )
    aws.add_argument("--external-id", metavar="ID", help="external id that the role of --role-name requires")
    what = parser.add_argument_group("What is imported")
    what.add_argument(
        "--severities", action="append", metavar="LIST", help="separated by colons or commas; default high:critical"
    )
    what.add_argument(
        "--states", action="append", metavar="LIST", help="separated by commas; default open,reopened,fixed"
    )
    what.add_argument(
        "--since",
        metavar="MOMENT",
        help="unix seconds or ISO 8601: where the first run begins (OBSERVED_SINCE). Later runs continue from the "
        "watermark; as an option, it makes one run cover this window again",
    )
    what.add_argument("--full", action="store_true", default=None, help="export everything, not only what changed")
    what.add_argument("--batch-size", metavar="N", help="findings per call, 1 to 100")
    what.add_argument(
        "--param", action="append", metavar="NAME=VALUE", help="any param of docs/params.md; repeatable, values as JSON"
    )
    run = parser.add_argument_group("The run")
    run.add_argument("--dry-run", action="store_true", default=None, help="export, map and check, but send nothing")
    run.add_argument("--run-every", metavar="HOURS", help="run again and again until it is stopped (RUN_EVERY)")
    run.add_argument("--json", action="store_true", default=None, help="one JSON object per run on stdout")
    run.add_argument("--config", metavar="FILE", help="TOML file with any of these options, such as tvm2aws.toml")
    run.add_argument(
        "--home",
        metavar="FOLDER",
        help="where watermark, staged files, logs and the private Airflow are kept (TENABLE_TO_SECURITY_HUB_HOME); "
        "default ~/.tenable-to-security-hub. One folder per Tenable container",
    )
    run.add_argument("--log-level", metavar="LEVEL", help=f"{', '.join(LEVELS)} (LOG_LEVEL); default info")
    run.add_argument("--verbose", "-v", action="store_true", default=None, help="show Airflow's log on stderr, too")
    return parser


__all__ = ["LEVELS", "VARIABLES", "Options", "params_of", "parse"]
