"""The loop, from a first student to a better one, on one machine: `make demo`.

Traffic flows through the official `openai` client. The first student takes over; agreement settles; six months later a
second wave arrives: new products, other words. The alarm trips, the affected classes go to the teacher, a run teaches a
candidate, the candidate earns its place beside the champion and takes over. In the end a deliberately bad candidate is
put to the same gates, and refused.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console

from benchmarks._bad_candidate import refuse_bad_candidate
from benchmarks._house import House, run_house
from benchmarks._report import Claim, add_options, conclude, wide_console
from benchmarks._timeline import Timeline, save
from benchmarks._traffic import Message, Sender, Traffic, endless, read_messages
from benchmarks._watching import Watcher
from core.archive import Archive
from core.settings import Settings, load_settings
from training.workflow import labels_file

_TASK: Final = "support-desk"
_EXAMPLE: Final = Path(__file__).resolve().parents[1] / "examples" / "support_desk"
_PER_SECOND: Final = 70.0
_SETTLE_SECONDS: Final = 40.0
_ALARM_SECONDS: Final = 70.0
_PROMOTION_SECONDS: Final = 120.0
_RECOVER_SECONDS: Final = 30.0
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
"""What people write about when a product is launched and a rival's customers are taken over: ten times as often."""
_PLANTED: Final = ("refund_status", "return_request", "exchange_request")


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.demo", description=__doc__)
    add_options(parser)
    parser.add_argument("--folder", type=Path, default=Path("results/demo"), help="where the picture goes")
    options = parser.parse_args(arguments)
    console = wide_console()
    with tempfile.TemporaryDirectory(prefix="tutelage-demo-") as folder, run_house(_settings(), Path(folder)) as house:
        settings = load_settings(house.config)
        watcher = Watcher(settings, _TASK, Traffic(), Timeline("Support desk: the loop closes"))
        seconds = asyncio.run(_play(house, watcher, console))
        archived = _wait_until_archived(settings, watcher)
        refusals = _judge_bad_candidate(settings, Path(folder), console)
    png, page = options.plot or options.folder / "loop.png", options.folder / "loop.html"
    save(watcher.timeline, png, page)
    console.print(f"\nThe picture: {png} and {page}")
    return _conclude(watcher, archived, refusals, seconds, options.json)


async def _play(house: House, watcher: Watcher, console: Console) -> dict[str, float]:
    """The whole story; returns how long its parts took, in seconds."""
    stop_watching, seconds = asyncio.Event(), {}
    await asyncio.to_thread(house.wait_for, "Ready", 240)
    console.print(f"Ready at {house.base_url}: the teacher answers. The first student is distilled …")
    await asyncio.to_thread(house.wait_for, "has taken over", 240)
    watching = asyncio.create_task(watcher.watch(stop_watching))
    first = read_messages([_EXAMPLE / "first_wave.csv"])
    wave, fresh = _second_wave()
    sender = Sender(house.base_url, _TASK, watcher.traffic, per_second=_PER_SECOND)
    console.print("The student has taken over. First wave: agreement settles …")
    await _send_until(sender, endless(first, 1), _SETTLE_SECONDS, lambda: False)
    _say(console, watcher)
    watcher.note("wave", "second wave")
    console.print("Second wave: new products, other words, other questions …")
    seconds["alarm"] = await _send_until(sender, endless(wave, 2), _ALARM_SECONDS, lambda: watcher.retraining)
    _say(console, watcher)
    fresh_wave = endless(fresh, 3)
    if watcher.retraining:
        console.print("The alarm has tripped; trust is withdrawn, a run teaches a candidate …")
    else:
        console.print("[red]No alarm asks for a better student yet.[/red]")
    seconds["promotion"] = await _send_until(
        sender, fresh_wave, _PROMOTION_SECONDS, lambda: watcher.promoted is not None and watcher.champion != "1"
    )
    _say(console, watcher)
    console.print("The new student has taken over …" if watcher.promoted else "[red]Nobody has taken over.[/red]")
    await _send_until(sender, fresh_wave, _RECOVER_SECONDS, lambda: False)
    _say(console, watcher)
    stop_watching.set()
    await watching
    await sender.close()
    return seconds


def _second_wave() -> tuple[list[Message], list[Message]]:
    """The second wave in two halves: what is sent until the alarm, and what is sent after it.

    The run learns from the first; that agreement recovers is seen on the second, which it has not read.
    """
    messages = read_messages([_EXAMPLE / "second_wave.csv"])
    mixed = [(number, m) for number, m in enumerate(messages) for _ in range(10 if m.label in _LAUNCH else 1)]
    return [m for number, m in mixed if number % 2 == 0], [m for number, m in mixed if number % 2]


async def _send_until(sender: Sender, messages: Iterable[Message], seconds: float, done: Any) -> float:
    """Send until `done()` or for so many seconds; returns how long it was."""
    stop, started = asyncio.Event(), time.monotonic()
    sending = asyncio.create_task(sender.send(messages, stop))
    while not done() and time.monotonic() - started < seconds:  # noqa: ASYNC110  # what is waited for is elsewhere
        await asyncio.sleep(0.2)
    stop.set()
    await sending
    return time.monotonic() - started


