"""Merge the bundle for Amazon MWAA into the files and options of an existing environment, without losing any of them.

`scripts/mwaa_bundle.py --into FOLDER` calls this. FOLDER contains `environment.json`, the answer of
`aws mwaa get-environment`, and those of `requirements.txt`, `plugins.zip` and `startup.sh` that the environment has.

Existing content stays byte for byte. Ours is a block between two markers, or wheels that an inventory lists, so that
the next merge can replace it.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

BEGIN, END = "# BEGIN airflow-provider-tenable", "# END airflow-provider-tenable"
#: In plugins.zip: the wheels that are ours, so that a later merge can take them out.
INVENTORY = "airflow-provider-tenable.json"
SECRETS_MANAGER = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"
PARAMETER_STORE = "airflow.providers.amazon.aws.secrets.systems_manager.SystemsManagerParameterStoreBackend"
#: What a deployment begins with: the accounts that the execution role reaches. Its first scheduled runs send nothing
#: anyway.
DAG_PARAMS = {"region_routing": "resource"}
_WATERMARK = "tenable_to_security_hub__since"
_NOT_THE_WATERMARK = "^(?!.*__since$)"


class MergeError(Exception):
    """The environment and the bundle contradict each other; the message says where, and what to do."""


def without_block(text: str) -> str:
    """A text without the block of an earlier merge."""
    return re.sub(rf"^{BEGIN}$.*?^{END}$\n?", "", text, flags=re.M | re.S)


def merge_requirements(theirs: str, ours: str) -> str:
    """Their requirements, then ours in a block.

    ``--no-index`` is left out unless they have it too, since their packages come from an index. The resolver checks for
    conflicts.
    """
    kept = without_block(theirs)
    if kept and not kept.endswith("\n"):
        kept += "\n"
    options = {line.strip() for line in kept.splitlines() if line.strip().startswith("--")}
    lines = [line for line in ours.splitlines() if line not in options and line != "--no-index"]
    return "\n".join([f"{kept}{BEGIN}", *lines, END]) + "\n"


def merge_plugins(theirs: bytes | None, ours: bytes) -> bytes:
    """Their plugins.zip with our wheels added and those of an earlier merge removed.

    :raises MergeError: a file of theirs has the name of one of our wheels and another content, or the archive is
        damaged.
    """
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(ours)) as added, zipfile.ZipFile(target, "w") as merged:
        new = {entry.filename: entry for entry in added.infolist()}
        for entry, data in _entries(theirs):
            if entry.filename in new and added.read(new.pop(entry.filename)) != data:
                raise MergeError(
                    f"The environment's plugins.zip has a different {entry.filename}. Remove it there, then merge "
                    "again."
                )
            merged.writestr(entry, data)
        for entry in new.values():
            merged.writestr(entry, added.read(entry))
        inventory = zipfile.ZipInfo(INVENTORY, (1980, 1, 1, 0, 0, 0))
        inventory.external_attr = 0o644 << 16
        # A wheel that they had already stays theirs.
        merged.writestr(inventory, json.dumps({"wheels": sorted(new)}) + "\n")
    return target.getvalue()


def _entries(theirs: bytes | None) -> list[tuple[zipfile.ZipInfo, bytes]]:
    """The entries of their archive that are not ours."""
    if theirs is None:
        return []
    try:
        with zipfile.ZipFile(io.BytesIO(theirs)) as archive:
            names = archive.namelist()
            ours = {INVENTORY, *json.loads(archive.read(INVENTORY))["wheels"]} if INVENTORY in names else set()
            return [(entry, archive.read(entry)) for entry in archive.infolist() if entry.filename not in ours]
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise MergeError(f"The environment's plugins.zip cannot be read: {error}. Download it again.") from error


def merge_startup(theirs: str, ours: str) -> str:
    """Their startup script with ours in a block at its beginning, since theirs may end with ``exit`` or ``exec``."""
    first, _, rest = without_block(theirs).partition("\n")
    if not first.startswith("#!"):
        first, rest = "#!/bin/sh", without_block(theirs)
    body = "\n".join(line for line in ours.splitlines() if not line.startswith("#!"))
    return f"{first}\n{BEGIN}\n{body.strip()}\n{END}\n{rest}"


def merge_options(theirs: dict[str, str], *, staging_path: str, keep_secrets: bool = False) -> dict[str, str]:
    """All Airflow options of the environment with ours added, since an update replaces them all.

    Existing options stay. Nothing is added that affects other DAGs: a secrets backend that is added looks up our
    connection only.

    :param keep_secrets: leave the options of the secrets backend alone.
    :raises MergeError: the environment's secrets backend would hide the watermark, or excludes our connection.
    """
    merged = {"tenable.staging_path": staging_path, "tenable.dag_params": json.dumps(DAG_PARAMS), **theirs}
    if keep_secrets:
        return merged
    backend = theirs.get("secrets.backend")
    if not backend:
        kwargs = {
            "connections_prefix": "airflow/connections",
            "connections_lookup_pattern": "^tenable_default$",
            "variables_prefix": None,
        }
        return {**merged, "secrets.backend": SECRETS_MANAGER, "secrets.backend_kwargs": json.dumps(kwargs)}
    if backend in (SECRETS_MANAGER, PARAMETER_STORE):
        merged |= _checked_kwargs(theirs.get("secrets.backend_kwargs"))
    return merged


def _checked_kwargs(text: str | None) -> dict[str, str]:
    """The options of one of Amazon's secrets backends that have to change: none, or a pattern that keeps the watermark
    out.
    """
    try:
        kwargs = json.loads(text or "{}")
    except ValueError:
        kwargs = None
    if not isinstance(kwargs, dict):
        raise MergeError(
            f"secrets.backend_kwargs of the environment is not a JSON object: {str(text)[:80]}. Correct it first."
        )
    connections = kwargs.get("connections_lookup_pattern")
    if kwargs.get("connections_prefix", "") is None or (
        connections is not None and not re.match(connections, "tenable_default")
    ):
        raise MergeError(
            "secrets.backend_kwargs of the environment excludes tenable_default (connections_prefix, "
            "connections_lookup_pattern). Change that, "
            "or define the connection in Airflow's UI and merge with --keep-secrets."
        )
    variables = kwargs.get("variables_lookup_pattern")
    if kwargs.get("variables_prefix", "") is None or (variables is not None and not re.match(variables, _WATERMARK)):
        return {}
    if variables is not None:
        raise MergeError(
            f"secrets.backend_kwargs of the environment has the variables_lookup_pattern {variables!r}, which matches "
            f"{_WATERMARK}: the secrets "
            "backend would be asked for the watermark. Change the pattern so that it excludes names that end in "
            "__since."
        )
    return {"secrets.backend_kwargs": json.dumps({**kwargs, "variables_lookup_pattern": _NOT_THE_WATERMARK})}


def read_environment(folder: Path) -> dict[str, Any]:
    """The environment in ``environment.json``. :raises MergeError: the file is missing, or something else."""
    path = folder / "environment.json"
    try:
        environment = json.loads(path.read_text())["Environment"]
        found: dict[str, Any] = {
            **environment,
            "Name": environment["Name"],
            "AirflowVersion": environment["AirflowVersion"],
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MergeError(
            f"{path} is not the answer of `aws mwaa get-environment --name NAME`: {type(error).__name__}: {error}"
        ) from error
    return found


def merge_files(folder: Path, target: Path, *, startup: bool) -> str:
    """Merge the files of an environment into those of the bundle in ``target``; the merged requirements.

    :param startup: add ours to their startup script; otherwise theirs is left alone.
    """
    requirements = merge_requirements(_text(folder / "requirements.txt"), _text(target / "requirements.txt"))
    _write(target / "requirements.txt", requirements)
    plugins = folder / "plugins.zip"
    merged = merge_plugins(plugins.read_bytes() if plugins.exists() else None, (target / "plugins.zip").read_bytes())
    (target / "plugins.zip").write_bytes(merged)
    if startup:
        _write(target / "startup.sh", merge_startup(_text(folder / "startup.sh"), _text(target / "startup.sh")))
    else:
        (target / "startup.sh").unlink()
    return requirements


def _text(path: Path) -> str:
    """The text of a file, empty if there is none. Line endings and bytes that are not UTF-8 survive a round trip."""
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


def update_of(environment: dict[str, Any], *, startup: bool, keep_secrets: bool) -> dict[str, Any]:
    """The input of ``aws mwaa update-environment``: only what changes, so the environment keeps its version of
    Airflow.
    """
    bucket = str(environment["SourceBucketArn"]).rpartition(":")[2]
    update = {
        "Name": environment["Name"],
        "PluginsS3Path": environment.get("PluginsS3Path") or "plugins.zip",
        "RequirementsS3Path": environment.get("RequirementsS3Path") or "requirements.txt",
        "AirflowConfigurationOptions": merge_options(
            environment.get("AirflowConfigurationOptions") or {},
            staging_path=f"s3://aws_default@{bucket}/tenable",
            keep_secrets=keep_secrets,
        ),
    }
    if startup:
        update["StartupScriptS3Path"] = environment.get("StartupScriptS3Path") or "startup.sh"
    return update
