"""Verdicts of reviews on their way into the journal, as feedback.

Who judges has no gateway at hand, and perhaps no disk that outlives the command: so the verdict goes into the ledger,
together with its audit entry, and the ledger is the log from which it is shipped. It is one source of the journal,
named after the ledger, in which a verdict's sequence number is its offset. What holds for a gateway's log then holds
here: Redis moves the source's position in the script that adds the record, the archiver takes each offset once, and
whatever Redis forgets is shipped again. The command carries its own verdicts; what it could not, the monitor does.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from core.journal import Journal, is_cancelled, stream_name
from core.ledger import Ledger
from core.locallog import Frame
from core.records import Kind, encode

_PAUSE_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


async def carry_verdicts(ledger: Ledger, journal: Journal) -> int:
    """Ship the verdicts that the journal does not hold; returns how many there were. Several may do it at once.

    Raises redis.RedisError while Redis is away, sqlalchemy.exc.SQLAlchemyError while the ledger is.
    """
    source = f"reviews_{await asyncio.to_thread(lambda: ledger.id)}"
    carried = 0
    while True:
        (position,) = await journal.shipped([source])
        waiting = await asyncio.to_thread(ledger.reviews.outbox, position or 0)
        if not waiting:
            return carried
        batches: dict[str, list[Frame]] = defaultdict(list)
        for sequence, record in waiting:
            batches[stream_name(record.task, Kind.FEEDBACK)].append((sequence, encode(record)))
        end = waiting[-1][0]
        if await journal.ship(source, position, end, batches) == end:
            carried += len(waiting)


async def keep_carrying(ledger: Ledger, journal: Journal, pause_seconds: float = _PAUSE_SECONDS) -> None:
    """Carry verdicts every few seconds until cancelled. Neither Redis nor the ledger being away ends it."""
    up = True
    while not is_cancelled():
        try:
            carried = await carry_verdicts(ledger, journal)
        except (RedisError, SQLAlchemyError) as error:
            if up:
                _log.warning("verdicts_wait", error=str(error) or type(error).__name__, effect="they are in the ledger")
            up = False
        else:
            up = True
            if carried:
                _log.info("verdicts_carried", count=carried)
        await asyncio.sleep(pause_seconds)
