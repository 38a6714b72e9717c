"""What `tutelage review` does to the queue, whoever asks for it."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import typer

from core.errors import DataError

if TYPE_CHECKING:
    from core.labels import LabelSet
    from core.ledger import Ledger, Review
    from core.settings import Settings
    from tutelage.commands._review_answers import Answer

_DAY = 86_400.0


class Desk:
    """Where a person judges: one ledger's queue. Calls block."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        from tutelage.commands._shared import who

        self._settings = settings
        self._ledger = ledger
        self._actor = who()

    def entries(
        self, task: str | None, *, red_team: bool, everything: bool, judged: bool, limit: int | None
    ) -> list[Review]:
        """What waits; with `everything` also what was skipped, and with `judged` what was judged."""
        from core.ledger import ReviewState, Why

        states = [ReviewState.NEW]
        if everything:
            states += [ReviewState.SKIPPED, *([ReviewState.JUDGED] if judged else [])]
        why = Why.RED_TEAM if red_team else None if everything else Why.DISAGREEMENT
        found = self._ledger.reviews.find(task, why, states, limit)
        return [one for one in found if one.task in self._settings.tasks]

    def get(self, identifier: str) -> Review:
        """An entry. Raises DataError where there is none, SettingsError where its task is not in the settings."""
        found = self._ledger.reviews.get(identifier)
        if found is None:
            raise DataError(f"there is no entry {identifier!r}; `tutelage review --list` shows what waits")
        self._settings.task(found.task)
        return found

    def still_waits(self, one: Review) -> bool:
        """Whether nobody has judged it meanwhile, and it has not made room for another."""
        from core.ledger import ReviewState

        found = self._ledger.reviews.get(one.id)
        return found is not None and found.state is not ReviewState.JUDGED

    def read(self, typed: str, one: Review) -> Answer:
        """What an answer means."""
        from tutelage.commands._review_answers import read_answer

        return read_answer(typed, one, self.labels(one))

    def labels(self, one: Review) -> LabelSet:
        """The labels that may be given."""
        return self._settings.task(one.task).label_set()

    def judge(self, one: Review, answer: Answer, note: str) -> bool:
        """Write a verdict down; False: somebody else was faster. Of the note, what the task's privacy permits."""
        from core.privacy import Privacy

        privacy = self._settings.task(one.task).privacy
        kept = Privacy(privacy, b"").note(note) if privacy.store == "full" else ""
        both = answer.kind == "both"
        judged = self._ledger.reviews.judge(
            one.id, answer.label, both=both, actor=self._actor, note=kept, at=time.time()
        )
        return judged is not None

    def skip(self, one: Review) -> bool:
        """Leave an entry aside."""
        return self._ledger.reviews.skip(one.id, actor=self._actor, at=time.time())

    def carry(self) -> None:
        """Carry the verdicts into the journal; the monitor does it where Redis is away now."""
        from redis.exceptions import RedisError

        try:
            asyncio.run(self._carry())
        except (RedisError, OSError):
            typer.echo("The journal's Redis does not answer: the monitor carries the verdicts there later.", err=True)

    async def _carry(self) -> None:
        from core.journal import Journal
        from core.verdicts import carry_verdicts

        journal = Journal.connect(self._settings.redis.address)
        try:
            await carry_verdicts(self._ledger, journal)
        finally:
            await journal.close()

    def draw(self, task: str, per_class: int, sure: float | None, days: float) -> None:
        """Draw a red-team list, unless one waits. Raises DataError where there is nothing to draw from."""
        from core.archive import Archive
        from core.ledger import Why
        from monitoring.red_team import draw, find_pool
        from monitoring.rules import rules_of

        if self._ledger.reviews.find(task, Why.RED_TEAM, limit=1):
            return
        settings, now = self._settings.task(task), time.time()
        level = settings.watch.confident_alarm_from if sure is None else sure
        archive = Archive(self._settings.archive_url, self._ledger)
        pool = find_pool(archive, self._ledger, task, rules_of(settings), level, now, now - days * _DAY)
        if not pool.classes:
            raise DataError(
                f"none of the {pool.answers} archived answers of the teacher that come with a distribution and a text "
                f"has a confidence of {level:g} or more and waits for a first look; lower --from, or raise --days"
            )
        self._ledger.reviews.add(draw(pool, per_class, random.SystemRandom()))

    def drawn_rate(self, task: str) -> str:
        """What the verdicts on red-team lists say of all sure answers of the teacher; empty: nothing yet."""
        from core.ledger import ReviewState, Why
        from monitoring.confident_wrongness import wrong
        from monitoring.review_queue import red_team_rates
        from monitoring.rules import rules_of
        from monitoring.telling import percent

        settings = self._settings.task(task)
        rates = red_team_rates(self._ledger.reviews.find(task, Why.RED_TEAM, list(ReviewState)), rules_of(settings))
        error = settings.watch.interval_error
        told = [
            f"from {level:g} on {percent(rate.estimate)} wrong, between {percent(rate.lower)} and "
            f"{percent(rate.upper)} ({mean.count} judged)"
            for level, mean in sorted(rates.levels.items())
            if (rate := wrong(mean, error)) is not None
        ]
        return f"of the teacher's answers in {task} by confidence: " + "; ".join(told) if told else ""
