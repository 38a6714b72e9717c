"""The loop, from a first student to a better one, on one machine: `make demo`.

Traffic flows through the official `openai` client. The first student takes over; agreement settles. Then a product is
launched, and the second wave arrives: a dozen things that nobody has asked about before. The alarm trips, the affected
classes go to the teacher, a run waits until there is enough to learn from and teaches a candidate, which earns its
place beside the champion and takes over. In the end a deliberately bad candidate is put to the same gates, and refused.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from benchmarks._bad_candidate import refuse_bad_candidate
from benchmarks._desk import PLANTED, TASK, Desk
from benchmarks._house import House, run_house
from benchmarks._play import Story, count_claims, describe, send_until
from benchmarks._report import Claim, add_options, conclude, points, wide_console
from benchmarks._timeline import Timeline, save
from benchmarks._traffic import Message, Sender, Traffic, endless
from benchmarks._truth import Span, read_truth
from benchmarks._watching import Watcher
from core.settings import Settings, load_settings
from training.runs.context import run_folder
from training.runs.prepare import DATA_FILE
from training.traffic import Sample

_PER_SECOND: Final = 70.0
_ALARM_SECONDS: Final = 60.0
_PROMOTION_SECONDS: Final = 120.0


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.demo", description=__doc__)
    add_options(parser)
    parser.add_argument("--folder", type=Path, default=Path("results/demo"), help="where the picture goes")
    options = parser.parse_args(arguments)
    console, started, desk = wide_console(), time.monotonic(), Desk(options.quick)
    with tempfile.TemporaryDirectory(prefix="tutelage-demo-") as scratch:
        folder = Path(scratch)
        with run_house(desk.settings(folder), folder) as house:
            settings = load_settings(house.config)
            watcher = Watcher(settings, TASK, Traffic(), Timeline("Support desk: the loop closes"))
            story = asyncio.run(_play(house, watcher, desk, console))
            counted = count_claims(settings, watcher)
        refusals = _judge_bad_candidate(settings, watcher, desk, folder, console)
        console.print("Asking the teacher about every exchange, to see what really was …")
        truth = read_truth(settings, watcher.ledger, TASK)
        watcher.ledger.close()
    before, after = truth.span(story.began, story.shifted), truth.span(story.swapped)
    png, page = options.plot or options.folder / "loop.png", options.folder / "loop.html"
    save(watcher.timeline, png, page)
    console.print(f"\nThe picture: {png} and {page}")
    return _conclude(watcher, story, (before, after), counted, refusals, time.monotonic() - started, options)


async def _play(house: House, watcher: Watcher, desk: Desk, console: Console) -> Story:
    """The whole story."""
    story, stop_watching = Story(), asyncio.Event()
    settle = 4.0 if desk.quick else 40.0
    await asyncio.to_thread(house.wait_for, "Ready", 240)
    console.print(f"Ready at {house.base_url}: the teacher answers. The first student is distilled …")
    await asyncio.to_thread(house.wait_for, "has taken over", 240)
    watching = asyncio.create_task(watcher.watch(stop_watching))
    sender = Sender(house.base_url, TASK, watcher.traffic, per_second=_PER_SECOND)

    async def send(messages: Iterable[Message], done: Any, seconds: float) -> None:
        await send_until(sender, messages, done, seconds=seconds)
        story.trusted.append(watcher.timeline.points[-1].trusted)
        console.print(describe(watcher))

    story.began = time.time()
    console.print("The student has taken over. First wave: agreement settles …")
    await send(endless(desk.first_wave(), 1), lambda: False, settle)
    story.shifted = time.time()
    watcher.note("wave", "second wave")
    console.print("Second wave: a dozen things that nobody has asked about before …")
    second = endless(desk.second_wave(), 2)
    await send(second, lambda: watcher.alarm_since(story.shifted) is not None, _ALARM_SECONDS)
    alarm = watcher.alarm_since(story.shifted)
    if alarm is None:
        console.print("[red]No alarm asks for a better student.[/red]")
    else:
        story.alarmed = alarm.opened
        console.print("The alarm has tripped; the teacher answers, a run waits until there is enough to learn from …")
        await send(second, lambda: watcher.has_data, _PROMOTION_SECONDS)
        console.print("The run has its data and teaches a candidate. From now on only messages that it has not read …")
        fresh = endless(desk.fresh(), 3)
        await send(fresh, lambda: watcher.promoted is not None and watcher.champion != "1", _PROMOTION_SECONDS)
        if watcher.promoted is not None:
            story.swapped = time.time()
            console.print("The new student has taken over …")
        else:
            console.print("[red]Nobody has taken over.[/red]")
        await send(fresh, lambda: False, settle)
    stop_watching.set()
    await watching
    await sender.close()
    return story


def _judge_bad_candidate(settings: Settings, watcher: Watcher, desk: Desk, folder: Path, console: Console) -> list[str]:
    """Put a bad candidate to the gates, beside the champion; returns why it was refused."""
    if watcher.promoted is None:
        return []
    held = [(message.text, message.label or "") for message in desk.evaluation()]
    data = run_folder(settings, watcher.promoted.id) / DATA_FILE
    taught = [msgspec.json.decode(line, type=Sample).example for line in data.read_bytes().splitlines()]
    champion = settings.students_folder / TASK / watcher.promoted.candidate
    console.print(f"A deliberately bad candidate, taught to mistake {', '.join(PLANTED)} for one another …")
    report = refuse_bad_candidate(TASK, settings.task(TASK), champion, taught, held, folder, planted=PLANTED)
    for refusal in report.refusals:
        console.print(f"  refused ({refusal.gate}): {refusal.text}")
    return [refusal.text for refusal in report.refusals]


def _conclude(
    watcher: Watcher,
    story: Story,
    spans: tuple[Span, Span],
    counted: Sequence[Claim],
    refusals: Sequence[str],
    seconds: float,
    options: argparse.Namespace,
) -> int:
    (before, after), traffic, judged = spans, watcher.traffic, not options.quick
    named = sum(any(label in text for text in refusals) for label in PLANTED)
    returned = story.trusted[-1] - story.trusted[0]
    claims = [
        *counted,
        Claim("alarms that ask for a better student", float(story.alarmed < float("inf")), 1, 1),
        Claim("candidates promoted", float(watcher.promoted is not None), 1, 1),
        points("student agreement after the swap, less that before", after.student - before.student, 5, judged=judged),
        points("served agreement after the swap, less that before", after.served - before.served, 5, judged=judged),
        points("classes trusted in the end, less those before", returned, 0),
        Claim("planted classes named in the refusal", float(named), len(PLANTED), len(PLANTED)),
    ]
    closing = (
        f"{seconds / 60:.1f} minutes, {traffic.sent} exchanges, {len(traffic.failures)} failed; alarm "
        f"{story.alarmed - story.shifted:.0f} s into the second wave, promotion {story.swapped - story.alarmed:.0f} s "
        f"later; student agreement {before.student:.1%}, then {after.student:.1%}; served {before.served:.1%}, then "
        f"{after.served:.1%}; classes trusted {', '.join(f'{share:.0%}' for share in story.trusted)}"
    )
    details = {
        "seconds": seconds,
        "before": before,
        "after": after,
        "reasons": dict(traffic.reasons),
        "versions": dict(traffic.versions),
    }
    return conclude("demo", claims, details, closing, options.json)


if __name__ == "__main__":
    sys.exit(main())
