"""The linking key in AWS, and scanners on machines that run already."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from typing import Any

from airflow_provider_tenable._compat import fail_fast
from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.identifiers import shown
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.operators.nessus_aws import AWS_FIELDS, NessusAwsTask, key_source, link_host

#: Seconds between two looks at a command.
PAUSE_SECONDS = 10.0
#: How a command of SSM can end.
_ENDED = frozenset({"Success", "Failed", "TimedOut", "Cancelled", "Undeliverable", "Terminated"})


class TenableStoreLinkingKeyOperator(NessusAwsTask):
    """Read the linking key from Tenable, and store it in SSM (SecureString) or Secrets Manager for machines to read.

    Nothing is written if it is there already. The result (XCom) is ``{"parameter", "version", "changed"}``; after a new
    key was generated in Tenable, ``changed`` shows that machines have been reading the old one.

    :param name: the scanner's name (templated).
    :param linking_key: where to store it: ``parameter:/path`` or ``secret:name``; ``{name}`` becomes the scanner's name
        (templated).
    :param tags: tags of a new parameter or secret (templated).
    :param tenable_conn_id: connection of type ``tenable`` (templated).
    """

    template_fields: Sequence[str] = ("name", "linking_key", "tags", "tenable_conn_id", *AWS_FIELDS)
    template_fields_renderers = {"tags": "json"}

    def __init__(
        self,
        *,
        name: str,
        linking_key: str | None = None,
        tags: dict[str, str] | None = None,
        tenable_conn_id: str = TenableHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.linking_key = linking_key
        self.tags = tags
        self.tenable_conn_id = tenable_conn_id

    @cached_property
    def tenable_hook(self) -> TenableHook:
        """The hook of this task's Tenable connection."""
        return TenableHook(self.tenable_conn_id)

    def execute(self, context: Any) -> dict[str, Any]:
        """Store the key, unless it is there."""
        from airflow_provider_tenable.scan import key_store

        with fail_fast(), closing(self.hook) as hook, closing(self.tenable_hook) as tenable:
            source = key_source(self.linking_key, self.name)
            hook.identify()
            stored = key_store.put(hook, source, tenable.linking_key(), name=self.name, tags=self.tags or {})
            self.log.info("The linking key in %s %s.", source, "has changed" if stored.changed else "is current")
            return {"parameter": str(source), "version": stored.version, "changed": stored.changed}


