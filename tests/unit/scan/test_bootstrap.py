"""The script that links a scanner, run by a real shell: the order of its commands, what is repeated, what is shown."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.scan.bootstrap import (
    LINK_HOSTS,
    Bootstrap,
    Proxy,
    check_name,
    check_user_data,
    unlink_commands,
)
from airflow_provider_tenable.scan.secret_source import SecretSource
from tests.scanner_machine import KEY, PROGRAMS, Machine

PARAMETER = SecretSource.parse("parameter:/tenable/linking-key/scanner-1")


def bootstrap(**fields: Any) -> Bootstrap:
    return Bootstrap(**{"name": "scanner 1", "secret": PARAMETER, "region": "eu-west-1", **fields})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert all(line.startswith("tenable-bootstrap: ") for line in done.stdout.splitlines())
    return [line.removeprefix("tenable-bootstrap: ") for line in done.stdout.splitlines()]


@pytest.mark.parametrize("shell", [name for name in ("sh", "bash", "dash") if shutil.which(name)])
def test_the_guides_steps_in_its_order(machine: Machine, shell: str) -> None:
    done = machine.run(bootstrap().user_data(), shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.calls == [
        "yum update -y",
        "nessuscli managed status",
        "aws ssm get-parameter --region eu-west-1 --name /tenable/linking-key/scanner-1 --with-decryption "
        "--query Parameter.Value --output text",
        "service nessusd stop",
        f"nessuscli managed link --key={KEY} --cloud --name=scanner 1",
        "service nessusd start",
    ]
    assert said(done)[-1] == "linked"


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, "--cloud"),
        ({"host": "fedcloud.tenable.com"}, "--host=fedcloud.tenable.com --port=443"),
        ({"host": "sensor.cloud.tenablecloud.cn"}, "--host=sensor.cloud.tenablecloud.cn --port=443"),
        ({"host": "gateway.example.com", "port": 8443}, "--host=gateway.example.com --port=8443"),
        ({"aws_scanner": True}, "--cloud --aws-scanner"),
        ({"host": "fedcloud.tenable.com", "aws_scanner": True}, "--host=fedcloud.tenable.com --port=443 --aws-scanner"),
        ({"proxy": Proxy(host="proxy", port=3128)}, "--cloud --proxy-host=proxy --proxy-port=3128"),
        (
            {"proxy": Proxy(host="proxy", port=3128, user="me")},
            "--cloud --proxy-host=proxy --proxy-port=3128 --proxy-username=me",
        ),
    ],
)
def test_options_of_linking(machine: Machine, fields: dict[str, Any], options: str) -> None:
    assert machine.run(bootstrap(**fields).user_data()).returncode == 0
    assert machine.ran("nessuscli managed link") == [f"nessuscli managed link --key={KEY} {options} --name=scanner 1"]


def test_each_tenable_has_its_host() -> None:
    assert LINK_HOSTS["cloud.tenable.com"] is None
    assert LINK_HOSTS["fedcloud.tenable.com"] == ("fedcloud.tenable.com", 443)
    assert LINK_HOSTS["cloud.tenablecloud.cn"] == ("sensor.cloud.tenablecloud.cn", 443)


def test_the_update_can_be_left_out_and_may_fail(machine: Machine) -> None:
    machine.run(bootstrap(update_os=False).user_data())
    assert machine.ran("yum") == []
    machine.answers("yum", "1|no mirror")
    assert said(machine.run(bootstrap().user_data()))[-1] == "linked"


def test_a_secret_of_secrets_manager(machine: Machine) -> None:
    machine.run(bootstrap(secret=SecretSource.parse("secret:tenable/key")).user_data())
    assert machine.ran("aws") == [
        "aws secretsmanager get-secret-value --region eu-west-1 --secret-id tenable/key --query SecretString --output "
        "text"
    ]


def test_a_role_that_is_not_there_yet_is_waited_for(machine: Machine) -> None:
    machine.answers("aws ssm get-parameter", *["255|Unable to locate credentials"] * 23, f"0|{KEY}")
    done = machine.run(bootstrap().user_data())
    assert said(done)[-1] == "linked"
    assert machine.ran("sleep") == ["sleep 5"] * 23


def test_a_key_that_may_not_be_read_ends_the_script_with_awss_words(machine: Machine) -> None:
    machine.answers("aws ssm get-parameter", "255|An error occurred (AccessDeniedException): not authorized")
    done = machine.run(bootstrap().user_data())
    assert done.returncode == 1
    assert said(done)[-2:] == [
        "error: An error occurred (AccessDeniedException): not authorized",
        "failed read-secret: parameter /tenable/linking-key/scanner-1 could not be read",
    ]
    assert machine.ran("aws").__len__() == 24
    assert machine.ran("nessuscli managed link") == []
    assert machine.calls[-1] == "service nessusd start"


@pytest.mark.parametrize("value", ["", "$(touch /tmp/x)", "a b", "None given!", "'; reboot"])
def test_a_value_that_is_not_a_key_is_not_used_and_not_shown(machine: Machine, value: str) -> None:
    machine.answers("aws ssm get-parameter", f"0|{value}")
    done = machine.run(bootstrap().user_data())
    assert said(done)[-1].startswith("failed read-secret: parameter /tenable/linking-key/scanner-1 holds no linking")
    assert machine.ran("nessuscli managed link") == []
    assert not value or value not in done.stdout + machine.log.read_text()


def test_linking_is_tried_five_times_with_growing_pauses(machine: Machine) -> None:
    machine.answers("nessuscli managed link", "1|[error] Unable to connect to sensor.cloud.tenable.com:443")
    done = machine.run(bootstrap().user_data())
    assert done.returncode == 1
    assert len(machine.ran("nessuscli managed link")) == 5
    assert machine.ran("sleep") == ["sleep 15", "sleep 30", "sleep 45", "sleep 60"]
    assert said(done)[-2:] == [
        "error: [error] Unable to connect to sensor.cloud.tenable.com:443",
        "failed link: nessuscli could not link after 5 attempts",
    ]
    assert machine.calls[-1] == "service nessusd start"


@pytest.mark.parametrize(
    ("answers", "attempts"),
    [
        (["1|could not resolve host", "0|Successfully linked to x"], 2),
        # Its exit code is not documented.
        (["1|Successfully linked to x"], 1),
        (["0|[error] key is invalid", "0|Successfully linked to x"], 2),
        (["0|done"], 1),
        (["1|This scanner is already linked"], 1),
    ],
)
def test_nessuscli_is_judged_by_its_words_first(machine: Machine, answers: list[str], attempts: int) -> None:
    machine.answers("nessuscli managed link", *answers)
    assert said(machine.run(bootstrap().user_data()))[-1] == "linked"
    assert len(machine.ran("nessuscli managed link")) == attempts


def test_a_machine_that_is_linked_is_left_as_it_is(machine: Machine) -> None:
    machine.answers("nessuscli managed status", "0|Linked to: cloud.tenable.com:443")
    done = machine.run(bootstrap(update_os=False).user_data())
    assert said(done) == ["started", "linked"]
    assert machine.calls == ["nessuscli managed status", "service nessusd start"]


@pytest.mark.parametrize("missing", ["aws", "nessuscli"])
def test_an_image_without_a_program_says_which(tmp_path: Path, missing: str) -> None:
    machine = Machine(tmp_path / "machine", programs=tuple(name for name in PROGRAMS if name != missing))
    if shutil.which(missing):
        pytest.skip(f"{missing} is installed here")
    done = machine.run(bootstrap().user_data())
    what = {"aws": "read-secret: this image has no AWS", "nessuscli": "find-nessus: this image has no nessuscli"}
    assert done.returncode == 1
    assert f"failed {what[missing]}" in said(done)[-1]


@pytest.mark.parametrize(
    "link",
    ["0|Successfully linked", f"1|[error] bad key {KEY}", f"0|[error] {KEY}", f"0|linked with {KEY}"],
)
def test_the_key_is_shown_nowhere(machine: Machine, link: str) -> None:
    machine.answers("nessuscli managed link", link)
    script = bootstrap().user_data()
    done = machine.run("set -x\n" + script)
    # A shell that traces shows the lines before the script turns it off, and none with the key.
    kept = "".join(path.read_text() for path in machine.folder.glob("bootstrap.log*"))
    assert KEY not in script + done.stdout + done.stderr + kept
    assert machine.log.stat().st_mode & 0o077 == 0


def test_the_proxys_password_is_read_on_the_machine_and_shown_nowhere(machine: Machine) -> None:
    machine.answers("aws secretsmanager get-secret-value", "0|pass word$1")
    machine.answers("nessuscli managed link", "1|[error] 407 for pass word$1")
    proxy = Proxy(host="proxy", port=3128, user="me", password=SecretSource.parse("secret:proxy"))
    done = machine.run(bootstrap(proxy=proxy).user_data())
    assert "--proxy-password=pass word$1 --name=scanner 1" in machine.ran("nessuscli managed link")[0]
    assert "pass word" not in done.stdout + machine.log.read_text()


def test_a_stand_alone_scanner_is_registered_and_used_codes_are_taken(machine: Machine) -> None:
    machine.answers("aws ssm get-parameter", "0|ABCD-EFGH-1234")
    machine.answers("nessuscli fetch --register", "1|code was used before ABCD-EFGH-1234")
    done = machine.run(bootstrap(mode="register", update_os=False).user_data())
    assert machine.ran("nessuscli") == [
        "nessuscli fetch --register ABCD-EFGH-1234",
        "nessuscli fetch --code-in-use",
    ]
    assert said(done)[-1] == "registered"
    assert "ABCD" not in done.stdout + machine.log.read_text()


def test_unlinking(machine: Machine) -> None:
    script = "\n".join(unlink_commands())
    assert said(machine.run(script))[-1] == "unlinked"
    assert machine.calls == ["service nessusd stop", "nessuscli managed unlink", "service nessusd start"]
    machine.answers("nessuscli managed unlink", "1|[error] Not linked to a manager")
    assert said(machine.run(script))[-1] == "unlinked"
    machine.answers("nessuscli managed unlink", "1|[error] disk full")
    assert said(machine.run(script))[-2:] == ["error: [error] disk full", "failed unlink"]


def test_commands_are_the_lines_of_the_script() -> None:
    assert "\n".join(bootstrap().commands()) + "\n" == bootstrap().user_data()
    assert bootstrap().commands()[0] == "#!/bin/sh"


HOSTILE = ["a'; reboot #", "$(reboot)", "`reboot`", "a\nreboot", "-name", "", "a" * 65, "é", "a/b", "{{ x }}", None, 7]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_could_do_something_in_a_shell_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a scanner"):
        bootstrap(name=name)
    with pytest.raises(ConfigurationError):
        check_name(name)


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "x; reboot"},
        {"host": "-x"},
        {"host": "x", "port": 0},
        {"host": "x", "port": "443; reboot"},
        {"host": "x", "port": True},
        {"region": "eu-west-1; reboot"},
        {"mode": "both"},
        {"mode": "register", "aws_scanner": True},
        {"proxy": Proxy(host="$(x)", port=1)},
        {"proxy": Proxy(host="x", port=99999)},
        {"proxy": Proxy(host="x", port=1, user="a b")},
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        bootstrap(**fields)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        KEY,
        f"parameter:{KEY}",
        "parameter:x",
        "parameter:/a//b",
        "parameter:/aws/x",
        "parameter:/a b",
        "parameter:/a;reboot",
        "secret:",
        "secret:$(x)",
        "inline:x",
        "parameter:" + "/a" * 16,
    ],
)
def test_a_secrets_place_that_aws_does_not_allow_is_refused(text: Any) -> None:
    with pytest.raises(ConfigurationError) as failure:
        SecretSource.parse(text)
    assert KEY not in str(failure.value) or text == f"parameter:{KEY}"


def test_arns_of_secrets() -> None:
    where = {"partition": "aws-us-gov", "region": "us-gov-west-1", "account": "111122223333"}
    assert PARAMETER.arn(**where) == (
        "arn:aws-us-gov:ssm:us-gov-west-1:111122223333:parameter/tenable/linking-key/scanner-1"
    )
    secret = SecretSource.parse("secret:tenable/key")
    assert secret.arn(**where) == "arn:aws-us-gov:secretsmanager:us-gov-west-1:111122223333:secret:tenable/key-??????"
    assert (PARAMETER.action, secret.action) == ("ssm:GetParameter", "secretsmanager:GetSecretValue")
    assert str(SecretSource.parse(str(PARAMETER))) == "parameter:/tenable/linking-key/scanner-1"


def test_user_data_of_a_user_may_hold_no_key() -> None:
    assert check_user_data("#!/bin/sh\ntrue") == "#!/bin/sh\ntrue"
    with pytest.raises(ConfigurationError, match="64 hex digits") as failure:
        check_user_data(f"nessuscli managed link --key={KEY} --cloud")
    assert KEY not in str(failure.value)
    for text in ("x" * 16_385, None):
        with pytest.raises(ConfigurationError):
            check_user_data(text)


def test_a_long_script_is_within_ec2s_limit() -> None:
    proxy = Proxy(host="p" * 253, port=65535, user="u" * 128, password=SecretSource.parse("secret:" + "s" * 512))
    longest = bootstrap(name="n" * 64, host="h" * 253, proxy=proxy, secret=SecretSource.parse("secret:" + "k" * 512))
    assert len(longest.user_data().encode()) < 8_000


def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    for number, script in enumerate(
        [bootstrap().user_data(), bootstrap(mode="register").user_data(), "\n".join(unlink_commands()) + "\n"]
    ):
        path = tmp_path / f"{number}.sh"
        path.write_text(script)
        done = subprocess.run([shellcheck, "-s", "sh", str(path)], capture_output=True, text=True, check=False)
        assert done.stdout == ""


def test_no_line_of_the_script_turns_tracing_on() -> None:
    assert not re.search(r"set -[a-z]*x", bootstrap().user_data())
