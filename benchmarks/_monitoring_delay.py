"""Delay: after agreement has dropped, how many comparisons until the alarm, beside who knows more and who is simpler.

- The oracle is Page's CUSUM of the likelihood ratio (Biometrika 41, 1954), which knows both rates, with the limit at
  which 1 % of streams without a change alarm within 20,000 comparisons. No procedure with its false alarms is quicker
  in the worst case (Moustakides, Ann. Statist. 14, 1986).
- Lorden's bound (Ann. Math. Statist. 42, 1971) is log(run length) / KL, here of the run length 20,000 / 0.01. It is
  asymptotic; at this run length the oracle itself is below it.
- The windows compare the last comparisons with all before them, by the z-test of two proportions, one window after
  another or sliding on after every comparison, each at the limit that the same 1 % of streams without a change reach.

Ours learns the level, and knows neither the drop nor when it comes. It is shown as the product runs it, with its share
of the 1 % that all monitors have together, and with all of the 1 % to itself, as the others have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from rich.table import Table

from benchmarks import _monitoring_traffic as traffic
from benchmarks._monitoring_alarm_plots import DelayCurves, draw_delays
from benchmarks._monitoring_part import Part
from benchmarks._monitoring_plain import z_scores
from benchmarks._monitoring_vectorised import Bools, Detectors, Floats, Ints, Levels
from benchmarks._report import Claim
from monitoring.statistics.detector import threshold

_ALPHA, _HORIZON = 0.01, 20_000
_BAD: Final = 1 - traffic.AGREEMENT
_DROPS: Final = {10: 1.4, 5: 1.6}
"""In points, with the most that the delay may be, in the oracle's."""
_GOOD: Final = (5_000, 10_000)
_UNKNOWN: Final = 800  # the change comes at most so many comparisons sooner or later: anywhere in any window
_AFTER: Final = 4_000  # comparisons; a change that is not seen within them counts as seen then
_WINDOWS: Final = (200, 400, 800, 1_600)
_QUICK: Final = 0.8  # of a bound, where there are few streams
_FEWEST: Final = 1_000  # comparisons that a window is compared with, at least
_BLOCK: Final = 250  # streams at once, for windows
_SEED: Final = 21

OURS: Final = "Tutelage, as set"
ALONE: Final = "Tutelage, all of the 1 %"
ORACLE: Final = "oracle CUSUM"


@dataclass(slots=True)
class Setting:
    """One drop after so many good comparisons: the delays by method, and alarms before the change."""

    good: int
    drop: int
    delays: dict[str, Floats] = field(default_factory=dict)
    early: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For tables and JSON."""
        return f"{self.drop} points after {self.good:,}"

    def note(self, method: str, first: Ints, change: Ints) -> None:
        """Note when a method first raised an alarm in each stream; 0: never."""
        seen = np.where(first > 0, first, change + _AFTER)
        after = seen > change
        self.delays[method] = np.minimum(seen - change, _AFTER)[after]
        self.early[method] = int((~after).sum())

    def mean(self, method: str) -> float:
        """The mean delay, in comparisons."""
        return float(self.delays[method].mean())

    def over_oracle(self, method: str) -> float:
        """The same in the oracle's."""
        return self.mean(method) / self.mean(ORACLE)


def measure(quick: bool, say: Callable[[str], None]) -> Part:
    """Run all settings. quick: fewer streams, after 5,000 good comparisons only."""
    rng, streams, tuning = np.random.default_rng(_SEED), 100 if quick else 2_000, 250 if quick else 4_000
    limits = _window_limits(rng, tuning)
    cusum = {drop: _cusum_limit(rng, drop, 2_000 if quick else 20_000) for drop in _DROPS}
    settings = []
    for good in _GOOD[:1] if quick else _GOOD:
        for drop in _DROPS:
            setting = Setting(good, drop)
            change = good + rng.integers(-_UNKNOWN, _UNKNOWN, streams)
            agrees = _stream(rng, change, good + _UNKNOWN + _AFTER, drop)
            _ours(rng, setting, agrees, change)
            setting.note(ORACLE, _first_cusum(agrees, drop, cusum[drop]), change)
            for (size, sliding), limit in limits.items():
                setting.note(_window_name(size, sliding=sliding), _first_window(agrees, size, sliding, limit), change)
            say(f"{setting.name}: {setting.mean(OURS):.0f} comparisons, the oracle {setting.mean(ORACLE):.0f}")
            settings.append(setting)
    return _part(settings, quick)


