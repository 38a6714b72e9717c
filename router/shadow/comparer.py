"""From an exchange to a comparison in the log: the teacher is asked, the challenger too, and the record is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from core.asking import Asker
from core.errors import TeacherError
from core.labels import LabelSet
from core.locallog import LogWriter
from core.prices import Price
from core.records import Answerer, Comparison, Exchange, Outcome, encode
from core.settings import TaskSettings
from core.templates import Template
from router.shadow.challengers import Challengers
from router.shadow.judging import Again, Verdict, comparison_of, is_compared, of_answer, of_cascade, of_failure
from router.shadow.memory import Memory
from router.shadow.metrics import ShadowMetrics
from router.shadow.repeats import Repeats

_log = structlog.get_logger(__name__)

_FULL_SECONDS: Final = 0.5


class Comparer:
    """Makes the comparisons of one task, a bounded number at once, each exchange once. For one event loop."""

    def __init__(
        self,
        task: str,
        settings: TaskSettings,
        asker: Asker | None,
        price: Price | None,
        challengers: Challengers,
        memory: Memory,
        log: LogWriter,
        metrics: ShadowMetrics,
        templates: Callable[[], Mapping[str, Template]] | None = None,
        *,
        repeats: Repeats | None = None,
    ) -> None:
        """`asker` is None where the settings do not permit to ask; `repeats` None: nothing is asked twice.

        `templates` says, by version, which prompt templates there are now: by default those of the settings.
        """
        self.memory = memory
        self._task = task
        self._settings = settings.shadow
        self._labels: LabelSet = settings.label_set()
        configured = {template.version: template for template in settings.compiled_templates()}
        self._templates = templates or (lambda: configured)
        self._asker = asker
        self._repeats = repeats
        self._price = price
        self._challengers = challengers
        self._writer = log
        self._metrics = metrics
        self._places = asyncio.Semaphore(settings.shadow.max_concurrency)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._full = False

    @property
    def under_way(self) -> int:
        """Comparisons being made or waiting for their turn."""
        return len(self._under_way)

    async def compare(self, exchanges: Sequence[Exchange]) -> None:
        """Return when every comparison that comes of these exchanges is in the log."""
        wanted = [exchange for exchange in exchanges if is_compared(exchange) and exchange.id not in self.memory]
        found = await asyncio.gather(*(self._once(exchange) for exchange in wanted), return_exceptions=True)
        for failure in found:
            if failure is not None:
                raise failure  # once all others have ended

    def _once(self, exchange: Exchange) -> asyncio.Task[None]:
        """The one task that compares an exchange, however often it comes meanwhile."""
        found = self._under_way.get(exchange.id)
        if found is None:
            found = asyncio.create_task(self._compare(exchange))
            self._under_way[exchange.id] = found
            found.add_done_callback(lambda _: self._under_way.pop(exchange.id, None))
        return found

    async def _compare(self, exchange: Exchange) -> None:
        messages = self._messages(exchange)
        if exchange.answered_by is Answerer.STUDENT:
            async with self._places:
                verdict = await self._ask(exchange, messages)
        else:
            verdict = of_cascade(exchange)
        again = await self._ask_again(exchange, messages) if verdict.label is not None else None
        # What was redacted is not what the champion has read: no other answer stands beside its own on that.
        same = messages and not exchange.redacted
        challenger = await self._challengers.ask(self._task, messages) if same else None
        comparison = comparison_of(exchange, verdict, challenger, again)
        await self._write(comparison)
        self.memory.add(comparison)
        self._metrics.comparison(comparison)

    async def _ask_again(self, exchange: Exchange, messages: Sequence[tuple[str, str]]) -> Again | None:
        """What the teacher says when it is asked once more; None where the exchange is not drawn, or may not be asked.

        Of what the cascade asked, too: agreement speaks of all inputs, and so must what it is held against.
        """
        if self._repeats is None or self._asker is None or exchange.text is None or exchange.redacted:
            return None
        seed = self._repeats.draw(exchange.id)
        if seed is None:
            return None
        async with self._places:
            return Again(await self._ask(exchange, messages, fresh=seed), self._repeats.probability)

    async def _ask(
        self, exchange: Exchange, messages: Sequence[tuple[str, str]], *, fresh: int | None = None
    ) -> Verdict:
        if self._asker is None or exchange.text is None:
            error = "the settings do not permit any more that this task's texts go to the teacher"
            return Verdict(Outcome.REFUSED, error=error)
        if exchange.redacted:
            return Verdict(Outcome.REFUSED, error="its text was redacted: the teacher would read another one")
        limit = self._settings.dollars_per_day
        if limit is not None and self.memory.spent_today >= limit:
            error = f"shadow.dollars_per_day (${limit:g}) is spent; it goes on tomorrow"
            return Verdict(Outcome.OVER_BUDGET, error=error)
        try:
            answer = await self._asker.ask(exchange.text, messages, fresh=fresh)
        except TeacherError as error:
            return of_failure(error)
        cost = self._price.cost(answer.prompt_tokens, answer.completion_tokens) if self._price is not None else 0.0
        return of_answer(answer, self._labels, cost)

    def _messages(self, exchange: Exchange) -> list[tuple[str, str]]:
        """The request as the client sent it, as far as it can be made again; empty where its text was not kept."""
        if exchange.text is None:
            return []
        template = self._templates().get(exchange.template)
        if template is not None:
            try:
                return template.render(exchange.text)
            except ValueError:
                _log.warning("template_not_rendered", exchange=exchange.id, template=exchange.template)
        return [("user", exchange.text)]

    async def _write(self, comparison: Comparison) -> None:
        """Put it into the log, waiting where that is full: it is acknowledged only once it is there."""
        payload = encode(comparison)
        while not self._writer.append(payload):
            if not self._full:
                _log.error("shadow_log_full", hint="the disk is full or the log is at log.max_bytes; is Redis away?")
            self._full = True
            await asyncio.sleep(_FULL_SECONDS)
        self._full = False
