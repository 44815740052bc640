"""AWS resources other than EC2 instances: their types, what a finding says of them, and that Security Hub takes it."""

from __future__ import annotations

import json

import botocore.session
import msgspec
import pytest
from mapping import PREFIX, RECORD, decode

from airflow_provider_tenable.asff.finding import MappingOptions, finding_and_row
from airflow_provider_tenable.asff.mapper import AsffMapper
from airflow_provider_tenable.asff.owner import OwnerRule
from airflow_provider_tenable.asff.plugin import decode_plugin, plugin_parts
from airflow_provider_tenable.asff.resource import aws_resource
from airflow_provider_tenable.asff.resource_types import OTHER, TYPES, type_of
from airflow_provider_tenable.aws import TENABLE_PRODUCT, product_arn
from airflow_provider_tenable.guards.arns import arn_of
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from sandbox.aws.asff.findings import complaint
from tests.unit.asff.mapping import checked_line

ACCOUNT, REGION = "111122223333", "eu-west-1"
DIGEST = "sha256:" + "0a" * 32
#: Service and resource part -> type.
EXAMPLES = {
    "acm:certificate/12345678-1234-1234-1234-123456789012": "AwsCertificateManagerCertificate",
    "autoscaling:autoScalingGroup:0a1b:autoScalingGroupName/web": "AwsAutoScalingAutoScalingGroup",
    "cloudformation:stack/web/0a1b": "AwsCloudFormationStack",
    "codebuild:project/web": "AwsCodeBuildProject",
    "dynamodb:table/orders": "AwsDynamoDbTable",
    "dynamodb:table/orders/index/x": OTHER,
    "ec2:elastic-ip/eipalloc-0123456789abcdef0": "AwsEc2Eip",
    "ec2:network-interface/eni-0123456789abcdef0": "AwsEc2NetworkInterface",
    "ec2:security-group/sg-0123456789abcdef0": "AwsEc2SecurityGroup",
    "ec2:subnet/subnet-0123456789abcdef0": "AwsEc2Subnet",
    "ec2:volume/vol-0123456789abcdef0": "AwsEc2Volume",
    "ec2:vpc/vpc-0123456789abcdef0": "AwsEc2Vpc",
    "ec2:vpn-connection/vpn-0123456789abcdef0": "AwsEc2VpnConnection",
    "ec2:client-vpn-endpoint/cvpn-endpoint-0123456789abcdef0": "AwsEc2ClientVpnEndpoint",
    "ec2:image/ami-0123456789abcdef0": OTHER,
    f"ecr:repository/shop/web/{DIGEST}": "AwsEcrContainerImage",
    "ecr:repository/shop/web": "AwsEcrRepository",
    f"ecr:repository/shop/web@{DIGEST}": OTHER,
    "ecs:cluster/shop": "AwsEcsCluster",
    "ecs:container/shop/0a1b/2c3d": "AwsEcsContainer",
    "ecs:container/2c3d": "AwsEcsContainer",
    "ecs:service/shop/web": "AwsEcsService",
    "ecs:service/web": "AwsEcsService",
    "ecs:task/shop/0a1b": "AwsEcsTask",
    "ecs:task-definition/web:7": "AwsEcsTaskDefinition",
    "ecs:capacity-provider/x": OTHER,
    "eks:cluster/shop": "AwsEksCluster",
    "eks:nodegroup/shop/a/b": OTHER,
    "elasticbeanstalk:environment/shop/web": "AwsElasticBeanstalkEnvironment",
    "elasticloadbalancing:loadbalancer/app/web/0a1b": "AwsElbv2LoadBalancer",
    "elasticloadbalancing:loadbalancer/net/web/0a1b": "AwsElbv2LoadBalancer",
    "elasticloadbalancing:loadbalancer/web": "AwsElbLoadBalancer",
    "elasticloadbalancing:targetgroup/web/0a1b": OTHER,
    "kafka:cluster/orders/0a1b": "AwsMskCluster",
    "lambda:function:orders": "AwsLambdaFunction",
    "lambda:function:orders:live": "AwsLambdaFunction",
    "lambda:layer:common:3": "AwsLambdaLayerVersion",
    "lambda:layer:common": OTHER,
    "mq:broker:orders:b-0a1b": "AwsAmazonMqBroker",
    "rds:cluster:orders": "AwsRdsDbCluster",
    "rds:db:orders": "AwsRdsDbInstance",
    "rds:og:orders": OTHER,
    "redshift:cluster:orders": "AwsRedshiftCluster",
    "s3:logs": "AwsS3Bucket",
    "s3:logs/2026/a.gz": OTHER,
    "sagemaker:notebook-instance/lab": "AwsSageMakerNotebookInstance",
    "secretsmanager:secret:orders-AbCdEf": "AwsSecretsManagerSecret",
    "sns:orders": "AwsSnsTopic",
    "sns:orders:0a1b": OTHER,
    "sqs:orders": "AwsSqsQueue",
    "new-service:thing/1": OTHER,
}


