"""The export endpoints: create, status, chunk, cancel, list (API docs: vulnerability and asset exports)."""

import asyncio
import itertools
import json
import random
import time
import zlib
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from sandbox.tenable import asset_filters, audit_results, vuln_filters, web_findings
from sandbox.tenable.access import User
from sandbox.tenable.answers import duplicate, error, too_many
from sandbox.tenable.asset_records import asset_v2
from sandbox.tenable.asset_records_v1 import asset_v1
from sandbox.tenable.audit_runs import settle
from sandbox.tenable.hosts import Host, HostState
from sandbox.tenable.jobs import Texts
from sandbox.tenable.records import RecordOptions, vulnerability_texts
from sandbox.tenable.requests import RefusedError
from sandbox.tenable.server import DuplicateExportError, Tenable, TooManyExportsError
from sandbox.tenable.status import line_of, status_of
from sandbox.tenable.vulnerabilities import Vulnerability
from sandbox.tenable.web_apps import WebFinding

_Item = TypeVar("_Item")


async def create_vulns(tenable: Tenable, request: Request, user: User) -> Response:
    """POST /vulns/export"""
    try:
        wanted = vuln_filters.parse_vulns_request(await _body_of(request))
    except RefusedError as refusal:
        return error(400, str(refusal))
    selects = vuln_filters.selector(wanted, tenable.clock.now())
    by_host = [
        [vuln for vuln in found if selects(vuln)]
        for asset_id, found in tenable.estate.vulnerabilities.items()
        if not _is_missing(tenable, asset_id)
    ]
    hosts = [found for found in by_host if found and user.can_view]
    # The order of the records is arbitrary.
    random.Random(tenable.estate.seed).shuffle(hosts)
    groups: list[Texts] = [_vulns_of(batch, wanted.options) for batch in _batches(hosts, wanted.num_assets)]
    return _created(tenable, "vulns", vuln_filters.echoed(wanted.filters), wanted.num_assets, groups)


async def create_compliance(tenable: Tenable, request: Request, user: User) -> Response:
    """POST /compliance/export"""
    if not (await request.body()).strip():
        return error(415, "Unsupported Media Type")
    try:
        wanted = audit_results.parse_request(await _body_of(request))
    except RefusedError as refusal:
        return error(400, str(refusal))
    settle(tenable.scans, tenable.estate.audits, tenable.clock.now())
    found = [result for result in tenable.estate.audits.results.values() if user.can_view and wanted.selects(result)]
    random.Random(tenable.estate.seed).shuffle(found)
    groups: list[Texts] = [_results_of(batch) for batch in _batches(found, wanted.num_findings)]
    return _created(tenable, "compliance", wanted.filters, wanted.num_findings, groups)


async def create_was(tenable: Tenable, request: Request, user: User) -> Response:
    """POST /was/v1/export/vulns"""
    try:
        wanted = web_findings.parse_was_request(await _body_of(request))
    except RefusedError as refusal:
        return error(400, str(refusal))
    selects = web_findings.selector(wanted, tenable.clock.now())
    by_app = [
        [found for found in of_app if selects(found)]
        for asset_id, of_app in tenable.estate.web.findings.items()
        if not _is_missing(tenable, asset_id)
    ]
    apps = [found for found in by_app if found and user.can_view]
    random.Random(tenable.estate.seed).shuffle(apps)
    groups: list[Texts] = [_web_findings_of(batch) for batch in _batches(apps, wanted.num_assets)]
    return _created(tenable, "was", web_findings.echoed(wanted.filters), wanted.num_assets, groups)


async def create_assets(tenable: Tenable, request: Request, user: User) -> Response:
    """POST /assets/v2/export and POST /assets/export"""
    version = 2 if "/v2/" in request.url.path else 1
    try:
        wanted = asset_filters.parse_assets_request(await _body_of(request), version)
    except RefusedError as refusal:
        return error(400, str(refusal))
    selects = asset_filters.selector(wanted, omits_gone=tenable.options.omits_gone_assets)
    estate = tenable.estate
    assets = [(host, estate.states[host.asset_id]) for host in estate.hosts.values()]
    if version == 2:
        assets += [(app, estate.web.states[app.asset_id]) for app in estate.web.apps.values()]
    assets = [
        (host, state)
        for host, state in assets
        if user.can_view
        and selects(host, state)
        and not _is_missing(tenable, host.asset_id)
        and not (tenable.options.hides_deleted_assets and state.deleted_at)
    ]
    random.Random(estate.seed).shuffle(assets)
    groups: list[Texts] = [_assets_of(batch, wanted) for batch in _batches(assets, wanted.chunk_size)]
    return _created(tenable, "assets", dict(wanted.filters), wanted.chunk_size, groups)


