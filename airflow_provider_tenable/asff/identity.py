"""The id of a finding."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

from airflow_provider_tenable.asff import limits

TVM2AWS = "tvm2aws"
ID_SCHEMES = ("port", TVM2AWS)
#: How the line of a finding begins, up to its id.
ID_OPENING = b'{"SchemaVersion":"2018-10-08","Id":"'


def _quoted(value: str) -> str:
    return _quoted_short(value) if len(value) < 64 else quote(value, safe="")


@lru_cache(maxsize=4096)
def _quoted_short(value: str) -> str:
    return quote(value, safe="")


def port_of(port: int | str | None) -> str:
    """The port in an id; ``0`` if it is missing."""
    value = str(port).strip() if port is not None else ""
    return _quoted(value) or "0"


def protocol_of(protocol: str | None) -> str:
    """The protocol in an id: in lower case; ``none`` if it is missing."""
    return _quoted((protocol or "").strip().lower()) or "none"


def id_head(scheme: str, *, region: str, account: str, resource: str) -> str:
    """The beginning of an id: the affected resource. It is the same for all findings of a resource."""
    return f"{region}/{_quoted(resource)}/" if scheme == TVM2AWS else f"{region}/{account}/{_quoted(resource)}/"


def id_tail(scheme: str, *, protocol: str | None, port: int | str | None) -> str:
    """The end of an id, after the plugin: the location on the resource."""
    return "" if scheme == TVM2AWS else f"/{protocol_of(protocol)}/{port_of(port)}"


def too_long(length: int) -> str:
    """The reason why a record with such an id cannot be mapped."""
    return f"its id would have {length} characters; the limit is {limits.ID}"


def finding_id(
    scheme: str, *, region: str, account: str, resource: str, plugin: int, protocol: str | None, port: int | str | None
) -> str:
    """The id of a finding: always the same for a vulnerability, and never shared by two.

    ``port``: ``{region}/{account}/{resource}/{plugin}/{protocol}/{port}``; ``tvm2aws``:
    ``{region}/{instance}/{plugin}``. Slashes inside a part are escaped, so that two different tuples never give the
    same id. Findings are written from the same two pieces, which are ASCII and need no escaping in JSON.

    :raises ValueError: the id is longer than Security Hub accepts.
    """
    head, tail = (
        id_head(scheme, region=region, account=account, resource=resource),
        id_tail(scheme, protocol=protocol, port=port),
    )
    value = f"{head}{plugin}{tail}"
    if len(value) > limits.ID:
        raise ValueError(too_long(len(value)))
    return value


def id_in(line: bytes) -> bytes:
    """The id of a finding, from its line; empty if the line begins otherwise, or the id has an escape."""
    begin = len(ID_OPENING)
    end = line.find(b'"', begin)
    if end < 0 or not line.startswith(ID_OPENING):
        return b""
    found = line[begin:end]
    return b"" if b"\\" in found else found
