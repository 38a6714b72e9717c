"""Dynamic batching: one queue and one owner for each loaded student.

The owner takes whatever is waiting and runs it at once. It never waits for a batch to fill: while one pass runs, the
next batch gathers by itself, so batches grow with load and a lone text is answered without delay.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from core.errors import InternalError, OverloadedError, UnavailableError
from core.models.student import Predictions, Student
from server.metrics import StudentMetrics

_INLINE_CHARACTERS: Final = 4_096
"""An `ngram` batch up to this size takes less than about a millisecond: the event loop runs it itself, since handing it
to a thread costs as much as a small pass."""

_RETRY_AFTER_SECONDS: Final = 0.25

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one student's queue."""

    max_batch: int = 64
    """Most texts in one pass."""
    max_queue: int = 2048
    """Texts waiting; more are refused."""
    drain_seconds: float = 10.0
    """How long an unloading student may take to answer what is waiting."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one text: one row of `Predictions`."""

    probabilities: NDArray[np.float32]
    vector: NDArray[np.float16]
    tokens: int


@dataclass(slots=True)
class _Waiting:
    text: str
    future: asyncio.Future[Prediction]
    since: float


class Batcher:
    """Answers single texts by batches. Belongs to the event loop in which it was made."""

    def __init__(self, task: str, student: Student, limits: Limits, metrics: StudentMetrics) -> None:
        self._task_name = task
        self._student = student
        self._limits = limits
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._inline = student.card.architecture == "ngram"
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"student-{task}")
        self._batch_size = metrics.batch_size.labels(task)
        self._queue_seconds = metrics.queue_seconds.labels(task)
        self._model_seconds = metrics.model_seconds.labels(task)
        self._owner = asyncio.create_task(self._run(), name=f"batcher-{task}")

    @property
    def congested(self) -> bool:
        """Whether a text submitted now would wait for more than one pass."""
        return len(self._waiting) > self._limits.max_batch

    def submit(self, text: str) -> asyncio.Future[Prediction]:
        """Queue a text; cancel the future to withdraw it.

        Raises OverloadedError where the queue is full, UnavailableError where the student is being unloaded.
        """
        if self._closing:
            raise UnavailableError("this student version is being unloaded; send the request again", retry_after=0.0)
        if len(self._waiting) >= self._limits.max_queue:
            raise OverloadedError(
                f"{self._limits.max_queue} requests are waiting for the student of {self._task_name!r}; "
                "send fewer at once, or raise student.max_queue",
                retry_after=_RETRY_AFTER_SECONDS,
            )
        future: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(text, future, time.perf_counter()))
        self._wake.set()
        return future

    async def close(self) -> None:
        """Refuse new texts, answer those waiting (for at most `drain_seconds`), and end."""
        self._closing = True
        self._wake.set()
        _, late = await asyncio.wait([self._owner], timeout=self._limits.drain_seconds)
        for task in late:
            task.cancel()
        while self._waiting:
            self._fail([self._waiting.popleft()], UnavailableError("the student was unloaded before it could answer"))
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            batch = self._take()
            if batch:
                await self._answer(batch)
            elif self._closing:
                return
            else:
                self._wake.clear()

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self._limits.max_batch:
            waiting = self._waiting.popleft()
            if not waiting.future.done():  # else its client has gone
                batch.append(waiting)
        return batch

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        started = time.perf_counter()
        for waiting in batch:
            self._queue_seconds.observe(started - waiting.since)
        try:
            predictions = await self._predict([waiting.text for waiting in batch])
        except asyncio.CancelledError:
            self._fail(batch, UnavailableError("the student was unloaded before it could answer"))
            raise
        except Exception:  # noqa: BLE001 - whatever a model raises fails its requests, never the owner of the queue
            await self._after_failure(batch)
            return
        self._batch_size.observe(len(batch))
        self._model_seconds.observe(time.perf_counter() - started)
        for row, waiting in enumerate(batch):
            if not waiting.future.done():
                waiting.future.set_result(
                    Prediction(predictions.probabilities[row], predictions.vectors[row], int(predictions.tokens[row]))
                )

    async def _predict(self, texts: list[str]) -> Predictions:
        if self._inline and sum(map(len, texts)) <= _INLINE_CHARACTERS:
            predictions = self._student.predict(texts)
            await asyncio.sleep(0)  # let the answers go out before the next pass
            return predictions
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._student.predict, texts)

    async def _after_failure(self, batch: Sequence[_Waiting]) -> None:
        """Answer the texts of a failed batch one by one, so that only the text at fault fails."""
        _log.exception("a pass through the student failed", task=self._task_name, texts=len(batch))
        if len(batch) > 1:
            for waiting in batch:
                await self._answer([waiting])
        else:
            self._fail(batch, InternalError("the student failed on this text; the details are in the server's log"))

    @staticmethod
    def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
        for waiting in batch:
            if not waiting.future.done():
                waiting.future.set_exception(error)
