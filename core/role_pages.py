"""The pages of a role that serves nobody: `/healthz`, `/readyz` (the same) and `/metrics`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import uvicorn

from core.errors import StartupError

_TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"
_JSON: Final = b"application/json"
_START_SECONDS: Final = 10.0


@contextlib.asynccontextmanager
async def role_pages(setting: str, host: str, port: int, render: Callable[[], bytes]) -> AsyncIterator[str]:
    """Serve the pages in this event loop for as long as the block runs; yields their address.

    `setting` names the section that holds host and port, for messages; `render` gives the metrics. Raises StartupError
    where the address cannot be had.
    """
    listener = _bind(setting, host, port)
    config = uvicorn.Config(
        _Pages(render),
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listener.close()


class _Pages:
    """The ASGI app."""

    def __init__(self, render: Callable[[], bytes]) -> None:
        self._render = render

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002 - ASGI's signature
        status, kind, body = 200, _JSON, b'{"status":"ok"}'
        if scope["path"] == "/metrics":
            kind, body = _TEXT, self._render()
        elif scope["path"] not in {"/healthz", "/readyz"}:
            status, body = 404, b'{"error":{"message":"there are /healthz and /metrics here"}}'
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the role has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bind(setting: str, host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise StartupError(
            f"cannot listen on {host}:{port} ({error.strerror}); stop what uses it, or choose another with "
            f"{setting}.port"
        ) from error
    listener.setblocking(False)
    return listener
