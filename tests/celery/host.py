"""The name of a component's host. In docker-compose.yaml each has its own host; here they share one, and this name
distinguishes them.
"""

from __future__ import annotations

import os


def name() -> str:
    """For ``[core] hostname_callable``."""
    return os.environ["COMPONENT_HOST"]
