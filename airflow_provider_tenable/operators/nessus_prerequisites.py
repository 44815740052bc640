"""What a Nessus scanner on EC2 needs in AWS: a role with an instance profile, a security group, perhaps a key pair."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from airflow_provider_tenable._compat import fail_fast
from airflow_provider_tenable.operators.nessus_aws import AWS_FIELDS, NessusAwsTask, key_source


class NessusAwsPrerequisitesOperator(NessusAwsTask):
    """Create what a scanner needs in AWS, as far as it is missing: instance role and profile, security group, and on
    request a key pair.

    What is there under these names is adopted if it carries the scanner's tag. What differs from the arguments is
    reported, and changed with ``update=True``; ingress rules of others are never removed. The result (XCom) is
    ``{"role", "instance_profile", "security_group_id", "key_name", "created", "differences", "region"}``, which
    :class:`~airflow_provider_tenable.operators.nessus_ec2.NessusCreateScannerOperator` accepts as ``prerequisites``.

    :param name: the scanner's name (templated).
    :param role_policies: names or ARNs of the role's managed policies. Default: AmazonEC2ReadOnlyAccess (templated).
    :param linking_key: where the machine reads the linking key: ``parameter:/path`` or ``secret:name`` (templated).
    :param further_secrets: what else it may read, such as a proxy's password (templated).
    :param subnet_id: the instance's subnet, which decides on the VPC (templated).
    :param vpc_id: the VPC; default: that of the subnet, or the default VPC (templated).
    :param ingress: ``[{"port": 8834, "cidr": "10.0.0.0/8"}]``; a linked scanner needs none (templated).
    :param allow_world: accept ingress from everywhere.
    :param key_pair: name of a key pair to use, or to create (templated).
    :param key_pair_secret: where the private part of a new key pair is stored: ``secret:name`` or ``parameter:/path``
        (templated).
    :param public_key: your own public key, imported as ``key_pair`` instead (templated).
    :param tags: further tags (templated).
    :param update: add what is missing to what is there already.
    :param dry_run: only log what would be created.
    """

    template_fields: Sequence[str] = (
        "name",
        "role_policies",
        "linking_key",
        "further_secrets",
        "subnet_id",
        "vpc_id",
        "ingress",
        "key_pair",
        "key_pair_secret",
        "public_key",
        "tags",
        *AWS_FIELDS,
    )
    template_fields_renderers = {"tags": "json"}

    def __init__(
        self,
        *,
        name: str,
        role_policies: Sequence[str] | None = None,
        linking_key: str | None = None,
        further_secrets: Sequence[str] = (),
        subnet_id: str | None = None,
        vpc_id: str | None = None,
        ingress: Sequence[dict[str, Any]] | None = None,
        allow_world: bool = False,
        key_pair: str | None = None,
        key_pair_secret: str | None = None,
        public_key: str | None = None,
        tags: dict[str, str] | None = None,
        update: bool = False,
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.role_policies = role_policies
        self.linking_key = linking_key
        self.further_secrets = further_secrets
        self.subnet_id = subnet_id
        self.vpc_id = vpc_id
        self.ingress = ingress
        self.allow_world = allow_world
        self.key_pair = key_pair
        self.key_pair_secret = key_pair_secret
        self.public_key = public_key
        self.tags = tags
        self.update = update
        self.dry_run = dry_run

    def execute(self, context: Any) -> dict[str, Any]:
        """Create what is missing."""
        from airflow_provider_tenable.scan import prerequisites
        from airflow_provider_tenable.scan.aws_calls import Aws, DryRun
        from airflow_provider_tenable.scan.secret_source import SecretSource

        with fail_fast(), closing(self.hook) as hook:
            further = [SecretSource.parse(text) for text in self.further_secrets or ()]
            policies = prerequisites.USUAL_POLICIES if self.role_policies is None else self.role_policies
            wanted = prerequisites.Wanted(
                name=self.name,
                secrets=[key_source(self.linking_key, self.name), *further],
                role_policies=policies,
                vpc_id=self.vpc_id or None,
                subnet_id=self.subnet_id or None,
                ingress=self.ingress or (),
                allow_world=self.allow_world,
                key_pair=self.key_pair or None,
                key_pair_secret=SecretSource.parse(self.key_pair_secret) if self.key_pair_secret else None,
                public_key=self.public_key or None,
                tags=self.tags or {},
                update=self.update,
            )
            hook.check_connection_exists()
            aws: Aws = DryRun(hook) if self.dry_run else hook
            made = prerequisites.ensure(aws, wanted)
            for noted in aws.noted if isinstance(aws, DryRun) else ():
                self.log.info("Dry run: would %s.", noted)
            for difference in made.differences:
                self.log.warning("%s. update=True adds what is missing.", difference)
            self.log.info("Created: %s.", ", ".join(made.created) or "nothing, everything was there")
            return {
                "role": made.role,
                "instance_profile": made.instance_profile,
                "security_group_id": made.security_group_id,
                "key_name": made.key_name,
                "created": [] if self.dry_run else made.created,
                "differences": made.differences,
                "region": hook.region,
            }


__all__ = ["NessusAwsPrerequisitesOperator"]
