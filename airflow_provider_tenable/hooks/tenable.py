"""Tenable Vulnerability Management behind an Airflow connection."""

from __future__ import annotations

import json
import re
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_tenable import __version__
from airflow_provider_tenable._compat import AirflowNotFoundException, BaseHook
from airflow_provider_tenable.exceptions import ConfigurationError, TenableProviderError
from airflow_provider_tenable.provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR

if TYPE_CHECKING:
    from tenable.io import TenableIO

    from airflow_provider_tenable.export_jobs import Job, JobStatus

DEFAULT_URL = "https://cloud.tenable.com"
_HOST = re.compile(r"[^\s/\\<>\"'{}|^`%]+")
_KEY = re.compile(r"[!-:<-~]+")
#: Hosts that Tenable runs; another one is allowed (a proxy, a test) but logged, since the keys go there.
TENABLE_HOSTS = frozenset({"cloud.tenable.com", "fedcloud.tenable.com", "cloud.tenablecloud.cn"})


class TenableHook(BaseHook):
    """Talk to Tenable Vulnerability Management through pyTenable.

    :param tenable_conn_id: connection of type ``tenable``: host is the URL, login the access key, password the secret key; extras ``verify``
        (true, false or the path of a CA bundle), ``proxies`` (object of URLs by scheme) and ``timeout`` (seconds). Without keys in the connection,
        the environment variables ``TIO_ACCESS_KEY`` and ``TIO_SECRET_KEY`` serve.
    :param retries: how often pyTenable repeats a request that met 429, 502, 503, 504 or a broken connection.
    """

    conn_name_attr = "tenable_conn_id"
    default_conn_name = "tenable_default"
    conn_type = "tenable"
    hook_name = "Tenable Vulnerability Management"

    def __init__(self, tenable_conn_id: str = default_conn_name, *, retries: int = 5) -> None:
        super().__init__()
        self.tenable_conn_id = tenable_conn_id
        self.retries = retries

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The connection form of Airflow 2.11 to 3.1; newer ones read the same table in ``provider_info``."""
        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The extras as fields of the form, for Airflow 2.11 to 3.1."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import IntegerField, StringField
        from wtforms.validators import NumberRange, Optional

        widgets: dict[str, Any] = {}
        for name, field in CONN_FIELDS.items():
            schema = field["schema"]
            common: dict[str, Any] = {"widget": BS3TextFieldWidget(), "description": field["description"]}
            if "integer" in schema["type"]:
                bounds = NumberRange(min=schema["minimum"], max=schema["maximum"])
                widgets[name] = IntegerField(field["label"], validators=[Optional(), bounds], **common)
            else:
                widgets[name] = StringField(field["label"], default=schema.get("default"), **common)
        return widgets

    @cached_property
    def connection_arguments(self) -> dict[str, Any]:
        """What pyTenable is constructed with. Holds the keys: never log it.

        :raises ConfigurationError: a field of the connection cannot be used.
        """
        try:
            connection = self.get_connection(self.tenable_conn_id)
        except AirflowNotFoundException:
            raise ConfigurationError(
                f"There is no connection with the id {self.tenable_conn_id!r}. Create it with type 'tenable', or correct the id of the connection."
            ) from None
        return arguments_of(connection, self.tenable_conn_id)

    def get_conn(self) -> TenableIO:
        """A pyTenable client (cached). Not for use by several threads."""
        return self._client

    @cached_property
    def _client(self) -> TenableIO:
        return new_client(self.connection_arguments, retries=self.retries)

    @cached_property
    def api(self) -> Any:
        """The calls of :class:`~airflow_provider_tenable.hooks.tenable_api.TenableApi` on this hook's client."""
        from airflow_provider_tenable.hooks.tenable_api import TenableApi

        return TenableApi(self.get_conn(), name=f"connection {self.tenable_conn_id!r}")

    def close(self) -> None:
        """Close the client's connections."""
        if "_client" in self.__dict__:
            self._client._session.close()

    def start_export(self, kind: str, body: dict[str, Any]) -> str:
        """Ask for an export (``assets``, ``vulnerabilities``, ``compliance``) and return the job's uuid."""
        return str(self.api.start(kind, body))

    def export_status(self, kind: str, job_uuid: str) -> JobStatus:
        """The state of an export job."""
        status: JobStatus = self.api.status(kind, job_uuid)
        return status

    def export_jobs(self, kind: str) -> list[Job]:
        """The export jobs of the last days."""
        jobs: list[Job] = self.api.jobs(kind)
        return jobs

    def export_chunk(self, kind: str, job_uuid: str, chunk_id: int) -> bytes:
        """A chunk as Tenable serves it: a JSON array, undecoded."""
        data: bytes = self.api.chunk(kind, job_uuid, chunk_id)
        return data

    def cancel_export(self, kind: str, job_uuid: str) -> None:
        """Cancel an export job."""
        self.api.cancel(kind, job_uuid)

    def test_connection(self) -> tuple[bool, str]:
        """Ask Tenable who we are, and whether we may export; the text says what is wrong."""
        try:
            with closing(type(self)(self.tenable_conn_id, retries=0)) as hook:
                user = hook.api.who_am_i()
                hook.api.jobs("vulnerabilities")
        except TenableProviderError as error:
            # The button tests under an id that Airflow makes up: nobody would know it.
            text = str(error).replace(f"Connection {self.tenable_conn_id!r}", "This connection")
            return False, text.replace(f"connection {self.tenable_conn_id!r}", "this connection")
        except Exception as error:  # noqa: BLE001 - the button must answer, whatever happens; the class alone cannot hold a secret.
            return False, f"The connection cannot be used: {type(error).__name__}."
        return True, f"Tenable answers, the keys belong to {user}, and the user may export."


