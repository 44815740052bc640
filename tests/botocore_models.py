"""botocore reads a service's model, up to some MB of JSON, and lists the folders of all services, for every session.
In tests all sessions of a process share what was read once.
"""

from __future__ import annotations

import functools
from typing import Any

from botocore.loaders import JSONFileLoader, Loader


def share() -> None:
    """From now on each file and folder is read once by this process, and by those that it forks."""
    JSONFileLoader.load_file = staticmethod(functools.cache(JSONFileLoader().load_file))
    list_services = Loader.list_available_services
    known: dict[tuple[str, ...], list[str]] = {}

    def list_once(loader: Any, type_name: str) -> list[str]:
        key = (type_name, *loader.search_paths)
        if key not in known:
            known[key] = list_services(loader, type_name)
        return known[key]

    Loader.list_available_services = list_once
