"""Student agreement over all exchanges, with the student's confidence as control variate, in the exchanges' own order.

An exchange that was not drawn is known at once, one that was drawn only when its comparison comes. Counted as they
come, what was not drawn would run ahead, and predictions would be believed that nothing corrects yet. So exchanges are
gathered in blocks, and a block counts as a whole, in its turn, once all that was drawn of it has been compared or given
up. How long the teacher takes, and whether that has to do with what it says, is then of no consequence: what counts is
a beginning of the stream, and the interval holds for all beginnings together.

What must be fixed before an exchange (its factor f, and what is predicted at each confidence) is fixed when its block
is opened, from blocks that count already.

Left out, whether drawn or not, are exchanges that could not have been drawn, and those whose text came before in the
same block or the one before it: a burst is one observation. A repeat is told by its text or, where that is not kept, by
its hash; near-duplicates that differ in a word are not told here, since that would cost more than all the rest.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import msgspec

from core.records import Answerer, Comparison, Exchange
from monitoring.statistics.prediction import (
    BINS,
    Part,
    PredictedMean,
    Predictor,
    bin_of,
    pack,
    root_power,
    scale_of,
    steps_of,
)

_BLOCK: Final = 64  # exchanges
_BLOCK_SECONDS: Final = 30.0
_PATIENCE: Final = 900.0  # seconds, on the exchanges' own clock, after which a comparison is given up
_MOST_WAITING: Final = 10_000
_MOST_EARLY: Final = 1000
_FORGETTING: Final = 0.125
_LOOK_BACK: Final = 4  # blocks whose smallest probability the next one's factor follows


class Block(msgspec.Struct):
    """Exchanges that count together."""

    number: int
    first_at: float
    last_at: float
    scale: int
    """Of the factor f."""
    levels: list[int]
    """Of the prediction, by bin of confidence."""
    exchanges: int = 0
    full: bool = False
    waiting: int = 0
    """Drawn, and not heard of."""
    answered: int = 0
    missing: int = 0
    lowest: float = 1.0
    """Smallest inclusion probability."""
    undrawn: list[int] = msgspec.field(default_factory=lambda: [0] * BINS)
    drawn: PredictedMean = msgspec.field(default_factory=PredictedMean)
    """The drawn ones of which something came."""
    agreed: list[int] = msgspec.field(default_factory=lambda: [0] * BINS)
    """What is to be learnt from it, by bin; `disagreed` likewise."""
    disagreed: list[int] = msgspec.field(default_factory=lambda: [0] * BINS)


class Drawn(msgspec.Struct, frozen=True, array_like=True):
    """An exchange whose comparison is awaited."""

    block: int
    bin: int
    probability: float


class PredictedAgreement(msgspec.Struct):
    """One version's student agreement since it began (`whole`) and lately. O(1) an exchange; memory is bounded."""

    size: float = 200.0
    """`recent` starts again, as `monitoring.agreement.Agreement.recent` does."""
    whole: PredictedMean = msgspec.field(default_factory=PredictedMean)
    recent: PredictedMean = msgspec.field(default_factory=PredictedMean)
    next: PredictedMean = msgspec.field(default_factory=PredictedMean)
    predictor: Predictor = msgspec.field(default_factory=Predictor)
    texts: set[str] = msgspec.field(default_factory=set)
    """Seen since the last block was opened, by their hashes; `texts_before`: in the block before."""
    texts_before: set[str] = msgspec.field(default_factory=set)
    blocks: dict[int, Block] = {}
    """The ones that do not count yet, in order; the last is being filled."""
    waiting: dict[str, Drawn] = {}
    """By exchange, in order."""
    early: dict[str, bool | None] = {}
    """Comparisons that came before their exchange, or whose exchange was left out."""
    lowest: list[float] = []
    """Smallest probabilities of the last blocks; at first what the settings announce."""
    answer_rate: float = 1.0
    """Of what was drawn lately, the share that the teacher answered."""
    opened: int = 0
    repeats: int = 0
    """Exchanges left out since their text came before."""
    cut: int = 0
    """Exchanges whose weight was cut to 1, or would have been: the probability had fallen below the factor."""

    @property
    def uncounted(self) -> int:
        """Exchanges in blocks that do not count yet."""
        return sum(block.exchanges for block in self.blocks.values())

    def see(self, exchange: Exchange) -> None:
        """Take an exchange that the student has read, whoever answered it in the end."""
        student = exchange.student
        sampled = exchange.answered_by is Answerer.STUDENT
        probability = exchange.shadow_probability if sampled else 1.0
        if student is None or probability <= 0.0:
            return
        block = self._block(exchange.at)
        if self._is_repeat(exchange):
            self.repeats += 1
            return
        self._enter(block, probability, exchange.at)
        position = bin_of(student.confidence)
        if sampled and not exchange.shadow:
            block.undrawn[position] += 1
            return
        block.waiting += 1
        drawn = Drawn(block.number, position, probability)
        if exchange.id in self.early:
            self._settle(drawn, self.early.pop(exchange.id))
            return
        self.waiting[exchange.id] = drawn
        if len(self.waiting) > _MOST_WAITING:
            self._give_up_until(next(iter(self.waiting.values())).block)

    def compare(self, comparison: Comparison) -> None:
        """Take the comparison of an exchange, before or after the exchange itself."""
        drawn = self.waiting.pop(comparison.exchange, None)
        if drawn is not None:
            self._settle(drawn, comparison.agrees)
            self._count_blocks()
            return
        self.early[comparison.exchange] = comparison.agrees
        if len(self.early) > _MOST_EARLY:
            del self.early[next(iter(self.early))]

    def _enter(self, block: Block, probability: float, at: float) -> None:
        """Count an exchange in its block. One whose weight must be cut ends it, so that the next factor is smaller."""
        block.exchanges += 1
        block.lowest = min(block.lowest, probability)
        block.last_at = max(block.last_at, at)
        cut = probability < root_power(block.scale)
        self.cut += cut
        if cut or block.exchanges >= _BLOCK:
            self._close(block)

    def _is_repeat(self, exchange: Exchange) -> bool:
        name = exchange.text_hash
        if exchange.text is not None:
            name = blake2b(exchange.text.encode(errors="surrogatepass"), digest_size=8).hexdigest()
        if not name:
            return False
        known = name in self.texts or name in self.texts_before
        self.texts.add(name)
        return known

    def _block(self, at: float) -> Block:
        """The block that is being filled: a new one where that is full or old."""
        block = self.blocks.get(self.opened)
        if block is not None and not block.full:
            if at - block.first_at < _BLOCK_SECONDS:
                return block
            self._close(block)
        self._give_up_before(at - _PATIENCE)
        self._count_blocks()
        self.opened += 1
        self.texts, self.texts_before = set(), self.texts
        scale = scale_of(min(self.lowest, default=1.0))
        block = self.blocks[self.opened] = Block(self.opened, at, at, scale, self.predictor.levels())
        return block

    def _close(self, block: Block) -> None:
        """Let no more exchanges into it."""
        block.full = True
        if block.exchanges:
            self.lowest = [*self.lowest, block.lowest][-_LOOK_BACK:]

    def _settle(self, drawn: Drawn, agrees: bool | None) -> None:
        """Say of a drawn exchange what came of it."""
        block = self.blocks[drawn.block]
        block.waiting -= 1
        level, weight = block.levels[drawn.bin], min(root_power(block.scale) / drawn.probability, 1.0)
        if agrees is None:
            part = Part.MISSING
            block.missing += 1
        else:
            part = Part.AGREED if agrees else Part.DISAGREED
            (block.agreed if agrees else block.disagreed)[drawn.bin] += 1
            block.answered += 1
            block.drawn.weight += weight
        for step, share in steps_of(weight):
            block.drawn.add(pack(part, block.scale, level, step), share)

    def _give_up_before(self, at: float) -> None:
        """Wait no longer for comparisons of exchanges that were answered before `at`."""
        last = max((block.number for block in self.blocks.values() if block.last_at < at), default=0)
        if last:
            self._give_up_until(last)

    def _give_up_until(self, number: int) -> None:
        """Wait no longer for comparisons of the blocks up to `number`."""
        for name, drawn in list(self.waiting.items()):
            if drawn.block > number:
                break
            del self.waiting[name]
            self._settle(drawn, None)
        self._count_blocks()

    def _count_blocks(self) -> None:
        """Count the blocks that are full and complete, as far as none is missing before them."""
        while self.blocks:
            block = next(iter(self.blocks.values()))
            if block.waiting or not block.full:
                return
            del self.blocks[block.number]
            self._count(block)

    def _count(self, block: Block) -> None:
        answered, missing = block.answered, block.missing
        rate = answered / (answered + missing) if answered + missing else self.answer_rate
        self.answer_rate += _FORGETTING * (rate - self.answer_rate)
        sums = block.drawn
        sums.compared, sums.missing = answered, missing
        for position, count in enumerate(block.undrawn):
            if not count:
                continue
            level = block.levels[position]
            sums.add(pack(Part.UNDRAWN, block.scale, level), count * rate)
            if rate < 1:
                sums.add(pack(Part.SET_ASIDE, block.scale, level), count * (1 - rate))
        for position in range(BINS):
            self.predictor.learn(position, block.agreed[position], block.disagreed[position])
        for mean in (self.whole, self.recent, self.next):
            mean.merge(sums)
        if self.next.weight >= self.size:
            self.recent, self.next = self.next, PredictedMean()
