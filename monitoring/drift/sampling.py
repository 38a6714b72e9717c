"""A sample of a stream whose length is not known: the reader of a busy task looks at few of its exchanges.

Algorithm L (Li, ACM Trans. Math. Softw. 20, 1994): after the first `size` exchanges, the number of those to skip until
the next one that enters is drawn at once. Its numbers come from a hash of the sample's name, so that a monitor that
reads the same records again draws the same sample.
"""

from __future__ import annotations

import math
import random

import msgspec

from monitoring.drift.rows import Row


class Reservoir(msgspec.Struct):
    """`size` of all exchanges seen, each with the same chance. Almost free for an exchange that does not enter."""

    size: int
    name: str
    rows: list[Row] = []
    seen: int = 0
    began: float = 0.0
    """When the first exchange was answered; `ended`: the last one."""
    ended: float = 0.0
    due: int = 0
    """The next exchange that enters, once the sample is full."""
    factor: float = 1.0

    def wants(self, at: float) -> bool:
        """Whether the exchange that comes now, answered at `at`, enters; `take` must follow where it does."""
        self.seen += 1
        self.began = self.began or at
        self.ended = max(self.ended, at)
        return len(self.rows) < self.size or self.seen == self.due

    def take(self, row: Row) -> None:
        """Take the exchange's row, in place of a random one where the sample is full."""
        draw = random.Random(f"{self.name}:{self.seen}")  # noqa: S311 - a sample, and no secret
        if len(self.rows) < self.size:
            self.rows.append(row)
            if len(self.rows) < self.size:
                return
        else:
            self.rows[draw.randrange(self.size)] = row
        self.factor *= math.exp(math.log(1 - draw.random()) / self.size)
        skipped = math.log(1 - draw.random()) / math.log1p(-self.factor) if self.factor < 1 else 0.0
        self.due = self.seen + int(skipped) + 1