def arn(rest: str):
    service, resource = rest.split(":", 1)
    found = arn_of(f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}")
    assert found is not None
    return found


@pytest.mark.parametrize(("rest", "name"), EXAMPLES.items())
def test_type_of_an_arn(rest, name):
    assert type_of(arn(rest)) == name


def test_types_are_those_of_the_service_and_each_has_an_example():
    model = botocore.session.get_session().get_service_model("securityhub")
    assert set(model.shape_for("ResourceDetails").members) >= TYPES
    assert set(EXAMPLES.values()) == TYPES | {OTHER}


def row(**changes):
    return msgspec.structs.replace(AssetRow(id="asset-1"), **changes)


def resource_of(rest: str, **changes):
    (resource,) = json.loads(bytes(aws_resource(row(**changes), arn(rest)).encoded))
    return resource


def test_bare_resource_has_arn_partition_region_and_nothing_empty():
    assert resource_of("sqs:orders") == {
        "Type": "AwsSqsQueue",
        "Id": f"arn:aws:sqs:{REGION}:{ACCOUNT}:orders",
        "Partition": "aws",
        "Region": REGION,
    }


@pytest.mark.parametrize(
    ("rest", "details"),
    [
        (
            f"ecr:repository/shop/web/{DIGEST}",
            {
                "AwsEcrContainerImage": {
                    "RegistryId": ACCOUNT,
                    "RepositoryName": "shop/web",
                    "ImageDigest": DIGEST,
                }
            },
        ),
        (
            "eks:cluster/shop",
            {"AwsEksCluster": {"Arn": f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/shop", "Name": "shop"}},
        ),
        ("lambda:function:orders:live", {"AwsLambdaFunction": {"FunctionName": "orders"}}),
        ("rds:db:orders", {"AwsRdsDbInstance": {"DBInstanceIdentifier": "orders"}}),
    ],
)
def test_details_are_what_the_arn_itself_says(rest, details):
    assert resource_of(rest)["Details"] == details
    named = resource_of(rest, name="web-1", addresses='["10.0.0.1", "2001:db8::1"]', instance_id="none")
    other = {"Name": "web-1", "IpV4Addresses": "10.0.0.1", "IpV6Addresses": "2001:db8::1", "InstanceId": "none"}
    assert named["Details"] == {**details, "Other": other}


def test_a_resource_has_an_owner_as_an_instance_has():
    mapper = AsffMapper(MappingOptions(), TENABLE_PRODUCT, OwnerRule(accounts={ACCOUNT: "Payments"}))
    made = mapper.aws_resource(row(), arn("sqs:orders"))
    assert made.product_fields["owner"] == "Payments"


def test_tags_and_criticality_are_the_asset_s():
    made = aws_resource(row(acr=9.0, resource_tags='{"team": "red"}', terminated_at="2026-01-01"), arn("sqs:orders"))
    assert (made.criticality, made.gone, made.is_typed, made.is_ec2) == (90, "terminated", True, False)
    assert json.loads(bytes(made.encoded))[0]["Tags"] == {"team": "red"}
    assert (made.account, made.region, made.resource) == (ACCOUNT, REGION, "sqs:orders")


@pytest.mark.parametrize("rest", EXAMPLES)
@pytest.mark.parametrize("scheme", ["port", "tvm2aws"])
def test_security_hub_takes_the_finding_of_every_type(rest, scheme):
    made, one = aws_resource(row(name="n", addresses='["10.0.0.1"]'), arn(rest)), decode(RECORD)
    product = product_arn(TENABLE_PRODUCT, region=REGION, account=ACCOUNT)
    plugin = plugin_parts(decode_plugin(bytes(one.plugin)))
    line = checked_line(one, plugin, made, product, MappingOptions(id_scheme=scheme))
    finding = json.loads(line)
    assert complaint(finding, len(line)) is None
    assert finding["ProductFields"][f"{PREFIX}asset_uuid"] == "asset-1"
    assert finding["AwsAccountId"] == ACCOUNT


def test_id_of_a_finding_names_the_resource_and_no_two_share_one():
    one = decode(RECORD)
    plugin, ids = plugin_parts(decode_plugin(bytes(one.plugin))), set()
    for rest in EXAMPLES:
        line, _ = finding_and_row(one, plugin, aws_resource(row(), arn(rest)), "arn:x", MappingOptions())
        ids.add(json.loads(line)["Id"])
    assert len(ids) == len(EXAMPLES)
    assert f"{REGION}/{ACCOUNT}/rds%3Adb%3Aorders/19506/tcp/443" in ids


def test_content_changes_with_tags_and_addresses_in_any_order_and_nothing_else():
    def material(**changes):
        return aws_resource(row(**changes), arn("sqs:orders")).material

    assert material(addresses='["10.0.0.1", "10.0.0.2"]') == material(addresses='["10.0.0.2", "10.0.0.1"]')
    changes = [{}, {"name": "n"}, {"addresses": '["10.0.0.1"]'}, {"resource_tags": '{"a": "b"}'}]
    different = [material(**change) for change in changes]
    assert len(set(different)) == len(different)
