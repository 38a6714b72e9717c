"""Real shifts: CLINC150 through the product's state and reviewer, with a teacher and students that its code has taught.

- Nothing happens: the control. Every alarm in it is false, and so is every alarm before a shift begins.
- The domains that the student does not know arrive one after another; after each, a student that has been taught it
  takes over, as after a retraining.
- The intents' shares change, and nothing else.
- Typos rise slowly, from none to 20 % of words.

What is asked is which signal says so, and after how many exchanges. Comparisons are sampled as the gateway does, and
the clock is the exchanges' own.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from benchmarks._monitoring_part import Part
from benchmarks._report import Claim
from benchmarks._shift_play import Desk, Story
from benchmarks._shift_world import World, build, draw, misspelt, teach
from monitoring.drift.verdict import INPUTS, LABELS
from monitoring.signals import BELOW, CLASSES, DRIFT, NEW_CLASS, SERVED, STUDENT

_SEED: Final = 5
_AGREEMENT: Final = (STUDENT, CLASSES, SERVED, BELOW)
_MOST_TYPOS: Final = 0.2
_SPREAD: Final = 1.0
"""Of the logarithms of the intents' shares after the label shift."""


@dataclass(frozen=True, slots=True)
class _Size:
    window: int
    before: int
    after: int
    typos: int
    control: int
    horizon: int
    """Windows for which the chance of a false alarm is promised: the fewer, the fewer permutations."""


_FULL: Final = _Size(window=500, before=5_000, after=3_000, typos=8_000, control=12_000, horizon=200)
_QUICK: Final = _Size(window=200, before=800, after=400, typos=400, control=800, horizon=20)


def measure(quick: bool, say: Callable[[str], None], data: Path | None = None) -> Part | None:
    """Play all scenes on the CLINC150 in `data`; None where there is no such folder. quick: a few intents."""
    if data is None or not (data / "domains.json").is_file():
        say("CLINC150 is not at hand: not measured")
        return None
    size = _QUICK if quick else _FULL
    watch: dict[str, object] = {
        "drift_window": size.window,
        "drift_window_minutes": 0,
        "drift_reference_hours": 0,
        "drift_horizon": size.horizon,
        "cooldown_minutes": 0,
        "golden_hours": None,
    }
    with tempfile.TemporaryDirectory(prefix="tutelage-shift-") as name:
        folder = Path(name)
        say("a teacher of all intents is fitted …")
        world = build(data, folder, watch, quick=quick)
        stories = []
        for story in _play(world, size, folder):
            say(_told(story))
            stories.append(story)
    return _part(stories, quick)


def _play(world: World, size: _Size, folder: Path) -> Iterator[Story]:
    """The scenes, one after another."""
    rng = random.Random(_SEED)
    first = teach(world, world.early, "1", folder)
    early = world.intents(world.early)

    desk = Desk(world, folder, "control")
    yield desk.play(first, "nothing happens", draw(world, early, size.control, rng), size.control)
    desk.close()

    desk = Desk(world, folder, "domains")
    names = list(world.domains)
    for known in range(world.early, len(names)):
        student = first if known == world.early else teach(world, known, str(known - world.early + 1), folder)
        texts = draw(world, world.intents(known), size.before, rng)
        texts += draw(world, world.intents(known + 1), size.after, rng)
        yield desk.play(student, f"a domain arrives: {names[known]}", texts, size.before)
    desk.close()

    desk = Desk(world, folder, "labels")
    weights = [math.exp(rng.gauss(0, _SPREAD)) for _ in early]
    texts = draw(world, early, size.before, rng) + draw(world, early, size.after, rng, weights)
    yield desk.play(first, "the intents' shares change", texts, size.before)
    desk.close()

    desk = Desk(world, folder, "typos")
    texts = draw(world, early, size.before, rng)
    for number, text in enumerate(draw(world, early, size.typos, rng)):
        changed = misspelt(text, _MOST_TYPOS * number / size.typos, rng)
        world.teacher.learn(changed, like=text)
        texts.append(changed)
    yield desk.play(first, "typos rise from 0 to 20 % of words", texts, size.before)
    desk.close()


def _first(story: Story, causes: tuple[str, ...]) -> int | None:
    return min((delay for cause in causes if (delay := story.delay(cause)) is not None), default=None)


def _told(story: Story) -> str:
    raised = ", ".join(
        f"{one.cause}{' (' + ', '.join(one.parts) + ')' if one.parts else ''} {one.at - story.began:+,}"
        for one in story.raised
    )
    before, after = story.agreement(0, story.began), story.agreement(story.began, story.exchanges)
    return f"{story.name}: agreement {before:.1%}, then {after:.1%}; {raised or 'no alarm'}"


