"""Reads findings back from Security Hub CSPM (GetFindings), page by page, at the operation's own rate.

Limits (service model): 100 findings a page, filters on 10 attributes with 20 values each, 3 calls a second with bursts
of 6. Reading is eventually consistent: an import of the last minutes may not be visible yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from botocore.exceptions import ClientError

from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.security_hub.attempts import Attempts
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.responses import RETRY_SECONDS, explain, refusal_of

#: Calls per second, and calls at once, per account and Region.
READ_RATE, READ_BURST = 3.0, 6.0
#: Largest number of findings in a page.
PAGE_FINDINGS = 100
#: Largest number of values of one filter attribute: so many ids can be asked for in one call.
FILTER_VALUES = 20

Filters = Mapping[str, Sequence[Mapping[str, str]]]
Finding = dict[str, Any]


class PageSource(Protocol):
    """What the reader needs of Security Hub."""

    def read_page(
        self, filters: Filters, *, next_token: str | None = None, max_results: int = PAGE_FINDINGS
    ) -> tuple[list[Finding], str | None]: ...


def equals(*values: str) -> list[dict[str, str]]:
    """The filter of an attribute that must have one of these values, at most :data:`FILTER_VALUES`."""
    if len(values) > FILTER_VALUES:
        raise ValueError(f"GetFindings takes {FILTER_VALUES} values per attribute, not {len(values)}")
    return [{"Value": value, "Comparison": "EQUALS"} for value in values]


def read_bucket(
    *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> TokenBucket:
    """The rate of GetFindings. It starts empty: another task may just have used the burst."""
    return TokenBucket(READ_RATE, READ_BURST, filled=0, clock=clock, sleep=sleep)


class FindingsReader:
    """Reads the findings of one account and Region. Thread-safe.

    :param source: makes one call.
    :param bucket: the rate of GetFindings, shared by everything that reads from this account and Region.
    :param retry_seconds: how long a call is repeated during throttling, outages and time-outs.
    """

    def __init__(
        self,
        source: PageSource,
        *,
        bucket: TokenBucket | None = None,
        retry_seconds: float = RETRY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._attempts = Attempts(
            bucket=bucket or read_bucket(clock=clock, sleep=sleep),
            retry_seconds=retry_seconds,
            clock=clock,
            sleep=sleep,
        )

    def stop(self) -> None:
        """Make no further calls (for other threads)."""
        self._attempts.stop()

    def pages(
        self, filters: Filters, *, next_token: str | None = None, page_size: int = PAGE_FINDINGS
    ) -> Iterator[tuple[list[Finding], str | None]]:
        """The pages of all findings that pass the filters: the complete documents, and the token of the next page.

        :param next_token: the token to resume from; it is valid for the same filters only.
        :raises ClientError: the call was refused; :func:`refused` turns it into an error of ours.
        :raises TemporaryError: it failed for too long, or the same page came twice.
        """
        while True:
            token = next_token
            findings, next_token = self._attempts.make(
                lambda: self._source.read_page(filters, next_token=token, max_results=page_size),  # noqa: B023
                what="A call of GetFindings",
                failure="Security Hub CSPM did not return findings in",
            )
            yield findings, next_token
            if next_token is None:
                return
            if next_token == token:
                # Otherwise this would never end.
                raise TemporaryError("GetFindings returned the token of the page that it was asked for.")


def refused(error: ClientError) -> Exception:
    """The error for a refused call: :class:`~airflow_provider_tenable.exceptions.DestinationRefusedError` where it
    concerns this account and Region only.
    """
    return refusal_of(error, f"Findings cannot be read. {explain(error)}")