def _stream(rng: np.random.Generator, change: Ints, times: int, drop: int) -> Bools:
    """Comparisons of shape (times, streams), which agree less often from `change` on."""
    bad = np.where(np.arange(times)[:, None] < change, np.float32(_BAD), np.float32(_BAD + drop / 100))
    return rng.random((times, len(change)), dtype=np.float32) >= bad


def _ours(rng: np.random.Generator, setting: Setting, agrees: Bools, change: Ints) -> None:
    """What the product's detector makes of it, with the strata that a validation of twenty classes gives it."""
    rules, streams = traffic.rules(), agrees.shape[1]
    known = traffic.validate(rng, traffic.class_agreements(differ=False), streams, rules)
    detector, level, rows, ones = Detectors(streams), Levels(streams), np.arange(streams), np.ones(streams)
    limits = {OURS: rules.student_limit, ALONE: threshold(_HORIZON, _ALPHA)}
    first = {name: np.zeros(streams, dtype=int) for name in limits}
    for time, now in enumerate(agrees, 1):
        label = rng.integers(0, traffic.CLASSES, streams)
        value = detector.step(now, ones, level.step(known.strata[rows, label], now, ones))
        for name, limit in limits.items():
            first[name][(value >= limit) & (first[name] == 0)] = time
    for name, found in first.items():
        setting.note(name, found, change)


def _log_ratios(drop: int) -> tuple[float, float]:
    """The logarithms of the likelihood ratio of what agrees, and of what does not."""
    after = _BAD + drop / 100
    return float(np.log((1 - after) / (1 - _BAD))), float(np.log(after / _BAD))


def _cusum_limit(rng: np.random.Generator, drop: int, streams: int) -> float:
    """The limit that 1 % of streams without a change reach within the horizon."""
    good, bad = _log_ratios(drop)
    value, highest = np.zeros(streams), np.zeros(streams)
    for _ in range(_HORIZON):
        value = np.maximum(value, 0) + np.where(rng.random(streams, dtype=np.float32) < _BAD, bad, good)
        np.maximum(highest, value, out=highest)
    return float(np.quantile(highest, 1 - _ALPHA))


def _first_cusum(agrees: Bools, drop: int, limit: float) -> Ints:
    good, bad = _log_ratios(drop)
    value, first = np.zeros(agrees.shape[1]), np.zeros(agrees.shape[1], dtype=int)
    for time, now in enumerate(agrees, 1):
        value = np.maximum(value, 0) + np.where(now, good, bad)
        first[(value >= limit) & (first == 0)] = time
    return first


def _window_scores(agrees: Bools, size: int, sliding: bool) -> tuple[Ints, Floats]:
    """When a window ends, and its z-score beside everything before it, shape (ends, streams)."""
    bad = np.cumsum(~agrees, axis=0, dtype=np.int32)
    ends = np.arange(_FEWEST + size, len(agrees) + 1, 1 if sliding else size)
    until, before = bad[ends - 1], bad[ends - size - 1]
    return ends, z_scores(before, (ends - size)[:, None], until - before, size)


