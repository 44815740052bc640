"""What a scanner's instance needs in AWS: a role with its instance profile, a security group, and a key pair if
somebody wants to log in. Each is adopted if it is there, and reported if it differs from what was asked for.

A linked scanner calls Tenable; nothing calls it. So the security group has no ingress by default, and there is no key
pair.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_tenable.exceptions import AwsRefusedError, ConfigurationError, TemporaryError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.identifiers import shown
from airflow_provider_tenable.scan import key_store
from airflow_provider_tenable.scan.aws_calls import SCANNER_TAG, Aws, belongs_to, tags_of
from airflow_provider_tenable.scan.bootstrap import check_name
from airflow_provider_tenable.scan.secret_source import SecretSource

#: Name of the inline policy that lets the machine read its linking key.
KEY_POLICY = "read-linking-key"
#: The managed policies of the role, without the part of the ARN that depends on the partition.
USUAL_POLICIES = ("AmazonEC2ReadOnlyAccess",)
_POLICY_NAME = re.compile(r"[\w+=,.@/-]{1,128}", re.ASCII)
_POLICY_ARN = re.compile(r"arn:aws[a-z-]*:iam::(?:aws|\d{12}):policy/[\w+=,.@/-]{1,600}", re.ASCII)
_KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,254}", re.ASCII)
_GROUP_ID = re.compile(r"sg-[0-9a-f]{8,17}", re.ASCII)
_VPC_ID = re.compile(r"vpc-[0-9a-f]{8,17}", re.ASCII)
_SUBNET_ID = re.compile(r"subnet-[0-9a-f]{8,17}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked for.

    :ivar secrets: what the machine may read, first its linking key.
    :ivar ingress: ``[{"port": 8834, "cidr": "10.0.0.0/8"}]``.
    :ivar key_pair: the name of a key pair to use, or to create.
    :ivar key_pair_secret: where the private part of a new key pair is stored.
    :ivar update: whether differences are removed, instead of reported only.
    """

    name: str
    secrets: Sequence[SecretSource]
    role_policies: Sequence[str] = USUAL_POLICIES
    vpc_id: str | None = None
    subnet_id: str | None = None
    ingress: Sequence[Mapping[str, Any]] = ()
    allow_world: bool = False
    key_pair: str | None = None
    key_pair_secret: SecretSource | None = None
    public_key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    update: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)
        for policy in self.role_policies:
            if not isinstance(policy, str) or not (_POLICY_ARN.fullmatch(policy) or _POLICY_NAME.fullmatch(policy)):
                raise ConfigurationError(f"{shown(policy)} is not the name or ARN of a policy.")
        for value, pattern, what in (
            (self.vpc_id, _VPC_ID, "a VPC"),
            (self.subnet_id, _SUBNET_ID, "a subnet"),
            (self.key_pair, _KEY_NAME, "a key pair"),
        ):
            if value is not None and not (isinstance(value, str) and pattern.fullmatch(value)):
                raise ConfigurationError(f"{shown(value)} cannot be the name or id of {what}.")
        rules(self.ingress, allow_world=self.allow_world)
        if self.public_key and not self.key_pair:
            raise ConfigurationError("public_key needs key_pair, the name under which EC2 keeps it.")


@dataclass
class Made:
    """What is there now.

    :ivar created: what this call has created, in words.
    :ivar differences: what is there, and not as it was asked for.
    """

    role: str = ""
    instance_profile: str = ""
    security_group_id: str = ""
    key_name: str | None = None
    created: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def base_name(name: str) -> str:
    """The name of role, profile and security group of a scanner. IAM allows no blanks, and 64 characters."""
    return f"nessus-{check_name(name).replace(' ', '-')}"[:64]


