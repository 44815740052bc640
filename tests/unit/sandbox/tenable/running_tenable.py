"""The sandbox's Tenable as the tests talk to it."""

from typing import Any

import httpx

from sandbox.tenable.access import ACCESS_KEY, SECRET_KEY
from sandbox.tenable.server import Tenable

EVERY_STATE = ["open", "reopened", "fixed"]


def path_of(kind: str) -> str:
    """Where the jobs of a kind are."""
    return "/was/v1/export/vulns" if kind == "was" else f"/{kind}/export"


class Running:
    """The server as a client sees it, with shortcuts for what the tests do all the time."""

    def __init__(self, tenable: Tenable, url: str) -> None:
        self.tenable, self.url = tenable, url
        self.http = httpx.Client(base_url=url, headers={"X-ApiKeys": f"accessKey={ACCESS_KEY};secretKey={SECRET_KEY}"})

    def control(self, path: str, body: Any = None) -> Any:
        """A control endpoint: GET without a body, else POST; it must succeed."""
        url = f"/_sandbox/{path}"
        answer = self.http.get(url) if body is None else self.http.post(url, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def start(self, kind: str = "vulns", **body: Any) -> str:
        """Create an export and return its uuid."""
        path = {"assets": "/assets/v2/export"}.get(kind, path_of(kind.removesuffix("_v1")))
        answer = self.http.post(path, json={"chunk_size": 100, **body} if "assets" in kind else body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["export_uuid"])

    def status(self, uuid: str, kind: str = "vulns") -> dict[str, Any]:
        answer = self.http.get(f"{path_of(kind)}/{uuid}/status")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def chunk(self, uuid: str, chunk_id: int, kind: str = "vulns") -> httpx.Response:
        return self.http.get(f"{path_of(kind)}/{uuid}/chunks/{chunk_id}")

    def export(self, kind: str = "vulns", **body: Any) -> list[dict[str, Any]]:
        """All records of an export that is ready at once."""
        uuid, path = self.start(kind, **body), kind.removesuffix("_v1")
        status = self.status(uuid, path)
        assert status["status"] == "FINISHED"
        return [record for chunk in status["chunks_available"] for record in self.chunk(uuid, chunk, path).json()]

    def truth(self) -> list[dict[str, Any]]:
        return list(self.control("truth")["vulnerabilities"])
