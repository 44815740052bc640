"""Regions, partitions, and the products that may send findings (user guide: third-party product integrations)."""

import re
from dataclasses import dataclass

PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eusc-": "aws-eusc",
}

_PRODUCT_ARN = re.compile(
    r"arn:(aws[a-z-]*):securityhub:([a-z]{2,4}(?:-[a-z]+)+-\d):(\d{12})?:product/([\w.-]+)/([\w.-]+)", re.ASCII
)


def partition_of(region: str) -> str:
    """The partition that a Region belongs to."""
    return next((name for prefix, name in PARTITIONS.items() if region.startswith(prefix)), "aws")


@dataclass(frozen=True, slots=True)
class Product:
    """An integration that Security Hub knows. `owner` is the account in its ARN: current products have none there."""

    company: str
    name: str
    company_name: str
    product_name: str
    owner: str = ""
    integration: str = "SEND_FINDINGS_TO_SECURITY_HUB"

    @property
    def key(self) -> str:
        return f"{self.company}/{self.name}"

    def arn(self, region: str) -> str:
        """Where findings of this product are sent to in a Region."""
        return f"arn:{partition_of(region)}:securityhub:{region}:{self.owner}:product/{self.key}"


# A few of the real catalogue. Third-party products here are those of the partition `aws`: Tenable is offered neither
# in China nor in GovCloud.
PARTNERS = (
    Product("tenable", "vulnerability-management", "Tenable", "Vulnerability Management"),
    Product("tenable", "tenable-io", "Tenable", "Tenable.io", owner="422820575223"),
    Product("aquasecurity", "aquasecurity", "Aqua Security", "Aqua Security"),
    Product("prowler", "prowler", "Prowler", "Prowler"),
    Product("crowdstrike", "crowdstrike-falcon", "CrowdStrike", "CrowdStrike Falcon"),
    Product("jira", "jira", "Atlassian", "Jira", integration="RECEIVE_FINDINGS_FROM_SECURITY_HUB"),
)
# AWS's own services are connected as soon as the hub is on.
AWS_SERVICES = (
    Product("aws", "guardduty", "Amazon", "GuardDuty"),
    Product("aws", "inspector", "Amazon", "Inspector"),
    Product("aws", "securityhub", "AWS", "Security Hub"),
)
TENABLE = PARTNERS[0]


def catalogue(region: str) -> tuple[Product, ...]:
    """The products that can be enabled in a Region."""
    return (*AWS_SERVICES, *PARTNERS) if partition_of(region) == "aws" else AWS_SERVICES


@dataclass(frozen=True, slots=True)
class ProductArn:
    """A ProductArn taken apart."""

    partition: str
    region: str
    account: str
    company: str
    name: str

    @property
    def key(self) -> str:
        return f"{self.company}/{self.name}"

    def is_default_of(self, account: str) -> bool:
        """Is it the account's own default product, which needs no subscription?"""
        return self.account == account and self.key == f"{account}/default"

    def belongs_to(self, region: str) -> bool:
        return self.region == region and self.partition == partition_of(region)


def parse_product_arn(text: str) -> ProductArn | None:
    """A ProductArn taken apart, or None when it is malformed, e.g. without a Region."""
    match = _PRODUCT_ARN.fullmatch(text)
    return ProductArn(match[1], match[2], match[3] or "", match[4], match[5]) if match else None


def subscription_arn(account: str, region: str, key: str) -> str:
    """The ARN of an account's subscription to a product, `company/product`."""
    return f"arn:{partition_of(region)}:securityhub:{region}:{account}:product-subscription/{key}"
