"""docs/mapping.md says what the code does: fields, limits, product fields, reasons, ids, examples."""

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path

import botocore.session
import msgspec
import pytest
from botocore.validate import ParamValidator

from airflow_provider_tenable import aws, config
from airflow_provider_tenable.asff import finding as findings
from airflow_provider_tenable.asff import (
    fitting,
    identity,
    limits,
    owner,
    plugin_output,
    record_fields,
    resource_types,
    severity,
    threat,
    title,
)
from airflow_provider_tenable.asff import plugin as plugins
from airflow_provider_tenable.asff import resource as resources
from airflow_provider_tenable.asff.finding import MappingOptions
from airflow_provider_tenable.asff.product_fields import PREFIX as PRODUCT_FIELD_PREFIX
from airflow_provider_tenable.assets import account, outside_ec2
from airflow_provider_tenable.assets import table as table_module
from airflow_provider_tenable.guards import arns
from airflow_provider_tenable.run.owner_rule import owner_rule
from airflow_provider_tenable.run.params import IMPORT
from airflow_provider_tenable.tenable_vm.decode import decode_chunk
from airflow_provider_tenable.tenable_vm.records import Vulnerability
from airflow_provider_tenable.tenable_vm.severities import SEVERITY_SOURCES
from airflow_provider_tenable.transform import duplicates, routing, scope, shard
from tests.unit.asff.mapping import checked_line
from tests.unit.asff.oracle import Finding, FindingProviderFields
from tests.unit.assets.parts import to_parquet

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "mapping.md").read_text()
DATA = ROOT / "tests" / "data"
ASSETS = json.loads((DATA / "assets_v2_chunk_official_example.json").read_text())
RECORDS = json.loads((DATA / "vulns_chunk_official_example.json").read_text())


class Part(io.BytesIO):
    protocol = "file"

    def read_bytes(self) -> bytes:
        return self.getvalue()


def section(title: str) -> str:
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def table(title: str) -> list[list[str]]:
    """The rows of the table of a section, without its head."""
    rows = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in rows[2:]]


def names(title: str) -> list[str]:
    return [names_of(row)[0] for row in table(title)]


def names_of(row: list[str]) -> list[str]:
    return re.findall(r"`([^`]+)`", row[0])


def finding_of(record, asset, options=None, owned_by=""):
    part, _ = to_parquet(json.dumps([asset]).encode())
    row = table_module.find([Part(part)], {asset["id"]})[asset["id"]]
    (one,), _ = decode_chunk(json.dumps([record]).encode(), Vulnerability)
    resource = (
        resources.ec2_resource(row)
        if account.skip_reason(row) is None
        else resources.other_resource(row, account="111122223333", region="eu-west-1")
    )
    resource = owner.with_owner(resource, owned_by)
    arn = aws.product_arn(aws.TENABLE_PRODUCT, region=resource.region, account=resource.account)
    plugin = plugins.plugin_parts(plugins.decode_plugin(bytes(one.plugin)))
    return json.loads(checked_line(one, plugin, resource, arn, options or MappingOptions()))


