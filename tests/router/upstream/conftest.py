"""The gateway runs on uvloop, whose transports differ from asyncio's in small ways: so do these tests."""

from __future__ import annotations

from collections.abc import Callable

import uvloop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], uvloop.Loop]]:
    return {"uvloop": uvloop.new_event_loop}
