"""Recording: every exchange goes to the local log before its answer's last byte goes out."""

from __future__ import annotations

import structlog

from core.locallog import LogWriter
from core.records import Answerer, Exchange, Feedback, encode
from router.metrics import Metrics

_log = structlog.get_logger(__name__)


class Recorder:
    """Writes records to this worker's local log and counts them.

    A record that the log cannot take (disk full, log at its bound) is dropped, counted and said once: a client must not
    lose its answer for the sake of our books.
    """

    def __init__(self, log: LogWriter, metrics: Metrics) -> None:
        self._writer = log
        self._metrics = metrics
        self._dropping = False

    def exchange(self, record: Exchange) -> None:
        """Record a finished exchange."""
        self._append(record)
        self._metrics.exchange(record)

    def stream_began(self, task: str, seconds: float) -> None:
        """Count a stream whose first event went out `seconds` after the request came."""
        self._metrics.stream(task, Answerer.TEACHER).began(seconds)

    def stream_broken(self, task: str, *, by_client: bool) -> None:
        """Count a stream that did not reach its end."""
        tally = self._metrics.stream(task, Answerer.TEACHER)
        if by_client:
            tally.broken_by_client += 1
        else:
            tally.broken_by_upstream += 1

    def feedback(self, record: Feedback) -> bool:
        """Record feedback; False where it could not be taken, so that the client hears of it."""
        taken = self._append(record)
        if taken:
            self._metrics.feedback(record.task)
        return taken

    def _append(self, record: Exchange | Feedback) -> bool:
        taken = self._writer.append(encode(record))
        if not taken:
            self._metrics.records_dropped.inc()
            if not self._dropping:
                _log.error("records_dropped", hint="the log is at log.max_bytes, or the disk at log.min_free_bytes")
        elif self._dropping:
            _log.info("records_taken_again")
        self._dropping = not taken
        return taken
