"""Examples in the docs, as code for the Airflow that is installed."""

from __future__ import annotations

import re
from pathlib import Path

from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS

#: What the docs say of Airflow 2: another home for each of these.
_HOMES_IN_AIRFLOW_2 = {
    "dag": "airflow.decorators",
    "task": "airflow.decorators",
    "ObjectStoragePath": "airflow.io.path",
    "Param": "airflow.models.param",
}


def blocks(path: Path, language: str) -> list[str]:
    """The code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.M | re.S)


def executable(code: str) -> str:
    """An example with the imports of the Airflow that is installed."""
    if AIRFLOW_V_3_0_PLUS:
        return code
    return re.sub(
        r"^from airflow\.sdk import (.+)$",
        lambda match: "\n".join(f"from {_HOMES_IN_AIRFLOW_2[name]} import {name}" for name in match[1].split(", ")),
        code,
        flags=re.M,
    )
