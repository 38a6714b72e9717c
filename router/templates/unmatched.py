"""Requests of one task that no template fits: counted on the request path, and learnt from beside it.

Requests with the same roles are a *family*. In a family, at least `ENOUGH` different requests that share their prompt
become a *shape*, a suggested template; what fits no shape is the family's *rest*. Everything is bounded: families,
shapes, examples, and the text that is kept of any of them. Whether a shape is the same job under another prompt or a
different job altogether nobody can tell from here: a person accepts, or nobody does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from core.templates import Template, first_match
from router.templates.families import Change, Example, Family, Group
from router.templates.likeness import LEAST_COMMON, alike, literal_characters, outline, same_frame, suggest

ENOUGH: Final = 5
"""So many different examples make a suggestion."""

MAX_FAMILIES: Final = 10
MAX_SHAPES: Final = 4

_MAX_MESSAGES: Final = 64
_MAX_CHARACTERS: Final = 32_000
"""Of a request that is learnt from; a longer one is only counted."""
_MAX_WAITING: Final = 16
_MAX_POOL: Final = 16
_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


class Unmatched:
    """The unmatched requests of one task. For one event loop."""

    def __init__(self) -> None:
        self.requests = 0
        """All requests of the task that a template could have fitted, since they were last taken."""
        self._families: dict[tuple[str, ...], Family] = {}
        self._others = Family(())
        self._crowded = False
        self._changes: list[Change] = []

    @property
    def families(self) -> list[Family]:
        """All of which something was seen."""
        found = [*self._families.values(), self._others]
        return [family for family in found if family.last_seen]

    def note(self, messages: Sequence[tuple[str, str]], exchange: str, user: str, at: float) -> None:
        """Count a request; on the request path. `at`: seconds since the epoch."""
        roles = tuple([role for role, _ in messages])
        family = self._families.get(roles)
        if family is None:
            family = self._new_family(roles)
        for shape in family.shapes:
            template = shape.template
            if template is not None and template.match(messages) is not None:
                shape.requests += 1
                shape.last_seen = at
                if not shape.examples and _is_short(messages):
                    shape.examples = [Example(tuple(messages), exchange, user)]
                return
        rest = family.rest
        rest.last_seen = at
        if not rest.first_seen:
            rest.first_seen = at
        if len(family.waiting) < _MAX_WAITING and _is_short(messages):
            family.waiting.append(Example(tuple(messages), exchange, user))  # and counted where it turns out to belong
        else:
            rest.requests += 1

    async def learn(self) -> None:
        """Learn from what was noted; lets requests pass in between."""
        for family in self.families:
            for _ in range(len(family.waiting)):
                self._place(family, family.waiting.pop(0))
                await asyncio.sleep(0)
            rest = family.rest
            different = len(rest.examples) >= ENOUGH and family.roles
            rest.template = suggest([example.messages for example in rest.examples]) if different else None

    def adopt(self, template: Template, at: float) -> None:
        """Count by a suggestion that another worker has made, or this one before it was started anew."""
        roles = tuple(pattern.role for pattern in template.patterns)
        family = self._families.get(roles) or self._new_family(roles)
        shape = Group([], template, at)
        for other in family.shapes:
            if other.template is not None and _is_known([other.template], shape):
                if other.template != template:
                    self._changes.append(Change(family, template, other))
                return
        if family.roles and len(family.shapes) < MAX_SHAPES:
            family.shapes.append(shape)
            self._absorb(family, shape)

    def drop_known(self, templates: Sequence[Template]) -> None:
        """Drop what is no longer unmatched, since `templates` are the task's from now on."""
        self.expire(lambda example: first_match(templates, example.messages) is not None)
        for family in self.families:
            family.shapes = [shape for shape in family.shapes if not _is_known(templates, shape)]

    def expire(self, gone: Callable[[Example], bool]) -> None:
        """Drop the examples that must go; what is suggested stays."""
        for family in self.families:
            family.waiting = [example for example in family.waiting if not gone(example)]
            for group in (family.rest, *family.shapes):
                group.examples = [example for example in group.examples if not gone(example)]

    def forget(self, gone: Callable[[Example], bool]) -> None:
        """Drop the examples that must go, and the suggestions that were made of them."""
        for family in self.families:
            family.shapes = [shape for shape in family.shapes if not any(map(gone, shape.examples))]
        self.expire(gone)

    def take_changes(self) -> list[Change]:
        """Which suggestions have become others since this was last asked."""
        changes, self._changes = self._changes, []
        return changes

    def shed(self, before: float) -> None:
        """Forget families of which nothing was seen since `before` (seconds since the epoch).

        Where others wait for room, the one that was seen longest ago goes as well.
        """
        kept = [family for family in self._families.values() if family.last_seen >= before]
        kept.sort(key=lambda family: family.last_seen)
        if self._crowded and len(kept) >= MAX_FAMILIES:
            kept = kept[1:]
        self._crowded = False
        self._families = {family.roles: family for family in kept}

    def _new_family(self, roles: tuple[str, ...]) -> Family:
        if len(roles) > _MAX_MESSAGES or not _ROLES.issuperset(roles):
            return self._others
        if len(self._families) >= MAX_FAMILIES:
            self._crowded = True
            return self._others
        return self._families.setdefault(roles, Family(roles))

    def _place(self, family: Family, example: Example) -> None:
        rest = family.rest
        for shape in family.shapes:
            if _fits(shape, example) or self._widen(family, shape, example):
                shape.requests += 1
                shape.last_seen = max(shape.last_seen, rest.last_seen)
                return
        rest.requests += 1
        if not family.roles:
            rest.examples = [example]
        elif all(example.messages != other.messages for other in rest.examples):
            rest.examples = [*rest.examples[-_MAX_POOL + 1 :], example]
            self._form(family, example)

    def _widen(self, family: Family, shape: Group, example: Example) -> bool:
        """Let a shape fit one more request, where it loses little of its text and gets no more holes."""
        if shape.template is None:
            return False
        narrower = outline(shape.template)
        wider = suggest((narrower, example.messages))
        if wider is None or len(wider.holes) != len(shape.template.holes):
            return False
        before, after = literal_characters(shape.template), literal_characters(wider)
        enough = after >= LEAST_COMMON or same_frame(narrower, example.messages)
        if before - after > max(LEAST_COMMON, before // 5) or not enough:
            return False
        self._changes.append(Change(family, shape.template, shape))
        shape.template = wider
        shape.examples = [*shape.examples[-_MAX_POOL + 1 :], example]
        self._absorb(family, shape)
        return True

    def _form(self, family: Family, example: Example) -> None:
        """Make a shape of the newest example and those of the rest that are like it, where these are enough."""
        rest = family.rest
        if len(family.shapes) >= MAX_SHAPES or len(rest.examples) < ENOUGH:
            return
        like = [one for one in rest.examples if one is example or same_frame(one.messages, example.messages)]
        framed = len(like) >= ENOUGH
        if not framed:
            like = [one for one in rest.examples if alike(one.messages, example.messages)]
        template = suggest([one.messages for one in like]) if len(like) >= ENOUGH else None
        if template is None or not (framed or literal_characters(template) >= LEAST_COMMON):
            return
        rest.examples = [one for one in rest.examples if one not in like]
        shape = Group(like, template, rest.last_seen)
        family.shapes.append(shape)
        if rest.examples:
            _move(len(like), rest, shape)
        else:  # all of the rest was this
            shape.first_seen = rest.first_seen
            _move(rest.requests, rest, shape)
            self._changes.append(Change(family, None, shape))
        self._absorb(family, shape)

    def _absorb(self, family: Family, shape: Group) -> None:
        """Take in the shapes that are a special case of this one: texts that were alike by chance."""
        for other in [other for other in family.shapes if other is not shape]:
            if shape.template is not None and _is_known([shape.template], other):
                family.shapes.remove(other)
                shape.first_seen = min(shape.first_seen, other.first_seen)
                _move(other.requests, other, shape)
                self._changes.append(Change(family, other.template, shape))


def _is_short(messages: Sequence[tuple[str, str]]) -> bool:
    return sum([len(text) for _, text in messages]) <= _MAX_CHARACTERS


def _is_known(templates: Sequence[Template], shape: Group) -> bool:
    """Whether these read all that the shape stands for."""
    return shape.template is not None and first_match(templates, outline(shape.template)) is not None


def _fits(shape: Group, example: Example) -> bool:
    return shape.template is not None and shape.template.match(example.messages) is not None


def _move(requests: int, source: Group, target: Group) -> None:
    source.requests -= requests
    target.requests += requests
    target.last_seen = max(target.last_seen, source.last_seen)
