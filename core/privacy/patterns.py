"""Kinds of text that can be redacted by name: their patterns (RE2's syntax), and the check digits that some have.

A pattern alone finds too much or too little; both err on the side of redacting. Names, addresses and whatever else has
no form cannot be found by patterns: where these must not be stored, `privacy.store` is the setting.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

Check = Callable[[str], bool]
"""Whether letters and digits, separators taken out, are what they look like."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: what it looks like, and how it is told from what only looks like it."""

    pattern: str
    check: Check | None = None


def passes_luhn(number: str) -> bool:
    """Whether a card number of 13 to 19 digits has the right check digit (ISO/IEC 7812-1, annex B)."""
    if not (13 <= len(number) <= 19 and number.isdigit()):
        return False
    digits = [int(digit) for digit in reversed(number)]
    doubled = (2 * digit for digit in digits[1::2])
    return (sum(digits[::2]) + sum(digit - 9 if digit > 9 else digit for digit in doubled)) % 10 == 0


def passes_mod97(account: str) -> bool:
    """Whether an IBAN of 15 to 34 characters has the right check digits (ISO 13616-1: ISO/IEC 7064, MOD 97-10)."""
    if not (15 <= len(account) <= 34 and account.isascii() and account.isalnum()):
        return False
    turned = account[4:] + account[:4]
    return int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1


def is_ipv6(address: str) -> bool:
    """Whether this is an IPv6 address (RFC 4291)."""
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return True


_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_HEX: Final = r"[0-9A-Fa-f]{1,4}"

KINDS: Final[Mapping[str, Kind]] = {
    "email": Kind(r"[\pL\pN._%+'\-]+@(?:[\pL\pN\-]+\.)+\pL{2,}"),
    # International with + or 00, national with 0, North American in its three groups.
    "phone": Kind(
        r"(?:\+|\b00)[1-9](?:[ ./()\-]{0,3}[0-9]){6,14}"
        r"|\(?\b0[1-9][0-9]{1,4}\)?[ /\-]{0,3}[0-9](?:[ \-]?[0-9]){4,9}\b"
        r"|\(?\b[2-9][0-9]{2}\)?[ .\-]{1,2}[2-9][0-9]{2}[ .\-][0-9]{4}\b"
    ),
    "iban": Kind(r"\b[A-Za-z]{2}[0-9]{2}(?:[ \-]?[A-Za-z0-9]){11,30}\b", passes_mod97),
    "credit_card": Kind(r"\b[0-9](?:[ \-]?[0-9]){12,18}\b", passes_luhn),
    "ipv4": Kind(rf"\b(?:{_OCTET}\.){{3}}{_OCTET}\b"),
    # Of those that begin with "::" there is only this machine itself, which says nothing of anybody.
    "ipv6": Kind(rf"\b{_HEX}(?::{_HEX}){{7}}|\b{_HEX}(?::{_HEX}){{0,6}}::(?:{_HEX}(?::{_HEX}){{0,6}})?", is_ipv6),
}
"""By the names that `privacy.redact` knows."""
