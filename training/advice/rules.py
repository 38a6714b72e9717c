"""The decision table: who should distil, and who should rather do something else.

The rules are read from the top, and the first that applies decides; those after it that apply as well are told beside
it. First comes what forbids, then what cannot work, then what is not worth it, and what is left should be distilled. A
rule holds no arithmetic of its own: that is in `facts` and in `training.economics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from monitoring.noise_ceiling import attainable
from training.advice.facts import Facts, Privacy, Tried
from training.economics import FEW_QUERIES, break_even, least_queries
from training.economics.words import in_words

YEAR: Final = 12.0
"""Months within which it must have paid."""

_TERMS: Final = "the provider's terms; setting teacher.may_train"
_PRIVACY: Final = "privacy; setting teacher.data_may_leave"
_BOOKS: Final = "docs/economics.md, the formulas"
_BASELINE: Final = "docs/economics.md: what takes an afternoon is tried before what takes a project"
_LABELS: Final = "measured on Banking77, docs/economics.md"


class Advice(StrEnum):
    """What to do."""

    DISTIL = "distil"
    FINE_TUNE = "fine-tune a small model directly"
    PROMPT = "optimise the prompt of a smaller hosted model first"
    STAY = "stay with the teacher"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table."""

    name: str
    advice: Advice
    applies: Callable[[Facts], bool]
    reason: Callable[[Facts], str]
    source: str