def everything():
    """Findings that have every field that the mapping can give: of an EC2 instance, of another asset, and one that was
    cut.
    """
    ec2 = {
        **ASSETS[2],
        "operating_systems": ["Linux"],
        "ratings": {"acr": {"score": 9}},
        "network": {"ipv4s": ["10.0.0.1"], "ipv6s": ["2001:db8::1"], "hostnames": ["h"]},
    }
    record = {**RECORDS[0], "severity_modification_type": "RECASTED", "recast_reason": "because"}
    threats = {
        "xrefs": [{"type": threat.KNOWN_EXPLOITED, "id": "2024/06/18"}],
        "exploited_by_malware": True,
        "exploit_framework_core": True,
        "in_the_news": True,
        "vpr": {
            "score": 9.1,
            "drivers": {
                "exploit_code_maturity": "HIGH",
                "threat_intensity_last28": "HIGH",
                "threat_sources_last28": ["Blogs"],
                "product_coverage": "LOW",
                "cvss3_impact_score": 5.9,
                "age_of_vuln": {"lower_bound": 731},
                "threat_recency": {"lower_bound": 0, "upper_bound": 7},
            },
        },
        "vpr_v2": {
            **record["plugin"]["vpr_v2"],
            "in_the_news_recency": "0_7_DAYS",
            "malware_observations_recency": "0_7_DAYS",
        },
    }
    record["plugin"] = {**record["plugin"], **threats}
    record["software_vulns"] = [{**record["software_vulns"][0], "vulnerabilities": None}]
    other = {
        **ASSETS[1],
        "network": {"ipv4s": ["10.0.0.1"], "ipv6s": ["2001:db8::1"], "hostnames": ["h"]},
        "ratings": {"acr": {"score": 9}},
    }
    cut = {**record, "plugin": {**record["plugin"], "cve": [f"CVE-2024-{number}" for number in range(12_000)]}}
    return finding_of(record, ec2, owned_by="Payments"), finding_of(record, other), finding_of(cut, ec2)


def paths_of(finding) -> set[str]:
    """The paths of a finding, to the depth at which the page describes them."""
    found = set()
    for name, value in finding.items():
        if name == "Vulnerabilities":
            found |= {f"Vulnerabilities[].{member}" for each in value for member in each}
        elif name == "Resources":
            resource = dict(value[0])
            details = resource.pop("Details")
            found |= {f"Resources[0].{member}" for member in resource}
            found |= {f"Resources[0].Details.AwsEc2Instance.{member}" for member in details.get("AwsEc2Instance", {})}
            found |= {f"Resources[0].Details.{member}" for member in details if member == "Other"}
        elif name == "FindingProviderFields":
            found |= {f"{name}.{member}" for member in value if member != "Severity"} | {
                f"{name}.Severity.{member}" for member in value["Severity"]
            }
        elif name == "Remediation":
            found |= {f"Remediation.Recommendation.{member}" for member in value["Recommendation"]}
        else:
            found.add(name)
    return found


def test_types_of_aws_resources_are_those_of_the_code():
    rows = [row for row in table("AWS resources other than instances") if len(row) == 2 and names_of(row)]
    documented = {}
    for row in rows:
        (service,) = names_of(row)
        documented |= {name: (service, pattern) for pattern, name in re.findall(r"`([^`]+)`: `(Aws\w+)`", row[1])}
    assert documented.keys() == resource_types.TYPES
    values = {"digest": "sha256:" + "0" * 64, "version": "1", "revision": "1"}
    for name, (service, pattern) in documented.items():
        resource = re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], "x1"), pattern)
        arn = arns.arn_of(f"arn:aws:{service}:eu-west-1:111122223333:{resource}")
        assert arn is not None
        assert resource_types.type_of(arn) == name
    with_details = set(re.findall(r"`(Aws\w+)` (?:has )?`", section("AWS resources other than instances")))
    assert with_details == {"AwsEcrContainerImage", "AwsEksCluster", "AwsLambdaFunction", "AwsRdsDbInstance"}


def test_choices_of_assets_outside_ec2_are_those_of_the_param():
    rows = [row for row in table("AWS resources other than instances") if len(row) == 3 and names_of(row)]
    assert [names_of(row)[0] for row in rows] == list(outside_ec2.CHOICES) == IMPORT["non_ec2_assets"].schema["enum"]
    assert f"over {arns.LONGEST_ARN} characters" in section("AWS resources other than instances")


def test_top_level_fields_are_those_that_the_mapping_can_emit_and_no_others():
    documented = {re.split(r"[.\[]", name)[0] for name in names("Fields")}
    assert documented == {name for finding in everything() for name in finding}
    # With the default product only, which the findings above are not of.
    by_default = set(re.findall(r"`([A-Z]\w+)`", section("Company and product")))
    assert by_default == {"CompanyName", "ProductName"}
    assert documented | by_default == {field.encode_name for field in msgspec.structs.fields(Finding)}


