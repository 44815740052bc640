"""Calls of AWS in one account and Region, with errors that say what to do, and retries."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import botocore
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from boto3.session import Session
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from airflow_provider_tenable.exceptions import ConfigurationError, DestinationRefusedError, TemporaryError
from airflow_provider_tenable.guards.foreign_text import LONGEST_MESSAGE, safe
from airflow_provider_tenable.hooks.aws_endpoints import is_known_endpoint
from airflow_provider_tenable.security_hub.backoff import patiently
from airflow_provider_tenable.security_hub.responses import (
    ASSUME_ROLE,
    RETRY,
    code_of,
    explain,
    refusal_of,
    verdict_of,
)

T = TypeVar("T")

#: AWS's error codes for expired temporary credentials.
EXPIRED = frozenset({"ExpiredTokenException", "ExpiredToken"})

#: What botocore's parsers raise for a body of an unexpected shape, such as HTML, null or a list. Some of their texts
#: quote the response. RuntimeError: from the Amazon provider and botocore, for an unusable role session.
UNREADABLE = (ResponseParserError, KeyError, TypeError, AttributeError, RuntimeError)
NOT_FROM_AWS = (
    "the response is not from AWS, or was truncated. It may come from a proxy, a firewall or a login page. Check the "
    "proxy settings of the worker and the connection's endpoint_url"
)
#: botocore's errors that only a person can resolve: no credentials, or an expired sign-in.
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, SSOError, TokenRetrievalError)
#: botocore's temporary errors.
_UNREACHABLE = (HTTPClientError, BotoConnectionError, CredentialRetrievalError, MetadataRetrievalError)
#: Of these, the ones that a host name without an address causes, directly or behind a proxy.
_NOT_CONNECTED = (EndpointConnectionError, ProxyConnectionError)


class _NotConnectedError(TemporaryError):
    """No connection to an endpoint of AWS could be made."""


class AwsCallsHook(AwsBaseHook):
    """Make calls in one account and Region.

    :param role_name: a role to assume in ``account`` with the connection's credentials.
    :param account: the account that is called.
    """

    def __init__(self, *args: Any, role_name: str | None = None, account: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.role_name = role_name
        self.account = account
        self._session_lock = threading.RLock()
        #: How many sessions turned out to have expired.
        self._forgotten = 0

    def _get_caller(self, target_function_name: str = "execute") -> str:
        """What the user agent calls ``Caller``. The Amazon provider searches the stack for the operator, twice for some
        clients, which takes as much CPU as the rest of making one, and finds none in a thread.
        """
        return type(self).__name__

    def _patiently(self, call: Callable[[], T]) -> T:
        """A call before the import, retried while it fails for a temporary reason.

        :raises DestinationRefusedError: AWS has no endpoint in the Region, so no later attempt can succeed.
        """
        try:
            return patiently(call, sleep=time.sleep)
        except _NotConnectedError as error:
            if self._has_endpoint():
                raise
            raise DestinationRefusedError(
                f"{safe(error, LONGEST_MESSAGE)} There is probably no such endpoint in Region {self.region_name}: "
                f"botocore {botocore.__version__} knows none of Security Hub CSPM there. Omit the Region with regions "
                "in the destination, or name another hub with region. If AWS has opened the Region recently, check "
                "that the worker can reach it."
            ) from None

    def _has_endpoint(self) -> bool:
        """Whether the connection names an endpoint, or botocore knows one of Security Hub in the Region."""
        if not self.region_name or any(map(self.conn_config.get_service_endpoint_url, ("securityhub", "sts"))):
            return True
        return is_known_endpoint("securityhub", self.region_name, self.config)

    def _sent(self, what: str, call: Callable[[], T]) -> T:
        """One call that its caller repeats, with AWS's errors as they are."""
        forgotten = self._forgotten
        try:
            return call()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in EXPIRED:
                if self._nobody_renews(error):
                    raise self._expired(what) from None
                self._forget_session(forgotten)
            raise
        except _NO_CREDENTIALS as error:
            raise self._without_credentials(what, error) from None
        except UNREADABLE:
            raise TemporaryError(f"Cannot {what} in {self.region_name}: {NOT_FROM_AWS}.") from None

    def _once(
        self, what: str, call: Callable[[], dict[str, Any]], key: str, *, session: Session | None = None
    ) -> dict[str, Any]:
        """One call.

        :param what: the action, for messages.
        :param key: a key that AWS's response always contains.
        :param session: the session whose credentials sign; default: the client's own.
        """
        answer = self._translated(what, call, session=session)
        # If a body is not JSON, botocore returns an empty result, which is neither a yes nor a no.
        if not isinstance(answer, dict) or key not in answer:
            raise TemporaryError(f"{self._cannot(what)}: {NOT_FROM_AWS}.")
        return answer

    def _translated(self, what: str, call: Callable[[], T], *, session: Session | None = None) -> T:
        """Execute a call and translate its errors into ours."""
        forgotten = self._forgotten
        try:
            return call()
        except ClientError as error:
            if code_of(error) in EXPIRED:
                if self._nobody_renews(error, session):
                    raise self._expired(what) from None
                self._forget_session(forgotten)
            raise self._explained(what, error) from None
        except _UNREACHABLE as error:
            kind = _NotConnectedError if isinstance(error, _NOT_CONNECTED) else TemporaryError
            raise kind(f"Cannot reach AWS. {self._cannot(what)}: {type(error).__name__}: {safe(error)}.") from None
        except _NO_CREDENTIALS as error:
            raise self._without_credentials(what, error) from None
        except (BotoCoreError, NotImplementedError) as error:
            raise ConfigurationError(
                f"{self._cannot(what)}: {type(error).__name__}: {safe(error)}. Check the connection."
            ) from None
        except UNREADABLE:
            # Some of their texts quote the response, which may contain new credentials.
            raise TemporaryError(f"{self._cannot(what)}: {NOT_FROM_AWS}.") from None

    def _forget_session(self, forgotten: int) -> None:
        """End the session that turned out to have expired, so that the next call starts a new one: AWS's clock decides,
        while botocore, by ours, may consider it valid.

        :param forgotten: how many had expired when the call began. If calls in several threads fail with the same
            session, only the first one ends it: a new session may have begun by the time the others fail.
        """
        with self._session_lock:
            if forgotten == self._forgotten:
                self._forgotten += 1
                self._drop_session()

    def _drop_session(self) -> None:
        self.__dict__.pop("client", None)

    def _cannot(self, what: str) -> str:
        return f"Cannot {what} (account {self.account}, Region {self.region_name}, connection {self.aws_conn_id!r})"

    def _explained(self, what: str, error: ClientError) -> ConfigurationError | TemporaryError:
        text = f"{self._cannot(what)}: {explain(error)}"
        if verdict_of(error) == RETRY:
            return TemporaryError(text)
        return refusal_of(error, text)

    def _nobody_renews(self, error: ClientError, session: Session | None = None) -> bool:
        """Whether the expired credentials of a call cannot be renewed automatically.

        :param session: the session whose credentials signed the call; default: the client's own.
        """
        if session is None:
            if error.operation_name == ASSUME_ROLE and self.conn_config.role_arn:
                # The Amazon provider assumes the connection's own role with the keys below it. The member role has a
                # session of its own.
                session = Session(**self.conn_config.session_kwargs)
            elif self.role_name or self.conn_config.role_arn:
                return False
            else:
                session = self.get_session(region_name=self.region_name)
        return not isinstance(session.get_credentials(), RefreshableCredentials)

    def _expired(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self._cannot(what)}: the temporary credentials of the connection have expired, and Airflow cannot "
            "renew them. Put new ones into the connection or, better, use credentials that can be renewed: the "
            "worker's own role, or long-lived keys with a role to assume."
        )

    def _without_credentials(self, what: str, error: BotoCoreError) -> ConfigurationError:
        return ConfigurationError(
            f"{self._cannot(what)}: {type(error).__name__}: {safe(error)}. Put keys into the connection, or give the "
            "worker a role; an SSO session expires, and only a person can renew it."
        )
