"""Whether the teacher is still the one it was: the answers to the golden set, held against the first ones.

Answers come once a day from the shadow worker, by way of the ledger. They are looked at round by round, so a monitor
that was away for some days, or began again from an older snapshot, comes to the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from core.ledger import GoldenExample, GoldenRound, Ledger
from core.settings import WatchSettings
from monitoring.statistics.rounds import Differences, latest_shift

_LOOK_SECONDS: Final = 30.0


class GoldenWatch(msgspec.Struct):
    """What the golden set says of a task's teacher, as of the last round."""

    set: int = 0
    """Its number; 0: there is none yet."""
    baseline: int = 0
    round: int = -1
    """The last one that was looked at."""
    asked_at: float = 0.0
    """When that was finished, in seconds since the epoch."""
    answers: int = 0
    agreement: float | None = None
    """Of its answers with the first ones; None in the first round, and where nothing was answered."""
    usual: float | None = None
    """The same of the rounds before, or of those before the change."""
    truth: float | None = None
    """Share of the labelled texts that were answered right; None without labels. `first_truth`: in the first round."""
    first_truth: float | None = None
    p_value: float = 1.0
    """Of the shift, against "nothing has changed"; `allowed`: at which it is called a change."""
    allowed: float = 0.0
    changed: int | None = None
    """The first round in which the teacher is thought to have changed."""
    calm: int = 0
    """Rounds in a row since then that look as before the change."""


class TeacherWatch:
    """Takes one task's golden rounds into its state. Blocks: callers use a thread."""

    def __init__(self, task: str, ledger: Ledger, watch: WatchSettings) -> None:
        self._task = task
        self._golden = ledger.golden
        self._watch = watch
        self._due = 0.0

    def look(self, known: GoldenWatch, now: float) -> GoldenWatch:
        """What is known with the rounds that have come since; `known` itself where none has. Reads seldom.

        Raises sqlalchemy.exc.SQLAlchemyError where the ledger is away.
        """
        if now < self._due:
            return known
        self._due = now + _LOOK_SECONDS
        current = self._golden.newest(self._task)
        if current is None:
            return known
        if (current.number, current.baseline) != (known.set, known.baseline):
            known = GoldenWatch(set=current.number, baseline=current.baseline, round=current.baseline - 1)
        last = self._golden.last_round(self._task, current.number)
        if last is None or last.number <= known.round:
            return known
        rounds = self._golden.rounds(self._task, current.number, since=current.baseline)
        examples = self._golden.examples(self._task, current.number) if len(rounds) else []
        for at, round_ in enumerate(rounds):
            if round_.number > known.round:
                known = advance(known, rounds[: at + 1], examples, self._watch)
        return known


def advance(
    known: GoldenWatch, rounds: Sequence[GoldenRound], examples: Sequence[GoldenExample], watch: WatchSettings
) -> GoldenWatch:
    """What is known after one more round, the last of `rounds`; the first of these is the one to compare with."""
    last, differs = rounds[-1], differences(rounds, len(examples))
    new = msgspec.structs.replace(
        known,
        round=last.number,
        asked_at=last.finished or last.started,
        answers=len(last.answers),
        agreement=_agreement(differs[-1:]),
        truth=_truth(last, examples),
        first_truth=_truth(rounds[0], examples),
    )
    if known.changed is not None:
        as_before = new.agreement is not None and new.agreement >= (known.usual or 0.0) - watch.margin
        new.calm = known.calm + 1 if as_before else 0
        return new
    new.usual = _agreement(differs[:-1])
    shift = latest_shift(differs, max(last.number - known.baseline - 1, 1), watch.golden_false_alarms)
    if shift is None:
        return new
    new.p_value, new.allowed = shift.p_value, shift.allowed
    if shift.is_change(watch.margin):
        new.changed, new.usual, new.calm = rounds[-shift.window].number, 1 - shift.before, 0
    return new


def differences(rounds: Sequence[GoldenRound], examples: int) -> Differences:
    """For each round but the first, and each example, whether its answer differs from that example's first one."""
    first: dict[int, str] = {}
    table = np.full((len(rounds) - 1, examples), np.nan)
    for at, round_ in enumerate(rounds):
        for number, answer in round_.answers.items():
            if number not in first:
                first[number] = answer
            elif number < examples:
                table[at - 1, number] = answer != first[number]
    return table


def changes(rounds: Sequence[GoldenRound], examples: Sequence[GoldenExample]) -> list[tuple[GoldenExample, str, str]]:
    """The examples that the last round answered differently from the first: example, first answer, last answer."""
    first: dict[int, str] = {}
    for round_ in rounds[:-1]:
        first = dict(round_.answers) | first
    last = rounds[-1].answers if rounds else {}
    return [
        (example, first[example.number], last[example.number])
        for example in examples
        if example.number in first and example.number in last and first[example.number] != last[example.number]
    ]


def _agreement(differs: Differences) -> float | None:
    return None if not differs.size or np.isnan(differs).all() else float(1 - np.nanmean(differs))


def _truth(round_: GoldenRound, examples: Sequence[GoldenExample]) -> float | None:
    told = [round_.answers[one.number] == one.label for one in examples if one.label and one.number in round_.answers]
    return sum(told) / len(told) if told else None
