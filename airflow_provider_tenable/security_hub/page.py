"""Reads a response of GetFindings from its body. botocore's parser drops what its model does not know, and a document
without such a field would, sent back, delete it from the hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_tenable.exceptions import TemporaryError

_BODY = "RawBody"


class _Page(Struct):
    Findings: list[dict[str, Any]]
    NextToken: str | None = None


_decode_page = msgspec.json.Decoder(_Page).decode


def keep_body(response_dict: Mapping[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Handler of botocore's ``before-parse.securityhub.GetFindings``: adds the body to the parsed response."""
    customized_response_dict[_BODY] = response_dict["body"]


def page_of(answer: Mapping[str, Any], region: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """The findings of a response, and the token of the next page.

    :raises TemporaryError: it is not from AWS, or was truncated.
    """
    try:
        page = _decode_page(answer[_BODY])
    except (KeyError, TypeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise TemporaryError(
            f"Cannot read findings in {region}: the response is not from AWS, or was truncated. It may come from a "
            "proxy, a firewall or a login page."
        ) from None
    return page.Findings, page.NextToken or None
