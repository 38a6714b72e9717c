"""The golden set: the same texts, asked of the teacher day after day, so that a changed teacher is seen as such.

One worker asks, under a lease; the ledger says what was asked already, so a round that a worker did not end is gone on
with by another. What is made of the answers is the monitor's business.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from core.asking import Asker
from core.budget import Budget
from core.errors import TeacherError
from core.journal import is_cancelled
from core.lease import Leases
from core.ledger import GoldenExample, GoldenRound, GoldenSet, Ledger
from core.ledger.golden import UNREADABLE
from core.records import Outcome
from core.settings import TaskSettings
from router.shadow.golden_texts import TrafficTexts, digest_of_teacher, digest_of_texts
from router.shadow.judging import of_failure
from router.shadow.metrics import ShadowMetrics
from router.shadow.repeats import seed_of

LEASE_SECONDS: Final = 120.0
"""Longer than a few questions take: it is renewed between them."""

_LOOK_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 600.0
_HOUR: Final = 3600.0
_FEWEST: Final = 20
_LATE: Final = 0.25
"""Share of the time between two rounds after which one that cannot be completed counts as it is."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Answered:
    """What came of a few questions."""

    answers: dict[int, str]
    outcomes: Counter[Outcome]
    spent: bool
    """The budget holds no more."""


