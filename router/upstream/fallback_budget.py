"""What the teacher may answer in the student's stead: a share of the traffic, and dollars a day.

One for each task in each worker. The share is the same however many workers there are; of the dollars each has a part.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from core.records import Reason
from core.settings import FallbackSettings
from router.upstream.window import RatioWindow

_log = structlog.get_logger(__name__)

COUNTED: Final = frozenset(
    (
        Reason.NOT_TRUSTED,
        Reason.LOW_CONFIDENCE,
        Reason.STUDENT_UNAVAILABLE,
        Reason.BREAKER_OPEN,
        Reason.OVER_DEADLINE,
        Reason.RETRY_FALLBACK,
    )
)
"""Why a teacher's answer counts towards the share: the student might have given it."""

_DAY: Final = 86_400
_WARN: Final = 0.8
_CALM: Final = 0.7
_SHADOW_SHARE: Final = 0.1
"""Once less than this part of the day's dollars is left to them, shadow calls become rarer."""
_LEAST_ELAPSED: Final = 3600.0


class FallbackBudget:
    """The budget of one task. All calls take a microsecond or less, and none waits.

    For each request: `by_student` or `by_teacher(reason, dollars)`, once it is known who answered. Before asking the
    teacher: `allows(reason)`.
    """

    def __init__(
        self, task: str, settings: FallbackSettings, clock: Callable[[], float] = time.time, *, workers: int = 1
    ) -> None:
        """`clock` gives seconds since the epoch, since a budget's day is a date.

        Each of `workers` takes an even part of the dollars.
        """
        self._task = task
        self._clock = clock
        self._share = settings.max_share
        self._least = settings.min_requests
        self.when_spent = settings.when_spent
        """What happens where it is spent and the student has answered."""
        self._dollars = None if settings.dollars_per_day is None else settings.dollars_per_day / workers
        now = clock()
        self._window = RatioWindow(settings.window_minutes * 60, now)
        self._midnight = _next_midnight(now)
        self._warning = False
        self.dollars_today = 0.0
        """What the teacher's answers of this UTC day have cost."""
        self.refused = 0
        """How often the answer was no."""

    @property
    def share(self) -> float:
        """The share of the window's requests that fell back."""
        self._window.move(self._clock())
        return self._window.ratio

    @property
    def used(self) -> float:
        """How much of the budget is used, of whichever limit is nearer: 1 is all of it, 0 where there is no limit."""
        now = self._clock()
        self._window.move(now)
        self._turn_day(now)
        used = self.dollars_today / self._dollars if self._dollars is not None else 0.0
        if self._share is not None and self._window.total >= self._least:
            used = max(used, self._window.ratio / self._share)
        return used

    @property
    def warning(self) -> bool:
        """Whether four fifths are used; it ends below seven tenths."""
        self._watch()
        return self._warning

    def allows(self, reason: Reason) -> bool:
        """Whether the teacher may answer one more request, for this reason."""
        now = self._clock()
        self._turn_day(now)
        if self._dollars is not None and self.dollars_today >= self._dollars:
            self.refused += 1
            return False
        if self._share is None or reason not in COUNTED:
            return True
        window = self._window
        window.move(now)
        if window.total < self._least or window.marked + 1 <= self._share * (window.total + 1):
            return True
        self.refused += 1
        return False

    def by_student(self) -> None:
        """The student has answered."""
        if self._share is not None:
            self._window.count(self._clock())

    def by_teacher(self, reason: Reason, dollars: float) -> None:
        """The teacher has answered, for `dollars`."""
        now = self._clock()
        if reason in COUNTED:
            self._window.count(now)
            self._window.mark(now)
        self.spent(dollars)

    def spent(self, dollars: float) -> None:
        """Count dollars that were spent today; a worker that starts tells what the archive knows of this day."""
        self._turn_day(self._clock())
        self.dollars_today += dollars
        self._watch()

    def left_for_shadow(self) -> float | None:
        """Dollars that shadow calls may use today, since falling back goes first; None where there is no limit.

        What is left, less what falling back will need until midnight if the day goes on as it has until now.
        """
        if self._dollars is None:
            return None
        now = self._clock()
        self._turn_day(now)
        ahead = self._midnight - now
        needed = self.dollars_today / max(_DAY - ahead, _LEAST_ELAPSED) * ahead
        return max(self._dollars - self.dollars_today - needed, 0.0)

    @property
    def shadow_scale(self) -> float:
        """What falling back leaves of the probability of shadow calls: 1 while there is plenty, then less."""
        left = self.left_for_shadow()
        return 1.0 if left is None or self._dollars is None else min(left / (self._dollars * _SHADOW_SHARE), 1.0)

    def _turn_day(self, now: float) -> None:
        if now >= self._midnight:
            self._midnight = _next_midnight(now)
            self.dollars_today = 0.0

    def _watch(self) -> None:
        """Log once when the budget comes near its end."""
        used = self.used
        if not self._warning and used >= _WARN:
            self._warning = True
            _log.warning(
                "fallback_budget_nearly_spent",
                task=self._task,
                used=round(used, 3),
                share=round(self._window.ratio, 3),
                dollars_today=round(self.dollars_today, 4),
                hint="teach the student again, or raise the limits in the task's `fallback`",
            )
        elif self._warning and used < _CALM:
            self._warning = False
            _log.info("fallback_budget_recovered", task=self._task, used=round(used, 3))


def _next_midnight(now: float) -> float:
    """The end of the UTC day that holds `now`."""
    return (now // _DAY + 1) * _DAY
