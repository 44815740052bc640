"""Write deploy/docker/.env from .env.example, with random secrets in place of every CHANGE_ME. An existing file is left
alone.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "docker"


def filled(example: str) -> str:
    """The example with its secrets filled in."""
    lines = []
    for line in example.splitlines():
        name, _, value = line.partition("=")
        if value == "CHANGE_ME" and not line.startswith("#"):
            secret = (
                base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
                if name == "AIRFLOW_FERNET_KEY"
                else secrets.token_hex(24)
            )
            lines.append(f"{name}={secret}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def main(target: Path) -> int:
    """Write the file, for its owner only."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{target} already exists; nothing was changed.")
        return 0
    with os.fdopen(descriptor, "w") as file:
        file.write(filled((FOLDER / ".env.example").read_text()))
    print(f"Wrote {target}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]) if sys.argv[1:] else FOLDER / ".env"))
