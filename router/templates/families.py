"""What is kept of unmatched requests: plain records, in memory only."""

from __future__ import annotations

from typing import NamedTuple

from core.templates import Template
from router.templates.likeness import Messages


class Example(NamedTuple):
    """One request, kept in memory only."""

    messages: Messages
    exchange: str
    user: str


class Group:
    """Requests that are counted together: a shape, or the rest of a family."""

    __slots__ = ("examples", "first_seen", "last_seen", "requests", "template")

    def __init__(self, examples: list[Example], template: Template | None = None, at: float = 0.0) -> None:
        self.examples = examples
        self.template = template
        """What is suggested; None: too few different examples."""
        self.requests = 0
        """Since they were last taken."""
        self.first_seen = self.last_seen = at


class Family:
    """Requests with the same roles. Without roles: all those of which there are too many kinds."""

    __slots__ = ("rest", "roles", "shapes", "waiting")

    def __init__(self, roles: tuple[str, ...]) -> None:
        self.roles = roles
        self.shapes: list[Group] = []
        self.rest = Group([])
        self.waiting: list[Example] = []

    @property
    def last_seen(self) -> float:
        """When a request of it came last."""
        return max(group.last_seen for group in (self.rest, *self.shapes))


class Change(NamedTuple):
    """What was suggested before of what is now `after`; None: it was the rest of its family."""

    family: Family
    before: Template | None
    after: Group
