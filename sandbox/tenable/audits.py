"""AWS audits of the simulated Tenable: what the template `cloud_audit` offers, and what a scan with it must have.

The shapes are recorded (2021); the codes of wrong requests are not documented.
"""

from typing import Any

TYPE = "Amazon AWS"
REGION_TYPE = "aws_ui_region_type"
GROUPS = {
    "GovCloud": ["us-gov-east-1", "us-gov-west-1"],
    "Rest of the World": ["us-east-1", "us-east-2", "us-west-2", "eu-central-1", "eu-west-1", "ap-south-1"],
    "China": ["cn-north-1", "cn-northwest-1"],
}
_FOREIGN = "arn:aws:sns:us-east-1:757334363917:CIS-Foundations-Benchmark"
#: Audit file -> its variables with their defaults.
AUDITS: dict[str, dict[str, str]] = {
    "72426_CIS_Amazon_Web_Services_Foundations_v6.0.0_L1.audit": {"INACTIVE_ACCOUNT_DAYS": "90"},
    "72426_CIS_Amazon_Web_Services_Foundations_v10.0.0_L1.audit": {"INACTIVE_ACCOUNT_DAYS": "45"},
    "72426_CIS_Amazon_Web_Services_Foundations_v7.0.0_L1.audit": {"INACTIVE_ACCOUNT_DAYS": "90"},
    "72426_CIS_Amazon_Web_Services_Foundations_v7.0.0_L2.audit": {"ALARM_ARN": _FOREIGN, "CMK_METRIC_NAME": "Cmk"},
    "72426_CIS_Amazon_Web_Services_Three-tier_Web_Architecture_L1_v1.0.0.audit": {"WEB_TIER_TAG": "WEB_TIER_TAG"},
    "72426_AWS_Security_Best_Practices.audit": {},
}
#: What an audit finds: the results of its checks by severity (3 failed, 2 warning, 1 passed).
RESULTS: list[dict[str, Any]] = [
    {"count": 5, "plugin_id": "143e17d3", "plugin_family": "Amazon AWS Compliance Checks", "severity": 3},
    {"count": 2, "plugin_id": "0a1b2c3d", "plugin_family": "Amazon AWS Compliance Checks", "severity": 2},
    {"count": 40, "plugin_id": "99887766", "plugin_family": "Amazon AWS Compliance Checks", "severity": 1},
]


def setting_of(region: str) -> str:
    """The setting of a Region. One had a hyphen in 2018."""
    return f"aws_{region}" if region == "eu-central-1" else f"aws_{region.replace('-', '_')}"


def template(name: str, title: str, uuid: str) -> dict[str, Any]:
    """GET /editor/scan/templates/{uuid} of `cloud_audit`."""
    options = [
        {"name": group, "inputs": [{"type": "checkbox", "name": each, "id": setting_of(each)} for each in regions]}
        for group, regions in GROUPS.items()
    ]
    radio = {"type": "ui_radio", "name": "Regions to access", "id": REGION_TYPE, "options": options}
    section = {"title": TYPE, "name": "aws", "inputs": [{**radio, "default": "Rest of the World"}], "sections": []}
    groups = [
        {"title": "Permissions", "name": "permissions", "acls": None},
        {"title": "Authentication", "name": "scan_wide_credential_settings", "inputs": None, "sections": [section]},
    ]
    custom = {"type": "custom", "name": "(Upload a custom Amazon AWS audit file)", "inputs": [{"id": "file"}]}
    audits = [
        {
            "id": audit,
            "name": audit.partition("_")[2].removesuffix(".audit").replace("_", " "),
            "type": "feed",
            "free": 1,
            "inputs": [
                {"id": variable, "name": variable.title(), "type": "entry", "default": default, "required": 1}
                for variable, default in variables.items()
            ]
            or None,
        }
        for audit, variables in AUDITS.items()
    ]
    other = {"id": "17_Azure.audit", "name": "Azure", "type": "feed", "inputs": None}
    return {
        "name": name,
        "title": title,
        "uuid": uuid,
        "settings": {"basic": {"title": "Basic", "inputs": [], "groups": groups, "sections": []}},
        "compliance": {
            "data": [
                {"name": "Microsoft Azure", "required_creds": ["Microsoft Azure"], "audits": [other]},
                {"name": TYPE, "required_creds": [TYPE], "audits": [custom, *audits]},
            ]
        },
    }


def problem_of(body: dict[str, Any], *, uploads: Any, needs_targets: bool) -> str | None:
    """What is wrong with a scan of this template; it has a settings object."""
    settings, added = body["settings"], (body.get("credentials") or {}).get("add") or {}
    if len(added.get("Cloud Services", {}).get(TYPE, [])) != 1:
        return "Exactly one credential of Amazon AWS is required"
    if needs_targets and not settings.get("text_targets"):
        return "Invalid 'targets' field"
    regions = GROUPS.get(settings.get(REGION_TYPE, "Rest of the World"))
    if regions is None:
        return f"Invalid '{REGION_TYPE}' field"
    known = {setting_of(each) for each in regions} | {REGION_TYPE, "aws_use_https", "aws_verify_ssl"}
    given = {name: value for name, value in settings.items() if name.startswith("aws_")}
    if wrong := sorted(name for name, value in given.items() if name not in known):
        return f"Invalid '{wrong[0]}' field"
    if "yes" not in {
        value for name, value in given.items() if name.removeprefix("aws_") not in ("use_https", "verify_ssl")
    }:
        return "No region is selected"
    return _problem_of_audits(body.get("audits") or {}, uploads)


def _problem_of_audits(audits: dict[str, Any], uploads: Any) -> str | None:
    feed, custom = (audits.get(kind, {}).get("add", []) for kind in ("feed", "custom"))
    if not feed and not custom:
        return "No audit file is selected"
    for each in feed:
        variables = AUDITS.get(each.get("id"))
        if variables is None:
            return "Invalid audit id"
        if (each.get("variables") or {}).keys() != variables.keys():
            return f"Invalid variables of {each['id']}"
    for each in custom:
        if (each.get("type"), each.get("category")) != ("custom", TYPE) or each.get("file") not in uploads:
            return "Invalid custom audit"
    return None
