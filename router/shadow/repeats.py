"""Asking the teacher twice about the same: how often it agrees with itself is what a student can be held against.

Which comparisons are drawn is a keyed hash of the exchange's id, under a name of its own, so that it has nothing to do
with which exchanges are sampled. A worker that takes over another's work draws the same ones, where both share a state
folder.

The second answer must not be the first one, out of a cache. Where the teacher's endpoint takes a `seed`, the second
question has one of its own, so that it is another request to every cache that looks at the whole of it; and
`cache-control: no-cache` goes along for those that heed it. A cache that looks at the messages alone and heeds nothing
cannot be told from a teacher that always agrees with itself: switch it off for Tutelage, or do not trust the ceiling.
"""

from __future__ import annotations

from hashlib import blake2b

from router.sampling import KeyedUniform


class Repeats:
    """Draws the comparisons of one task for which the teacher is asked again."""

    def __init__(self, probability: float, secret: bytes) -> None:
        """`probability`: of each comparison that has the teacher's label. `secret`: 32 bytes."""
        self.probability = probability
        self._uniform = KeyedUniform(secret)

    def draw(self, exchange: str) -> int | None:
        """The seed of the second question; None where there is none."""
        return seed_of(exchange) if self._uniform(f"again {exchange}") < self.probability else None


def seed_of(name: str) -> int:
    """A seed that another `name` hardly ever has: 31 bits, which every endpoint's integers hold."""
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest()) >> 1
