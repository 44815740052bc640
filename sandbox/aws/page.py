"""Pages for a browser: what the hub holds, and one finding in full."""

import json
from collections.abc import Iterable, Mapping
from html import escape
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from sandbox.aws.control import summary
from sandbox.aws.lifecycle import NORMALIZED
from sandbox.aws.store import Stored
from sandbox.aws.world import World

NEWEST = 50
FILTERS = ("account", "region", "severity", "record_state", "text")
_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
h2 { font-size: 1.05rem; margin-top: 2rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td a { overflow-wrap: anywhere; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
form { display: flex; flex-wrap: wrap; gap: .6rem; margin: .6rem 0; }
pre { overflow: auto; font-size: 13px; }
.CRITICAL { color: #b3123b; font-weight: 600; }
.HIGH { color: #c4510c; font-weight: 600; }
.ARCHIVED { opacity: .6; }
"""


def page_routes(world: World) -> list[Route]:
    """`GET /` and `GET /ui/finding`."""

    async def overview(request: Request) -> Response:
        wanted = {name: request.query_params.get(name, "") for name in FILTERS}
        total = summary(world)
        counts = _table(
            ("Account", "Region", "Severity", "State", "Findings"),
            ([*(_text(row[name]) for name in FILTERS[:4]), _number(row["count"])] for row in _by_severity(total["by"])),
        )
        matching = [row for row in world.findings if _matches(row, wanted)]
        newest = sorted(matching, key=lambda row: row.updated, reverse=True)[:NEWEST]
        columns = ("Updated", "Severity", "State", "Workflow", "Title", "Finding", "Account", "Region")
        imports = ", ".join(f"{name} {count:,}" for name, count in total["imports"].items())
        return _page(
            "Security Hub sandbox",
            f"<p><b>{total['total']:,}</b> findings. Imports: {imports}.</p>{counts}"
            f"<h2>Newest {len(newest)} of {len(matching):,}</h2>{_form(wanted)}"
            f"{_table(columns, map(_finding_row, newest))}",
        )

    async def finding(request: Request) -> Response:
        wanted = request.query_params
        rows = [
            row
            for row in world.findings
            if row.id == wanted.get("id")
            and all(getattr(row, name) == wanted.get(name, getattr(row, name)) for name in ("account", "region"))
        ]
        documents = "".join(
            f"<pre>{escape(json.dumps(row.finding(), indent=2, ensure_ascii=False))}</pre>" for row in rows
        )
        heading = f"<p><a href='/'>All findings</a></p><h2>{escape(wanted.get('id', ''))}</h2>"
        return _page("Finding", heading + (documents or "<p>There is no such finding.</p>"), 200 if rows else 404)

    return [Route("/", overview, methods=["GET"]), Route("/ui/finding", finding, methods=["GET"])]


def _by_severity(rows: Iterable[Mapping[str, object]]) -> list[Mapping[str, object]]:
    return sorted(
        rows,
        key=lambda row: (row["account"], row["region"], -NORMALIZED.get(str(row["severity"]), -1), row["record_state"]),
    )


def _matches(row: Stored, wanted: Mapping[str, str]) -> bool:
    if any(wanted[name] and getattr(row, name) != wanted[name] for name in FILTERS[:4]):
        return False
    text = wanted["text"]
    return not text or text in row.id or text.encode() in row.document


def _finding_row(row: Stored) -> list[str]:
    finding = row.finding()
    link = urlencode({"id": row.id, "account": row.account, "region": row.region})
    return [
        _text(finding.get("UpdatedAt", "")),
        _text(row.severity, row.severity),
        _text(row.record_state, row.record_state),
        _text(finding.get("Workflow", {}).get("Status", "")),
        _text(finding.get("Title", "")),
        f"<td><a href='/ui/finding?{escape(link)}'>{escape(row.id)}</a></td>",
        _text(row.account),
        _text(row.region),
    ]


def _text(value: object, css: str = "") -> str:
    return f"<td class='{escape(css)}'>{escape(str(value))}</td>"


def _number(value: object) -> str:
    return f"<td class='n'>{escape(format(value, ','))}</td>"


def _table(columns: Iterable[str], rows: Iterable[list[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    lines = "".join("<tr>" + "".join(row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"


def _form(wanted: Mapping[str, str]) -> str:
    fields = "".join(
        f"<input name='{name}' placeholder='{name.replace('_', ' ')}' value='{escape(value)}'>"
        for name, value in wanted.items()
    )
    return f"<form method='get' action='/'>{fields}<button>Filter</button></form>"


def _page(title: str, content: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(
        "<!doctype html><html lang='en'><meta "
        f"charset='utf-8'><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>{content}</html>",
        status,
    )