def _part(stories: list[Story], quick: bool) -> Part:
    _, *domains, labels, typos = stories
    unsound = sum(bool(story.early) for story in stories)

    def at_most(name: str, most: float, value: float | None) -> Claim:
        """A delay as how often it goes into what is allowed; no alarm at all is 0."""
        return Claim(f"{name}: {most:g} over what it took", most / value if value else 0.0, None if quick else 1.0, 1.0)

    def slowest(delays: list[int | None]) -> int | None:
        return None if None in delays else max(delay for delay in delays if delay is not None)

    drift = typos.delay(DRIFT)
    share = None if drift is None else 100 * _MOST_TYPOS * drift / (typos.exchanges - typos.began)
    inputs = labels.delay(DRIFT, INPUTS)
    claims = [
        Claim("scenes in which nothing was raised before it began", len(stories) - unsound, len(stories), len(stories)),
        at_most(
            "slowest domain, until drift is called (exchanges)", 1_000, slowest([one.delay(DRIFT) for one in domains])
        ),
        at_most(
            "slowest domain, until a new class is suspected (exchanges)",
            2_500,
            slowest([one.delay(NEW_CLASS) for one in domains]),
        ),
        at_most(
            "slowest domain, until agreement alarms (exchanges)",
            1_500,
            slowest([_first(one, _AGREEMENT) for one in domains]),
        ),
        at_most("changed shares, until the labels are called drift (exchanges)", 1_000, labels.delay(DRIFT, LABELS)),
        Claim(
            "changed shares are not called drift of the inputs, nor a new class",
            float(inputs is None and labels.delay(NEW_CLASS) is None),
            None if quick else 1,
            1,
        ),
        at_most("typos, until drift is called (% of words)", 10, share),
    ]
    quiet = sum(at <= story.began for story in stories for at, _ in story.windows)
    closing = f"{quiet} windows without drift, {sum(len(story.early) for story in stories)} alarms; " + "; ".join(
        f"{story.name}: {', '.join(f'{one.cause} after {one.at - story.began:,}' for one in story.raised) or 'nothing'}"
        for story in stories[1:]
    )
    return Part("shift", [_table(stories)], claims, _figures(stories), closing, lambda path: _draw(path, stories))


def _table(stories: list[Story]) -> Table:
    table = Table(title="Exchanges from the shift to the first alarm of each kind", title_justify="left")
    for column in ("scene", "agreement before", "after", "agreement's alarm", "drift", "by", "new class", "too early"):
        table.add_column(column, justify="left" if column in {"scene", "by"} else "right")
    for story in stories:
        delays = [_first(story, _AGREEMENT), story.delay(DRIFT), story.delay(NEW_CLASS)]
        agreement, drift, new = ("-" if delay is None else f"{delay:,}" for delay in delays)
        by = next((", ".join(one.parts) for one in story.raised if one.cause == DRIFT), "")
        shares = (story.agreement(0, story.began), story.agreement(story.began, story.exchanges))
        before, after = ("-" if math.isnan(share) else f"{share:.1%}" for share in shares)
        table.add_row(story.name, before, after, agreement, drift, by, new, str(len(story.early)))
    return table


def _figures(stories: list[Story]) -> dict[str, Any]:
    return {
        story.name: {
            "began": story.began,
            "exchanges": story.exchanges,
            "raised": [
                {"cause": one.cause, "after": one.at - story.began, "parts": one.parts, "what": one.what}
                for one in story.raised
            ],
            "agreement": [story.agreement(0, story.began), story.agreement(story.began, story.exchanges)],
            "windows": [
                {"until": at, "p_values": {part.name: part.p_value for part in verdict.parts}}
                for at, verdict in story.windows
            ],
            "suspects": story.suspects[:10],
        }
        for story in stories
    }


def _draw(path: Path, stories: list[Story]) -> None:
    """Each scene as a line of time: student agreement, and the alarms as they came."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt  # after the choice of the backend

    kinds = {
        "agreement": ("#cf222e", "-", _AGREEMENT),
        "drift": ("#1f6feb", "-", (DRIFT,)),
        "new class": ("#8250df", ":", (NEW_CLASS,)),
    }
    figure, axes = plt.subplots(len(stories), 1, figsize=(9, 1.7 * len(stories)), constrained_layout=True)
    for axis, story in zip(axes, stories, strict=True):
        step = max(story.exchanges // 40, 1)
        grid = range(step, story.exchanges + 1, step)
        shares = [100 * story.agreement(at - step, at) for at in grid]
        axis.plot(grid, shares, color="#57606a", linewidth=1.2, label="student agreement (%)")
        if story.began < story.exchanges:
            axis.axvspan(story.began, story.exchanges, color="#fff8c5", linewidth=0)
        for name, (colour, line, causes) in kinds.items():
            for number, one in enumerate(one for one in story.raised if one.cause in causes):
                label = name if number == 0 else None
                axis.axvline(one.at, color=colour, linestyle=line, linewidth=1.6, label=label)
        axis.set_title(story.name, fontsize=9, loc="left")
        axis.set_ylim(40, 100)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=6, frameon=False, loc="lower left", ncols=4)
    axes[-1].set_xlabel("exchanges")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