@dataclass(frozen=True, slots=True)
class Ground:
    """A rule that applied, in words."""

    rule: str
    advice: Advice
    reason: str
    source: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, why, and what else there is to say."""

    ground: Ground
    others: Sequence[Ground]

    @property
    def advice(self) -> Advice:
        """What to do."""
        return self.ground.advice


def decide(facts: Facts) -> Decision:
    """Go through the table. The last rule always applies, and is told only where it decides."""
    grounds = [Ground(one.name, one.advice, one.reason(facts), one.source) for one in RULES if one.applies(facts)]
    return Decision(grounds[0], grounds[1:-1])


def _forbidden(facts: Facts) -> bool:
    return not facts.may_train


def _unwatched(facts: Facts) -> bool:
    return facts.privacy is Privacy.REQUESTS


def _labels(facts: Facts) -> str:
    return f"{facts.labelled:,} examples are labelled by people, and about {facts.labels_needed:,} are wanted"


def _no_training(facts: Facts) -> str:
    return f"the answers of {facts.distilled.teacher.name} may not train a model"


def _no_comparing(_: Facts) -> str:
    return "nothing may be sent to the teacher for labels or comparisons, so a student of it could not be watched"


def _smaller(facts: Facts) -> str:
    name = "" if facts.smaller is None else facts.smaller.student.name
    return f"{name} would save ${facts.smaller_usd:,.2f} a month, with nothing to train"


def _open(_: Facts) -> str:
    return "answers are open text: there is no label to agree on, which is what a student of Tutelage is judged by"


def _changing(facts: Facts) -> str:
    return (
        f"the job changes {facts.drift.value}, every {facts.queries_between_changes:,.0f} queries: a student would be "
        "out of date most of the time"
    )


def _too_slow(facts: Facts) -> str:
    return (
        f"answers are wanted within {facts.latency_ms:g} ms, and a hosted model takes about {facts.hosted_ms:,.0f} ms: "
        "only a model of one's own is near enough"
    )


def _months(facts: Facts) -> float:
    return break_even(facts.distilled.books()).months


def _pays(facts: Facts) -> str:
    point = break_even(facts.distilled.books())
    saved = f"it saves ${point.saving_usd:,.2f} a month with everything counted"
    return f"{saved}, and breaks even after {in_words(point.months)}"


def _late(facts: Facts) -> str:
    least = least_queries(facts.distilled.books(), YEAR)
    within = "no volume would" if least == float("inf") else f"about {least:,.0f} queries a month would"
    point = break_even(facts.distilled.books())
    when = "it never breaks even" if point.saving_usd <= 0 else f"it breaks even only after {in_words(point.months)}"
    return f"{when}; {within} within a year"


def _few(facts: Facts) -> str:
    books = facts.distilled.books()
    return (
        f"{books.queries:,.0f} queries a month are fewer than {FEW_QUERIES:,}: the teacher costs "
        f"${books.queries * books.teacher_usd:,.2f} a month in all, which pays for no project"
    )


def _beyond_ceiling(facts: Facts) -> bool:
    ceiling = facts.seen.ceiling
    return ceiling is not None and facts.quality > attainable(ceiling.upper)


def _ceiling(facts: Facts) -> str:
    upper = 1.0 if facts.seen.ceiling is None else facts.seen.ceiling.upper
    return (
        f"{facts.quality:.1%} is asked for, but the teacher agrees with itself in {upper:.1%} at most, so that no "
        f"student is expected to reach more than {attainable(upper):.1%}: make the teacher's own prompt clearer first"
    )


RULES: Final[tuple[Rule, ...]] = (
    Rule("data stays in house", Advice.FINE_TUNE, lambda f: f.privacy is Privacy.HOUSE,
         lambda f: f"the data may leave to nobody, so no hosted teacher can teach; {_labels(f)}", _PRIVACY),
    Rule("terms forbid training, labels suffice", Advice.FINE_TUNE, lambda f: _forbidden(f) and f.labels_suffice,
         lambda f: f"{_no_training(f)}; {_labels(f)}", _TERMS),
    Rule("terms forbid training", Advice.PROMPT, lambda f: _forbidden(f) and not f.labels_suffice and f.smaller_may_do,
         lambda f: f"{_no_training(f)}; {_smaller(f)}", _TERMS),
    Rule("terms forbid training, nothing instead", Advice.STAY,
         lambda f: _forbidden(f) and not f.labels_suffice and not f.smaller_may_do,
         lambda f: f"{_no_training(f)}, and {_labels(f)}: collect labels", _TERMS),
    Rule("no comparisons, labels suffice", Advice.FINE_TUNE, lambda f: _unwatched(f) and f.labels_suffice,
         lambda f: f"{_no_comparing(f)}; {_labels(f)}", _PRIVACY),
    Rule("no comparisons", Advice.PROMPT, lambda f: _unwatched(f) and not f.labels_suffice and f.smaller_may_do,
         lambda f: f"{_no_comparing(f)}; {_smaller(f)}", _PRIVACY),
    Rule("no comparisons, nothing instead", Advice.STAY,
         lambda f: _unwatched(f) and not f.labels_suffice and not f.smaller_may_do,
         lambda f: f"{_no_comparing(f)}, and {_labels(f)}: collect labels", _PRIVACY),
    Rule("open text", Advice.PROMPT, lambda f: f.is_open and f.smaller_may_do,
         lambda f: f"{_open(f)}; {_smaller(f)}", "what Tutelage distils: a fixed output space"),
    Rule("open text, nothing instead", Advice.STAY, lambda f: f.is_open and not f.smaller_may_do,
         _open, "what Tutelage distils: a fixed output space"),
    Rule("beyond the noise ceiling", Advice.PROMPT, _beyond_ceiling, _ceiling, "docs/watching.md, the noise ceiling"),
    Rule("changes too fast", Advice.PROMPT, lambda f: f.changes_too_fast and f.smaller_may_do,
         lambda f: f"{_changing(f)}; {_smaller(f)}", "setting retrain.recent_texts"),
    Rule("changes too fast, nothing instead", Advice.STAY, lambda f: f.changes_too_fast and not f.smaller_may_do,
         _changing, "setting retrain.recent_texts"),
    Rule("hosted models are too slow, labels suffice", Advice.FINE_TUNE, lambda f: f.is_urgent and f.labels_suffice,
         lambda f: f"{_too_slow(f)}; {_labels(f)}", _LABELS),
    Rule("hosted models are too slow", Advice.DISTIL, lambda f: f.is_urgent and not f.labels_suffice,
         lambda f: f"{_too_slow(f)}; {_labels(f)}", "measured where there is traffic, else assumed"),
    Rule("a smaller model is good enough", Advice.PROMPT, lambda f: f.tried is Tried.GOOD and f.smaller_may_do,
         lambda f: f"it was tried and does the job: {_smaller(f)}", _BASELINE),
    Rule("a smaller model was not tried", Advice.PROMPT, lambda f: f.tried is Tried.NO and f.smaller_may_do,
         lambda f: f"{_smaller(f)}, and nobody has tried it: `tutelage baseline` does", _BASELINE),
    Rule("few queries", Advice.STAY, lambda f: f.distilled.queries.value < FEW_QUERIES, _few,
         "a rule of thumb, docs/economics.md"),
    Rule("it does not pay in time", Advice.STAY, lambda f: _months(f) > YEAR, _late, _BOOKS),
    Rule("labels suffice", Advice.FINE_TUNE, lambda f: f.labels_suffice,
         lambda f: f"{_labels(f)}: with so many the teacher's add little; {_pays(f)}", _LABELS),
    Rule("it pays", Advice.DISTIL, lambda _: True, _pays, _BOOKS),
)  # fmt: skip
"""From the top; the last one applies always."""
