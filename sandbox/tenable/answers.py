"""Error answers in Tenable's formats: JSON from the application, HTML from the gateway in front of it."""

import json

from starlette.responses import JSONResponse, Response

from sandbox.clock import iso
from sandbox.tenable.jobs import Job
from sandbox.tenable.options import Options

_TOO_MANY = (
    "<html>\r\n<head><title>429 Too Many Requests</title></head>\r\n<body>\r\n"
    "<center><h1>429 Too Many Requests</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


def error(status: int, message: str) -> JSONResponse:
    """An error of the application."""
    titles = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
    return JSONResponse({"statusCode": status, "error": titles.get(status, "Error"), "message": message}, status)


def too_many(options: Options) -> Response:
    """429 of the gateway: a page of type text/html, with Retry-After (API docs: rate and concurrency limiting)."""
    headers = {} if options.retry_after is None else {"Retry-After": str(options.retry_after)}
    return Response(_TOO_MANY, 429, headers, "text/html")


def duplicate(job: Job, mode: str, container_uuid: str) -> Response:
    """The answer to a second export with the filters of a running one.

    Today: 409 with `active_job_id` (API docs: POST /vulns/export). In 2023 it was a 429, in one of two forms that
    users quoted: a message that names the job, or a string template whose values are separate from its text.
    """
    if mode == "429":
        message = (
            "Duplicate export not allowed. Please modify request or wait until existing export is complete "
            f"(job_uuid={job.uuid} container_uuid={container_uuid} createdAt={iso(job.created)})"
        )
        return JSONResponse({"status": 429, "message": message}, 429)
    if mode == "429-template":
        texts = [
            "Duplicate export (job_uuid=",
            " container_uuid=",
            "). not allowed. Please modify request or wait until existing export is complete.",
        ]
        body = {"values": [job.uuid, container_uuid], "strings": texts, "empty": False, "value_count": 2}
        return Response(json.dumps(body), 429)
    reason = "An export with the same filters is already in progress."
    return JSONResponse({"active_job_id": job.uuid, "failure_reason": reason}, 409)
