"""The section of a task that says what is stored of its exchanges, in which form, and for how long."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from core.errors import SettingsError
from core.privacy.redaction import Redactor
from core.settings.sections import Section


class RedactSettings(Section):
    """One kind of text that is replaced before anything is stored: a known one by `name`, or a `pattern`."""

    name: Literal["email", "phone", "iban", "credit_card", "ipv4", "ipv6"] | None = None
    """A kind that Tutelage knows; `iban` and `credit_card` are told by their check digits."""
    pattern: str | None = None
    """A regular expression in RE2's syntax, which has neither back-references nor look-around."""
    replacement: str | None = None
    """What stands in its place; by default the name in brackets, for a pattern `[redacted]`."""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> RedactSettings:
        if (self.name is None) == (self.pattern is None):
            raise ValueError("a rule has either a name or a pattern; give one of them")
        if self.pattern == "":
            raise ValueError("the pattern is empty; write what is to be redacted")
        return self


class PrivacySettings(Section):
    """What is stored of a task's exchanges; docs/privacy.md says where, and how it is deleted."""

    store: Literal["full", "hashed", "none"] = "full"
    """`full`: inputs and outputs. `hashed`: keyed hashes of them, so that equal ones can be counted and nothing can be
    read. `none`: neither. Without inputs nothing is shadowed and nothing can be distilled from traffic."""
    redact: list[RedactSettings] = Field([])
    """Replaced in inputs and outputs before anything is stored. What is redacted is never sent as a shadow call."""
    retention_days: int | None = Field(None, ge=1)
    """Whole days for which exchanges, comparisons, feedback and what is made of them are kept. null: for good."""

    @model_validator(mode="after")
    def _rules_compile(self) -> PrivacySettings:
        if self.redact:
            try:
                Redactor(self.redact)
            except SettingsError as error:
                raise ValueError(error.message) from error
        return self
