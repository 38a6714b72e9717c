"""Prompt templates: what the student was trained on, as a chat request with named holes.

A classifier student reads the *holes*, never the boilerplate around them. A chat request that fits no template of its
task goes to the teacher (`template_mismatch`): a student must not answer what it was not taught to read.

Matching is linear in the length of the message: literals are searched from left to right, without regular expressions,
so no prompt can make it back-track.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

_HOLE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class MessagePattern:
    """One message of a template: literal text around named holes."""

    role: str
    literals: tuple[str, ...]
    """One more than there are holes."""
    holes: tuple[str, ...]

    @property
    def content(self) -> str:
        """The message as it is written in settings."""
        pieces = [self.literals[0]]
        for hole, literal in zip(self.holes, self.literals[1:], strict=True):
            pieces += [f"{{{hole}}}", literal]
        return "".join(pieces)

    def match(self, role: str, content: str) -> list[str] | None:
        """The values of the holes, or None where the message does not fit."""
        if role != self.role:
            return None
        if not self.holes:
            return [] if content == self.literals[0] else None
        first, last = self.literals[0], self.literals[-1]
        if len(content) < len(first) + len(last) or not content.startswith(first) or not content.endswith(last):
            return None
        end = len(content) - len(last)
        start = len(first)
        values = []
        for literal in self.literals[1:-1]:
            found = content.find(literal, start, end)
            if found < 0:
                return None
            values.append(content[start:found])
            start = found + len(literal)
        values.append(content[start:end])
        return values


class _OneHole(NamedTuple):
    """The usual template, which has one hole in all, made ready to be matched at once."""

    messages: int
    at: int
    """Position of the message with the hole."""
    role: str
    first: str
    last: str
    least: int
    """Length of the shortest content that fits."""
    others: tuple[tuple[int, tuple[str, str]], ...]
    """The messages that must stand at other positions."""


@dataclass(frozen=True, slots=True)
class Template:
    """A named prompt template. `version` is a hash of its content and is recorded with every exchange."""

    name: str
    version: str
    patterns: tuple[MessagePattern, ...]
    _one_hole: _OneHole | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_one_hole", _prepare(self.patterns))

    @property
    def holes(self) -> tuple[str, ...]:
        """Names of the holes, in reading order."""
        return tuple(hole for pattern in self.patterns for hole in pattern.holes)

    @property
    def digest(self) -> str:
        """The version without the name: templates that read the same have the same."""
        return self.version.rpartition("@")[2]

    def match(self, messages: Sequence[tuple[str, str]]) -> str | None:
        """Return the text that the student reads, or None where the messages do not fit.

        One hole: its value. Several: one line `name: value` each, in the template's order.
        """
        if self._one_hole is None:
            return self._match_several(messages)
        count, at, role, first, last, least, others = self._one_hole
        if len(messages) != count:
            return None
        found, content = messages[at]
        if found != role or len(content) < least or not content.startswith(first) or not content.endswith(last):
            return None
        for position, message in others:
            if messages[position] != message:
                return None
        return content[len(first) : len(content) - len(last)]

    def render(self, text: str) -> list[tuple[str, str]]:
        """Return the messages of which `match` makes this text: its inverse.

        Raises ValueError where the text cannot have come from this template. With several holes, a value that holds a
        line beginning like the next hole's is cut there.
        """
        values = iter([text] if len(self.holes) == 1 else _values(text, self.holes))
        messages = []
        for pattern in self.patterns:
            pieces = [pattern.literals[0]]
            for literal in pattern.literals[1:]:
                pieces += [next(values), literal]
            messages.append((pattern.role, "".join(pieces)))
        return messages

    def _match_several(self, messages: Sequence[tuple[str, str]]) -> str | None:
        if len(messages) != len(self.patterns):
            return None
        values: list[str] = []
        for pattern, (role, content) in zip(self.patterns, messages, strict=True):
            found = pattern.match(role, content)
            if found is None:
                return None
            values += found
        return "\n".join(f"{name}: {value}" for name, value in zip(self.holes, values, strict=True))


def compile_template(name: str, messages: Iterable[tuple[str, str]]) -> Template:
    """Compile `(role, content)` pairs with holes such as `{text}` into a Template.

    Raises ValueError where there is no hole, a hole occurs twice, or two holes touch (no text would tell them apart).
    """
    return build_template(name, (_compile_message(role, content) for role, content in messages))


def build_template(name: str, patterns: Iterable[MessagePattern]) -> Template:
    """Make a Template of its messages' patterns. Raises ValueError as `compile_template` does."""
    patterns = tuple(patterns)
    holes = [hole for pattern in patterns for hole in pattern.holes]
    if not holes:
        raise ValueError(f"template {name!r} has no hole; write {{text}} where the message to classify stands")
    if len(set(holes)) != len(holes):
        raise ValueError(f"template {name!r} uses a hole twice; give each hole its own name")
    for pattern in patterns:
        if not all(pattern.literals[1:-1]):
            raise ValueError(f"two holes touch in {pattern.content!r}; put some text between them")
    digest = hashlib.sha256(repr([(p.role, p.literals, p.holes) for p in patterns]).encode()).hexdigest()
    return Template(name, f"{name}@{digest[:8]}", patterns)


