"""Watching a house while traffic flows: agreements from the monitor, events from the ledger."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

from benchmarks._house import read_metrics
from benchmarks._timeline import Estimate, Event, Point, Timeline
from benchmarks._traffic import Traffic
from core.ledger import Alarm, Ledger, Run, RunState
from core.settings import Settings

_PREFIX = "tutelage_monitor_"


@dataclass(slots=True)
class Watcher:
    """Looks once a second and keeps a timeline."""

    settings: Settings
    task: str
    traffic: Traffic
    timeline: Timeline
    ledger: Ledger = field(init=False)
    alarms: dict[str, Alarm] = field(default_factory=dict)
    """Every alarm that was seen, by id, as it was seen last."""
    runs: dict[str, Run] = field(default_factory=dict)
    _champion: str = ""

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.settings.ledger_url)

    @property
    def promoted(self) -> Run | None:
        """The first run that promoted its candidate."""
        return next((run for run in self.runs.values() if run.state is RunState.PROMOTED), None)

    @property
    def has_data(self) -> bool:
        """Whether a run has gathered what its candidate learns from, or has ended."""
        return any("data" in run.record or run.state is not RunState.RUNNING for run in self.runs.values())

    def alarm_since(self, at: float) -> Alarm | None:
        """The first alarm from then on (seconds since the epoch) that asks for a better student."""
        asking = [alarm for alarm in self.alarms.values() if alarm.retrain and alarm.opened >= at]
        return min(asking, key=lambda alarm: alarm.opened, default=None)

    def alarms_before(self, at: float) -> list[Alarm]:
        """All alarms that were opened before then."""
        return [alarm for alarm in self.alarms.values() if alarm.opened < at]

    @property
    def run(self) -> Run | None:
        """The newest run."""
        return max(self.runs.values(), key=lambda run: run.started, default=None)

    @property
    def champion(self) -> str:
        """The version that serves."""
        return self._champion

    def note(self, kind: str, text: str) -> None:
        """Write down an event of the benchmark's own."""
        self.timeline.events.append(Event(self.traffic.sent, kind, text))

    async def watch(self, stop: asyncio.Event) -> None:
        """Look again and again until `stop` is set."""
        while not stop.is_set():
            await asyncio.to_thread(self.look)
            await asyncio.sleep(1.0)

    def look(self) -> None:
        """Look once."""
        monitor, gateway = self.settings.monitor, self.settings.gateway
        seen = read_metrics(f"http://{monitor.host}:{monitor.port}/metrics")
        house = read_metrics(f"http://{gateway.host}:{gateway.port}/metrics")
        trusted = sum(house.get("tutelage_gateway_trusted_classes", {}).values())
        version = self._version(seen)
        self.timeline.points.append(
            Point(
                exchanges=self.traffic.sent,
                student=_estimate(seen, "student"),
                served=_estimate(seen, "served"),
                trusted=trusted / len(self.settings.task(self.task).labels),
                version=version,
            )
        )
        self._note_ledger()
        if version and version != self._champion:
            if self._champion:
                self.note("swap", f"version {version} takes over")
            self._champion = version

    def _version(self, seen: dict[str, dict[str, float]]) -> str:
        for labels in seen.get(f"{_PREFIX}baseline", {}):
            return labels.partition('version="')[2].partition('"')[0]
        return ""

    def _note_ledger(self) -> None:
        for alarm in self.ledger.alarms.newest(self.task, limit=20):
            known = self.alarms.get(alarm.id)
            if known is None:
                self.note("alarm", f"alarm: {alarm.signal}, {len(alarm.labels)} classes named")
            elif known.state is not alarm.state:
                self.note("resolved", f"alarm {alarm.state}")
            self.alarms[alarm.id] = alarm
        for run in self.ledger.runs.newest(self.task, limit=20):
            before = self.runs.get(run.id)
            if before is None:
                self.note("run", "a run begins")
            elif before.state is not run.state:
                self.note("refused" if run.state is not RunState.PROMOTED else "run", f"run {run.state}")
            self.runs[run.id] = run


def _estimate(seen: dict[str, dict[str, float]], estimand: str) -> Estimate | None:
    """The recent agreement with its interval; None where nothing is known."""
    values = [_value(seen, f"{_PREFIX}agreement{end}", estimand) for end in ("", "_lower", "_upper")]
    if any(math.isnan(value) for value in values):
        return None
    return Estimate(*values)


def _value(seen: dict[str, dict[str, float]], name: str, estimand: str) -> float:
    for labels, value in seen.get(name, {}).items():
        if f'estimand="{estimand}"' in labels and 'span="recent"' in labels:
            return value
    return math.nan
