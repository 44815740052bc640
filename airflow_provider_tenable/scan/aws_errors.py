"""What the error codes of EC2, IAM, SSM and Secrets Manager mean for a scanner, in one table: whether a retry helps,
and what a person must do if it does not.

Codes that the table does not name, and throttling, are temporary. Sources: EC2 API reference (error codes), IAM API
reference (common errors), AWS Marketplace (OptInRequired); facts that users reported where AWS does not document them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from airflow_provider_tenable.exceptions import (
    AwsRefusedError,
    ProfileNotReadyError,
    TemporaryError,
    TenableProviderError,
)
from airflow_provider_tenable.guards.foreign_text import LONGEST_MESSAGE, safe

#: Codes for a missing permission.
DENIED = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})
#: EC2's message about a missing permission ends with the details, encoded.
_ENCODED = re.compile(r"Encoded authorization failure message: ([\w=+/-]+)", re.ASCII)
_MARKETPLACE = re.compile(r"https://aws\.amazon\.com/marketplace/pp\?sku=[a-z0-9]+", re.ASCII)

_QUOTA = "Raise the quota in Service Quotas, or terminate instances that nobody needs."
_KEYS = "Check the keys of the connection, and the clock of the worker."
_EXISTS_NOT = "Correct it; it must be in the same Region and VPC."

#: Code -> what a person must do. Everything here is refused in the same way when it is asked for again.
ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "UnauthorizedOperation": "Allow this action to the connection's identity.",
        "AccessDenied": "Allow this action to the connection's identity.",
        "AccessDeniedException": "Allow this action to the connection's identity.",
        "InvalidAMIID.NotFound": "Give another `image`: images differ from Region to Region.",
        "InvalidAMIID.Malformed": "Give `image` as ami-..., ssm:/path or product_code:CODE.",
        "InvalidAMIID.Unavailable": "The image was withdrawn. Give another `image`.",
        "InvalidSubnetID.NotFound": _EXISTS_NOT,
        "InvalidVpcID.NotFound": _EXISTS_NOT,
        "InvalidGroup.NotFound": _EXISTS_NOT,
        "InvalidSecurityGroupID.NotFound": _EXISTS_NOT,
        "InvalidKeyPair.NotFound": "Create the key pair, or leave it out: a linked scanner needs none.",
        "InvalidParameterValue": "Correct the argument that the message names.",
        "InvalidParameterCombination": "Correct the arguments that the message names.",
        "MissingParameter": "Give the argument that the message names.",
        "MissingInput": "Give the argument that the message names.",
        "Unsupported": "This instance type is not offered in this zone, or not for this image. Choose another one.",
        "InvalidInput": "Correct the argument that the message names.",
        "ValidationError": "Correct the argument that the message names.",
        "ValidationException": "Correct the argument that the message names.",
        "MalformedPolicyDocument": "Correct the policy.",
        "VPCIdNotSpecified": "This account has no default VPC in this Region: give `subnet_id`.",
        "VcpuLimitExceeded": _QUOTA,
        "InstanceLimitExceeded": _QUOTA,
        "LimitExceeded": _QUOTA,
        "SecurityGroupLimitExceeded": _QUOTA,
        "OperationNotPermitted": "The instance is protected from termination. Switch the protection off first.",
        "IdempotentParameterMismatch": (
            "An earlier try of this task has asked for an instance with other arguments. Trigger a new run, or clear "
            "this task with the earlier arguments."
        ),
        "AuthFailure": _KEYS,
        "InvalidClientTokenId": _KEYS,
        "UnrecognizedClientException": _KEYS,
        "SignatureDoesNotMatch": _KEYS,
        "InvalidSignatureException": _KEYS,
        "ExpiredToken": "The temporary credentials of the connection have expired. Put new ones into it.",
        "ExpiredTokenException": "The temporary credentials of the connection have expired. Put new ones into it.",
        "KMSAccessDeniedException": "Allow the use of the KMS key to the connection's identity.",
        "InvalidInstanceId": "The machine has no SSM agent that is online, or its role does not allow SSM.",
    }
)


def refusal(code: str, message: str, *, what: str) -> TenableProviderError:
    """The error for a call that AWS has refused.

    :param what: the call in words with account, Region and connection, as in "Cannot ...".
    :param message: AWS's message.
    """
    if code == "OptInRequired" and (url := _MARKETPLACE.search(message)):
        return AwsRefusedError(
            f"Cannot {what}: the account has not subscribed to the image's product in AWS Marketplace. Open {url[0]} "
            "as a person with aws-marketplace:Subscribe, accept the terms, and run the task again. There is no API for "
            "that."
        )
    if code == "OptInRequired":
        return AwsRefusedError(
            f"Cannot {what}: OptInRequired: {safe(message, LONGEST_MESSAGE)}. Either the account has not subscribed to "
            "the image's product in AWS Marketplace, which a person must do there, or it has not enabled the Region."
        )
    if code == "InvalidParameterValue" and "instance profile" in message.lower():
        # EC2 does not know for some seconds what IAM has just created.
        return ProfileNotReadyError(f"Cannot {what}: {safe(message, LONGEST_MESSAGE)}")
    words = safe(_ENCODED.sub("", message), LONGEST_MESSAGE).rstrip(". ")
    text = f"Cannot {what}: {safe(code, 100)}: {words}."
    advice = ADVICE.get(code)
    return AwsRefusedError(f"{text} {advice}") if advice else TemporaryError(text)


def encoded_details(message: str) -> str | None:
    """The encoded part of a message about a missing permission, which STS can decode."""
    found = _ENCODED.search(message)
    return found[1] if found else None
