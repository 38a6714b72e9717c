"""The window of a report: from one moment to another, by UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from core.errors import SettingsError

DAY: Final = 86_400.0
_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Window:
    """[began, ended), in seconds since the epoch."""

    began: float
    ended: float

    @property
    def name(self) -> str:
        """Of its folder: first and last day, such as 2026-03-01--2026-03-07; with hours where it is no whole days."""
        first, behind = _utc(self.began), _utc(self.ended)
        if self.began % DAY == 0 and self.ended % DAY == 0:
            return f"{first.date()}--{(behind - timedelta(days=1)).date()}"
        return f"{first:%Y-%m-%dT%H%M}--{behind:%Y-%m-%dT%H%M}"

    def slots(self, most: int) -> float:
        """The length in seconds of at most `most` equal parts: a whole number of hours where that is possible."""
        hours = (self.ended - self.began) / _HOUR
        for length in (1, 2, 3, 4, 6, 8, 12, 24, 48, 168):
            if hours / length <= most and hours % length == 0:
                return length * _HOUR
        return (self.ended - self.began) / most


def days(first: date, last: date) -> Window:
    """Whole days, both included. Raises SettingsError where the last one comes before the first."""
    if last < first:
        raise SettingsError(f"the window ends on {last}, before it begins on {first}; swap --from and --to")
    return Window(_midnight(first), _midnight(last + timedelta(days=1)))


def last_days(count: int, now: float) -> Window:
    """Today and the days before it, so many in all. `now`: seconds since the epoch."""
    today = _utc(now).date()
    return days(today - timedelta(days=count - 1), today)


def finished(hours: float, now: float) -> Window:
    """The newest window of so many hours that has ended. Windows begin at multiples of their length since the epoch.

    So those of 24 hours are days.
    """
    length = hours * _HOUR
    ended = now // length * length
    return Window(ended - length, ended)


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
