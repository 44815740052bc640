"""The plugin that puts the page into Airflow's navigation.

Every component of Airflow loads plugins, workers for each task. So this module imports nothing heavy, and what belongs
to the web server is made when the web server asks for it.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

log = logging.getLogger(__name__)

#: Below the root of Airflow's web server.
PREFIX = "/tenable"
NAME = "Tenable"


class TenablePlugin(AirflowPlugin):
    """The page: an application with external views on Airflow 3.1.1 and later, a Flask AppBuilder view on Airflow 2.

    Airflow 3.0 has no navigation that a plugin could add a page to, and 3.1.0 does not recognise the user of a page in
    a frame: they get none.
    """

    name = "tenable"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:
        """The application; Airflow asks for it when its API server starts."""
        if _face() != "airflow3":
            return []
        return [{"app": LazyApp(), "url_prefix": PREFIX, "name": NAME}]

    @cached_property
    def external_views(self) -> list[dict[str, Any]]:
        """The entry in the navigation, and the tab of a DAG. Their addresses are relative to Airflow's own root."""
        if _face() != "airflow3":
            return []
        here = PREFIX.removeprefix("/") + "/"
        return [
            {"name": NAME, "href": here, "destination": "nav", "url_route": "tenable"},
            {"name": NAME, "href": f"{here}?dag_id={{DAG_ID}}", "destination": "dag", "url_route": "tenable-imports"},
        ]

    @cached_property
    def appbuilder_views(self) -> list[dict[str, Any]]:
        """The view of Airflow 2; Airflow asks for it when its web server starts."""
        if _face() != "airflow2":
            return []
        from airflow_provider_tenable.ui.airflow2 import TenableView

        return [{"name": NAME, "category": "Browse", "view": TenableView()}]


class LazyApp:
    """The ASGI application, which is imported with the first request for it."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from airflow_provider_tenable.ui.airflow3 import make_app

            self._app = make_app()
        await self._app(scope, receive, send)


def _face() -> str:
    """The module of this package that shows the page in this Airflow; empty where there is no page.

    A value of ``[tenable] ui`` that cannot be read must not keep Airflow from starting: the page is missing then.
    """
    # Imported here and below, because tasks load plugins too, and do not need it.
    from airflow_provider_tenable import config
    from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_1_PLUS
    from airflow_provider_tenable.exceptions import ConfigurationError

    try:
        if not config.get("ui"):
            return ""
    except ConfigurationError as error:
        log.error("The page of the Tenable provider is not shown. %s", error)
        return ""
    if AIRFLOW_V_3_1_1_PLUS:
        return "airflow3"
    return "" if AIRFLOW_V_3_0_PLUS else "airflow2"


__all__ = ["LazyApp", "TenablePlugin"]
