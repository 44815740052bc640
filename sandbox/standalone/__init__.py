"""A real Airflow on this machine (`airflow standalone`), connected to the sandbox: for the demo, for clicking, and for
the system tests.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.standalone.airflow import Standalone
    from sandbox.standalone.children import SandboxProcess


def airflow_of_this_environment(
    home: Path, sandbox: SandboxProcess, *, port: int | None = None, settings: dict[str, str] | None = None
) -> Standalone:
    """Start the Airflow that is installed, of whatever version. Arguments as of
    :class:`~sandbox.standalone.airflow.Standalone`.
    """
    # Imported here: the watchdog is a module of this package, and needs nothing of it.
    if version("apache-airflow").startswith("2."):
        from sandbox.standalone.airflow_2 import Standalone2

        return Standalone2(home, sandbox, port=port, settings=settings)
    from sandbox.standalone.airflow import Standalone

    return Standalone(home, sandbox, port=port, settings=settings)