def test_provider_fields_are_those_of_the_code():
    documented = {name.split(".")[1] for name in names("Fields") if name.startswith("FindingProviderFields.")}
    assert documented == {field.encode_name for field in msgspec.structs.fields(FindingProviderFields)}


def test_table_has_every_path_that_full_findings_have_and_no_other():
    ec2, other, _ = everything()
    assert sorted(names("Fields")) == sorted(paths_of(ec2) | paths_of(other))


LIMITS = {
    "Id": limits.ID,
    "GeneratorId": limits.GENERATOR_ID,
    "AwsAccountId": 12,
    "Title": limits.TITLE,
    "Description": limits.DESCRIPTION,
    "FindingProviderFields.Severity.Original": limits.SEVERITY_ORIGINAL,
    "FindingProviderFields.Criticality": 100,
    "Remediation.Recommendation.Text": limits.RECOMMENDATION_TEXT,
    "Remediation.Recommendation.Url": limits.URL,
    "ProductFields": limits.PRODUCT_FIELD_VALUE,
    "Resources[0].Id": limits.RESOURCE_ID,
    "Resources[0].Region": limits.RESOURCE_REGION,
    "Resources[0].Tags": limits.RESOURCE_TAG_VALUE,
    "Resources[0].Details.AwsEc2Instance.Type": limits.EC2_TYPE,
    "Resources[0].Details.AwsEc2Instance.ImageId": limits.EC2_IMAGE_ID,
    "Resources[0].Details.AwsEc2Instance.VpcId": limits.EC2_VPC_ID,
    "Resources[0].Details.AwsEc2Instance.SubnetId": limits.EC2_SUBNET_ID,
    "Resources[0].Details.AwsEc2Instance.IpV4Addresses": limits.EC2_ADDRESSES,
    "Resources[0].Details.AwsEc2Instance.IpV6Addresses": limits.EC2_ADDRESSES,
    "Resources[0].Details.Other": limits.OTHER_VALUE,
    "Vulnerabilities[].Id": limits.VULNERABILITY_ID,
    "Vulnerabilities[].ReferenceUrls": limits.REFERENCE_URLS,
    "Vulnerabilities[].Vendor": limits.VENDOR_SEVERITY,
    "Vulnerabilities[].VulnerablePackages": limits.PACKAGES,
}


def test_limits_are_those_of_the_code():
    assert {name: int(row[3]) for name, row in zip(names("Fields"), table("Fields"), strict=True) if row[3]} == LIMITS
    rules = dict(zip(names("Fields"), (row[2] for row in table("Fields")), strict=True))
    assert (
        f"the first {limits.RESOURCE_TAGS}; a key over {limits.RESOURCE_TAG_KEY} characters"
        in rules["Resources[0].Tags"]
    )
    assert f"{limits.FINDING_BYTES:,} bytes" in section("Fields")
    assert f"{limits.PRODUCT_FIELD_VALUE} characters" in section("ProductFields")


def test_order_in_which_a_large_finding_is_cut_is_that_of_the_code():
    steps = re.findall(r"^\d\. (.*)", section("Fields"), flags=re.MULTILINE)
    assert [step.split(" ")[0] + " " + step.split(" ")[1] for step in steps] == [
        "the packages",
        "scores, vendor",
        "the packages",
        "CVEs, from",
    ]
    *_, cut = everything()
    kept = cut["ProductFields"][f"{PRODUCT_FIELD_PREFIX}cve_kept"]
    assert int(kept) == len(cut["Vulnerabilities"]) < 12_000


def test_severity_labels_and_words_are_those_of_the_code():
    (row,) = [row for row in table("Fields") if "Severity.Label" in row[0]]
    assert ", ".join(f"{number} `{label}`" for number, label in enumerate(record_fields.SEVERITY_LABELS)) in row[2]


