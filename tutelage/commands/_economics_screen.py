"""The books on a terminal, and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from rich.markup import escape
from rich.table import Table

from training.economics import (
    Books,
    Case,
    Model,
    bill_of,
    break_even,
    cautions_of,
    least_queries,
    simple_break_even,
)
from training.economics.words import in_words

if TYPE_CHECKING:
    from rich.console import Console

_VOLUMES: Final = (10_000.0, 30_000.0, 100_000.0, 300_000.0, 1_000_000.0, 10_000_000.0)
_YEAR: Final = 12.0


def show_books(screen: Console, case: Case) -> None:
    """Everything that is known and follows, for a person."""
    for table in (_sources(case), _month(case), _break_even(case), _volumes(case)):
        screen.print(table)
        screen.print()
    for told in cautions_of(case):
        screen.print(f"  [yellow]•[/yellow] {escape(told)}")


def closing(case: Case) -> str:
    """What a person should take away."""
    point, books = break_even(case.books()), case.books()
    if math.isinf(point.months):
        return f"it never breaks even: with everything it costs {_usd(-point.saving_usd)} a month more"
    return (
        f"${books.distillation_usd:,.2f} to distil, {_usd(point.saving_usd)} a month saved: it breaks even after "
        f"{in_words(point.months)}, {point.queries:,.0f} queries"
    )


def as_json(case: Case) -> dict[str, Any]:
    """The same for machines; what is infinite (never, no volume) is null."""
    books = case.books()
    bill = bill_of(books)
    document = {
        "teacher": _model(case.teacher, books.queries),
        "student": _model(case.student, books.queries),
        "times_cheaper": _times(case),
        "inputs": {
            name: asdict(getattr(case, name))
            for name in (
                *("queries", "input_tokens", "output_tokens", "fallback", "shadow", "repeat", "hosting", "golden"),
                *("labels", "once", "retraining", "retraining_months"),
            )
        },
        "distillation_usd": books.distillation_usd,
        "month_usd": asdict(bill) | {"together": bill.together, "saving": bill.saving},
        "saving_usd_per_query": {"simple": books.teacher_usd - books.student_usd, "full": books.margin_usd},
        "break_even": {"simple": asdict(simple_break_even(books)), "full": asdict(break_even(books))},
        "least_queries_a_month": {"to_save": least_queries(books), "to_pay_in_a_year": least_queries(books, _YEAR)},
        "cautions": cautions_of(case),
    }
    finite = _finite(document)
    assert isinstance(finite, dict)  # noqa: S101  # what goes in as one comes out as one
    return finite


def _sources(case: Case) -> Table:
    table = Table(title="What it rests on", title_justify="left", show_header=False)
    rows = [
        ("queries a month", f"{case.queries.value:,.0f}", case.queries.source),
        ("tokens of a prompt", f"{case.input_tokens.value:,.0f}", case.input_tokens.source),
        ("tokens of an answer", f"{case.output_tokens.value:,.0f}", case.output_tokens.source),
        *(_model_row(who, model) for who, model in (("teacher", case.teacher), ("student", case.student))),
        ("fallback: share that the teacher answers", _percent(case.fallback.value), case.fallback.source),
        ("shadow: of the student's answers, asked about", _percent(case.shadow.value), case.shadow.source),
        ("repeats: of these comparisons, asked twice", _percent(case.repeat.value), case.repeat.source),
        ("the golden set, a month", _usd(case.golden.value), case.golden.source),
        ("hosting, a month", _usd(case.hosting.value), case.hosting.source),
        ("prompts labelled at first", f"{case.labels.value:,.0f}", case.labels.source),
        ("spent once beside them", _usd(case.once.value), case.once.source),
        ("a retraining", _usd(case.retraining.value), case.retraining.source),
        ("months between retrainings", f"{case.retraining_months.value:.3g}", case.retraining_months.source),
    ]
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    for what, value, source in rows:
        table.add_row(what, escape(value), escape(source))
    return table


def _month(case: Case) -> Table:
    books, times = case.books(), _times(case)
    bill = bill_of(books)
    table = Table(title="A month", title_justify="left")
    table.add_column("")
    table.add_column("$", justify="right")
    table.add_column("of the teacher alone", justify="right")

    def row(what: str, usd: float, style: str = "") -> None:
        share = usd / bill.teacher_alone if bill.teacher_alone else math.nan
        table.add_row(escape(what), f"{usd:,.2f}", "" if math.isnan(share) else f"{share:.1%}", style=style)

    row(f"{case.teacher.name} alone", bill.teacher_alone, "bold")
    cheaper = "" if times is None else f", {times:.1f} times cheaper"
    row(f"{case.student.name} alone{cheaper}", bill.student, "bold")
    table.add_section()
    row(f"fallback: {case.teacher.name} answers {_percent(books.fallback)}", bill.fallback)
    row(f"shadow: it is asked about {_percent(books.shadowed)} as well", bill.shadow)
    row(f"repeats: it is asked twice about {_percent(books.repeated)}", bill.repeats)
    row("the golden set", bill.golden)
    row("hosting", bill.hosting)
    row("retraining", bill.retraining)
    table.add_section()
    row("the student with all of this", bill.together, "bold")
    row("saving", bill.saving, "bold green" if bill.saving > 0 else "bold red")
    return table


def _break_even(case: Case) -> Table:
    books = case.books()
    table = Table(title="Break-even", title_justify="left")
    for column in ("", "by the simple formula", "with everything"):
        table.add_column(column, justify="right" if column else "left")
    simple, full = simple_break_even(books), break_even(books)
    table.add_row("saved by a query, $", f"{books.teacher_usd - books.student_usd:.6f}", f"{books.margin_usd:.6f}")
    table.add_row("saved in a month, $", f"{simple.saving_usd:,.2f}", f"{full.saving_usd:,.2f}")
    table.add_row("distilling, once, $", f"{books.distillation_usd:,.2f}", f"{books.distillation_usd:,.2f}")
    table.add_row("queries", _count(simple.queries), _count(full.queries))
    table.add_row("time", in_words(simple.months), in_words(full.months))
    return table


def _volumes(case: Case) -> Table:
    books = case.books()
    table = Table(title="At other volumes, with everything", title_justify="left")
    for column in ("queries a month", "teacher alone, $", "saved, $ a month", "break-even"):
        table.add_column(column, justify="right")
    for queries in sorted({*_VOLUMES, books.queries}):
        other = replace(books, queries=queries)
        point = break_even(other)
        table.add_row(
            f"{queries:,.0f}",
            f"{queries * books.teacher_usd:,.2f}",
            f"{point.saving_usd:,.2f}",
            in_words(point.months),
            style="bold" if queries == books.queries else "",
        )
    table.caption = _from_which_volume(books)
    table.caption_justify = "left"
    return table


def _from_which_volume(books: Books) -> str:
    least, paid = least_queries(books), least_queries(books, _YEAR)
    if math.isinf(least):
        return "It saves at no volume."
    return f"It saves from {least:,.0f} queries a month on, and pays within a year from {paid:,.0f} on."


def _model_row(who: str, model: Model) -> tuple[str, str, str]:
    price, source = model.price, model.usd.source
    if price is not None:
        source = f"${price.input_price:g} in, ${price.output_price:g} out a million; {source}"
    return f"{who}: {model.name}, an answer", f"${model.usd.value:.6f}", source


def _model(model: Model, queries: float) -> dict[str, Any]:
    price = model.price
    return {
        "name": model.name,
        "usd_per_million_tokens": None if price is None else {"input": price.input_price, "output": price.output_price},
        "usd_per_query": asdict(model.usd),
        "usd_per_month": queries * model.usd.value,
    }


def _times(case: Case) -> float | None:
    """How many times cheaper an answer of the student is; None where it is not sold by the answer."""
    return case.teacher.usd.value / case.student.usd.value if case.student.usd.value else None


def _count(number: float) -> str:
    return "never" if math.isinf(number) else f"{number:,.0f}"


def _usd(number: float) -> str:
    return f"${number:,.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and math.isinf(value) else value
