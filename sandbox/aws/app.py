"""The HTTP server of the AWS side: Security Hub, STS and EC2 on one port, as boto3 calls them by `endpoint_url`."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.aws import ec2, finding_operations, hub_operations, sts
from sandbox.aws.control import control_routes
from sandbox.aws.errors import AwsError, query_xml, rest_json, throttled
from sandbox.aws.faults import FOREIGN, HubFaultBook
from sandbox.aws.hubs import HubBook
from sandbox.aws.identities import IdentityBook
from sandbox.aws.imports import batch_import_findings
from sandbox.aws.options import Options
from sandbox.aws.page import page_routes
from sandbox.aws.sigv4 import Caller, SignedRequest, authenticate
from sandbox.aws.stats import Stats
from sandbox.aws.store import FindingStore
from sandbox.aws.throttle import Quotas
from sandbox.aws.world import World
from sandbox.clock import DAY, SandboxClock
from sandbox.repeating import FORMS
from sandbox.web import SandboxApp, common_routes, with_fault

_NOBODY_LISTENS = Response(status_code=400)

Operation = Callable[[Caller, Request, bytes, World], Awaitable[Response]]


def build_aws_app(
    *, accounts: list[str], regions: list[str], hub_state: str = "subscribed", days_behind: float = 0.0
) -> Starlette:
    """The AWS side of the sandbox as an ASGI application; its state is `app.state.world`.

    :param accounts: 12-digit account ids; the first is the central caller's
    :param regions: Regions in which the accounts have a hub
    :param hub_state: `subscribed` (hub on, Tenable's product subscribed), `enabled` (hub on only) or `off`, everywhere
    :param days_behind: how far in the past Security Hub's clock begins; signatures are checked by real time
    """
    operations = [*_SECURITY_HUB, *sts.OPERATIONS, *ec2.OPERATIONS]
    clock = SandboxClock(-days_behind * DAY)
    world = World(
        IdentityBook(accounts),
        HubBook(accounts, regions, hub_state, clock),
        FindingStore(clock),
        HubFaultBook(operations),
        Quotas(),
        Stats(),
        Options(),
        clock,
        ec2.InstanceBook(),
    )
    routes: list[BaseRoute] = [
        *common_routes(world.faults, world.stats.as_json, world.reset, world.stats.calls),
        *control_routes(world),
        *page_routes(world),
        *(
            Route(path, _security_hub(name, world), methods=[method])
            for name, (method, path, _) in _SECURITY_HUB.items()
        ),
        Route("/", _query(world), methods=["POST"]),
    ]
    app = SandboxApp(routes=routes)
    app.state.world = world
    return app


def _security_hub(name: str, world: World) -> Callable[[Request], Awaitable[Response]]:
    operation = _SECURITY_HUB[name][2]

    async def endpoint(request: Request) -> Response:
        try:
            body = await request.body()
            caller = _authenticated(request, body, "securityhub", world)
            return await _carried_out(name, caller, world, rest_json, lambda: operation(caller, request, body, world))
        except AwsError as error:
            world.stats.refused[error.code] += 1
            return rest_json(error)
        except ClientDisconnect:
            return _NOBODY_LISTENS

    return endpoint


def _sts(world: World) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            body = await request.body()
            caller = _authenticated(request, body, "sts", world)
            form = _form(body)
            name = sts.operation_of(form)

            async def operation() -> Response:
                if name == "AssumeRole":
                    return sts.assume_role(caller, form, world.identities, world.options.session_seconds)
                return sts.get_caller_identity(caller)

            return await _carried_out(name, caller, world, query_xml, operation)
        except AwsError as error:
            world.stats.refused[error.code] += 1
            return query_xml(error)
        except ClientDisconnect:
            return _NOBODY_LISTENS

    return endpoint


def _query(world: World) -> Callable[[Request], Awaitable[Response]]:
    """The two services of the query protocol share a path."""
    of_sts, of_ec2 = _sts(world), _ec2(world)

    async def endpoint(request: Request) -> Response:
        try:
            form = _form(await request.body())
        except ClientDisconnect:
            return _NOBODY_LISTENS
        return await (of_ec2 if form.get("Action") in ec2.OPERATIONS else of_sts)(request)

    return endpoint


def _ec2(world: World) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        form = _form(body)

        async def operation() -> Response:
            return ec2.describe_instances(caller, form, world.instances)

        try:
            caller = _authenticated(request, body, "ec2", world)
            return await _carried_out(form["Action"], caller, world, ec2.ec2_xml, operation)
        except AwsError as error:
            world.stats.refused[error.code] += 1
            return ec2.ec2_xml(error)

    return endpoint


def _form(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _authenticated(request: Request, body: bytes, service: str, world: World) -> Caller:
    # The path as it was sent; uvicorn keeps it without the query.
    path = request.scope["raw_path"].partition(b"?")[0].decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    signed = SignedRequest(request.method, path, query, request.headers, body)
    caller = authenticate(signed, service, world.identities, max_skew_seconds=world.options.max_clock_skew_seconds)
    if service != "sts" and not world.hubs.is_opted_in(caller.account, caller.region):
        raise AwsError(
            "UnrecognizedClientException", 403, "The security token included in the request is invalid.", plain=True
        )
    return caller


async def _carried_out(
    name: str,
    caller: Caller,
    world: World,
    render: Callable[[AwsError], Response],
    operation: Callable[[], Awaitable[Response]],
) -> Response:
    """Count the call, apply an ordered fault and the quota, and carry it out."""
    place = f"{caller.account}/{caller.region}"

    async def within_quota() -> Response:
        try:
            _check_quota(name, caller, world)
            response = await operation()
            response.headers.setdefault("x-amzn-RequestId", str(uuid4()))
            return response
        except AwsError as error:
            # Rendered here, so that a fault can still lose or cut the answer.
            world.stats.refused[error.code] += 1
            return render(error)

    world.stats.arrived(name, place)
    try:
        fault = world.faults.take(name, {"account": caller.account, "region": caller.region})
        if fault is not None and fault.do == "expire_credentials":
            world.identities.expire_sessions()
            if caller.credentials.expired:
                expired = "ExpiredToken" if name in sts.OPERATIONS else "ExpiredTokenException"
                raise AwsError(expired, 403, "The security token included in the request is expired", plain=True)
        if fault is not None and fault.do == "foreign":
            media_type, text = FOREIGN[str(fault.get("form"))]
            status = int(fault.get("status"))
            headers = {"Location": "https://login.example.com/"} if 300 <= status < 400 else {}
            return Response(text, status, headers, media_type)
        if fault is not None and fault.do == "repeat_secrets":
            text = FORMS[str(fault.get("form", "lines"))](
                f"secret={caller.credentials.secret_access_key}; token={caller.credentials.session_token or ''}"
            )
            # AWS quotes the canonical request, token included, when a signature does not match.
            text = (
                f"The request signature we calculated does not match. The Canonical String for this request "
                f"should have been\n'POST\n/\n\n{text}'"
            )
            return render(AwsError(str(fault.get("code", "InvalidSignatureException")), int(fault.get("status")), text))
        return await with_fault(fault, within_quota)
    finally:
        world.stats.left(name, place)


def _check_quota(name: str, caller: Caller, world: World) -> None:
    options = world.options
    if not options.throttle or name in sts.OPERATIONS:
        return
    limits = (options.rate, options.burst) if name == "BatchImportFindings" else None
    if not world.quotas.allows(name, caller.account, caller.region, limits):
        world.stats.throttle(name, f"{caller.account}/{caller.region}")
        raise throttled()


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise AwsError("SerializationException", 400, "The request body is not a JSON object", plain=True)
    return document


async def _batch_import(caller: Caller, _: Request, body: bytes, world: World) -> Response:
    return await batch_import_findings(caller, body, world)


async def _get_findings(caller: Caller, _: Request, body: bytes, world: World) -> Response:
    return finding_operations.get_findings(caller, _document(body), world)


async def _batch_update(caller: Caller, _: Request, body: bytes, world: World) -> Response:
    return finding_operations.batch_update_findings(caller, _document(body), world)


async def _describe_hub(caller: Caller, request: Request, _: bytes, world: World) -> Response:
    return hub_operations.describe_hub(caller, request.query_params, world)


async def _describe_new_hub(caller: Caller, _: Request, __: bytes, world: World) -> Response:
    return hub_operations.describe_new_hub(caller, world)


async def _enable_hub(caller: Caller, _: Request, __: bytes, world: World) -> Response:
    return hub_operations.enable_security_hub(caller, world)


async def _disable_hub(caller: Caller, _: Request, __: bytes, world: World) -> Response:
    return hub_operations.disable_security_hub(caller, world)


async def _list_products(caller: Caller, request: Request, _: bytes, world: World) -> Response:
    return hub_operations.list_enabled_products(caller, request.query_params, world)


async def _enable_product(caller: Caller, _: Request, body: bytes, world: World) -> Response:
    return hub_operations.enable_product(caller, _document(body), world)


async def _disable_product(caller: Caller, request: Request, _: bytes, world: World) -> Response:
    return hub_operations.disable_product(caller, request.path_params["arn"], world)


async def _describe_products(caller: Caller, request: Request, _: bytes, world: World) -> Response:
    return hub_operations.describe_products(caller, request.query_params, world)


# Methods and paths are those of the public API model.
_SECURITY_HUB: Mapping[str, tuple[str, str, Operation]] = {
    "BatchImportFindings": ("POST", "/findings/import", _batch_import),
    "GetFindings": ("POST", "/findings", _get_findings),
    "BatchUpdateFindings": ("PATCH", "/findings/batchupdate", _batch_update),
    "DescribeHub": ("GET", "/accounts", _describe_hub),
    "DescribeSecurityHubV2": ("GET", "/hubv2", _describe_new_hub),
    "EnableSecurityHub": ("POST", "/accounts", _enable_hub),
    "DisableSecurityHub": ("DELETE", "/accounts", _disable_hub),
    "ListEnabledProductsForImport": ("GET", "/productSubscriptions", _list_products),
    "EnableImportFindingsForProduct": ("POST", "/productSubscriptions", _enable_product),
    "DisableImportFindingsForProduct": ("DELETE", "/productSubscriptions/{arn:path}", _disable_product),
    "DescribeProducts": ("GET", "/products", _describe_products),
}
