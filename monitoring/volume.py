"""How much traffic a task has a day, and what a call of its teacher costs: for estimates of what an alarm costs."""

from __future__ import annotations

from typing import Final

import msgspec

from core.records import Answerer, Comparison, Exchange, Outcome

_HOUR: Final = 3600.0
_HOURS: Final = 24
_LEAST_SECONDS: Final = 600.0  # of traffic before anything is said of a day


class Hour(msgspec.Struct):
    """One hour's exchanges."""

    first: float
    """When the first was answered, in seconds since the epoch; `last` the same of the last."""
    last: float
    exchanges: int = 0
    calls: int = 0
    """Answers of the teacher that were paid for, to clients and for comparisons; `dollars`: what they cost."""
    dollars: float = 0.0


class Volume(msgspec.Struct):
    """The last 24 hours in which there were exchanges. O(1) an exchange."""

    hours: dict[int, Hour] = {}

    def add(self, exchange: Exchange) -> None:
        """Count one answered exchange."""
        number = int(exchange.at // _HOUR)
        hour = self.hours.get(number)
        if hour is None:
            hour = self.hours[number] = Hour(exchange.at, exchange.at)
            if len(self.hours) > _HOURS:
                del self.hours[min(self.hours)]
        hour.first, hour.last = min(hour.first, exchange.at), max(hour.last, exchange.at)
        hour.exchanges += 1
        if exchange.answered_by is Answerer.TEACHER:
            self._pay(hour, exchange.cost_usd)

    def add_comparison(self, comparison: Comparison) -> None:
        """Count what a comparison cost, where the teacher was asked for its sake."""
        hour = self.hours.get(int(comparison.at // _HOUR))
        if hour is not None and comparison.outcome is Outcome.ANSWERED:
            self._pay(hour, comparison.cost_usd)

    def _pay(self, hour: Hour, dollars: float) -> None:
        hour.calls += 1
        hour.dollars += dollars

    @property
    def per_day(self) -> float | None:
        """Exchanges a day, at the pace of the last 24 hours; None where too little was seen."""
        if not self.hours:
            return None
        newest = max(hour.last for hour in self.hours.values())
        recent = [hour for hour in self.hours.values() if hour.last > newest - _HOURS * _HOUR]
        seconds = newest - min(hour.first for hour in recent)
        if seconds < _LEAST_SECONDS:
            return None
        return sum(hour.exchanges for hour in recent) / seconds * _HOURS * _HOUR

    @property
    def teacher_call_usd(self) -> float | None:
        """What an answer of the teacher cost on average, in dollars; None where there was none."""
        calls = sum(hour.calls for hour in self.hours.values())
        return sum(hour.dollars for hour in self.hours.values()) / calls if calls else None
