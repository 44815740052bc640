"""The CloudFormation template of a scanner: the same script as the operators', and as little access."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_provider_tenable.scan.bootstrap import Bootstrap
from airflow_provider_tenable.scan.secret_source import SecretSource
from tests.scanner_machine import Machine

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = ROOT / "deploy" / "cloudformation" / "nessus-scanner.yaml"
VALUES = {
    "AWS::Region": "eu-west-1",
    "KeyKind": "parameter",
    "KeyName": "/tenable/linking-key",
    "ScannerName": "scanner 1",
    "LinkHost": "fedcloud.tenable.com",
    "LinkPort": "443",
    "AwsScanner": "yes",
    "UpdateOs": "no",
    "ProxyHost": "",
    "ProxyPort": "3128",
}


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short functions, as {function: argument}."""


def _function(loader: Any, suffix: str, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    made = loader.construct_sequence if isinstance(node, yaml.SequenceNode) else loader.construct_mapping
    return {suffix: made(node, deep=True)}


_Loader.add_multi_constructor("!", _function)


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(TEMPLATE.read_text(), _Loader)
    return loaded


def script(template: dict[str, Any], **values: str) -> str:
    """The user data as CloudFormation makes it (Fn::Sub)."""
    text = template["Resources"]["Scanner"]["Properties"]["UserData"]["Fn::Base64"]["Sub"]
    known = {**VALUES, **values}
    return re.sub(
        r"\$\{(!?)([\w:]+)([^}]*)\}",
        lambda match: "${" + match[2] + match[3] + "}" if match[1] else known[match[2]],
        text,
    )


def settings(text: str) -> dict[str, str]:
    return {name: "".join(shlex.split(value)) for name, value in re.findall(r"^([A-Z_]+)=(.*)$", text, re.M)}


def test_script_is_that_of_the_operators(template: dict[str, Any]) -> None:
    operators = Bootstrap(
        name="scanner 1",
        secret=SecretSource.parse("parameter:/tenable/linking-key"),
        region="eu-west-1",
        host="fedcloud.tenable.com",
        aws_scanner=True,
        update_os=False,
    ).user_data()
    ours = script(template)
    assert {**settings(ours), "PROXY_PORT": ""} == settings(operators)
    name = re.compile(rf"^({'|'.join(settings(operators))})=.*$", re.M)
    assert name.sub("", ours).split() == name.sub("", operators).split()


def test_script_links_a_machine(template: dict[str, Any], tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine")
    assert machine.run(script(template)).stdout.endswith("tenable-bootstrap: linked\n")
    [link] = machine.ran("nessuscli managed link")
    assert link.endswith("--host=fedcloud.tenable.com --port=443 --aws-scanner --name=scanner 1")


@pytest.mark.parametrize("value", ["a'; reboot", "$(x)", "a`b`", "${AWS::Region}", "a\nb"])
@pytest.mark.parametrize("parameter", ["ScannerName", "KeyName", "LinkHost", "ProxyHost"])
def test_no_parameter_takes_what_could_do_something_in_a_shell(
    template: dict[str, Any], parameter: str, value: str
) -> None:
    assert not re.fullmatch(template["Parameters"][parameter]["AllowedPattern"], value)


def test_every_parameter_in_the_script_is_bounded(template: dict[str, Any]) -> None:
    text = template["Resources"]["Scanner"]["Properties"]["UserData"]["Fn::Base64"]["Sub"]
    for name in set(re.findall(r"\$\{([A-Z]\w+)\}", text)):
        parameter = template["Parameters"][name]
        assert parameter["Type"] == "Number" or {"AllowedPattern", "AllowedValues"} & set(parameter), name


def test_machine_is_as_guarded_as_that_of_the_operators(template: dict[str, Any]) -> None:
    resources = template["Resources"]
    assert "SecurityGroupIngress" not in resources["ScannerSecurityGroup"]["Properties"]
    options = resources["ScannerTemplate"]["Properties"]["LaunchTemplateData"]["MetadataOptions"]
    assert options == {"HttpTokens": "required"}
    [device] = resources["Scanner"]["Properties"]["BlockDeviceMappings"]
    assert device["Ebs"]["Encrypted"] is True
    [statement] = resources["ScannerRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert "*" not in str(statement)