def arguments_of(connection: Any, conn_id: str) -> dict[str, Any]:
    """Read a connection into pyTenable's arguments.

    :raises ConfigurationError: no keys, a URL or an extra that cannot be used.
    """
    import os

    extra = connection.extra_dejson
    access_key = (connection.login or os.environ.get("TIO_ACCESS_KEY") or "").strip()
    secret_key = (connection.password or os.environ.get("TIO_SECRET_KEY") or "").strip()
    if not access_key or not secret_key:
        raise ConfigurationError(
            f"Connection {conn_id!r} has no {'access key (login)' if not access_key else 'secret key (password)'}. Enter both keys of a Tenable API user "
            "in the connection, or set TIO_ACCESS_KEY and TIO_SECRET_KEY where the workers run."
        )
    if not _KEY.fullmatch(access_key) or not _KEY.fullmatch(secret_key):
        # requests would refuse the header, and quote it in its error.
        raise ConfigurationError(f"A key of connection {conn_id!r} holds blanks or characters that no Tenable key has. Copy both keys again from the API user.")
    return {
        "access_key": access_key,
        "secret_key": secret_key,
        "url": _url(connection, conn_id),
        "timeout": _timeout(extra.get("timeout"), conn_id),
        "ssl_verify": _verify(extra.get("verify")),
        "proxies": _proxies(extra.get("proxies"), conn_id),
    }


def new_client(arguments: dict[str, Any], *, retries: int) -> TenableIO:
    """Construct pyTenable's client: our user agent, our guarded session, no Box."""
    from tenable.io import TenableIO

    from airflow_provider_tenable.hooks.tenable_session import GuardedSession

    arguments = dict(arguments)
    verify = arguments.pop("ssl_verify")
    session = GuardedSession(arguments["url"])
    session.verify = verify
    return TenableIO(
        **{name: value for name, value in arguments.items() if value is not None},
        ssl_verify=verify,
        session=session,
        retries=retries,
        vendor="Apache Airflow",
        product="airflow-provider-tenable",
        build=__version__,
        box=False,
    )


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
        raise ConfigurationError(f"The URL of connection {conn_id!r} is not a web address. Use one such as {DEFAULT_URL}.")
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
        raise ConfigurationError(f"Extra 'timeout' of connection {conn_id!r} must be a whole number of seconds from 1 to 3600.")
    return seconds


def _verify(value: Any) -> bool | str:
    text = str(value).strip() if value is not None else ""
    known = {"": True, "true": True, "false": False}
    return known.get(text.lower(), text)


def _proxies(value: Any, conn_id: str) -> dict[str, str] | None:
    if value in (None, "", {}):
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        # The value may hold a proxy's password: it stays out of the text.
        raise ConfigurationError(f"Extra 'proxies' of connection {conn_id!r} must be a JSON object of URLs by scheme.")
    return value


__all__ = ["TenableHook", "arguments_of", "new_client"]
