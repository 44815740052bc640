"""botocore reads a service's model, up to some MB of JSON, for every session. In tests all sessions of a process share
what was read once.
"""

from __future__ import annotations

import functools

import botocore.loaders


def share() -> None:
    """From now on each file is read once by this process, and by those that it forks."""
    botocore.loaders.JSONFileLoader.load_file = staticmethod(
        functools.cache(botocore.loaders.JSONFileLoader().load_file)
    )
