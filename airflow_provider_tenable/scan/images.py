"""Which image an instance starts from: an id, a public parameter of SSM, or the newest one with a product code of AWS
Marketplace.
"""

from __future__ import annotations

import re

from airflow_provider_tenable.exceptions import AwsRefusedError, ConfigurationError
from airflow_provider_tenable.guards.identifiers import shown
from airflow_provider_tenable.scan.aws_calls import Aws

_AMI = re.compile(r"ami-[0-9a-f]{8,17}", re.ASCII)
_PARAMETER = re.compile(r"ssm:(/[A-Za-z0-9_./-]{1,900})", re.ASCII)
_PRODUCT_CODE = re.compile(r"product_code:([a-z0-9]{10,40})", re.ASCII)


def image_id(aws: Aws, image: object) -> str:
    """The id of an image.

    :param image: ``ami-...``, ``ssm:/path`` or ``product_code:CODE``.
    :raises ConfigurationError: it is none of these.
    :raises AwsRefusedError: there is no such image in the Region.
    """
    text = image if isinstance(image, str) else ""
    if _AMI.fullmatch(text):
        return text
    if found := _PARAMETER.fullmatch(text):
        return _of_parameter(aws, found[1])
    if found := _PRODUCT_CODE.fullmatch(text):
        return _of_product(aws, found[1])
    raise ConfigurationError(f"image is {shown(image)}; give it as ami-..., ssm:/path or product_code:CODE.")


def root_device(aws: Aws, image: str) -> str:
    """The device name of an image's root volume."""
    answer = aws.call("ec2", "describe_images", what=f"look at image {image}", ImageIds=[image])
    images = (answer or {}).get("Images", [])
    if not images:
        raise AwsRefusedError(f"There is no image {image} in {aws.region}, or this account may not use it.")
    return str(images[0].get("RootDeviceName") or "/dev/xvda")


def _of_parameter(aws: Aws, name: str) -> str:
    answer = aws.call(
        "ssm", "get_parameter", what=f"read the image's parameter {name}", tolerate=("ParameterNotFound",), Name=name
    )
    value = (answer or {}).get("Parameter", {}).get("Value")
    if not isinstance(value, str) or not _AMI.fullmatch(value):
        raise AwsRefusedError(
            f"Parameter {name} in {aws.region} holds {shown(value)}, which is not the id of an image. Give `image` as "
            "ami-... or another parameter."
        )
    return value


def _of_product(aws: Aws, code: str) -> str:
    answer = aws.call(
        "ec2",
        "describe_images",
        what=f"look for images of product {code}",
        Owners=["aws-marketplace"],
        Filters=[{"Name": "product-code", "Values": [code]}, {"Name": "state", "Values": ["available"]}],
    )
    images = sorted((answer or {}).get("Images", []), key=lambda each: str(each.get("CreationDate", "")))
    if not images:
        raise AwsRefusedError(
            f"No image with product code {code} in {aws.region}. Give `image` as ami-... or "
            "ssm:/aws/service/marketplace/...; Marketplace products are not offered in every Region."
        )
    return str(images[-1]["ImageId"])
