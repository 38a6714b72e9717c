"""Teacher calls until agreement is known to two points either way.

Traffic is drawn with replacement from messages that a student and its teacher have answered. Each stream goes through
the product's own `PredictedAgreement`, exchange by exchange; its interval is looked at after every tenth block of 64 to
see how wide it is, and after every block to see whether it covers the truth. Rates of calls are the same on average for
all ways of sampling: uniform; the gateway's curve, at its default settings; and an oracle's, in proportion to the
standard deviation of agreement given confidence (Neyman's allocation), at the same floor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.table import Table
from scipy.optimize import isotonic_regression

from benchmarks._monitoring_calls_streams import ALPHA, Bools, Draws, Floats, Plain, Predicted, draw
from benchmarks._monitoring_intervals import asymptotic, empirical_bernstein
from benchmarks._monitoring_pairs import Pairs, banking77, made_up
from benchmarks._monitoring_part import Part
from benchmarks._report import Claim
from core.settings import ShadowSettings, TrustSettings
from monitoring.statistics.prediction_interval import log_wealth
from router.sampling import Curve

_WIDTH: Final = 0.04
_BLOCK: Final = 64
_LOOK: Final = 10  # blocks
_MOST_EXCHANGES: Final = 60_000
_COVERAGE_EXCHANGES: Final = 20_000
_FIRST_LOOK: Final = 500  # exchanges before an asymptotic interval is held to anything
_NEEDED: Final = 1.25  # 1 / 0.8
_COVERED: Final = 95.0


@dataclass(frozen=True, slots=True)
class Needed:
    """Calls until the interval is narrow enough, by stream."""

    predicted: list[int]
    """With the confidence as control variate; `plain`: without it."""
    plain: list[int]


def measure(quick: bool, say: Callable[[str], None], data: Path | None = None) -> Part:
    """Run it on Banking77 in the folder `data`; without one, and in quick, on a made-up student, which is not judged.

    `data` holds `train.csv` and `test.csv`, columns `text` and `category`.
    """
    judged = data is not None and not quick
    if data is None or quick:
        say("calls: a made-up student" if quick else "calls: no folder with Banking77 is given; a made-up student")
        pairs = made_up()
    else:
        say("calls: teaching a student of Banking77")
        pairs = banking77(data)
    streams, covered = (2, 4) if quick else (40, 400)
    allocations = allocate(pairs)
    calls: dict[str, Needed] = {}
    for name, chances in allocations.items():
        say(f"calls: {name}")
        calls[name] = needed(pairs, chances, streams)
    say("calls: coverage")
    coverage = covers(pairs, allocations["curve"], covered)
    say("calls: other intervals")
    others = other_intervals(pairs, allocations["curve"], covered)
    return _part(pairs, allocations, calls, coverage, others, judged=judged)


def allocate(pairs: Pairs) -> dict[str, Floats]:
    """The inclusion probability of each message under each way of sampling; the same mean for all."""
    shadow = ShadowSettings()
    curve = Curve(shadow, TrustSettings().min_confidence)
    designed = np.array([curve(float(one)) for one in pairs.confidence])
    rate = float(designed.mean())
    order, known = np.argsort(pairs.confidence), np.empty_like(designed)
    known[order] = isotonic_regression(pairs.agrees[order].astype(np.float64)).x
    spread = np.sqrt(known * (1 - known))
    low, high = 0.0, 10.0
    for _ in range(50):
        middle = (low + high) / 2
        mean = float(np.clip(middle * spread, shadow.floor, 1).mean())
        low, high = (low, middle) if mean > rate else (middle, high)
    return {
        "uniform": np.full_like(designed, rate),
        "curve": designed,
        "oracle": np.clip(low * spread, shadow.floor, 1),
    }


def needed(pairs: Pairs, chances: Floats, streams: int) -> Needed:
    """Calls until the interval is narrow enough, with predictions and without."""
    with_them, without = [], []
    for seed in range(streams):
        stream = draw(pairs, chances, _MOST_EXCHANGES, seed)
        with_them.append(_until_narrow(stream, Predicted(stream)))
        without.append(_until_narrow(stream, Plain(stream)))
    return Needed(with_them, without)


def covers(pairs: Pairs, chances: Floats, streams: int) -> Bools:
    """Of which streams the product's interval covered the truth after every block, shape (streams,)."""
    found = np.ones(streams, dtype=bool)
    for seed in range(streams):
        stream = draw(pairs, chances, _COVERAGE_EXCHANGES, 100_000 + seed)
        watch = Predicted(stream)
        for at in range(_BLOCK, _COVERAGE_EXCHANGES + 1, _BLOCK):
            watch.take(at)
            won = max(log_wealth(watch.mean, pairs.agreement, above=above) for above in (True, False))
            if won >= np.log(2 / ALPHA):
                found[seed] = False
                break
    return found


