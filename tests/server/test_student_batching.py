from __future__ import annotations

import asyncio
import statistics
import threading
import time
from typing import Any

import numpy as np
import pytest

from core.errors import InternalError, OverloadedError, UnavailableError
from core.models.base import Forward
from core.models.folder import Card
from core.models.student import Student
from server.batching import Batcher, Limits
from server.completions import ClientGoneError, _unless
from server.metrics import StudentMetrics
from tests.support.students import LABELS, build_model


class SlowModel:
    """A classifier that answers "1" with the second label, and can be held up; on "poison" it raises."""

    architecture = "encoder"
    labels = ("zero", "one")

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()
        self.batches: list[list[str]] = []

    def forward(self, texts):
        self.batches.append(list(texts))
        self.started.set()
        assert self.gate.wait(10)
        if "poison" in texts:
            raise RuntimeError("a kernel failed")
        logits = np.array([[0.0, 5.0] if text == "1" else [5.0, 0.0] for text in texts], np.float32)
        return Forward(logits, logits, np.ones(len(texts), np.int64))

    def save(self, folder):
        raise NotImplementedError


def _student(model) -> Student:
    return Student(Card(task="t", architecture=model.architecture, labels=list(model.labels), label_set="x"), model)


@pytest.fixture
def model():
    return SlowModel()


async def _started(model: SlowModel) -> None:
    assert await asyncio.to_thread(model.started.wait, 10)


async def test_each_text_gets_its_own_answer_and_batches_grow_by_themselves(model):
    batcher = Batcher("t", _student(model), Limits(max_batch=16), StudentMetrics())
    texts = [str(number % 2) for number in range(100)]
    model.gate.clear()
    futures = [batcher.submit(text) for text in texts]
    await _started(model)
    model.gate.set()
    answers = await asyncio.gather(*futures)
    assert [int(answer.probabilities.argmax()) for answer in answers] == [number % 2 for number in range(100)]
    assert [len(batch) for batch in model.batches] == [16] * 6 + [4]
    await batcher.close()


async def test_a_full_queue_sheds_at_once(model):
    batcher = Batcher("t", _student(model), Limits(max_batch=1, max_queue=3), StudentMetrics())
    model.gate.clear()
    under_way = batcher.submit("0")
    await _started(model)
    waiting = [batcher.submit("0") for _ in range(3)]
    with pytest.raises(OverloadedError, match="3 requests are waiting") as caught:
        batcher.submit("0")
    assert caught.value.retry_after is not None
    model.gate.set()
    assert len(await asyncio.gather(under_way, *waiting)) == 4
    await batcher.close()


async def test_what_was_withdrawn_is_not_computed(model):
    batcher = Batcher("t", _student(model), Limits(max_batch=4), StudentMetrics())
    model.gate.clear()
    first = batcher.submit("first")
    await _started(model)
    gone, kept = batcher.submit("gone"), batcher.submit("kept")
    gone.cancel()
    model.gate.set()
    await asyncio.gather(first, kept)
    assert model.batches == [["first"], ["kept"]]
    await batcher.close()


async def test_only_the_text_at_fault_fails(model):
    batcher = Batcher("t", _student(model), Limits(), StudentMetrics())
    futures = [batcher.submit(text) for text in ("0", "poison", "1")]
    answers: list[Any] = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(answers[1], InternalError)
    assert [int(answers[index].probabilities.argmax()) for index in (0, 2)] == [0, 1]
    assert int((await batcher.submit("1")).probabilities.argmax()) == 1
    await batcher.close()


async def test_closing_answers_what_waits_and_refuses_more(model):
    batcher = Batcher("t", _student(model), Limits(max_batch=2), StudentMetrics())
    futures = [batcher.submit("1") for _ in range(9)]
    await batcher.close()
    assert all(future.done() and not future.exception() for future in futures)
    with pytest.raises(UnavailableError):
        batcher.submit("1")


async def test_closing_does_not_wait_for_ever(model):
    batcher = Batcher("t", _student(model), Limits(max_batch=1, drain_seconds=0.05), StudentMetrics())
    model.gate.clear()
    futures = [batcher.submit("1") for _ in range(3)]
    await _started(model)
    await batcher.close()
    model.gate.set()
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert all(isinstance(answer, UnavailableError) for answer in answers)


async def test_a_lone_text_waits_less_than_a_millisecond():
    student = _student(build_model())
    assert student.model.labels == LABELS
    batcher = Batcher("t", student, Limits(), StudentMetrics())
    added = []
    for number in range(200):
        text = f"where is order {number}"
        started = time.perf_counter()
        student.predict([text])
        bare = time.perf_counter()
        await batcher.submit(text)
        added.append(time.perf_counter() - bare - (bare - started))
    assert statistics.median(added) < 0.001
    await batcher.close()


async def test_a_client_that_went_is_not_waited_for(model):
    batcher = Batcher("t", _student(model), Limits(max_batch=1), StudentMetrics())
    model.gate.clear()
    first = batcher.submit("first")
    await _started(model)
    waiting = batcher.submit("gone")

    async def gone() -> None:
        await asyncio.sleep(0)

    with pytest.raises(ClientGoneError):
        await _unless(gone, waiting)
    model.gate.set()
    await first
    await batcher.close()
    assert model.batches == [["first"]]
