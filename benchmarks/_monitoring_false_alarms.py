"""False alarms: streams without a change, looked at after every comparison, and how many of them raise an alarm.

Watched is what the product watches them with, at its default settings (1 % over all monitors of a task): the detector
of student agreement, and those of the classes. Beside them stands the same detector with all of the 1 % to itself, and
what a window with a plain test would have made of the same streams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.table import Table

from benchmarks import _monitoring_traffic as traffic
from benchmarks._monitoring_alarm_plots import draw_false_alarms
from benchmarks._monitoring_part import Part
from benchmarks._monitoring_plain import PLAIN, first_alarms
from benchmarks._monitoring_traffic import Known, Traffic
from benchmarks._monitoring_vectorised import Coverage, Detectors, Floats, Ints, Levels
from benchmarks._report import Claim
from monitoring.rules import Rules
from monitoring.statistics.binomial import lower_bound
from monitoring.statistics.detector import threshold

_ALPHA: Final = 0.01
_INTERVAL: Final = 0.05
_BLOCK: Final = 1_000  # streams at once
_RATES: Final = (0.002, 0.01, 0.03, 0.07, 0.15, 0.3, 0.5)
_MOST_SHARE: Final = 1.0  # percent of streams with an alarm; `_MOST_LIMIT`: the upper limit of that share
_MOST_LIMIT: Final = 1.6
_COVERED: Final = 95.0
_SEED: Final = 20


@dataclass(slots=True)
class Tally:
    """First alarms by stream (0: none), and whether the interval covered the truth all the time."""

    times: int
    first: dict[str, list[Ints]] = field(default_factory=dict)
    covered: list[Any] = field(default_factory=list)

    def add(self, name: str, first: Ints) -> None:
        """Add some streams' first alarms."""
        self.first.setdefault(name, []).append(first)

    def all(self, name: str) -> Ints:
        """The first alarms of all streams."""
        return np.concatenate(self.first[name])

    def share(self, name: str) -> float:
        """Percent of the streams with an alarm."""
        return float(100 * (self.all(name) > 0).mean())

    def upper(self, name: str) -> float:
        """Upper 99 % limit of that share, in percent (Clopper and Pearson, Biometrika 26, 1934)."""
        first = self.all(name)
        return 100 * (1 - lower_bound(int((first == 0).sum()), len(first), 0.01))

    def by_looks(self, name: str) -> tuple[Ints, Floats]:
        """After how many looks which share of the streams had an alarm."""
        first = self.all(name)
        at = np.sort(first[first > 0])
        return np.append(at, self.times), np.append(100 * np.arange(1, len(at) + 1), 100 * len(at)) / len(first)


WATCH: Final = "student and classes"
"""What the product raises an alarm by; `ALONE`: its detector of student agreement with all of the 1 % to itself."""
ALONE: Final = "detector alone at 1 %"


def watch(stream: Traffic, known: Known, rules: Rules) -> dict[str, Ints]:
    """The first alarms of each stream, by who raises them."""
    times, streams = stream.labels.shape
    student, level, classes = Detectors(streams), Levels(streams), Detectors(streams, traffic.CLASSES)
    rows, ones = np.arange(streams), np.ones(streams)
    limits = {WATCH: rules.student_limit, ALONE: threshold(20_000, _ALPHA)}
    first = {name: np.zeros(streams, dtype=int) for name in limits}
    for time in range(times):
        label, agrees = stream.labels[time].astype(int), stream.agrees[time]
        counts = None if stream.counts is None else stream.counts[time]
        weight = ones if stream.weights is None or stream.kinds is None else stream.weights[stream.kinds[time]]
        expected = level.step(known.strata[rows, label], agrees, weight, counts)
        value = student.step(agrees, weight, expected, counts=counts)
        of_class = classes.step(agrees, weight, known.baselines[rows, label], label, counts)
        for name, limit in limits.items():
            tripped = value >= limit
            if name == WATCH:
                tripped |= of_class >= rules.limit
            first[name][tripped & (first[name] == 0)] = time + 1
    return first


def cover(stream: Traffic) -> Any:
    """Of which streams the interval of agreement covered the truth after every comparison, shape (streams,)."""
    times, streams = stream.labels.shape
    weights = np.ones(1) if stream.weights is None else stream.weights
    coverage, same = Coverage(streams, weights, stream.truth, _INTERVAL), np.zeros(streams, dtype=int)
    for time in range(times):
        coverage.step(same if stream.kinds is None else stream.kinds[time], stream.agrees[time])
    return coverage.covered


Draw = Callable[[np.random.Generator, int, int], Traffic]
_SCENARIOS: Final[dict[str, Draw]] = {
    "independent": traffic.same,
    "mix swings by 2 points a week": traffic.swinging,
    "1 % in bursts of 5": lambda rng, times, streams: traffic.bursts(rng, times, streams, 5),
    "1 % in bursts of 10": lambda rng, times, streams: traffic.bursts(rng, times, streams, 10),
    "weighted sampling": traffic.sampled,
    "bursts of 5, ignored": lambda rng, times, streams: traffic.bursts(rng, times, streams, 5, ignored=True),
    "bursts of 10, ignored": lambda rng, times, streams: traffic.bursts(rng, times, streams, 10, ignored=True),
}
_NULL: Final = tuple(_SCENARIOS)[:5]
_COVERED_IN: Final = ("independent", "weighted sampling")
_PLAIN_IN: Final = ("independent", "mix swings by 2 points a week")


