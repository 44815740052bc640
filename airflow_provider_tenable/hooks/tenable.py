"""The hook for Tenable Vulnerability Management."""

from __future__ import annotations

from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable import __version__
from airflow_provider_tenable._compat import AirflowNotFoundException, BaseHook
from airflow_provider_tenable.exceptions import ConfigurationError, TenableProviderError
from airflow_provider_tenable.hooks.tenable_connection import (
    DEFAULT_URL,
    TENABLE_HOSTS,
    arguments_of,
    is_loopback,
    is_plain_http,
    keep_secret,
    report_host,
)
from airflow_provider_tenable.provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR
from airflow_provider_tenable.tenable_vm.retry import REPEATS

if TYPE_CHECKING:
    from tenable.io import TenableIO

    from airflow_provider_tenable.tenable_vm.api_user import ApiUserApi
    from airflow_provider_tenable.tenable_vm.client import TenableApi
    from airflow_provider_tenable.tenable_vm.connectors import ConnectorsApi
    from airflow_provider_tenable.tenable_vm.credentials import CredentialsApi
    from airflow_provider_tenable.tenable_vm.jobs import Job, JobStatus
    from airflow_provider_tenable.tenable_vm.recast_rules import RecastRulesApi
    from airflow_provider_tenable.tenable_vm.scan_exports import ScanExportsApi
    from airflow_provider_tenable.tenable_vm.scan_runs import ScanRunsApi
    from airflow_provider_tenable.tenable_vm.scanners import Scanner, ScannersApi
    from airflow_provider_tenable.tenable_vm.scans import ScansApi


