"""Prompt templates that clients use and no task knows yet: what gateways have seen of them, for a person to judge.

Several gateways, and several workers of one, write into the same rows: each adds what it has seen since it last did.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.errors import StateError
from core.ledger.audit import write_audit
from core.ledger.tables import accepted_templates, unknown_templates
from core.templates import Template, decode_template, encode_template

MOST_ROWS: Final = 60
"""Unknown templates of one task; past that, one that was seen of late is not thrown out for a newer one."""

_IDLE_SECONDS: Final = 3600.0
_NEW: Final = "new"
_REJECTED: Final = "rejected"

Withheld = Literal["", "hashed", "none", "redacted"]
"""Why a suggestion is not there, or not whole: the task's `privacy.store`, or its redaction."""


@dataclass(frozen=True, slots=True)
class UnknownTemplate:
    """Requests of one task that look the same, and that no template of it fits. Times are seconds since the epoch."""

    task: str
    id: str
    roles: tuple[str, ...]
    """Of the messages; empty: of all kinds, too many to be told apart."""
    requests: int
    """How many were seen; in what a gateway writes, how many more."""
    first_seen: float
    last_seen: float
    template: Template | None = None
    """What is suggested; None while there are too few examples, and where it may not be stored."""
    withheld: Withheld = ""
    example: tuple[tuple[str, str], ...] = ()
    """`(role, content)` of one request, as far as it may be stored."""
    exchange: str = ""
    """Whose messages the example is."""
    user: str = ""
    """Who asked it, as far as that may be stored."""
    among: int = 0
    """All requests of the task meanwhile."""
    rejected: bool = False
    """A person does not want to hear of it."""


