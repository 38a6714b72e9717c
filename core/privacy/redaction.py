"""Replacing what patterns find, in time that grows with the text and nothing else.

The patterns are RE2's (`google-re2`): it is an automaton, so there is no pattern and no text that makes it backtrack
for minutes, as Python's `re` does. What it cannot do without backtracking (back-references, look-around) it refuses
when the settings are read. Nearly every text holds nothing to redact, so all patterns are first looked for at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.errors import SettingsError
from core.privacy.patterns import KINDS, Check

if TYPE_CHECKING:
    from core.settings.privacy import RedactSettings

DEFAULT_REPLACEMENT: Final = "[redacted]"

_MOST_LOOKS: Final = 2000
"""Matches and checks of one rule in one text, some milliseconds' worth; what follows the last is redacted unseen."""
_SEPARATORS: Final = re.compile(r"[ \-]")
_NO_MATCH_WANTED: Final = ("", "a", "a b")


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: Any
    """RE2's."""
    replacement: bytes
    check: Check | None


class Redactor:
    """The rules of one task, compiled. Pure and thread-safe.

    Raises SettingsError for a pattern that RE2 does not take, or that matches the empty text.
    """

    def __init__(self, rules: Sequence[RedactSettings]) -> None:
        sources = [(rule, KINDS[rule.name].pattern if rule.name else rule.pattern or "") for rule in rules]
        compiled = [
            _Rule(_compile(source), _replacement(rule).encode(), KINDS[rule.name].check if rule.name else None)
            for rule, source in sources
        ]
        # Those that are sure of what they find come first: a part of a card's number looks like a telephone's.
        self._rules = sorted(compiled, key=lambda rule: rule.check is None)
        self._any = _compile("|".join(f"(?:{source})" for _, source in sources), together=True)

    def __call__(self, text: str) -> str:
        """The text with everything replaced that a rule finds; the very same object where none does."""
        data = text.encode("utf-8", "surrogatepass")
        if self._any.search(data) is None:
            return text
        redacted = data
        for rule in self._rules:
            redacted = _apply(rule, redacted)
        return text if redacted == data else redacted.decode("utf-8", "replace")

    def in_json(self, value: Any) -> Any:
        """The same for every text in decoded JSON, keys included, and for numbers that would be found as a text."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, list):
            return [self.in_json(inner) for inner in value]
        if isinstance(value, dict):
            return {self(key): self.in_json(inner) for key, inner in value.items()}
        if isinstance(value, int) and not isinstance(value, bool):
            written = str(value)
            found = self(written)
            return value if found == written else found
        return value


def _apply(rule: _Rule, data: bytes) -> bytes:
    """Replace what the rule finds, and where it has a check, what passes it.

    A candidate may begin too early or reach too far, into numbers that stand beside the one that counts: so every
    stretch of whole groups in it is checked, the longest first.
    """
    pieces: list[bytes] = []
    done = position = looks = 0
    while (found := rule.pattern.search(data, position)) is not None:
        start, end = found.span()
        redacted = 0 if rule.check is not None else end
        if rule.check is not None:
            for stop in _stops(data, start, end):
                looks += 1
                if rule.check(_SEPARATORS.sub("", data[start:stop].decode("ascii"))):
                    redacted = stop
                    break
        if redacted:
            pieces += [data[done:start], rule.replacement]
            done = position = redacted
        else:
            position = _next_group(data, start, end)
        looks += 1
        if looks >= _MOST_LOOKS:
            return b"".join([*pieces, data[done:position], rule.replacement])
    return b"".join([*pieces, data[done:]])


def _stops(data: bytes, start: int, end: int) -> Iterator[int]:
    """Where a candidate may end: with its last group, or the one before, and so on."""
    yield end
    for at in range(end - 1, start, -1):
        if data[at] in b" -":
            yield at


def _next_group(data: bytes, start: int, end: int) -> int:
    """Where the candidate's second group begins; its end where it is all one."""
    return next((at + 1 for at in range(start, end) if data[at] in b" -"), end)


def _replacement(rule: RedactSettings) -> str:
    if rule.replacement is not None:
        return rule.replacement
    return f"[{rule.name}]" if rule.name else DEFAULT_REPLACEMENT


def _compile(source: str, *, together: bool = False) -> Any:
    try:
        import re2  # only where a task redacts: the gateway of others does not load it
    except ModuleNotFoundError as error:
        raise SettingsError(
            "privacy.redact needs the package google-re2, which is not installed; run `pip install google-re2`"
        ) from error
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(source, options)
    except re2.error as error:
        if together:
            raise SettingsError("privacy.redact holds too many or too large patterns; simplify them") from error
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise SettingsError(
            f"the pattern {source!r} is not one of RE2's ({reason}); it takes neither back-references nor look-around"
        ) from error
    for text in _NO_MATCH_WANTED:
        found = compiled.search(text)
        if found is not None and found.start() == found.end():
            raise SettingsError(
                f"the pattern {source!r} matches where there is nothing; ask for at least one character"
            )
    return compiled
