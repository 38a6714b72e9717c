"""Houses whose traffic does not change: no alarm should come, and no worse student may take over.

Where nothing changes no run starts, and the gates would never be asked. So each house is told to teach a candidate all
the same, as `tutelage runs --start` does, from the traffic that it has seen by then.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks._house import House, run_house
from benchmarks._play import count_claims, describe, send_until
from benchmarks._report import Claim
from benchmarks._timeline import Timeline
from benchmarks._traffic import Message, Sender, Traffic, endless
from benchmarks._truth import ask_teacher
from benchmarks._watching import Watcher
from core.ledger import RunState
from core.models.folder import load_student
from core.settings import Settings, load_settings
from training.paired import midp_worse

_TAKES_OVER_SECONDS = 400.0
_RUN_SECONDS = 300.0
_WORSE_P = 0.05
_MARGIN = 0.02


@dataclass(frozen=True, slots=True)
class Stationary:
    """What became of one house."""

    seed: int
    exchanges: int
    failures: int
    alarms: int
    runs_by_themselves: int
    run: str
    """State of the run that was asked for by hand."""
    reason: str
    champion: float | None
    """Agreement with the teacher on held-out messages, of the student that it was; None: nobody took over."""
    promoted: float | None
    """The same of the student that took over."""
    worse_p: float | None
    """Mid-p value of McNemar's test against "not worse"."""
    counted: list[Claim]

    @property
    def worse(self) -> bool:
        """Whether the student that took over is worse: shown to be at 5 %, or by more points than the gates allow."""
        if self.promoted is None or self.champion is None or self.worse_p is None:
            return False
        return self.worse_p <= _WORSE_P or self.champion - self.promoted > _MARGIN

    def describe(self) -> str:
        """One line."""
        if self.promoted is None or self.champion is None:
            verdict = f"{self.run}: {self.reason[:90]}"
        else:
            verdict = f"promoted, agreement on held-out messages {self.champion:.1%} -> {self.promoted:.1%}"
        return f"{self.exchanges:,} exchanges, {self.failures} failed, {self.alarms} alarms; run by hand {verdict}"


def run_stationary(
    document: dict[str, Any],
    task: str,
    sent: Sequence[Message],
    held: Sequence[Message],
    folder: Path,
    *,
    seed: int,
    exchanges: int,
    per_second: float,
    console: Console,
) -> Stationary:
    """Run one house: `exchanges` of the messages to be `sent`, then a run, judged on those `held` out."""
    with run_house(document, folder) as house:
        settings = load_settings(house.config)
        watcher = Watcher(settings, task, Traffic(), Timeline("no shift"))
        by_themselves = asyncio.run(_play(house, watcher, sent, seed, exchanges, per_second, console))
        counted = count_claims(settings, watcher)
    watcher.ledger.close()
    asked = watcher.run
    champion, promoted, worse_p = _compare(settings, watcher, held)
    return Stationary(
        seed=seed,
        exchanges=watcher.traffic.sent,
        failures=len(watcher.traffic.failures),
        alarms=len(watcher.alarms),
        runs_by_themselves=by_themselves,
        run=asked.state.value if asked else "none",
        reason=asked.reason if asked else "",
        champion=champion,
        promoted=promoted,
        worse_p=worse_p,
        counted=counted,
    )


async def _play(
    house: House,
    watcher: Watcher,
    sent: Sequence[Message],
    seed: int,
    exchanges: int,
    per_second: float,
    console: Console,
) -> int:
    """Serve; ask for a run; serve until it ends. Returns how many runs had started by themselves."""
    stop, traffic = asyncio.Event(), watcher.traffic
    await asyncio.to_thread(house.wait_for, "has taken over", _TAKES_OVER_SECONDS)
    watching = asyncio.create_task(watcher.watch(stop))
    sender = Sender(house.base_url, watcher.task, traffic, per_second=per_second)
    messages = endless(sent, seed)
    await send_until(sender, messages, lambda: traffic.sent >= exchanges)
    by_themselves = len(watcher.runs)
    await asyncio.to_thread(_ask_for_a_run, house.config, watcher.task)
    await send_until(
        sender,
        messages,
        lambda: len(watcher.runs) > by_themselves and not _running(watcher),
        seconds=_RUN_SECONDS,
    )
    console.print(describe(watcher))
    stop.set()
    await watching
    await sender.close()
    return by_themselves


def _running(watcher: Watcher) -> bool:
    return any(run.state is RunState.RUNNING for run in watcher.runs.values())


def _ask_for_a_run(config: Path, task: str) -> None:
    command = ["-m", "tutelage", "runs", "--start", "--task", task, "--config", str(config)]
    subprocess.run([sys.executable, *command], check=True, capture_output=True)


def _compare(
    settings: Settings, watcher: Watcher, held: Sequence[Message]
) -> tuple[float | None, float | None, float | None]:
    """Whoever took over, beside whom it replaced, on held-out messages that nobody was taught or asked about."""
    run = watcher.promoted
    if run is None:
        return None, None, None
    texts = [message.text for message in held]
    answers = ask_teacher(settings, watcher.task, texts)
    agrees = []
    for version in (run.champion, run.candidate):
        student = load_student(settings.students_folder / watcher.task / version)
        predicted = student.predict(texts).probabilities.argmax(axis=1)
        agrees.append([student.labels.names[at] == answers[text] for at, text in zip(predicted, texts, strict=True)])
    before, after = agrees
    gains = sum(new and not old for old, new in zip(before, after, strict=True))
    losses = sum(old and not new for old, new in zip(before, after, strict=True))
    return sum(before) / len(texts), sum(after) / len(texts), midp_worse(gains, losses)
