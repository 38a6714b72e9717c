"""Whom a request addresses: a task, by its name or an alias, or a model of the default upstream.

Everything that the request path needs of it is computed beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

from core.errors import ModelNotFoundError
from core.labels import LabelSet
from core.prices import Price, price_of, price_of_model
from core.privacy import Privacy
from core.records import Usage
from core.settings import PASSTHROUGH, PassthroughSettings, PrivacySettings, TaskSettings
from core.templates import Template
from router.policy import UNLIMITED, Fallback
from router.sampling import Sampler
from router.templates import Unmatched
from router.upstream import FallbackBudget, Upstream

_SHOWN_CHARACTERS: Final = 80
_MAX_PRICES: Final = 1000


class Target:
    """What a request is for: who can answer it, what it costs, and what may be stored of it."""

    name: str
    teacher: Upstream
    privacy: Privacy
    labels: LabelSet | None = None
    chooses = False
    """The teacher is asked for the number of a label, rather than shown the client's request."""

    def speaks(self, dialect: str) -> bool:  # noqa: ARG002  # whoever says nothing of it speaks all
        """Whether the upstream serves the address of this dialect."""
        return True

    def upstream_model(self, model: str) -> str:
        """What the upstream calls the model that a client asked for."""
        raise NotImplementedError

    def cost(self, usage: Usage, model: str) -> float:
        """Dollars of an answer of the upstream's model; 0 where nobody knows its price."""
        raise NotImplementedError

    def label_of(self, output: str | None) -> str | None:
        """The label that an answer means; None where it is none."""
        return self.labels.match(output) if self.labels is not None else None


class Task(Target):
    """One task, ready to answer for."""

    def __init__(
        self,
        name: str,
        settings: TaskSettings,
        teacher: Upstream,
        privacy: Privacy,
        sampler: Sampler | None = None,
        budget: FallbackBudget | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.teacher = teacher
        self.privacy = privacy
        self.labels: LabelSet = settings.label_set()
        self.templates: tuple[Template, ...] = settings.compiled_templates()
        """Replaced as a whole when another is accepted."""
        self.unmatched = Unmatched()
        self.sampler = sampler
        self.budget = budget
        """What falling back may cost; None: no limit."""
        self.fallback: Fallback = UNLIMITED if budget is None else budget
        self.chooses = settings.teacher.ask == "choose"
        self._price: Price | None = price_of(settings.teacher)

    def speaks(self, dialect: str) -> bool:
        """Whether the teacher serves the address of this dialect."""
        return self.settings.teacher.speaks(dialect)

    def upstream_model(self, model: str) -> str:  # noqa: ARG002  # a task has one teacher
        """The teacher's name, whatever the client calls the task."""
        return self.settings.teacher.model

    def cost(self, usage: Usage, model: str) -> float:  # noqa: ARG002
        """Dollars of a teacher's answer; 0 where nobody knows its price."""
        return self._price.cost(usage.prompt_tokens, usage.completion_tokens) if self._price is not None else 0.0


class Passthrough(Target):
    """The default upstream: models that are no task go there under their own names. Nothing of them is stored."""

    name = PASSTHROUGH

    def __init__(self, settings: PassthroughSettings, upstream: Upstream) -> None:
        self.settings = settings
        self.teacher = upstream
        self.privacy = Privacy(PrivacySettings(store="none"), b"")
        self._prices: dict[str, Price | None] = {"": price_of_model("", settings)}  # loads the table, before serving

    def serves(self, model: str) -> bool:
        """Whether the model may be asked for here."""
        return any(fnmatchcase(model, pattern) for pattern in self.settings.models)

    def upstream_model(self, model: str) -> str:
        """The name that the client gave."""
        return model

    def cost(self, usage: Usage, model: str) -> float:
        """Dollars at the configured prices, else at those that are known of the model; 0 where there are none."""
        if model not in self._prices:
            if len(self._prices) >= _MAX_PRICES:
                self._prices.clear()
            self._prices[model] = price_of_model(model, self.settings)
        price = self._prices[model]
        return price.cost(usage.prompt_tokens, usage.completion_tokens) if price is not None else 0.0


class Targets:
    """Everything that can be asked for, by every name under which a client may do so."""

    def __init__(self, tasks: Mapping[str, Task], passthrough: Passthrough | None) -> None:
        self.tasks = dict(tasks)
        self.passthrough = passthrough
        aliases = ((alias, task) for task in self.tasks.values() for alias in task.settings.aliases)
        self._addresses: dict[str, Task] = {**self.tasks, **dict(aliases)}

    @property
    def names(self) -> tuple[str, ...]:
        """Names and aliases of the tasks, as `/v1/models` lists them."""
        return tuple(self._addresses)

    def resolve(self, model: str) -> Task | Passthrough:
        """Return what `model` addresses. Raises ModelNotFoundError."""
        task = self._addresses.get(model)
        if task is not None:
            return task
        if self.passthrough is not None and self.passthrough.serves(model):
            return self.passthrough
        raise _unknown(model, self._addresses)

    def task(self, model: str) -> Task:
        """Return the task that `model` addresses. Raises ModelNotFoundError."""
        task = self._addresses.get(model)
        if task is None:
            raise _unknown(model, self._addresses)
        return task

    async def close(self) -> None:
        """Close the upstreams' connections."""
        for target in (*self.tasks.values(), self.passthrough):
            if target is not None:
                await target.teacher.close()


def _unknown(model: str, addresses: Mapping[str, Task]) -> ModelNotFoundError:
    shown = model if len(model) <= _SHOWN_CHARACTERS else model[:_SHOWN_CHARACTERS] + "…"
    known = ", ".join(sorted(addresses)[:10])
    return ModelNotFoundError(f"the model {shown!r} does not exist; this gateway serves {known}", param="model")
