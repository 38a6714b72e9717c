"""The task as a whole: what was read, what is open, and how fresh it is."""

from __future__ import annotations

from core.records import Answerer
from monitoring.exposition import Page
from monitoring.reader import TaskReader
from monitoring.signals import SIGNALS


def draw_task(page: Page, reader: TaskReader) -> None:
    """Counts of records, open alarms, and when the last of each came."""
    state = reader.state
    page.gauge("leading", "1 where this process watches the task.", reader.leading)
    for answerer in Answerer:
        page.counter(
            "exchanges_total",
            "Exchanges read, by who answered.",
            state.exchanges.get(answerer.value, 0),
            {"answered_by": answerer.value},
        )
    page.gauge(
        "teacher_share",
        "Share of the last 1000 to 2000 exchanges that the teacher answered.",
        state.traffic.teacher_share(),
    )
    counters = {
        "duplicates_total": ("Comparisons left out: the exchange had been compared already.", state.duplicates),
        "replayed_total": ("Records left out: they had been read before.", reader.intake.replayed),
        "unreadable_total": ("Records that could not be decoded.", reader.intake.unreadable),
        "archive_records_total": (
            "Records read in the archive, since the stream no longer held them.",
            reader.history.read,
        ),
        "lost_records_total": ("Records that neither stream nor archive held any more.", reader.history.lost),
        "conflicts_total": ("Snapshots not stored: another monitor had stored one.", reader.conflicts),
    }
    for name, (text, value) in counters.items():
        page.counter(name, text, value)
    for cause in SIGNALS:
        page.gauge("open_alarms", "Open alarms, by cause.", cause in reader.open_alarms, {"cause": cause})
    times = {
        "last_exchange_timestamp_seconds": ("When the newest exchange was answered.", state.last_exchange),
        "last_comparison_timestamp_seconds": ("When the newest comparison was made.", state.last_comparison),
        "snapshot_timestamp_seconds": ("When the statistics were last stored by this process.", reader.stored_at),
    }
    for name, (text, at) in times.items():
        page.gauge(name, text, at or None)
