"""Leases, on a real Redis."""

from __future__ import annotations

import asyncio

from core.lease import Leases


async def test_one_holds_it_renews_it_and_gives_it_back(redis_url):
    first, second = Leases(redis_url, 5.0), Leases(redis_url, 5.0)
    assert await first.take("monitor:desk")
    assert await first.take("monitor:desk")
    assert not await second.take("monitor:desk")
    assert await second.take("monitor:other")
    await second.give_back("monitor:desk")
    assert not await second.take("monitor:desk")
    await first.give_back("monitor:desk")
    assert await second.take("monitor:desk")
    await first.close()
    await second.close()


async def test_it_ends_by_itself(redis_url):
    first, second = Leases(redis_url, 0.05), Leases(redis_url, 5.0)
    assert await first.take("x")
    await asyncio.sleep(0.1)
    assert await second.take("x")
    assert not await first.take("x")
    await first.close()
    await second.close()
