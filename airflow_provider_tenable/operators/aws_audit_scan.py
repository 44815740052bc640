"""A scan that audits an AWS account (Audit Cloud Infrastructure)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import fail_fast
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.operators.tenable_scans import TenableCreateScanOperator

if TYPE_CHECKING:
    from airflow_provider_tenable.scan.audit_template import AuditFile, AuditTemplate
    from airflow_provider_tenable.scan.audited_accounts import Audited
    from airflow_provider_tenable.scan.definition import Definition
    from airflow_provider_tenable.tenable_vm.credentials import Credential
    from airflow_provider_tenable.tenable_vm.scans import Scan

#: The longest custom audit file, in bytes. Those of Tenable have some hundred kilobytes.
LONGEST_AUDIT_FILE = 10 * 1024 * 1024
#: What an audit scans, where Tenable asks for a target: the scanner itself, from which AWS is called.
_LOCAL = "127.0.0.1"
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\.audit", re.ASCII)


class TenableAwsAuditScanOperator(TenableCreateScanOperator):
    """Create the scan that audits an AWS account, or update the one that an earlier run of this task created.

    Regions and audit files are looked up in Tenable's template whenever the task runs, so a pattern such as
    ``CIS_Amazon_Web_Services_Foundations_*_L1`` follows the benchmark's new versions. The account is recorded in the
    staging area, since Tenable's results do not name it. The result (XCom) is that of
    :class:`~airflow_provider_tenable.operators.tenable_scans.TenableCreateScanOperator`, and ``account``,
    ``partition``, ``regions``, ``audits``.

    .. seealso:: https://docs.tenable.com/nessus/compliance-checks-reference/Content/AmazonWebServices.htm

    Of the inherited arguments, ``name``, ``scanner``, ``network``, ``folder``, ``schedule``, ``description``,
    ``settings``, ``if_exists``, ``adopt`` and ``dry_run`` are of use here; ``targets`` only where Tenable asks for a
    target, and the operator then takes 127.0.0.1 by itself.

    :param credential: result of :class:`~airflow_provider_tenable.operators.aws_audit.TenableRotateAuditKeyOperator`,
        or name or uuid of a managed credential (templated).
    :param regions: Regions to audit, or ``all`` that the template knows (templated).
    :param audits: patterns of audit files, without the number in front and the ending (templated).
    :param account: the audited account; needed if ``credential`` is a name (templated).
    :param latest: of each audit file, take only the newest version that a pattern matches.
    :param variables: ``{pattern: {variable: value}}`` over the template's defaults (templated).
    :param custom_audits: URIs of audit files of your own, which are uploaded (templated).
    :param debug: switch Tenable's plugin debugging on in the scan.
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    """

    template_fields: Sequence[str] = (
        *TenableCreateScanOperator.template_fields,
        "credential",
        "regions",
        "account",
        "variables",
        "custom_audits",
        "staging_path",
    )
    template_fields_renderers = {
        **TenableCreateScanOperator.template_fields_renderers,
        "credential": "json",
        "regions": "json",
        "variables": "json",
        "custom_audits": "json",
    }

    def __init__(
        self,
        *,
        credential: dict[str, Any] | str,
        regions: list[str] | str,
        audits: list[str] | None = None,
        account: str | None = None,
        latest: bool = True,
        variables: dict[str, dict[str, Any]] | None = None,
        custom_audits: list[str] | None = None,
        debug: bool = False,
        staging_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.credential = credential
        self.regions = regions
        self.audits = audits
        self.account = account
        self.latest = latest
        self.variables = variables
        self.custom_audits = custom_audits
        self.debug = debug
        self.staging_path = staging_path

    # Set before anything else is done.
    _plan: _Plan

    def execute(self, context: Any) -> dict[str, Any]:
        """Create or update the scan, and record which account it audits."""
        from airflow_provider_tenable.exceptions import TenableRequestError
        from airflow_provider_tenable.scan.audited_accounts import record

        with fail_fast(), closing(self.hook):
            self._check_inherited()
            self._plan = self._planned()
            try:
                made = self._create_or_update(context)
            except TenableRequestError as error:
                # Whether the API wants a target, which the template does not have, is not documented.
                if self.targets or "target" not in str(error).lower():
                    raise
                self.log.info("Tenable asks for a target (%s): trying again with %s.", error, _LOCAL)
                self.targets = [_LOCAL]
                made = self._create_or_update(context)
            audited = self._plan.audited
            if made["schedule_uuid"]:
                record(self._staging, made["schedule_uuid"], audited)
            return {
                **made,
                "account": audited.account,
                "partition": audited.partition,
                "regions": list(audited.regions),
                "audits": list(audited.audits),
            }

    @property
    def _staging(self) -> str:
        from airflow_provider_tenable.staging.location import default_staging_uri

        return self.staging_path or default_staging_uri()

    def _check_inherited(self) -> None:
        from airflow_provider_tenable.scan.audit_template import CLOUD_AUDIT

        unused = {"credentials": self.credentials, "tag_targets": self.tag_targets, "policy": self.policy}
        if given := [name for name, value in unused.items() if value]:
            raise ConfigurationError(f"{given[0]} has no meaning for an AWS audit. Leave it out.")
        if self.template not in ("basic", CLOUD_AUDIT):
            raise ConfigurationError(f"template is {quoted(self.template, 60)}; an AWS audit has {CLOUD_AUDIT!r}.")
        self.template = CLOUD_AUDIT

    def _planned(self) -> _Plan:
        from airflow_provider_tenable.scan.audit_template import AuditTemplate
        from airflow_provider_tenable.scan.audited_accounts import Audited

        scans = self.hook.scans
        managed = self._credential()
        account, partition = self._account(managed)
        found = scans.template(self.template)
        template = AuditTemplate.parse(scans.template_details(found))
        regions = template.regions(_listed(self.regions), partition)
        files = template.files(_listed(self.audits) or (), latest=self.latest)
        return _Plan(
            template=template,
            template_uuid=found.uuid,
            managed=managed,
            files=files,
            audited=Audited(
                account=account,
                partition=partition,
                regions=tuple(regions),
                audits=(*(file.id for file in files), *map(_file_name, self.custom_audits or ())),
                credential=managed.uuid,
                name=self.name,
            ),
        )

    def _credential(self) -> Credential:
        from airflow_provider_tenable.scan.audit_template import CATEGORY

        given = self.credential
        wanted = given.get("credential_uuid") if isinstance(given, Mapping) else given
        if not isinstance(wanted, str) or not wanted:
            raise ConfigurationError(f"credential is {quoted(given, 100)}, which names no managed credential.")
        managed = self.hook.credentials.credential(wanted)
        if managed.type != CATEGORY:
            raise ConfigurationError(
                f"The managed credential {quoted(managed.name, 100)} is of type {quoted(managed.type, 60)}, not "
                f"{CATEGORY!r}. An AWS audit needs an access key of an IAM user."
            )
        return managed

    def _account(self, managed: Credential) -> tuple[str, str]:
        """The account and its partition: what STS has said when the key was made, and never a guess."""
        from airflow_provider_tenable.aws import ACCOUNT
        from airflow_provider_tenable.scan.audit_key import account_in

        given = self.credential if isinstance(self.credential, Mapping) else {}
        named = given.get("account") or account_in(managed.description)
        account = self.account or named
        if not isinstance(account, str) or not ACCOUNT.fullmatch(account):
            raise ConfigurationError(
                f"account is {quoted(account, 40)}: it is not known whose key the managed credential "
                f"{quoted(managed.name, 100)} has. Give account, or use the result of TenableRotateAuditKeyOperator."
            )
        if named and named != account:
            raise ConfigurationError(
                f"The managed credential {quoted(managed.name, 100)} has a key of account {named}, and account is "
                f"{account}. Correct one of them."
            )
        return account, str(given.get("partition") or self._partition())

    def _partition(self) -> str:
        """The partition of the first Region, if the credential does not say it."""
        from airflow_provider_tenable.aws import partition_of

        regions = _listed(self.regions)
        return partition_of(str(regions[0])) if isinstance(regions, list) and regions else "aws"

    def _definition(self) -> Definition:
        from airflow_provider_tenable.scan.audit_template import audits_of
        from airflow_provider_tenable.scan.definition import Definition

        plan = self._plan
        scans = self.hook.scans
        uploaded = [] if self._dry_run else [self._upload(path) for path in self.custom_audits or ()]
        names = [_file_name(path) for path in self.custom_audits or ()] if self._dry_run else uploaded
        audits = audits_of(plan.files, self.variables or {}, names, plan.audited.account)
        for warning in audits.warnings:
            self.log.warning("%s", warning)
        self.log.info(
            "Account %s: %s in %s.",
            plan.audited.account,
            ", ".join(plan.audited.audits),
            ", ".join(plan.audited.regions),
        )
        return Definition(
            name=str(self.name),
            template_uuid=plan.template_uuid,
            description=self.description,
            targets=self.targets or (),
            settings={
                **plan.template.settings(plan.audited.regions),
                "enable_plugin_debugging": "yes" if self.debug else "no",
                **(self.settings or {}),
            },
            credentials=[plan.managed],
            audits=audits.body,
            scanner_id=self._scanner_id(),
            network_uuid=self.network,
            folder_id=scans.folder(self.folder).id if self.folder else None,
            schedule=self.schedule,
        )

    def _upload(self, path: str) -> str:
        from io import BytesIO

        from airflow_provider_tenable.staging.files import content_of
        from airflow_provider_tenable.staging.location import open_path

        try:
            content = content_of(open_path(path))
        except OSError as error:
            raise ConfigurationError(f"Cannot read the audit file {quoted(path)}: {type(error).__name__}.") from None
        if not content or len(content) > LONGEST_AUDIT_FILE:
            raise ConfigurationError(
                f"The audit file {quoted(path)} has {len(content)} bytes; it must have 1 to {LONGEST_AUDIT_FILE}."
            )
        return self.hook.scans.upload(_file_name(path), BytesIO(content))

    def _existing(self) -> Scan | None:
        from airflow_provider_tenable.scan.audited_accounts import check_account

        found = super()._existing()
        if found is not None:
            # Before the scan is changed: its earlier results are of that account.
            check_account(self._staging, found.schedule_uuid, self._plan.audited.account)
        return found


@dataclass(frozen=True)
class _Plan:
    """What the scan will be."""

    template: AuditTemplate
    template_uuid: str
    managed: Credential
    files: Sequence[AuditFile]
    audited: Audited


def _listed(value: Any) -> Any:
    """A single text as a list of it, but for ``all``."""
    return [value] if isinstance(value, str) and value != "all" else value


def _file_name(path: object) -> str:
    name = str(path).rstrip("/").rpartition("/")[2]
    if not _FILE_NAME.fullmatch(name):
        raise ConfigurationError(
            f"{quoted(path)} cannot be the path of an audit file: its name must end with .audit, and have letters, "
            "digits, dots, dashes and underscores only."
        )
    return name