class NessusLinkScannerOperator(NessusAwsTask):
    """Link a Nessus on machines that run already, with SSM Run Command, or unlink it.

    The machines read the linking key themselves, with their own role, from where
    :class:`TenableStoreLinkingKeyOperator` has stored it. They need the SSM agent and the AWS command line. Running the
    task again changes nothing on a machine that is linked. The result (XCom) is ``{"instances": {id: "linked"}}``.

    :param instance_ids: the machines (templated).
    :param name: the scanner's name in Tenable; with several machines, each is called ``{name}-{instance id}``
        (templated).
    :param linking_key: where the machines read the linking key: ``parameter:/path`` or ``secret:name`` (templated).
    :param link_host: as of :class:`~airflow_provider_tenable.operators.nessus_ec2.NessusCreateScannerOperator`
        (templated).
    :param aws_scanner: link with ``--aws-scanner``.
    :param unlink: unlink instead.
    :param command_timeout: seconds that a machine may take.
    :param tenable_conn_id: connection of type ``tenable`` (templated).
    """

    template_fields: Sequence[str] = (
        "instance_ids",
        "name",
        "linking_key",
        "link_host",
        "tenable_conn_id",
        *AWS_FIELDS,
    )

    def __init__(
        self,
        *,
        instance_ids: Sequence[str],
        name: str = "",
        linking_key: str | None = None,
        link_host: str | None = None,
        aws_scanner: bool = False,
        unlink: bool = False,
        command_timeout: float = 900,
        tenable_conn_id: str = TenableHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.instance_ids = instance_ids
        self.name = name
        self.linking_key = linking_key
        self.link_host = link_host
        self.aws_scanner = aws_scanner
        self.unlink = unlink
        self.command_timeout = command_timeout
        self.tenable_conn_id = tenable_conn_id

    def execute(self, context: Any) -> dict[str, Any]:
        """Send the commands, and wait for all machines."""
        from airflow_provider_tenable.scan.instances import checked_id

        with fail_fast(), closing(self.hook) as hook:
            given = [self.instance_ids] if isinstance(self.instance_ids, str) else list(self.instance_ids or ())
            ids = [checked_id(each) for each in given]
            if not ids:
                raise ConfigurationError(f"instance_ids is {shown(self.instance_ids)}; it must name a machine.")
            commands = {each: self._commands(each, single=len(ids) == 1) for each in ids}
            hook.identify()
            sent = {each: self._send(each, lines) for each, lines in commands.items()}
            deadline = time.time() + self.command_timeout
            ends = {each: self._end_of(each, command, deadline) for each, command in sent.items()}
            if failed := {each: words for each, words in ends.items() if words not in ("linked", "unlinked")}:
                told = "; ".join(f"{each}: {words}" for each, words in failed.items())
                raise TemporaryError(
                    f"{len(failed)} of {len(ids)} machines could not be {'un' if self.unlink else ''}linked: {told}. "
                    "Their /var/log/tenable-bootstrap.log says more. A retry leaves those that are linked as they are."
                )
            return {"instances": ends}

    def _commands(self, instance_id: str, *, single: bool) -> list[str]:
        from airflow_provider_tenable.scan.bootstrap import Bootstrap, unlink_commands

        if self.unlink:
            return unlink_commands()
        with closing(TenableHook(self.tenable_conn_id)) as tenable:
            host, port = link_host(tenable.connection_arguments["url"], self.link_host)
        return Bootstrap(
            name=self.name if single else f"{self.name}-{instance_id}",
            secret=key_source(self.linking_key, self.name),
            region=self.hook.region,
            host=host,
            port=port,
            aws_scanner=self.aws_scanner,
            update_os=False,
        ).commands()

    def _send(self, instance_id: str, lines: list[str]) -> str:
        answer = self.hook.call(
            "ssm",
            "send_command",
            what=f"send a command to instance {instance_id}",
            InstanceIds=[instance_id],
            DocumentName="AWS-RunShellScript",
            Comment="Link a Nessus scanner to Tenable" if not self.unlink else "Unlink a Nessus scanner",
            Parameters={"commands": lines, "executionTimeout": [str(int(self.command_timeout))]},
        )
        command = ((answer or {}).get("Command") or {}).get("CommandId")
        if not command:
            raise TemporaryError(f"SSM's response about instance {instance_id} names no command.")
        return str(command)

    def _end_of(self, instance_id: str, command: str, deadline: float) -> str:
        """What came of a command: ``linked``, ``unlinked``, or what went wrong, in words."""
        from airflow_provider_tenable.scan.bootstrap import MARK

        while True:
            answer = self.hook.call(
                "ssm",
                "get_command_invocation",
                what=f"look at the command on instance {instance_id}",
                # For some seconds after it was sent.
                tolerate=("InvocationDoesNotExist",),
                CommandId=command,
                InstanceId=instance_id,
            )
            status = str((answer or {}).get("Status", "Pending"))
            if status in _ENDED:
                break
            if time.time() >= deadline:
                raise TemporaryError(
                    f"The command on instance {instance_id} is {safe(status, 40)} after {self.command_timeout:.0f} s. "
                    "Does its SSM agent run, and does its role allow SSM?"
                )
            time.sleep(PAUSE_SECONDS)
        output = str((answer or {}).get("StandardOutputContent") or "").splitlines()
        said = [line.split(MARK, 1)[1].strip() for line in output if MARK in line]
        if said and said[-1] in ("linked", "unlinked"):
            return said[-1]
        return safe("; ".join(said[-2:]) or f"{status}, without a word of the script")