def _say(console: Console, watcher: Watcher) -> None:
    point = watcher.timeline.points[-1]
    student, served = (
        "not known" if found is None else f"{found.value:.1%} ({found.low:.0%} to {found.high:.0%})"
        for found in (point.student, point.served)
    )
    console.print(
        f"  {watcher.traffic.sent:,} exchanges · student agreement {student} · served agreement {served} · "
        f"{point.trusted:.0%} of classes trusted · version {point.version or '?'}"
    )


def _wait_until_archived(settings: Settings, watcher: Watcher) -> tuple[int, int]:
    """Rows and different ids of the archived exchanges, once all that was answered is there, or half a minute later."""
    archive, answered = Archive(settings.archive_url, watcher.ledger), set(watcher.traffic.answered)
    deadline = time.monotonic() + 30
    while True:
        ids = archive.query("SELECT id FROM records", _TASK).column("id").to_pylist()
        if answered <= set(ids) or time.monotonic() > deadline:
            return len([i for i in ids if i in answered]), len(answered & set(ids))
        time.sleep(0.5)


def _judge_bad_candidate(settings: Settings, folder: Path, console: Console) -> list[str]:
    """Put a bad candidate to the gates; returns why it was refused."""
    with (_EXAMPLE / "evaluation.csv").open(newline="", encoding="utf-8") as file:
        held = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    versions = (settings.students_folder / _TASK).glob("[0-9]*")
    champion = max(versions, key=lambda path: int(path.name))
    console.print(f"A deliberately bad candidate, taught to mistake {', '.join(_PLANTED)} for one another …")
    report = refuse_bad_candidate(
        _TASK,
        settings.task(_TASK),
        champion,
        labels_file(settings, _TASK),
        held,
        folder,
        planted=_PLANTED,
    )
    for refusal in report.refusals:
        console.print(f"  refused ({refusal.gate}): {refusal.text}")
    return [refusal.text for refusal in report.refusals]


def _conclude(
    watcher: Watcher, archived: tuple[int, int], refusals: list[str], seconds: dict[str, float], json_file: Path | None
) -> int:
    traffic, rows = watcher.traffic, archived[0]
    named = sum(any(label in text for text in refusals) for label in _PLANTED)
    last = watcher.timeline.points[-1]
    claims = [
        Claim(
            "requests answered at the first attempt",
            100.0 * len(traffic.answered) / max(traffic.sent, 1),
            100,
            100,
            " %",
        ),
        Claim("answered exchanges archived", 100.0 * archived[1] / max(len(traffic.answered), 1), 100, 100, " %"),
        Claim("archived once, of those", 100.0 * archived[1] / max(rows, 1), 100, 100, " %"),
        Claim("alarms that ask for a better student", float(watcher.retraining), 1, 1),
        Claim("candidates promoted", float(watcher.promoted is not None), 1, 1),
        Claim("planted classes named in the refusal", float(named), len(_PLANTED), len(_PLANTED)),
    ]
    closing = (
        f"{traffic.sent} exchanges, {len(traffic.failures)} failed; alarm after {seconds['alarm']:.0f} s of the "
        f"second wave, promotion {seconds['promotion']:.0f} s later; {last.trusted:.0%} of classes trusted in the end"
    )
    details = {"seconds": seconds, "reasons": dict(traffic.reasons), "versions": dict(traffic.versions)}
    return conclude("demo", claims, details, closing, json_file)


def _settings() -> dict[str, Any]:
    """The example's settings, watched more closely than an ordinary day asks for, so that minutes suffice."""
    document: dict[str, Any] = yaml.safe_load((_EXAMPLE / "tutelage.yaml").read_text(encoding="utf-8"))
    task = document["tasks"][_TASK]
    probe = task["teacher"]["linear_probe"]
    probe["examples"] = [str(_EXAMPLE / name) for name in probe["examples"]]
    task["data"] = {kind: [str(_EXAMPLE / name) for name in names] for kind, names in task["data"].items()}
    task["shadow"] = {"floor": 0.4, "unsure": 0.8, "calls_per_hour": None}
    task["watch"] = {"reference_comparisons": 1500, "horizon": 5000, "recent_comparisons": 200, "cooldown_minutes": 0}
    task["watch"]["burst_window"] = 20  # a few thousand messages are sent again and again: that is no burst
    task["retrain"] = {"cooldown_minutes": 0, "trial_comparisons": 200, "trial_minimum": 60}
    task["retrain"] |= {"trial_hours": 0.03, "label_budget": 300}
    document |= {"archive": {"flush_seconds": 0.5}, "monitor": {"snapshot_seconds": 1.0}, "shadow": {}}
    document["student"] = {"poll_seconds": 0.5}
    return document


if __name__ == "__main__":
    sys.exit(main())
