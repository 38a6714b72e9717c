"""From what is known of unmatched requests to what may be written down of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final, Literal

from core.ledger import UnknownTemplate
from core.privacy import Privacy
from core.templates import MessagePattern, Template, build_template, encode_template
from router.templates.families import Family, Group
from router.templates.unmatched import Unmatched

_ID_CHARACTERS: Final = 10
_MAX_UNWRITTEN: Final = 200
"""Unknown templates that wait for the ledger; of more than these nothing is kept while it is away."""


class Reporter:
    """Makes the reports of one task, as far as its privacy allows. What was not written yet stays in the next one."""

    def __init__(self, task: str, privacy: Privacy, store: Literal["full", "hashed", "none"]) -> None:
        """`store` is what `privacy` was made for."""
        self._task = task
        self._privacy = privacy
        self._store = store
        self._seen: dict[str, UnknownTemplate] = {}
        self.requests = 0
        """All requests of the task meanwhile."""
        self.replaced: dict[str, str] = {}
        """By the old id, the present one of suggestions that have become others."""

    @property
    def seen(self) -> list[UnknownTemplate]:
        """What is to be written down."""
        return list(self._seen.values())

    def take(self, unmatched: Unmatched) -> None:
        """Add what was counted, which begins anew with that."""
        self.requests += unmatched.requests
        unmatched.requests = 0
        changes = unmatched.take_changes()
        changed = [change.after for change in changes]
        for family in unmatched.families:
            for group in (family.rest, *family.shapes):
                if group.requests or group in changed:
                    self._add(self._unknown(family, group))
                    group.requests = 0
        for family, before, group in changes:
            self._replace(self._identify(family.roles, before), self._identify(family.roles, group.template))

    def adopt(self, unmatched: Unmatched, known: UnknownTemplate, at: float) -> None:
        """Let what is in the ledger already be counted as that, where it says enough. `at`: seconds since the epoch."""
        if known.template is not None and known.id == self._identify(known.roles, known.template):
            unmatched.adopt(known.template, at)

    def written(self) -> None:
        """Begin the next report: this one has been written down."""
        self._seen, self.requests, self.replaced = {}, 0, {}

    def user(self, user: str) -> str:
        """What may be stored of who asked."""
        return self._privacy.user(user)

    def _replace(self, old: str, new: str) -> None:
        if len(self.replaced) >= _MAX_UNWRITTEN:
            return
        self.replaced |= {older: new for older, found in self.replaced.items() if found == old}
        self.replaced[old] = new

    def _add(self, one: UnknownTemplate) -> None:
        before = self._seen.get(one.id)
        if before is not None:
            one = replace(one, requests=one.requests + before.requests, first_seen=before.first_seen)
        if before is not None or len(self._seen) < _MAX_UNWRITTEN:
            self._seen[one.id] = one

    def _unknown(self, family: Family, group: Group) -> UnknownTemplate:
        template = group.template
        identifier = self._identify(family.roles, None if group is family.rest else template)
        told = UnknownTemplate(self._task, identifier, family.roles, group.requests, group.first_seen, group.last_seen)
        if self._store != "full":
            return replace(told, withheld=self._store)
        shown = self._redacted(template) if template is not None else None
        told = replace(told, template=shown, withheld="redacted" if shown != template else "")
        if not group.examples:
            return told
        example = group.examples[-1]
        return replace(
            told,
            example=tuple((role, self._text(text)) for role, text in example.messages),
            exchange=example.exchange,
            user=self._privacy.user(example.user),
        )

    def _identify(self, roles: tuple[str, ...], template: Template | None) -> str:
        """The same in every worker. `template` None: the rest of the requests with these roles."""
        content = json.dumps(roles) if template is None else encode_template(template)
        return self._privacy.fingerprint(f"{self._task}\0{content}")[:_ID_CHARACTERS]

    def _redacted(self, template: Template) -> Template:
        patterns = [
            MessagePattern(pattern.role, tuple(self._text(literal) for literal in pattern.literals), pattern.holes)
            for pattern in template.patterns
        ]
        return build_template(template.name, patterns)

    def _text(self, text: str) -> str:
        return self._privacy.text(text).text or ""
