"""Advice on a terminal, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from training.advice import Advice, Decision, Facts, Ground, Privacy
from training.economics import assumptions_of, bill_of, break_even
from training.economics.words import in_words
from tutelage.commands._economics_screen import as_json as books_as_json

if TYPE_CHECKING:
    from rich.console import Console

    from training.economics import Case, Known

_NEXT = {
    Advice.DISTIL: "`tutelage init` makes a task of your data, `tutelage label` and `tutelage train` a student",
    Advice.FINE_TUNE: "put the labels into data.labelled of a task; `tutelage train` learns from them alone as well",
    Advice.PROMPT: "compare on your own data; if it is not good enough, come back with --tried bad",
    Advice.STAY: "come back when volume, price or permissions have changed",
}
_WHERE = {
    Privacy.TEACHER: "to the teacher",
    Privacy.REQUESTS: "to the teacher in clients' own requests alone",
    Privacy.HOUSE: "nowhere",
}


def show_advice(screen: Console, facts: Facts, decision: Decision) -> None:
    """The facts, the arithmetic, and what speaks for what."""
    screen.print(_facts(facts))
    screen.print()
    screen.print(_arithmetic(facts))
    screen.print()
    screen.print(f"[bold]{decision.advice.value[:1].upper()}{decision.advice.value[1:]}, because[/bold]")
    _tell(screen, decision.ground)
    screen.print("\nBeside that:" if decision.others or assumptions_of(facts.distilled) else "")
    for ground in decision.others:
        _tell(screen, ground)
    for told in assumptions_of(facts.distilled):
        screen.print(f"  [yellow]•[/yellow] {escape(told)}")


def next_step(decision: Decision) -> str:
    """What to do now."""
    return f"{decision.advice.value}: {_NEXT[decision.advice]}"


def as_json(facts: Facts, decision: Decision) -> dict[str, Any]:
    """The same for machines."""
    plain = ("kind", "classes", "quality", "may_train", "privacy", "latency_ms", "drift", "labelled", "tried")
    return {
        "advice": decision.advice.name.lower(),
        "because": _ground(decision.ground),
        "beside": [_ground(ground) for ground in decision.others],
        "facts": {name: getattr(facts, name) for name in plain} | {"seen": asdict(facts.seen)},
        "distilled": books_as_json(facts.distilled),
        "smaller": None if facts.smaller is None else books_as_json(facts.smaller),
    }


def _facts(facts: Facts) -> Table:
    case, seen = facts.distilled, facts.seen
    rows = [
        ("the job", facts.kind.value if facts.classes is None else f"{facts.kind.value}, {facts.classes:,} classes"),
        ("queries a month", f"{case.queries.value:,.0f}{_source(case.queries)}"),
        ("an answer of the teacher", f"{case.teacher.name}: ${case.teacher.usd.value:.6f}{_source(case.teacher.usd)}"),
        ("as good as the teacher's", f"{facts.quality:.1%}"),
        ("may its answers train", "yes" if facts.may_train else "no"),
        ("the data may go", _WHERE[facts.privacy]),
        ("an answer may take", f"{facts.latency_ms:g} ms" if facts.latency_ms else "any time"),
        ("the job changes", facts.drift.value),
        ("labelled by people", f"{facts.labelled:,}"),
        ("a smaller hosted model was tried", facts.tried.value),
    ]
    if seen.repeated is not None:
        rows.append(("different answers, seen", f"{seen.outputs:,}; the ten commonest are {seen.repeated:.1%} of all"))
    for what, share in (("student agreement", seen.agreement), ("the teacher agrees with itself", seen.ceiling)):
        if share is not None:
            rows.append((what, f"{share.estimate:.1%} ({share.lower:.1%} to {share.upper:.1%})"))
    if seen.teacher_ms is not None:
        rows.append(("the teacher takes", f"{seen.teacher_ms:,.0f} ms in the median"))
    table = Table(title="What it rests on", title_justify="left", show_header=False)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table


def _arithmetic(facts: Facts) -> Table:
    table = Table(title="The arithmetic (`tutelage economics` has all of it)", title_justify="left")
    for column in ("", "once, $", "a month, $", "saved a month, $", "break-even"):
        table.add_column(column, justify="right" if column else "left")
    teacher = bill_of(facts.distilled.books()).teacher_alone
    table.add_row(f"{facts.distilled.teacher.name} alone", "0.00", f"{teacher:,.2f}", "", "")
    for case in (facts.smaller, facts.distilled):
        if case is not None:
            table.add_row(*_row(case))
    return table


def _row(case: Case) -> tuple[str, ...]:
    books = case.books()
    point = break_even(books)
    name = f"{case.student.name} alone, if it does" if case.student.price is not None else case.student.name
    when = "at once" if point.months == 0 else in_words(point.months)
    once, together = f"{books.distillation_usd:,.2f}", f"{bill_of(books).together:,.2f}"
    return escape(name), once, together, f"{point.saving_usd:,.2f}", when


def _tell(screen: Console, ground: Ground) -> None:
    screen.print(f"  • {escape(ground.reason)} [dim]({escape(ground.source)})[/dim]")


def _source(known: Known) -> str:
    """Where a number is from, unless it was said."""
    return "" if known.source.startswith("--") else f" ({known.source})"


def _ground(ground: Ground) -> dict[str, str]:
    return {
        "rule": ground.rule,
        "advice": ground.advice.name.lower(),
        "reason": ground.reason,
        "source": ground.source,
    }
