"""What happens after each answer of Tenable, and how often: the one place where that is decided.

A request passes three layers. Each has its number here:

1. **The client** repeats a request: pyTenable where the status says so (:attr:`Rule.repeated`) or no answer came, and
   :mod:`~airflow_provider_tenable.tenable_vm.client` where the body of an answer breaks off. :data:`REPEATS` times.
2. **The export** (:mod:`airflow_provider_tenable.export.state_machine`) does what :attr:`Rule.then` says.
3. **The task** fails at last; Airflow's retries continue with what is staged. Not after :attr:`Then.FAIL`, which no
   retry can help.

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

#: Repeats of a request by the client, after the first attempt. The trigger and the button of a connection make none.
REPEATS = 5
#: Seconds before the client repeats a request whose answer broke off; pyTenable waits as long where no answer came.
#: After a status, pyTenable waits for the seconds of ``Retry-After``; without that header, for 1, 2, 3 ... seconds.
REPEAT_SECONDS = 1.0
#: The longest ``Retry-After`` that is obeyed. pyTenable by itself would sleep for whatever the header says.
LONGEST_RETRY_AFTER_SECONDS = 300.0
#: Consecutive failed polls of an export that are tolerated before the task fails. They are as far apart as polls are.
FAILED_POLLS = 20
#: Consecutive polls of a finished job in which a listed chunk could not be fetched and nothing else came; after that,
#: the job counts as broken.
STALLED_POLLS = 20
#: The same where Tenable's counts exceed the chunks that it lists.
SHORT_POLLS = 3
#: Chunks in a row that may fail before a poll ends early: then it is not the chunk, but the service.
FAILED_CHUNKS = 3
#: Jobs cancelled by somebody else that are asked for again, one per poll. The next one counts as broken.
CANCELLATIONS = 10
#: How often a chunk that cannot be decoded is fetched before its job counts as broken.
CHUNK_FETCHES = 3
#: How often a broken, partial or expired export is started again before the task fails.
RESTARTS = 3


class Then(StrEnum):
    """What an export does about an error that the client's repeats did not cure."""

    #: The task fails, and is not retried: somebody has to change something.
    FAIL = "fail"
    #: The export is polled again, :data:`FAILED_POLLS` times in a row; then the task fails, and its retry polls on.
    POLL_AGAIN = "poll again"
    #: The export is asked for again with the next poll, until its deadline.
    WAIT_FOR_A_SLOT = "wait for a slot"
    #: The chunk is fetched with the next poll; once the job has finished, :data:`STALLED_POLLS` times.
    FETCH_LATER = "fetch later"
    #: The export is started again, :data:`RESTARTS` times; then the task fails.
    START_AGAIN = "start again"
    #: The running job is adopted if it is ours, else waited for, until the export's deadline.
    ADOPT = "adopt"


#: Error -> what an export does about it. Its subclasses count as itself, unless they have an entry of their own.
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


#: HTTP status -> its rule. 400 on a chunk is a :class:`~airflow_provider_tenable.exceptions.ChunkNotReadyError`. 409
#: counts as a duplicate only where an export is asked for, and 429 too where its text says so; any other 429 means
#: there that no export slot is free. Elsewhere both are temporary.
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
