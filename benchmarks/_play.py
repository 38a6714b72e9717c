"""What the plays with a whole house share: sending until something happens, a line on how it stands, and counting."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from benchmarks._report import Claim
from benchmarks._traffic import Message, Sender
from benchmarks._watching import Watcher
from core.archive import Archive
from core.settings import Settings

_ARCHIVE_SECONDS = 60.0


@dataclass(slots=True)
class Story:
    """When what happened, in seconds since the epoch; infinity where it did not."""

    began: float = math.inf
    """The first student has taken over."""
    shifted: float = math.inf
    alarmed: float = math.inf
    swapped: float = math.inf
    trusted: list[float] = field(default_factory=list)
    """Shares of the classes that the champion may answer, as often as somebody looked."""


async def send_until(
    sender: Sender, messages: Iterable[Message], done: Callable[[], bool], *, seconds: float = float("inf")
) -> float:
    """Send until `done()` or for so many seconds; returns how long it was."""
    stop, started = asyncio.Event(), time.monotonic()
    sending = asyncio.create_task(sender.send(messages, stop))
    while not done() and time.monotonic() - started < seconds:  # noqa: ASYNC110  # what is waited for is elsewhere
        await asyncio.sleep(0.2)
    stop.set()
    await sending
    return time.monotonic() - started


def describe(watcher: Watcher) -> str:
    """How it stands, by the house's own metrics."""
    point = watcher.timeline.points[-1]
    student, served = (
        "not known" if found is None else f"{found.value:.1%} ({found.low:.0%} to {found.high:.0%})"
        for found in (point.student, point.served)
    )
    return (
        f"  {watcher.traffic.sent:,} exchanges · student agreement {student} · served agreement {served} · "
        f"{point.trusted:.0%} of classes trusted · version {point.version or '?'}"
    )


def count_claims(settings: Settings, watcher: Watcher) -> list[Claim]:
    """No request failed at the first attempt, and every answered one is archived exactly once.

    Waits up to a minute until all that was answered is in the archive.
    """
    traffic = watcher.traffic
    archive, answered = Archive(settings.archive_url, watcher.ledger), set(traffic.answered)
    deadline = time.monotonic() + _ARCHIVE_SECONDS
    while True:
        ids = archive.query("SELECT id FROM records", watcher.task).column("id").to_pylist()
        if answered <= set(ids) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    rows, found = sum(identifier in answered for identifier in ids), len(answered.intersection(ids))

    def percent(name: str, part: int, whole: int) -> Claim:
        return Claim(name, 100.0 * part / max(whole, 1), 100, 100, " %")

    return [
        percent(f"of {traffic.sent:,} requests, answered at the first attempt", len(traffic.answered), traffic.sent),
        percent(f"of {len(answered):,} answered exchanges, archived", found, len(answered)),
        percent(f"of {rows:,} archived rows, different exchanges", found, rows),
    ]
