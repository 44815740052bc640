"""The checks of Tenable: keys, role, what the API user may view and export, and the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_provider_tenable.exceptions import (
    DuplicateExportError,
    NotFoundError,
    TenablePermissionError,
    TenableProviderError,
)
from airflow_provider_tenable.requirements.lines import FAILED, OK, UNCHECKED, Line, guarded, line_of, unchecked
from airflow_provider_tenable.tenable_vm.api_user import BASIC, ApiUser
from airflow_provider_tenable.tenable_vm.kinds import kind_of

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.tenable import TenableHook

#: AWS does not accept a signature that is older.
CLOCK_SECONDS = 300
#: Smallest chunks that Tenable accepts.
_SIZES = {"vulnerabilities": 50, "assets": 100}
_AFTER_KEYS = ("tenable.role", "tenable.view", "tenable.export", "tenable.deleted_assets", "tenable.clock")


def check_tenable(hook: TenableHook, user: ApiUser | Exception, deleted_assets: int) -> Iterator[Line]:
    """The lines of ``tenable.*`` and ``scanner.online``.

    :param user: the API user, or the error of asking for it.
    :param deleted_assets: the number of deleted assets in the asset index.
    """
    name = hook.tenable_conn_id
    if isinstance(user, Exception):
        keys = line_of("tenable.keys", name, user)
        yield keys
        yield from unchecked(
            (*_AFTER_KEYS, "scanner.online"),
            "",
            f"Not checked, because tenable.keys is {keys.state}.",
            "See tenable.keys.",
        )
        return
    yield Line("tenable.keys", name, OK, f"The keys are those of {user.name}.")
    yield _role(user, str(hook.connection_arguments["url"]))
    yield guarded("tenable.view", "", lambda: _view(hook, user))
    for kind in _SIZES:
        yield guarded("tenable.export", kind, lambda kind=kind: _export(hook, kind, user))  # type: ignore[misc]
    yield _deleted_assets(user, deleted_assets)
    yield _clock(user)
    yield guarded("scanner.online", "", lambda: _scanner(hook))


def _role(user: ApiUser, url: str) -> Line:
    if not user.enabled:
        return Line("tenable.role", "", FAILED, f"{user.name} is disabled.")
    if user.role is None:
        return Line("tenable.role", "", UNCHECKED, f"Tenable does not say which role {user.name} has.")
    if user.role < BASIC:
        return Line("tenable.role", "", FAILED, f"{user.name} has {user.role_name}, which is below Basic.")
    if _is_fedramp(url) and not user.is_administrator:
        detail = f"{user.name} has the role {user.role_name}; on FedRAMP, asset exports need an administrator."
        return Line("tenable.role", "", FAILED, detail)
    return Line("tenable.role", "", OK, f"{user.name} has the role {user.role_name}.")


def _is_fedramp(url: str) -> bool:
    return (urlsplit(url).hostname or "").startswith("fedcloud.")


def _view(hook: TenableHook, user: ApiUser) -> Line | str:
    if user.is_administrator:
        return "Administrators may view all assets."
    try:
        viewable = hook.api_user.viewable()
    except (TenablePermissionError, NotFoundError) as error:
        return Line("tenable.view", "", UNCHECKED, str(error))
    if viewable.everything:
        return f"{user.name} has Can View on all assets."
    if viewable.tags:
        some = ", ".join(viewable.tags[:5]) + (f" and {len(viewable.tags) - 5} more" if viewable.tags[5:] else "")
        detail = f"{user.name} has Can View only on the assets with the tags {some}: all others are never imported."
        return Line("tenable.view", "", FAILED, detail)
    return Line("tenable.view", "", FAILED, f"{user.name} has Can View on no assets: exports are empty.")


def _export(hook: TenableHook, kind: str, user: ApiUser) -> str:
    """Start an export of next to nothing, and cancel it. Its time distinguishes it from the exports of a run."""
    now = int(user.server_time or time.time())
    filters = {"state": ["OPEN"], "severity": ["critical"], "since": now} if kind != "assets" else {"created_at": now}
    try:
        job = hook.api.start(kind, kind_of(kind).body(filters, size=_SIZES[kind]))
    except DuplicateExportError:
        return "Tenable accepts exports: one with the same filters is running."
    try:
        hook.api.cancel(kind, job)
    except TenableProviderError as error:
        return f"Tenable accepted export {job}. It was not cancelled, and ends by itself: {error}"
    return f"Tenable accepted export {job}, which was cancelled."


def _deleted_assets(user: ApiUser, seen: int) -> Line:
    if seen:
        return Line("tenable.deleted_assets", "", OK, f"The asset index has {seen:,} deleted assets.")
    if user.is_administrator:
        return Line("tenable.deleted_assets", "", OK, "Administrators are shown deleted assets.")
    detail = f"{user.name} is not an administrator, and no export has contained a deleted asset yet."
    return Line("tenable.deleted_assets", "", UNCHECKED, detail)


def _clock(user: ApiUser) -> Line:
    if user.server_time is None:
        return Line("tenable.clock", "", UNCHECKED, "Tenable's response has no usable Date header.")
    ahead = time.time() - user.server_time
    detail = f"The worker's clock is {abs(ahead):.0f} seconds {'ahead of' if ahead > 0 else 'behind'} Tenable's."
    return Line("tenable.clock", "", OK if abs(ahead) <= CLOCK_SECONDS else FAILED, detail)


def _scanner(hook: TenableHook) -> Line | str:
    try:
        machines = [scanner for scanner in hook.list_scanners() if scanner.is_machine]
    except TenablePermissionError as error:
        return Line("scanner.online", "", UNCHECKED, str(error), "Give the API user the role Scan Manager, if needed.")
    ready = [scanner.name for scanner in machines if scanner.linked and scanner.online and scanner.plugin_set]
    if ready:
        return f"{len(ready)} of {len(machines)} linked scanners are online, such as {ready[0]}."
    return Line("scanner.online", "", FAILED, f"None of {len(machines)} linked scanners is on and has plugins.")