def keys_in_code() -> set[str]:
    """The keys that stand in the functions that make ProductFields, and in the module that joins them."""
    keys: set[str] = set()
    for module in (record_fields, plugins, threat, resources, owner, fitting):
        tree = ast.parse(Path(module.__file__).read_text())
        functions = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.name.endswith("_product_fields")
        ]
        assert functions
        dicts = [node for function in functions for node in ast.walk(function) if isinstance(node, ast.Dict)]
        keys |= {key.value for each in dicts for key in each.keys if isinstance(key, ast.Constant)}
    return keys | set(re.findall(r'product_fields\.key\("(\w+)"\)', Path(findings.__file__).read_text()))


def test_product_fields_are_those_of_the_code():
    emitted = {key.removeprefix(PRODUCT_FIELD_PREFIX) for finding in everything() for key in finding["ProductFields"]}
    assert set(names("ProductFields")) == keys_in_code() == emitted
    # ASFF takes 50 of them, and there is one more that says why a finding is archived.
    assert len(names("ProductFields")) == len(emitted) < 50
    assert f"`{PRODUCT_FIELD_PREFIX}`" in section("ProductFields")


def test_filters_are_those_of_the_api_and_name_product_fields():
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", section("ProductFields"), re.DOTALL)]
    of_api, of_event = blocks
    model = botocore.session.get_session().get_service_model("securityhub")
    request = model.operation_model("GetFindings").input_shape
    assert not ParamValidator().validate({"Filters": of_api}, request).has_errors()
    (condition,) = of_api["ProductFields"]
    (named,) = of_event["detail"]["findings"]["ProductFields"].items()
    finding, _, _ = everything()
    assert finding["ProductFields"][condition["Key"]] == condition["Value"]
    assert [finding["ProductFields"][named[0]]] == named[1]


def test_marked_are_the_product_fields_that_drift():
    assert {names_of(row)[0] for row in table("ProductFields") if "†" in row[0]} == threat.DRIFTING


def test_fields_of_threats_are_in_the_order_of_the_code():
    documented = names("ProductFields")
    emitted = [key.removeprefix(PRODUCT_FIELD_PREFIX) for key in everything()[0]["ProductFields"]]
    assert [name for name in emitted if name in documented] == [name for name in documented if name in emitted]


def test_bands_of_severities_are_those_of_the_code():
    bands = re.findall(
        r"^\| (\d+\.\d)(?: to (\d+\.\d))? \| `(\w+)` \|$", section("Severity by a score"), flags=re.MULTILINE
    )
    assert [label for _, _, label in bands] == list(record_fields.SEVERITY_LABELS)
    assert tuple(float(first) for first, _, _ in bands[1:]) == severity.BANDS
    assert [float(last) for _, last, _ in bands[1:]] == [3.9, 6.9, 8.9, 10.0]
    sources = re.findall(
        r"^\| `(\w+)`(?: \(default\))? \| (?:Tenable's|the band)", section("Severity by a score"), flags=re.MULTILINE
    )
    assert tuple(sources) == SEVERITY_SOURCES == config.OPTIONS["severity_source"].choices
    assert sources[0] == MappingOptions().severity_source


def test_fields_of_titles_are_those_of_the_code():
    described = section("Titles")
    assert list(dict.fromkeys(re.findall(r"\{(\w+)\}", described.split("Fields are")[1]))) == list(title.FIELDS)
    assert f"up to {title.LONGEST_FORMAT} other characters" in described


def test_rule_of_owners_is_that_of_the_code(monkeypatch):
    described = section("Owners")
    (example,) = re.findall(r"```json\n(.*?)```", described, re.DOTALL)
    monkeypatch.setenv("AIRFLOW__TENABLE__OWNERS", example)
    rule = owner_rule()
    assert rule == msgspec.convert(json.loads(example), owner.OwnerRule)
    # In the order in which they are asked for, which is that of the page.
    assert [names_of(row)[0] for row in table("Owners")] == [field.name for field in msgspec.structs.fields(rule)]
    assert f"up to {owner.LONGEST_OWNER} characters" in described


