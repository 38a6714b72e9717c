"""Traffic through the official `openai` client. Every request is tried once: what fails at the first attempt counts."""

from __future__ import annotations

import asyncio
import csv
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import openai


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a user's, with its true label where it is known."""

    text: str
    label: str | None = None


@dataclass(slots=True)
class Traffic:
    """What was sent, and what came back."""

    answered: list[str] = field(default_factory=list)
    """Exchange ids."""
    failures: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        """Requests sent so far."""
        return len(self.answered) + len(self.failures)


def read_messages(paths: Iterable[Path], text: str = "text", label: str = "label") -> list[Message]:
    """Read CSV files. Raises KeyError where a file has no such text column."""
    messages = []
    for path in paths:
        with path.open(newline="", encoding="utf-8") as file:
            messages += [Message(row[text], row.get(label)) for row in csv.DictReader(file)]
    return messages


def write_messages(path: Path, messages: Iterable[Message]) -> str:
    """Write a CSV file with the columns `text` and `label`; returns its path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((message.text, message.label) for message in messages)
    return str(path)


def endless(messages: Sequence[Message], seed: int) -> Iterable[Message]:
    """The messages in a random order, again and again in new ones."""
    rng = random.Random(seed)
    while True:
        yield from rng.sample(messages, len(messages))


class Sender:
    """Sends messages to one task at a steady pace, until it is stopped."""

    def __init__(self, base_url: str, task: str, traffic: Traffic, *, per_second: float, connections: int = 8) -> None:
        self._client = openai.AsyncOpenAI(base_url=base_url, api_key="unused", max_retries=0, timeout=60)
        self._task = task
        self._traffic = traffic
        self._pause = 1.0 / per_second
        self._slots = asyncio.Semaphore(connections)
        self._under_way: set[asyncio.Task[None]] = set()

    async def send(self, messages: Iterable[Message], stop: asyncio.Event) -> None:
        """Send until `stop` is set or the messages end, then wait for the last answers."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for message in messages:
            if stop.is_set():
                break
            await self._slots.acquire()
            task = asyncio.create_task(self._ask(message))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            due = max(due + self._pause, loop.time() - 1.0)  # a slow answer is caught up with, a long stall is not
            await asyncio.sleep(max(0.0, due - loop.time()))
        await asyncio.gather(*self._under_way)

    async def close(self) -> None:
        """Close the client's connections."""
        await self._client.close()

    async def _ask(self, message: Message) -> None:
        try:
            answer = await self._client.chat.completions.with_raw_response.create(
                model=self._task, messages=[{"role": "user", "content": message.text}]
            )
        except openai.OpenAIError as error:
            self._traffic.failures.append(repr(error))
            return
        finally:
            self._slots.release()
        self._traffic.answered.append(answer.headers["x-tutelage-exchange"])
        self._traffic.reasons[answer.headers["x-tutelage-reason"]] += 1
        self._traffic.versions[answer.headers.get("x-tutelage-version", "")] += 1
