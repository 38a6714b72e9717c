"""A report's answers to three questions: whether the student is still good, what has changed, and what was done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from monitoring.report.facts import Whole
from monitoring.report.parts import AlarmLine, Deed, DriftFacts, Estimate, FeedbackFacts, RunLine
from monitoring.report.window import Window
from monitoring.signals import BELOW, CLASSES, FEEDBACK, SERVED, STUDENT
from monitoring.telling import moment, percent

State = Literal["good", "changed", "bad", "unknown"]

_LOSSES: Final = frozenset({STUDENT, CLASSES, SERVED, BELOW, FEEDBACK})
"""Causes that say that answers have become worse."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The verdict, and sentences."""

    state: State
    headline: str
    good: list[str]
    changed: list[str]
    done: list[str]


@dataclass(frozen=True, slots=True)
class Found:
    """What the summary is made of."""

    version: str
    window: Window
    error: float
    agreement: Estimate | None
    served: Estimate | None
    why_not: str
    """Why there is no agreement."""
    feedback: FeedbackFacts
    whole: Whole | None
    drift: DriftFacts | None
    alarms: Sequence[AlarmLine]
    runs: Sequence[RunLine]
    deeds: Sequence[Deed]


def summarise(found: Found) -> Summary:
    """Answer the three questions."""
    mine = [alarm for alarm in found.alarms if alarm.version == found.version]
    state, headline = _verdict(found, mine)
    return Summary(state, headline, list(_good(found)), list(_changed(found, mine)), list(_done(found, mine)))


def _verdict(found: Found, alarms: Sequence[AlarmLine]) -> tuple[State, str]:
    left = [alarm for alarm in alarms if alarm.resolved is None or alarm.resolved >= found.window.ended]
    losses = [alarm for alarm in left if alarm.cause in _LOSSES]
    if losses:
        return "bad", f"Worse than it was: {_causes(losses)}"
    if left:
        return "changed", f"An alarm is open: {_causes(left)}"
    if alarms:
        return "changed", f"There was an alarm, and it is over: {_causes(alarms)}"
    if found.agreement is None:
        return "unknown", "Not known: nothing was compared"
    if found.whole is not None and found.whole.stale:
        return "unknown", "Not known any more: nothing new has come to judge it by"
    return "good", "No alarm tripped"


def _good(found: Found) -> Iterable[str]:
    agreement, sure = found.agreement, percent(1 - found.error)
    if agreement is None:
        yield f"Student agreement is not known: {found.why_not}."
    else:
        yield (
            f"Student agreement {_told(agreement)}. The limits hold at all times of the window together, with "
            f"probability {sure}."
        )
        yield from _against(agreement, found.whole)
    if found.served is not None:
        yield f"What clients received agrees with the teacher in {_told(found.served)}."
    feedback = found.feedback
    if feedback.accuracy is not None:
        uneven = ", which comes unevenly: it does not speak of all answers" if _is_uneven(feedback) else ""
        share = percent(feedback.judged / feedback.answers) if feedback.answers else "none"
        yield (
            f"Of the student's answers with feedback ({share} of them{uneven}), {percent(feedback.accuracy.estimate)} "
            "were right."
        )


def _against(agreement: Estimate, whole: Whole | None) -> Iterable[str]:
    """What is to be held against it: what was learnt of the version, and what the teacher allows."""
    if whole is None:
        return
    if whole.baseline is not None:
        where = "in" if agreement.lower <= whole.baseline <= agreement.upper else "below"
        where = "above" if agreement.upper < whole.baseline else where
        yield f"The version's own lower bound, {percent(whole.baseline)}, lies {where} the limits of this window."
    if whole.attainable is not None:
        yield (
            f"The teacher agrees with itself so often that no student can be expected to reach more than "
            f"{percent(whole.attainable)}."
        )


def _changed(found: Found, alarms: Sequence[AlarmLine]) -> Iterable[str]:
    for alarm in alarms:
        over = "" if alarm.resolved is None else f" It was over at {moment(alarm.resolved)}."
        yield f"{_name(alarm.cause).capitalize()}, {moment(alarm.opened)}: {alarm.what}{over}"
    if not alarms:
        yield "No alarm about this version was open."
    for other in sorted({alarm.version for alarm in found.alarms} - {found.version}):
        yield f"There were alarms about version {other}; they are in the table below."
    if found.drift is not None:
        parts = [part.name for part in found.drift.parts if part.drift]
        when = f"{moment(found.drift.began)} to {moment(found.drift.ended)}"
        if parts:
            yield f"Drift was called in the last window of inputs ({when}): {', '.join(map(_name, parts))}."
        else:
            yield f"No drift was called in the last window of inputs ({when})."
    if found.whole is not None and found.whole.teacher_changed:
        yield "The teacher answers its golden set differently: it may be the teacher that has changed."
    if found.whole is not None and found.whole.stale:
        yield f"Nothing new has come of: {', '.join(map(_name, found.whole.stale))}."


def _done(found: Found, alarms: Sequence[AlarmLine]) -> Iterable[str]:
    nothing = True
    for alarm in alarms:
        nothing = False
        yield f"For {_name(alarm.cause)}: {alarm.done}"
    for run in found.runs:
        nothing = False
        candidate = f", candidate version {run.candidate}" if run.candidate else ""
        yield f"Retraining {run.id}{candidate}: {run.state}."
    for deed in found.deeds:
        if deed.action in ("promote", "rollback"):
            nothing = False
            yield f"{moment(deed.at)}: {_name(deed.action)} to version {deed.version}, by {deed.actor}."
    if nothing:
        yield "Nothing had to be done."


def _is_uneven(feedback: FeedbackFacts) -> bool:
    return any(one.uneven for one in feedback.uneven)


def _told(one: Estimate) -> str:
    return f"{percent(one.estimate)}, between {percent(one.lower)} and {percent(one.upper)} ({one.count:,} counted)"


def _causes(alarms: Iterable[AlarmLine]) -> str:
    return ", ".join(dict.fromkeys(_name(alarm.cause) for alarm in alarms))


def _name(word: str) -> str:
    return word.replace("_", " ")
