"""A Nessus scanner on EC2: the instance that links itself to Tenable."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import conf, fail_fast
from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.identifiers import shown
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.links.nessus_ec2 import XCOM_KEY, NessusInstanceLink, instance_url
from airflow_provider_tenable.operators.nessus_aws import AWS_FIELDS, NessusAwsTask, key_source, link_host
from airflow_provider_tenable.operators.nessus_prerequisites import NessusAwsPrerequisitesOperator
from airflow_provider_tenable.triggers.nessus_ec2 import NessusInstanceTrigger
from airflow_provider_tenable.triggers.tenable import SHORTEST_POLL_INTERVAL

if TYPE_CHECKING:
    from airflow_provider_tenable.scan.instances import Instance, Launch


class NessusCreateScannerOperator(NessusAwsTask):
    """Launch an EC2 instance of the Nessus image that links itself to Tenable, once, and wait until EC2's checks pass.

    An instance that carries the tag ``tenable:scanner`` with this name is adopted instead, such as the one of an
    earlier try. The linking key is read from Tenable, stored in SSM (SecureString) or Secrets Manager, and read there
    by the instance with its own role; it is never part of the user data. The root volume is encrypted, and the
    instance metadata service requires tokens (IMDSv2).

    The result (XCom) is ``{"instance_id", "name", "region", "account", "private_ip", "image_id", "created",
    "launched_at"}``, which :class:`~airflow_provider_tenable.sensors.tenable_scanners.TenableScannerSensor` and
    :class:`~airflow_provider_tenable.operators.nessus_terminate.NessusTerminateScannerOperator` accept as ``scanner``.

    :param name: the scanner's name in Tenable, also the instance's tag ``Name`` (templated).
    :param image: ``ami-...``, ``ssm:/path`` or ``product_code:CODE`` (templated).
    :param instance_type: EC2's instance type (templated).
    :param prerequisites: the result of :class:`NessusAwsPrerequisitesOperator`; the next four override it (templated).
    :param instance_profile: the instance profile, whose role may read the linking key (templated).
    :param security_group_ids: security groups (templated).
    :param key_name: key pair (templated).
    :param subnet_id: subnet (templated).
    :param volume_gb: size of the root volume (templated).
    :param linking_key: where the machine reads the linking key: ``parameter:/path`` or ``secret:name``; ``{name}``
        becomes the scanner's name (templated).
    :param store_key: write the key there first. False: something else did.
    :param link_host: ``host`` or ``host:port`` that the scanner links to. Default: by the host of the Tenable
        connection (cloud, FedRAMP, China) (templated).
    :param aws_scanner: link with ``--aws-scanner`` (templated).
    :param update_os: update the image's packages first (templated).
    :param proxy: ``{"host", "port", "user", "password"}``, the scanner's proxy; the password as ``secret:name`` or
        ``parameter:/path`` (templated).
    :param mode: ``link``, or ``register`` for a stand-alone Nessus: then ``linking_key`` holds an activation code, and
        ``store_key`` must be False.
    :param user_data: used as it is, instead of the script (templated).
    :param metadata_tokens: ``required`` (IMDSv2) or ``optional``.
    :param tags: further tags (templated).
    :param run_instance_kwargs: further arguments of RunInstances (templated).
    :param wait_for_completion: wait for EC2's status checks.
    :param waiter_delay: seconds between two polls; at least 10 if the task is deferred.
    :param waiter_max_attempts: how many polls.
    :param terminate_on_failure: terminate an instance that this task has launched if it does not pass the checks.
    :param terminate_on_kill: terminate an instance that this try has launched if the task is stopped. By default it
        stays, and the next try adopts it.
    :param dry_run: only look for the image, and ask EC2 whether the launch would be allowed.
    :param deferrable: wait in the triggerer, without a worker slot. Default ``[operators] default_deferrable``.
    :param tenable_conn_id: connection of type ``tenable`` (templated).
    """

    template_fields: Sequence[str] = (
        "name",
        "image",
        "instance_type",
        "prerequisites",
        "instance_profile",
        "security_group_ids",
        "key_name",
        "subnet_id",
        "volume_gb",
        "linking_key",
        "link_host",
        "aws_scanner",
        "update_os",
        "proxy",
        "user_data",
        "tags",
        "run_instance_kwargs",
        "tenable_conn_id",
        *AWS_FIELDS,
    )
    template_fields_renderers = {
        "user_data": "bash",
        "prerequisites": "json",
        "proxy": "json",
        "tags": "json",
        "run_instance_kwargs": "json",
    }
    operator_extra_links = (NessusInstanceLink(),)
    #: What this try has launched, for :meth:`on_kill`.
    _launched: str | None = None

    def __init__(
        self,
        *,
        name: str,
        image: str,
        instance_type: str = "m5.xlarge",
        prerequisites: dict[str, Any] | None = None,
        instance_profile: str | None = None,
        security_group_ids: Sequence[str] | None = None,
        key_name: str | None = None,
        subnet_id: str | None = None,
        volume_gb: int = 40,
        linking_key: str | None = None,
        store_key: bool = True,
        link_host: str | None = None,
        aws_scanner: bool = False,
        update_os: bool = True,
        proxy: dict[str, Any] | None = None,
        mode: str = "link",
        user_data: str | None = None,
        metadata_tokens: str = "required",
        tags: dict[str, str] | None = None,
        run_instance_kwargs: dict[str, Any] | None = None,
        wait_for_completion: bool = True,
        waiter_delay: float = 15,
        waiter_max_attempts: int = 40,
        terminate_on_failure: bool = False,
        terminate_on_kill: bool = False,
        dry_run: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        tenable_conn_id: str = TenableHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.image = image
        self.instance_type = instance_type
        self.prerequisites = prerequisites
        self.instance_profile = instance_profile
        self.security_group_ids = security_group_ids
        self.key_name = key_name
        self.subnet_id = subnet_id
        self.volume_gb = volume_gb
        self.linking_key = linking_key
        self.store_key = store_key
        self.link_host = link_host
        self.aws_scanner = aws_scanner
        self.update_os = update_os
        self.proxy = proxy
        self.mode = mode
        self.user_data = user_data
        self.metadata_tokens = metadata_tokens
        self.tags = tags
        self.run_instance_kwargs = run_instance_kwargs
        self.wait_for_completion = wait_for_completion
        self.waiter_delay = waiter_delay
        self.waiter_max_attempts = waiter_max_attempts
        self.terminate_on_failure = terminate_on_failure
        self.terminate_on_kill = terminate_on_kill
        self.dry_run = dry_run
        self.deferrable = deferrable
        self.tenable_conn_id = tenable_conn_id

    @cached_property
    def tenable_hook(self) -> TenableHook:
        """The hook of this task's Tenable connection."""
        return TenableHook(self.tenable_conn_id)

    def execute(self, context: Any) -> dict[str, Any]:
        """Adopt the scanner's instance, or launch it."""
        from airflow_provider_tenable.scan import instances
        from airflow_provider_tenable.scan.bootstrap import check_name

        with fail_fast(), closing(self.hook) as hook, closing(self.tenable_hook):
            check_name(self.name)
            hook.identify()
            instance = instances.find(hook, self.name)
            created = instance is None
            if instance is None:
                instance = self._launch(context)
                if self.dry_run or instance is None:
                    return {}
                self._launched = instance.id
                self.log.info("Launched instance %s for scanner %s.", instance.id, self.name)
            else:
                self.log.info("Instance %s is scanner %s already: adopted.", instance.id, self.name)
            deadline = time.time() + self.waiter_delay * self.waiter_max_attempts
            return self._wait(context, instance.id, created=created, deadline=deadline)

    def execute_complete(
        self, context: Any, event: Any = None, instance_id: str = "", created: bool = False, deadline: float = 0.0
    ) -> dict[str, Any]:
        """Resume after the trigger has fired. Its event is only a wake-up call: the instance is polled again."""
        with fail_fast(), closing(self.hook) as hook:
            hook.identify()
            return self._wait(context, instance_id, created=created, deadline=deadline)

    def on_kill(self) -> None:
        """Terminate the instance that this try has launched, if ``terminate_on_kill`` says so."""
        if self._launched and self.terminate_on_kill:
            self.log.info("The task was stopped: terminating instance %s.", self._launched)
            from airflow_provider_tenable.scan import instances

            instances.terminate(self.hook, self._launched)

    def _launch(self, context: Any) -> Instance | None:
        from airflow_provider_tenable.scan import instances

        wanted = self._wanted()
        ti = context.get("ti")
        task = (getattr(ti, "dag_id", ""), getattr(ti, "run_id", ""), self.task_id, getattr(ti, "map_index", -1))
        token = instances.client_token(*task, self.name)
        if self.dry_run:
            self.hook.call(
                "ec2",
                "run_instances",
                what=f"launch the instance of scanner {self.name}",
                tolerate=("DryRunOperation",),
                DryRun=True,
                **wanted.arguments(),
            )
            self.log.info("Dry run: would launch %s with image %s.", wanted.instance_type, wanted.image)
            return None
        if self.store_key and self.mode == "link" and self.user_data is None:
            self._store_key()
        fresh = instances.client_token(*task, self.name, getattr(ti, "try_number", 0))
        return instances.launch(self.hook, wanted, token=token, fresh_token=fresh)

    def _store_key(self) -> None:
        from airflow_provider_tenable.scan import key_store

        source = key_source(self.linking_key, self.name)
        stored = key_store.put(self.hook, source, self.tenable_hook.linking_key(), name=self.name, tags=self.tags or {})
        self.log.info("%s the linking key in %s.", "Stored" if stored.changed else "Found", source)

    def _wanted(self) -> Launch:
        from airflow_provider_tenable.scan import images
        from airflow_provider_tenable.scan.bootstrap import check_user_data
        from airflow_provider_tenable.scan.instances import Launch

        made = self.prerequisites or {}
        group = made.get("security_group_id")
        user_data = self._script() if self.user_data is None else check_user_data(self.user_data)
        further = dict(self.run_instance_kwargs or {})
        if unusable := {"MinCount", "MaxCount", "ClientToken", "UserData", "DryRun"} & further.keys():
            raise ConfigurationError(f"run_instance_kwargs cannot contain {', '.join(sorted(unusable))}.")
        image = images.image_id(self.hook, self.image)
        return Launch(
            name=self.name,
            image=image,
            user_data=user_data,
            instance_type=self.instance_type,
            subnet_id=self.subnet_id or None,
            security_group_ids=list(self.security_group_ids or ([group] if group else [])),
            key_name=self.key_name or made.get("key_name") or None,
            instance_profile=self.instance_profile or made.get("instance_profile") or None,
            root_device=images.root_device(self.hook, image),
            volume_gb=int(self.volume_gb),
            metadata_tokens=self.metadata_tokens,
            tags={"airflow:dag_id": self.dag_id, "airflow:task_id": self.task_id, **(self.tags or {})},
            further=further,
        )

    def _script(self) -> str:
        from airflow_provider_tenable.scan.bootstrap import Bootstrap, Proxy
        from airflow_provider_tenable.scan.secret_source import SecretSource

        if not (self.instance_profile or (self.prerequisites or {}).get("instance_profile")):
            raise ConfigurationError(
                f"Scanner {safe(self.name, 100)} has no instance profile, so its machine could not read the linking "
                "key. Give prerequisites or instance_profile."
            )
        host, port = None, 443
        if self.mode == "link":
            host, port = link_host(self.tenable_hook.connection_arguments["url"], self.link_host)
        proxy = None
        if self.proxy:
            if not isinstance(self.proxy, dict) or not {"host", "port"} <= self.proxy.keys() <= {
                "host",
                "port",
                "user",
                "password",
            }:
                raise ConfigurationError(
                    "proxy must be an object with host and port, and optionally user and password (secret:name)."
                )
            password = self.proxy.get("password")
            proxy = Proxy(
                host=self.proxy["host"],
                port=self.proxy["port"],
                user=self.proxy.get("user"),
                password=SecretSource.parse(password) if password else None,
            )
        return Bootstrap(
            name=self.name,
            secret=key_source(self.linking_key, self.name),
            region=self.hook.region,
            mode="register" if self.mode == "register" else "link",
            host=host,
            port=port,
            aws_scanner=_flag(self.aws_scanner, "aws_scanner"),
            update_os=_flag(self.update_os, "update_os"),
            proxy=proxy,
        ).user_data()

    def _wait(self, context: Any, instance_id: str, *, created: bool, deadline: float) -> dict[str, Any]:
        from airflow_provider_tenable.scan import instances

        try:
            while self.wait_for_completion and not instances.is_ready(self.hook, instance_id):
                if time.time() >= deadline:
                    raise TemporaryError(
                        f"Instance {instance_id} of scanner {self.name} has not passed EC2's status checks in time. "
                        "A retry adopts it and waits again."
                    )
                if self.deferrable:
                    self._defer(instance_id, created=created, deadline=deadline)
                time.sleep(self.waiter_delay)
        except (TemporaryError, ConfigurationError):
            if created and self.terminate_on_failure:
                self.log.warning("Terminating instance %s, as terminate_on_failure says.", instance_id)
                instances.terminate(self.hook, instance_id)
            raise
        return self._result(context, instance_id, created=created)

    def _defer(self, instance_id: str, *, created: bool, deadline: float) -> None:
        self.defer(
            trigger=NessusInstanceTrigger(
                aws_conn_id=self.aws_conn_id or None,
                region_name=self.region_name or None,
                verify=self.verify,
                botocore_config=self.botocore_config,
                instance_id=instance_id,
                poll_interval=max(self.waiter_delay, SHORTEST_POLL_INTERVAL),
                deadline=deadline,
            ),
            method_name="execute_complete",
            kwargs={"instance_id": instance_id, "created": created, "deadline": deadline},
        )

    def _result(self, context: Any, instance_id: str, *, created: bool) -> dict[str, Any]:
        from airflow_provider_tenable.scan import instances

        instance = instances.describe(self.hook, instance_id)
        if instance is None:
            raise TemporaryError(f"Instance {instance_id} was launched, and EC2 does not show it yet: retry.")
        url = instance_url(instance_id=instance_id, region=self.hook.region)
        if url and context.get("ti") is not None:
            context["ti"].xcom_push(key=XCOM_KEY, value=url)
        return {
            "instance_id": instance.id,
            "name": self.name,
            "region": self.hook.region,
            "account": self.hook.identify().account,
            "private_ip": instance.private_ip,
            "image_id": instance.image,
            "created": created,
            "launched_at": instance.launched,
        }


def _flag(value: object, name: str) -> bool:
    """A boolean that may come from a template."""
    known = {"true": True, "false": False}
    found = known.get(str(value).strip().lower())
    if found is None:
        raise ConfigurationError(f"{name} is {shown(value)}; it must be true or false.")
    return found


__all__ = ["NessusAwsPrerequisitesOperator", "NessusCreateScannerOperator"]
