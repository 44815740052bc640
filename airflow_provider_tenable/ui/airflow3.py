"""The page as an application of Airflow 3's API server, with the user and the permissions of Airflow itself."""

from __future__ import annotations

from typing import Any

# FastAPI reads the types of the endpoint from this module.
from fastapi import Depends, FastAPI, HTTPException, Request, Response

from airflow_provider_tenable.ui.answer import Answer, answer, refused


def make_app() -> Any:
    """The application. Airflow mounts it below its root."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
    from airflow.api_fastapi.core_api.security import get_user
    from airflow.models.dag import DagModel

    app = FastAPI(title="Tenable", docs_url=None, redoc_url=None, openapi_url=None)

    current_user = Depends(get_user)

    # Not asynchronous: it waits for files and for the database, which would hold up all other requests.
    @app.get("/")
    def page(request: Request, user: Any = current_user) -> Response:
        def may_see(dag_id: str) -> bool:
            # As Airflow itself asks for its own pages of a DAG.
            details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
            return bool(get_auth_manager().is_authorized_dag(method="GET", details=details, user=user))

        return _response(answer(request.query_params, may_see))

    @app.exception_handler(HTTPException)
    def explain(request: Request, error: HTTPException) -> Response:
        del request
        text = "Log in to Airflow, and open this page again." if error.status_code == 401 else str(error.detail)
        return _response(refused("Not allowed", text, status=error.status_code))

    return app


def _response(found: Answer) -> Response:
    return Response(found.body, found.status, found.headers, media_type=found.content_type)


__all__ = ["make_app"]