class GoldenKeeper:
    """Keeps one task's golden set, and has it asked when it is due. For one event loop."""

    def __init__(
        self,
        task: str,
        settings: TaskSettings,
        open_asker: Callable[[Budget], Asker],
        texts: Sequence[GoldenExample] | TrafficTexts,
        ledger: Ledger,
        leases: Leases,
        metrics: ShadowMetrics,
        owner: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`texts`: those of the user's files, or what gathers them. `owner` is this process' name.

        The settings must permit it (`TaskSettings.asks_golden`).
        """
        if settings.watch.golden_hours is None:
            raise ValueError("watch.golden_hours is null, so there is nothing to keep")
        self._task = task
        self._settings = settings
        self._watch = settings.watch
        self._period = settings.watch.golden_hours * _HOUR
        self._template = settings.compiled_templates()[0]
        self._open_asker = open_asker
        self._texts = texts
        self._ledger = ledger
        self._leases = leases
        self._metrics = metrics
        self._owner = owner
        self._clock = clock
        self._teacher = digest_of_teacher(settings)
        self._digest = "" if isinstance(texts, TrafficTexts) else digest_of_texts(texts)
        self._not_before = 0.0
        self._up = True

    async def run(self) -> None:
        """Look again and again, until cancelled. Redis or the ledger being away does not end it."""
        while not is_cancelled():
            try:
                await self.look()
            except (RedisError, SQLAlchemyError, OSError) as error:
                if self._up:
                    _log.warning("golden_stopped", task=self._task, error=str(error) or type(error).__name__)
                self._up = False
            else:
                self._up = True
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Freeze a set where one is needed, and ask it where that is due, if nobody else does.

        Raises redis.RedisError or sqlalchemy.exc.SQLAlchemyError while one of the stores is away; call again then.
        """
        if self._clock() < self._not_before or not await self._leases.take(self._lease):
            return
        try:
            found = await self._set()
            if found is None:
                return
            current, examples = found
            last = await asyncio.to_thread(self._ledger.golden.last_round, self._task, current.number)
            due = last is None or last.finished is None or self._clock() >= last.started + self._period
            if due:
                await self._ask(current, examples)
        finally:
            await self._leases.give_back(self._lease)

    @property
    def _lease(self) -> str:
        return f"golden:{self._task}"

    async def _set(self) -> tuple[GoldenSet, list[GoldenExample]] | None:
        """The set in use, with those of its texts that are left; frozen anew where it does not fit any more."""
        current = await asyncio.to_thread(self._ledger.golden.newest, self._task)
        if current is not None and (current.teacher, current.texts) == (self._teacher, self._digest):
            there = await asyncio.to_thread(self._ledger.golden.examples, self._task, current.number)
            left = [example for example in there if example.text]
            if len(left) == len(there) or (len(left) >= _FEWEST and 2 * len(left) >= len(there)):
                return current, left
        texts = await self._new_texts()
        if not texts:
            return None
        number = 1 if current is None else current.number + 1
        source: Literal["files", "traffic"] = "traffic" if isinstance(self._texts, TrafficTexts) else "files"
        new = GoldenSet(self._task, number, source, self._teacher, self._digest, self._clock())
        if not await asyncio.to_thread(self._ledger.golden.freeze, new, texts):
            return None
        _log.info("golden_set_frozen", task=self._task, set=number, source=source, texts=len(texts))
        return new, texts

    async def _new_texts(self) -> list[GoldenExample]:
        """The texts of a new set; none while there are too few."""
        if not isinstance(self._texts, TrafficTexts):
            return list(self._texts)
        gathered = await self._texts.gather(self._clock())
        if not gathered:
            return []
        tombstones = self._ledger.forgotten.tombstones()
        await asyncio.to_thread(tombstones.refresh)
        self._texts.forget()
        kept = [example for example in gathered if not tombstones.has(example.exchange)]
        return [replace(example, number=number) for number, example in enumerate(kept)]

    async def _ask(self, current: GoldenSet, examples: Sequence[GoldenExample]) -> None:
        """Ask what is not asked yet of a round, and write down what comes of it, a few at a time."""
        golden = self._ledger.golden
        asked = await asyncio.to_thread(golden.begin_round, self._task, current.number, self._owner, self._clock())
        if asked is None:
            return
        limit = self._watch.golden_dollars
        budget = Budget(None if limit is None else max(limit - asked.cost_usd, 0.0))
        asker, before = self._open_asker(budget), asked.cost_usd
        spent = False
        at_once = self._settings.shadow.max_concurrency
        missing = [one for one in examples if one.number not in asked.answers]
        for start in range(0, len(missing), at_once):
            few = missing[start : start + at_once]
            answered = await self._ask_few(asker, asked, few)
            cost = before + budget.spent
            self._metrics.golden(self._task, answered.outcomes, cost - asked.cost_usd)
            asked = replace(asked, answers={**asked.answers, **answered.answers}, cost_usd=cost)
            spent = answered.spent
            if not await self._leases.take(self._lease) or not await asyncio.to_thread(golden.save_round, asked):
                _log.warning("golden_round_taken_over", task=self._task, set=current.number, round=asked.number)
                return
            if spent or not answered.answers:
                break
        late = self._clock() >= asked.started + _LATE * self._period
        if spent or late or len(asked.answers) >= len(examples):
            asked = replace(asked, finished=self._clock())
            await asyncio.to_thread(golden.save_round, asked)
            told = {"answers": len(asked.answers), "texts": len(examples), "cost_usd": round(asked.cost_usd, 6)}
            _log.info("golden_set_asked", task=self._task, set=current.number, round=asked.number, **told)
        else:
            self._not_before = self._clock() + _PAUSE_SECONDS  # the teacher fails; the rest is asked later

    async def _ask_few(self, asker: Asker, asked: GoldenRound, examples: Sequence[GoldenExample]) -> _Answered:
        """Ask a few texts at once. A text that got no answer is asked again later in the round."""
        found = await asyncio.gather(*(self._ask_one(asker, asked, example) for example in examples))
        answers, outcomes = {}, Counter[Outcome]()
        for example, (outcome, answer) in zip(examples, found, strict=True):
            outcomes[outcome] += 1
            if answer is not None:
                answers[example.number] = answer
        return _Answered(answers, outcomes, outcomes[Outcome.OVER_BUDGET] > 0)

    async def _ask_one(self, asker: Asker, asked: GoldenRound, example: GoldenExample) -> tuple[Outcome, str | None]:
        """Ask one text; the answer is UNREADABLE where it is no label, None where there was none."""
        try:
            messages = self._template.render(example.text)
        except ValueError:
            messages = [("user", example.text)]
        seed = seed_of(f"{self._task}/{asked.set}/{asked.number}/{example.number}")
        try:
            answer = await asker.ask(example.text, messages, fresh=seed)
        except TeacherError as error:
            outcome = of_failure(error).outcome
            return outcome, UNREADABLE if outcome is Outcome.UNREADABLE else None
        if answer.label is None:
            return Outcome.UNREADABLE, UNREADABLE
        return Outcome.ANSWERED, answer.label