class TenableHook(BaseHook):
    """Talk to Tenable Vulnerability Management through pyTenable.

    :param tenable_conn_id: connection of type ``tenable``: host is the URL, login the access key, password the secret
        key; extras ``verify`` (true, false or the path of a CA bundle), ``proxies`` (object of URLs by scheme),
        ``timeout`` (seconds) and ``allow_http`` (true: plain http to a host other than this machine). Without keys in
        the connection, the environment variables ``TIO_ACCESS_KEY`` and ``TIO_SECRET_KEY`` are used.
    :param retries: how often a request is repeated after 429, 501, 502, 503, 504 or a broken connection.
    """

    conn_name_attr = "tenable_conn_id"
    default_conn_name = "tenable_default"
    conn_type = "tenable"
    hook_name = "Tenable Vulnerability Management"

    def __init__(self, tenable_conn_id: str = default_conn_name, *, retries: int = REPEATS) -> None:
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
        """The arguments of pyTenable's constructor. They contain the keys: never log them.

        :raises ConfigurationError: the connection does not exist, or one of its fields is invalid.
        """
        try:
            connection = self.get_connection(self.tenable_conn_id)
        except AirflowNotFoundException:
            raise ConfigurationError(
                f"There is no connection with the id {self.tenable_conn_id!r}. Create it with type 'tenable', or "
                "correct the id of the connection."
            ) from None
        arguments = arguments_of(connection, self.tenable_conn_id)
        report_host(arguments["url"], self.tenable_conn_id)
        return arguments

    def get_conn(self) -> TenableIO:
        """A pyTenable client (cached). Not for use by several threads."""
        return self._client

    @cached_property
    def _client(self) -> TenableIO:
        return new_client(self.connection_arguments, retries=self.retries)

    @cached_property
    def api(self) -> TenableApi:
        """The calls of :class:`~airflow_provider_tenable.tenable_vm.client.TenableApi` on this hook's client."""
        from airflow_provider_tenable.tenable_vm.client import TenableApi

        return TenableApi(self.get_conn(), name=f"connection {self.tenable_conn_id!r}", repeats=self.retries)

    @cached_property
    def scanners(self) -> ScannersApi:
        """The calls of :class:`~airflow_provider_tenable.tenable_vm.scanners.ScannersApi` on this hook's client."""
        from airflow_provider_tenable.tenable_vm.scanners import ScannersApi

        return ScannersApi(self.get_conn(), name=f"connection {self.tenable_conn_id!r}", repeats=self.retries)

    @cached_property
    def _client_once(self) -> TenableIO:
        """A client that never repeats a request, for calls that must not be carried out twice."""
        return new_client(self.connection_arguments, retries=0)

    @cached_property
    def scans(self) -> ScansApi:
        """Scans and their templates: :class:`~airflow_provider_tenable.tenable_vm.scans.ScansApi`."""
        from airflow_provider_tenable.tenable_vm.scans import ScansApi

        return ScansApi(self.get_conn(), once=self._client_once, name=f"connection {self.tenable_conn_id!r}")

    @cached_property
    def scan_runs(self) -> ScanRunsApi:
        """Runs of scans: :class:`~airflow_provider_tenable.tenable_vm.scan_runs.ScanRunsApi`."""
        from airflow_provider_tenable.tenable_vm.scan_runs import ScanRunsApi

        return ScanRunsApi(self.get_conn(), once=self._client_once, name=f"connection {self.tenable_conn_id!r}")

    @cached_property
    def scan_exports(self) -> ScanExportsApi:
        """Results as files: :class:`~airflow_provider_tenable.tenable_vm.scan_exports.ScanExportsApi`."""
        from airflow_provider_tenable.tenable_vm.scan_exports import ScanExportsApi

        return ScanExportsApi(self.get_conn(), name=f"connection {self.tenable_conn_id!r}")

    @cached_property
    def credentials(self) -> CredentialsApi:
        """Managed credentials: :class:`~airflow_provider_tenable.tenable_vm.credentials.CredentialsApi`."""
        from airflow_provider_tenable.tenable_vm.credentials import CredentialsApi

        return CredentialsApi(self.get_conn(), once=self._client_once, name=f"connection {self.tenable_conn_id!r}")

    @cached_property
    def api_user(self) -> ApiUserApi:
        """The user that the keys belong to: :class:`~airflow_provider_tenable.tenable_vm.api_user.ApiUserApi`."""
        from airflow_provider_tenable.tenable_vm.api_user import ApiUserApi

        return ApiUserApi(self.get_conn(), name=f"connection {self.tenable_conn_id!r}", repeats=self.retries)

    @cached_property
    def connectors(self) -> ConnectorsApi:
        """Tenable's AWS connectors: :class:`~airflow_provider_tenable.tenable_vm.connectors.ConnectorsApi`."""
        from airflow_provider_tenable.tenable_vm.connectors import ConnectorsApi

        return ConnectorsApi(self.get_conn(), name=f"connection {self.tenable_conn_id!r}", repeats=self.retries)

    @cached_property
    def recast_rules(self) -> RecastRulesApi:
        """Accept rules: :class:`~airflow_provider_tenable.tenable_vm.recast_rules.RecastRulesApi`."""
        from airflow_provider_tenable.tenable_vm.recast_rules import RecastRulesApi

        return RecastRulesApi(self.get_conn(), once=self._client_once, name=f"connection {self.tenable_conn_id!r}")

    def close(self) -> None:
        """Close the client's connections."""
        for client in ("_client", "_client_once"):
            if client in self.__dict__:
                getattr(self, client)._session.close()

    def start_export(self, kind: str, body: dict[str, Any]) -> str:
        """Request an export (``assets``, ``vulnerabilities``, ``compliance``, ``was``) and return the job's uuid."""
        return self.api.start(kind, body)

    def export_status(self, kind: str, job_uuid: str) -> JobStatus:
        """The state of an export job."""
        return self.api.status(kind, job_uuid)

    def export_jobs(self, kind: str) -> list[Job]:
        """The export jobs of the last days."""
        return self.api.jobs(kind)

    def export_chunk(self, kind: str, job_uuid: str, chunk_id: int) -> bytes:
        """A chunk as Tenable returns it: an undecoded JSON array, completely in memory."""
        return self.api.chunk(kind, job_uuid, chunk_id)

    def cancel_export(self, kind: str, job_uuid: str) -> None:
        """Cancel an export job."""
        self.api.cancel(kind, job_uuid)

    def list_scanners(self) -> list[Scanner]:
        """All scanners that the API user sees, without their keys."""
        return self.scanners.all()

    def find_scanner(
        self, name: str | None = None, *, uuid: str | None = None, since: float | None = None
    ) -> Scanner | None:
        """The linked Nessus of a name or uuid; None if there is none.

        :param since: unix seconds; machines of the name that were linked before are left out.
        :raises ConfigurationError: the name is that of several machines.
        """
        from airflow_provider_tenable.tenable_vm.scanners import the_machine

        return the_machine(self.list_scanners(), name=name, uuid=uuid, since=since)

    def linking_key(self) -> str:
        """The key that links scanners to this Tenable container. It is masked in all logs from now on."""
        key = self.scanners.linking_key()
        keep_secret(key)
        return key

    def delete_scanner(self, uuid: str) -> bool:
        """Delete and unlink a linked Nessus. :return: whether it was there."""
        found = self.find_scanner(uuid=uuid)
        return found is not None and self.scanners.delete(found.id)

    def test_connection(self) -> tuple[bool, str]:
        """Check who the API user is and whether it may export. :return: success, and a message for the user."""
        try:
            with closing(type(self)(self.tenable_conn_id, retries=0)) as hook:
                user = hook.api.who_am_i()
                hook.api.jobs("vulnerabilities")
        except TenableProviderError as error:
            # The test button uses a connection id that Airflow generates, which the user would not recognise.
            text = str(error).replace(f"Connection {self.tenable_conn_id!r}", "This connection")
            return False, text.replace(f"connection {self.tenable_conn_id!r}", "this connection")
        except Exception as error:  # noqa: BLE001 - the button must always answer; the error's class alone cannot contain a secret.
            return False, f"The connection does not work: {type(error).__name__}."
        return True, f"Connected to Tenable as {user}, who may export."


def new_client(arguments: dict[str, Any], *, retries: int) -> TenableIO:
    """Construct pyTenable's client: our user agent, our guarded session, no Box."""
    from tenable.io import TenableIO

    from airflow_provider_tenable.tenable_vm.session import GuardedSession

    arguments = dict(arguments)
    verify = arguments.pop("ssl_verify")
    session = GuardedSession(arguments["url"])
    session.verify = verify
    if is_plain_http(arguments["url"]) and is_loopback(arguments["url"]):
        # A proxy from the environment would receive the keys unencrypted, and would look for the host on its own
        # machine.
        session.trust_env = False
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


__all__ = ["DEFAULT_URL", "TENABLE_HOSTS", "TenableHook", "arguments_of", "new_client"]
