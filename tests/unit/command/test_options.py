"""Options of the command: names and variables of the old tools, and their order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.command.hidden_keys import MARK
from airflow_provider_tenable.command.options import VARIABLES, parse
from airflow_provider_tenable.command.settings import conf_of, dag_params, environment
from airflow_provider_tenable.exceptions import ConfigurationError
from tests.plain_ids import plain

ROOT = Path(__file__).resolve().parents[3]
KEYS = {"TIO_ACCESS_KEY": "access-key-of-env", "TIO_SECRET_KEY": "secret-key-of-env"}
TENABLE, AWS = "AIRFLOW_CONN_TENABLE_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT"


def made(*arguments: str, **variables: str) -> dict[str, str]:
    base = {**KEYS, **variables}
    return environment(parse(arguments, base), base)


def test_the_old_tools_command_line_is_understood() -> None:
    """Every option of sechubingest.py, as its README has them."""
    tenable = ["--tio-access-key", "a", "--tio-secret-key", "s", "--severities", "high:critical"]
    aws = ["--aws-region", "us-east-1", "--aws-account-id", "111122223333"]
    keys = ["--aws-access-id", "A", "--aws-secret-key", "K"]
    run = ["--batch-size", "50", "--log-level", "warn", "--since", "1790000000", "--run-every", "2"]
    arguments = [*tenable, *aws, *keys, *run]
    options = parse(arguments, {})
    result = environment(options, {})
    assert json.loads(result[TENABLE]) == {"conn_type": "tenable", "login": "a", "password": "s"}
    assert json.loads(result[AWS]) == {
        "conn_type": "aws", "login": "A", "password": "K", "extra": {"region_name": "us-east-1"},
    }  # fmt: skip
    assert json.loads(result["AIRFLOW__TENABLE__DAG_PARAMS"]) == {
        "severities": ["high", "critical"],
        "batch_size": 50,
        "destinations": [{"aws_conn_id": "aws_default", "accounts": ["111122223333"]}],
    }
    assert (options.since, options.hours) == ("1790000000", 2.0)
    assert result["AIRFLOW__LOGGING__LOGGING_LEVEL"] == "WARNING"


def test_the_old_tools_variables_are_understood_and_empty_ones_are_not_set() -> None:
    base = {
        **KEYS, "AWS_REGION": "eu-west-1", "AWS_ACCOUNT_ID": "111122223333", "AWS_ACCESS_ID": "", "AWS_SECRET_KEY": "",
        "LOG_LEVEL": "", "OBSERVED_SINCE": "", "RUN_EVERY": "",
    }  # fmt: skip
    options = parse([], base)
    assert (options.hours, options.level, options.since) == (None, "INFO", "")
    assert json.loads(environment(options, base)[AWS]) == {"conn_type": "aws", "extra": {"region_name": "eu-west-1"}}


def test_exports_are_polled_often_unless_the_environment_says_how_often() -> None:
    name = "AIRFLOW__TENABLE__POLL_INTERVAL_SECONDS"
    assert made()[name] == "5"
    assert made(**{name: "60"})[name] == "60"


def test_the_file_of_tvm2aws_is_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tvm2aws.toml"
    file.write_text(
        'aws_region = "us-east-1"\naws_account_id = "111122223333"\naccess_key = "a"\nsecret_key = "s"\n'
        'tvm_url = "https://fedcloud.tenable.com"\nbatch_size = 100\nstates = ["open", "reopened"]\n'
        'sources = ["CloudDiscoveryConnector"]\nseverity = ["high", "critical"]\nsince = 1790000000\n'
    )
    file.chmod(0o644)
    options = parse(["--config", str(file)], KEYS)
    assert json.loads(environment(options, KEYS)[TENABLE]) == {
        "conn_type": "tenable", "login": "a", "password": "s", "host": "https://fedcloud.tenable.com",
    }  # fmt: skip
    assert dag_params(options) == {
        "severities": ["high", "critical"],
        "states": ["open", "reopened"],
        "batch_size": 100,
        "destinations": [{"aws_conn_id": "aws_default", "accounts": ["111122223333"]}],
    }
    assert options.since == "1790000000"
    assert f"chmod 600 {file}" in capsys.readouterr().err
    file.chmod(0o600)
    parse(["--config", str(file)], KEYS)
    assert capsys.readouterr().err == ""


def test_command_line_counts_before_the_file_and_the_file_before_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('aws-region = "of-file"\ntio_access_key = "of-file"\ntio_secret_key = "of-file"\n')
    assert parse(["--config", str(file), "--aws-region", "of-line"], {"AWS_REGION": "of-env"}).aws_region == "of-line"
    assert parse(["--config", str(file)], {"AWS_REGION": "of-env", **KEYS}).aws_region == "of-file"
    # A key that was on the command line has been moved to the environment.
    hidden = {**KEYS, MARK: "TIO_ACCESS_KEY"}
    options = parse(["--config", str(file)], hidden)
    assert (options.tio_access_key, options.tio_secret_key) == ("access-key-of-env", "of-file")


def test_a_connection_in_the_environment_counts_before_the_old_variables_and_after_options() -> None:
    connections = {TENABLE: "tenable://a:b@c", AWS: '{"conn_type": "aws"}'}
    kept = made(**connections, AWS_REGION="eu-west-1")
    assert {name: kept[name] for name in connections} == connections
    # It may have no keys of its own, and take these.
    assert kept["TIO_ACCESS_KEY"] == KEYS["TIO_ACCESS_KEY"]
    assert json.loads(made("--aws-region", "us-east-1", **connections)[AWS])["extra"] == {"region_name": "us-east-1"}


def test_keys_are_in_the_connections_and_there_only() -> None:
    result = made("--aws-region", "eu-west-1", AWS_ACCESS_ID="AKIA", AWS_SECRET_KEY="aws-secret", **{MARK: "x"})
    secrets = (*KEYS.values(), "AKIA", "aws-secret")
    assert {name for name, value in result.items() if any(secret in value for secret in secrets)} == {TENABLE, AWS}
    assert MARK not in result
    assert "of-env" not in repr(parse([], KEYS))


def test_profiles_and_roles() -> None:
    result = made(
        "--aws-profile", "audit", "--aws-profile", "111122223333=production", "--aws-role-arn",
        "arn:aws:iam::222233334444:role/Audit", "--role-name", "TenableImport", "--external-id", "x-1",
    )  # fmt: skip
    assert json.loads(result[AWS])["extra"] == {
        "profile_name": "audit", "role_arn": "arn:aws:iam::222233334444:role/Audit",
    }  # fmt: skip
    assert json.loads(result["AIRFLOW_CONN_AWS_111122223333"])["extra"] == {"profile_name": "production"}
    assert json.loads(result["AIRFLOW__TENABLE__DAG_PARAMS"]) == {
        "destinations": [
            {"aws_conn_id": "aws_111122223333", "accounts": ["111122223333"]},
            {"aws_conn_id": "aws_default", "accounts": "*", "role_name": "TenableImport", "external_id": "x-1"},
        ],
        "region_routing": "resource",
    }


def test_nothing_of_another_airflow_reaches_the_private_one() -> None:
    result = made(
        "--home", "/h",
        AIRFLOW_HOME="/opt/airflow", AIRFLOW_CONFIG="/opt/a.cfg", AIRFLOW__CORE__EXECUTOR="CeleryExecutor",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql://production", AIRFLOW__TENABLE__STAGING_PATH="s3://b/c",
        AIRFLOW__SECRETS__BACKEND="x.Y",
    )  # fmt: skip
    assert "production" not in json.dumps(result)
    assert {"AIRFLOW_CONFIG", "AIRFLOW__CORE__EXECUTOR"}.isdisjoint(result)
    assert (result["AIRFLOW_HOME"], result["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]) == ("/h", "sqlite:////h/airflow.db")
    assert (result["AIRFLOW__TENABLE__STAGING_PATH"], result["AIRFLOW__SECRETS__BACKEND"]) == ("s3://b/c", "x.Y")


def test_conf_has_what_is_of_one_run_only() -> None:
    options = parse(["--dry-run", "--full", "--param", "until=2026-11-01", "--param", "max_rejected_ratio=0.5"], KEYS)
    assert conf_of(options) == {"dry_run": True, "full": True, "until": "2026-11-01"}
    assert dag_params(options) == {"max_rejected_ratio": 0.5}


def test_the_deployments_own_params_stay() -> None:
    result = made("--severities", "critical", AIRFLOW__TENABLE__DAG_PARAMS='{"batch_size": 7, "severities": ["low"]}')
    assert json.loads(result["AIRFLOW__TENABLE__DAG_PARAMS"]) == {"batch_size": 7, "severities": ["critical"]}


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        ([], {}, r"no keys for Tenable: --tio-access-key \(TIO_ACCESS_KEY\) and --tio-secret-key"),
        (["--aws-access-id", "A"], KEYS, "AWS keys come in pairs"),
        (["--batch-size", "many"], KEYS, "--batch-size is 'many'"),
        (["--log-level", "loud"], KEYS, "--log-level .LOG_LEVEL. is 'loud'; it must be one of debug"),
        (["--param", "dry_run"], KEYS, "must be NAME=VALUE"),
        (["--config", "/nowhere.toml"], KEYS, "cannot be read: No such file"),
        ([], {**KEYS, "AIRFLOW__TENABLE__DAG_PARAMS": "{"}, "is not JSON"),
        ([], {**KEYS, "AIRFLOW__TENABLE__DAG_PARAMS": "[]"}, "must be a JSON object"),
    ],
    ids=plain,
)
def test_what_is_wrong_is_said_before_anything_is_run(
    arguments: list[str], variables: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        environment(parse(arguments, variables), variables)


@pytest.mark.parametrize("hours", ["0", "-1", "often", "nan", "inf", "8785"])
def test_run_every_is_a_number_of_hours(hours: str) -> None:
    with pytest.raises(ConfigurationError, match="--run-every"):
        _ = parse(["--run-every", hours], KEYS).hours


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a =", "is not TOML"),
        ('typo = "x"', "'typo', which is not an option"),
        ('dry_run = "yes"', "must be true or false"),
    ],
    ids=str,
)
def test_a_file_that_is_wrong_is_told(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        parse(["--config", str(tmp_path / "c.toml")], KEYS)


def test_an_abbreviated_key_is_refused() -> None:
    """It would stay on the command line."""
    with pytest.raises(SystemExit):
        parse(["--tio-secret", "s"], {})


def test_the_page_for_those_who_come_from_the_old_tool_names_every_option() -> None:
    page = (ROOT / "docs" / "coming-from-tvm2aws.md").read_text()
    missing: list[Any] = [variable for variable in VARIABLES.values() if f"`{variable}`" not in page]
    assert missing == []
