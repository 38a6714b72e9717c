"""The monitor's side of the review queue: it offers the most confident disagreements, and counts the verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from core.ids import mint
from core.ledger import Ledger, Review, ReviewState, Right, Why
from monitoring.confident_wrongness import Candidate, Judge, Rates, Who
from monitoring.rules import Rules
from monitoring.state import TaskState
from monitoring.statistics.weights import Scale, WeightedMean


class ReviewQueue:
    """One task's queue. `fill` blocks: callers use a thread. The attributes are for metrics."""

    def __init__(self, task: str, ledger: Ledger, rules: Rules) -> None:
        self.counts: dict[tuple[Why, ReviewState, Right | None], int] = {}
        """Entries by why, state and who was right, as of the last `fill`."""
        self.red_team = Rates()
        """The teacher's sure answers that were drawn at random, by a person's verdicts."""
        self._task = task
        self._ledger = ledger
        self._rules = rules

    def fill(self, state: TaskState, now: float) -> None:
        """Offer what waits in the state, and look at what was judged. `now`: seconds since the epoch.

        Raises sqlalchemy.exc.SQLAlchemyError where the ledger is away; nothing is lost by calling it again.
        """
        for version in state.versions.values():
            waiting = version.wrongness.waiting
            if waiting:
                entries = [_entry(self._task, version.version, one, now) for one in waiting]
                self._ledger.reviews.offer(self._task, entries, self._rules.review_queue)
                version.wrongness.waiting = []
        counts = self._ledger.reviews.counts(self._task)
        if counts != self.counts:
            drawn = self._ledger.reviews.find(self._task, Why.RED_TEAM, list(ReviewState))
            self.red_team = red_team_rates(drawn, self._rules)
            self.counts = counts

    def rates(self, who: Who, judge: Judge, state: TaskState) -> Rates:
        """What is known of the champion's or the teacher's sure answers by one judge."""
        if judge is Judge.RED_TEAM:
            return self.red_team if who is Who.TEACHER else Rates()
        watched = state.watched
        return Rates() if watched is None else watched.wrongness.rates(who, judge, self._rules)


def red_team_rates(entries: Sequence[Review], rules: Rules) -> Rates:
    """The teacher's answers among these entries that were drawn at random and judged, in the order of the verdicts.

    Each is weighted by how likely it was to be drawn. Those that wait, or were skipped, only say with which
    probabilities one has drawn, so that the weights' factor is fixed before the first verdict. From a confidence on,
    those count that were drawn from at least all answers from there on.
    """
    drawn = [one for one in entries if one.probability > 0]
    judged = sorted((one for one in drawn if one.right is not None), key=lambda one: one.sequence or 0)
    rates = Rates()
    if not judged:
        return rates
    first = judged[0].judged or 0.0
    scale = Scale(min((one.probability for one in drawn if one.created <= first), default=1.0))
    for one in judged:
        weight, right = scale.weigh(one.probability), one.right in (Right.TEACHER, Right.BOTH)
        confidence, label = one.teacher_confidence or 0.0, one.teacher if one.teacher in rules.positions else "other"
        for level in rules.confident_from:
            if one.drawn_from <= level <= confidence:
                rates.levels.setdefault(level, WeightedMean()).add(right, weight)
        if one.drawn_from <= rules.confident_level <= confidence:
            rates.classes.setdefault(label, WeightedMean()).add(right, weight)
    return rates


def _entry(task: str, version: str, one: Candidate, now: float) -> Review:
    return Review(
        id=mint("rv"),
        task=task,
        exchange=one.exchange,
        why=Why.DISAGREEMENT,
        version=version,
        student=one.student,
        teacher=one.teacher,
        confidence=one.confidence,
        teacher_confidence=one.teacher_confidence,
        probability=0.0,
        drawn_from=0.0,
        cluster=one.cluster,
        text=one.text,
        created=now,
    )
