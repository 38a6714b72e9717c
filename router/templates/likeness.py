"""What requests have in common, and the template that follows from it. Pure functions.

Text that all requests share is taken for the prompt; where they differ stands a hole. A literal ends between words: how
a few messages happen to begin is not part of a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from core.templates import MessagePattern, Template, build_template

Messages = tuple[tuple[str, str], ...]
"""`(role, content)` pairs."""

LEAST_COMMON: Final = 20
"""So many characters, the roles aside, are more than two unrelated requests have in common."""

_NAME: Final = "suggested"
_HOLE: Final = "\ufffc"
"""Unicode's own stand-in for something that is not text."""
_SENTENCE_ENDS: Final = ".?!,;:…"


def suggest(examples: Sequence[Messages]) -> Template | None:
    """The narrowest template that fits all examples; None where they do not differ, or differ in their roles.

    The last user message that varies is the hole `text`; holes in other messages are named after these.
    """
    roles = [role for role, _ in examples[0]]
    if any([role for role, _ in example] != roles for example in examples):
        return None
    columns = [{example[at][1] for example in examples} for at in range(len(roles))]
    varying = [at for at, contents in enumerate(columns) if len(contents) > 1]
    if not varying:
        return None
    text_at = next((at for at in reversed(varying) if roles[at] == "user"), varying[-1])
    patterns = []
    for at, (role, contents) in enumerate(zip(roles, columns, strict=True)):
        if len(contents) == 1:
            patterns.append(MessagePattern(role, (next(iter(contents)),), ()))
        else:
            patterns.append(MessagePattern(role, _ends(contents), ("text" if at == text_at else f"{role}_{at + 1}",)))
    return build_template(_NAME, patterns)


def outline(template: Template) -> Messages:
    """A request that stands for the template: its own text, and in place of each hole what no message holds."""
    return tuple((pattern.role, _HOLE.join(pattern.literals)) for pattern in template.patterns)


def literal_characters(template: Template) -> int:
    """How much text a template consists of, its holes aside."""
    return sum(len(literal) for pattern in template.patterns for literal in pattern.literals)


def same_frame(one: Messages, other: Messages) -> bool:
    """Whether two requests with the same roles differ in the last user message alone, and have others as well."""
    if len(one) != len(other) or len(one) < 2:
        return False
    asked = next((at for at in range(len(one) - 1, -1, -1) if one[at][0] == "user"), len(one) - 1)
    return all(a == b for at, (a, b) in enumerate(zip(one, other, strict=True)) if at != asked)


def alike(one: Messages, other: Messages) -> bool:
    """Whether two requests with the same roles share so much text that this is unlikely to be chance."""
    common = suggest((one, other))
    return common is None or literal_characters(common) >= LEAST_COMMON


def _ends(contents: set[str]) -> tuple[str, str]:
    """How all texts begin and end, cut between words; the two never overlap in any of them."""
    first = _common_start(min(contents), max(contents))
    while first and first[-1].isalnum():
        first = first[:-1]
    rests = [content[len(first) :] for content in contents]
    backwards = [rest[::-1] for rest in rests]
    last = _common_start(min(backwards), max(backwards))[::-1]
    while last and last[0].isalnum():
        last = last[1:]
    return first, last.lstrip(_SENTENCE_ENDS)


def _common_start(least: str, greatest: str) -> str:
    """The longest common beginning of sorted texts, given the first and the last of them.

    By bisection: comparing slices takes no loop in Python, however long a prompt is.
    """
    same, limit = 0, min(len(least), len(greatest))
    while same < limit:
        middle = (same + limit + 1) // 2
        if least[same:middle] == greatest[same:middle]:
            same = middle
        else:
            limit = middle - 1
    return least[:same]
