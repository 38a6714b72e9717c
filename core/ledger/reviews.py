"""The review queue: answers for a person to judge, and the verdicts.

The queue is bounded. What it may hold is chosen by `spread`: the most confident of each class first, so that one noisy
class does not fill it. A near-duplicate of what is in it, or was judged, is left out.

The verdicts are an outbox as well: each has a sequence number, given under a lock in the transaction that writes it, so
that numbers become visible in order; `core.verdicts` carries them into the journal as feedback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, Engine, RowMapping, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.ids import mint
from core.ledger.audit import write_audit
from core.ledger.review import Review, ReviewState, Right, Why, spread
from core.ledger.tables import meta, reviews
from core.records import Feedback

REVIEW_SOURCE: Final = "review"
"""`source` of feedback that came of a review: it is about answers that were chosen for being doubtful."""
SEQUENCE: Final = "review_sequence"
"""Key in `meta`."""

_NEW: Final = ReviewState.NEW.value


class Reviews:
    """The queue's part of the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def offer(self, task: str, offered: Sequence[Review], most: int) -> int:
        """Take disagreements into a task's queue, which holds at most `most` new ones; returns how many were taken.

        Those that `spread` does not choose go, old ones or offered; nothing that was skipped or judged does, but the
        oldest skipped past `most`.
        """
        try:
            with self._engine.begin() as connection:
                fresh = _unknown(connection, task, offered)
                is_open = reviews.c.task == task, reviews.c.state == _NEW, reviews.c.why == Why.DISAGREEMENT.value
                there = [_review(row) for row in connection.execute(select(reviews).where(*is_open)).mappings()]
                chosen = {one.id for one in spread([*there, *fresh], most)}
                _delete(connection, [one.id for one in there if one.id not in chosen])
                taken = [one for one in fresh if one.id in chosen]
                _insert(connection, taken)
                _forget_skipped(connection, task, most)
        except IntegrityError:  # another monitor has written the same exchange this very moment
            return self.offer(task, offered, most)
        return len(taken)

    def add(self, drawn: Sequence[Review]) -> int:
        """Take all of these, but what is known already; returns how many were taken."""
        count = 0
        try:
            with self._engine.begin() as connection:
                for task in dict.fromkeys(one.task for one in drawn):
                    fresh = _unknown(connection, task, [one for one in drawn if one.task == task])
                    _insert(connection, fresh)
                    count += len(fresh)
        except IntegrityError:
            return self.add(drawn)
        return count

    def find(
        self,
        task: str | None = None,
        why: Why | None = None,
        states: Iterable[ReviewState] = (ReviewState.NEW,),
        limit: int | None = None,
    ) -> list[Review]:
        """Entries in these states, the most confident first."""
        columns = reviews.c
        query = select(reviews).where(columns.state.in_([state.value for state in states]))
        if task is not None:
            query = query.where(columns.task == task)
        if why is not None:
            query = query.where(columns.why == why.value)
        surest = func.coalesce(columns.teacher_confidence, 0.0) if why is Why.RED_TEAM else columns.confidence
        query = query.order_by(surest.desc(), columns.created, columns.id).limit(limit)
        with self._engine.connect() as connection:
            return [_review(row) for row in connection.execute(query).mappings()]

    def get(self, review: str) -> Review | None:
        """An entry by its id."""
        with self._engine.connect() as connection:
            row = connection.execute(select(reviews).where(reviews.c.id == review)).mappings().first()
        return None if row is None else _review(row)

    def known(self, task: str) -> tuple[set[str], set[str]]:
        """Exchanges and near-duplicate clusters of all entries of a task."""
        query = select(reviews.c.exchange, reviews.c.cluster).where(reviews.c.task == task)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return {row.exchange for row in rows}, {row.cluster for row in rows if row.cluster}

    def counts(self, task: str) -> dict[tuple[Why, ReviewState, Right | None], int]:
        """How many entries there are, by why, by state, and by who was right."""
        kinds = reviews.c.why, reviews.c.state, reviews.c.right
        query = select(*kinds, func.count()).where(reviews.c.task == task).group_by(*kinds)
        with self._engine.connect() as connection:
            return {
                (Why(why), ReviewState(state), Right(right) if right else None): int(count)
                for why, state, right, count in connection.execute(query)
            }

    def judge(
        self, review: str, verdict: str, *, both: bool = False, actor: str, note: str = "", at: float
    ) -> Review | None:
        """Write a verdict down, audited, and put it into the outbox. None: there is no such entry, or it is judged.

        `both`: both labels do equally well, and `verdict` is one of them. `note` must be what may be stored of it.
        """
        with self._engine.begin() as connection:
            sequence = _next_sequence(connection, at)
            row = connection.execute(_unjudged(review)).mappings().first()
            if row is None:
                return None
            right = _review(row).who_is_right(verdict, both=both)
            values: dict[str, Any] = {
                "state": ReviewState.JUDGED.value,
                "verdict": verdict,
                "right": right.value,
                "actor": actor,
            }
            values |= {"note": _storable(note), "judged": at, "feedback": mint("fb"), "sequence": sequence}
            connection.execute(update(reviews).where(reviews.c.id == review).values(values))
            detail = {"review": review, "why": row["why"], "verdict": verdict, "right": right.value}
            _audit(connection, row, actor, "judge_review", detail, at)
        return _review({**row, **values})

    def skip(self, review: str, *, actor: str, at: float) -> bool:
        """Note that somebody would rather not judge an entry, audited. False: there is no new one with this id."""
        with self._engine.begin() as connection:
            new = update(reviews).where(reviews.c.id == review, reviews.c.state == _NEW)
            values = {"state": ReviewState.SKIPPED.value, "actor": actor, "judged": at}
            if connection.execute(new.values(values)).rowcount == 0:
                return False
            row = connection.execute(_unjudged(review)).mappings().one()
            _audit(connection, row, actor, "skip_review", {"review": review, "why": row["why"]}, at)
        return True

    def outbox(self, after: int, limit: int = 200) -> list[tuple[int, Feedback]]:
        """Verdicts behind a sequence number, in order, as feedback."""
        columns = reviews.c
        query = select(reviews).where(columns.sequence > after).order_by(columns.sequence).limit(limit)
        with self._engine.connect() as connection:
            found = [_review(row) for row in connection.execute(query).mappings()]
        return [(one.sequence or 0, _feedback(one)) for one in found]

    def drop(self, gone: Callable[[str], bool], task: str | None = None) -> int:
        """Delete the entries of exchanges that must go, judged ones included; returns how many these were.

        `gone` is asked with an exchange's id.
        """
        query = select(reviews.c.id, reviews.c.exchange)
        if task is not None:
            query = query.where(reviews.c.task == task)
        with self._engine.begin() as connection:
            leaving = [row.id for row in connection.execute(query) if gone(row.exchange)]
            _delete(connection, leaving)
        return len(leaving)


