"""Asking a teacher over many texts: concurrent, within a budget, and resumable.

Every answer is kept as soon as it is read, so whatever ends a labelling (Ctrl-C, a full disk, the budget) costs nothing
but the calls that were under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import httpx

from core.asking import Asker, Sleep, open_client
from core.budget import Budget, most_completion_tokens, require_price, worst_case
from core.errors import PermissionDeniedError
from core.labels import LabelSet
from core.prices import Price, price_of
from core.settings import TaskSettings, TeacherSettings
from core.teacher import TeacherAnswer, label_request
from training.answers import AnswerCache, answer_key
from training.progress import Progress, Report, silent


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a labelling would take: calls still to make, and dollars (expected, and at most without retries)."""

    texts: int
    cached: int
    expected_usd: float
    worst_usd: float
    price: Price

    @property
    def calls(self) -> int:
        """Calls still to make."""
        return self.texts - self.cached


@dataclass(slots=True)
class Labelling:
    """What came of it. `answers` has the order of the texts; None where the teacher's answer was no label."""

    answers: list[TeacherAnswer | None] = field(default_factory=list)
    asked: int = 0
    cached: int = 0
    unreadable: int = 0
    spent_usd: float = 0.0
    sample: str = ""
    """One answer that could not be read, for the message."""


def require_may_train(teacher: TeacherSettings, task: str) -> None:
    """Raise PermissionDeniedError, naming the setting, unless this teacher's answers may train a student."""
    if not teacher.may_train:
        raise PermissionDeniedError(
            f"tasks.{task}.teacher.may_train is false: nothing is distilled from {teacher.model!r}; set it to true "
            "where the provider's terms allow that its answers train a model"
        )


def require_permission(teacher: TeacherSettings, task: str) -> None:
    """Raise PermissionDeniedError, naming the setting, unless this teacher may be asked for training data."""
    require_may_train(teacher, task)
    if not teacher.data_may_leave:
        raise PermissionDeniedError(
            f"tasks.{task}.teacher.data_may_leave is false: no text may be sent to {teacher.base_url} for labelling; "
            "set it to true where this task's data may go there"
        )


def why_not_ask(task: TaskSettings) -> str:
    """Why a run may not have the teacher label texts by itself; empty where it may."""
    if not task.teacher.data_may_leave:
        return "teacher.data_may_leave is false"
    if task.retrain.label_budget_usd is not None and price_of(task.teacher) is None:
        return "the teacher's price is not known; set teacher.input_price and teacher.output_price"
    return ""


def estimate(texts: Sequence[str], labels: LabelSet, teacher: TeacherSettings, cache: AnswerCache) -> Estimate:
    """Say beforehand what `label` would take. Raises TeacherError where the teacher's price is not known."""
    price = require_price(teacher)
    unique = list(dict.fromkeys(texts))
    missing = [text for text in unique if cache.get(answer_key(text, labels, teacher)) is None]
    answer = most_completion_tokens(labels, teacher)
    bodies = [label_request(text, labels, teacher) for text in missing]
    worst = sum(worst_case(body, answer, price) for body in bodies)
    # A token is about four bytes of English; an answer about half of the longest.
    expected = sum(price.cost(len(body) // 4, answer // 2 + 1) for body in bodies)
    return Estimate(len(unique), len(unique) - len(missing), expected, worst, price)


async def label(
    texts: Sequence[str],
    labels: LabelSet,
    teacher: TeacherSettings,
    cache: AnswerCache,
    *,
    task: str,
    budget_usd: float | None = None,
    report: Report = silent,
    transport: httpx.AsyncBaseTransport | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Labelling:
    """Ask the teacher for the label of each text, each once, at most `teacher.max_concurrency` at a time.

    `budget_usd` is never exceeded as long as the teacher keeps to the `max_completion_tokens` that it is given and to
    its price: the worst case of a call is set aside before the call. None: no limit.

    Raises PermissionDeniedError before anything is sent; BudgetExceededError where the next call could exceed the
    budget; TeacherError where the teacher refuses, or keeps failing. What was answered until then is in the cache.
    """
    require_permission(teacher, task)
    unique = list(dict.fromkeys(texts))
    keys = {text: answer_key(text, labels, teacher) for text in unique}
    missing = [text for text in unique if cache.get(keys[text]) is None]
    result = Labelling(cached=len(unique) - len(missing))
    report(Progress("label", result.cached, len(unique)))
    if missing:
        budget = Budget(budget_usd)
        async with open_client(teacher, transport) as client:
            asker = Asker(client, labels, teacher, _price(teacher, budget_usd), budget, sleep)

            async def ask(text: str) -> None:
                answer = await asker.ask(text)
                cache.put(keys[text], answer)
                result.asked += 1
                report(Progress("label", result.cached + result.asked, len(unique)))

            try:
                await _for_each(missing, ask, teacher.max_concurrency)
            finally:
                result.spent_usd = budget.spent
                result.sample = asker.unreadable_sample
    found = [cache.get(keys[text]) for text in texts]
    result.answers = [answer if answer is not None and answer.label is not None else None for answer in found]
    result.unreadable = sum(answer is None for answer in result.answers)
    return result


def _price(teacher: TeacherSettings, budget_usd: float | None) -> Price:
    """The teacher's price. Only where no budget is to be kept may it stay unknown."""
    if budget_usd is None:
        return price_of(teacher) or Price(0.0, 0.0, "unknown")
    return require_price(teacher)


async def _for_each(texts: Sequence[str], work: Callable[[str], Awaitable[None]], concurrency: int) -> None:
    """Run `work` over the texts in a bounded number of tasks; the first error stops all and is raised by itself."""
    waiting = iter(texts)

    async def worker() -> None:
        for text in waiting:  # one iterator for all: each text is taken once
            await work(text)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(texts))):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