class UnknownTemplates:
    """The part of the ledger that knows which templates are not known."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self, task: str | None = None, *, rejected: bool = True) -> list[UnknownTemplate]:
        """What was seen in one task or in all, the most frequent first. Raises StateError where a row is damaged."""
        query = select(unknown_templates).order_by(unknown_templates.c.requests.desc(), unknown_templates.c.id)
        if task is not None:
            query = query.where(unknown_templates.c.task == task)
        if not rejected:
            query = query.where(unknown_templates.c.state == _NEW)
        with self._engine.connect() as connection:
            return [_unknown(row) for row in connection.execute(query).mappings()]

    def ids(self) -> set[tuple[str, str]]:
        """Task and id of all of them."""
        query = select(unknown_templates.c.task, unknown_templates.c.id)
        with self._engine.connect() as connection:
            return {(row.task, row.id) for row in connection.execute(query)}

    def get(self, task: str, identifier: str) -> UnknownTemplate | None:
        """One of them. Raises StateError where its row is damaged."""
        with self._engine.connect() as connection:
            row = connection.execute(select(unknown_templates).where(*_is(task, identifier))).mappings().first()
        return None if row is None else _unknown(row)

    def note(
        self,
        seen: Iterable[UnknownTemplate],
        requests: Mapping[str, int],
        replaced: Iterable[tuple[str, str, str]] = (),
    ) -> list[UnknownTemplate]:
        """Add what a gateway has seen since it last did; returns those of `seen` that were not there before.

        `requests`: by task, how many there were in all. `replaced`: `(task, old id, new id)` of suggestions that have
        become another one; what is known of the old one goes over to the new, a rejection included.
        """
        seen, replaced = list(seen), list(replaced)
        try:
            with self._engine.begin() as connection:
                fresh = {(one.task, one.id): one for one in seen if self._add(connection, one)}
                for task, old, new in replaced:
                    if _merge(connection, task, old, new) and fresh.pop((task, old), None) is None:
                        fresh.pop((task, new), None)  # it was known as the old one
                    empty = delete(unknown_templates).where(*_is(task, new), unknown_templates.c.requests <= 0)
                    if connection.execute(empty).rowcount:
                        fresh.pop((task, new), None)
                for task, count in requests.items():
                    more = update(unknown_templates).where(unknown_templates.c.task == task)
                    connection.execute(more.values(among=unknown_templates.c.among + count))
        except IntegrityError:  # another worker has written the same one for the first time, this very moment
            return self.note(seen, requests, replaced)
        return list(fresh.values())

    def reject(self, task: str, identifier: str, *, actor: str, at: float) -> bool:
        """Say no more of it; it is still counted. Audited. False: there is no such one that was not rejected yet."""
        found = update(unknown_templates).where(*_is(task, identifier), unknown_templates.c.state == _NEW)
        with self._engine.begin() as connection:
            if connection.execute(found.values(state=_REJECTED)).rowcount == 0:
                return False
            write_audit(connection, at, actor, "reject_template", task=task, detail={"id": identifier})
        return True

    def drop_examples(self, gone: Callable[[str, str, str], bool], *, texts: bool = True) -> int:
        """Take out the examples of exchanges that must go; returns how many these were.

        `gone` is asked with the task, the exchange's id and its user. With `texts` the suggestion goes as well: it was
        made of that exchange among others. A gateway that still sees such requests writes it anew, without theirs.
        """
        columns = unknown_templates.c
        query = select(columns.task, columns.id, columns.exchange, columns.user).where(columns.exchange != "")
        values = {"example": "", "exchange": "", "user": ""} | ({"template": ""} if texts else {})
        with self._engine.begin() as connection:
            found = [row for row in connection.execute(query) if gone(row.task, row.exchange, row.user)]
            for row in found:
                same = update(unknown_templates).where(*_is(row.task, row.id), columns.exchange == row.exchange)
                connection.execute(same.values(values))
        return len(found)

    def _add(self, connection: Connection, one: UnknownTemplate) -> bool:
        """Add to the row; True where it is a new one."""
        columns = unknown_templates.c
        values: dict[str, object] = {
            "requests": columns.requests + one.requests,
            "last_seen": func.max(columns.last_seen, one.last_seen)
            if connection.dialect.name == "sqlite"
            else func.greatest(columns.last_seen, one.last_seen),
            "withheld": one.withheld,
        }
        if one.template is not None:
            values["template"] = encode_template(one.template)
        if connection.execute(update(unknown_templates).where(*_is(one.task, one.id)).values(values)).rowcount:
            if one.example:
                without = update(unknown_templates).where(*_is(one.task, one.id), columns.example == "")
                connection.execute(without.values(_example(one)))
            if one.requests < 0:  # they were found to belong to another
                connection.execute(delete(unknown_templates).where(*_is(one.task, one.id), columns.requests <= 0))
            return False
        if one.requests < 0 or _is_accepted(connection, one) or not _has_room(connection, one):
            return False
        connection.execute(insert(unknown_templates).values(_row(one)))
        return True


def _is(task: str, identifier: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return unknown_templates.c.task == task, unknown_templates.c.id == identifier


def _is_accepted(connection: Connection, one: UnknownTemplate) -> bool:
    """Whether it was accepted while this gateway did not know that yet."""
    columns = accepted_templates.c
    query = select(columns.version).where(
        columns.task == one.task, columns.source == one.id, columns.dropped_at.is_(None)
    )
    return connection.execute(query).first() is not None


def _has_room(connection: Connection, one: UnknownTemplate) -> bool:
    """Whether the task may have one more row, after the one that was seen longest ago has gone if need be."""
    columns = unknown_templates.c
    rows = connection.execute(
        select(columns.id, columns.last_seen).where(columns.task == one.task).order_by(columns.last_seen)
    ).all()
    if len(rows) < MOST_ROWS:
        return True
    if rows[0].last_seen > one.last_seen - _IDLE_SECONDS:
        return False
    connection.execute(delete(unknown_templates).where(*_is(one.task, rows[0].id)))
    return True


def _merge(connection: Connection, task: str, old: str, new: str) -> bool:
    """Add the old row to the new one; False where there are not both."""
    before = connection.execute(select(unknown_templates).where(*_is(task, old))).mappings().first()
    after = connection.execute(select(unknown_templates).where(*_is(task, new))).mappings().first()
    if before is None or after is None or old == new:
        return False
    values = {
        "requests": before["requests"] + after["requests"],
        "among": max(before["among"], after["among"]),
        "first_seen": min(before["first_seen"], after["first_seen"]),
        "state": before["state"] if before["state"] == _REJECTED else after["state"],
    }
    connection.execute(update(unknown_templates).where(*_is(task, new)).values(values))
    connection.execute(delete(unknown_templates).where(*_is(task, old)))
    return True


def _row(one: UnknownTemplate) -> dict[str, object]:
    return {
        "task": one.task,
        "id": one.id,
        "state": _REJECTED if one.rejected else _NEW,
        "roles": json.dumps(one.roles),
        "template": "" if one.template is None else encode_template(one.template),
        "withheld": one.withheld,
        "requests": one.requests,
        "among": one.among,
        "first_seen": one.first_seen,
        "last_seen": one.last_seen,
        **_example(one),
    }


def _example(one: UnknownTemplate) -> dict[str, str]:
    return {"example": json.dumps(one.example) if one.example else "", "exchange": one.exchange, "user": one.user}


def _unknown(row: RowMapping) -> UnknownTemplate:
    values = dict(row)
    state = values.pop("state")
    try:
        values["template"] = decode_template(values["template"]) if values["template"] else None
        values["example"] = tuple((role, text) for role, text in json.loads(values["example"] or "[]"))
        values["roles"] = tuple(json.loads(values["roles"]))
    except ValueError as error:
        raise StateError(
            f"the unknown template {values['id']} in the ledger is damaged ({error}); delete its row there"
        ) from error
    return UnknownTemplate(**values, rejected=state == _REJECTED)