def rules(ingress: Sequence[Mapping[str, Any]], *, allow_world: bool) -> list[tuple[int, str]]:
    """Ports and networks of ingress rules.

    :raises ConfigurationError: a rule is invalid, or opens a port to everybody.
    """
    found = []
    for rule in ingress:
        port, cidr = (rule.get("port"), rule.get("cidr")) if isinstance(rule, Mapping) else (None, None)
        try:
            network = ipaddress.ip_network(cidr)  # type: ignore[arg-type]
        except ValueError:
            network = None
        if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535 or network is None:
            raise ConfigurationError(
                f'{shown(rule)} is not an ingress rule. Give it as {{"port": 8834, "cidr": "10.0.0.0/8"}}.'
            )
        if network.prefixlen == 0 and not allow_world:
            raise ConfigurationError(
                f"Ingress from {network} would open port {port} to everybody. A linked scanner needs no ingress; name "
                "the network of the people who need the port, or set allow_world=True."
            )
        found.append((port, str(network)))
    return found


def ensure(aws: Aws, wanted: Wanted) -> Made:
    """Create what is missing."""
    made = Made(role=base_name(wanted.name), instance_profile=base_name(wanted.name))
    _role(aws, wanted, made)
    _profile(aws, wanted, made)
    _security_group(aws, wanted, made)
    if wanted.key_pair:
        _key_pair(aws, wanted, made)
    return made


def key_policy(aws: Aws, secrets: Sequence[SecretSource]) -> dict[str, Any]:
    """The policy that lets a machine read these secrets, and nothing else."""
    caller = aws.identify()
    where = {"partition": caller.partition or "aws", "region": aws.region, "account": caller.account}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": secret.action, "Resource": secret.arn(**where)} for secret in secrets
        ],
    }


def trust_policy(partition: str) -> dict[str, Any]:
    """The policy that lets EC2 give the role to an instance."""
    service = "ec2.amazonaws.com.cn" if partition == "aws-cn" else "ec2.amazonaws.com"
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    }


def policy_arn(policy: str, partition: str) -> str:
    """The ARN of a managed policy that is given by its name or ARN."""
    return policy if policy.startswith("arn:") else f"arn:{partition}:iam::aws:policy/{policy}"


def _role(aws: Aws, wanted: Wanted, made: Made) -> None:
    partition = aws.identify().partition or "aws"
    is_new = not _is_there(aws, wanted.name, "role", made.role, "get_role", "Role", RoleName=made.role)
    if is_new:
        aws.call(
            "iam",
            "create_role",
            what=f"create role {made.role}",
            # Another try did it at the same time.
            tolerate=("EntityAlreadyExists",),
            RoleName=made.role,
            AssumeRolePolicyDocument=json.dumps(trust_policy(partition)),
            Description=f"Role of the Nessus scanner {wanted.name}",
            Tags=tags_of(wanted.name, wanted.tags),
        )
        made.created.append(f"role {made.role}")
    _attach(aws, wanted, made, partition, is_new=is_new)
    _inline_policy(aws, wanted, made, is_new=is_new)


def _attach(aws: Aws, wanted: Wanted, made: Made, partition: str, *, is_new: bool) -> None:
    listed = aws.call(
        "iam", "list_attached_role_policies", what=f"list the policies of role {made.role}", RoleName=made.role
    )
    there = {str(each.get("PolicyArn")) for each in (listed or {}).get("AttachedPolicies", [])}
    for policy in wanted.role_policies:
        arn = policy_arn(policy, partition)
        if arn in there:
            continue
        # A role without policies is what a killed try has left.
        if is_new or wanted.update or not there:
            aws.call(
                "iam",
                "attach_role_policy",
                what=f"attach policy {arn} to role {made.role}",
                RoleName=made.role,
                PolicyArn=arn,
            )
        else:
            made.differences.append(f"role {made.role} lacks policy {arn}")


