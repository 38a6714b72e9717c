"""The trainer role: alarms become runs, runs become better students, as a process of its own.

Needs the ledger, the archive and the registry, and no Redis. It works at low priority, one run after another; a trial
that waits for traffic holds nobody up.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Final

import httpx
import msgspec
import structlog

from core.archive import Archive
from core.errors import RegistryError
from core.ledger import Ledger
from core.role import run_role
from core.settings import Settings, load_settings
from training.runs import RunContext, Runner
from training.trainer import Serving, Trainer
from training.workflow import open_registry

_POLL_SECONDS: Final = 2.0
_ASK_SECONDS: Final = 2.0
_NICE: Final = 10
"""Gateway and student answer people; the trainer takes what they leave."""

_log = structlog.get_logger("tutelage.trainer")


class _StopError(SystemExit):
    """SIGTERM or SIGINT: whatever step is under way is dropped, since it can be begun again.

    A SystemExit, since asyncio keeps other exceptions that a signal raises in its midst for itself.
    """


class _Models(msgspec.Struct):
    class Model(msgspec.Struct):
        class Versions(msgspec.Struct):
            champion: str | None = None

        id: str
        tutelage: Versions

    data: list[Model]


def asks_server(settings: Settings) -> Serving:
    """Ask the student server which champion it has loaded."""

    def serving(task: str) -> str | None:
        try:
            response = httpx.get(f"{settings.student.base_url}/v1/models", timeout=_ASK_SECONDS)
            models = msgspec.json.decode(response.content, type=_Models).data
        except (httpx.HTTPError, msgspec.DecodeError):
            return None
        return next((model.tutelage.champion for model in models if model.id == task), None)

    return serving


def train_until_stopped(settings: Settings, poll_seconds: float = _POLL_SECONDS) -> None:
    """Work until SIGTERM or SIGINT; a run that is under way is given back, for the next trainer to go on with."""
    stopped = threading.Event()
    ledger = Ledger(settings.ledger_url)
    trainer: Trainer | None = None

    def stop(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        if not stopped.is_set():
            stopped.set()
            raise _StopError

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stop)
    try:
        ledger.migrate()
        while trainer is None and not stopped.is_set():
            trainer = _open(settings, ledger)
            if trainer is None:
                stopped.wait(poll_seconds)
        _log.info("trainer_started", tasks=list(settings.tasks))
        # The exception ends a step that is under way. Where it falls into a finaliser, Python drops it: hence the flag.
        while trainer is not None and not stopped.is_set():
            trainer.tick()
            stopped.wait(poll_seconds)
    except _StopError:
        _log.debug("trainer_interrupted")
    finally:
        if stopped.is_set() and trainer is not None:
            trainer.release()
        ledger.close()


def _open(settings: Settings, ledger: Ledger) -> Trainer | None:
    """The trainer, once the registry can be opened."""
    try:
        registry = open_registry(settings)
    except RegistryError as error:
        _log.error("registry_away", error=error.message, hint="trying again")
        return None
    context = RunContext(settings, ledger, registry, Archive(settings.archive_url, ledger))
    return Trainer(context, Runner(context), asks_server(settings))


def _work(config: Path) -> None:
    os.nice(_NICE)
    train_until_stopped(load_settings(config))


def main() -> int:
    """Entry point of `python -m training.serve`."""
    return run_role("trainer", "training.serve", __doc__, _work)


if __name__ == "__main__":
    raise SystemExit(main())
