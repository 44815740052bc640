"""docker-compose.yaml as the tests read it: the services, with the env file's values filled in as Compose fills them
in.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
COMPOSE_FILE = ROOT / "docker-compose.yaml"
DOCKER = ROOT / "deploy" / "docker"
SCRIPT = ROOT / "scripts" / "component.sh"


def read_env(path: Path) -> dict[str, str]:
    """The values of an env file."""
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def write_env(path: Path) -> dict[str, str]:
    """Let the project's own script write an env file; its values."""
    subprocess.run([sys.executable, ROOT / "scripts" / "docker_env.py", path], check=True, capture_output=True)
    return read_env(path)


def interpolated(value: Any, env: dict[str, str]) -> Any:
    """Compose's interpolation, as far as the file uses it. :raises KeyError: a variable that must be set is not."""
    if isinstance(value, dict):
        return {name: interpolated(item, env) for name, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, env) for item in value]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        name, operator, default = match.group(1), match.group(2) or "", match.group(3) or ""
        if env.get(name):
            return env[name]
        if operator == ":?":
            raise KeyError(f"{name}: {default}")
        return default

    return re.sub(r"\$\{(\w+)(?:(:\?|:-)([^}]*))?\}", fill, value).replace("$$", "$")


def services(env: dict[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """The services; with values, filled in."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
    return found if env is None else interpolated(found, env)
