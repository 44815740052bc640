"""Answers a request for the page, whichever web framework it came through, and whoever is allowed to ask."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.location import default_staging_uri
from airflow_provider_tenable.ui import export
from airflow_provider_tenable.ui.facts import DEFAULT_DAG, dag_facts, importing_dags, last_runs
from airflow_provider_tenable.ui.page import build, scans_of
from airflow_provider_tenable.ui.render import render
from airflow_provider_tenable.ui.scans import AUDIT_DAG, MOST_SCANS, SCAN_DAG, read_scans
from airflow_provider_tenable.ui.snapshot import read_snapshot
from airflow_provider_tenable.ui.urls import Urls

_HTML = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Answer:
    """A response: status code, body, its type, and further headers."""

    body: bytes
    content_type: str = _HTML
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def answer(query: Mapping[str, str], may_see: Callable[[str], bool]) -> Answer:
    """The page, or an export of it.

    :param query: ``dag_id``, ``format`` (``csv`` or ``json``) and ``table`` of the request.
    :param may_see: whether the user may see the DAG of an id.
    """
    visible = [dag_id for dag_id in importing_dags() if may_see(dag_id)]
    chosen = query.get("dag_id") or next(iter(visible), "")
    if not chosen:
        return _message("No import to show", _NO_DAG, status=200)
    if not may_see(chosen):
        # The same words whether such a DAG exists or not.
        return _message("Not allowed", "You may not see this DAG, or it does not exist.", status=403)
    facts = dag_facts(chosen)
    if facts is None:
        return _message("Not found", "Airflow does not know this DAG.", status=404)
    if chosen not in visible:
        text = "This DAG does not import into Security Hub CSPM, so there is nothing to show."
        return _message("No import to show", text, status=200, dags=visible)
    snapshot = read_snapshot(facts.staging or default_staging_uri(), chosen)
    if (wanted := query.get("format")) in ("json", "csv"):
        name = query.get("table", "runs")
        if wanted == "json":
            return _download(export.as_json(snapshot), "application/json", f"{chosen}.json")
        if name not in export.TABLES:
            return _message("Not found", f"There is no table {safe(name, 40)!r}.", status=404)
        return _download(export.as_csv(snapshot, name), "text/csv; charset=utf-8", f"{chosen}-{name}.csv")
    page = build(snapshot, facts, Urls(), now=time.time())
    # Each part only for those who may see the DAG that it is about.
    runs = last_runs(SCAN_DAG, MOST_SCANS) if may_see(SCAN_DAG) else []
    scans = read_scans(default_staging_uri(), runs, audits=may_see(AUDIT_DAG))
    return _page("page.html", page=page, scans=scans_of(scans, Urls()), dags=visible, tables=list(export.TABLES))


_NO_DAG = (
    f"There is no DAG that imports into Security Hub CSPM, or you may not see it. Put the file {DEFAULT_DAG}.py into "
    "your DAGs folder; once Airflow has parsed it, this page shows what it does."
)


def refused(title: str, text: str, *, status: int) -> Answer:
    """A page for somebody who may not see anything."""
    return _message(title, text, status=status)


def _message(title: str, text: str, *, status: int, dags: list[str] | None = None) -> Answer:
    return _page("message.html", status=status, title=title, text=text, dags=dags or [])


def _page(template: str, *, status: int = 200, **content: object) -> Answer:
    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'self'"
    )
    return Answer(
        render(template, nonce, **content), status=status, headers={"Content-Security-Policy": policy, **_SAFE}
    )


def _download(body: bytes, content_type: str, name: str) -> Answer:
    # Airflow's DAG ids may have letters of any language, and headers may not (RFC 6266).
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}", **_SAFE}
    return Answer(body, content_type, headers=headers)


#: What is shown is of this user and of this moment only.
_SAFE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}


__all__ = ["Answer", "answer", "refused"]
