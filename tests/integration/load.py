"""Traffic: many requests over a few connections, every one tried once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

TEXTS = ("where is my parcel", "a refund please", "great, thanks", "hello there")
"""The last one holds no cue: the student is unsure, and the teacher answers."""


@dataclass
class Outcome:
    """What became of the requests."""

    answered: list[str] = field(default_factory=list)
    """Exchange ids of those that were answered with 200."""
    failed: list[str] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def send(url: str, requests: int, *, connections: int = 24, midway: Callable[[], None] | None = None) -> Outcome:
    """Send `requests` requests; call `midway`, in a thread, once half of them are under way or done."""
    return asyncio.run(_send(url, requests, connections, midway))


async def _send(url: str, requests: int, connections: int, midway: Callable[[], None] | None) -> Outcome:
    outcome = Outcome()
    numbers = iter(range(requests))
    interruption: list[asyncio.Task[None]] = []

    async def client(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            if number == requests // 2 and midway is not None:
                interruption.append(asyncio.create_task(asyncio.to_thread(midway)))
            body = {"model": "desk", "messages": [{"role": "user", "content": TEXTS[number % len(TEXTS)]}]}
            try:
                async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                    answer = await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                outcome.failed.append(repr(error))
                await asyncio.sleep(0.05)
                continue
            if response.status != 200:
                outcome.failed.append(f"{response.status} {answer[:200]!r}")
                continue
            outcome.answered.append(response.headers["x-tutelage-exchange"])
            outcome.versions[response.headers.get("x-tutelage-version", "")] += 1
            outcome.reasons[response.headers["x-tutelage-reason"]] += 1

    connector = aiohttp.TCPConnector(limit=connections)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await asyncio.gather(*(client(session) for _ in range(connections)))
    await asyncio.gather(*interruption)
    return outcome