def _inline_policy(aws: Aws, wanted: Wanted, made: Made, *, is_new: bool) -> None:
    policy = key_policy(aws, wanted.secrets)
    found = aws.call(
        "iam",
        "get_role_policy",
        what=f"look at policy {KEY_POLICY} of role {made.role}",
        tolerate=("NoSuchEntity",),
        RoleName=made.role,
        PolicyName=KEY_POLICY,
    )
    document = (found or {}).get("PolicyDocument")
    if document == policy:
        return
    if is_new or wanted.update or document is None:
        aws.call(
            "iam",
            "put_role_policy",
            what=f"write policy {KEY_POLICY} of role {made.role}",
            RoleName=made.role,
            PolicyName=KEY_POLICY,
            PolicyDocument=json.dumps(policy),
        )
    else:
        made.differences.append(f"policy {KEY_POLICY} of role {made.role} names other secrets")


def _profile(aws: Aws, wanted: Wanted, made: Made) -> None:
    name = made.instance_profile
    arguments = {"InstanceProfileName": name}
    there = _is_there(
        aws, wanted.name, "instance profile", name, "get_instance_profile", "InstanceProfile", **arguments
    )
    if there is None:
        aws.call(
            "iam",
            "create_instance_profile",
            what=f"create instance profile {name}",
            tolerate=("EntityAlreadyExists",),
            Tags=tags_of(wanted.name, wanted.tags),
            **arguments,
        )
        made.created.append(f"instance profile {name}")
    roles = [str(role.get("RoleName")) for role in (there or {}).get("Roles", [])]
    if made.role in roles:
        return
    if roles:
        # One role per profile.
        raise AwsRefusedError(
            f"Instance profile {name} has role {safe(roles[0], 64)}, not {made.role}. Remove that role, or choose "
            "another name."
        )
    aws.call(
        "iam",
        "add_role_to_instance_profile",
        what=f"put role {made.role} into instance profile {name}",
        # Another try did it at the same time.
        tolerate=("LimitExceeded",),
        InstanceProfileName=name,
        RoleName=made.role,
    )


def _vpc(aws: Aws, wanted: Wanted) -> str:
    if wanted.vpc_id:
        return wanted.vpc_id
    if wanted.subnet_id:
        answer = aws.call(
            "ec2", "describe_subnets", what=f"look at subnet {wanted.subnet_id}", SubnetIds=[wanted.subnet_id]
        )
        found = (answer or {}).get("Subnets", [])
    else:
        answer = aws.call(
            "ec2",
            "describe_vpcs",
            what="look for the default VPC",
            Filters=[{"Name": "is-default", "Values": ["true"]}],
        )
        found = (answer or {}).get("Vpcs", [])
    if not found:
        raise AwsRefusedError(f"There is no default VPC in {aws.region}. Give subnet_id or vpc_id.")
    return str(found[0]["VpcId"])


def _group_of(aws: Aws, name: str, vpc: str) -> dict[str, Any] | None:
    answer = aws.call(
        "ec2",
        "describe_security_groups",
        what=f"look for security group {name}",
        Filters=[{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [vpc]}],
    )
    return next(iter((answer or {}).get("SecurityGroups", [])), None)


def _security_group(aws: Aws, wanted: Wanted, made: Made) -> None:
    name, vpc = base_name(wanted.name), _vpc(aws, wanted)
    group = _group_of(aws, name, vpc)
    is_new = group is None
    if group is None:
        answer = aws.call(
            "ec2",
            "create_security_group",
            what=f"create security group {name}",
            tolerate=("InvalidGroup.Duplicate",),
            GroupName=name,
            Description=f"Nessus scanner {wanted.name}: egress only, unless ingress was asked for",
            VpcId=vpc,
            TagSpecifications=[{"ResourceType": "security-group", "Tags": tags_of(wanted.name, wanted.tags)}],
        )
        if answer is not None:
            made.created.append(f"security group {name}")
        group = answer or _group_of(aws, name, vpc)
    elif not belongs_to(wanted.name, group.get("Tags")):
        raise _foreign("security group", name, wanted.name)
    if group is None:
        raise TemporaryError(f"Security group {name} was made a moment ago, and EC2 does not show it yet: retry.")
    made.security_group_id = str(group["GroupId"])
    open_now = {
        (permission.get("FromPort"), network.get("CidrIp") or network.get("CidrIpv6"))
        for permission in group.get("IpPermissions", [])
        for network in (*permission.get("IpRanges", []), *permission.get("Ipv6Ranges", []))
    }
    asked = rules(wanted.ingress, allow_world=wanted.allow_world)
    for port, cidr in asked:
        if (port, cidr) in open_now:
            continue
        if is_new or wanted.update or not open_now:
            _authorize(aws, made.security_group_id, port, cidr)
        else:
            made.differences.append(f"security group {name} lacks ingress to {port} from {cidr}")
    more = sorted(f"{port} from {cidr}" for port, cidr in open_now - set(asked))
    if more:
        # Never removed: somebody may depend on it.
        made.differences.append(f"security group {name} also allows ingress to {safe(', '.join(more), 200)}")