class _Stored(msgspec.Struct, frozen=True):
    name: str
    messages: list[MessagePattern]


_stored_decoder: Final = msgspec.json.Decoder(_Stored)


def encode_template(template: Template) -> str:
    """Write a template as JSON. Unlike in settings, text in braces can be a literal in it."""
    return msgspec.json.encode(_Stored(template.name, list(template.patterns))).decode()


def decode_template(text: str) -> Template:
    """Read what `encode_template` wrote. Raises ValueError where it is not that."""
    stored = _stored_decoder.decode(text)
    for pattern in stored.messages:
        if len(pattern.literals) != len(pattern.holes) + 1:
            raise ValueError(f"a message of template {stored.name!r} has too many or too few literals")
    return build_template(stored.name, stored.messages)


def first_match(templates: Sequence[Template], messages: Sequence[tuple[str, str]]) -> tuple[Template, str] | None:
    """Return the first template that fits, and the text for the student."""
    for template in templates:
        text = template.match(messages)
        if text is not None:
            return template, text
    return None


def text_of(content: object, types: Sequence[str] = ("text",)) -> str | None:
    """The text of a message's content: a string, or parts of these types, joined. None where it holds more."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts: list[str] = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) and part.get("type") in types else None
        if not isinstance(text, str):
            return None
        texts.append(text)
    return "".join(texts)


def flatten(messages: Sequence[Any]) -> list[tuple[str, str]] | None:
    """Return OpenAI messages as `(role, content)` pairs, or None where one holds more than text.

    Content given as a list of text parts is joined, as OpenAI's clients may send either form.
    """
    pairs: list[tuple[str, str]] = []
    for message in messages:
        if not isinstance(message, dict) or message.get("tool_calls") or message.get("tool_call_id"):
            return None
        role, content = message.get("role"), text_of(message.get("content"))
        if not isinstance(role, str) or content is None:
            return None
        pairs.append((role, content))
    return pairs


def _values(text: str, holes: Sequence[str]) -> list[str]:
    """The values of several holes out of one line `name: value` each; a value may span lines itself."""
    starts = [0]
    for hole in holes[1:]:
        starts.append(text.find(f"\n{hole}: ", starts[-1]) + 1)
        if not starts[-1]:
            raise ValueError(f"the text has no line for the hole {hole!r}")
    if not text.startswith(f"{holes[0]}: "):
        raise ValueError(f"the text does not begin with the hole {holes[0]!r}")
    ends = [start - 1 for start in starts[1:]] + [len(text)]
    return [text[start + len(hole) + 2 : end] for hole, start, end in zip(holes, starts, ends, strict=True)]


def _compile_message(role: str, content: str) -> MessagePattern:
    pieces = _HOLE.split(content)
    return MessagePattern(role, tuple(pieces[::2]), tuple(pieces[1::2]))


def _prepare(patterns: Sequence[MessagePattern]) -> _OneHole | None:
    """None where the holes are several: these are read one after the other."""
    if sum(len(pattern.holes) for pattern in patterns) != 1:
        return None
    at, reader = next((at, pattern) for at, pattern in enumerate(patterns) if pattern.holes)
    first, last = reader.literals
    others = tuple((i, (p.role, p.literals[0])) for i, p in enumerate(patterns) if i != at)
    return _OneHole(len(patterns), at, reader.role, first, last, len(first) + len(last), others)
