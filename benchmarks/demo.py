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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from rich.console import Console

from benchmarks._bad_candidate import refuse_bad_candidate
from benchmarks._house import House, run_house
from benchmarks._play import count_claims, describe, send_until
from benchmarks._report import Claim, add_options, conclude, points, wide_console
from benchmarks._timeline import Timeline, save
from benchmarks._traffic import Message, Sender, Traffic, endless, read_messages, write_messages
from benchmarks._truth import Span, read_truth
from benchmarks._watching import Watcher
from core.settings import Settings, load_settings
from training.runs.context import run_folder
from training.runs.prepare import DATA_FILE
from training.traffic import Sample

_TASK: Final = "support-desk"
_EXAMPLE: Final = Path(__file__).resolve().parents[1] / "examples" / "support_desk"
_PER_SECOND: Final = 70.0
_SETTLE_SECONDS: Final = 40.0
_ALARM_SECONDS: Final = 60.0
_PROMOTION_SECONDS: Final = 120.0
_RECOVER_SECONDS: Final = 40.0
_LAUNCH: Final = frozenset(
    {
        "buy_spare_parts",
        "cancel_order",
        "close_account",
        "compatibility_question",
        "hacked_account",
        "late_delivery",
        "missing_parts",
        "order_status",
        "promo_code_problem",
        "sensor_fault",
        "setup_help",
        "upgrade_plan",
    }
)
"""What people write about once a product is launched and a rival's customers are taken over, and did not before."""
_PLANTED: Final = ("refund_status", "return_request", "exchange_request")


