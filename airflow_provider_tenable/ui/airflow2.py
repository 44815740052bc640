"""The page as a view of Airflow 2's web server, with the user and the permissions of Airflow itself."""

from __future__ import annotations

from typing import Any

from airflow.auth.managers.models.resource_details import DagDetails
from airflow.www.extensions.init_auth_manager import get_auth_manager
from flask import Response, redirect, request
from flask_appbuilder import BaseView, expose

from airflow_provider_tenable.ui.answer import Answer, answer


class TenableView(BaseView):
    """The page. Its permission in the menu is Flask AppBuilder's; what it shows depends on that for the DAG."""

    route_base = "/tenable"
    default_view = "page"

    @expose("/")
    def page(self) -> Any:
        """The page, or the way to log in."""
        manager = get_auth_manager()

        def may_see(dag_id: str) -> bool:
            return bool(manager.is_authorized_dag(method="GET", details=DagDetails(id=dag_id)))

        # Without a log-in there may be a public role that is allowed to see DAGs.
        if not manager.is_logged_in() and not manager.get_permitted_dag_ids(methods=["GET"]):
            return redirect(manager.get_url_login(next_url=request.url))
        return _response(answer(request.args, may_see))


def _response(found: Answer) -> Response:
    return Response(found.body, found.status, found.headers, content_type=found.content_type)


__all__ = ["TenableView"]
