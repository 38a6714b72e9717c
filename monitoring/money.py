"""What the student saves, and what watching it costs. In dollars, since the monitor first read the task.

Held against a world without a student, in which the teacher answers everything: what the student answers is saved, and
what the teacher is asked for the sake of watching is spent. What the teacher answers clients costs the same in both, so
it is told and not subtracted.

An answer of the student is worth the teacher's price for the tokens that the student counted. That is a low estimate
where `teacher.ask` is `choose`, since the teacher would be given the list of labels as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.ledger import GoldenRound
from core.prices import Price
from core.records import Answerer, Comparison, Exchange


class Money(msgspec.Struct):
    """Sums of dollars, in a few numbers. O(1) a record. They only grow."""

    input_price: float | None = None
    """Dollars a million tokens, at which answers are valued from now on; None: nobody knows the teacher's price."""
    output_price: float | None = None
    saved: float = 0.0
    unvalued: int = 0
    """Answers of the student that are not in `saved`: there was no price then, or no tokens were counted."""
    fallback: float = 0.0
    """What the teacher's answers to clients cost."""
    shadow: float = 0.0
    """What comparisons cost, second questions included."""
    golden: float = 0.0
    """What the rounds of the golden set cost. The last that was counted: `golden_round` of `golden_set`."""
    golden_set: int = 0
    golden_round: int = -1

    def price_at(self, price: Price | None) -> None:
        """Value what comes from now on at this price."""
        self.input_price = None if price is None else price.input_price
        self.output_price = None if price is None else price.output_price

    def add(self, exchange: Exchange) -> None:
        """Count an exchange that somebody answered."""
        if exchange.answered_by is Answerer.TEACHER:
            self.fallback += exchange.cost_usd
            return
        usage, input_price, output_price = exchange.usage, self.input_price, self.output_price
        if input_price is None or output_price is None or not usage.prompt_tokens:
            self.unvalued += 1
            return
        self.saved += (usage.prompt_tokens * input_price + usage.completion_tokens * output_price) / 1e6

    def add_comparison(self, comparison: Comparison) -> None:
        """Count what a comparison cost."""
        self.shadow += comparison.cost_usd

    def add_rounds(self, rounds: Sequence[GoldenRound]) -> None:
        """Count the finished rounds of a golden set, in their order; those that were counted before are left out."""
        for one in rounds:
            if (one.set, one.number) > (self.golden_set, self.golden_round):
                self.golden += one.cost_usd
                self.golden_set, self.golden_round = one.set, one.number

    @property
    def is_priced(self) -> bool:
        """Whether the teacher's price is known: without it, what was accounted to it is nothing, and means nothing."""
        return self.input_price is not None

    @property
    def watching(self) -> float:
        """What the teacher is asked for the sake of watching: comparisons, second questions, the golden set."""
        return self.shadow + self.golden

    @property
    def net(self) -> float:
        """What is left of what was saved. Negative where watching costs more than the student saves."""
        return self.saved - self.watching
