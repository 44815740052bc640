"""Sessions of AWS in one account: the connection's own, or one of a role that is assumed there."""

from __future__ import annotations

from contextlib import closing
from functools import lru_cache
from typing import Any

import botocore.session
from boto3.session import Session
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.loaders import Loader, create_loader

from airflow_provider_tenable._compat import AirflowNotFoundException
from airflow_provider_tenable.aws import Caller, partition_of
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards import log_guard
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.redaction import remember
from airflow_provider_tenable.hooks.aws_calls import AwsCallsHook

#: The import itself retries calls, within its rate. botocore's own retries would bypass that.
ONE_ATTEMPT: Any = {"total_max_attempts": 1, "mode": "standard"}


class AwsSessionHook(AwsCallsHook):
    """Sign in to one account. Credentials of a role are renewed automatically.

    :param external_id: the ``sts:ExternalId`` that the role's trust policy requires. Default: the connection's own, if
        it has one.
    """

    def __init__(self, *args: Any, external_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.external_id = external_id
        self._sessions: dict[str | None, Session] = {}

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> Session:
        """The connection's session, or one with the assumed role: the same one for all calls, until its credentials
        turn out to have expired.

        The credentials with which its clients sign are remembered for masking: some of AWS's errors quote requests,
        including the session token.
        """
        with self._session_lock:
            if region_name not in self._sessions:
                self._sessions[region_name] = self._new_session(region_name, deferrable)
            return self._sessions[region_name]

    def _drop_session(self) -> None:
        super()._drop_session()
        self._sessions.clear()

    def _new_session(self, region_name: str | None, deferrable: bool) -> Session:
        log_guard.install()
        remember(self.conn_config.aws_secret_access_key, self.conn_config.aws_session_token)
        base = super().get_session(region_name=region_name, deferrable=deferrable)
        _share_models(base)
        base.events.register("before-sign", _remember_credentials)
        if not self.role_name:
            return base
        session = self._role_session(base, region_name)
        session.events.register("before-sign", _remember_credentials)
        return session

    def _role_session(self, base: Session, region_name: str | None) -> Session:
        def assume() -> dict[str, Any]:
            # Renewed first and separately: a renewal calls AssumeRole too, with other credentials than the call below.
            self._translated("renew the connection's credentials", lambda: _renew(base))
            sts = self._sts(base)
            with closing(sts):
                # Not retried here: the caller that needs the session retries, and during an import that is the import
                # itself.
                answer = self._once(
                    "assume the role",
                    lambda: sts.assume_role(**self._assume_role_arguments()),
                    "Credentials",
                    session=base,
                )
            credentials = answer["Credentials"]
            remember(credentials["SecretAccessKey"], credentials["SessionToken"])
            return {
                "access_key": credentials["AccessKeyId"],
                "secret_key": credentials["SecretAccessKey"],
                "token": credentials["SessionToken"],
                "expiry_time": credentials["Expiration"].isoformat(),
            }

        session: Any = botocore.session.get_session()
        # Neither botocore nor boto3 has a public way to give a session refreshable credentials; the Amazon provider
        # does the same.
        session._credentials = RefreshableCredentials.create_from_metadata(
            metadata=assume(), refresh_using=assume, method="sts-assume-role"
        )
        assumed = Session(botocore_session=session, region_name=region_name or base.region_name)
        _share_models(assumed)
        return assumed

    def _sts(self, session: Session) -> Any:
        # In the hub's Region: sessions from the global endpoint are not valid in opt-in Regions. STS always needs a
        # Region.
        return session.client(
            "sts",
            region_name=self.region_name or session.region_name or "us-east-1",
            endpoint_url=self.conn_config.get_service_endpoint_url("sts"),
            config=self.config.merge(Config(retries=ONE_ATTEMPT)),
            verify=self.verify,
        )

    def _assume_role_arguments(self) -> dict[str, Any]:
        # Of the connection's assume_role_kwargs only the external id is used: the others (DurationSeconds, Policy,
        # Tags, SerialNumber ...) are meant for the connection's own role. With role chaining, a session lasts at most
        # an hour, and AWS rejects a longer duration.
        partition = partition_of(self.region_name or "")
        arguments = {
            "RoleSessionName": "airflow-provider-tenable",
            "RoleArn": f"arn:{partition}:iam::{self.account}:role/{self.role_name}",
        }
        external_id = self.external_id or self._external_id_of_connection()
        return {**arguments, "ExternalId": external_id} if external_id else arguments

    def _external_id_of_connection(self) -> str | None:
        # The Amazon provider reads assume_role_kwargs only if the connection itself has a role.
        extra = self.conn_config.extra_config
        kwargs = extra.get("assume_role_kwargs")
        found = kwargs.get("ExternalId") if isinstance(kwargs, dict) else None
        return found or extra.get("external_id") or None

    def check_connection_exists(self) -> None:
        """Reject an unknown connection id: the Amazon provider would only log a warning and use any credentials that it
        finds on the machine.

        ``aws_default`` may be missing, as it usually is if the worker's own role is used (MWAA).
        """
        if not self.aws_conn_id or self.aws_conn_id == self.default_conn_name:
            return
        try:
            self.get_connection(self.aws_conn_id)
        except AirflowNotFoundException:
            raise ConfigurationError(
                f"There is no AWS connection {self.aws_conn_id!r}. Create it, correct the destination's aws_conn_id, "
                "or use null there for the worker's own credentials."
            ) from None

    def identify(self) -> Caller:
        """The owner of the credentials (STS GetCallerIdentity), and the session's Region."""
        self.check_connection_exists()

        def attempt() -> tuple[Session, dict[str, Any]]:
            session = self._translated("sign in to AWS", lambda: self.get_session(region_name=self.region_name))
            with closing(self._sts(session)) as sts:
                return session, self._once("identify the caller", sts.get_caller_identity, "Account", session=session)

        session, answer = self._patiently(attempt)
        arn = str(answer.get("Arn", "")).split(":")
        return Caller(safe(answer["Account"], 40), session.region_name, safe(arn[1], 40) if len(arn) > 1 else "")

    def region_of_connection(self) -> str | None:
        """The Region of the connection, or of the worker's environment; no request is made."""
        return self.conn_config.region_name or Session(profile_name=self.conn_config.profile_name).region_name


def _share_models(session: Session) -> None:
    """Let a session use the descriptions of AWS's services that earlier sessions have read. A task has two sessions per
    account, and reading the descriptions is most of the CPU that they cost.
    """
    # boto3 has no public way to its botocore session. A session of boto3 appends to its loader's paths when it is made,
    # so that it must exist already.
    inner = session._session
    inner.register_component("data_loader", _models(inner.get_config_variable("data_path")))


@lru_cache(maxsize=4)
def _models(path: str | None) -> Loader:
    """As botocore makes it for a session. It keeps what it has read.

    :param path: folders of further descriptions (``AWS_DATA_PATH``), which a connection's profile may set.
    """
    return create_loader(path)


def _renew(session: Session) -> None:
    """Renew the session's credentials if they expire soon and can be renewed."""
    credentials = session.get_credentials()
    if isinstance(credentials, RefreshableCredentials):
        credentials.get_frozen_credentials()


def _remember_credentials(request_signer: Any, **_: Any) -> None:
    """Called by botocore before it signs a request, with the credentials used for signing."""
    credentials = request_signer._credentials
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        remember(frozen.secret_key, frozen.token)
