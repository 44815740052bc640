"""What happens after each response of Tenable, and how often. This is the only place where that is decided.

A request passes three layers, whose numbers are all defined here:

1. **The client** repeats a request :data:`REPEATS` times: pyTenable if the status requires it (:attr:`Rule.repeated`)
   or there was no response, and :mod:`~airflow_provider_tenable.tenable_vm.client` if the body of a response was cut
   off.
2. **The export** (:mod:`airflow_provider_tenable.export.state_machine`) does what :attr:`Rule.then` says.
3. **The task** fails in the end, and Airflow's retries continue with the staged files. There is no retry after
   :attr:`Then.FAIL`, because it could not help.

Sources: the API documentation (rate limiting; export status and chunk pages), pyTenable's ``APISession._req``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from airflow_provider_tenable.exceptions import (
    ChunkNotReadyError,
    DuplicateExportError,
    ExportLimitError,
    ExportNotFoundError,
    TemporaryError,
    TenableAuthError,
    TenablePermissionError,
    TenableProviderError,
    TenableRequestError,
)

#: Repeats of a request by the client, after the first attempt. The trigger and the connection's test button do not
#: repeat.
REPEATS = 5
#: Seconds before the client repeats a request whose response was cut off; pyTenable waits equally long if there was no
#: response. After an error status, pyTenable waits for ``Retry-After``, or without that header for 1, 2, 3 ... seconds.
REPEAT_SECONDS = 1.0
#: The longest ``Retry-After`` that is obeyed. pyTenable itself would sleep for any time that the header names.
LONGEST_RETRY_AFTER_SECONDS = 300.0
#: Consecutive failed polls of an export that are tolerated before the task fails.
FAILED_POLLS = 20
#: Consecutive polls of a finished job in which a listed chunk could not be fetched and no other chunk arrived, before
#: the job counts as broken.
STALLED_POLLS = 20
#: The same if Tenable counts more chunks than it lists.
SHORT_POLLS = 3
#: Consecutive failed chunks after which a poll ends early: the service is failing, not the chunk.
FAILED_CHUNKS = 3
#: Jobs cancelled by somebody else that are requested again, one per poll. The next one counts as broken.
CANCELLATIONS = 10
#: How often a chunk that cannot be decoded is fetched before its job counts as broken.
CHUNK_FETCHES = 3
#: How often a broken, partial or expired export is started again before the task fails.
RESTARTS = 3


class Then(StrEnum):
    """What an export does about an error that persists after the client's repeats."""

    #: The task fails and is not retried: a person has to change something.
    FAIL = "fail"
    #: The export is polled again, :data:`FAILED_POLLS` times in a row; then the task fails, and its retry polls on.
    POLL_AGAIN = "poll again"
    #: The export is requested again with the next poll, until its deadline.
    WAIT_FOR_A_SLOT = "wait for a slot"
    #: The chunk is fetched with the next poll; once the job has finished, :data:`STALLED_POLLS` times.
    FETCH_LATER = "fetch later"
    #: The export is started again, :data:`RESTARTS` times; then the task fails.
    START_AGAIN = "start again"
    #: The running job is adopted if it is ours; otherwise the export waits for it to end, until its own deadline.
    ADOPT = "adopt"


#: Error -> what an export does about it. Subclasses share the entry, unless they have their own.
THEN: Mapping[type[TenableProviderError], Then] = MappingProxyType(
    {
        TenableRequestError: Then.FAIL,
        TenableAuthError: Then.FAIL,
        TenablePermissionError: Then.FAIL,
        TemporaryError: Then.POLL_AGAIN,
        ChunkNotReadyError: Then.FETCH_LATER,
        ExportNotFoundError: Then.START_AGAIN,
        DuplicateExportError: Then.ADOPT,
        ExportLimitError: Then.WAIT_FOR_A_SLOT,
    }
)


@dataclass(frozen=True)
class Rule:
    """What a status means.

    :ivar error: what the client raises.
    :ivar repeated: whether pyTenable repeats the request before that.
    """

    error: type[TenableProviderError]
    repeated: bool = False

    @property
    def then(self) -> Then:
        """What an export does about it."""
        return THEN[self.error]


#: HTTP status -> its rule. 400 on a chunk is a :class:`~airflow_provider_tenable.exceptions.ChunkNotReadyError`. When
#: an export is requested, 409 means a duplicate, and so does a 429 whose text says so; any other 429 then means that no
#: export slot is free. For other requests both are temporary.
BY_STATUS: Mapping[int, Rule] = MappingProxyType(
    {
        400: Rule(TenableRequestError),
        401: Rule(TenableAuthError),
        403: Rule(TenablePermissionError),
        404: Rule(ExportNotFoundError),
        408: Rule(TemporaryError),
        409: Rule(DuplicateExportError),
        410: Rule(ExportNotFoundError),
        425: Rule(TemporaryError),
        429: Rule(TemporaryError, repeated=True),
        500: Rule(TemporaryError),
        501: Rule(TemporaryError, repeated=True),
        502: Rule(TemporaryError, repeated=True),
        503: Rule(TemporaryError, repeated=True),
        504: Rule(TemporaryError, repeated=True),
    }
)
_OTHER_REFUSAL = Rule(TenableRequestError)
_OTHER_FAILURE = Rule(TemporaryError)


def rule_of(status: int) -> Rule:
    """The rule of an HTTP status that is not a success."""
    return BY_STATUS.get(status, _OTHER_FAILURE if status >= 500 else _OTHER_REFUSAL)
