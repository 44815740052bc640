"""The user with whose keys Tenable audits an AWS account, and the rotation of its keys."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import fail_fast
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.identifiers import is_external_id, is_role_name, shown
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.operators.nessus_aws import AWS_FIELDS, NessusAwsTask

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.aws_audit import AuditUserHook
    from airflow_provider_tenable.scan.audit_key import Rotation

#: The names that a deployment has unless it says otherwise, as in the CloudFormation template.
DEFAULT_GROUP, DEFAULT_USER = "TenableReadOnly", "TenableAuditor"
#: The templated arguments that lead to an account.
ACCOUNT_FIELDS = (*AWS_FIELDS, "account", "role_name", "external_id")


def credential_name(account: str) -> str:
    """The name of an account's managed credential in Tenable, unless the task says otherwise."""
    return f"AWS {account} audit"


class AwsAccountTask(NessusAwsTask):
    """What the operators of this service have in common: an account, directly or through a role.

    :param account: the account's id. With ``role_name`` it is needed; otherwise it is compared with the account that
        the connection leads to (templated).
    :param role_name: name of a role in the account that is assumed with the connection's credentials (templated).
    :param external_id: the ``sts:ExternalId`` that the role requires (templated).
    """

    def __init__(
        self,
        *,
        account: str | None = None,
        role_name: str | None = None,
        external_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.role_name = role_name
        self.external_id = external_id

    @cached_property
    def hook(self) -> AuditUserHook:
        """The hook of this task's AWS connection."""
        from airflow_provider_tenable.hooks.aws_audit import AuditUserHook

        return AuditUserHook(
            aws_conn_id=self.aws_conn_id or None,
            region_name=self.region_name or None,
            verify=self.verify,
            config=self.botocore_config,
            role_name=self.role_name or None,
            account=self.account or None,
            external_id=self.external_id or None,
        )

    def _check_target(self) -> None:
        from airflow_provider_tenable.aws import ACCOUNT

        if self.account and not ACCOUNT.fullmatch(str(self.account)):
            raise ConfigurationError(f"account is {shown(self.account)}, which is not an AWS account id (12 digits).")
        if self.role_name and not is_role_name(self.role_name):
            raise ConfigurationError(f"role_name is {shown(self.role_name)}, which is not the name of an IAM role.")
        if self.role_name and not self.account:
            raise ConfigurationError(f"role_name is {shown(self.role_name)}, of no account. Give account, too.")
        if self.external_id and not is_external_id(self.external_id):
            raise ConfigurationError(f"external_id is {shown(self.external_id)}, which is not an external id.")

    def _check_account(self) -> None:
        """:raises ConfigurationError: the connection leads to another account than the one that is expected."""
        found = self.hook.identify().account
        if self.account and self.account != found:
            raise ConfigurationError(
                f"The AWS connection {self.aws_conn_id!r} leads to account {found}, expected {self.account}. Correct "
                "the connection, role_name, or account."
            )


class TenableAuditUserOperator(AwsAccountTask):
    """Create the IAM user whose keys Tenable audits an AWS account with, and its group, as far as they are missing.

    Running it again changes nothing. What differs from the arguments is reported as drift, and never removed. A user
    without the tag ``tenable:audit-user=true`` is somebody else's, and is not touched. The result (XCom) is
    ``{"account", "partition", "group", "user", "created", "drift"}``.

    .. seealso:: :class:`TenableRotateAuditKeyOperator` gives Tenable a key of the user.

    :param group: name of the group (templated).
    :param user: name of the user (templated).
    :param security_audit: also give the group the policy SecurityAudit (templated).
    :param extra_policies: names or ARNs of further managed policies of the group (templated).
    :param path: path of the group and the user in IAM.
    :param tags: further tags of the user (templated).
    :param permissions_boundary: name or ARN of the policy that bounds the user's permissions (templated).
    :param dry_run: only log what would be created.
    """

    template_fields: Sequence[str] = (
        "group",
        "user",
        "security_audit",
        "extra_policies",
        "tags",
        "permissions_boundary",
        *ACCOUNT_FIELDS,
    )
    template_fields_renderers = {"extra_policies": "json", "tags": "json"}

    def __init__(
        self,
        *,
        group: str = DEFAULT_GROUP,
        user: str = DEFAULT_USER,
        security_audit: bool = False,
        extra_policies: list[str] | None = None,
        path: str = "/",
        tags: dict[str, str] | None = None,
        permissions_boundary: str | None = None,
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.group = group
        self.user = user
        self.security_audit = security_audit
        self.extra_policies = extra_policies
        self.path = path
        self.tags = tags
        self.permissions_boundary = permissions_boundary
        self._dry_run = dry_run

    def execute(self, context: Any) -> dict[str, Any]:
        """Create what is missing."""
        from airflow_provider_tenable.scan.audit_user import READ_ONLY, SECURITY_AUDIT, WantedUser, ensure_user
        from airflow_provider_tenable.scan.aws_calls import DryRun

        with fail_fast(), closing(self.hook) as hook:
            self._check_target()
            self._check_account()
            if not isinstance(self.security_audit, bool):
                raise ConfigurationError(f"security_audit is {shown(self.security_audit)}; it must be true or false.")
            dry = DryRun(hook) if self._dry_run else None
            wanted = WantedUser(
                group=self.group or DEFAULT_GROUP,
                user=self.user or DEFAULT_USER,
                policies=(READ_ONLY, *([SECURITY_AUDIT] if self.security_audit else []), *(self.extra_policies or ())),
                path=self.path,
                tags=self.tags or {},
                permissions_boundary=self.permissions_boundary or None,
            )
            made = ensure_user(dry or hook, wanted)
            for noted in dry.noted if dry else []:
                self.log.info("dry_run: would %s.", noted)
            for drift in made.drift:
                self.log.warning("Account %s: %s. Nothing was removed.", hook.identify().account, drift)
            self.log.info("Account %s: created %s.", hook.identify().account, ", ".join(made.created) or "nothing")
            return {
                "account": hook.identify().account,
                "partition": hook.identify().partition or "aws",
                "group": wanted.group,
                "user": wanted.user,
                "created": [] if dry else made.created,
                "drift": made.drift,
            }


class TenableRotateAuditKeyOperator(AwsAccountTask):
    """Create a new access key of the audit's user, and put it into a managed credential in Tenable, which all scans use
    that name it.

    The key goes from IAM to Tenable within this task: it is in no XCom, template, file or log. Tenable has one valid
    key at every moment, also if the task is killed: its retry finishes what was begun. The result (XCom) is
    ``{"account", "partition", "user", "credential", "credential_uuid", "key_suffix", "rotated", "old_key"}``, which
    :class:`~airflow_provider_tenable.operators.aws_audit_scan.TenableAwsAuditScanOperator` accepts as ``credential``.

    .. seealso:: https://developer.tenable.com/reference/credentials-update

    :param user: name of the user (templated).
    :param credential: name of the managed credential. Default: ``AWS {account} audit`` (templated).
    :param max_age_days: keep a key that is younger; 0: a new key in each run (templated).
    :param keep_old: what becomes of the key that was replaced: ``until_next`` (it stays active until the next rotation,
        so that a running audit can finish), ``deactivate`` or ``delete``.
    :param adopt: also replace a credential that this operator has not written.
    :param tenable_conn_id: connection of type ``tenable`` (templated).
    """

    template_fields: Sequence[str] = ("user", "credential", "max_age_days", "tenable_conn_id", *ACCOUNT_FIELDS)

    def __init__(
        self,
        *,
        user: str = DEFAULT_USER,
        credential: str | None = None,
        max_age_days: float = 0,
        keep_old: str = "until_next",
        adopt: bool = False,
        tenable_conn_id: str = TenableHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.user = user
        self.credential = credential
        self.max_age_days = max_age_days
        self.keep_old = keep_old
        self.adopt = adopt
        self.tenable_conn_id = tenable_conn_id

    @cached_property
    def tenable_hook(self) -> TenableHook:
        """The hook of this task's Tenable connection."""
        return TenableHook(self.tenable_conn_id)

    def execute(self, context: Any) -> dict[str, Any]:
        """Rotate the key, or finish what an earlier attempt has begun."""
        from airflow_provider_tenable.hooks.tenable_connection import keep_secret
        from airflow_provider_tenable.scan.audit_key import as_xcom, rotate

        with fail_fast(), closing(self.hook) as hook, closing(self.tenable_hook) as tenable:
            self._check_target()
            self._check_account()
            wanted = self._rotation(context["ti"])
            rotated = rotate(
                hook,
                tenable.credentials,
                wanted,
                hide=lambda secret: keep_secret(secret, in_bodies=True),
                pause=time.sleep,
            )
            return as_xcom(rotated, hook.identify(), wanted)

    def _rotation(self, ti: Any) -> Rotation:
        from airflow_provider_tenable.scan.audit_key import KEEP_OLD, Rotation

        if self.keep_old not in KEEP_OLD:
            raise ConfigurationError(f"keep_old is {shown(self.keep_old)}; it must be one of {', '.join(KEEP_OLD)}.")
        account = self.hook.identify().account
        # All attempts of the task have it, and no other run. The number of permitted tries changes when a person
        # clears the task, who then wants another key.
        run = json.dumps([ti.dag_id, ti.run_id, ti.task_id, ti.map_index, getattr(ti, "max_tries", 0)])
        return Rotation(
            user=self.user or DEFAULT_USER,
            credential=self.credential or credential_name(account),
            account=self.account or None,
            max_age_days=float(self.max_age_days),
            keep_old=self.keep_old,
            run=hashlib.sha256(run.encode()).hexdigest()[:12],
            adopt=self.adopt,
        )
