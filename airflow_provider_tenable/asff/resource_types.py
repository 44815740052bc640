"""The ASFF types of AWS resources other than EC2 instances, by their ARNs.

Types are those of ``ResourceDetails`` in Security Hub's service model, ARNs those of the Service Authorization
Reference. An ARN that has no type of its own is of type ``Other``, with the ARN as its id.
"""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_tenable.guards.arns import Arn

OTHER = "Other"
_NAME = r"[^:/]+"
#: Service, the pattern of the resource part, and the type.
_TYPES: tuple[tuple[str, str, str], ...] = (
    ("acm", rf"certificate/{_NAME}", "AwsCertificateManagerCertificate"),
    ("autoscaling", rf"autoScalingGroup:{_NAME}:autoScalingGroupName/.+", "AwsAutoScalingAutoScalingGroup"),
    ("cloudformation", r"stack/.+", "AwsCloudFormationStack"),
    ("codebuild", rf"project/{_NAME}", "AwsCodeBuildProject"),
    ("dynamodb", rf"table/{_NAME}", "AwsDynamoDbTable"),
    ("ec2", rf"elastic-ip/{_NAME}", "AwsEc2Eip"),
    ("ec2", rf"network-interface/{_NAME}", "AwsEc2NetworkInterface"),
    ("ec2", rf"security-group/{_NAME}", "AwsEc2SecurityGroup"),
    ("ec2", rf"subnet/{_NAME}", "AwsEc2Subnet"),
    ("ec2", rf"volume/{_NAME}", "AwsEc2Volume"),
    ("ec2", rf"vpc/{_NAME}", "AwsEc2Vpc"),
    ("ec2", rf"vpn-connection/{_NAME}", "AwsEc2VpnConnection"),
    ("ec2", rf"client-vpn-endpoint/{_NAME}", "AwsEc2ClientVpnEndpoint"),
    ("ecr", r"repository/[^:@]+/sha256:[0-9a-f]{64}", "AwsEcrContainerImage"),
    ("ecr", r"repository/[^:@]+", "AwsEcrRepository"),
    ("ecs", rf"cluster/{_NAME}", "AwsEcsCluster"),
    ("ecs", rf"container/(?:{_NAME}/){{0,2}}{_NAME}", "AwsEcsContainer"),
    ("ecs", rf"service/(?:{_NAME}/)?{_NAME}", "AwsEcsService"),
    ("ecs", rf"task/(?:{_NAME}/)?{_NAME}", "AwsEcsTask"),
    ("ecs", rf"task-definition/{_NAME}:\d+", "AwsEcsTaskDefinition"),
    ("eks", rf"cluster/{_NAME}", "AwsEksCluster"),
    ("elasticbeanstalk", rf"environment/{_NAME}/{_NAME}", "AwsElasticBeanstalkEnvironment"),
    ("elasticloadbalancing", rf"loadbalancer/(?:app|net|gwy)/{_NAME}/{_NAME}", "AwsElbv2LoadBalancer"),
    ("elasticloadbalancing", rf"loadbalancer/{_NAME}", "AwsElbLoadBalancer"),
    ("kafka", rf"cluster/{_NAME}/{_NAME}", "AwsMskCluster"),
    ("lambda", rf"function:{_NAME}(?::{_NAME})?", "AwsLambdaFunction"),
    ("lambda", rf"layer:{_NAME}:\d+", "AwsLambdaLayerVersion"),
    ("mq", rf"broker:{_NAME}(?::{_NAME})?", "AwsAmazonMqBroker"),
    ("rds", rf"cluster:{_NAME}", "AwsRdsDbCluster"),
    ("rds", rf"db:{_NAME}", "AwsRdsDbInstance"),
    ("redshift", rf"cluster:{_NAME}", "AwsRedshiftCluster"),
    ("s3", _NAME, "AwsS3Bucket"),
    ("sagemaker", rf"notebook-instance/{_NAME}", "AwsSageMakerNotebookInstance"),
    ("secretsmanager", r"secret:.+", "AwsSecretsManagerSecret"),
    ("sns", _NAME, "AwsSnsTopic"),
    ("sqs", _NAME, "AwsSqsQueue"),
)
_PATTERNS: dict[str, list[tuple[re.Pattern[str], str]]] = {}
for _service, _pattern, _type in _TYPES:
    _PATTERNS.setdefault(_service, []).append((re.compile(_pattern, re.ASCII), _type))
#: Every type that a finding can have.
TYPES = frozenset(name for _, _, name in _TYPES)


def type_of(arn: Arn) -> str:
    """The ASFF type of a resource; ``Other`` where ASFF has none for it."""
    return next((name for pattern, name in _PATTERNS.get(arn.service, ()) if pattern.fullmatch(arn.resource)), OTHER)


def details_of(name: str, arn: Arn) -> dict[str, Any]:
    """What an ARN says of its resource, as the details of a type."""
    last = re.split("[:/]", arn.resource)[-1]
    if name == "AwsEcrContainerImage":
        repository, _, digest = arn.resource.removeprefix("repository/").rpartition("/")
        return {"RegistryId": arn.account, "RepositoryName": repository, "ImageDigest": digest}
    if name == "AwsEksCluster":
        return {"Arn": arn.text, "Name": last}
    if name == "AwsLambdaFunction":
        return {"FunctionName": arn.resource.split(":")[1]}
    return {"DBInstanceIdentifier": last} if name == "AwsRdsDbInstance" else {}


__all__ = ["OTHER", "TYPES", "details_of", "type_of"]