def _is_missing(tenable: Tenable, asset_id: str) -> bool:
    """Whether exports silently omit this asset."""
    share = tenable.options.missing_share
    return share > 0 and zlib.crc32(asset_id.encode()) < share * 2**32


async def status(tenable: Tenable, request: Request, kind: str) -> Response:
    """GET /{kind}/export/{uuid}/status"""
    job = tenable.job_of(kind, request.path_params["uuid"])
    return JSONResponse(status_of(job, time.monotonic())) if job else error(404, "Export expired or not found")


async def chunk(tenable: Tenable, request: Request, kind: str) -> Response:
    """GET /{kind}/export/{uuid}/chunks/{id}: 400 before it is ready, 404 when it is unknown or gone."""
    job = tenable.job_of(kind, request.path_params["uuid"])
    if job is None or job.has_expired(tenable.clock.now()):
        return error(404, "Export expired or not found")
    now = time.monotonic()
    wanted = job.chunk(request.path_params["chunk_id"])
    if wanted is None or (wanted.id not in job.available(now) and not job.is_running(now)):
        return error(404, "Chunk not found")
    if wanted.id not in job.available(now):
        return error(400, "Chunk is not ready for download")
    job.downloads += 1
    body = _json_array(wanted.texts(), tenable.options.download_bytes_per_second)
    return StreamingResponse(body, media_type="application/octet-stream")


async def cancel(tenable: Tenable, request: Request, kind: str) -> Response:
    """POST /{kind}/export/{uuid}/cancel"""
    job = tenable.job_of(kind, request.path_params["uuid"])
    if job is None:
        return error(404, "Export expired or not found")
    tenable.cancel(job)
    return JSONResponse({"status": job.status(time.monotonic())})


async def list_jobs(tenable: Tenable, kind: str) -> Response:
    """GET /{kind}/export/status"""
    now = time.monotonic()
    return JSONResponse({"exports": [line_of(job, now) for job in tenable.listed_jobs(kind)]})


def _created(tenable: Tenable, kind: str, echo: dict[str, Any], size: int, groups: list[Texts]) -> Response:
    injected = {
        "vulns": tenable.estate.injected.vulnerabilities,
        "assets": tenable.estate.injected.assets,
        "compliance": tenable.estate.injected.compliance,
        "was": tenable.estate.injected.was,
    }[kind]
    if injected:
        # Hostile records are in the first chunk, among the good ones.
        groups = [_with_injected(groups[0] if groups else tuple, list(injected)), *groups[1:]]
    try:
        job = tenable.start_job(kind, echo, size, groups)
    except DuplicateExportError as refusal:
        return duplicate(refusal.job, tenable.options.duplicate_mode, tenable.container_uuid)
    except TooManyExportsError:
        return too_many(tenable.options)
    return JSONResponse({"export_uuid": job.uuid})


async def _body_of(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except (json.JSONDecodeError, UnicodeDecodeError) as problem:
        raise RefusedError(f"The body is not JSON: {problem}") from problem


def _vulns_of(hosts: list[list[Vulnerability]], options: RecordOptions) -> Texts:
    return lambda: itertools.chain.from_iterable(vulnerability_texts(found, options) for found in hosts)


def _results_of(results: list[audit_results.Result]) -> Texts:
    return lambda: (json.dumps(result.record()) for result in results)


def _web_findings_of(apps: list[list[WebFinding]]) -> Texts:
    return lambda: itertools.chain.from_iterable(map(web_findings.finding_texts, apps))


def _assets_of(assets: list[tuple[Host, HostState]], wanted: asset_filters.AssetsRequest) -> Texts:
    render = asset_v2 if wanted.version == 2 else asset_v1
    tags, ports = wanted.include_resource_tags, wanted.include_open_ports
    return lambda: (json.dumps(render(host, state, resource_tags=tags, open_ports=ports)) for host, state in assets)


def _with_injected(texts: Texts, injected: list[str]) -> Texts:
    return lambda: itertools.chain(injected, texts())


def _batches(items: list[_Item], size: int) -> Iterable[list[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


async def _json_array(texts: Iterable[str], bytes_per_second: float | None) -> AsyncIterator[bytes]:
    """A JSON array in pieces of some hundred KB: a large chunk neither fills the memory nor blocks the other server."""
    piece, size, separator = [], 0, "["
    for text in texts:
        piece.append(separator + text)
        size, separator = size + len(text), ", "
        if size > 200_000:
            yield "".join(piece).encode("utf-8", "surrogatepass")
            await asyncio.sleep(size / bytes_per_second if bytes_per_second else 0)
            piece, size = [], 0
    yield ("".join(piece) + ("[]" if separator == "[" else "]")).encode("utf-8", "surrogatepass")
