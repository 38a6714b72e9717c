"""The monitor as a real process on one core; Redis, and what feeds it, on the other."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

import httpx
import psutil
import redis
import yaml

from benchmarks._gateway_peers import GATEWAY_CORE, LOAD_CORE, free_port
from benchmarks._gateway_process import move, pinned, wait_until_answers
from benchmarks._monitoring_feed import FLOOR, MIN_CONFIDENCE, Feed, class_names
from core.journal import START, stream_name
from core.ledger import Ledger
from core.ledger.snapshots import Snapshot
from core.records import Kind
from core.redis_server import start_redis
from core.settings import Settings, load_settings
from monitoring.snapshot import NAME, decode_state
from monitoring.state import TaskState

_MONITOR: Final = (sys.executable, "-m", "monitoring.serve", "--config")
_ARCHIVER: Final = (sys.executable, "-m", "tutelage.archiver", "--config")
_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_KINDS: Final = (Kind.EXCHANGE, Kind.COMPARISON)


class House:
    """A Redis, a ledger and a monitor's settings; the monitor is started, and killed, by whoever measures."""

    def __init__(
        self, folder: Path, redis_url: str, tasks: Mapping[str, int], snapshot_seconds: float, stream_bytes: int
    ) -> None:
        """`tasks`: the number of classes of each."""
        self.folder = folder
        self.log = folder / "monitor.log"
        self.port = free_port()
        self._config = folder / "tutelage.yaml"
        self._config.write_text(
            yaml.safe_dump(
                {
                    "state": str(folder / "state"),
                    "redis": {"url": redis_url, "stream_bytes": stream_bytes},
                    "monitor": {"port": self.port, "snapshot_seconds": snapshot_seconds},
                    "tasks": {name: _task(classes) for name, classes in tasks.items()},
                }
            ),
            encoding="utf-8",
        )
        self.settings: Settings = load_settings(self._config)
        self.settings.state.mkdir()
        self.ledger = Ledger(self.settings.ledger_url)
        self.ledger.migrate()
        self._redis = redis.Redis.from_url(redis_url)
        self._redis.config_set("appendonly", "no")  # whether Redis writes it all to disk is not what is measured

    @contextlib.contextmanager
    def monitor(self) -> Iterator[psutil.Process]:
        """A monitor at work; at the end it is asked to stop, and stores what it has read."""
        for task in self.settings.tasks:
            self._redis.delete(f"tutelage:lease:{NAME}:{task}")  # of one that was killed: do not wait until it ends
        with pinned((*_MONITOR, str(self._config)), GATEWAY_CORE, self.log, _ONE_THREAD) as process:
            wait_until_answers(f"http://127.0.0.1:{self.port}/healthz", process, self.log)
            yield process

    @contextlib.contextmanager
    def archiver(self) -> Iterator[psutil.Process]:
        """An archiver at work, which trims streams behind it that are larger than `stream_bytes`."""
        with pinned((*_ARCHIVER, str(self._config)), LOAD_CORE, self.folder / "archiver.log", _ONE_THREAD) as process:
            yield process

    def metrics(self) -> bytes:
        """What a scrape gets."""
        return httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=30.0).raise_for_status().content

    def snapshot(self, task: str) -> Snapshot | None:
        """The task's snapshot."""
        return self.ledger.snapshots.load(task, NAME)

    def state(self, task: str) -> TaskState:
        """The task's state, as it was stored last."""
        found = self.snapshot(task)
        return TaskState(task) if found is None else decode_state(found.state, task)

    def has_read(self, feed: Feed) -> bool:
        """Whether everything that was shipped is in a snapshot."""
        found = self.snapshot(feed.task)
        offsets = {} if found is None else found.position["offsets"]
        return all(offsets.get(stream, {}).get(feed.source, 0) >= end for stream, end in feed.ends.items())

    def trim(self, task: str, snapshot: Snapshot) -> None:
        """Remove from the journal what a monitor that begins from this snapshot does not read again."""
        for kind in _KINDS:
            stream = stream_name(task, kind)
            last = snapshot.position["entries"].get(stream, START)
            if last != START:
                self._redis.xtrim(stream, minid=last, approximate=False)

    def close(self) -> None:
        """Close ledger and connections."""
        self.ledger.close()
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def open_house(
    folder: Path, tasks: Mapping[str, int], snapshot_seconds: float, stream_bytes: int = 2**30
) -> Iterator[tuple[House, str]]:
    """A house with a Redis of its own below `folder`; and that Redis' URL."""
    folder.mkdir(parents=True)
    with start_redis(folder / "redis", free_port()) as server:
        move(psutil.Process(server.pid), LOAD_CORE)
        with House(folder, server.url, tasks, snapshot_seconds, stream_bytes) as house:
            yield house, server.url


def offset_read(snapshot: Snapshot | None, task: str, source: str) -> int:
    """The offset up to which a source's exchanges are read."""
    if snapshot is None:
        return 0
    return int(snapshot.position["offsets"].get(stream_name(task, Kind.EXCHANGE), {}).get(source, 0))


def _task(classes: int) -> dict[str, Any]:
    return {
        "labels": class_names(classes),
        "teacher": {"base_url": "http://127.0.0.1:9/v1", "model": "none", "data_may_leave": True},
        "shadow": {"floor": FLOOR},
        "trust": {"min_confidence": MIN_CONFIDENCE},
        # A window every six seconds, a hundred times as often as by default, so that Evidently is at work all along.
        "watch": {"golden_hours": None, "drift_window_minutes": 0.1, "drift_reference_hours": 0},
    }
