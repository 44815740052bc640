"""What a person should do about a response of AWS: the texts that the table of responses refers to
(:data:`airflow_provider_tenable.security_hub.responses.ANSWERS`).

In each text, ``{action}`` becomes the IAM action of the failed operation.
"""

from __future__ import annotations

CAUSES = (
    "Security Hub CSPM returns this error if (1) the credentials are not of the findings' account, (2) the hub is in "
    "another Region than the product's ARN, (3) the product is not subscribed in that account and Region, or (4) IAM "
    "does not allow securityhub:BatchImportFindings on the product's ARN."
)
TRUST = (
    "Check that the role exists, that its trust policy names the caller (and its external id), and that the "
    "caller may sts:AssumeRole on it."
)
FEDERATED_TRUST = (
    "Check that the role exists, and that its trust policy allows {action} to the identity provider, with conditions "
    "that the token or assertion meets."
)
READING = (
    "Findings that are gone from Tenable are read before they are archived: allow {action} on the hub's ARN to these "
    "credentials."
)
CLOCK = (
    "The worker's clock is wrong, or the request was delayed: AWS accepts only signatures of the last minutes. "
    "Synchronise the clock (NTP)."
)
OTHER_KEY = "The secret key does not belong to the access key."
UNKNOWN_KEY = (
    "The access key is unknown to AWS, or the account has not enabled that Region. Check the credentials "
    "and the Region."
)
HUB_OFF = (
    "Security Hub CSPM is not enabled in that account and Region. Enable it there, or route the findings elsewhere."
)
NO_SUCH_PRODUCT = (
    "Security Hub CSPM does not offer this product in that Region. Set [tenable] product = default to use the "
    "account's own default product, or route the findings to another Region."
)
FOREIGN = (
    "This response is not from AWS: it comes from a proxy, a firewall or a login page. Check the proxy settings of the "
    "worker and the connection's endpoint_url."
)
#: Words of IAM's message about a denied request -> advice.
POLICIES = {
    "service control policy": "A service control policy (SCP) of the AWS organization denies this. Ask its "
    "administrators; changing the role's own policy does not help.",
    "resource control policy": "A resource control policy (RCP) of the AWS organization denies this. Ask its "
    "administrators.",
    "VPC endpoint policy": "The policy of the VPC endpoint denies this. Allow the action there, for this principal "
    "and resource.",
    "permissions boundary": "The permissions boundary of the role denies this. Allow the action there too.",
    "session policy": "The session policy that the role was assumed with denies this.",
}
ALLOW = "Allow {action} to these credentials, for every resource that the message names."
OLD_PAGE = (
    "Security Hub CSPM does not accept this request, for example because the token of a page has expired. Clear the "
    "task to begin again; if that fails too, report it."
)
NOT_ENABLED = (
    "The account has not enabled this Region, or STS in it, or AWS has not activated the account. Enable the Region, "
    "check the account, or omit them."
)
UNSIGNED = (
    "The request arrived without a usable signature: does a proxy remove headers? Check the credentials and the "
    "connection's config_kwargs."
)
DISABLED = "Security Hub CSPM was disabled, or the product unsubscribed, in that account and Region."
