"""AWS as an audit by Tenable needs it: the user of an account, its keys, and whose they are."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from airflow_provider_tenable.aws import Caller
from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.hooks.aws_calls import NOT_FROM_AWS, UNREADABLE
from airflow_provider_tenable.hooks.aws_session import ONE_ATTEMPT
from airflow_provider_tenable.hooks.nessus_ec2 import NessusEc2Hook
from airflow_provider_tenable.hooks.tenable_connection import keep_secret

#: AWS's codes for a key that it does not know, or not yet.
_UNKNOWN_KEY = frozenset(
    {
        "InvalidClientTokenId",
        "InvalidAccessKeyId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "AuthFailure",
    }
)
#: IAM has one endpoint per partition, and STS needs some Region.
_ANY_REGION = "us-east-1"


class AuditUserHook(NessusEc2Hook):
    """Calls of IAM and STS in one account.

    :param aws_conn_id: AWS connection; None for the worker's own credentials.
    :param region_name: decides on the partition; default: that of the connection, or us-east-1.
    :param role_name: a role to assume in ``account`` with the connection's credentials.
    :param account: the account of that role.
    :param external_id: the ``sts:ExternalId`` that the role requires.
    """

    @property
    def region(self) -> str:
        """The Region of the calls."""
        return str(self.region_name or self.region_of_connection() or _ANY_REGION)

    def whose_key(self, access_key_id: str, secret: str) -> Caller | None:
        """The owner of an access key, asked for with the key itself; None if AWS does not know it (yet).

        :raises TemporaryError: STS cannot be reached.
        """
        keep_secret(secret, in_bodies=True)
        session = Session(aws_access_key_id=access_key_id, aws_secret_access_key=secret, region_name=self.region)
        client: Any = session.client(
            "sts",
            endpoint_url=self.conn_config.get_service_endpoint_url("sts"),
            config=(self.config or Config()).merge(Config(retries=ONE_ATTEMPT)),
            verify=self.verify,
        )
        try:
            with closing(client):
                answer = client.get_caller_identity()
            return Caller(safe(answer["Account"], 40), self.region, safe(answer["Arn"].split(":")[1], 40))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _UNKNOWN_KEY:
                return None
            raise self.explained(error, "check the new key with STS") from None
        except BotoCoreError as error:
            raise TemporaryError(f"Cannot check the new key with STS: {type(error).__name__}: {safe(error)}.") from None
        except (*UNREADABLE, IndexError):
            raise TemporaryError(f"Cannot check the new key with STS: {NOT_FROM_AWS}.") from None
