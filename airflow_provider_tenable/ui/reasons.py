"""Why records did not become findings in Security Hub CSPM, in words, and what to do about it."""

from __future__ import annotations

#: Reason in the ledger -> (what it means, what to do). docs/mapping.md explains each of them.
REASONS: dict[str, tuple[str, str]] = {
    "no_ec2_instance": ("the asset is not an EC2 instance", "nothing, or see the param non_ec2_assets"),
    "no_aws_account": (
        "Tenable does not know the AWS account of the instance",
        "set up Tenable's AWS connector for this account, or set [tenable] resolve_unplaced_instances",
    ),
    "no_aws_region": ("the asset has no AWS Region", "check the asset in Tenable"),
    "account_not_configured": ("no destination has this account", "add the account to a destination"),
    "account_not_reachable_without_role": (
        "the account is not the connection's own, and its destination has no role",
        "give the destination a role_name, and create that role in the account",
    ),
    "other_partition": (
        "the resource is in another partition, such as GovCloud or China",
        "add a destination whose connection and Region belong to that partition",
    ),
    "account_excluded": ("the destination excludes the account", "nothing: this is on purpose"),
    "region_excluded": ("no destination takes the Region", "nothing: this is on purpose"),
    "destination_refused": (
        "the account or Region refuses its findings",
        "remove the cause; the findings are delivered once they are accepted",
    ),
    "severity_not_chosen": ("the severity is not among the param severities", "nothing: this is on purpose"),
    "state_not_chosen": ("the state is not among the param states", "nothing: this is on purpose"),
    "plugin_not_chosen": ("the plugin is not among those that the DAG imports", "nothing: this is on purpose"),
    "plugin_family_not_chosen": (
        "the plugin's family is not among those that the DAG imports",
        "nothing: this is on purpose",
    ),
    "not_known_exploited": (
        "no CVE of it is in CISA's catalogue of known exploited vulnerabilities",
        "nothing: this is on purpose",
    ),
    "vpr_below_minimum": ("its VPR is below the param min_vpr", "nothing: this is on purpose"),
    "asset_tags_not_chosen": ("the asset has none of the tags in the param asset_tags", "nothing: this is on purpose"),
    "source_not_chosen": ("its source is not among the param sources", "nothing: this is on purpose"),
    "network_not_chosen": ("its network is not among the param network_ids", "nothing: this is on purpose"),
    "only_potential_packages": (
        "it was found only in packages of which Tenable is not certain",
        "nothing: this is on purpose",
    ),
    "outside_window": ("the record is newer than the window", "nothing: another run covers it"),
    "duplicate_asset": (
        "another asset of the same instance has the same finding",
        "nothing, or merge the assets in Tenable",
    ),
    "unreadable_record": ("the record cannot be read", "look in rejected/ of the run"),
    "unmappable_record": ("the record cannot be mapped", "look in rejected/ of the run"),
    "asset_missing_given_up": (
        "no export contained the asset for [tenable] parked_days",
        "give the API user Can View on the asset, and replay",
    ),
}
#: Reasons that somebody chose: their records are not missing.
CHOSEN = frozenset(
    {
        "account_excluded",
        "region_excluded",
        "severity_not_chosen",
        "state_not_chosen",
        "plugin_not_chosen",
        "plugin_family_not_chosen",
        "not_known_exploited",
        "vpr_below_minimum",
        "asset_tags_not_chosen",
        "source_not_chosen",
        "network_not_chosen",
        "only_potential_packages",
    }
)


def explained(reason: str) -> tuple[str, str]:
    """What a reason means, and what to do."""
    return REASONS.get(reason, ("", f"look up {reason} in mapping.md"))


__all__ = ["CHOSEN", "REASONS", "explained"]
