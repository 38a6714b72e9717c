"""What falling back to the teacher may cost a task."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.settings.sections import Section


class FallbackSettings(Section):
    """How much the teacher may answer in the student's stead, in each worker of a gateway.

    The share counts what the student might have answered: classes that are not trusted, answers of which it is unsure,
    and its failures. It leaves out what no student can answer (no champion yet, no template that fits) and what a
    client has asked the teacher for. The dollars count every answer of the teacher to a client of the task.
    """

    max_share: float | None = Field(None, gt=0, le=1)
    """Most of the requests that the student might have answered, over the last `window_minutes`. null: no limit."""
    window_minutes: float = Field(10.0, gt=0)
    """Over how long the share is taken."""
    min_requests: int = Field(50, ge=1)
    """With fewer requests than this in the window, the share limits nothing."""
    dollars_per_day: float | None = Field(None, gt=0)
    """Most dollars a day (UTC). null: no limit."""
    when_spent: Literal["student", "refuse"] = "student"
    """What happens to a request that the teacher should answer, and the budget is spent. `student`: the student answers
    if it can, however unsure. `refuse`: 429. Where no student can answer, it is 429 in either case."""

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.max_share is not None or self.dollars_per_day is not None
