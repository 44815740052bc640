"""The page as an application of Airflow 3's API server, with the user and the permissions of Airflow itself."""

from __future__ import annotations

from typing import Any

# FastAPI reads the types of the endpoint from this module.
from fastapi import Depends, FastAPI, HTTPException, Request, Response

from airflow_provider_tenable.ui.answer import Answer, answer, refused


def make_app() -> Any:
    """The application. Airflow mounts it below its root."""
    from airflow.api_fastapi.core_api.security import get_user, requires_access_dag

    app = FastAPI(title="Tenable", docs_url=None, redoc_url=None, openapi_url=None)

    current_user = Depends(get_user)

    # Not asynchronous: it waits for files and for the database, which would hold up all other requests.
    @app.get("/")
    def page(request: Request, user: Any = current_user) -> Response:
        def may_see(dag_id: str) -> bool:
            try:
                requires_access_dag("GET", None, dag_id)(request, user)
            except HTTPException:
                return False
            return True

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
