"""One `https://` address, through httpx on aiohttp's transport: the same interface as the raw pool's.

The upstream is far away, so what the client libraries cost is nothing beside what it takes to answer; what they know of
TLS, proxies and certificates is worth having.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from math import inf
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import httpx
from httpx_aiohttp import HttpxAiohttpClient

from core.errors import ApiError, DeadlineError, SettingsError, UpstreamError
from core.settings import Timeouts
from router.upstream.answer import KEPT_HEADERS, Answer, HeaderPairs, Response
from router.upstream.failures import BrokenOffError, ConnectError, UpstreamTimeoutError

_IDLE_SECONDS: Final = 30.0
_STALE_SECONDS: Final = 1.0
_ERRORS: Final = (httpx.HTTPError, aiohttp.ClientError)
"""httpx-aiohttp translates most of aiohttp's errors into httpx's, but not all."""

_DEFAULT_HEADERS: Final = ((b"content-type", b"application/json"), (b"accept-encoding", b"identity"))


class TlsClient:
    """Connections to one address."""

    def __init__(self, name: str, url: str, timeouts: Timeouts, *, limit: int = 512) -> None:
        """`name` stands for the upstream in error messages; `limit` is the most connections at once.

        Raises SettingsError where `url` is not an https:// address.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
            raise SettingsError(f"the address of {name} must be https://host, without a password in it")
        self._name = name
        self._url = url.rstrip("/")
        self._timeouts = timeouts
        self._served = False
        self._client = HttpxAiohttpClient(
            timeout=httpx.Timeout(
                connect=timeouts.connect, read=timeouts.read, write=timeouts.write, pool=timeouts.pool
            ),
            limits=httpx.Limits(max_connections=limit, max_keepalive_connections=limit, keepalive_expiry=_IDLE_SECONDS),
        )

    async def request(
        self, method: bytes, path: bytes, body: bytes = b"", headers: HeaderPairs = (), deadline: float = inf
    ) -> Response:
        """Send a request and return the whole answer.

        Raises ConnectError, BrokenOffError, UpstreamError (too large, or packed), UpstreamTimeoutError and
        DeadlineError.
        """
        answer = await self.open(method, path, body, headers, deadline)
        try:
            return Response(answer.status, answer.headers, await answer.read())
        finally:
            await answer.close()

    async def open(
        self, method: bytes, path: bytes, body: bytes = b"", headers: HeaderPairs = (), deadline: float = inf
    ) -> Answer:
        """The same, but return as soon as the head is there. The caller closes the answer.

        A request that is cut off at once, without a byte of an answer, is sent once more: the connection may have been
        a kept one, which the other side had closed before it could read us.
        """
        request = self._client.build_request(
            method.decode("ascii"),
            self._url + path.decode("ascii"),
            content=body,
            headers=[*_DEFAULT_HEADERS, *headers],
        )
        try:
            response = await self._send(request, deadline)
        except BrokenOffError as error:
            if error.answered or error.after > _STALE_SECONDS or not self._served:
                raise
            response = await self._send(request, deadline)
        self._served = True
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise UpstreamError(f"{self._name} has packed its answer, though it was asked not to; it is not unpacked")
        return _TlsAnswer(self, response, deadline)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def as_failure(self, error: Exception, *, answered: bool, after: float = 0.0) -> ApiError:
        """What an error of the client libraries means here. aiohttp's own error, behind httpx's, is the exact one."""
        cause = error.__cause__ or error
        if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return ConnectError(f"{self._name} cannot be reached; is its address right, and its certificate trusted?")
        if isinstance(cause, TimeoutError):
            return UpstreamTimeoutError(
                f"{self._name} sent nothing for {self._timeouts.read:g} s; raise its timeouts.read if that is to be "
                "expected"
            )
        answered = answered or not isinstance(cause, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
        return BrokenOffError(f"{self._name} broke off ({type(cause).__name__})", answered=answered, after=after)

    def too_late(self) -> DeadlineError:
        """The error for a request whose own deadline has passed."""
        return DeadlineError(f"{self._name} had not answered when the request's deadline passed")

    async def _send(self, request: httpx.Request, deadline: float) -> httpx.Response:
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        times = self._timeouts
        # aiohttp has no time-out for writing: the way to the head, as a whole, takes no longer than all four together
        limit = sent_at + times.pool + times.connect + times.write + times.read
        try:
            async with asyncio.timeout_at(min(deadline, limit)):
                return await self._client.send(request, stream=True)
        except TimeoutError as error:
            if deadline <= limit:
                raise self.too_late() from error
            raise self.as_failure(error, answered=False) from error
        except _ERRORS as error:
            raise self.as_failure(error, answered=False, after=loop.time() - sent_at) from error


class _TlsAnswer(Answer):
    """An answer that is read while it comes; aiohttp holds the reading up where nobody reads on."""

    def __init__(self, client: TlsClient, response: httpx.Response, deadline: float) -> None:
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.raw if name.lower() in KEPT_HEADERS}
        self.failed = False
        self._client = client
        self._response = response
        self._body = response.aiter_raw()
        self._deadline = deadline

    def pieces(self) -> AsyncIterator[bytes]:
        """The answer is its own iterator."""
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            if self._deadline == inf:
                return await anext(self._body)
            async with asyncio.timeout_at(self._deadline):
                return await anext(self._body)
        except TimeoutError as error:
            raise self._client.too_late() from error
        except _ERRORS as error:
            self.failed = True
            raise self._client.as_failure(error, answered=True) from error

    def lift_deadline(self) -> None:
        """From now on the read time-out alone counts."""
        self._deadline = inf

    async def close(self) -> None:
        """Close it; aiohttp cuts the connection of an answer that is not complete."""
        await self._response.aclose()
