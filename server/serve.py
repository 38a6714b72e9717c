"""Start the student server.

python -m server.serve --config tutelage.yaml            the champions and challengers of all tasks
python -m server.serve --model NAME=FOLDER --port 8082   one folder, whatever its architecture (e.g. a teacher)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
import uvicorn

from core.errors import ModelFolderError, StartupError, TutelageError
from core.settings import Settings, load_settings
from core.telemetry import configure_logging
from core.templates import compile_template
from server.app import StudentApp
from server.batching import Limits
from server.metrics import StudentMetrics
from server.versions import CHAMPION, ServedTask, Versions

if TYPE_CHECKING:
    from server.templates_watch import TemplatesWatch

_BACKLOG: Final = 2048
_MAX_BODY_BYTES: Final = 4 * 1024 * 1024
_FIXED_VERSION: Final = "fixed"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Plan:
    """What one server process is to do."""

    host: str
    port: int
    limits: Limits
    max_body_bytes: int
    tasks: tuple[ServedTask, ...]
    settings: Settings | None = None
    """Registry mode: follow the registry as these say."""
    folder: Path | None = None
    """Fixed mode: serve this folder as the only task."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until it is told to stop; return the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging("student")
    try:
        plan = _plan(options)
        listener = bind(plan.host, plan.port)
        with listener, asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(plan, listener))
    except TutelageError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


async def serve(plan: Plan, listener: socket.socket) -> None:
    """Serve on `listener` until SIGTERM or SIGINT; then finish what is under way.

    Raises StartupError where a fixed folder cannot be loaded.
    """
    metrics = StudentMetrics()
    versions = Versions(plan.tasks, plan.limits, metrics)
    followers: list[asyncio.Task[None]] = []
    try:
        if plan.folder is not None:
            await _install_fixed(versions, plan.tasks[0].name, plan.folder)
        if plan.settings is not None:
            watch = _registry_watch(plan.settings, versions, metrics)
            await watch.restore()
            templates = _templates_watch(plan.settings, versions)
            await templates.poll()
            followers = [asyncio.create_task(watch.run()), asyncio.create_task(templates.run())]
        app = StudentApp(versions, metrics, plan.max_body_bytes)
        server = _Server(_uvicorn_config(app, plan.limits))
        host, port = listener.getsockname()[:2]
        _log.info("student server listens", url=f"http://{host}:{port}/v1", tasks=[task.name for task in plan.tasks])
        await server.serve(sockets=[listener])
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        await versions.close()
        _log.info("student server stopped")


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises StartupError, in one line, where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartupError(
            f"the student server cannot listen on {host}:{port} ({error.strerror}); stop what uses it, or choose "
            "another port with student.port or --port"
        ) from error
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    """uvicorn, but a signal ends `serve` alone: what was loaded is drained before the process goes."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)


def _uvicorn_config(app: StudentApp, limits: Limits) -> uvicorn.Config:
    application: Any = app  # uvicorn's own types of ASGI are narrower than ASGI
    return uvicorn.Config(
        application,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(limits.drain_seconds)),
    )


async def _install_fixed(versions: Versions, task: str, folder: Path) -> None:
    try:
        await versions.install(task, CHAMPION, _FIXED_VERSION, folder)
    except ModelFolderError as error:
        raise StartupError(f"cannot serve {task!r}: {error.message}") from error


def _registry_watch(settings: Settings, versions: Versions, metrics: StudentMetrics) -> Any:
    from core.registry import Registry
    from server.pointer import Pointers
    from server.registry_watch import RegistryWatch

    def open_registry() -> Registry:
        return Registry(settings.registry_url, settings.state / "artifacts")

    pointers = Pointers(settings.students_folder)
    return RegistryWatch(open_registry, versions, pointers, metrics, settings.student.poll_seconds)


def _templates_watch(settings: Settings, versions: Versions) -> TemplatesWatch:
    from core.accepted_templates import TaskTemplates
    from core.ledger import Ledger
    from server.templates_watch import TemplatesWatch

    templates = TaskTemplates(settings.tasks, Ledger(settings.ledger_url), settings.templates_file)
    return TemplatesWatch(templates, versions, settings.student.poll_seconds)


def _plan(options: argparse.Namespace) -> Plan:
    if options.model is not None:
        name, _, folder = options.model.partition("=")
        if not name or not folder:
            raise StartupError("--model takes NAME=FOLDER, for example --model intents=./student")
        task = ServedTask(name, (compile_template("default", [("user", "{text}")]),))
        host, port = options.host or "127.0.0.1", 8081 if options.port is None else options.port
        return Plan(host, port, Limits(), _MAX_BODY_BYTES, (task,), folder=Path(folder))
    settings = load_settings(options.config)
    student = settings.student
    names = options.task or list(settings.tasks)
    return Plan(
        host=options.host or student.host,
        port=student.port if options.port is None else options.port,
        limits=Limits(max_batch=student.max_batch, max_queue=student.max_queue),
        max_body_bytes=settings.gateway.max_body_bytes,
        tasks=tuple(_served_task(settings, name) for name in names),
        settings=settings,
    )


def _served_task(settings: Settings, name: str) -> ServedTask:
    task = settings.task(name)
    return ServedTask(name, task.compiled_templates(), task.label_set(), tuple(task.aliases))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m server.serve", description="Serve students over OpenAI's API.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", type=Path, help="settings file: serve the students that its registry names")
    what.add_argument("--model", metavar="NAME=FOLDER", help="serve this one folder under this name")
    parser.add_argument("--task", action="append", metavar="NAME", help="with --config: only this task (repeatable)")
    parser.add_argument("--host", help="address to bind")
    parser.add_argument("--port", type=int, help="port to bind; 0 takes a free one")
    return parser


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
