"""The pages of a role, in its event loop or beside it."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from core.errors import StartupError
from core.role_pages import role_pages, role_pages_beside


def get(address: str, page: str) -> httpx.Response:
    return httpx.get(f"{address}{page}", timeout=10.0)


@pytest.mark.parametrize("serve", [role_pages, role_pages_beside])
async def test_every_page_answers(serve):
    async with serve("monitor", "127.0.0.1", 0, lambda: b"a 1\n") as address:
        metrics, health, missing = await asyncio.gather(
            *(asyncio.to_thread(get, address, page) for page in ("/metrics", "/healthz", "/"))
        )
        assert (metrics.status_code, metrics.content) == (200, b"a 1\n")
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert (health.status_code, missing.status_code) == (200, 404)
        port = address.rpartition(":")[2]
        with pytest.raises(StartupError, match=r"monitor\.port"):
            async with serve("monitor", "127.0.0.1", int(port), bytes):
                pass
    with pytest.raises(httpx.ConnectError):
        await asyncio.to_thread(get, address, "/healthz")


async def test_pages_beside_answer_while_the_loop_is_busy():
    async with role_pages_beside("monitor", "127.0.0.1", 0, lambda: b"a 1\n") as address:
        scrape = asyncio.create_task(asyncio.to_thread(_timed, address))
        await asyncio.sleep(0.05)  # so that the thread begins
        time.sleep(1.0)  # noqa: ASYNC251 - the loop is busy
        assert await scrape < 0.9


async def test_a_role_that_is_stuck_is_not_healthy(monkeypatch):
    monkeypatch.setattr("core.role_pages._STUCK_SECONDS", 0.3)
    async with role_pages_beside("monitor", "127.0.0.1", 0, lambda: b"a 1\n") as address:
        asking = asyncio.create_task(asyncio.to_thread(_when_stuck, address))
        await asyncio.sleep(0.05)
        time.sleep(1.5)  # noqa: ASYNC251 - it is stuck
        health, metrics = await asking
    assert (health, metrics) == (503, 200), "what is known is shown all the same"


def _timed(address: str) -> float:
    time.sleep(0.2)
    start = time.perf_counter()
    assert get(address, "/metrics").status_code == 200
    return time.perf_counter() - start


def _when_stuck(address: str) -> tuple[int, int]:
    time.sleep(0.8)
    return get(address, "/healthz").status_code, get(address, "/metrics").status_code
