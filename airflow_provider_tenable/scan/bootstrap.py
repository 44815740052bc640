"""The script that links a Nessus scanner to Tenable: as user data of a new machine, or as commands for a running one.

It follows the guide's script (update, stop, link, start), with these differences: the linking key is read on the
machine, with the machine's own role, and is never part of the script; a step that fails is repeated; running it again
changes nothing; and its last line on the console is what came of it. The script is for a POSIX shell, since SSM's
``AWS-RunShellScript`` runs commands with ``sh``.

Sources: Tenable's AWS guide (BYOL scanner); Nessus documentation (nessuscli, managed scanner commands); EC2 user guide
(user data, at most 16 KB).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Literal

from airflow_provider_tenable.aws import REGION
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.identifiers import shown
from airflow_provider_tenable.scan.secret_source import SecretSource

#: Every line of the script that the console shows begins with this.
MARK = "tenable-bootstrap:"
#: The limit of EC2, before base64.
LONGEST_USER_DATA = 16_384

#: Host of the API -> host and port that a scanner is linked to; None: ``--cloud`` (Nessus docs; VM docs: link a
#: sensor).
LINK_HOSTS: dict[str, tuple[str, int] | None] = {
    "cloud.tenable.com": None,
    "fedcloud.tenable.com": ("fedcloud.tenable.com", 443),
    "cloud.tenablecloud.cn": ("sensor.cloud.tenablecloud.cn", 443),
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,63}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9._@\\-]{1,128}", re.ASCII)
#: A key of Tenable's: 64 hex digits in a row.
_KEY = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{64}(?![0-9A-Za-z])")


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """The proxy through which a scanner reaches Tenable.

    :ivar password: where the machine reads the proxy's password.
    """

    host: str
    port: int
    user: str | None = None
    password: SecretSource | None = None


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """What a machine is to do at its first start.

    :ivar name: the scanner's name in Tenable.
    :ivar secret: where the machine reads the linking key; with ``mode="register"``, the activation code.
    :ivar region: the Region of the secret.
    :ivar mode: ``link`` to Tenable's cloud, or ``register`` as a stand-alone Nessus Professional or Expert.
    :ivar host: the host to link to, and its ``port``; None: ``--cloud``.
    :ivar aws_scanner: link with ``--aws-scanner``, which keeps the features of a pre-authorised scanner (Nessus 10.2 or
        later, with a role on the instance).
    :ivar update_os: run ``yum update`` first.
    """

    name: str
    secret: SecretSource
    region: str
    mode: Literal["link", "register"] = "link"
    host: str | None = None
    port: int = 443
    aws_scanner: bool = False
    update_os: bool = True
    proxy: Proxy | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if not REGION.fullmatch(self.region):
            raise ConfigurationError(f"{shown(self.region)} is not an AWS Region.")
        if self.mode not in ("link", "register"):
            raise ConfigurationError(f"mode is {shown(self.mode)}; it must be 'link' or 'register'.")
        if self.mode == "register" and (self.host or self.aws_scanner or self.proxy):
            raise ConfigurationError(
                "host, aws_scanner and proxy are options of linking; a stand-alone Nessus ('register') has none."
            )
        for host, port in [(self.host, self.port)] + ([(self.proxy.host, self.proxy.port)] if self.proxy else []):
            if host is not None and not _HOST.fullmatch(host):
                raise ConfigurationError(f"{shown(host)} is not the name of a host.")
            if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
                raise ConfigurationError(f"{shown(port)} is not a port.")
        if self.proxy and self.proxy.user is not None and not _USER.fullmatch(self.proxy.user):
            raise ConfigurationError(f"{shown(self.proxy.user)} cannot be the user of a proxy.")

    def user_data(self) -> str:
        """The script. It contains no secret.

        :raises ConfigurationError: it is longer than EC2 allows.
        """
        step = _REGISTER if self.mode == "register" else _LINK
        script = _script(step, self._settings(), secrets=_SECRETS)
        if len(script.encode()) > LONGEST_USER_DATA:
            raise ConfigurationError(f"The user data has more than {LONGEST_USER_DATA} bytes.")
        return script

    def commands(self) -> list[str]:
        """The same for SSM's ``AWS-RunShellScript``."""
        return self.user_data().splitlines()

    def _settings(self) -> str:
        proxy = self.proxy
        values = {
            "REGION": self.region,
            "SECRET_KIND": self.secret.kind,
            "SECRET_NAME": self.secret.name,
            "SCANNER_NAME": self.name,
            "LINK_HOST": self.host or "",
            "LINK_PORT": str(self.port),
            "AWS_SCANNER": "yes" if self.aws_scanner else "no",
            "UPDATE_OS": "yes" if self.update_os else "no",
            "PROXY_HOST": proxy.host if proxy else "",
            "PROXY_PORT": str(proxy.port) if proxy else "",
            "PROXY_USER": (proxy.user or "") if proxy else "",
            "PROXY_SECRET_KIND": proxy.password.kind if proxy and proxy.password else "",
            "PROXY_SECRET_NAME": proxy.password.name if proxy and proxy.password else "",
        }
        used = {name: value for name, value in values.items() if self.mode == "link" or name in _OF_REGISTERING}
        return "\n".join(f"{name}={shlex.quote(value)}" for name, value in used.items())


