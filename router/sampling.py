"""Which of the student's answers the teacher is asked about as well: decided before anything can drop.

An exchange is sampled with a probability that is fixed by what is known when it is answered: how sure the student is,
and how much of the budget is left. The draw is a keyed hash of the id that the gateway has minted, so nobody outside
can choose whether he is looked at. Both are recorded with the exchange, hence every later estimate can weigh it by one
over its probability (Horvitz & Thompson 1952).

Whoever is drawn stays drawn. A budget that runs low lowers the probability of the exchanges that come after.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from core.errors import SettingsError
from core.prices import Price, price_of
from core.settings import ShadowSettings, TaskSettings
from core.teacher import label_request

LOWEST_SCALE: Final = 1e-3
"""However small the budget, the probability is never scaled further down: weights in the millions estimate nothing."""

_DRAWS: Final = 1 << 53
_HOUR: Final = 3600.0
_DAY: Final = 86400.0
_SAVED: Final = 9.0
_BYTES_PER_TOKEN: Final = 4
_ANSWER_TOKENS: Final = 8

Clock = Callable[[], float]


class Sample(NamedTuple):
    """The probability with which an exchange was sampled, and whether it was."""

    probability: float
    drawn: bool


NOT_SAMPLED: Final = Sample(0.0, drawn=False)


def probability(confidence: float, settings: ShadowSettings, min_confidence: float, scale: float = 1.0) -> float:
    """The inclusion probability of an exchange that the student answered with `confidence`.

    `settings.unsure` at `min_confidence` and below, `settings.floor` at 1, a straight line in between; all of it times
    the budget's `scale`.
    """
    return scale * Curve(settings, min_confidence)(confidence)


class Curve:
    """`probability` of one task, without a budget."""

    __slots__ = ("_floor", "_rise", "_steepness")

    def __init__(self, settings: ShadowSettings, min_confidence: float) -> None:
        room = 1.0 - min_confidence
        self._floor = settings.floor
        self._rise = max(settings.unsure - settings.floor, 0.0)
        self._steepness = 1.0 / room if room > 0 else 0.0

    def __call__(self, confidence: float) -> float:
        """The inclusion probability."""
        doubt = (1.0 - confidence) * self._steepness
        if doubt >= 1.0:
            return self._floor + self._rise
        return self._floor + self._rise * doubt if doubt > 0.0 else self._floor


def keyed_uniform(identifier: str, secret: bytes) -> float:
    """A number in [0, 1), uniform over secrets, that nobody can foretell without this one: 53 bits of keyed BLAKE2b."""
    return KeyedUniform(secret)(identifier)


class KeyedUniform:
    """`keyed_uniform` with one secret: the key's own block is hashed once, and not with every request."""

    __slots__ = ("_keyed",)

    def __init__(self, secret: bytes) -> None:
        self._keyed: Final = hashlib.blake2b(key=secret, digest_size=8)

    def __call__(self, identifier: str) -> float:
        """A number in [0, 1)."""
        found = self._keyed.copy()
        found.update(identifier.encode())
        return (int.from_bytes(found.digest(), "big") >> 11) / _DRAWS


class Allowance:
    """A budget that turns into a scale: 1 as long as there is plenty, then less in proportion to what is left.

    A ninth of a period's amount can be saved up, and the rest flows in evenly: so whatever the traffic, at most
    `amount` is expected to be spent in any period (but for LOWEST_SCALE). Under a steady load that is too high it
    settles where as much is spent as flows in.
    """

    def __init__(self, amount: float, period: float, clock: Clock = time.monotonic) -> None:
        """`amount` may be spent in `period` seconds."""
        self._capacity = amount / _SAVED
        self._rate = (amount - self._capacity) / period
        self._left = self._capacity
        self._clock = clock
        self._seen = clock()

    @property
    def scale(self) -> float:
        """What the next probability is to be multiplied by."""
        now = self._clock()
        left = self._left + (now - self._seen) * self._rate
        self._seen = now
        if left >= self._capacity:
            left = self._capacity
        self._left = left
        scale = 2 * left / self._capacity
        if scale >= 1.0:
            return 1.0
        return max(LOWEST_SCALE, scale)

    def spend(self, expected: float) -> None:
        """Take away what an exchange is expected to cost, its probability considered.

        What is expected, rather than what the draw came to: so one exchange's draw tells nothing of the next one's
        probability, and all draws are independent.
        """
        left = self._left - expected
        self._left = max(0.0, left)


class Sampler:
    """Draws the exchanges of one task. For one event loop."""

    def __init__(
        self,
        name: str,
        task: TaskSettings,
        secret: bytes,
        clock: Clock = time.monotonic,
        *,
        workers: int = 1,
        room: Callable[[], float] | None = None,
    ) -> None:
        """Each of `workers` that sample the same task takes an even part of its budgets.

        `room` says, between 0 and 1, what falling back to the teacher, which goes first, leaves of the probability.

        Raises SettingsError where dollars are to be counted and nobody knows the teacher's price.
        """
        self._curve = Curve(task.shadow, task.trust.min_confidence)
        self._uniform = KeyedUniform(secret)
        self._room = room
        self._calls: Allowance | None = None
        self._dollars: Allowance | None = None
        if task.shadow.calls_per_hour is not None:
            self._calls = Allowance(task.shadow.calls_per_hour / workers, _HOUR, clock)
        if task.shadow.dollars_per_day is not None:
            self._dollars = Allowance(task.shadow.dollars_per_day / workers, _DAY, clock)
            self._price = _price(name, task)
            self._around = len(label_request("", task.label_set(), task.teacher))

    @property
    def scale(self) -> float:
        """What the budgets leave of every probability, in (0, 1]."""
        scale = 1.0 if self._calls is None else self._calls.scale
        if self._dollars is not None:
            scale = min(scale, self._dollars.scale)
        return scale if self._room is None else min(scale, max(self._room(), LOWEST_SCALE))

    def draw(self, identifier: str, confidence: float, text: str) -> Sample:
        """Fix the probability of the exchange `identifier`, and draw it."""
        chance = self._curve(confidence) * self.scale
        if self._calls is not None:
            self._calls.spend(chance)
        if self._dollars is not None:
            tokens = (self._around + len(text.encode(errors="replace"))) // _BYTES_PER_TOKEN
            self._dollars.spend(chance * self._price.cost(tokens, _ANSWER_TOKENS))
        return Sample(chance, self._uniform(identifier) < chance)


def _price(name: str, task: TaskSettings) -> Price:
    price = price_of(task.teacher)
    if price is None:
        raise SettingsError(
            f"tasks.{name}.shadow.dollars_per_day cannot be kept, since nobody knows the price of "
            f"{task.teacher.model!r}; set teacher.input_price and teacher.output_price (dollars a million tokens)"
        )
    return price