def other_intervals(pairs: Pairs, chances: Floats, streams: int) -> dict[str, dict[str, float]]:
    """Calls (mean) and coverage (percent of streams) of the other two intervals, with the same estimate."""
    rows: dict[str, dict[str, list[float]]] = {}
    for seed in range(streams):
        stream = draw(pairs, chances, _MOST_EXCHANGES, 100_000 + seed)
        x, calls = stream.x(), np.cumsum(stream.drawn)
        found = {
            "empirical Bernstein": empirical_bernstein(x, float(chances.min()), ALPHA),
            "asymptotic": asymptotic(x, ALPHA),
        }
        for name, (lower, upper) in found.items():
            width = np.clip(upper, 0, 1) - np.clip(lower, 0, 1)
            narrow = _FIRST_LOOK + np.flatnonzero(width[_FIRST_LOOK:] <= _WIDTH)
            inside = (lower <= pairs.agreement) & (pairs.agreement <= upper)
            row = rows.setdefault(name, {"calls": [], "covered": []})
            row["calls"].append(float(calls[narrow[0]]) if len(narrow) else float(calls[-1]))
            row["covered"].append(100.0 * bool(inside[_FIRST_LOOK:_COVERAGE_EXCHANGES].all()))
    return {name: {key: float(np.mean(values)) for key, values in row.items()} for name, row in rows.items()}


def _until_narrow(stream: Draws, watch: Predicted | Plain) -> int:
    for at in range(_LOOK * _BLOCK, len(stream.drawn) + 1, _LOOK * _BLOCK):
        watch.take(at)
        if watch.width() <= _WIDTH:
            break
    return int(stream.drawn[:at].sum())


def _part(
    pairs: Pairs,
    allocations: dict[str, Floats],
    calls: dict[str, Needed],
    coverage: Bools,
    others: dict[str, dict[str, float]],
    *,
    judged: bool,
) -> Part:
    means = {
        name: {"predicted": float(np.mean(row.predicted)), "plain": float(np.mean(row.plain))}
        for name, row in calls.items()
    }
    ours = means["curve"]["predicted"]
    covered = float(100 * coverage.mean())
    bound, covered_bound = (_NEEDED, _COVERED) if judged else (None, None)
    claims = [
        Claim(
            "calls of uniform sampling to ours, with the same interval",
            means["uniform"]["predicted"] / ours,
            bound,
            _NEEDED,
            " times",
        ),
        Claim(
            "calls of uniform sampling without predictions to ours",
            means["uniform"]["plain"] / ours,
            bound,
            _NEEDED,
            " times",
        ),
        Claim("streams whose interval covers the truth at all times", covered, covered_bound, _COVERED, " %"),
    ]
    table = Table(
        title=f"Teacher calls to ±2 points: {pairs.name}, agreement {pairs.agreement:.1%}", title_justify="left"
    )
    for column in ("sampling", "rate of calls", "with confidence", "without"):
        table.add_column(column, justify="left" if column == "sampling" else "right")
    for name, row in means.items():
        rate = float(allocations[name].mean())
        table.add_row(name, f"{rate:.3f}", f"{row['predicted']:,.0f}", f"{row['plain']:,.0f}")
    beside = Table(title="Intervals, sampled by the curve", title_justify="left")
    for column in ("interval", "calls", "covers at all times"):
        beside.add_column(column, justify="left" if column == "interval" else "right")
    beside.add_row("betting (ours)", f"{ours:,.0f}", f"{covered:.1f} %")
    for name, row in others.items():
        beside.add_row(name, f"{row['calls']:,.0f}", f"{row['covered']:.1f} %")
    figures: dict[str, Any] = {
        "traffic": pairs.name,
        "agreement": pairs.agreement,
        "rates": {name: float(chances.mean()) for name, chances in allocations.items()},
        "calls": means,
        "calls_by_stream": {name: {"predicted": row.predicted, "plain": row.plain} for name, row in calls.items()},
        "coverage": {"streams": len(coverage), "covered_percent": covered},
        "other_intervals": others,
    }
    uniform, oracle = means["uniform"], means["oracle"]
    closing = (
        f"agreement to ±2 points takes {ours:,.0f} teacher calls, uniform sampling {uniform['predicted']:,.0f} "
        f"({uniform['plain']:,.0f} without confidence), an oracle {oracle['predicted']:,.0f}"
    )
    return Part("calls", [table, beside], claims, figures, closing, lambda path: _draw(path, calls, pairs.name))


def _draw(path: Path, calls: dict[str, Needed], traffic: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    rows = {f"{name}, {kind}": values for name, row in calls.items() for kind, values in _kinds(row).items()}
    axes.boxplot(list(rows.values()), orientation="horizontal", tick_labels=list(rows))
    axes.set_xlim(left=0)
    axes.set_xlabel("teacher calls until the 95 % interval is within ±2 points")
    axes.set_title(f"Student agreement of bootstrapped traffic: {traffic}")
    axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _kinds(row: Needed) -> dict[str, list[int]]:
    return {"with confidence": row.predicted, "without": row.plain}
