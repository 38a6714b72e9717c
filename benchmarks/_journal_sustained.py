"""The whole way at a steady rate: a writer on one core; shipper, Redis and archiver together on the other."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
import yaml

from benchmarks._gateway_peers import GATEWAY_CORE, LOAD_CORE, free_port
from benchmarks._gateway_process import ROOT, StartError, cpu_seconds, move, pinned
from benchmarks._journal_parts import TASK
from core import locallog
from core.archive import Archive
from core.ledger import Ledger
from core.redis_server import start_redis
from core.settings import Settings, load_settings

_START_SECONDS: Final = 30.0
_DRAIN_SECONDS: Final = 120.0
_SAMPLE_SECONDS: Final = 0.5


@dataclass(slots=True)
class Run:
    """What came of one rate."""

    rate: float
    seconds: float
    written: int = 0
    archived: int = 0
    distinct: int = 0
    behind: list[tuple[float, int]] = field(default_factory=list)
    """While it ran: seconds since its start, and records that were logged by then and not archived."""
    drained_seconds: float = 0.0
    """From the last record logged to the last one archived."""
    cpu_us: dict[str, float] = field(default_factory=dict)
    """CPU time a record, by process."""

    @property
    def lag_seconds(self) -> float:
        """How old the oldest record was that was not archived, at the worst moment of the second half."""
        late = [behind for at, behind in self.behind if at >= self.seconds / 2]
        return max(late, default=0) / self.rate


def sustain(folder: Path, rate: float, seconds: float) -> Run:
    """Log at `rate` records a second for so long, and see whether the archive keeps up. Raises StartError."""
    folder.mkdir(parents=True)
    run = Run(rate, seconds)
    with _house(folder) as (settings, archive, processes):
        flag = ("--config", str(folder / "tutelage.yaml"))
        options = ("--rate", str(rate), "--seconds", str(seconds))
        command = ("taskset", "-c", str(GATEWAY_CORE), sys.executable, "-m", "benchmarks._journal_role", "write")
        before = {name: cpu_seconds([process]) for name, process in processes.items()}
        with subprocess.Popen([*command, *flag, *options], cwd=ROOT, stdout=subprocess.PIPE) as writer:
            _wait_until(lambda: locallog.used_bytes(settings.log_folder) > 0, "nothing is logged")
            start = time.perf_counter()
            while writer.poll() is None:
                elapsed = time.perf_counter() - start
                run.behind.append((elapsed, int(min(elapsed, seconds) * rate) - archive.count(TASK)))
                time.sleep(_SAMPLE_SECONDS)
            if writer.stdout is not None:
                run.written = int(writer.stdout.read())
        ended = time.perf_counter()
        _wait_until(lambda: archive.count(TASK) >= run.written, "it is not archived", _DRAIN_SECONDS)
        run.drained_seconds = time.perf_counter() - ended
        for name, process in processes.items():
            run.cpu_us[name] = (cpu_seconds([process]) - before[name]) / run.written * 1e6
        found = archive.query("SELECT count(*) AS n, count(DISTINCT (log_source, log_offset)) AS d FROM records", TASK)
        run.archived, run.distinct = (int(found.column(name)[0].as_py()) for name in ("n", "d"))
    return run


@contextlib.contextmanager
def _house(folder: Path) -> Iterator[tuple[Settings, Archive, dict[str, psutil.Process]]]:
    """Redis, shipper and archiver, on one core."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(start_redis(folder / "redis", free_port()))
        redis = psutil.Process(server.pid)
        move(redis, LOAD_CORE)
        config = folder / "tutelage.yaml"
        config.write_text(yaml.safe_dump(_document(folder, server.url)), encoding="utf-8")
        settings = load_settings(config)
        settings.state.mkdir()
        ledger = Ledger(settings.ledger_url)
        stack.callback(ledger.close)
        ledger.migrate()
        processes = {"redis": redis}
        for name, module in (("shipper", ("benchmarks._journal_role", "ship")), ("archiver", ("tutelage.archiver",))):
            command = (sys.executable, "-m", *module, "--config", str(config))
            log = folder / f"{name}.log"
            processes[name] = stack.enter_context(pinned(command, LOAD_CORE, log))
        archiver_log = folder / "archiver.log"
        _wait_until(lambda: "journal_read_from_start" in archiver_log.read_text(), "the archiver does not start")
        yield settings, Archive(settings.archive_url, ledger), processes


def _document(folder: Path, redis_url: str) -> dict[str, object]:
    teacher = {"base_url": "http://127.0.0.1:9/v1", "model": "none"}
    return {
        "state": str(folder / "state"),
        "redis": {"url": redis_url},
        "tasks": {TASK: {"labels": ["a", "b"], "teacher": teacher}},
    }


def _wait_until(condition: Callable[[], bool], otherwise: str, seconds: float = _START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise StartError(f"{otherwise} after {seconds:g} s")
        time.sleep(0.05)
