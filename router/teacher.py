"""The gateway's way to a teacher: httpx on aiohttp's transport, one client a teacher."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from httpx_aiohttp import HttpxAiohttpClient

from core.errors import DeadlineError, UpstreamError
from core.settings import TeacherSettings

_MAX_ANSWER_BYTES = 16 * 1024 * 1024
_MAX_CONNECTIONS = 512
_PROBE_SECONDS = 3.0


class TeacherClient:
    """One teacher. Its key is read from the environment at each call, so that a rotated key needs no restart."""

    def __init__(self, settings: TeacherSettings) -> None:
        self.settings = settings
        timeouts = settings.timeouts
        self._client = HttpxAiohttpClient(
            base_url=settings.base_url.rstrip("/") + "/",
            timeout=httpx.Timeout(
                connect=timeouts.connect, read=timeouts.read, write=timeouts.write, pool=timeouts.pool
            ),
            limits=httpx.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=_MAX_CONNECTIONS),
        )

    @asynccontextmanager
    async def open(self, body: bytes) -> AsyncIterator[httpx.Response]:
        """POST a chat request and yield the open response; leaving the block closes it, which cancels the teacher.

        A connection that could not be made is tried once more: nothing was sent, so nothing can happen twice. Raises
        UpstreamError where the teacher cannot be reached or breaks off, DeadlineError where it takes too long.
        """
        request = self._client.build_request("POST", "chat/completions", content=body, headers=self._headers())
        try:
            try:
                response = await self._client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                response = await self._client.send(request, stream=True)
            try:
                yield response
            finally:
                await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UpstreamError(f"the teacher at {self.settings.base_url} cannot be reached") from error
        except httpx.TimeoutException as error:
            raise DeadlineError("the teacher did not answer in time; see teacher.timeouts") from error
        except httpx.HTTPError as error:
            raise UpstreamError(f"the teacher broke off ({type(error).__name__})") from error

    async def reachable(self) -> bool:
        """Whether the teacher answers at all. Any answer but a server error counts: some refuse to list models."""
        try:
            response = await self._client.get("models", headers=self._headers(), timeout=_PROBE_SECONDS)
        except (httpx.HTTPError, UpstreamError):
            return False
        return response.status_code < 500

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        name = self.settings.api_key_env
        if name is not None:
            key = os.environ.get(name)
            if not key:
                raise UpstreamError(f"the teacher's key is missing: set the environment variable {name}")
            headers["authorization"] = f"Bearer {key}"
        return headers


async def read_bounded(response: httpx.Response) -> bytes:
    """Read a whole answer. Raises UpstreamError past 16 MiB."""
    pieces: list[bytes] = []
    size = 0
    async for piece in response.aiter_bytes():
        size += len(piece)
        if size > _MAX_ANSWER_BYTES:
            raise UpstreamError("the teacher's answer is larger than 16 MiB")
        pieces.append(piece)
    return b"".join(pieces)
