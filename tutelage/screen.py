"""What `tutelage up` shows."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax

from core.settings import Settings
from tutelage.stages import StageLine

_QUESTION = "My parcel is a week late"

_STAGES = {
    "fit": "Fitting the example's teacher",
    "label": "The teacher labels the prompts",
    "train": "The student learns",
    "calibrate": "The student is calibrated and judged",
    "register": "The student is registered",
}


class Bar:
    """A progress bar for the stages of one longer piece of work; plain lines where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._stage = ""
        self._bar: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, line: StageLine) -> None:
        """Draw how far a stage has come."""
        described = _STAGES.get(line.stage)
        if described is None:
            return
        if line.stage != self._stage:
            self._stage = line.stage
            self._bar = self._progress.add_task(described, total=line.total or None)
            if not self._console.is_terminal:
                self._console.print(f"  {described} …")
        if self._bar is not None:
            self._progress.update(self._bar, completed=line.done, total=line.total or None)


def greet(console: Console, settings: Settings, config: Path) -> None:
    """The first lines."""
    tasks = ", ".join(f"{name} ({len(task.labels)} labels)" for name, task in settings.tasks.items())
    console.print(f"\n[bold]Tutelage[/bold]   {tasks}", highlight=False)
    console.print(
        f"[dim]settings {_short(config)} · state {_short(settings.state)}[/dim]\n", highlight=False, soft_wrap=True
    )


def show_ready(console: Console, settings: Settings, address: str, seconds: float, answering: dict[str, str]) -> None:
    """Say where it is, who answers, and how to ask. The examples stand without a frame, to be copied."""
    task = next(iter(settings.tasks))
    who = ", ".join(f"{name} is answered by its {by}" for name, by in answering.items())
    console.print(
        f"[bold green]Ready[/bold green] after {seconds:.1f} s at [bold]{address}[/bold]   {who}\n", soft_wrap=True
    )
    for text, language in ((_curl(address, task), "bash"), (_python(address, task), "python")):
        console.print(Syntax(text, language, background_color="default", padding=(0, 2)), soft_wrap=True)
        console.print()
    base = address.removesuffix("/v1")
    console.print(f"[dim]models {address}/models · metrics {base}/metrics · Ctrl-C stops[/dim]", soft_wrap=True)


def _short(path: Path) -> str:
    """The path as seen from the working folder, where it lies below that."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _curl(address: str, task: str) -> str:
    return (
        f"curl -s {address}/chat/completions \\\n"
        "  -H 'content-type: application/json' \\\n"
        f"""  -d '{{"model": "{task}",\n"""
        f"""       "messages": [{{"role": "user", "content": "{_QUESTION}"}}]}}'"""
    )


def _python(address: str, task: str) -> str:
    return (
        "from openai import OpenAI\n"
        f'client = OpenAI(base_url="{address}", api_key="unused")\n'
        "answer = client.chat.completions.create(\n"
        f'    model="{task}",\n'
        f'    messages=[{{"role": "user", "content": "{_QUESTION}"}}],\n'
        ")\n"
        "print(answer.choices[0].message.content)"
    )
