"""AWS Security Hub CSPM through an AWS connection of the Amazon provider."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from typing import Any, TypeVar

import botocore
import botocore.session
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from boto3.session import Session
from botocore.config import Config
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

from airflow_provider_tenable._compat import AirflowNotFoundException
from airflow_provider_tenable.aws import DEFAULT_PRODUCT, Caller, partition_of, product_arn
from airflow_provider_tenable.exceptions import (
    ConfigurationError,
    DestinationRefusedError,
    HubOffError,
    NotSubscribedError,
    TemporaryError,
    TenableProviderError,
)
from airflow_provider_tenable.guards import log_guard
from airflow_provider_tenable.guards.foreign_text import LONGEST_MESSAGE, safe
from airflow_provider_tenable.guards.redaction import remember
from airflow_provider_tenable.security_hub.backoff import patiently
from airflow_provider_tenable.security_hub.page import keep_body, page_of
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.reader import PAGE_FINDINGS, Filters, FindingsReader, refused
from airflow_provider_tenable.security_hub.responses import RETRY, code_of, explain, refusal_of, verdict_of

T = TypeVar("T")

#: AWS's error codes for expired temporary credentials.
EXPIRED = frozenset({"ExpiredTokenException", "ExpiredToken"})

#: The import itself retries calls, within its rate. botocore's own retries would bypass that.
_ONE_ATTEMPT: Any = {"total_max_attempts": 1, "mode": "standard"}

#: What botocore's parsers raise for a body of an unexpected shape, such as HTML, null or a list. Some of their texts
#: quote the response. RuntimeError: from the Amazon provider and botocore, for an unusable role session.
_UNREADABLE = (ResponseParserError, KeyError, TypeError, AttributeError, RuntimeError)
_NOT_FROM_AWS = (
    "the response is not from AWS, or was truncated. It may come from a proxy, a firewall or a login page. Check the "
    "proxy settings of the worker and the connection's endpoint_url"
)
#: botocore's temporary errors.
_UNREACHABLE = (HTTPClientError, BotoConnectionError, CredentialRetrievalError, MetadataRetrievalError)
#: Of these, the ones that a host name without an address causes, directly or behind a proxy.
_NOT_CONNECTED = (EndpointConnectionError, ProxyConnectionError)
#: Kinds of endpoints that not every Region has -> botocore's option for them.
_VARIANTS = {"fips": "use_fips_endpoint", "dualstack": "use_dualstack_endpoint"}
#: botocore's errors that only a person can resolve: no credentials, or an expired sign-in.
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, SSOError, TokenRetrievalError)


class _NotConnectedError(TemporaryError):
    """No connection to an endpoint of AWS could be made."""


class SecurityHubHook(AwsBaseHook):
    """Talk to Security Hub CSPM: preflight, and import of serialised findings.

    All features of an AWS connection are supported (roles, ``endpoint_url``, ``service_config``, ``botocore`` config).

    :param aws_conn_id: AWS connection; None for the worker's own credentials.
    :param region_name: the hub's Region.
    :param role_name: a role to assume in ``account`` with the connection's credentials. Its credentials are renewed
        automatically.
    :param account: the account of the hub: the role is assumed there, and the caller must belong to it.
    :param external_id: the ``sts:ExternalId`` that the role's trust policy requires. Default: the connection's own, if
        it has one.
    """

    def __init__(
        self,
        *args: Any,
        role_name: str | None = None,
        account: str | None = None,
        external_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs["client_type"] = "securityhub"
        super().__init__(*args, **kwargs)
        self.role_name = role_name
        self.account = account
        self.external_id = external_id
        self._body = threading.local()

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> Session:
        """The connection's session, or one with the assumed role.

        The credentials with which its clients sign are remembered for masking: some of AWS's errors quote requests,
        including the session token.
        """
        log_guard.install()
        remember(self.conn_config.aws_secret_access_key, self.conn_config.aws_session_token)
        base = super().get_session(region_name=region_name, deferrable=deferrable)
        base.events.register("before-sign", _remember_credentials)
        if not self.role_name:
            return base
        session = self._role_session(base, region_name)
        session.events.register("before-sign", _remember_credentials)
        return session

    def _role_session(self, base: Session, region_name: str | None) -> Session:
        def assume() -> dict[str, Any]:
            sts = self._sts(base)
            with closing(sts):
                # Not retried here: the caller that needs the session retries, and during an import that is the import
                # itself.
                answer = self._once(
                    "assume the role",
                    lambda: sts.assume_role(**self._assume_role_arguments()),
                    "Credentials",
                    session=base,
                )
            credentials = answer["Credentials"]
            remember(credentials["SecretAccessKey"], credentials["SessionToken"])
            return {
                "access_key": credentials["AccessKeyId"],
                "secret_key": credentials["SecretAccessKey"],
                "token": credentials["SessionToken"],
                "expiry_time": credentials["Expiration"].isoformat(),
            }

        session: Any = botocore.session.get_session()
        # Neither botocore nor boto3 has a public way to give a session refreshable credentials; the Amazon provider
        # does the same.
        session._credentials = RefreshableCredentials.create_from_metadata(
            metadata=assume(), refresh_using=assume, method="sts-assume-role"
        )
        return Session(botocore_session=session, region_name=region_name or base.region_name)

    def _sts(self, session: Session) -> Any:
        # In the hub's Region: sessions from the global endpoint are not valid in opt-in Regions. STS always needs a
        # Region.
        return session.client(
            "sts",
            region_name=self.region_name or session.region_name or "us-east-1",
            endpoint_url=self.conn_config.get_service_endpoint_url("sts"),
            config=self.config.merge(Config(retries=_ONE_ATTEMPT)),
            verify=self.verify,
        )

    def _assume_role_arguments(self) -> dict[str, Any]:
        # Of the connection's assume_role_kwargs only the external id is used: the others (DurationSeconds, Policy,
        # Tags, SerialNumber ...) are meant for the connection's own role. With role chaining, a session lasts at most
        # an hour, and AWS rejects a longer duration.
        partition = partition_of(self.region_name or "")
        arguments = {
            "RoleSessionName": "airflow-provider-tenable",
            "RoleArn": f"arn:{partition}:iam::{self.account}:role/{self.role_name}",
        }
        external_id = self.external_id or self._external_id_of_connection()
        return {**arguments, "ExternalId": external_id} if external_id else arguments

    def _external_id_of_connection(self) -> str | None:
        # The Amazon provider reads assume_role_kwargs only if the connection itself has a role.
        extra = self.conn_config.extra_config
        kwargs = extra.get("assume_role_kwargs")
        found = kwargs.get("ExternalId") if isinstance(kwargs, dict) else None
        return found or extra.get("external_id") or None

    def check_connection_exists(self) -> None:
        """Reject an unknown connection id: the Amazon provider would only log a warning and use any credentials that it
        finds on the machine.

        ``aws_default`` may be missing, as it usually is if the worker's own role is used (MWAA).
        """
        if not self.aws_conn_id or self.aws_conn_id == self.default_conn_name:
            return
        try:
            self.get_connection(self.aws_conn_id)
        except AirflowNotFoundException:
            raise ConfigurationError(
                f"There is no AWS connection {self.aws_conn_id!r}. Create it, correct the destination's aws_conn_id, "
                "or use null there for the worker's own credentials."
            ) from None

    def identify(self) -> Caller:
        """The owner of the credentials (STS GetCallerIdentity), and the session's Region."""
        self.check_connection_exists()

        def attempt() -> tuple[Session, dict[str, Any]]:
            session = self._translated("sign in to AWS", lambda: self.get_session(region_name=self.region_name))
            with closing(self._sts(session)) as sts:
                return session, self._once("identify the caller", sts.get_caller_identity, "Account", session=session)

        session, answer = self._patiently(attempt)
        arn = str(answer.get("Arn", "")).split(":")
        return Caller(safe(answer["Account"], 40), session.region_name, safe(arn[1], 40) if len(arn) > 1 else "")

    def region_of_connection(self) -> str | None:
        """The Region of the connection, or of the worker's environment; no request is made."""
        return self.conn_config.region_name or Session(profile_name=self.conn_config.profile_name).region_name

    def close(self) -> None:
        """Close the connections of the client."""
        if "client" in self.__dict__:
            self.client.close()

    @cached_property
    def client(self) -> Any:
        """A client for prepared bodies: without parameter validation (findings are within the limits), with one attempt
        per call.
        """
        config = self.config.merge(Config(parameter_validation=False, retries=_ONE_ATTEMPT, max_pool_connections=16))
        client = self.get_client_type(region_name=self.region_name, config=config)
        client.meta.events.register("before-call.securityhub.BatchImportFindings", self._put_body)
        client.meta.events.register("before-parse.securityhub.GetFindings", keep_body)
        return client

    def _put_body(self, params: dict[str, Any], **_: Any) -> None:
        params["body"] = self._body.value

    def import_batch(self, lines: Sequence[bytes]) -> dict[str, Any]:
        """Import findings (BatchImportFindings).

        :param lines: the JSON of up to 100 findings, together at most 6 MB, with distinct ids. They are sent unchanged.
        :return: ``FailedCount``, ``SuccessCount``, ``FailedFindings``.
        :raises botocore.exceptions.ClientError: the complete call was rejected.
        :raises botocore.exceptions.BotoCoreError: no response; the call may have been executed.
        :raises TemporaryError: the response is unreadable or not from AWS, or credentials cannot be renewed at the
            moment.
        :raises ConfigurationError: the credentials have expired, and only a person can renew them.
        """
        # The body is joined here; botocore only signs and sends it. Letting botocore serialise the findings again would
        # take ten times as long.
        self._body.value = b'{"Findings":[' + b",".join(lines) + b"]}"
        try:
            answer: dict[str, Any] = self._sent(
                "import findings", lambda: self.client.batch_import_findings(Findings=[])
            )
        finally:
            self._body.value = b""
        # If a body is truncated or not JSON, botocore returns an empty result without an error: that is not a success.
        if not isinstance(answer.get("FailedCount"), int) or not isinstance(answer.get("SuccessCount"), int):
            raise TemporaryError(
                f"Cannot import findings in {self.region_name}: the response has no counts; {_NOT_FROM_AWS}."
            )
        return answer

    def read_page(
        self, filters: Filters, *, next_token: str | None = None, max_results: int = PAGE_FINDINGS
    ) -> tuple[list[dict[str, Any]], str | None]:
        """One call of GetFindings. Errors are those of :meth:`import_batch`.

        :return: the complete documents, also with fields that botocore's model does not have yet, and the token of the
            next page.
        """
        arguments = {"Filters": filters, "MaxResults": max_results, **({"NextToken": next_token} if next_token else {})}
        return page_of(self._sent("read findings", lambda: self.client.get_findings(**arguments)), self.region_name)

    def get_findings(
        self,
        filters: Filters,
        *,
        next_token: str | None = None,
        page_size: int = PAGE_FINDINGS,
        bucket: TokenBucket | None = None,
    ) -> Iterator[list[dict[str, Any]]]:
        """The findings that pass the filters (GetFindings), page by page, at 3 calls a second.

        :param filters: as in the API: attribute -> conditions, at most 10 attributes with 20 values each
            (:func:`~airflow_provider_tenable.security_hub.reader.equals`). In an administrator's account and in an
            aggregation Region, findings of other accounts and Regions are found too: name ``AwsAccountId`` and
            ``Region``.
        :param bucket: the rate, if other calls of this account and Region share it.
        :raises DestinationRefusedError: not allowed (the message names the permission), or the hub is off.
        :raises TemporaryError: AWS cannot be reached, or something else answers in its place.
        """
        reader = FindingsReader(self, bucket=bucket)
        try:
            for findings, _ in reader.pages(filters, next_token=next_token, page_size=page_size):
                yield findings
        except ClientError as error:
            raise refused(error) from None

    def _sent(self, what: str, call: Callable[[], T]) -> T:
        """One call that its caller repeats, with AWS's errors as they are."""
        try:
            return call()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in EXPIRED:
                if self._nobody_renews():
                    raise self._expired(what) from None
                # AWS's clock decides, while botocore, by our clock, may consider the session valid: the next call
                # starts a new one.
                self.__dict__.pop("client", None)
            raise
        except _NO_CREDENTIALS as error:
            raise self._without_credentials(what, error) from None
        except _UNREADABLE:
            raise TemporaryError(f"Cannot {what} in {self.region_name}: {_NOT_FROM_AWS}.") from None

    def preflight(self, product: str, *, enable_product: bool) -> bool:
        """Check, before the first call, that findings can be imported into the correct account. Calls are retried while
        AWS is temporarily unavailable.

        :param product: ``company/product`` or ``default``, as in ``[tenable] product``, or the ARN of a product.
        :param enable_product: subscribe the account to the product where it is not.
        :return: whether the account was subscribed just now: until that takes effect, imports may be denied.
        :raises DestinationRefusedError: hub off, product not subscribed, not allowed, role not assumable, no endpoint
            in the Region.
        :raises ConfigurationError: another account, or unusable credentials.
        :raises TemporaryError: AWS cannot be reached, or something else answers in its place.
        """
        caller = self.identify()
        if caller.account != self.account:
            raise ConfigurationError(
                f"The findings belong to account {self.account}, but the credentials of connection "
                f"{self.aws_conn_id!r} belong to account {caller.account}. "
                "Nothing was imported. Use a connection to that account, or set a role_name to assume in it."
            )
        arn = (
            product
            if product.startswith("arn:")
            else product_arn(product, region=str(self.region_name), account=str(self.account))
        )
        self._check_hub()
        if f"product/{self.account}/{DEFAULT_PRODUCT}" in arn or self._is_subscribed(arn):
            return False
        if not enable_product:
            raise NotSubscribedError(
                f"Account {self.account} is not subscribed to product {safe(arn)} in {self.region_name}. Nothing was "
                "imported. Accept findings from 'Tenable: Vulnerability Management' under Integrations in Security "
                "Hub CSPM there, or set [tenable] enable_product = True."
            )
        return self._subscribe(arn)

    def _check_hub(self) -> None:
        try:
            self._ask("describe the hub", self._call("describe_hub"), "HubArn")
        except HubOffError as error:
            if not self._has_only_the_new_hub():
                raise
            raise HubOffError(
                f"{error} Account {self.account} uses the new AWS Security Hub in {self.region_name}, which does not "
                "accept findings of other products. Enable Security Hub CSPM there as well: its findings are shown in "
                "both."
            ) from None

    def _has_only_the_new_hub(self) -> bool:
        """Best effort: an older botocore does not know the call, and the role may not be allowed to make it."""
        try:
            return bool(self.client.describe_security_hub_v2().get("HubV2Arn"))
        except (ClientError, BotoCoreError, TenableProviderError, *_UNREADABLE):
            return False

    def _is_subscribed(self, arn: str) -> bool:
        # arn:aws:securityhub:{region}::product/a/b -> arn:aws:securityhub:{region}:{account}:product-subscription/a/b
        head, _, product = arn.partition("::product/")
        subscription = f"{head}:{self.account}:product-subscription/{product}"
        token: dict[str, str] = {}
        while True:
            page = self._ask(
                "list the subscribed products",
                self._call("list_enabled_products_for_import", **token),
                "ProductSubscriptions",
            )
            if subscription in page["ProductSubscriptions"]:
                return True
            if not page.get("NextToken"):
                return False
            token = {"NextToken": page["NextToken"]}

    def _subscribe(self, arn: str) -> bool:
        def subscribe() -> dict[str, Any]:
            try:
                return self._call("enable_import_findings_for_product", ProductArn=arn)()
            except ClientError as error:
                # Somebody else was faster, or the response to an earlier attempt was lost.
                if error.response.get("Error", {}).get("Code") != "ResourceConflictException":
                    raise
                return {"ProductSubscriptionArn": arn}

        self._ask(f"subscribe to {safe(arn)}", subscribe, "ProductSubscriptionArn")
        self.log.info("Subscribed account %s to %s.", self.account, safe(arn))
        return True

    def _call(self, operation: str, **arguments: Any) -> Callable[[], dict[str, Any]]:
        """A call that looks up the client when it is executed: creating a client may need AWS too, and the client is
        replaced when its credentials expire.
        """
        return lambda: getattr(self.client, operation)(**arguments)

    def _ask(self, what: str, call: Callable[[], dict[str, Any]], key: str) -> dict[str, Any]:
        """One call before the import, retried while it fails for a temporary reason (see :meth:`_once`)."""
        return self._patiently(lambda: self._once(what, call, key))

    def _patiently(self, call: Callable[[], T]) -> T:
        """A call before the import, retried while it fails for a temporary reason.

        :raises DestinationRefusedError: AWS has no endpoint in the Region, so no later attempt can succeed.
        """
        try:
            return patiently(call, sleep=time.sleep)
        except _NotConnectedError as error:
            if not self._has_no_endpoint():
                raise
            raise DestinationRefusedError(
                f"{safe(error, LONGEST_MESSAGE)} There is probably no such endpoint in Region {self.region_name}: "
                f"botocore {botocore.__version__} knows none of Security Hub CSPM there. Omit the Region with regions "
                "in the destination, or name another hub with region. If AWS has opened the Region recently, check "
                "that the worker can reach it."
            ) from None

    def _has_no_endpoint(self) -> bool:
        """Whether the Region is one in which botocore knows no endpoint of Security Hub of the configured kind (FIPS,
        dual stack), and the connection names none.

        A newly opened Region is missing there too, so this only explains why an endpoint cannot be reached.
        """
        if not self.region_name or any(map(self.conn_config.get_service_endpoint_url, ("securityhub", "sts"))):
            return False
        session: Any = botocore.session.get_session()
        kind = {tag for tag, option in _VARIANTS.items() if self._uses(session, option)}
        partition = partition_of(self.region_name)
        # Not get_available_regions(), which knows no kinds.
        partitions = {each["partition"]: each["services"] for each in session.get_data("endpoints")["partitions"]}
        known = partitions.get(partition, {}).get("securityhub", {}).get("endpoints", {}).get(self.region_name)
        return known is None or bool(kind and not any(kind == set(each["tags"]) for each in known.get("variants", ())))

    def _uses(self, session: Any, option: str) -> bool:
        own = getattr(self.config, option, None)
        return bool(session.get_config_variable(option) if own is None else own)

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
            raise TemporaryError(f"{self._cannot(what)}: {_NOT_FROM_AWS}.")
        return answer

    def _translated(self, what: str, call: Callable[[], T], *, session: Session | None = None) -> T:
        """Execute a call and translate its errors into ours."""
        try:
            return call()
        except ClientError as error:
            if code_of(error) in EXPIRED:
                if self._nobody_renews(session):
                    raise self._expired(what) from None
                self.__dict__.pop("client", None)
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
        except _UNREADABLE:
            # Some of their texts quote the response, which may contain new credentials.
            raise TemporaryError(f"{self._cannot(what)}: {_NOT_FROM_AWS}.") from None

    def _cannot(self, what: str) -> str:
        return f"Cannot {what} (account {self.account}, Region {self.region_name}, connection {self.aws_conn_id!r})"

    def _explained(self, what: str, error: ClientError) -> ConfigurationError | TemporaryError:
        text = f"{self._cannot(what)}: {explain(error)}"
        if verdict_of(error) == RETRY:
            return TemporaryError(text)
        return refusal_of(error, text)

    def _nobody_renews(self, session: Session | None = None) -> bool:
        """Whether the credentials of a session (default: the client's own) cannot be renewed automatically."""
        if session is None:
            if self.role_name or self.conn_config.role_arn:
                return False
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


def _remember_credentials(request_signer: Any, **_: Any) -> None:
    """Called by botocore before it signs a request, with the credentials used for signing."""
    credentials = request_signer._credentials
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        remember(frozen.secret_key, frozen.token)
