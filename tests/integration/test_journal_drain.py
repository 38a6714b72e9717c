"""SIGTERM: what is under way is answered, and what was answered is in the journal before the gateway has ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time

import psutil
import pytest

from core import locallog
from core.journal import START, Journal, stream_name
from core.records import Exchange, Kind, decode
from tests.integration.conftest import TASK, House
from tests.integration.load import Outcome, send

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def test_what_was_answered_before_sigterm_is_in_the_journal_after_it(house: House):
    version = house.promote_new_version()
    house.wait_until(lambda: house.served_version() == version)
    outcomes: list[Outcome] = []
    load = threading.Thread(target=lambda: outcomes.append(send(house.url, 4_000)))
    load.start()
    house.wait_until(lambda: locallog.used_bytes(house.settings.log_folder) > 200_000)
    gateway = psutil.Process(house.gateway_pid)
    called = time.monotonic()
    os.kill(gateway.pid, signal.SIGTERM)
    with contextlib.suppress(psutil.NoSuchProcess):
        house.wait_until(lambda: not gateway.is_running() or gateway.status() == psutil.STATUS_ZOMBIE)
    assert time.monotonic() - called < 2 * house.settings.gateway.drain_seconds
    load.join()
    (outcome,) = outcomes
    assert 100 < len(outcome.answered) < 4_000, "it was stopped in the middle"
    journalled = asyncio.run(_journalled(house))
    assert len(journalled) == len(set(journalled))
    assert set(outcome.answered) <= set(journalled)
    for source in locallog.list_sources(house.settings.log_folder):
        assert not locallog.is_live(house.settings.log_folder, source)


async def _journalled(house: House) -> list[str]:
    journal = Journal.connect(house.settings.redis.address)
    found, after = [], START
    try:
        while entries := await journal.read(stream_name(TASK, Kind.EXCHANGE), after):
            for entry in entries:
                records = [decode(payload) for _, payload in entry.frames()]
                found += [record.id for record in records if isinstance(record, Exchange)]
            after = entries[-1].id
    finally:
        await journal.close()
    return found
