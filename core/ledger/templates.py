"""Prompt templates that a person has accepted for a task, beside those of its settings.

A dropped one stays in the table: exchanges that were read by it name its version, and are still to be understood.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Engine, RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.errors import DataError, StateError
from core.ledger.audit import write_audit
from core.ledger.tables import accepted_templates, unknown_templates
from core.templates import Template, decode_template, encode_template


@dataclass(frozen=True, slots=True)
class AcceptedTemplate:
    """One accepted template. Times are seconds since the epoch."""

    task: str
    template: Template
    actor: str
    """Who accepted it."""
    accepted_at: float
    source: str = ""
    """Id of the unknown template that it came of."""
    dropped_at: float | None = None
    """Since when requests are no longer read by it."""


class Templates:
    """The part of the ledger that knows which templates were accepted."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self, task: str | None = None) -> list[AcceptedTemplate]:
        """Every template that was ever accepted, of one task or of all, the oldest first; dropped ones included.

        Raises StateError where one is damaged.
        """
        query = select(accepted_templates).order_by(accepted_templates.c.accepted_at, accepted_templates.c.version)
        if task is not None:
            query = query.where(accepted_templates.c.task == task)
        with self._engine.connect() as connection:
            return [_accepted(row) for row in connection.execute(query).mappings()]

    def in_force(self, task: str, configured: Iterable[Template]) -> tuple[Template, ...]:
        """The templates by which the requests of a task are read; `configured` are those of its settings."""
        return templates_in_force(configured, self.all(task), task)

    def accept(self, accepted: AcceptedTemplate, also: Iterable[str] = ()) -> None:
        """Accept a template; one that was dropped may come back. Audited.

        The unknown template that it came of is known from now on, and so are those with the ids in `also`.

        Raises DataError where it is accepted already.
        """
        template, task = accepted.template, accepted.task
        where = accepted_templates.c.task == task, accepted_templates.c.version == template.version
        values = {
            "template": encode_template(template),
            "source": accepted.source,
            "actor": accepted.actor,
            "accepted_at": accepted.accepted_at,
            "dropped_at": None,
        }
        again = update(accepted_templates).where(*where, accepted_templates.c.dropped_at.is_not(None)).values(values)
        known = unknown_templates.c.task == task, unknown_templates.c.id.in_([accepted.source, *also])
        detail = {"source": accepted.source, "messages": [(p.role, p.content) for p in template.patterns]}
        try:
            with self._engine.begin() as connection:
                if connection.execute(again).rowcount == 0:
                    connection.execute(insert(accepted_templates).values(task=task, version=template.version, **values))
                connection.execute(delete(unknown_templates).where(*known))
                write_audit(
                    connection,
                    accepted.accepted_at,
                    accepted.actor,
                    "accept_template",
                    task=task,
                    version=template.version,
                    detail=detail,
                )
        except IntegrityError as error:
            raise DataError(f"{template.version} is a template of {task} already; nothing is left to do") from error

    def drop(self, task: str, version: str, *, actor: str, at: float) -> bool:
        """Read no request by this template any more. Audited. False: no such template is accepted."""
        valid = update(accepted_templates).where(
            accepted_templates.c.task == task,
            accepted_templates.c.version == version,
            accepted_templates.c.dropped_at.is_(None),
        )
        with self._engine.begin() as connection:
            if connection.execute(valid.values(dropped_at=at)).rowcount == 0:
                return False
            write_audit(connection, at, actor, "drop_template", task=task, version=version)
        return True


def templates_in_force(
    configured: Iterable[Template], accepted: Iterable[AcceptedTemplate], task: str
) -> tuple[Template, ...]:
    """The templates by which a task's requests are read: those of its settings, then the accepted, the oldest first.

    `accepted` may be of several tasks. Of two that read the same, the first one counts.
    """
    found = {template.digest: template for template in configured}
    for one in accepted:
        if one.task == task and one.dropped_at is None:
            found.setdefault(one.template.digest, one.template)
    return tuple(found.values())


def _accepted(row: RowMapping) -> AcceptedTemplate:
    try:
        template = decode_template(row["template"])
    except ValueError as error:
        raise StateError(
            f"the template {row['version']} of {row['task']} in the ledger is damaged ({error}); mend its row, or "
            "delete it there"
        ) from error
    return AcceptedTemplate(row["task"], template, row["actor"], row["accepted_at"], row["source"], row["dropped_at"])