def _unjudged(review: str) -> Select[Any]:
    return select(reviews).where(reviews.c.id == review, reviews.c.state != ReviewState.JUDGED.value)


def _unknown(connection: Connection, task: str, offered: Sequence[Review]) -> list[Review]:
    """Those of which neither the exchange nor a near-duplicate is there, and no near-duplicates among themselves."""
    columns = reviews.c
    names, words = [one.exchange for one in offered], [one.cluster for one in offered if one.cluster]
    same = columns.exchange.in_(names) | columns.cluster.in_(words)
    known = set()
    for row in connection.execute(select(columns.exchange, columns.cluster).where(columns.task == task, same)):
        known |= {row.exchange, row.cluster} - {""}
    fresh = []
    for one in sorted(offered, key=lambda one: -one.confidence):
        if not known & {one.exchange, one.cluster}:
            fresh.append(one)
        known |= {one.exchange, one.cluster} - {""}
    return fresh


def _insert(connection: Connection, entries: Sequence[Review]) -> None:
    if entries:
        connection.execute(insert(reviews), [_values(one) for one in entries])


def _delete(connection: Connection, identifiers: Sequence[str]) -> None:
    for identifier in identifiers:
        connection.execute(delete(reviews).where(reviews.c.id == identifier))


def _forget_skipped(connection: Connection, task: str, most: int) -> None:
    skipped = (reviews.c.task == task) & (reviews.c.state == ReviewState.SKIPPED.value)
    query = select(reviews.c.id).where(skipped).order_by(reviews.c.judged.desc(), reviews.c.id).offset(most)
    _delete(connection, list(connection.execute(query).scalars()))


def _next_sequence(connection: Connection, at: float) -> int:
    """The next number of the outbox. Who comes later waits until this transaction is over.

    It is the time in milliseconds, or one more than the last: so it goes on rising also where the ledger was put back
    to an older copy, and the journal has seen numbers that the ledger has not.
    """
    raised = update(meta).where(meta.c.key == SEQUENCE)
    connection.execute(raised.values(value=meta.c.value))  # waits; from here on nobody else writes the row
    last = int(connection.execute(select(meta.c.value).where(meta.c.key == SEQUENCE)).scalar_one())
    sequence = max(last + 1, round(at * 1000))
    connection.execute(raised.values(value=str(sequence)))
    return sequence


def _audit(connection: Connection, row: RowMapping, actor: str, action: str, detail: dict[str, Any], at: float) -> None:
    write_audit(connection, at, actor, action, task=row["task"], version=row["version"], detail=detail)


def _feedback(one: Review) -> Feedback:
    return Feedback(
        id=one.feedback,
        task=one.task,
        exchange=one.exchange,
        label=one.verdict,
        at=one.judged or one.created,
        comment=one.note,
        source=REVIEW_SOURCE,
    )


def _values(one: Review) -> dict[str, Any]:
    values = asdict(one)
    right = None if one.right is None else one.right.value
    return values | {"why": one.why.value, "state": one.state.value, "right": right, "text": _storable(one.text)}


def _storable(text: str) -> str:
    """A text without what PostgreSQL (a zero character) or any UTF-8 (half a surrogate pair) cannot hold."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _review(row: RowMapping | dict[str, Any]) -> Review:
    values = dict(row)
    right = Right(values["right"]) if values["right"] else None
    return Review(**values | {"why": Why(values["why"]), "state": ReviewState(values["state"]), "right": right})
