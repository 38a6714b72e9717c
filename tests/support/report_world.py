"""Days of a task's traffic in a real archive, with what the monitor and the ledger say of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from core.archive import Archive, Row
from core.ids import mint
from core.journal import stream_name
from core.ledger import Alarm, Ledger, Move, Severity
from core.records import Answerer, Comparison, Exchange, Feedback, Kind, Record, Usage, kind_of
from core.settings import TaskSettings
from monitoring.rules import rules_of
from monitoring.snapshot import NAME, encode_state
from monitoring.state import TaskState
from tests.support.monitoring_world import LABELS, World, task_settings, trust_rows

MIDNIGHT = 1_749_945_600.0  # 2025-06-15
DAY = 86_400.0
SECRET = "what nobody may find in a report"


def priced_task(**watch) -> TaskSettings:
    settings = task_settings(**watch)
    teacher = settings.teacher.model_copy(update={"input_price": 2.0, "output_price": 8.0})
    return settings.model_copy(update={"teacher": teacher})


class ReportWorld:
    """Fills an archive, and shows the same records to a monitor's state."""

    def __init__(self, ledger: Ledger, archive: Archive, settings: TaskSettings | None = None) -> None:
        self.ledger, self.archive = ledger, archive
        self.settings = settings or priced_task()
        self.rules = rules_of(self.settings)
        self.state = TaskState("desk")
        self.offset = 0
        self.exchanges: list[Exchange] = []
        self.comparisons: list[Comparison] = []

    def day(self, number: int, count: int, *, world: World | None = None) -> None:
        """So many exchanges, evenly over the number-th day from 2025-06-15 on."""
        world = world or World(number)
        world.untrusted = {LABELS[7]}
        records: list[Record] = []
        for at in range(count):
            exchange, comparison = world.pair()
            time = MIDNIGHT + number * DAY + (at + 0.5) * DAY / count
            usage = Usage(100, 2) if exchange.answered_by is Answerer.STUDENT else Usage(150, 2)
            cost = 0.0 if exchange.answered_by is Answerer.STUDENT else 0.000316
            exchange = msgspec.structs.replace(
                exchange,
                at=time,
                usage=usage,
                cost_usd=cost,
                text=f"{SECRET} {at}",
                total_ms=4.0 if cost == 0 else 700.0,
            )
            records.append(exchange)
            self.exchanges.append(exchange)
            if comparison is not None:
                paid = 0.000316 if comparison.served_by is Answerer.STUDENT else 0.0
                comparison = msgspec.structs.replace(
                    comparison, at=time, compared_at=time + 1, text=SECRET, cost_usd=paid
                )
                records.append(comparison)
                self.comparisons.append(comparison)
        self.put(records)

    def feedback(self, exchanges: Iterable[Exchange], *, right: float = 0.9) -> None:
        """A client's word on each of these."""
        world = World(99)
        given: list[Record] = []
        for exchange in exchanges:
            label = exchange.label or ""
            truth = label if world.rng.random() < right else LABELS[(LABELS.index(label) + 1) % len(LABELS)]
            given.append(Feedback(mint("fb"), "desk", exchange.id, truth, exchange.at + 60, comment=SECRET))
        self.put(given)

    def put(self, records: Iterable[Record]) -> None:
        """Archive records, and let the monitor's state see them."""
        by_kind: dict[Kind, list[Row]] = {}
        for record in records:
            self.offset += 1
            by_kind.setdefault(kind_of(record), []).append(Row("log_a", self.offset, record))
            self._observe(record)
        for kind, rows in by_kind.items():
            stream = stream_name("desk", kind)
            before = self.ledger.archive_index.positions().get((stream, "log_a"), 0)
            assert self.archive.append(stream, rows, [Move(stream, "log_a", before, self.offset)], 10_000)

    def snapshot(self, at: float) -> None:
        """What the monitor would have stored."""
        known = self.ledger.snapshots.load("desk", NAME)
        after = 0 if known is None else known.revision
        state = encode_state(self.state)
        assert self.ledger.snapshots.save("desk", NAME, after=after, position={}, state=state, at=at)

    def alarm(self, opened: float, resolved: float | None = None, **changes) -> Alarm:
        """An alarm as the monitor writes one."""
        evidence: dict[str, Any] = {"what": "Student agreement fell.", "sure": "By chance once in a hundred."}
        evidence |= {"withdrawn": {"c1": {}}, "examples": [{"exchange": "ex_1", "text": SECRET}]}
        alarm = Alarm(
            mint("al"), "desk", "1", "student_agreement", "student_agreement", Severity.WARNING, opened, opened,
            opened, True, ("c1",), evidence, "ex_1",
        )  # fmt: skip
        alarm = self.ledger.alarms.raise_alarm(replace(alarm, **changes))
        if resolved is not None:
            assert self.ledger.alarms.resolve(alarm.id, SECRET, resolved)
        return alarm

    def _observe(self, record: Record) -> None:
        if isinstance(record, Feedback):
            return
        version = self.state.unknown_version(record)
        if version is not None:
            self.ledger.set_trust("desk", version, trust_rows(version))
            self.state.begin(version, self.rules, self.ledger.trust("desk", version))
        if isinstance(record, Exchange):
            self.state.observe_exchange(record, self.rules)
        else:
            self.state.observe(record, self.rules)
