"""Prometheus' text format, drawn up beforehand: a scrape only hands out bytes.

A task's series are a `Page`, redrawn by itself when the task has news; `render` puts the pages together by family, as
the format wants it. A page keeps the lines of what has not changed from one drawing to the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

PREFIX: Final = "tutelage_monitor_"
"""Of every family on a page."""

_NO_LABELS: Final[Mapping[str, str]] = {}


class Family:
    """Series of one name: its two lines of head, and a line for each."""

    __slots__ = ("head", "lines", "text")

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.lines: list[str] = []
        self.text = b""


class Page:
    """One task's series, by family, in the order in which the families were first named.

    Names go without their prefix, and labels without `task`: every series has both.
    """

    def __init__(self, task: str, before: Page | None = None) -> None:
        """`before`: the task's last page, from which lines are kept."""
        self.task = task
        self.families: dict[str, Family] = {}
        self._label = f'{{task="{_escaped(task)}"'
        self._before = before.kept if before is not None else {}
        self.kept: dict[Hashable, tuple[Hashable, Page]] = {}

    def gauge(self, name: str, text: str, value: float | None, labels: Mapping[str, str] = _NO_LABELS) -> None:
        """Add a gauge's series; None, where nothing is known, is NaN."""
        self._add(name, "gauge", text, math.nan if value is None else value, labels)

    def counter(self, name: str, text: str, value: float, labels: Mapping[str, str] = _NO_LABELS) -> None:
        """Add a counter's series; `name` ends in `_total`."""
        self._add(name, "counter", text, value, labels)

    def histogram(
        self,
        name: str,
        text: str,
        edges: Sequence[float],
        counts: Sequence[int],
        total: float,
        labels: Mapping[str, str] = _NO_LABELS,
    ) -> None:
        """Add a histogram's series. `edges`: upper ends, rising; `counts`: by bucket, one more; `total`: the sum.

        It is one family: buckets, sum and count.
        """
        lines = self._family(name, "histogram", text).lines
        pairs = _pairs(labels)
        for edge, count in zip((*edges, math.inf), accumulate(counts), strict=True):
            end = "+Inf" if math.isinf(edge) else repr(float(edge))
            lines.append(f'{PREFIX}{name}_bucket{self._label}{pairs},le="{end}"}} {count}')
        lines.append(f"{PREFIX}{name}_sum{self._label}{pairs}}} {total!r}")
        lines.append(f"{PREFIX}{name}_count{self._label}{pairs}}} {sum(counts)}")

    def keep(self, key: Hashable, stamp: Hashable, draw: Callable[[Page], None]) -> None:
        """Add what `draw` draws, or what it drew under this key the last time if `stamp` is the same."""
        known = self._before.get(key)
        if known is None or known[0] != stamp:
            part = Page(self.task)
            draw(part)
            known = (stamp, part)
        self.kept[key] = known
        for name, family in known[1].families.items():
            mine = self.families.get(name)
            if mine is None:
                mine = self.families[name] = Family(family.head)
            mine.lines += family.lines

    def finish(self) -> None:
        """Nothing is added any more: make the text, so that `render` only puts pages together."""
        for family in self.families.values():
            family.text = ("\n".join(family.lines) + "\n").encode()

    def _add(self, name: str, kind: str, text: str, value: float, labels: Mapping[str, str]) -> None:
        number = "NaN" if math.isnan(value) else repr(float(value))
        self._family(name, kind, text).lines.append(f"{PREFIX}{name}{self._label}{_pairs(labels)}}} {number}")

    def _family(self, name: str, kind: str, text: str) -> Family:
        family = self.families.get(name)
        if family is None:
            full = PREFIX + name
            family = self.families[name] = Family(f"# HELP {full} {text}\n# TYPE {full} {kind}\n".encode())
        return family


def render(pages: Iterable[Page]) -> bytes:
    """The text of several pages, which must be finished."""
    pages = list(pages)
    texts: list[bytes] = []
    for name in dict.fromkeys(name for page in pages for name in page.families):
        families = [page.families[name] for page in pages if name in page.families]
        texts += (families[0].head, *(family.text for family in families))
    return b"".join(texts)


def _pairs(labels: Mapping[str, str]) -> str:
    return "".join([f',{key}="{_escaped(word)}"' for key, word in labels.items()])


def _escaped(word: str) -> str:
    if "\\" in word or '"' in word or "\n" in word:
        return word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return word
