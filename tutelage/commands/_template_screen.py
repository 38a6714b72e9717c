"""What `tutelage templates` shows: known templates as a table, unknown ones with all that a decision needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from core.ledger import AcceptedTemplate, UnknownTemplate
from core.settings import TaskSettings
from core.templates import Template

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN_CHARACTERS: Final = 400
_TABLE_CHARACTERS: Final = 120


@dataclass(frozen=True, slots=True)
class Page:
    """All about one task's templates."""

    task: str
    settings: TaskSettings
    accepted: Sequence[AcceptedTemplate]
    unknown: Sequence[UnknownTemplate]
    price: float | None
    """Dollars of a request that no template fits; None: not known."""


def show(screen: Console, page: Page) -> None:
    """Print a task's templates."""
    from rich.table import Table

    table = Table(title=page.task, title_justify="left", title_style="bold")
    for column in ("version", "messages", "from", "since"):
        table.add_column(column, overflow="fold")
    for template in page.settings.compiled_templates():
        table.add_row(template.version, _outline(template), "settings", "-")
    for accepted in page.accepted:
        since = _when(accepted.accepted_at)
        if accepted.dropped_at is not None:
            since += f", dropped {_when(accepted.dropped_at)}"
        table.add_row(accepted.template.version, _outline(accepted.template), accepted.actor, since)
    screen.print(table)
    for unknown in page.unknown:
        _show_unknown(screen, unknown, page.price)


def show_template(screen: Console, template: Template) -> None:
    """Print a template, message by message."""
    for pattern in template.patterns:
        screen.print(f"    {pattern.role}: {printable(pattern.content)}", markup=False)


def as_document(page: Page) -> dict[str, Any]:
    """The same for scripts."""
    known = [_template(template) | {"from": "settings"} for template in page.settings.compiled_templates()]
    known += [
        _template(one.template)
        | {"from": one.actor, "accepted_at": one.accepted_at, "dropped_at": one.dropped_at, "source": one.source}
        for one in page.accepted
    ]
    unknown = [
        {
            "id": one.id,
            "roles": list(one.roles),
            "requests": one.requests,
            "share": share(one),
            "cost_usd": None if page.price is None else one.requests * page.price,
            "first_seen": one.first_seen,
            "last_seen": one.last_seen,
            "suggestion": None if one.template is None else _messages(one.template),
            "withheld": one.withheld,
            "example": [{"role": role, "content": content} for role, content in one.example],
            "exchange": one.exchange,
            "rejected": one.rejected,
        }
        for one in page.unknown
    ]
    return {"known": known, "unknown": unknown}


def share(unknown: UnknownTemplate) -> float | None:
    """Its share of the task's traffic since it was first seen; None where that is not known."""
    return min(unknown.requests / unknown.among, 1.0) if unknown.among else None


def why_none(unknown: UnknownTemplate) -> str:
    """Why there is no suggestion that could be accepted as it stands."""
    if unknown.withheld in ("hashed", "none"):
        return f"privacy.store of {unknown.task} is {unknown.withheld}, so that no text of a request is kept"
    if unknown.withheld:
        return f"privacy.redact of {unknown.task} has replaced some of the prompt's own text"
    if not unknown.roles:
        return "these requests are of too many kinds to be told apart"
    return f"too few different requests were seen of {unknown.id} to tell the prompt from the message"


def printable(text: str, limit: int = _SHOWN_CHARACTERS) -> str:
    """A client's text on one line of a terminal: what could steer the terminal is escaped, what is long is cut."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[: limit + 1])
    return shown if len(text) <= limit else f"{shown[:limit]}… ({len(text):,} characters)"


def _show_unknown(screen: Console, unknown: UnknownTemplate, price: float | None) -> None:
    part = share(unknown)
    traffic = "" if part is None else f", {part:.1%} of the task's traffic since then"
    cost = "" if price is None else f", about ${unknown.requests * price:,.2f} so far"
    state = "rejected; " if unknown.rejected else ""
    screen.print(
        f"\nunknown {unknown.id}: {state}{unknown.requests:,} requests from {_when(unknown.first_seen)} to "
        f"{_when(unknown.last_seen)}{traffic}; the teacher answers them{cost}",
        markup=False,
    )
    screen.print(f"  messages: {', '.join(unknown.roles) or 'of too many kinds to be told apart'}", markup=False)
    if unknown.template is None or unknown.withheld:
        screen.print(f"  no suggestion: {why_none(unknown)}", markup=False)
    if unknown.template is not None:
        screen.print("  suggestion:" if not unknown.withheld else "  as far as it may be shown:")
        show_template(screen, unknown.template)
    if unknown.example:
        screen.print(f"  example ({unknown.exchange}):", markup=False)
        for role, content in unknown.example:
            screen.print(f"    {role}: {printable(content)}", markup=False)


def _outline(template: Template) -> str:
    from rich.markup import escape

    lines = (f"{p.role}: {printable(p.content, _TABLE_CHARACTERS)}" for p in template.patterns)
    return escape("\n".join(lines))


def _template(template: Template) -> dict[str, Any]:
    return {"version": template.version, "messages": _messages(template)}


def _messages(template: Template) -> list[dict[str, str]]:
    return [{"role": pattern.role, "content": pattern.content} for pattern in template.patterns]


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