def unlink_commands() -> list[str]:
    """Commands that unlink a machine, for SSM's ``AWS-RunShellScript``."""
    return _script(_UNLINK, "UPDATE_OS=no").splitlines()


def _script(step: str, settings: str, *, secrets: str = "") -> str:
    return _TEMPLATE.replace("@STEP@", step).replace("@SECRETS@", secrets).replace("@SETTINGS@", settings)


def check_name(name: object) -> str:
    """A scanner's name.

    :raises ConfigurationError: it has characters that would need escaping somewhere on its way: a shell, a tag, a path.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{shown(name)} cannot be the name of a scanner here: 1 to 64 letters, digits, dots, dashes, underscores "
            "and spaces, the first one a letter or digit. In a template, use {{ ts_nodash }} rather than {{ run_id }}."
        )
    return name


def check_user_data(text: object) -> str:
    """User data that a user has written: EC2 shows it to everybody who may describe the instance.

    :raises ConfigurationError: it contains a linking key, or is longer than EC2 allows.
    """
    if not isinstance(text, str):
        raise ConfigurationError("user_data must be a text.")
    if _KEY.search(text):
        raise ConfigurationError(
            "user_data contains 64 hex digits, as a linking key has. User data is not secret: everybody who may "
            "describe the instance can read it. Let the machine read the key from SSM or Secrets Manager."
        )
    if len(text.encode()) > LONGEST_USER_DATA:
        raise ConfigurationError(f"user_data has more than {LONGEST_USER_DATA} bytes.")
    return text


_OF_REGISTERING = ("REGION", "SECRET_KIND", "SECRET_NAME", "SCANNER_NAME", "UPDATE_OS")

_TEMPLATE = r"""#!/bin/sh
# Written by airflow-provider-tenable. Contains no secret, and can be run again.
set +x
set -u
umask 077
PATH="$PATH:/opt/nessus/sbin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
export PATH
LOG="${TENABLE_BOOTSTRAP_LOG:-/var/log/tenable-bootstrap.log}"
@SETTINGS@

say() {
    printf 'tenable-bootstrap: %s\n' "$1"
    printf '%s tenable-bootstrap: %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" >>"$LOG"
}

end() {
    service nessusd start >>"$LOG" 2>&1 || say "service nessusd start failed"
    if [ "$2" -ne 0 ] && [ -s "$LOG.error" ]; then say "error: $(sed -n '$p' "$LOG.error" | cut -c 1-300)"; fi
    say "$1"
    exit "$2"
}

@SECRETS@say "started"
command -v nessuscli >/dev/null || end "failed find-nessus: this image has no nessuscli" 1
if [ "$UPDATE_OS" = yes ]; then
    say "updating the operating system"
    yum update -y >>"$LOG" 2>&1 || say "yum update failed; going on without it"
fi
@STEP@"""

#: How the machine reads a secret.
_SECRETS = r"""fetch() {
    if [ "$1" = parameter ]; then
        aws ssm get-parameter --region "$REGION" --name "$2" --with-decryption \
            --query Parameter.Value --output text
    else
        aws secretsmanager get-secret-value --region "$REGION" --secret-id "$2" \
            --query SecretString --output text
    fi
}

