"""Airflow's own web application with the page in it, in a process of its own: what it answers to whom.

``python -m tests.page_client`` reads requests as JSON from its input, ``[{"user": name or null, "path": ...}]``, and
prints the answers, ``[{"status", "headers", "text"}]``. A user's name is the list of the DAGs that this user may see,
separated by ``+``; ``admin`` sees all. The connection ``page_staging`` is made of what ``PAGE_CONNECTION`` holds, in
Airflow's database, where the web server looks for it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS

if AIRFLOW_V_3_0_PLUS:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    class ByName(SimpleAuthManager):
        """Airflow's simple auth manager, with permissions for single DAGs."""

        def is_authorized_dag(self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None) -> bool:
            del access_entity
            return user.username == "admin" or (
                method == "GET" and details is not None and details.id in user.username.split("+")
            )


def _airflow_3(requests: list[dict[str, Any]]) -> list[Any]:
    from airflow.api_fastapi.app import create_app, get_auth_manager
    from starlette.testclient import TestClient

    client = TestClient(create_app(apps="core"), raise_server_exceptions=False)
    found = []
    for request in requests:
        headers = {}
        if request["user"]:
            user = SimpleAuthManagerUser(username=request["user"], role="VIEWER")
            headers["Cookie"] = f"_token={get_auth_manager().generate_jwt(user)}"
        found.append(client.get(request["path"], headers=headers, follow_redirects=False))
    return found


def _airflow_2(requests: list[dict[str, Any]]) -> list[Any]:
    from airflow.www.app import create_app

    app = create_app(testing=True)
    manager = app.appbuilder.sm
    found = []
    for request in requests:
        client = app.test_client()
        if name := request["user"]:
            with app.app_context():
                role = manager.find_role("Admin") if name == "admin" else manager.add_role(f"only {name}")
                for dag_id in name.split("+") if name != "admin" else ():
                    manager.add_permission_to_role(role, manager.create_permission("can_read", f"DAG:{dag_id}"))
                website = manager.create_permission("can_read", "Website")
                manager.add_permission_to_role(role, website)
                user = manager.find_user(name) or manager.add_user(name, name, name, f"{len(found)}@x", role, "x")
            with client.session_transaction() as session:
                session["_user_id"], session["_fresh"] = str(user.id), True
        found.append(client.get(request["path"]))
    return found


def _connect(fields: dict[str, Any]) -> None:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Connection("page_staging", **{**fields, "extra": json.dumps(fields["extra"])}))


def main() -> None:
    """Answer what is asked on the input."""
    # As Airflow's own command does for its API server.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    requests = json.load(sys.stdin)
    _connect(json.loads(os.environ["PAGE_CONNECTION"]))
    answers = (_airflow_3 if AIRFLOW_V_3_0_PLUS else _airflow_2)(requests)
    result = [{"status": each.status_code, "headers": dict(each.headers), "text": each.text} for each in answers]
    with open(os.environ["PAGE_ANSWERS"], "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()
