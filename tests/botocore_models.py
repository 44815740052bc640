"""botocore reads a service's model, up to some MB of JSON, and lists the folders of all services, for every session. It
also registers hundreds of handlers, and inspects the signature and the aliases of each. In tests, all sessions of a
process share what was found once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from botocore import hooks
from botocore.loaders import JSONFileLoader, Loader


def share() -> None:
    """From now on each file, folder and handler is read once by this process, and by those that it forks."""
    JSONFileLoader.load_file = staticmethod(functools.cache(JSONFileLoader().load_file))
    list_services = Loader.list_available_services
    known: dict[tuple[str, ...], list[str]] = {}

    def list_once(loader: Any, type_name: str) -> list[str]:
        key = (type_name, *loader.search_paths)
        if key not in known:
            known[key] = list_services(loader, type_name)
        return known[key]

    Loader.list_available_services = list_once
    hooks.accepts_kwargs = _by_code(hooks.accepts_kwargs)
    _share_aliases()


def _by_code(ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same question about functions of the same code is asked once."""
    known: dict[Any, Any] = {}

    def ask_once(function: Any) -> Any:
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if code is None:
            return ask(function)
        if code not in known:
            known[code] = ask(function)
        return known[code]

    return ask_once


def _share_aliases() -> None:
    """botocore caches the aliases that it has looked up, but separately for each session."""
    begin, known = hooks.EventAliaser.__init__, dict[str, str]()

    def init(aliaser: Any, emitter: Any, event_aliases: Any = None) -> None:
        begin(aliaser, emitter, event_aliases)
        if event_aliases is None:
            aliaser._alias_name_cache = known

    hooks.EventAliaser.__init__ = init
