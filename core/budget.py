"""A dollar budget that is never exceeded: the worst case of a call is set aside before the call is made."""

from __future__ import annotations

import asyncio
from typing import Final

from core.errors import BudgetExceededError, TeacherError
from core.labels import LabelSet
from core.prices import Price, price_of
from core.settings import TeacherSettings

_MESSAGE_OVERHEAD: Final = 64  # tokens that a chat format puts around the messages of a request, generously
_SPARE_TOKENS: Final = 16
_DUST: Final = 1e-12  # dollars; what rounding leaves behind


def most_completion_tokens(labels: LabelSet, teacher: TeacherSettings) -> int:
    """The longest answer that labelling needs, in tokens: a number, or the longest label with something around it.

    A token of a byte-level tokenizer stands for at least one byte, so bytes bound tokens from above.
    """
    if teacher.ask == "choose":
        return 4
    return max(len(name.encode()) for name in labels.names) + _SPARE_TOKENS


def worst_case(body: bytes, completion_tokens: int, price: Price) -> float:
    """Dollars that a call with this body can cost at most, at one token a byte."""
    return price.cost(len(body) + _MESSAGE_OVERHEAD, completion_tokens)


def require_price(teacher: TeacherSettings) -> Price:
    """The teacher's price. Raises TeacherError that says what to set where nobody knows it."""
    price = price_of(teacher)
    if price is None:
        raise TeacherError(
            f"the price of {teacher.model!r} at {teacher.base_url} is not known, so no --budget can be kept; set "
            "teacher.input_price and teacher.output_price (dollars a million tokens; 0 where it costs nothing)"
        )
    return price


class Budget:
    """Dollars that may be spent, are set aside for calls under way, and were spent. For one event loop."""

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self.spent = 0.0
        self._reserved = 0.0
        self._changed = asyncio.Condition()

    async def reserve(self, worst: float) -> None:
        """Set `worst` dollars aside, waiting for calls under way where what they give back may suffice.

        Raises BudgetExceededError where it will not.
        """
        async with self._changed:
            while not self._fits(worst):
                if not self._reserved:
                    raise BudgetExceededError(
                        f"the next call could exceed the budget of ${self.limit:.4f} (${self.spent:.4f} are spent); "
                        "what was answered is kept: go on with a larger --budget"
                    )
                await self._changed.wait()
            self._reserved += worst

    async def settle(self, worst: float, actual: float) -> None:
        """Give back what was set aside for a call that cost `actual` dollars."""
        async with self._changed:
            self._reserved = max(self._reserved - worst, 0.0)
            if self._reserved < _DUST:
                self._reserved = 0.0
            self.spent += actual
            self._changed.notify_all()

    def _fits(self, worst: float) -> bool:
        return self.limit is None or self.spent + self._reserved + worst <= self.limit + _DUST
