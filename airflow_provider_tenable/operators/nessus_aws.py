"""What the operators of Nessus scanners on EC2 have in common: AWS connection, linking key, and the host to link to."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_tenable._compat import BaseOperator
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import safe

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.nessus_ec2 import NessusEc2Hook
    from airflow_provider_tenable.scan.secret_source import SecretSource

#: Where a scanner's linking key is stored, unless the task says otherwise.
KEY_PARAMETER = "parameter:/tenable/linking-key/{name}"
#: The templated arguments that all tasks with an AWS connection have.
AWS_FIELDS = ("aws_conn_id", "region_name")


def key_source(given: str | None, name: str) -> SecretSource:
    """Where a scanner's linking key is stored.

    :param given: as the user gave it; ``{name}`` becomes the scanner's name, without blanks.
    :raises ConfigurationError: AWS does not allow the name.
    """
    from airflow_provider_tenable.scan.bootstrap import check_name
    from airflow_provider_tenable.scan.secret_source import SecretSource

    return SecretSource.parse((given or KEY_PARAMETER).replace("{name}", check_name(name).replace(" ", "-")))


def link_host(url: str, given: str | None) -> tuple[str | None, int]:
    """Host and port that a scanner links to; None for ``--cloud``.

    :param url: that of the Tenable connection.
    :param given: ``host`` or ``host:port``, as the user gave it.
    :raises ConfigurationError: the connection's host is not one of Tenable's, and none was given.
    """
    from airflow_provider_tenable.scan.bootstrap import LINK_HOSTS

    if given:
        host, mark, port = given.partition(":")
        return host, int(port) if port.isdecimal() else 443 if not mark else 0
    host = urlsplit(url).hostname or ""
    if host not in LINK_HOSTS:
        raise ConfigurationError(
            f"The Tenable connection goes to {safe(host, 100)}, which says nothing about where scanners link to. Give "
            "link_host, such as 'sensor.cloud.tenable.com:443'."
        )
    found = LINK_HOSTS[host]
    return found if found else (None, 443)


class NessusAwsTask(BaseOperator):
    """What the operators of this service have in common: the AWS connection.

    :param aws_conn_id: AWS connection; None or an empty text for the worker's own credentials (templated).
    :param region_name: the Region; default: that of the connection (templated).
    :param verify: whether and how TLS certificates are verified, as for boto3.
    :param botocore_config: configuration of botocore's clients.
    """

    ui_color = "#d5e8f7"

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    @cached_property
    def hook(self) -> NessusEc2Hook:
        """The hook of this task's AWS connection."""
        from airflow_provider_tenable.hooks.nessus_ec2 import NessusEc2Hook

        return NessusEc2Hook(
            aws_conn_id=self.aws_conn_id or None,
            region_name=self.region_name or None,
            verify=self.verify,
            config=self.botocore_config,
        )

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Lineage for the OpenLineage provider: scanners are not data."""
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage([], [])


__all__ = ["AWS_FIELDS", "KEY_PARAMETER", "NessusAwsTask", "key_source", "link_host"]