def _window_limits(rng: np.random.Generator, streams: int) -> dict[tuple[int, bool], float]:
    """For each size, one after another or sliding, the limit that 1 % of streams without a change reach."""
    highest: dict[tuple[int, bool], list[Floats]] = {}
    for _ in range(streams // _BLOCK):
        agrees = rng.random((_HORIZON, _BLOCK), dtype=np.float32) >= _BAD
        for size in _WINDOWS:
            for sliding in (False, True):
                scores = _window_scores(agrees, size, sliding)[1]
                highest.setdefault((size, sliding), []).append(scores.max(axis=0))
    return {which: float(np.quantile(np.concatenate(found), 1 - _ALPHA)) for which, found in highest.items()}


def _first_window(agrees: Bools, size: int, sliding: bool, limit: float) -> Ints:
    found = []
    for begin in range(0, agrees.shape[1], _BLOCK):
        ends, scores = _window_scores(agrees[:, begin : begin + _BLOCK], size, sliding)
        alarms = scores >= limit
        found.append(np.where(alarms.any(axis=0), ends[alarms.argmax(axis=0)], 0))
    return np.concatenate(found)


def _window_name(size: int, *, sliding: bool) -> str:
    return f"{'sliding window' if sliding else 'windows'} of {size:,}"


def _windows(*, sliding: bool) -> list[str]:
    return [_window_name(size, sliding=sliding) for size in _WINDOWS]


def _suited(settings: list[Setting]) -> str:
    """The delay of the fastest sliding window in each setting, over ours."""
    shares = [min(setting.mean(name) for name in _windows(sliding=True)) / setting.mean(OURS) for setting in settings]
    return f"{min(shares):.2f} to {max(shares):.2f} times as many"


def lorden(drop: int) -> float:
    """Lorden's asymptotic bound of the delay, in comparisons."""
    good, bad = _log_ratios(drop)
    after = _BAD + drop / 100
    return float(np.log(_HORIZON / _ALPHA) / (after * bad + (1 - after) * good))


def _part(settings: list[Setting], quick: bool) -> Part:
    claims = [
        Claim(
            f"oracle's delay over ours, {setting.name} (at most {_DROPS[setting.drop]:g} times)",
            1 / setting.over_oracle(OURS),
            (_QUICK if quick else 1.0) / _DROPS[setting.drop],
            1 / _DROPS[setting.drop],
        )
        for setting in settings
    ]
    for setting in settings:
        fastest = min(setting.mean(name) for name in _windows(sliding=False))
        name = f"fastest windows over ours, {setting.name}"
        claims.append(Claim(name, fastest / setting.mean(OURS), None if quick else 1.0, 1.0, " times"))
    for good in dict.fromkeys(setting.good for setting in settings):
        these = [setting for setting in settings if setting.good == good]
        ours = max(setting.over_oracle(OURS) for setting in these)
        best = min(max(setting.over_oracle(name) for setting in these) for name in _windows(sliding=True))
        name = f"best sliding window over ours, each at the drop that it sees worse, after {good:,}"
        claims.append(Claim(name, best / ours, None if quick else 1.0, 1.0, " times"))
    shown = "; ".join(
        f"{setting.name} {setting.mean(OURS):.0f} ({setting.over_oracle(OURS):.2f} times the oracle)"
        for setting in settings
    )
    figures = {
        setting.name: {
            method: {"mean": setting.mean(method), "median": float(np.median(delays)), "early": setting.early[method]}
            for method, delays in setting.delays.items()
        }
        for setting in settings
    }
    return Part(
        "delay",
        [_table(settings)],
        claims,
        {"delays": figures, "lorden": {str(drop): lorden(drop) for drop in _DROPS}},
        f"comparisons until the alarm: {shown}; a sliding window of the size that suits the drop, which nobody knows, "
        f"takes {_suited(settings)}",
        lambda path: draw_delays(path, [_curves(setting) for setting in settings]),
    )


def _table(settings: list[Setting]) -> Table:
    table = Table(title="Comparisons from the change to the alarm: mean (median), and the mean in the oracle's")
    table.title_justify = "left"
    table.add_column("method")
    for setting in settings:
        table.add_column(setting.name, justify="right")
    for method in settings[0].delays:
        cells = [
            f"{setting.mean(method):,.0f} ({np.median(setting.delays[method]):,.0f})  {setting.over_oracle(method):.2f}"
            for setting in settings
        ]
        table.add_row(method, *cells)
    table.add_row("Lorden's asymptotic bound", *(f"{lorden(setting.drop):,.0f}" for setting in settings))
    return table


def _curves(setting: Setting) -> DelayCurves:
    shown = [name for name in setting.delays if name in {OURS, ALONE, ORACLE} or name.endswith((" 400", " 800"))]
    return DelayCurves(setting.name, {name: setting.delays[name] for name in shown}, lorden(setting.drop))
