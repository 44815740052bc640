"""AWS as a scanner needs it: calls of EC2, IAM, SSM, Secrets Manager and STS through an AWS connection, with their
errors in words.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError

from airflow_provider_tenable.aws import Caller
from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.guards.foreign_text import LONGEST_MESSAGE, safe
from airflow_provider_tenable.hooks.aws_calls import NOT_FROM_AWS, UNREADABLE
from airflow_provider_tenable.hooks.aws_session import AwsSessionHook
from airflow_provider_tenable.scan.aws_errors import DENIED, encoded_details, refusal


class NessusEc2Hook(AwsSessionHook):
    """Calls of several AWS services with one connection: those that create, find and remove a scanner on EC2.

    All features of an AWS connection are supported (roles, ``endpoint_url``, ``service_config``, ``botocore`` config).

    :param aws_conn_id: AWS connection; None for the worker's own credentials.
    :param region_name: the scanner's Region. Default: that of the connection.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["client_type"] = "ec2"
        super().__init__(*args, **kwargs)
        self._clients: dict[str, Any] = {}
        self._caller: Caller | None = None

    @property
    def region(self) -> str:
        """The Region of the calls.

        :raises ConfigurationError: neither the argument nor the connection names one.
        """
        region = self.region_name or self.region_of_connection()
        if not region:
            raise ConfigurationError(
                f"Connection {self.aws_conn_id!r} names no Region. Give region_name, or set it in the connection."
            )
        return str(region)

    def client(self, service: str) -> Any:
        """A client of a service, with the connection's endpoint and configuration for it."""
        if service not in self._clients:
            session = self._translated("sign in to AWS", lambda: self.get_session(region_name=self.region))
            self._clients[service] = session.client(
                service,
                endpoint_url=self.conn_config.get_service_endpoint_url(service),
                config=self.config,
                verify=self.verify,
            )
        return self._clients[service]

    def call(
        self, service: str, operation: str, *, what: str, tolerate: Collection[str] = (), **arguments: Any
    ) -> dict[str, Any] | None:
        """Make a call.

        :param operation: the client's method, such as ``run_instances``.
        :param what: the call in words, as in "Cannot ...".
        :param tolerate: error codes for which the result is None.
        :raises AwsRefusedError: a person must change something.
        :raises TemporaryError: a retry may succeed.
        """
        try:
            answer: dict[str, Any] = getattr(self.client(service), operation)(**arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in tolerate:
                return None
            raise self.explained(error, what) from None
        except ParamValidationError as error:
            raise ConfigurationError(f"{self._cannot(what)}: {safe(error, LONGEST_MESSAGE)}.") from None
        except NoCredentialsError:
            raise ConfigurationError(
                f"{self._cannot(what)}: there are no credentials. Put keys into the connection, or give the worker a "
                "role."
            ) from None
        except BotoCoreError as error:
            raise TemporaryError(f"{self._cannot(what)}: {type(error).__name__}: {safe(error)}.") from None
        except UNREADABLE:
            # Some of their texts quote the response, which may contain a secret.
            raise TemporaryError(f"{self._cannot(what)}: {NOT_FROM_AWS}.") from None
        return answer

    def explained(self, error: ClientError, what: str) -> Exception:
        """Our error for one of AWS's."""
        found = error.response.get("Error", {})
        code, message = str(found.get("Code", "")), str(found.get("Message") or "")
        details = encoded_details(message) if code in DENIED else None
        if details and (decoded := self._decoded(details)):
            message = f"{message} {decoded}"
        return refusal(code, message, what=self._cannot(what).removeprefix("Cannot "))

    def _decoded(self, details: str) -> str | None:
        """What EC2 has encoded about a missing permission; None where the identity may not decode it."""
        try:
            answer = self.client("sts").decode_authorization_message(EncodedMessage=details)
        except (BotoCoreError, ClientError, *UNREADABLE):
            return None
        return f"Decoded: {safe(answer.get('DecodedMessage'), LONGEST_MESSAGE)}"

    def identify(self) -> Caller:
        """The owner of the credentials (STS GetCallerIdentity), asked for once."""
        if self._caller is None:
            self.check_connection_exists()
            answer = self.call("sts", "get_caller_identity", what="identify the caller") or {}
            arn = str(answer.get("Arn", "")).split(":")
            self._caller = Caller(
                safe(answer.get("Account"), 40), self.region, safe(arn[1], 40) if len(arn) > 1 else "aws"
            )
        return self._caller

    def close(self) -> None:
        """Close the clients' connections."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _cannot(self, what: str) -> str:
        account = f"account {self._caller.account}, " if self._caller else ""
        region = self.region_name or "of the environment"
        return f"Cannot {what} ({account}Region {region}, connection {self.aws_conn_id!r})"
