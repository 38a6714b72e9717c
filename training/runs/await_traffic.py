"""The step `await_traffic`: letting a change show itself before anything is learnt from it.

An alarm comes early on purpose, often after a few dozen of the messages that are new. A candidate taught from so few
would hardly be better than the champion, and would become the level that its own successor is measured against. So a
run that an alarm has started waits until there is enough to learn from. That costs little: the alarm has taken trust
from the classes concerned, so the teacher answers them meanwhile, and its answers are the data.
"""

from __future__ import annotations

from typing import Final

from core.archive import Archive
from core.ledger import Run
from core.records import Answerer, Kind, Outcome
from training.labelling import why_not_ask
from training.progress import Progress
from training.runs.context import RunContext
from training.runs.results import About, TrafficResult, needed

_HOUR: Final = 3600.0

_EXCHANGED: Final = """
    SELECT count(DISTINCT text) AS texts, count(DISTINCT text) FILTER (answered_by = ?) AS answered
    FROM records WHERE text IS NOT NULL AND status = 200 AND "at" >= to_timestamp(?)
"""

_ASKED: Final = """
    SELECT count(DISTINCT text) AS texts
    FROM records WHERE text IS NOT NULL AND outcome = ? AND "at" >= to_timestamp(?)
"""


def await_traffic(context: RunContext, run: Run) -> TrafficResult | None:
    """What there is to learn from, or None while the run goes on waiting.

    A run that a person has asked for waits for nothing.
    """
    task, about = context.task(run), needed(run, "about", About)
    budget = task.retrain.label_budget if not why_not_ask(task) else 0
    texts = _learnable(context.archive, run.task, about.recent_since, budget)
    hours = (context.clock() - run.started) / _HOUR
    wanted = task.retrain.recent_texts if about.alarms else 0
    if wanted:
        context.report(Progress("traffic", min(texts, wanted), wanted))
    if texts < wanted and hours < task.retrain.recent_wait_hours:
        return None
    return TrafficResult(texts, wanted, hours)


def _learnable(archive: Archive, task: str, since: float, budget: int) -> int:
    """Different recent texts to which the teacher's answer is there, or may be asked for by the run."""
    exchanged = archive.query(_EXCHANGED, task, Kind.EXCHANGE, [Answerer.TEACHER.value, since], since=since).to_pylist()
    asked = archive.query(_ASKED, task, Kind.COMPARISON, [Outcome.ANSWERED.value, since], since=since).to_pylist()
    answered = exchanged[0]["answered"] + asked[0]["texts"]
    return int(min(exchanged[0]["texts"], answered + budget))
