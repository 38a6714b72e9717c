"""What was spent, by key or task and by day or month: so that budgets outlive a Redis that loses its data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BindParameter, Double, Engine, bindparam, case, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from core.ledger.tables import spend

_KEPT_SECONDS: Final = 40 * 86_400.0
_ROWS: Final = 200


@dataclass(frozen=True, slots=True)
class Spend:
    """What a scope has spent in a period."""

    scope: str
    """`key:<id>` or `task:<name>`."""
    period: str
    """A day such as `2026-03-31`, or a month such as `2026-03` (UTC)."""
    ends: float
    """When the period ends, in seconds since the epoch."""
    known: float
    """Dollars that are known to be spent, by whomever."""
    more: float = 0.0
    """Dollars to be added, of which nobody else knows."""


class Spends:
    """The part of the ledger that knows what was spent."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def book(self, spends: Sequence[Spend]) -> list[float]:
        """Raise each sum to what is known, where it is lower, then add what is new. Returns the sums, in order.

        So several may write at once: what all of them know counts once, what each of them adds counts.
        """
        sums: dict[tuple[str, str], float] = {}
        for start in range(0, len(spends), _ROWS):
            sums |= self._book(spends[start : start + _ROWS])
        return [sums[each.scope, each.period] for each in spends]

    def current(self, now: float) -> dict[tuple[str, str], float]:
        """Dollars by scope and period, of the periods that have not ended at `now` (seconds since the epoch)."""
        query = select(spend.c.scope, spend.c.period, spend.c.dollars).where(spend.c.ends > now)
        with self._engine.connect() as connection:
            return {(scope, period): dollars for scope, period, dollars in connection.execute(query)}

    def forget(self, now: float) -> None:
        """Delete the periods that ended more than forty days before `now`."""
        with self._engine.begin() as connection:
            connection.execute(delete(spend).where(spend.c.ends < now - _KEPT_SECONDS))

    def _book(self, spends: Sequence[Spend]) -> dict[tuple[str, str], float]:
        # In one order for everybody: two that lock the same rows in different orders would wait for each other.
        rows = [
            {"scope": s.scope, "period": s.period, "ends": s.ends, "total": s.known + s.more, "known": s.known}
            | {"more": s.more}
            for s in sorted(spends, key=lambda each: (each.scope, each.period))
        ]
        named = tuple_(spend.c.scope, spend.c.period).in_([(each.scope, each.period) for each in spends])
        query = select(spend.c.scope, spend.c.period, spend.c.dollars).where(named)
        with self._engine.begin() as connection:
            connection.execute(self._upsert(), rows)
            return {(scope, period): dollars for scope, period, dollars in connection.execute(query)}

    def _upsert(self) -> Any:
        dialect: Any = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        known: BindParameter[float] = bindparam("known", type_=Double())
        more: BindParameter[float] = bindparam("more", type_=Double())
        raised = case((spend.c.dollars > known, spend.c.dollars), else_=known) + more
        names: dict[str, BindParameter[Any]] = {name: bindparam(name) for name in ("scope", "period", "ends")}
        statement = dialect.insert(spend).values(dollars=bindparam("total"), **names)
        return statement.on_conflict_do_update(index_elements=[spend.c.scope, spend.c.period], set_={"dollars": raised})
