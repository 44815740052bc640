"""The limits of ASFF as data, keyed `Shape.Member` by the names of the public API model.

The API model itself says which members exist, their types, which are required, and the values of most enumerations; it
is read from botocore (`sandbox.aws.asff.schema`). It leaves out lengths, counts, ranges and formats. These are here,
from the texts of the API reference and, where these are silent, from the ASFF page of the user guide of May 2022 and
from answers of the real service that users published.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# A string of 32,768 characters or more is refused wherever it stands, with a message of its own (published answers).
LONGEST_STRING = 32_767
# "The maximum allowed size for a finding is 240 Kb" (API model). The smaller reading of Kb, so that what passes here
# passes there.
LARGEST_FINDING = 240_000

TYPE_PATTERN = "^([^/]+)(/[^/]+){0,2}$"
TAG_KEY_PATTERN = r"^(?![aA][wW][sS]:)[\w .:/=+@-]+$"
TYPE_NAMESPACES = (
    "Software and Configuration Checks",
    "TTPs",
    "Effects",
    "Unusual Behaviors",
    "Sensitive Data Identifications",
)
# Timestamps by name: every string member that ends so, and these.
TIMESTAMP_SUFFIX = "At"
TIMESTAMPS = frozenset(
    {
        "AwsApiCallAction.FirstSeen",
        "AwsApiCallAction.LastSeen",
        "PatchSummary.OperationEndTime",
        "PatchSummary.OperationStartTime",
    }
)


@dataclass(frozen=True, slots=True)
class Text:
    """A string: its length in characters, and its form. `format` names a check of `sandbox.aws.asff.checks`."""

    longest: int = LONGEST_STRING
    shortest: int = 1
    values: tuple[str, ...] = ()
    pattern: str | None = None
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """A list: how many items, and the rule of each when these are strings."""

    most: int | None = None
    fewest: int = 0
    each: Text | None = None


@dataclass(frozen=True, slots=True)
class Pairs:
    """A map of strings: how many pairs, and the rules of keys and values."""

    most: int
    key: Text
    value: Text


@dataclass(frozen=True, slots=True)
class Range:
    """An integer between two bounds, both included."""

    least: int
    greatest: int


Rule = Text | Items | Pairs | Range

_TYPE = Text(pattern=TYPE_PATTERN, format="finding-type")
_TYPES = Items(50, each=_TYPE)
_SHARE = Range(0, 100)
_PATCH_COUNT = Range(0, 100_000)

RULES: Mapping[str, Rule] = {
    # The finding itself.
    "AwsSecurityFinding.SchemaVersion": Text(values=("2018-10-08",)),
    "AwsSecurityFinding.Id": Text(512, pattern="^(?!arn:)"),
    "AwsSecurityFinding.ProductArn": Text(2048, 12),
    "AwsSecurityFinding.ProductName": Text(128),
    "AwsSecurityFinding.CompanyName": Text(128),
    "AwsSecurityFinding.GeneratorId": Text(512),
    "AwsSecurityFinding.AwsAccountId": Text(12, 12, pattern="^[0-9]{12}$"),
    "AwsSecurityFinding.AwsAccountName": Text(50),
    "AwsSecurityFinding.Types": _TYPES,
    "AwsSecurityFinding.Confidence": _SHARE,
    "AwsSecurityFinding.Criticality": _SHARE,
    "AwsSecurityFinding.Title": Text(256),
    "AwsSecurityFinding.Description": Text(1024),
    "AwsSecurityFinding.SourceUrl": Text(format="url"),
    "AwsSecurityFinding.ProductFields": Pairs(50, Text(128, pattern=r"^(?!aws/)[A-Za-z0-9 .:+=@_/\-]+$"), Text(2048)),
    "AwsSecurityFinding.UserDefinedFields": Pairs(50, Text(128), Text(1024)),
    "AwsSecurityFinding.Malware": Items(5),
    "AwsSecurityFinding.Threats": Items(32, 1),
    "AwsSecurityFinding.ThreatIntelIndicators": Items(5, 1),
    "AwsSecurityFinding.Resources": Items(32, 1),
    "AwsSecurityFinding.RelatedFindings": Items(10, 1),
    "FindingProviderFields.Types": _TYPES,
    "FindingProviderFields.Confidence": _SHARE,
    "FindingProviderFields.Criticality": _SHARE,
    "FindingProviderFields.RelatedFindings": Items(10, 1),
    "FindingProviderSeverity.Original": Text(64),
    "Severity.Normalized": _SHARE,
    "Severity.Original": Text(64),
    "Note.Text": Text(512),
    "NoteUpdate.Text": Text(512),
    "NoteUpdate.UpdatedBy": Text(512),
    "Recommendation.Text": Text(512),
    "Recommendation.Url": Text(format="url"),
    "Compliance.RelatedRequirements": Items(32),
    "Compliance.AssociatedStandards": Items(20),
    "GeneratorDetails.Labels": Items(10),
    # Resources.
    "Resource.Type": Text(256),
    "Resource.Id": Text(512),
    "Resource.Region": Text(16),
    # The characters of AWS tags, without the prefix that AWS keeps for itself: the service may refuse other keys.
    "Resource.Tags": Pairs(50, Text(128, pattern=TAG_KEY_PATTERN), Text(256)),
    "ResourceDetails.Other": Pairs(50, Text(128), Text(1024)),
    "AwsEc2InstanceDetails.Type": Text(16),
    "AwsEc2InstanceDetails.ImageId": Text(64),
    "AwsEc2InstanceDetails.KeyName": Text(128),
    "AwsEc2InstanceDetails.VpcId": Text(32),
    "AwsEc2InstanceDetails.SubnetId": Text(32),
    "AwsEc2InstanceDetails.IpV4Addresses": Items(10, each=Text(format="ipv4")),
    "AwsEc2InstanceDetails.IpV6Addresses": Items(10, each=Text(format="ipv6")),
    "AwsEcrContainerImageDetails.RepositoryName": Text(256, 2),
    "AwsEcrContainerImageDetails.Architecture": Text(values=("arm64", "i386", "x86_64")),
    "AwsEcrContainerImageDetails.ImageTags": Items(300, 1, Text(128)),
    "ContainerDetails.ImageName": Text(128),
    # Vulnerabilities.
    "Vulnerability.Id": Text(32),
    "VulnerabilityVendor.Name": Text(32),
    "VulnerabilityVendor.VendorSeverity": Text(32),
    "Adjustment.Reason": Text(512),
    # What other kinds of findings carry.
    "Malware.Name": Text(64),
    "Malware.Path": Text(512),
    "Threat.Name": Text(128),
    "Threat.Severity": Text(128),
    "Threat.FilePaths": Items(5, 1),
    "FilePaths.FilePath": Text(128),
    "FilePaths.FileName": Text(128),
    "FilePaths.ResourceId": Text(128),
    "FilePaths.Hash": Text(128),
    "ThreatIntelIndicator.Value": Text(512),
    "ThreatIntelIndicator.Source": Text(64),
    "ThreatIntelIndicator.SourceUrl": Text(format="url"),
    "Network.Protocol": Text(16),
    "Network.SourceDomain": Text(128),
    "Network.DestinationDomain": Text(128),
    "NetworkHeader.Protocol": Text(16),
    "NetworkPathComponent.ComponentId": Text(32),
    "NetworkPathComponent.ComponentType": Text(32),
    "ProcessDetails.Name": Text(64),
    "ProcessDetails.Path": Text(512),
    "PatchSummary.Id": Text(256),
    "PatchSummary.RebootOption": Text(256),
    "PatchSummary.Operation": Text(256),
    "PatchSummary.InstalledCount": _PATCH_COUNT,
    "PatchSummary.MissingCount": _PATCH_COUNT,
    "PatchSummary.FailedCount": _PATCH_COUNT,
    "PatchSummary.InstalledOtherCount": _PATCH_COUNT,
    "PatchSummary.InstalledRejectedCount": _PATCH_COUNT,
    "PatchSummary.InstalledPendingReboot": _PATCH_COUNT,
    # BatchUpdateFindings.
    "BatchUpdateFindingsRequest.FindingIdentifiers": Items(100, 1),
    "BatchUpdateFindingsRequest.Types": _TYPES,
    "BatchUpdateFindingsRequest.RelatedFindings": Items(10),
    "BatchUpdateFindingsRequest.UserDefinedFields": Pairs(50, Text(128), Text(1024)),
}

# Members of the model's shape that an import may not set: Security Hub fills them itself (API reference; a published
# report says that the service refuses a Region at the top level).
NOT_IMPORTABLE: Mapping[str, frozenset[str]] = {"AwsSecurityFinding": frozenset({"Region"})}

# Members that the service wants although the API model calls them optional.
ALSO_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "FindingProviderFields": ("Severity", "Types"),
    "FindingProviderSeverity": ("Label",),
}
# Groups of members of which one must be complete. The message names the first member, as the service does.
ANY_OF: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "AwsSecurityFinding": (("FindingProviderFields",), ("Severity", "Types")),
    "Severity": (("Label",), ("Normalized",)),
    "Recommendation": (("Text",), ("Url",)),
}
