"""AWS Security Hub (CSPM) behind an AWS connection of the Amazon provider."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from typing import Any

import botocore.session
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from boto3.session import Session
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from airflow_provider_tenable._compat import AirflowNotFoundException
from airflow_provider_tenable.aws import DEFAULT_PRODUCT, partition_of, product_arn
from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.guards import log_guard
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.redaction import remember

#: What AWS answers when temporary credentials are over.
EXPIRED = frozenset({"ExpiredTokenException", "ExpiredToken"})

#: Calls are repeated by the import itself, within its rate. botocore would repeat them behind its back.
_ONE_ATTEMPT: Any = {"total_max_attempts": 1, "mode": "standard"}


class SecurityHubHook(AwsBaseHook):
    """Talk to Security Hub: preflight, and import of findings that are serialised already.

    All that an AWS connection can do serves (roles, ``endpoint_url``, ``service_config``, ``botocore`` config).

    :param aws_conn_id: AWS connection; None for the worker's own credentials.
    :param region_name: the hub's Region.
    :param role_name: a role to assume, with the connection's credentials, in ``account``. The credentials renew themselves.
    :param account: the account whose hub is meant: where the role is assumed, and what the caller is compared with.
    """

    def __init__(self, *args: Any, role_name: str | None = None, account: str | None = None, **kwargs: Any) -> None:
        kwargs["client_type"] = "securityhub"
        super().__init__(*args, **kwargs)
        self.role_name = role_name
        self.account = account
        self._body = threading.local()

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> Session:
        """The connection's session, or one with the assumed role.

        What its clients sign with is remembered: AWS quotes requests, session token included, in some of its errors.
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
            sts = base.client(
                "sts",
                region_name=base.region_name or self.region_name,
                endpoint_url=self.conn_config.get_service_endpoint_url("sts"),
                config=self.config,
                verify=self.verify,
            )
            try:
                credentials = sts.assume_role(**self._assume_role_arguments())["Credentials"]
            except ClientError as error:
                raise self._explained("assume the role", error) from None
            except ResponseParserError:
                # Its text quotes the answer, which may hold new credentials.
                raise TemporaryError(f"Cannot assume the role (account {self.account}): the answer of STS cannot be read.") from None
            finally:
                sts.close()
            remember(credentials["SecretAccessKey"], credentials["SessionToken"])
            return {
                "access_key": credentials["AccessKeyId"],
                "secret_key": credentials["SecretAccessKey"],
                "token": credentials["SessionToken"],
                "expiry_time": credentials["Expiration"].isoformat(),
            }

        session: Any = botocore.session.get_session()
        # Neither botocore nor boto3 has a public way to give a session refreshable credentials; the Amazon provider does the same.
        session._credentials = RefreshableCredentials.create_from_metadata(metadata=assume(), refresh_using=assume, method="sts-assume-role")
        return Session(botocore_session=session, region_name=region_name or base.region_name)

    def _assume_role_arguments(self) -> dict[str, Any]:
        # External id, duration and the like stand in the connection, as for the provider's own roles.
        arguments = {"RoleSessionName": "airflow-provider-tenable", **self.conn_config.assume_role_kwargs}
        partition = partition_of(self.region_name or "")
        return {**arguments, "RoleArn": f"arn:{partition}:iam::{self.account}:role/{self.role_name}"}

    def check_connection_exists(self) -> None:
        """Refuse a mistyped connection id: the Amazon provider falls back to whatever credentials the machine has, with one warning.

        ``aws_default`` may be missing, as it usually is where the worker's own role serves (MWAA).
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

    def identify(self) -> tuple[str, str | None]:
        """The account that the credentials belong to (STS GetCallerIdentity), and the connection's Region."""
        self.check_connection_exists()
        try:
            session = self.get_session(region_name=self.region_name)
            sts = session.client(
                "sts",
                # STS wants a Region for its endpoint; the answer is the same from each.
                region_name=session.region_name or "us-east-1",
                endpoint_url=self.conn_config.get_service_endpoint_url("sts"),
                config=self.config,
                verify=self.verify,
            )
            with closing(sts):
                return safe(sts.get_caller_identity()["Account"], 40), session.region_name
        except ClientError as error:
            raise self._explained("ask AWS who the caller is", error) from None
        except (HTTPClientError, BotoConnectionError) as error:
            raise TemporaryError(f"Cannot reach STS with connection {self.aws_conn_id!r}: {type(error).__name__}: {safe(error)}.") from None
        except ResponseParserError:
            raise TemporaryError(f"Cannot ask AWS who connection {self.aws_conn_id!r} is: the answer of STS cannot be read.") from None
        except BotoCoreError as error:
            raise ConfigurationError(
                f"Cannot ask AWS who connection {self.aws_conn_id!r} is: {type(error).__name__}: {safe(error)}. Check its credentials and endpoint."
            ) from None

    def close(self) -> None:
        """Close the connections of the client."""
        if "client" in self.__dict__:
            self.client.close()

    @cached_property
    def client(self) -> Any:
        """A client that sends prepared bodies: no parameter validation (findings are within the limits), one attempt per call."""
        config = self.config.merge(Config(parameter_validation=False, retries=_ONE_ATTEMPT, max_pool_connections=16))
        client = self.get_client_type(region_name=self.region_name, config=config)
        client.meta.events.register("before-call.securityhub.BatchImportFindings", self._put_body)
        return client

    def _put_body(self, params: dict[str, Any], **_: Any) -> None:
        params["body"] = self._body.value

    def import_batch(self, lines: Sequence[bytes]) -> dict[str, Any]:
        """Import findings (BatchImportFindings).

        :param lines: the JSON of up to 100 findings, together at most 6 MB, with distinct ids. They go out as they are.
        :return: ``FailedCount``, ``SuccessCount``, ``FailedFindings``.
        :raises botocore.exceptions.ClientError: the call as a whole was refused.
        :raises botocore.exceptions.BotoCoreError, botocore.parsers.ResponseParserError: no answer, or none that can be read; the call may have been
            carried out.
        """
        # Joined here, signed and sent by botocore: it would take ten times as long to serialise what is serialised already.
        self._body.value = b'{"Findings":[' + b",".join(lines) + b"]}"
        try:
            answer: dict[str, Any] = self.client.batch_import_findings(Findings=[])
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in EXPIRED:
                # AWS's clock counts, and botocore, by ours, may take the session for a good one: the next call begins another.
                self.__dict__.pop("client", None)
            raise
        except TypeError:
            # botocore's parser stumbles over a body of null.
            raise ResponseParserError("the answer is no object") from None
        finally:
            self._body.value = b""
        # botocore makes an empty result of a body that is cut off or no JSON, and raises nothing: that is no success.
        if not isinstance(answer.get("FailedCount"), int) or not isinstance(answer.get("SuccessCount"), int):
            raise ResponseParserError("the answer holds no counts")
        return answer

    def preflight(self, product: str, *, enable_product: bool) -> None:
        """Check, before the first call, that findings would arrive where they belong.

        :param product: ``company/product``, ``default``, as in ``[tenable] product``.
        :param enable_product: subscribe the account to the product where it is not.
        :raises ConfigurationError: another account, hub off, product not subscribed.
        """
        self.check_connection_exists()
        caller, _ = self.identify()
        if caller != self.account:
            raise ConfigurationError(
                f"The findings belong to account {self.account}, but the credentials of connection {self.aws_conn_id!r} to account {caller}. "
                "Nothing was imported. Use a connection to that account, or name a role_name to assume in it."
            )
        arn = product_arn(product, region=str(self.region_name), account=str(self.account))
        try:
            self.client.describe_hub()
            if f"product/{self.account}/{DEFAULT_PRODUCT}" in arn or self._is_subscribed(arn):
                return
            if not enable_product:
                raise ConfigurationError(
                    f"Account {self.account} is not subscribed to product {arn} in {self.region_name}. Nothing was imported. Accept findings from "
                    "'Tenable: Vulnerability Management' under Integrations in Security Hub there, or set [tenable] enable_product = True."
                )
            self._subscribe(arn)
        except ClientError as error:
            raise self._explained("look at the hub", error) from None
        except BotoCoreError as error:
            raise TemporaryError(f"Cannot reach Security Hub in {self.region_name}: {type(error).__name__}: {safe(error)}.") from None
        except ResponseParserError:
            raise TemporaryError(f"Cannot look at the hub in {self.region_name}: the answer of Security Hub cannot be read.") from None

    def _is_subscribed(self, arn: str) -> bool:
        # arn:aws:securityhub:{region}::product/a/b -> arn:aws:securityhub:{region}:{account}:product-subscription/a/b
        head, _, product = arn.partition("::product/")
        subscription = f"{head}:{self.account}:product-subscription/{product}"
        pages = self.client.get_paginator("list_enabled_products_for_import").paginate()
        return any(subscription in page.get("ProductSubscriptions", []) for page in pages)

    def _subscribe(self, arn: str) -> None:
        try:
            self.client.enable_import_findings_for_product(ProductArn=arn)
            self.log.info("Subscribed account %s to %s.", self.account, arn)
        except ClientError as error:
            # Somebody else was faster.
            if error.response["Error"]["Code"] != "ResourceConflictException":
                raise

    def _explained(self, what: str, error: ClientError) -> ConfigurationError | TemporaryError:
        from airflow_provider_tenable.security_hub.responses import RETRY, explain, verdict_of

        text = f"Cannot {what} (account {self.account}, Region {self.region_name}, connection {self.aws_conn_id!r}): {explain(error)}"
        return TemporaryError(text) if verdict_of(error) == RETRY else ConfigurationError(text)


def _remember_credentials(request_signer: Any, **_: Any) -> None:
    """Called by botocore before a request is signed, with the credentials that it is signed with."""
    credentials = request_signer._credentials
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        remember(frozen.secret_key, frozen.token)
