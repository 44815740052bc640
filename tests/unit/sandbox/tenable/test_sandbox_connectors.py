"""The sandbox's connectors and permissions: as strict as the API's description."""

import pytest
from running_tenable import Running

from sandbox.tenable.access import ACCESS_KEY, NO_ADMIN, NO_VIEW, SECRET_KEY, TAG_VIEW

ME = "/api/v3/access-control/permissions/users/me"


def keys(prefix: str) -> dict[str, str]:
    return {"X-ApiKeys": f"accessKey={prefix}{ACCESS_KEY};secretKey={SECRET_KEY}"}


def test_only_an_administrator_lists_connectors_page_by_page(running: Running) -> None:
    answer = running.http.get("/settings/connectors", params={"limit": 1, "offset": 1}).json()
    assert [each["type"] for each in answer["connectors"]] == ["azure"]
    assert (answer["pagination"]["total"], answer["pagination"]["offset"]) == (2, 1)
    for prefix in (NO_ADMIN, NO_VIEW, TAG_VIEW):
        assert running.http.get("/settings/connectors", headers=keys(prefix)).status_code == 403


@pytest.mark.parametrize("query", [{"limit": "x"}, {"offset": "-1"}, {"filter": "aws"}], ids=str)
def test_wrong_parameters_are_refused(running: Running, query: dict[str, str]) -> None:
    assert running.http.get("/settings/connectors", params=query).status_code == 400
    assert running.http.get(ME, params={"x": "1"}).status_code == 400


def test_a_test_replaces_the_connectors(running: Running) -> None:
    assert running.control("connectors", [{"type": "aws", "status_message": "AWS_INVALID_TRUST"}]) == {"connectors": 1}
    listed = running.http.get("/settings/connectors").json()["connectors"]
    assert [each["status_message"] for each in listed] == ["AWS_INVALID_TRUST"]


@pytest.mark.parametrize(
    ("prefix", "objects"),
    [("", ["AllObjects"]), (NO_ADMIN, ["AllAssets"]), (NO_VIEW, []), (TAG_VIEW, ["Tag"])],
    ids=str,
)
def test_a_user_sees_its_own_permissions(running: Running, prefix: str, objects: list[str]) -> None:
    answer = running.http.get(ME, headers=keys(prefix)).json()
    assert answer["permissions_available"] == []
    viewed = [each for each in answer["permissions_granted"] if "CanView" in each["actions"]]
    assert [entry["type"] for each in viewed for entry in each["objects"]] == objects