# The role of a new machine may take a while until it works: 24 attempts in 2 minutes.
secret() {
    command -v aws >/dev/null || end "failed read-secret: this image has no AWS command line" 1
    attempt=1
    until VALUE=$(fetch "$1" "$2" 2>"$LOG.error"); do
        [ "$attempt" -lt 24 ] || end "failed read-secret: $1 $2 could not be read" 1
        attempt=$((attempt + 1))
        sleep 5
    done
    : >"$LOG.error"
}

"""

_LINK = r"""
if nessuscli managed status 2>/dev/null | grep -i 'linked to' | grep -qiv 'none'; then
    end "linked" 0
fi
secret "$SECRET_KIND" "$SECRET_NAME"
KEY=$VALUE
case "$KEY" in
    '' | *[!0-9A-Za-z]*) end "failed read-secret: $SECRET_KIND $SECRET_NAME holds no linking key" 1 ;;
esac
set -- --key="$KEY"
if [ -n "$LINK_HOST" ]; then set -- "$@" --host="$LINK_HOST" --port="$LINK_PORT"; else set -- "$@" --cloud; fi
[ "$AWS_SCANNER" = no ] || set -- "$@" --aws-scanner
[ -z "$PROXY_HOST" ] || set -- "$@" --proxy-host="$PROXY_HOST" --proxy-port="$PROXY_PORT"
[ -z "$PROXY_USER" ] || set -- "$@" --proxy-username="$PROXY_USER"
if [ -n "$PROXY_SECRET_NAME" ]; then
    secret "$PROXY_SECRET_KIND" "$PROXY_SECRET_NAME"
    set -- "$@" --proxy-password="$VALUE"
fi
service nessusd stop >>"$LOG" 2>&1 || say "service nessusd stop failed; going on"
attempt=1
while :; do
    say "linking, attempt $attempt"
    OUTPUT=$(nessuscli managed link "$@" --name="$SCANNER_NAME" 2>&1)
    CODE=$?
    case "$OUTPUT" in
        *"$KEY"* | *"${VALUE}"*) printf 'The output repeats a secret and is not kept.\n' >"$LOG.error" ;;
        *) printf '%s\n' "$OUTPUT" >"$LOG.error" ;;
    esac
    cat "$LOG.error" >>"$LOG"
    # Exit codes of nessuscli are not documented: its words count first.
    case "$OUTPUT" in
        *"uccessfully linked"* | *"lready linked"*) end "linked" 0 ;;
        *[Ee]rror* | *[Ff]ailed*) ;;
        *) [ "$CODE" -ne 0 ] || end "linked" 0 ;;
    esac
    [ "$attempt" -lt 5 ] || end "failed link: nessuscli could not link after 5 attempts" 1
    sleep $((attempt * 15))
    attempt=$((attempt + 1))
done
"""

_REGISTER = r"""
secret "$SECRET_KIND" "$SECRET_NAME"
case "$VALUE" in
    '' | *[!0-9A-Za-z-]*) end "failed read-secret: $SECRET_KIND $SECRET_NAME holds no activation code" 1 ;;
esac
service nessusd stop >>"$LOG" 2>&1 || say "service nessusd stop failed; going on"
attempt=1
while :; do
    say "registering $SCANNER_NAME, attempt $attempt"
    # A code that this machine has used cannot be registered a second time.
    if nessuscli fetch --register "$VALUE" >/dev/null 2>&1 || nessuscli fetch --code-in-use >/dev/null 2>&1; then
        end "registered" 0
    fi
    [ "$attempt" -lt 5 ] || end "failed register: nessuscli could not register after 5 attempts" 1
    sleep $((attempt * 15))
    attempt=$((attempt + 1))
done
"""

_UNLINK = r"""
service nessusd stop >>"$LOG" 2>&1 || say "service nessusd stop failed; going on"
if OUTPUT=$(nessuscli managed unlink 2>&1); then end "unlinked" 0; fi
printf '%s\n' "$OUTPUT" >"$LOG.error"
case "$OUTPUT" in
    *[Nn]"ot linked"*) end "unlinked" 0 ;;
esac
end "failed unlink" 1
"""