def _authorize(aws: Aws, group: str, port: int, cidr: str) -> None:
    key, ranges = ("CidrIpv6", "Ipv6Ranges") if ":" in cidr else ("CidrIp", "IpRanges")
    aws.call(
        "ec2",
        "authorize_security_group_ingress",
        what=f"allow ingress to port {port} from {cidr}",
        tolerate=("InvalidPermission.Duplicate",),
        GroupId=group,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, ranges: [{key: cidr}]}],
    )


def _key_pair(aws: Aws, wanted: Wanted, made: Made) -> None:
    name = made.key_name = wanted.key_pair
    assert name is not None
    tags = [{"ResourceType": "key-pair", "Tags": tags_of(wanted.name, wanted.tags)}]
    what = f"look for key pair {name}"
    there = aws.call("ec2", "describe_key_pairs", what=what, tolerate=("InvalidKeyPair.NotFound",), KeyNames=[name])
    if there is not None:
        return
    if wanted.public_key:
        aws.call(
            "ec2",
            "import_key_pair",
            what=f"import key pair {name}",
            tolerate=("InvalidKeyPair.Duplicate",),
            KeyName=name,
            PublicKeyMaterial=wanted.public_key.encode(),
            TagSpecifications=tags,
        )
        made.created.append(f"key pair {name}")
        return
    if wanted.key_pair_secret is None:
        raise ConfigurationError(
            f"There is no key pair {name}. To create it, say where its private part goes (key_pair_secret), or give "
            "your own public part (public_key)."
        )
    answer = aws.call(
        "ec2",
        "create_key_pair",
        what=f"create key pair {name}",
        KeyName=name,
        KeyType="ed25519",
        KeyFormat="pem",
        TagSpecifications=tags,
    )
    try:
        key_store.put(aws, wanted.key_pair_secret, str((answer or {})["KeyMaterial"]), name=wanted.name)
    except BaseException:
        # Its private part comes once: a key pair that nobody can use must not be there for the next try.
        aws.call("ec2", "delete_key_pair", what=f"delete key pair {name}", KeyName=name)
        raise
    made.created.append(f"key pair {name}")


def _is_there(
    aws: Aws, name: str, kind: str, title: str, operation: str, key: str, **arguments: Any
) -> dict[str, Any] | None:
    """What IAM has under a name; None if it has nothing.

    :raises AwsRefusedError: it belongs to somebody else.
    """
    answer = aws.call("iam", operation, what=f"look at {kind} {title}", tolerate=("NoSuchEntity",), **arguments)
    found = (answer or {}).get(key)
    if found is not None and not belongs_to(name, found.get("Tags")):
        raise _foreign(kind, title, name)
    return found


def _foreign(kind: str, found: str, name: str) -> AwsRefusedError:
    return AwsRefusedError(
        f"There is a {kind} {found} already, and it does not carry tag {SCANNER_TAG}={name}, so it may belong to "
        "somebody else. Give it that tag, or choose another name for the scanner."
    )


def is_group_id(value: object) -> bool:
    """Whether this can be the id of a security group."""
    return isinstance(value, str) and _GROUP_ID.fullmatch(value) is not None