def test_families_whose_output_is_credentials_are_those_of_the_code():
    rows = {
        row[0].strip("`").lower(): row[1] for row in table("Plugin output") if len(row) == 2 and row[0].startswith("`")
    }
    assert rows == plugin_output.CREDENTIAL_FAMILIES


def test_choices_of_plugin_output_are_those_of_the_option():
    choices = [re.findall(r"`([^`]+)`", row[0])[0] for row in table("Plugin output") if len(row) == 3]
    assert tuple(choices) == config.OPTIONS["plugin_output"].choices
    assert f"the first {limits.PRODUCT_FIELD_VALUE} characters" in section("Plugin output")
    assert f"first {limits.PRODUCT_FIELD_VALUE} characters" in config.OPTIONS["plugin_output"].description


def test_reasons_are_those_of_the_code():
    modules = (account, routing, scope, shard, duplicates)
    reasons = {
        value
        for module in modules
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and "_" in value
    }
    assert set(names("Why a record does not become a finding")) == reasons
    assert len(reasons) == len(names("Why a record does not become a finding")) == 24


def test_what_is_never_sent_is_no_field_of_the_code():
    never = set(re.findall(r"`([A-Z]\w+)`", section("Never sent"))) - {"FindingProviderFields"}
    assert never >= {"Workflow", "Note", "UserDefinedFields", "VerificationState"}
    assert not never & set(names("Fields"))
    assert not any(never & set(finding) for finding in everything())


def test_id_schemes_are_those_of_the_code():
    assert tuple(names("Ids")) == identity.ID_SCHEMES
    example = {
        "region": "{region}",
        "account": "{account}",
        "resource": "instance",
        "plugin": "{plugin}",
        "protocol": "protocol",
        "port": "port",
    }
    for row in table("Ids"):
        scheme, shape = re.findall(r"`([^`]+)`", row[0])[0], row[1].strip("`")
        built = identity.finding_id(scheme, **example)  # type: ignore[arg-type]
        for part in ("instance", "protocol", "port"):
            built = re.sub(rf"/{part}(?=/|$)", f"/{{{part}}}", built)
        assert built == shape


def test_default_id_scheme_is_the_one_marked():
    (row,) = [row for row in table("Ids") if "default" in row[0]]
    assert f"`{MappingOptions().id_scheme}`" in row[0]


@pytest.mark.parametrize("option", sorted(set(re.findall(r"\[tenable\] (\w+)", PAGE))))
def test_options_that_the_page_names_exist(option):
    assert option in config.provider_config()["tenable"]["options"]


def examples():
    return [
        json.loads(block) for block in re.findall(r"```json\n(.*?)```", section("Two worked examples"), flags=re.DOTALL)
    ]


def test_first_worked_example_is_what_the_mapping_gives():
    record = {**RECORDS[1], "asset": {"uuid": ASSETS[2]["id"]}}
    assert (
        examples()[0]
        == finding_of(record, ASSETS[2])
        == json.loads((DATA / "golden_finding_ec2_without_cve.json").read_text())
    )


def test_second_worked_example_is_what_the_mapping_gives():
    record = {
        **RECORDS[0],
        "asset": {"uuid": ASSETS[2]["id"]},
        "state": "FIXED",
        "last_fixed": "2025-01-01T00:00:00.000Z",
    }
    record["indexed"] = "2025-01-01T00:05:00.000Z"
    finding = finding_of(record, ASSETS[2])
    assert len(finding["Vulnerabilities"]) == 3
    shown = {**{name: finding[name] for name in examples()[1]}, "Vulnerabilities": finding["Vulnerabilities"][:1]}
    assert examples()[1] == shown
    assert len(examples()) == 2


def test_page_names_no_path_of_a_workplace():
    assert not re.search(r"(?<![\w.])/(?:home|Users|tmp)/", PAGE)
