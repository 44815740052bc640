"""Keys, rights, the rate limit, and the headers that every answer has."""

from email.utils import parsedate_to_datetime

import httpx
import pytest
from running_tenable import Running

from sandbox.tenable.access import ACCESS_KEY, SECRET_KEY


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        ACCESS_KEY,
        f"accessKey={ACCESS_KEY}",
        f"accessKey={ACCESS_KEY};secretKey=wrong",
        f"accessKey=wrong;secretKey={SECRET_KEY}",
        f"accesskey={ACCESS_KEY};secretkey={SECRET_KEY}",
    ],
)
def test_without_the_right_keys_everything_is_401(running: Running, header: str | None) -> None:
    headers = {"X-ApiKeys": header} if header is not None else {}
    for method, path in (("GET", "/session"), ("POST", "/vulns/export"), ("GET", "/assets/export/status")):
        answer = httpx.request(method, running.url + path, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["message"] == "Invalid Credentials"


def test_keys_may_be_separated_with_a_blank_as_pytenable_does(running: Running) -> None:
    headers = {"X-APIKeys": f"accessKey={ACCESS_KEY}; secretKey={SECRET_KEY}"}
    assert httpx.get(running.url + "/session", headers=headers).status_code == 200


def test_a_user_without_the_right_to_export_has_a_session_but_no_export(running: Running) -> None:
    headers = {"X-ApiKeys": f"accessKey=noexport-{ACCESS_KEY};secretKey={SECRET_KEY}"}
    assert httpx.get(running.url + "/session", headers=headers).status_code == 200
    for path in ("/vulns/export", "/assets/export", "/assets/v2/export"):
        assert httpx.post(running.url + path, headers=headers, json={"chunk_size": 100}).status_code == 403


def test_a_user_who_can_view_nothing_gets_nothing_silently(running: Running) -> None:
    running.http.headers["X-ApiKeys"] = f"accessKey=noview-{ACCESS_KEY};secretKey={SECRET_KEY}"
    try:
        assert running.export(filters={"since": 1}) == []
        assert running.export("assets") == []
    finally:
        running.http.headers["X-ApiKeys"] = f"accessKey={ACCESS_KEY};secretKey={SECRET_KEY}"


@pytest.mark.parametrize(("retry_after", "header"), [(3, "3"), ("Wed, 21 Oct 2026 07:28:00 GMT",) * 2, (None, None)])
def test_too_many_calls_a_minute_are_429_in_html(running: Running, retry_after: object, header: str | None) -> None:
    running.control("options", {"rate_limit_per_minute": 2, "retry_after": retry_after})
    answers = [running.http.get("/session") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers.get("retry-after") == header
    assert answers[2].headers["content-type"].startswith("text/html")


def test_every_answer_has_the_date_of_the_sandboxes_clock(running: Running) -> None:
    for path in ("/session", "/server/status", "/nowhere", "/_sandbox/health"):
        answer = running.http.get(path)
        assert len(answer.headers.get_list("date")) == 1
        told = parsedate_to_datetime(answer.headers["date"]).timestamp()
        assert told == pytest.approx(running.control("clock")["now"], abs=3)


def test_unknown_paths_are_404_in_json(running: Running) -> None:
    assert running.http.get("/nowhere").json()["statusCode"] == 404
    answer = running.http.post("/containers/export", json={})
    assert answer.status_code == 404
    assert "containers" in answer.json()["message"]
    assert running.http.get("/vulns/export").status_code == 405
