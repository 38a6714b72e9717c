"""Joining feedback beside the reading: what is in memory at once, everything else in a thread, in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import structlog

from monitoring.feedback.answered import Answered, Found, RecentAnswers
from monitoring.feedback.state import FeedbackOutcome, Pending
from monitoring.rules import Rules
from monitoring.state import TaskState

_BATCH: Final = 1000
_HOUR: Final = 3600.0

_log = structlog.get_logger("tutelage.monitor")

LookUp = Callable[[Sequence[Pending], Collection[str], Mapping[str, int]], Found]
"""`monitoring.feedback.lookup.FeedbackArchive.look_up`; blocks."""


class FeedbackJoin:
    """One task's. All but the looking up runs on the reader's loop."""

    def __init__(
        self, task: str, rules: Rules, recent: RecentAnswers, look_up: LookUp | None, *, wait_hours: float
    ) -> None:
        """`recent`: what the intake remembers. `look_up` None: there is no archive, and nothing else is found."""
        self._task = task
        self._rules = rules
        self._look_up = look_up
        self._wait = wait_hours * _HOUR
        self._recent = recent
        self._looking: asyncio.Task[Found] | None = None
        self._wanted: list[Pending] = []
        self._began = 0.0
        self._of: TaskState | None = None
        """The state that `_wanted` waits in. Where another one was loaded meanwhile, these wait in that one."""

    def step(self, state: TaskState, read: Mapping[str, int], now: float) -> bool:
        """Join what can be joined, and begin to look for the rest; whether anything has changed.

        `read`: by source, the offset up to which the stream of feedback was read. `now`: seconds since the epoch.
        """
        changed = self._take(state, now)
        if self._looking is None:
            due = [pending for pending in state.feedback.waiting.values() if pending.due <= now]
            changed |= bool(due)
            self._join(state, due, read, now)
        return state.feedback.look() or changed

    async def stop(self, state: TaskState, now: float) -> bool:
        """Wait for what is being looked for, and take it; whether anything has changed."""
        if self._looking is not None:
            await asyncio.wait([self._looking])
        return self._take(state, now)

    def _join(self, state: TaskState, due: Sequence[Pending], read: Mapping[str, int], now: float) -> None:
        wanted: list[Pending] = []
        for pending in due:
            answered = self._recent.take(pending.exchange)
            if answered is not None:
                self._settle(state, pending, answered, before=False)
            elif len(wanted) < _BATCH:
                wanted.append(pending)
        if self._look_up is None:
            for pending in wanted:
                state.feedback.miss(pending, now, now, self._wait)
        elif wanted:
            self._of, self._wanted, self._began = state, wanted, now
            work = asyncio.to_thread(self._look_up, wanted, frozenset(state.feedback.waiting), dict(read))
            self._looking = asyncio.create_task(work, name=f"feedback-{self._task}")

    def _take(self, state: TaskState, now: float) -> bool:
        """Take what was found, where it is for this state; whether it was."""
        if self._looking is None or not self._looking.done():
            return False
        task, self._looking = self._looking, None
        waiting, mine = state.feedback.waiting, self._of is state
        wanted = [pending for pending in self._wanted if pending.id in waiting]  # or it was forgotten meanwhile
        self._wanted, self._of = [], None
        if task.cancelled() or not mine:
            return False
        error = task.exception()
        if error is not None:
            _log.error("feedback_not_looked_up", task=self._task, error=repr(error), effect="it is tried again")
            for pending in wanted:
                state.feedback.put_off(pending, now)
            return True
        found = task.result()
        for pending in wanted:
            answered = found.answered.get(pending.exchange)
            if answered is None:
                state.feedback.miss(pending, self._began, now, self._wait)
            else:
                self._recent.take(answered.exchange)
                self._settle(state, pending, answered, before=answered.exchange in found.before)
        return True

    def _settle(self, state: TaskState, pending: Pending, answered: Answered, *, before: bool) -> None:
        if state.feedback.settle(pending, answered, before, self._rules) is FeedbackOutcome.COUNTED:
            state.learnt(answered, pending.label, self._rules)
