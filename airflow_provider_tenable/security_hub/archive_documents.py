"""Reads the complete documents of findings by their ids, a few calls ahead of whoever archives them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from botocore.exceptions import ClientError

from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.security_hub.reader import FILTER_VALUES, Finding, FindingsReader, equals, refused
from airflow_provider_tenable.security_hub.responses import denied_action, explain

#: Calls of GetFindings under way: a single one cannot reach its rate if a response takes more than 300 ms.
_READS = 3


class DeniedError(Exception):
    """A permission is missing.

    :ivar action: the IAM action.
    :ivar explanation: AWS's message without secrets, and advice, as from
        :func:`~airflow_provider_tenable.security_hub.responses.explain`.
    """

    def __init__(self, action: str, explanation: str) -> None:
        super().__init__(action)
        self.action = action
        self.explanation = explanation


class DocumentsById:
    """Reads the documents of one account and Region.

    :ivar exhausted: whether the last :meth:`read` has returned everything, and was not cut short.
    """

    def __init__(self, reader: FindingsReader, account: str, region: str) -> None:
        self._reader = reader
        self._account = account
        self._region = region
        # An administrator's account, and an aggregation Region, hold the findings of others too.
        self._where = {"AwsAccountId": equals(account), "Region": equals(region)}
        self.exhausted = False

    def read(self, ids: Iterable[str], go_on: Callable[[], bool]) -> Iterator[dict[str, list[Finding]]]:
        """The documents of distinct ids, in their order and in chunks of one call: id -> documents (none if the hub
        does not have it, several if products share the id).

        :param go_on: asked before each chunk but the first.
        :raises DeniedError: GetFindings is not allowed.
        :raises DestinationRefusedError: the hub is off.
        :raises TemporaryError: AWS cannot be reached, or something else answers in its place.
        """
        self.exhausted = False
        pending: deque[Future[dict[str, list[Finding]]]] = deque()
        begun = False
        with ThreadPoolExecutor(max_workers=_READS, thread_name_prefix="securityhub-read") as pool:
            try:
                for chunk in _chunks(ids):
                    if begun and not go_on():
                        break
                    begun = True
                    pending.append(pool.submit(self._found, chunk))
                    if len(pending) == _READS:
                        yield pending.popleft().result()
                else:
                    self.exhausted = True
                while pending:
                    yield pending.popleft().result()
            except BaseException:
                # Otherwise leaving the pool would wait for the retries of those that are under way.
                self._reader.stop()
                raise

    def _found(self, chunk: list[str]) -> dict[str, list[Finding]]:
        found: dict[str, list[Finding]] = {finding_id: [] for finding_id in chunk}
        try:
            for findings, _ in self._reader.pages({**self._where, "Id": equals(*chunk)}):
                for finding in findings:
                    finding_id = finding.get("Id")
                    if not isinstance(finding_id, str) or finding_id not in found:
                        raise _unasked("Id")
                    if finding.get("AwsAccountId") != self._account:
                        raise _unasked("AwsAccountId")
                    if finding.get("Region") != self._region:
                        raise _unasked("Region")
                    found[finding_id].append(finding)
        except ClientError as error:
            if action := denied_action(error):
                raise DeniedError(action, explain(error)) from None
            raise refused(error) from None
        return found


def _unasked(what: str) -> TemporaryError:
    # A finding that is missing is taken for deleted, which must not be concluded from a wrong response.
    return TemporaryError(
        f"GetFindings returned a finding with another {what} than it was asked for: does something else answer in "
        "place of AWS?"
    )


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for finding_id in ids:
        chunk.append(finding_id)
        if len(chunk) == FILTER_VALUES:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
