"""AWS Security Hub CSPM through an AWS connection of the Amazon provider."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Protocol, Self

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from airflow_provider_tenable.aws import DEFAULT_PRODUCT, product_arn
from airflow_provider_tenable.exceptions import (
    ConfigurationError,
    HubOffError,
    NotSubscribedError,
    TemporaryError,
    TenableProviderError,
)
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.hooks.aws_calls import NOT_FROM_AWS, UNREADABLE
from airflow_provider_tenable.hooks.aws_session import ONE_ATTEMPT, AwsSessionHook
from airflow_provider_tenable.security_hub.page import keep_body, page_of
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.reader import PAGE_FINDINGS, Filters, FindingsReader, equals, refused
from airflow_provider_tenable.security_hub.responses import code_of

#: A worker's clock may be behind AWS's.
_CLOCK_SLACK = timedelta(hours=1)


class Access(Protocol):
    """How the hub of an account is reached: the parameters of the same names."""

    @property
    def aws_conn_id(self) -> str | None: ...

    @property
    def role_name(self) -> str | None: ...

    @property
    def external_id(self) -> str | None: ...


class SecurityHubHook(AwsSessionHook):
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
        super().__init__(*args, role_name=role_name, account=account, external_id=external_id, **kwargs)
        self._body = threading.local()

    @classmethod
    def reaching(cls, access: Access, account: str, region: str) -> Self:
        """The hook of the hub of an account and Region, with its connection looked up: an error of the look-up is
        raised here, and in the thread of the task, before others use the hook.
        """
        hook = cls(
            aws_conn_id=access.aws_conn_id,
            region_name=region,
            role_name=access.role_name,
            account=account,
            external_id=access.external_id,
        )
        _ = hook.conn_config
        return hook

    def close(self) -> None:
        """Close the connections of the client."""
        if "client" in self.__dict__:
            self.client.close()

    @cached_property
    def client(self) -> Any:
        """A client for prepared bodies: without parameter validation (findings are within the limits), with one attempt
        per call.
        """
        config = self.config.merge(Config(parameter_validation=False, retries=ONE_ATTEMPT, max_pool_connections=16))
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
                f"Cannot import findings in {self.region_name}: the response has no counts; {NOT_FROM_AWS}."
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

    def batch_update_findings(self, identifiers: Sequence[dict[str, str]], fields: Mapping[str, Any]) -> dict[str, Any]:
        """Set fields of the customer (BatchUpdateFindings); it needs ``securityhub:BatchUpdateFindings``. Errors are
        those of :meth:`import_batch`.

        :param identifiers: ``{"Id", "ProductArn"}`` of up to 100 distinct findings.
        :param fields: what all of them are set to: ``Workflow``, ``Note``, ``UserDefinedFields``, ...
        :return: ``ProcessedFindings``, ``UnprocessedFindings``: HTTP 200 does not mean that all were changed.
        """
        answer: dict[str, Any] = self._sent(
            "update findings",
            lambda: self.client.batch_update_findings(FindingIdentifiers=list(identifiers), **fields),
        )
        if not isinstance(answer.get("ProcessedFindings"), list) or not isinstance(
            answer.get("UnprocessedFindings"), list
        ):
            raise TemporaryError(
                f"Cannot update findings in {self.region_name}: the response has no lists; {NOT_FROM_AWS}."
            )
        return answer

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
        arn = self._arn_of(product)
        self.check_hub()
        if self.takes_product(product):
            return False
        if not enable_product:
            raise NotSubscribedError(
                f"Account {self.account} is not subscribed to product {safe(arn)} in {self.region_name}. Nothing was "
                "imported. Accept findings from 'Tenable: Vulnerability Management' under Integrations in Security "
                "Hub CSPM there, or set [tenable] enable_product = True."
            )
        return self._subscribe(arn)

    def enabled_at(self) -> int:
        """Since when Security Hub CSPM is on in this account and Region, unix milliseconds (DescribeHub). When it was
        switched off and on again, it may have forgotten its findings.

        :return: 0 if the hub does not answer (:meth:`preflight` finds out why), or gives no time that has passed.
        """
        try:
            said = self._hub.get("SubscribedAt")
            moment = datetime.fromisoformat(said) if isinstance(said, str) else None
        except (TenableProviderError, ValueError):
            return 0
        if moment is None or moment.tzinfo is None or moment > datetime.now(UTC) + _CLOCK_SLACK:
            return 0
        return max(int(1000 * moment.timestamp()), 0)

    @cached_property
    def _hub(self) -> dict[str, Any]:
        """What the hub says of itself. It is asked once, whatever is read from its answer."""
        return self._ask("describe the hub", self._call("describe_hub"), "HubArn")

    def takes_product(self, product: str) -> bool:
        """Whether the account is subscribed to a product, or the product is its own default one. The errors, and how
        often a call is made again, are those of :meth:`preflight`.
        """
        arn = self._arn_of(product)
        return f"product/{self.account}/{DEFAULT_PRODUCT}" in arn or self._is_subscribed(arn)

    def check_reading(self, account: str, region: str) -> None:
        """Read one finding of the account and Region (GetFindings), to learn whether that is allowed. Errors as in
        :meth:`preflight`.
        """
        filters = {"AwsAccountId": equals(account), "Region": equals(region)}
        self._ask("read findings", self._call("get_findings", Filters=filters, MaxResults=1), "Findings")

    def _arn_of(self, product: str) -> str:
        if product.startswith("arn:"):
            return product
        return product_arn(product, region=str(self.region_name), account=str(self.account))

    def check_hub(self) -> None:
        """Check that Security Hub CSPM is on (DescribeHub). Errors as in :meth:`preflight`.

        :raises HubOffError: it is off; the message says so if only the new AWS Security Hub is on.
        """
        try:
            _ = self._hub
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
        except (ClientError, BotoCoreError, TenableProviderError, *UNREADABLE):
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
            if token.get("NextToken") == page["NextToken"]:
                # Otherwise this would never end.
                raise TemporaryError("ListEnabledProductsForImport returned the token of the page that was requested.")
            token = {"NextToken": page["NextToken"]}

    def _subscribe(self, arn: str) -> bool:
        def subscribe() -> dict[str, Any]:
            try:
                return self._call("enable_import_findings_for_product", ProductArn=arn)()
            except ClientError as error:
                # Somebody else was faster, or the response to an earlier attempt was lost.
                if code_of(error) != "ResourceConflictException":
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
