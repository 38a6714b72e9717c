"""What all answers of the API have in common: OpenAI's errors, a request id, and that HEAD is answered as GET is."""

from __future__ import annotations

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import wire
from core.errors import ApiError, InternalError, InvalidRequestError, MethodNotAllowedError, NotFoundError
from core.ids import mint, sane_request_id
from router.client import error_headers
from router.metrics import Metrics

_log = structlog.get_logger(__name__)

_REQUEST_ID = b"x-request-id"


class Framed:
    """An app whose every answer carries `x-request-id`: the client's, where it is a sane one, else a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        sent = next((value.decode("latin-1") for name, value in scope["headers"] if name == _REQUEST_ID), None)
        request_id = (sane_request_id(sent) or mint("req")).encode()
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if not any(name == _REQUEST_ID for name, _ in message["headers"]):
                    message["headers"] = [*message["headers"], (_REQUEST_ID, request_id)]
            await send(message)

        if scope["method"] == "HEAD":  # the server leaves the body out
            scope = {**scope, "method": "GET"}
        try:
            await self._app(scope, receive, send_on)
        except Exception:  # a defect, which has been logged and answered: starlette would have the server log it again
            if not started:
                raise


def add_error_handlers(app: FastAPI, metrics: Metrics) -> None:
    """Answer every error in OpenAI's shape, and count it."""

    def answer(error: ApiError) -> Response:
        metrics.error(error.status, error.code)
        headers = {name.decode(): value.decode() for name, value in error_headers(error)}
        return Response(wire.error_body(error), error.status, headers, "application/json")

    @app.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> Response:  # noqa: ARG001  # the signature is starlette's
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> Response:  # noqa: ARG001
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"][1:]) or None
        return answer(InvalidRequestError(f"the request is not valid: {first['msg']}", param=param))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        where = f"{request.method} {request.url.path}"
        if error.status_code == 405:
            return answer(_not_allowed(where, (error.headers or {}).get("Allow", "")))
        if error.status_code == 404:
            return answer(NotFoundError(f"{where}: there is nothing at this address; see /openapi.json"))
        return answer(InvalidRequestError(f"{where}: {error.detail}"))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:  # noqa: ARG001
        metrics.error(499, "client_gone")
        return Response(status_code=499)  # nobody is there to read it

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> Response:
        _log.error("defect", path=request.url.path, exc_info=error)
        return answer(InternalError("something went wrong in the gateway; its log knows more"))


def _not_allowed(where: str, allowed: str) -> MethodNotAllowedError:
    methods = sorted({*allowed.replace(",", " ").split()} | ({"HEAD"} if "GET" in allowed else set()))
    error = MethodNotAllowedError(f"{where}: this address takes {' and '.join(methods)} alone")
    error.headers = ((b"allow", ", ".join(methods).encode()),)
    return error
