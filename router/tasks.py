"""The tasks as the request path needs them: resolved by name or alias, with everything computed beforehand."""

from __future__ import annotations

from core.errors import ModelNotFoundError
from core.labels import LabelSet
from core.prices import Price, price_of
from core.records import Usage
from core.settings import Settings, TaskSettings
from router.teacher import TeacherClient


class Task:
    """One task, ready to answer for."""

    def __init__(self, name: str, settings: TaskSettings) -> None:
        self.name = name
        self.settings = settings
        self.labels: LabelSet = settings.label_set()
        self.templates = settings.compiled_templates()
        self.teacher = TeacherClient(settings.teacher)
        self._price: Price | None = price_of(settings.teacher)

    def cost(self, usage: Usage) -> float:
        """Dollars of a teacher's answer; 0 where nobody knows its price."""
        return self._price.cost(usage.prompt_tokens, usage.completion_tokens) if self._price is not None else 0.0


class Tasks:
    """All tasks, by every name under which a client may ask for them."""

    def __init__(self, settings: Settings) -> None:
        self.by_name = {name: Task(name, task) for name, task in settings.tasks.items()}
        aliases = ((alias, task) for task in self.by_name.values() for alias in task.settings.aliases)
        self._addresses: dict[str, Task] = {**self.by_name, **dict(aliases)}

    @property
    def names(self) -> tuple[str, ...]:
        """Names and aliases, as `/v1/models` lists them."""
        return tuple(self._addresses)

    def resolve(self, model: str) -> Task:
        """Return the task that `model` addresses. Raises ModelNotFoundError."""
        task = self._addresses.get(model)
        if task is None:
            shown = model if len(model) <= 80 else model[:80] + "…"
            known = ", ".join(sorted(self._addresses)[:10])
            raise ModelNotFoundError(f"the model {shown!r} does not exist; this gateway serves {known}", param="model")
        return task

    async def close(self) -> None:
        """Close the teachers' connections."""
        for task in self.by_name.values():
            await task.teacher.close()
