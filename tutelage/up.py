"""`tutelage up`: every role on this machine, ready as soon as somebody can answer."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
from rich.console import Console

from core.errors import StartupError, TutelageError
from core.redis_server import answers_ping, redis_command
from core.settings import Settings, TeacherSettings
from tutelage import screen
from tutelage.preflight import check
from tutelage.stages import run_stages
from tutelage.supervisor import Role, Supervisor, python

_REDIS_SECONDS = 20.0
_ROLE_SECONDS = 60.0
_READY_SECONDS = 300.0


class _Readyz(msgspec.Struct):
    tasks: dict[str, str | None]


class _Champions(msgspec.Struct):
    class Model(msgspec.Struct):
        class Versions(msgspec.Struct):
            champion: str | None = None

        id: str
        tutelage: Versions

    data: list[Model]


class Up:
    """Everything on one machine, from the first process to the last."""

    def __init__(self, config: Path, settings: Settings, console: Console) -> None:
        self._config = config
        self._settings = settings
        self._console = console
        self._logs = settings.state / "logs"
        self._supervisor = Supervisor(self._logs)
        self._client = httpx.AsyncClient(timeout=2.0)
        self._address = f"http://{settings.gateway.host}:{settings.gateway.port}/v1"

    async def run(self) -> None:
        """Start everything and stay until Ctrl-C or SIGTERM. Raises TutelageError where something cannot start."""
        stopped = asyncio.Event()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
        work = asyncio.create_task(self._work())
        waiting = asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                await waiting
            self._console.print("\nStopping …")
        finally:
            for task in (work, waiting):
                task.cancel()
            await asyncio.gather(work, waiting, return_exceptions=True)
            await self._supervisor.stop()
            await self._client.aclose()
        self._console.print("Stopped. Nothing is lost: the next start goes on from here.")

    async def _work(self) -> None:
        started = time.monotonic()
        screen.greet(self._console, self._settings, self._config)
        check(self._settings)
        if self._settings.redis.url is None:
            await self._supervisor.start(self._redis(), patience=_REDIS_SECONDS)
        teachers = asyncio.create_task(self._start_teachers())
        try:
            starting = (self._supervisor.start(role, patience=_ROLE_SECONDS) for role in self._roles())
            await asyncio.gather(*starting)
            answering = await self._until_ready(teachers)
            screen.show_ready(self._console, self._settings, self._address, time.monotonic() - started, answering)
            await teachers
            for role in self._watchers():
                await self._supervisor.start(role, patience=_ROLE_SECONDS)
            await self._teach_first_students()
        finally:
            teachers.cancel()
            await asyncio.gather(teachers, return_exceptions=True)

    def _redis(self) -> Role:
        folder, port = self._settings.state / "redis", self._settings.redis.port
        folder.mkdir(parents=True, exist_ok=True)
        command = tuple(redis_command(folder, port))
        return Role("redis", command, lambda: asyncio.to_thread(answers_ping, port))

    def _roles(self) -> list[Role]:
        config = ("--config", str(self._config))
        student = self._settings.student.base_url
        return [
            Role("student", python("server.serve", *config), self._answers(f"{student}/healthz")),
            Role("archiver", python("tutelage.archiver", *config), _at_once),
            Role("gateway", python("router.serve", *config), self._answers(f"{self._address[:-3]}/healthz")),
        ]

    def _watchers(self) -> list[Role]:
        """The roles that watch, prove and reteach. Nobody waits for them to be answered."""
        config = ("--config", str(self._config))
        shadow, monitor = self._settings.shadow, self._settings.monitor
        return [
            Role(
                "shadow",
                python("router.shadow.serve", *config),
                self._answers(f"http://{shadow.host}:{shadow.port}/healthz"),
            ),
            Role(
                "monitor",
                python("monitoring.serve", *config),
                self._answers(f"http://{monitor.host}:{monitor.port}/healthz"),
            ),
            Role("trainer", python("training.serve", *config), _at_once),
        ]

    async def _start_teachers(self) -> None:
        """Fit, where they are not there yet, and serve the teachers that Tutelage makes itself."""
        with screen.Bar(self._console) as bar:
            for name, task in self._settings.tasks.items():
                if task.teacher.linear_probe is not None:
                    command = python("training.fit_teacher", "--config", str(self._config), "--task", name)
                    folder = await run_stages(command, self._logs / "fit-teacher.log", bar.show)
                    await self._supervisor.start(self._teacher(name, task.teacher, folder), patience=_ROLE_SECONDS)

    def _teacher(self, task: str, teacher: TeacherSettings, folder: str) -> Role:
        address = urlsplit(teacher.base_url)
        where = ("--host", address.hostname or "127.0.0.1", "--port", str(address.port or 80))
        command = python("server.serve", "--model", f"{teacher.model}={folder}", *where)
        return Role(f"teacher-{task}", command, self._answers(f"http://{address.netloc}/readyz"))

    async def _until_ready(self, teachers: asyncio.Task[None]) -> dict[str, str]:
        """Wait until every task can be answered by somebody."""
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if teachers.done():
                teachers.result()  # raises what went wrong
            with contextlib.suppress(httpx.HTTPError, msgspec.DecodeError):
                response = await self._client.get(f"{self._address[:-3]}/readyz")
                if response.status_code == 200:
                    answering = msgspec.json.decode(response.content, type=_Readyz).tasks
                    if all(answering.values()):
                        return {task: by for task, by in answering.items() if by is not None}
            await asyncio.sleep(0.1)
        raise StartupError("no teacher and no student answers; is teacher.base_url right, and its key set?")

    async def _teach_first_students(self) -> None:
        for name in await self._without_champion():
            self._console.print(
                f"\n[bold]{name}[/bold] has no student yet: one is distilled while the teacher answers."
            )
            command = python("training.first_student", "--config", str(self._config), "--task", name)
            try:
                with screen.Bar(self._console) as bar:
                    message = await run_stages(command, self._logs / "first-student.log", bar.show)
            except TutelageError as error:
                self._console.print(f"[yellow]No student for {name}:[/yellow] {error.message}")
                continue
            self._console.print(f"[green]{message}[/green]", highlight=False)
            await self._tell_take_over(name)

    async def _tell_take_over(self, task: str) -> None:
        """Say so when the gateway answers by the new student."""
        deadline = time.monotonic() + _ROLE_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError, msgspec.DecodeError):
                response = await self._client.get(f"{self._address[:-3]}/readyz")
                if msgspec.json.decode(response.content, type=_Readyz).tasks.get(task) == "student":
                    self._console.print(f"[bold green]The student of {task} has taken over.[/bold green]\n")
                    return
            await asyncio.sleep(0.2)
        self._console.print(f"The student of {task} is registered, but not trusted yet: the teacher answers.\n")

    async def _without_champion(self) -> list[str]:
        """Tasks that have prompts to distil from, and no champion."""
        response = await self._client.get(f"{self._settings.student.base_url}/v1/models")
        served = msgspec.json.decode(response.content, type=_Champions).data
        champions = {model.id for model in served if model.tutelage.champion is not None}
        return [name for name, task in self._settings.tasks.items() if task.data.prompts and name not in champions]

    def _answers(self, url: str) -> Callable[[], Awaitable[bool]]:
        async def ready() -> bool:
            try:
                return (await self._client.get(url)).status_code == 200
            except httpx.HTTPError:
                return False

        return ready


async def _at_once() -> bool:
    return True
