"""One task's numbers, from what a person says, what was measured, what is set, and what is usual."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from core.errors import SettingsError
from core.prices import Price, price_by_name, price_of
from core.settings import ShadowSettings, TaskSettings
from training.economics import sources
from training.economics.accounted import Accounted, Retrainings
from training.economics.books import Books
from training.economics.sources import Known, answer_usd, assumed, known, setting

OWN: Final = "a student of our own"
"""What a student is called that is no hosted model."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a person says; None: nothing. It wins over everything else. Units as in `Books`."""

    queries: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    teacher: str | None = None
    teacher_price: tuple[float, float] | None = None
    """Dollars a million tokens, in and out; `student_price` the same."""
    student: str | None = None
    """A hosted model; None: a student of our own."""
    student_price: tuple[float, float] | None = None
    fallback: float | None = None
    shadow: float | None = None
    repeat: float | None = None
    hosting_usd: float | None = None
    golden_usd: float | None = None
    labels: float | None = None
    once_usd: float | None = None
    retraining_usd: float | None = None
    retraining_months: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a task beside that."""

    task: str
    settings: TaskSettings
    accounted: Accounted = field(default_factory=Accounted)
    retrainings: Retrainings = field(default_factory=Retrainings)
    labels: int | None = None
    """Prompts that the teacher has labelled; None where it has not been asked."""

    @property
    def source(self) -> str:
        """What is measured rests on."""
        days = self.accounted.days
        span = f"{days:,.1f} days" if days >= 1 else f"{days * 24:.1f} hours"
        return f"accounted, {self.accounted.exchanges:,} exchanges in {span}"


@dataclass(frozen=True, slots=True)
class Model:
    """Whoever answers."""

    name: str
    price: Price | None
    """None where it is not sold by tokens."""
    usd: Known
    """Of one answer."""


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that the arithmetic needs. Units as in `Books`."""

    teacher: Model
    student: Model
    queries: Known
    input_tokens: Known
    output_tokens: Known
    fallback: Known
    shadow: Known
    repeat: Known
    hosting: Known
    golden: Known
    labels: Known
    """Prompts that the teacher labels before the first student is taught."""
    once: Known
    """Dollars spent once beside these labels."""
    retraining: Known
    retraining_months: Known

    def books(self) -> Books:
        """The numbers alone."""
        return Books(
            queries=self.queries.value,
            teacher_usd=self.teacher.usd.value,
            student_usd=self.student.usd.value,
            fallback=self.fallback.value,
            shadow=self.shadow.value,
            repeat=self.repeat.value,
            hosting_usd=self.hosting.value,
            golden_usd=self.golden.value,
            retraining_usd=self.retraining.value,
            retraining_months=self.retraining_months.value,
            distillation_usd=self.labels.value * self.teacher.usd.value + self.once.value,
        )


def assemble(given: Given, found: Found | None = None) -> Case:
    """What is said wins, then what was measured, then what the settings say, then what is usual.

    Raises SettingsError, naming the option, where a number is missing that nobody may assume: the volume, the teacher,
    a price.
    """
    task = found.settings if found is not None else None
    seen, runs = (found.accounted, found.retrainings) if found is not None else (Accounted(), Retrainings())
    labels, measured = (found.labels, found.source) if found is not None else (None, "")
    shadow = task.shadow if task is not None else ShadowSettings()

    queries = known((given.queries, "--queries"), (seen.queries, measured))
    if queries is None:
        raise SettingsError("how much traffic there is, is not known; give --queries, the number in a month")
    prompt = known((given.input_tokens, "--input-tokens"), (seen.input_tokens, measured))
    answer = known((given.output_tokens, "--output-tokens"), (seen.output_tokens, measured))
    tokens = (prompt or assumed(sources.TOKENS[0]), answer or assumed(sources.TOKENS[1]))
    teacher, student = _teacher(given, found, tokens), _student(given, tokens)
    fallback = known((given.fallback, "--fallback"), (seen.fallback, measured))
    compared = known((given.shadow, "--shadow"), (seen.shadow, measured))
    repeat = known((given.repeat, "--repeat"), (seen.repeat, measured))
    golden = known((given.golden_usd, "--golden-usd"))
    run = known((given.retraining_usd, "--retraining-usd"), (runs.mean_usd, f"the mean of {runs.runs} runs"))
    months = known((given.retraining_months, "--retraining-months"), (runs.months, f"{runs.runs} runs"))
    return Case(
        teacher=teacher,
        student=student,
        queries=queries,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        fallback=fallback or assumed(sources.FALLBACK),
        shadow=compared or setting(task, "shadow.floor", shadow.floor),
        repeat=repeat or setting(task, "shadow.repeat", shadow.repeat),
        hosting=known((given.hosting_usd, "--hosting-usd")) or _hosting(student),
        golden=golden or sources.golden_usd(task, teacher.usd.value),
        labels=known((given.labels, "--labels"), (labels, "labelled so far")) or assumed(sources.LABELS),
        once=known((given.once_usd, "--once-usd")) or assumed(0.0),
        retraining=run or sources.retraining_usd(task, teacher.usd.value),
        retraining_months=months or sources.retraining_months(task),
    )


def _teacher(given: Given, found: Found | None, tokens: tuple[Known, Known]) -> Model:
    """The teacher that was named, else the task's own, at what its calls were accounted at."""
    if found is None or given.teacher not in (None, found.settings.teacher.model):
        if given.teacher is None:
            raise SettingsError("who answers now is not known; give --teacher, a model's name")
        return _hosted(given.teacher, given.teacher_price, "--teacher-price", tokens)
    own, seen = found.settings.teacher, found.accounted.teacher_usd
    if given.teacher_price is not None:
        return _hosted(own.model, given.teacher_price, "--teacher-price", tokens)
    price = price_of(own)
    if price is None:
        raise _unknown_price(own.model, "--teacher-price")
    # Nothing was accounted to a teacher as long as nobody knew its price: that is not nothing.
    accounted = Known(seen, found.source) if seen else None
    return Model(own.model, price, accounted or answer_usd(price, tokens[0].value, tokens[1].value))


def _student(given: Given, tokens: tuple[Known, Known]) -> Model:
    """A hosted model that was named, else one of our own, which costs its hosting and nothing beside."""
    if given.student is None and given.student_price is None:
        return Model(OWN, None, Known(0.0, "its hosting is all that it costs"))
    return _hosted(given.student or "the student", given.student_price, "--student-price", tokens)


def _hosted(name: str, given: tuple[float, float] | None, option: str, tokens: tuple[Known, Known]) -> Model:
    price = price_by_name(name) if given is None else Price(given[0], given[1], option)
    if price is None:
        raise _unknown_price(name, option)
    return Model(name, price, answer_usd(price, tokens[0].value, tokens[1].value))


def _unknown_price(name: str, option: str) -> SettingsError:
    return SettingsError(f"the price of {name} is not known; give {option} IN OUT, in dollars a million tokens")


def _hosting(student: Model) -> Known:
    return assumed(sources.HOSTING_USD) if student.price is None else Known(0.0, "its provider's")