@dataclass(slots=True)
class Story:
    """When what happened, in seconds since the epoch; infinity where it did not."""

    began: float = float("inf")
    shifted: float = float("inf")
    alarmed: float = float("inf")
    swapped: float = float("inf")
    trusted: list[float] = field(default_factory=list)
    """Share of classes trusted before the shift, while the run was at work, and in the end."""


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.demo", description=__doc__)
    add_options(parser)
    parser.add_argument("--folder", type=Path, default=Path("results/demo"), help="where the picture goes")
    options = parser.parse_args(arguments)
    console, started = wide_console(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tutelage-demo-") as scratch:
        folder = Path(scratch)
        with run_house(_settings(folder), folder) as house:
            settings = load_settings(house.config)
            watcher = Watcher(settings, _TASK, Traffic(), Timeline("Support desk: the loop closes"))
            story = asyncio.run(_play(house, watcher, console))
            counted = count_claims(settings, watcher)
        refusals = _judge_bad_candidate(settings, watcher, folder, console)
        console.print("Asking the teacher about every exchange, to see what really was …")
        truth = read_truth(settings, watcher.ledger, _TASK)
        watcher.ledger.close()
    before, after = truth.span(story.began, story.shifted), truth.span(story.swapped)
    png, page = options.plot or options.folder / "loop.png", options.folder / "loop.html"
    save(watcher.timeline, png, page)
    console.print(f"\nThe picture: {png} and {page}")
    return _conclude(watcher, story, (before, after), counted, refusals, time.monotonic() - started, options.json)


async def _play(house: House, watcher: Watcher, console: Console) -> Story:
    """The whole story."""
    story, stop_watching = Story(), asyncio.Event()
    await asyncio.to_thread(house.wait_for, "Ready", 240)
    console.print(f"Ready at {house.base_url}: the teacher answers. The first student is distilled …")
    await asyncio.to_thread(house.wait_for, "has taken over", 240)
    watching = asyncio.create_task(watcher.watch(stop_watching))
    sender = Sender(house.base_url, _TASK, watcher.traffic, per_second=_PER_SECOND)

    async def send(messages: Iterable[Message], done: Any, seconds: float) -> None:
        await send_until(sender, messages, done, seconds=seconds)
        story.trusted.append(watcher.timeline.points[-1].trusted)
        console.print(describe(watcher))

    story.began = time.time()
    console.print("The student has taken over. First wave: agreement settles …")
    await send(endless(_first_wave(), 1), lambda: False, _SETTLE_SECONDS)
    story.shifted = time.time()
    watcher.note("wave", "second wave")
    console.print("Second wave: a dozen things that nobody has asked about before …")
    second = endless(_second_wave(), 2)
    await send(second, lambda: watcher.alarm_since(story.shifted) is not None, _ALARM_SECONDS)
    alarm = watcher.alarm_since(story.shifted)
    if alarm is None:
        console.print("[red]No alarm asks for a better student.[/red]")
    else:
        story.alarmed = alarm.opened
        console.print("The alarm has tripped; the teacher answers, a run waits until there is enough to learn from …")
        await send(second, lambda: watcher.has_data, _PROMOTION_SECONDS)
        console.print("The run has its data and teaches a candidate. From now on only messages that it has not read …")
        fresh = endless(_fresh(), 3)
        await send(fresh, lambda: watcher.promoted is not None and watcher.champion != "1", _PROMOTION_SECONDS)
        if watcher.promoted is not None:
            story.swapped = time.time()
            console.print("The new student has taken over …")
        else:
            console.print("[red]Nobody has taken over.[/red]")
        await send(fresh, lambda: False, _RECOVER_SECONDS)
    stop_watching.set()
    await watching
    await sender.close()
    return story


def _first_wave() -> list[Message]:
    return [message for message in _read("first_wave") if message.label not in _LAUNCH]


def _second_wave() -> list[Message]:
    """What was asked before, and half as much again about the launch."""
    launch = [message for message in _read("prompts", "first_wave", "second_wave") if message.label in _LAUNCH]
    return _first_wave() + launch


def _fresh() -> list[Message]:
    """The same mixture, of messages that are kept for evaluation: no student is ever taught them."""
    ordinary = [message for message in _read("evaluation") if message.label not in _LAUNCH]
    launch = [message for message in _read("evaluation", "second_wave_evaluation") if message.label in _LAUNCH]
    return ordinary + 2 * launch


def _read(*names: str) -> Sequence[Message]:
    return read_messages([_EXAMPLE / f"{name}.csv" for name in names])


def _judge_bad_candidate(settings: Settings, watcher: Watcher, folder: Path, console: Console) -> list[str]:
    """Put a bad candidate to the gates, beside the champion; returns why it was refused."""
    if watcher.promoted is None:
        return []
    held = [(message.text, message.label or "") for message in _read("evaluation")]
    data = run_folder(settings, watcher.promoted.id) / DATA_FILE
    taught = [msgspec.json.decode(line, type=Sample).example for line in data.read_bytes().splitlines()]
    champion = settings.students_folder / _TASK / watcher.promoted.candidate
    console.print(f"A deliberately bad candidate, taught to mistake {', '.join(_PLANTED)} for one another …")
    report = refuse_bad_candidate(_TASK, settings.task(_TASK), champion, taught, held, folder, planted=_PLANTED)
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
    json_file: Path | None,
) -> int:
    (before, after), traffic = spans, watcher.traffic
    named = sum(any(label in text for text in refusals) for label in _PLANTED)
    returned = story.trusted[-1] - story.trusted[0]
    claims = [
        *counted,
        Claim("alarms that ask for a better student", float(story.alarmed < float("inf")), 1, 1),
        Claim("candidates promoted", float(watcher.promoted is not None), 1, 1),
        points("student agreement after the swap, less that before", after.student - before.student, 5),
        points("served agreement after the swap, less that before", after.served - before.served, 5),
        points("classes trusted in the end, less those before", returned, 0),
        Claim("planted classes named in the refusal", float(named), len(_PLANTED), len(_PLANTED)),
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
    return conclude("demo", claims, details, closing, json_file)


def _settings(folder: Path) -> dict[str, Any]:
    """The example's settings, watched more closely than an ordinary day asks for, so that minutes suffice."""
    document: dict[str, Any] = yaml.safe_load((_EXAMPLE / "tutelage.yaml").read_text(encoding="utf-8"))
    task = document["tasks"][_TASK]
    probe = task["teacher"]["linear_probe"]
    probe["examples"] = [str(_EXAMPLE / name) for name in probe["examples"]]
    known = [message for message in _read("prompts") if message.label not in _LAUNCH]
    task["data"] = {
        "prompts": [write_messages(folder / "prompts.csv", known)],
        "evaluation": [str(_EXAMPLE / name) for name in ("evaluation.csv", "second_wave_evaluation.csv")],
    }
    task["shadow"] = {"floor": 0.4, "unsure": 0.8, "calls_per_hour": None}
    task["watch"] = {"reference_comparisons": 1500, "horizon": 5000, "recent_comparisons": 200, "cooldown_minutes": 0}
    task["watch"] |= {"burst_window": 20}  # a few thousand messages are sent again and again: that is no burst
    task["watch"] |= {"max_fallback_share": 0.9}  # more than half of the second wave is new to the student
    task["retrain"] = {"cooldown_minutes": 0, "trial_comparisons": 200, "trial_minimum": 60, "trial_hours": 0.03}
    task["retrain"] |= {"recent_texts": 2000, "recent_wait_hours": 0.03}
    document |= {"archive": {"flush_seconds": 0.5}, "monitor": {"snapshot_seconds": 1.0}, "shadow": {}}
    document["student"] = {"poll_seconds": 0.5}
    return document


if __name__ == "__main__":
    sys.exit(main())