def measure(quick: bool, say: Callable[[str], None]) -> Part:
    """Run all scenarios. quick: few and short streams, whose horizon stays what it is."""
    streams, times = (100, 2_000) if quick else (2_000, 20_000)
    rng, rules = np.random.default_rng(_SEED), traffic.rules()
    tallies = {name: Tally(times) for name in _SCENARIOS}
    for name, draw in _SCENARIOS.items():
        for block in _blocks(streams if name in _NULL else streams // 4):
            known = traffic.validate(rng, traffic.class_agreements(differ=name in _PLAIN_IN[1:]), block, rules)
            _run(tallies[name], name, draw(rng, times, block), known, rules)
        say(f"{name}: {tallies[name].share(WATCH):.2f} % of streams with an alarm")
    rates = {rate: _at_rate(rng, rate, times, streams) for rate in _RATES}
    return _part(tallies, rates, quick)


def _run(tally: Tally, name: str, stream: Traffic, known: Known, rules: Rules) -> None:
    for who, first in watch(stream, known, rules).items():
        tally.add(who, first)
    if name in _COVERED_IN:
        tally.covered.append(cover(stream))
    if name in _PLAIN_IN:
        for plain, first in first_alarms(stream.agrees).items():
            tally.add(plain, first)


def _at_rate(rng: np.random.Generator, rate: float, times: int, streams: int) -> float:
    """Percent of streams with an alarm of the detector alone at 1 %, where so many of one stratum disagree."""
    alarms = 0
    for block in _blocks(streams):
        student, level, stratum, ones = Detectors(block), Levels(block), np.zeros(block, dtype=int), np.ones(block)
        highest = np.zeros(block)
        for _ in range(times):
            agrees = rng.random(block) >= rate
            highest = np.maximum(highest, student.step(agrees, ones, level.step(stratum, agrees, ones)))
        alarms += int((highest >= threshold(20_000, _ALPHA)).sum())
    return 100 * alarms / streams


def _blocks(streams: int) -> Iterator[int]:
    yield from [_BLOCK] * (streams // _BLOCK)
    if streams % _BLOCK:
        yield streams % _BLOCK


def _part(tallies: dict[str, Tally], rates: dict[float, float], quick: bool) -> Part:
    claims = []
    for name in _NULL:
        for who, text in ((WATCH, "alarms at the 1 % setting"), (ALONE, ALONE)):
            share, upper = tallies[name].share(who), tallies[name].upper(who)
            claims.append(_at_most(f"{text}, {name}", share, _MOST_SHARE, quick))
            claims.append(_at_most(f"{text}, {name}, upper 99 % limit", upper, _MOST_LIMIT, quick))
    covered = {name: float(100 * np.concatenate(tallies[name].covered).mean()) for name in _COVERED_IN}
    claims += [
        Claim(f"intervals cover at all times, {name}", share, _COVERED, _COVERED, " %")
        for name, share in covered.items()
    ]
    worst = max(tallies[name].share(WATCH) for name in _NULL)
    plain = {name: tallies["independent"].share(name) for name in PLAIN}
    return Part(
        "false_alarms",
        [_table(tallies), _plain_table(tallies), _rates_table(rates)],
        claims,
        {
            "alarms": {name: {who: tally.share(who) for who in tally.first} for name, tally in tallies.items()},
            "upper": {name: {who: tallies[name].upper(who) for who in (WATCH, ALONE)} for name in _NULL},
            "by_rate": {str(rate): share for rate, share in rates.items()},
            "covered": covered,
        },
        f"false alarms in {worst:.1f} % of streams at most, where plain windows raise "
        f"{min(plain.values()):.0f} to {max(plain.values()):.0f} %",
        lambda path: _draw(path, tallies),
    )


def _at_most(name: str, value: float, most: float, quick: bool) -> Claim:
    """The claim that a percentage is `most` at most, as how far it stays below."""
    return Claim(f"{name}: below {most:g} % by", most - value, None if quick else 0.0, 0.0, " points")


def _table(tallies: dict[str, Tally]) -> Table:
    table = Table(title="Streams without a change that raised an alarm", title_justify="left")
    for column in (
        "stream",
        "streams",
        "student and classes, 1 % together",
        "detector alone at 1 %",
        "upper 99 % limits",
    ):
        table.add_column(column, justify="left" if column == "stream" else "right")
    for name, tally in tallies.items():
        limits = f"{tally.upper(WATCH):.2f} %, {tally.upper(ALONE):.2f} %"
        size = len(tally.all(WATCH))
        table.add_row(name, f"{size:,}", f"{tally.share(WATCH):.2f} %", f"{tally.share(ALONE):.2f} %", limits)
    return table


def _plain_table(tallies: dict[str, Tally]) -> Table:
    table = Table(title="The same streams, checked as windows usually are", title_justify="left")
    table.add_column("check")
    for name in _PLAIN_IN:
        table.add_column(name, justify="right")
    for plain in PLAIN:
        table.add_row(plain, *(f"{tallies[name].share(plain):.1f} %" for name in _PLAIN_IN))
    return table


def _rates_table(rates: dict[float, float]) -> Table:
    table = Table(title="The detector alone at 1 %, by the rate of disagreement, which it learns", title_justify="left")
    table.add_column("disagree")
    table.add_column("streams with an alarm", justify="right")
    for rate, share in rates.items():
        table.add_row(f"{100 * rate:g} %", f"{share:.2f} %")
    return table


def _draw(path: Path, tallies: dict[str, Tally]) -> None:
    plain = {name: tallies["independent"].by_looks(name) for name in PLAIN}
    ours = {name: tallies[name].by_looks(WATCH) for name in _NULL}
    draw_false_alarms(path, ours, {"Tutelage": ours["independent"], **plain}, _MOST_SHARE)
