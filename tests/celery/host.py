"""The name of a component's host. In docker-compose.yaml each has a host of its own; here they share one, and are told
apart by this.
"""

from __future__ import annotations

import os


def name() -> str:
    """For ``[core] hostname_callable``."""
    return os.environ["COMPONENT_HOST"]
