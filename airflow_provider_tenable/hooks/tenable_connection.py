"""Reads a connection into pyTenable's arguments, and decides where the API keys may be sent.

Every request contains the keys. Plain http would expose them on the network, so it is rejected unless the connection
allows it or the request does not leave this machine.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import re
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from airflow_provider_tenable._compat import mask_secret
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards import log_guard, redaction

log = logging.getLogger(__name__)

DEFAULT_URL = "https://cloud.tenable.com"
#: Hosts that Tenable runs (API docs; sensor linking docs). Another one is allowed, for a proxy or a test, and is
#: logged.
TENABLE_HOSTS = frozenset({"cloud.tenable.com", "fedcloud.tenable.com", "cloud.tenablecloud.cn"})

_HOST = re.compile(r"[^\s/\\<>\"'{}|^`%]+")
_KEY = re.compile(r"[!-:<-~]+")
# Not with urlsplit, which rejects slightly malformed URLs: requests may still quote those in its errors.
_PROXY_PASSWORD = re.compile(r"^(?:[^/]*//)?[^/@:]*:(.+)@")
#: (connection id, host) pairs that this process has already logged. A triggerer reads its connections for months.
_reported_hosts: set[tuple[str, str]] = set()


def arguments_of(connection: Any, conn_id: str) -> dict[str, Any]:
    """Read a connection into pyTenable's arguments. From then on, its secrets are masked in all logs and texts of this
    process.

    :raises ConfigurationError: the keys are missing, the URL or an extra is invalid, or plain http is not allowed.
    """
    extra = connection.extra_dejson
    access_key = (connection.login or os.environ.get("TIO_ACCESS_KEY") or "").strip()
    secret_key = (connection.password or os.environ.get("TIO_SECRET_KEY") or "").strip()
    if not access_key or not secret_key:
        missing = "access key (login)" if not access_key else "secret key (password)"
        raise ConfigurationError(
            f"Connection {conn_id!r} has no {missing}. Enter both keys of a Tenable API user "
            "in the connection, or set TIO_ACCESS_KEY and TIO_SECRET_KEY where the workers run."
        )
    if not _KEY.fullmatch(access_key) or not _KEY.fullmatch(secret_key):
        # requests would reject the header, and quote it in its error.
        raise ConfigurationError(
            f"A key of connection {conn_id!r} contains blanks or characters that Tenable keys do not have. Copy both "
            "keys again from the API user."
        )
    keep_secret(access_key, secret_key, in_bodies=True)
    proxies = _proxies(extra.get("proxies"), conn_id)
    keep_secret(*_passwords(proxies))
    url = _url(connection, conn_id)
    allow_http = _allow_http(extra.get("allow_http"), conn_id)
    if is_plain_http(url) and not allow_http and not _stays_here(url, proxies):
        raise ConfigurationError(
            f"The URL of connection {conn_id!r} begins with http://, so the API keys would be sent unencrypted. Use "
            "https://, or, if the network path to the host is safe (a sandbox, a gateway in the same pod), set extra "
            "'allow_http' to true."
        )
    return {
        "access_key": access_key,
        "secret_key": secret_key,
        "url": url,
        "timeout": _timeout(extra.get("timeout"), conn_id),
        "ssl_verify": _verify(extra.get("verify")),
        "proxies": proxies,
    }


def keep_secret(*secrets: str, in_bodies: bool = False) -> None:
    """Mask secrets from now on: in our own logs and texts, and in Airflow's.

    :param in_bodies: also in the bodies of responses that are handed on.
    """
    log_guard.install()
    redaction.remember(*secrets, in_bodies=in_bodies)
    for form in dict.fromkeys(form for secret in secrets for form in (secret, quote(secret), json.dumps(secret)[1:-1])):
        try:
            mask_secret(form)
        except Exception as error:  # noqa: BLE001 - for example a logging configuration without a masker; our own logs are masked anyway
            log.debug("Airflow cannot mask a secret (%s).", type(error).__name__)


def _passwords(proxies: dict[str, str] | None) -> list[str]:
    """The passwords in proxy URLs, both as written and as sent."""
    found = [match[1] for url in (proxies or {}).values() if (match := _PROXY_PASSWORD.search(url))]
    return list(dict.fromkeys(form for password in found for form in (password, unquote(password))))


def report_host(url: str, conn_id: str) -> None:
    """Log, once per process, that the keys of a connection go to a host that Tenable does not run."""
    host = urlsplit(url).hostname or ""
    if host in TENABLE_HOSTS or (conn_id, host) in _reported_hosts:
        return
    _reported_hosts.add((conn_id, host))
    log.warning(
        "Connection %r sends the API keys to %s, which is not one of Tenable's hosts. That is correct for your own "
        "proxy or gateway, or for a test; otherwise correct the connection's URL.",
        conn_id,
        host,
    )


def is_plain_http(url: str) -> bool:
    """Whether requests to a URL are unencrypted."""
    return urlsplit(url).scheme == "http"


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine: 127.0.0.0/8, ::1 or localhost. Other names are not resolved."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _stays_here(url: str, proxies: dict[str, str] | None) -> bool:
    # For a proxy, "localhost" is the proxy's own machine, and the request with the keys would be sent there.
    return is_loopback(url) and not {"http", "all"} & (proxies or {}).keys()


def _url(connection: Any, conn_id: str) -> str:
    host = (connection.host or "").strip() or DEFAULT_URL
    # A connection URI keeps the scheme apart from the host.
    if "://" not in host:
        host = f"{connection.schema or 'https'}://{host}"
    try:
        parts = urlsplit(host)
        port = parts.port or connection.port
    except ValueError:
        parts, port = urlsplit(""), None
    name = parts.hostname or ""
    if parts.scheme not in ("https", "http") or not _HOST.fullmatch(name) or parts.username:
        raise ConfigurationError(
            f"The URL of connection {conn_id!r} is not a valid URL. Use one such as {DEFAULT_URL}."
        )
    netloc = name if ":" not in name else f"[{name}]"
    return f"{parts.scheme}://{netloc}" + (f":{port}" if port else "") + parts.path.rstrip("/")


def _timeout(value: Any, conn_id: str) -> int:
    if value in (None, ""):
        return 120
    try:
        seconds = int(value)
    except (TypeError, ValueError, OverflowError):
        seconds = 0
    if not 1 <= seconds <= 3600:
        raise ConfigurationError(
            f"Extra 'timeout' of connection {conn_id!r} must be a whole number of seconds from 1 to 3600."
        )
    return seconds


def _verify(value: Any) -> bool | str:
    text = str(value).strip() if value is not None else ""
    known = {"": True, "true": True, "false": False}
    return known.get(text.lower(), text)


def _allow_http(value: Any, conn_id: str) -> bool:
    text = str(value).strip().lower() if value is not None else ""
    known = {"": False, "true": True, "false": False}
    if text not in known:
        raise ConfigurationError(f"Extra 'allow_http' of connection {conn_id!r} must be true or false.")
    return known[text]


def _proxies(value: Any, conn_id: str) -> dict[str, str] | None:
    if value in (None, "", {}):
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        # The value may contain a proxy's password, so the message does not quote it.
        raise ConfigurationError(f"Extra 'proxies' of connection {conn_id!r} must be a JSON object of URLs by scheme.")
    return value
