"""The pages of a role that serves nobody: `/healthz`, `/readyz` (the same) and `/metrics`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import uvicorn

from core.errors import StartupError

_TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"
_JSON: Final = b"application/json"
_START_SECONDS: Final = 10.0
_STUCK_SECONDS: Final = 60.0


@contextlib.asynccontextmanager
async def role_pages(setting: str, host: str, port: int, render: Callable[[], bytes]) -> AsyncIterator[str]:
    """Serve the pages in this event loop for as long as the block runs; yields their address.

    `setting` names the section that holds host and port, for messages; `render` gives the metrics. Raises StartupError
    where the address cannot be had.
    """
    listener = _bind(setting, host, port)
    server = _Server(_config(_Pages(render, lambda: True)))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await _until_started(server, serving)
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listener.close()


@contextlib.asynccontextmanager
async def role_pages_beside(setting: str, host: str, port: int, render: Callable[[], bytes]) -> AsyncIterator[str]:
    """The same from a thread, for a role that keeps its event loop busy: a scrape does not queue behind its work.

    `render` is called in that thread. As the pages would answer whatever becomes of the role, `/healthz` says 503 once
    the role's event loop has not come round for a minute.
    """
    listener = _bind(setting, host, port)
    pulse = _Pulse()
    server = _Server(_config(_Pages(render, pulse.beats)))
    serving = asyncio.create_task(asyncio.to_thread(asyncio.run, server.serve(sockets=[listener])))
    beating = asyncio.create_task(pulse.beat())
    try:
        await _until_started(server, serving)
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        beating.cancel()
        server.should_exit = True
        await serving
        listener.close()


class _Pulse:
    """Whether an event loop comes round."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    async def beat(self) -> None:
        """Note once a second that it does."""
        while True:
            self._last = time.monotonic()
            await asyncio.sleep(1.0)

    def beats(self) -> bool:
        """Whether it did within a minute; may be asked from any thread."""
        return time.monotonic() - self._last < _STUCK_SECONDS


def _config(pages: _Pages) -> uvicorn.Config:
    return uvicorn.Config(
        pages,
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
    )


async def _until_started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    async with asyncio.timeout(_START_SECONDS):
        while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)


class _Pages:
    """The ASGI app."""

    def __init__(self, render: Callable[[], bytes], alive: Callable[[], bool]) -> None:
        self._render = render
        self._alive = alive

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002 - ASGI's signature
        status, kind, body = 200, _JSON, b'{"status":"ok"}'
        if scope["path"] == "/metrics":
            kind, body = _TEXT, self._render()
        elif not self._alive():
            status, body = 503, b'{"error":{"message":"the role is stuck; see its log, and restart it"}}'
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
